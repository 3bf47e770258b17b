#!/usr/bin/env bash
# What container engines of ours have on this machine: processes, mounts, links, nftables tables, cgroups.
#
#   leftovers.sh list       prints it
#   leftovers.sh save       remembers it in target/leftovers
#   leftovers.sh compare    fails when there is more than was remembered
set -euo pipefail
cd "$(dirname "$0")/../.."
saved=target/leftovers

list() {
  ps -eo pid=,args= | grep -E 'hoist-shim|(hoist|/proc/self/exe)( .*)? engine run' | grep -v grep | sed 's/^ */process /' || true
  awk '$2 ~ /hoist/ {print "mount " $2}' /proc/self/mounts
  ip -o link | awk -F': ' '{sub(/@.*/, "", $2); print $2}' | grep -E '^(br-|veth)' | sed 's/^/link /' || true
  { nft list tables 2>/dev/null || true; } | grep hoist | sed 's/^/nftables /' || true
  find /sys/fs/cgroup -maxdepth 3 -type d -name 'hoist*' 2>/dev/null | sed 's/^/cgroup /'
}

case "${1:-list}" in
  list) list ;;
  save) mkdir -p target && list | sort >"$saved" ;;
  compare)
    for _ in $(seq 50); do
      more=$(list | sort | comm -13 "$saved" -)
      [ -n "$more" ] || { echo "nothing is left behind"; exit 0; }
      sleep 0.1
    done
    printf 'left behind:\n%s\n' "$more" >&2
    exit 1
    ;;
  *) echo "usage: leftovers.sh [list|save|compare]" >&2; exit 64 ;;
esac
