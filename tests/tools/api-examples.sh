#!/usr/bin/env bash
# Prints the directory of the programs in engine/api/examples, built.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-$PWD/target}
"${CARGO:-cargo}" build --quiet --locked --package hoist-api --examples >&2
echo "$target/debug/examples"
