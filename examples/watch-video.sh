#!/usr/bin/env bash
# Label a video or a camera and watch it with the boxes and labels drawn on (ffplay), or write it as H.264 (ffmpeg).
# usage: examples/watch-video.sh MODEL CLIP|camera:0 ROWS.jsonl [OUT.mp4]   (Ctrl-C ends a camera)
set -euo pipefail
usage="usage: watch-video.sh MODEL CLIP ROWS.jsonl [OUT.mp4]"
model=${1:?$usage} clip=${2:?$usage} rows=${3:?$usage} out=${4:-}
told=$(mktemp -d)
trap 'rm -rf "$told"' EXIT

label() {
  local status=0
  { # tee is waited for, so that all that fer says is in the log when "ended" is there
    fer predict -m "$model" "$clip" --annotate - -o "$rows" 2>&1 >&3 | tee "$told/log" >&2 || status=${PIPESTATUS[0]}
  } 3>&1
  touch "$told/ended"
  return "$status"
}

show() {
  # fer tells the form of its frames when it has the first one
  until [ -e "$told/ended" ] || grep -qs "frames: -f" "$told/log"; do sleep 0.1; done
  local form
  read -ra form <<< "$(sed -n 's/^fer predict: frames: //p' "$told/log")"
  if [ "${#form[@]}" -eq 0 ]; then
    cat > /dev/null
  elif [ "$out" ]; then
    ffmpeg -loglevel error -y "${form[@]}" -i - -c:v libx264 -pix_fmt yuv420p "$out"
  else
    ffplay -loglevel error "${form[@]}" -i -
  fi
}

label | show
