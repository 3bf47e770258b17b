#!/usr/bin/env bash
# The demo: imports the base image, builds and starts examples/shop, says how to use it. `demo.sh clean` undoes all of it.
# $HOIST names the hoist binary, SHOP_PORT the port on this machine.
set -euo pipefail

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export HOIST=${HOIST:-hoist} SHOP_PORT=${SHOP_PORT:-8080}
shop=("$HOIST" --project-directory "$examples/shop" -f "$examples/shop/compose.yaml")

case "${1:-up}" in
  up)
    # The proxy of this machine's apt, for that of the builds.
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [ -z "${proxy:-}" ] || export http_proxy=${http_proxy:-$proxy}
    "$examples/images/import.sh" debian-base
    "${shop[@]}" up --build -d --wait
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
    "${shop[@]}" down -v --remove-orphans --rmi all
    "$HOIST" image rm debian-base:latest || true
    # What the builds kept, the directories of their cache mounts too.
    "$HOIST" builder prune --all --force >/dev/null
    "$HOIST" engine stop --containers
    ;;
  *)
    echo "usage: demo.sh [up|clean]" >&2
    exit 64
    ;;
esac
