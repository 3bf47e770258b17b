#!/usr/bin/env bash
# Makes the base images (build.sh) and imports them into the engine that $HOIST (default: hoist) talks to.
#
#   import.sh [NAME...]     all of them when none is named
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hoist=${HOIST:-hoist}
cache=$("$here/build.sh" "$@")
[ $# -gt 0 ] || set -- $(cd "$here" && for recipe in */recipe; do dirname "$recipe"; done)

for name in "$@"; do
  mapfile -t changes <"$cache/$name.tar.zst.changes"
  arguments=()
  for change in "${changes[@]}"; do arguments+=(--change "$change"); done
  "$hoist" image import "${arguments[@]}" "$cache/$name.tar.zst" "$name:latest" >/dev/null
  echo "imported $name:latest" >&2
done
