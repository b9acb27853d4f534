#!/usr/bin/env bash
# Label every photo below a folder, and go on where an earlier run was cut off:
#   OUT/labels.csv   one line a face, with its box and all probabilities
#   OUT/pictures/    the photos with boxes, labels and probabilities drawn on them
#   OUT/sorted/      links to the photos, by the label of their largest face
#   OUT/faces.png    the surest faces of each label
# usage: examples/label-folder.sh MODEL FOLDER OUT   (MODEL: a file, or default; 0 also where photos could not be read)
set -euo pipefail
usage="usage: label-folder.sh MODEL FOLDER OUT"
model=${1:?$usage} folder=${2:?$usage} out=${3:?$usage}

mkdir -p "$out"
# exit 4 says that some photos could not be read; their rows tell why, and the others are labelled
status=0
fer predict -m "$model" "$folder" --resume "$out/labels.csv" --annotate "$out/pictures" \
  --contact-sheet "$out/faces.png" --sort-into "$out/sorted" --sort-by symlink || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 4 ] || exit "$status"
[ "$status" -eq 0 ] || echo "some photos could not be read: see the column error" >&2
