#!/usr/bin/env bash
# The comparison of Alizadeh and Fazel 2017 on FER2013: a shallow and a deep network, each without and with HOG features.
# usage: examples/reproduce/alizadeh.sh DATA [flags of fer train, such as --epochs 2]
# OUT is a folder that keeps the stores, from which a rerun goes on; a temporary one is used and removed without it.
# A split that DATA does not have, such as test in FER2013 as folders of train and val, is shown as -.
set -euo pipefail
data=${1:?usage: alizadeh.sh DATA [flags of fer train]}
shift
if [ -n "${OUT:-}" ]; then
  out=$OUT
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

fer ingest "$data" -o "$out/faces.h5"
fer augment --horizontal-flip "$out/faces.h5" -o "$out/flipped.h5"
fer gradients --operator none --hog "$out/flipped.h5" -o "$out/hog.h5"
facts=$(fer info --json "$out/faces.h5")

# RECIPE, the paper's accuracy on val and on test, STORE, the user's flags
row() {
  local recipe=$1 val=$2 test=$3 store=$4 split measured=()
  shift 4
  fer train --recipe "$recipe" "$@" "$out/$store.h5" -o "$out/$recipe.h5"
  for split in val test; do
    if grep -q "^    \"$split\": {" <<< "$facts"; then
      measured+=("$(fer eval -m "$out/$recipe.h5" "$out/$store.h5" --split "$split" |
        awk '/^accuracy/ { printf "%.2f (%.2f to %.2f)", 100 * $2, 100 * $6, 100 * $8 }')")
    else
      measured+=(-)
    fi
  done
  printf '%-21s  %-14s  %-14s  %-22s  %s\n' "$recipe" "$val" "$test" "${measured[@]}"
}

# in brackets: a second training with the published settings; with HOG no figure is printed, only that little changes
printf '%-21s  %-14s  %-14s  %-22s  %s\n' "accuracy, %" "paper, val" "paper, test" "measured, val" "measured, test"
row alizadeh-shallow "55 (53.02)" "54 (52.90)" flipped "$@"
row alizadeh-shallow-hog "not printed" "not printed" hog "$@"
row alizadeh-deep "65 (60.18)" "64 (62.77)" flipped "$@"
row alizadeh-deep-hog "not printed" "not printed" hog "$@"
