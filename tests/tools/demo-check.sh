#!/usr/bin/env bash
# The demo as a new user meets it, on this machine's own network but with an engine of its own: from nothing to an answer
# that came through nginx from PostgreSQL and Redis, and back to nothing. $HOIST names the binary.
#
# The images that it builds are kept beside the base images, as shop.tar.zst: test hosts, which have no network to build
# them from, load them. Beside it the text that they were built from, so that a test can tell when it has changed.
set -euo pipefail
examples=$(cd "$(dirname "$0")/../../examples" && pwd)
cache=${HOIST_IMAGE_CACHE:-$examples/../target/images}

place=$(mktemp -d)
export HOIST_ROOT=$place/root HOIST_STATE=$place/state HOIST_HOST=unix://$place/state/hoist.sock
unset "${!COMPOSE_@}" "${!DOCKER_@}" || true

undo() {
  "$HOIST" engine stop --containers -t 1 >/dev/null 2>&1 || true
  rm -rf "$place"
}
trap undo EXIT

# A port that nobody has.
SHOP_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo 18080)
export SHOP_PORT

ask() {
  exec 3<>"/dev/tcp/127.0.0.1/$SHOP_PORT"
  printf '%s HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" >&3
  timeout 10 cat <&3
  exec 3>&-
}
expect() {
  local answer
  answer=$(ask "$1")
  grep -q "$2" <<<"$answer" || { printf 'demo: %s: no %s in\n%s\n' "$1" "$2" "$answer" >&2; "$HOIST" engine logs -n 40 >&2; exit 1; }
}

"$examples/demo.sh" up
expect "GET /" '<!doctype html>'
expect "GET /api/shop" '"orders": 0'
expect "POST /api/orders?product=3" '"order": 1'
expect "GET /api/shop" '"orders": 1'
(cd "$examples/shop" && "$HOIST" plan --exit-code)
(
  cd "$examples/shop"
  "$HOIST" image save shop-web shop-api shop-db shop-cache | zstd -q -3 -T0 >"$cache/.shop.new"
  mv "$cache/.shop.new" "$cache/shop.tar.zst"
  find api cache db web -type f | LC_ALL=C sort | xargs cat >"$cache/shop.tar.zst.id"
)
"$examples/demo.sh" clean
[ -z "$("$HOIST" image ls -q)" ] || { echo "demo: images are left" >&2; exit 1; }
"$HOIST" engine stop
echo "demo: passed"
