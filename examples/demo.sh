#!/usr/bin/env bash
# The demo: imports the images, starts examples/shop, says how to use it. `demo.sh clean` undoes all of it.
# $HOIST names the hoist binary, SHOP_PORT the port on this machine.
set -euo pipefail

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export HOIST=${HOIST:-hoist} SHOP_PORT=${SHOP_PORT:-8080}
shop=("$HOIST" --project-directory "$examples/shop" -f "$examples/shop/compose.yaml")

case "${1:-up}" in
  up)
    "$examples/images/import.sh"
    "${shop[@]}" up -d --wait
    "${shop[@]}" ps
    cat <<EOF

The shop is open: http://localhost:$SHOP_PORT

Try, in $examples/shop, with $HOIST as hoist:
  curl -s http://localhost:$SHOP_PORT/api/shop     the two api replicas answer in turn
  hoist ps                                      what runs
  hoist logs -f --tail 5                        what it says
  hoist exec db psql -U shop                    a shell in the database
  hoist plan                                    what \`hoist up\` would do now: nothing
  SHOP_NAME=Other hoist plan                    what it would do after a change
  hoist down                                    stop it; \`down -v\` removes the data too

Remove everything: make clean-demo
EOF
    ;;
  clean)
    "${shop[@]}" down -v --remove-orphans
    for name in "$examples"/images/*/recipe; do "$HOIST" image rm "$(basename "$(dirname "$name")"):latest" || true; done
    "$HOIST" engine stop --containers
    ;;
  *)
    echo "usage: demo.sh [up|clean]" >&2
    exit 64
    ;;
esac
