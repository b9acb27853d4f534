#!/usr/bin/env bash
# Tables 2 and 3 of Falahzadeh et al. 2021: what freezing, gradients, copies and dropout are worth, on JAFFE or CK+.
# usage: examples/reproduce/falahzadeh.sh DATA [flags of fer train, such as --epochs 2]
# FOLDS (10) and BY (image; subject is the honest one) share the rows out; DETECTOR (haar) and SIZE (227) crop the faces.
# OUT is a folder that keeps the stores, from which a rerun goes on; a temporary one is used and removed without it.
set -euo pipefail
data=${1:?usage: falahzadeh.sh DATA [flags of fer train]}
shift
if [ -n "${OUT:-}" ]; then
  out=$OUT
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

fer ingest "$data" -o "$out/photos.h5"
fer detect --detector "${DETECTOR:-haar}" --size "${SIZE:-227}" --keep largest "$out/photos.h5" -o "$out/faces.h5"
fer split --folds "${FOLDS:-10}" --by "${BY:-image}" "$out/faces.h5" -o "$out/gray.h5"
fer gradients --mapping saturate "$out/gray.h5" -o "$out/gradients.h5"
fer augment --scale 0.1 --rotation 10 --width-shift 0.1 --height-shift 0.1 --zoom 0.1 --horizontal-flip --vertical-flip \
  "$out/gray.h5" -o "$out/copies.h5"
fer gradients --mapping saturate "$out/copies.h5" -o "$out/augmented.h5"

# NAME, the paper's accuracy on JAFFE and on CK+, STORE, frozen convolutions, rate of dropout, the user's flags
row() {
  local name=$1 jaffe=$2 ckplus=$3 store=$4 freeze=$5 dropout=$6 measured
  shift 6
  local made="$out/${name// /-}.h5"
  fer train --recipe falahzadeh --fold all --freeze "$freeze" --dropout "$dropout" "$@" "$out/$store.h5" -o "$made"
  measured=$(fer eval "$made" | awk '/^accuracy/ { printf "%.2f (%.2f to %.2f)", 100 * $2, 100 * $6, 100 * $8 }')
  printf '%-18s  %5s  %5s  %s\n' "$name" "$jaffe" "$ckplus" "$measured"
}

printf '%-18s  %5s  %5s  %s\n' "accuracy, %" JAFFE CK+ "measured (95 % interval)"
row "frozen 1" 76.25 78.68 gray 1 0 "$@"
row "frozen 1-2" 76.40 79.30 gray 2 0 "$@"
row "frozen 1-3" 80.65 81.12 gray 3 0 "$@"
row "frozen 1-4" 83.35 84.86 gray 4 0 "$@"
row "with gradients" 90.10 91.36 gradients 4 0 "$@"
row "with augmentation" 92.02 93.12 augmented 4 0 "$@"
row "with dropout" 92.41 93.66 augmented 4 0.5 "$@"
