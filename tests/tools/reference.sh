#!/usr/bin/env bash
# Docker's engine and Docker Compose behind hoist's command line, so that the scenarios can be run against the reference:
#
#   HOIST_TEST_BINARY=$PWD/tests/tools/reference.sh cargo nextest run --test scenario
#
# A scenario that the reference fails is wrong, or says in its comment where hoist differs on purpose. What the reference
# has no words for (`plan`) succeeds and does nothing.
set -euo pipefail
bin=$("$(dirname "$0")/../../benches/reference.sh" 2>/dev/null)/bin
export PATH=$bin:$PATH DOCKER_HOST=unix://$HOIST_STATE/hoist.sock

start() {
  [ ! -S "$HOIST_STATE/hoist.sock" ] || return 0
  setsid dockerd --data-root "$HOIST_ROOT/docker" --exec-root "$HOIST_STATE/docker" --pidfile "$HOIST_STATE/docker.pid" \
    --host "$DOCKER_HOST" --init-path "$bin/docker-init" --cgroup-parent "hoist-reference-$$" \
    </dev/null >"$HOIST_STATE/docker.log" 2>&1 &
  for _ in $(seq 300); do docker version >/dev/null 2>&1 && return; sleep 0.1; done
  echo "reference.sh: dockerd does not answer" >&2
  exit 1
}

import() {
  local arguments=() names=()
  while [ $# -gt 0 ]; do
    case $1 in
      --change) arguments+=(--change "$2"); shift 2 ;;
      *) names+=("$1"); shift ;;
    esac
  done
  zstd -dcqf "${names[0]}" | docker import "${arguments[@]}" - "${names[1]}"
}

stop() {
  [ -S "$HOIST_STATE/hoist.sock" ] || return 0
  local pid
  pid=$(cat "$HOIST_STATE/docker.pid")
  docker ps -aq | xargs -r docker rm -f >/dev/null
  docker network prune -f >/dev/null
  kill "$pid"
  rm -f "$HOIST_STATE/hoist.sock"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  ip link delete docker0 2>/dev/null || true
  nft flush ruleset
  grep ' nsfs\| overlay' /proc/self/mounts | awk -v at="$HOIST_STATE" 'index($2, at) == 1 {print $2}' | xargs -r umount -l || true
  find /sys/fs/cgroup -depth -type d -path '*hoist-reference-*' -exec rmdir {} \; 2>/dev/null || true
}

case "$1 ${2:-}" in
  "engine stop") stop; exit ;;
  "engine logs") cat "$HOIST_STATE/docker.log"; exit ;;
esac
start
case "$1 ${2:-}" in
  "image import") shift 2; import "$@" ;;
  "image load") zstd -dcqf "$4" | docker load ;;
  "image "* | "volume "* | "network "* | "container "*) exec docker "$@" ;;
  "plan "*) ;;
  *)
    # Debian's Docker is older than start_interval.
    if grep -qs start_interval compose.yaml; then
      sed -E '/^ *start_interval/d; s/, start_interval: [0-9a-z]+//; s/interval: 5s/interval: 1s/' compose.yaml >.compose.yaml
      set -- --file .compose.yaml "$@"
    fi
    exec docker-compose "$@" ;;
esac
