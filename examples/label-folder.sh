#!/usr/bin/env bash
# Label every photo below a folder: one csv line a face, with a box and all probabilities.
# usage: examples/label-folder.sh MODEL FOLDER > labels.csv
set -euo pipefail
model=${1:?usage: label-folder.sh MODEL FOLDER} folder=${2:?usage: label-folder.sh MODEL FOLDER}

# exit 4 says that some photos could not be read; their rows tell why, and the others are labelled
status=0
fer predict -m "$model" "$folder" --format csv || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 4 ] || exit "$status"
[ "$status" -eq 0 ] || echo "some photos could not be read: see the column error" >&2
