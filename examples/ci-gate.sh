#!/usr/bin/env bash
# Fail a build when a model got worse than the one before it.
# usage: examples/ci-gate.sh MODEL DATA BASELINE.h5   (BASELINE.h5: the predictions of the model before; made if missing)
set -euo pipefail
model=${1:?usage: ci-gate.sh MODEL DATA BASELINE.h5} data=${2:?} baseline=${3:?}

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

fer predict -m "$model" "$data" --split test -o "$new/predictions.h5"
gate=(fer eval "$new/predictions.h5" --split test --min "accuracy=${MIN_ACCURACY:-0.5}")
if [ -e "$baseline" ]; then
  # rows are paired with those of the baseline, so that noise does not fail the build; exit 3 does
  "${gate[@]}" --baseline "$baseline" --max-drop 1
else
  "${gate[@]}" # a model that fails is nothing to compare with
  cp "$new/predictions.h5" "$baseline"
  echo "first run: kept as $baseline" >&2
fi
