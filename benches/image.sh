#!/usr/bin/env bash
# Makes a large image of five layers, about 490 MB unpacked and 200 MB as gzip, from files of Debian's packages that are on this machine
# already: two of the example images and the reference's own packages.
#   image.sh make DIR          DIR/image.tar (as `docker save` writes it) and DIR/layers/*.tar.gz
#   image.sh push DIR REGISTRY copies it to REGISTRY/bench/large:1
#   image.sh floor DIR REGISTRY UNPACK   fetches, decompresses and unpacks all layers at the same time with ISA-L and tar, beneath UNPACK
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${HOIST_IMAGE_CACHE:-$PWD/target/images}
debs=$PWD/target/reference/debs
same=(--sort=name --mtime=@1700000000 --numeric-owner --owner=0 --group=0)

# layer NUMBER PACKAGE...: the packages' files as a layer, each below /opt.
layer() {
  local number=$1 package
  shift
  mkdir -p "$work/tree/opt"
  for package in "$@"; do
    dpkg-deb -x "$(echo "$debs/$package"_*.deb)" "$work/tree/opt/$package"
  done
  tar "${same[@]}" -cf "$work/archive/$number/layer.tar" -C "$work/tree" .
  rm -rf "$work/tree"
}

make() {
  work=$(mktemp -d "$1/work.XXXXXX")
  mkdir -p "$work/archive"/{1,2,3,4,5}
  zstd -dqc "$cache/shop-db.tar.zst" >"$work/archive/1/layer.tar"
  mkdir -p "$work/tree/srv/api"
  zstd -dqc "$cache/shop-api.tar.zst" | tar -x -C "$work/tree/srv/api"
  tar "${same[@]}" -cf "$work/archive/2/layer.tar" -C "$work/tree" .
  rm -rf "$work/tree"
  layer 3 docker.io
  layer 4 containerd
  layer 5 runc tini
  local ids names number
  for number in 1 2 3 4 5; do
    ids+="${ids:+,}\"sha256:$(sha256sum <"$work/archive/$number/layer.tar" | cut -d' ' -f1)\""
    names+="${names:+,}\"$number/layer.tar\""
  done
  printf '{"architecture":"%s","os":"linux","created":"2024-01-01T00:00:00Z","config":{"Cmd":["/bin/true"]},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(dpkg --print-architecture)" "$ids" >"$work/archive/config.json"
  local id
  id=$(sha256sum <"$work/archive/config.json" | cut -d' ' -f1)
  mv "$work/archive/config.json" "$work/archive/$id.json"
  printf '[{"Config":"%s.json","RepoTags":["bench/large:1"],"Layers":[%s]}]' "$id" "$names" >"$work/archive/manifest.json"
  tar "${same[@]}" -cf "$1/image.tar" -C "$work/archive" .
  rm -rf "$work"
}

push() {
  skopeo copy --quiet --dest-tls-verify=false "docker-archive:$1/image.tar" "docker://$2/bench/large:1"
}

floor() {
  local digest number=0 pids=() pid
  mkdir -p "$3"
  for digest in $(curl -fsS -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$2/v2/bench/large/manifests/1" |
    grep -o 'sha256:[0-9a-f]*' | tail -n +2); do
    number=$((number + 1))
    mkdir "$3/$number"
    curl -fsS "http://$2/v2/bench/large/blobs/$digest" | igzip -dc | tar -x -C "$3/$number" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

"$@"
