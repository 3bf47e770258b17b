#!/usr/bin/env bash
# Prints the path of schemathesis, which makes requests from docs/openapi.yaml, from PyPI, made in target/tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/target/tools
want="schemathesis==4.32.5"
mkdir -p "$tools"
exec 9>"$tools/.fuzzer.lock"
flock 9
if [ "$(cat "$tools/fuzzer/.complete" 2>/dev/null)" != "$want" ]; then
  python3 -c 'import ensurepip' 2>/dev/null || tests/tools/apt-install.sh python3-venv >&2
  rm -rf "$tools/fuzzer"
  python3 -m venv "$tools/fuzzer" >&2
  "$tools/fuzzer/bin/pip" install --quiet --disable-pip-version-check "$want" >&2
  echo "$want" >"$tools/fuzzer/.complete"
fi
echo "$tools/fuzzer/bin/schemathesis"
