#!/usr/bin/env bash
# Prints the directory of a Python environment with Docker's SDK, testcontainers and a JSON Schema validator, from PyPI, made in target/tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/target/tools
want="docker==7.1.0 testcontainers==4.13.3 jsonschema==4.26.0"
mkdir -p "$tools"
exec 9>"$tools/.python.lock"
flock 9
if [ "$(cat "$tools/python-clients/.complete" 2>/dev/null)" != "$want" ]; then
  python3 -c 'import ensurepip' 2>/dev/null || tests/tools/apt-install.sh python3-venv >&2
  rm -rf "$tools/python-clients"
  python3 -m venv "$tools/python-clients" >&2
  # shellcheck disable=SC2086
  "$tools/python-clients/bin/pip" install --quiet --disable-pip-version-check $want >&2
  echo "$want" >"$tools/python-clients/.complete"
fi
echo "$tools/python-clients"
