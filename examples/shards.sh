#!/usr/bin/env bash
# Label a folder with GNU parallel: 500 photos a job, one job a core, names of any bytes.
# usage: examples/shards.sh MODEL FOLDER > labels.jsonl
# The exit code is the number of jobs that did not end in 0 (101: more than 100 of them); a job ends in 4 where some of
# its photos cannot be read. Hidden files and what other systems leave behind are left out.
set -euo pipefail
model=${1:?usage: shards.sh MODEL FOLDER} folder=${2:?usage: shards.sh MODEL FOLDER}
command -v parallel >/dev/null || { echo "shards.sh needs GNU parallel (package parallel)" >&2; exit 1; }

export OMP_NUM_THREADS=1 # the jobs fill the cores; threads within them would only compete
find "$folder" -mindepth 1 \( -name '.*' -o -name '@eaDir' -o -name '#recycle' -o -name '@Recycle' \) -prune -o -type f \
  \( -iname '*.jp*g' -o -iname '*.jpe' -o -iname '*.jfif' -o -iname '*.png' -o -iname '*.webp' -o -iname '*.tif' \
  -o -iname '*.tiff' -o -iname '*.bmp' -o -iname '*.gif' \) -print0 | sort -z |
  parallel --quote --null --pipe --max-args 500 --recstart '' --recend '\0' --keep-order \
    fer predict --quiet -m "$model" --files-from - -0
