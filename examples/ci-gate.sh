#!/usr/bin/env bash
# Fail a build when a model got worse than the one before it.
# usage: examples/ci-gate.sh MODEL DATA BASELINE.h5
# DATA is a store of labelled faces with test rows (fer ingest DIR | fer detect | fer split -o DATA). BASELINE.h5 has the
# predictions of the model before: commit or cache it. Where it is missing, MIN_ACCURACY (0.5) alone is asked for and the
# file is made; it stays until you replace it.
set -euo pipefail
model=${1:?usage: ci-gate.sh MODEL DATA BASELINE.h5} data=${2:?} baseline=${3:?}

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

# in float32, so that machines whose automatic arithmetic differs answer alike
fer predict -m "$model" "$data" --split test --precision float32 -o "$new/predictions.h5"
gate=(fer eval "$new/predictions.h5" --split test --min "accuracy=${MIN_ACCURACY:-0.5}")
if [ -e "$baseline" ]; then
  # rows are paired with those of the baseline, so that noise does not fail the build; exit 3 does
  "${gate[@]}" --baseline "$baseline" --max-drop 1
else
  "${gate[@]}" # a model that fails is nothing to compare with
  cp "$new/predictions.h5" "$baseline"
  echo "first run: kept as $baseline" >&2
fi
