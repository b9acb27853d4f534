#!/usr/bin/env bash
# The whole pipeline on drawn faces: data, training, evaluation, labels for scenes of several faces.
# usage: examples/quickstart.sh [FOLDER]   (FOLDER keeps the stores; a temporary one is used and removed without it)
set -euo pipefail
if [ $# -gt 0 ]; then
  out=$1
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

echo "--- draw 2,000 faces, train on 1,600 of them, keep the best of 5 epochs by the 200 of val"
fer ingest synthetic:2000 -o "$out/faces.h5"
fer train --model residual-fast --epochs 5 --batch 32 --lr 4e-3 --schedule onecycle --normalise standard \
  "$out/faces.h5" -o "$out/model.h5"

echo "--- evaluate on the 200 of test"
fer predict -m "$out/model.h5" "$out/faces.h5" --split test -o "$out/predictions.h5"
fer eval "$out/predictions.h5" --split test

echo "--- find and label the faces of three scenes"
fer ingest synthetic:3:scenes | fer predict -m "$out/model.h5"
