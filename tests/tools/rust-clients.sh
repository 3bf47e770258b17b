#!/usr/bin/env bash
# Prints the path of a program that uses bollard and testcontainers (tests/clients/rust), built into target/tools.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/target/tools
mkdir -p "$tools"
exec 9>"$tools/.rust.lock"
flock 9
# The environment's target directory and flags are the product's.
env -u CARGO_TARGET_DIR "${CARGO:-cargo}" build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml \
  --target-dir "$tools/rust-clients" >&2 9>&-
echo "$tools/rust-clients/debug/rust-clients"
