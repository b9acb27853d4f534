#!/usr/bin/env bash
# The default model from FER2013: two teachers, then the network that learns the labels and their answers. About four
# minutes on one H200; many hours on a CPU. Usage: default.sh FER2013 FOLDER [options of fer train's recipe, as --set ...]
set -euo pipefail
data=$(realpath "$1") folder=$2
shift 2
mkdir -p "$folder" && cd "$folder"
fer recipe run default-teacher --data "$data" -o teacher-1 "$@"
fer recipe run default-teacher --data "$data" -o teacher-2 \
  --set augment.rotation=12 --set augment.scale=0.1 --set augment.brightness=0 --set augment.contrast=0 \
  --set augment.erase=0 --set train.dropout=0.4 "$@"
fer recipe run default --data "$data" -o default "$@"
