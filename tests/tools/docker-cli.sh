#!/usr/bin/env bash
# Prints the path of a Docker command-line client: the machine's own, or Debian's, unpacked into target/tools, not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
if own=$(command -v docker); then echo "$own"; exit 0; fi
tools=$PWD/target/tools
mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9
if [ ! -x "$tools/docker-cli/usr/bin/docker" ]; then
  [ -n "$(apt-cache madison docker.io)" ] || apt-get update -q >&2
  package=docker.io
  [ -z "$(apt-cache madison docker-cli)" ] || package=docker-cli
  work=$(mktemp -d "$tools/.docker.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -q "$package" >&2)
  dpkg-deb -x "$work"/*.deb "$work/root"
  rm -rf "$tools/docker-cli"
  mv "$work/root" "$tools/docker-cli"
fi
echo "$tools/docker-cli/usr/bin/docker"
