#!/usr/bin/env bash
# Makes the root file systems of base images from Debian's packages: <cache>/<name>.tar.zst, one per recipe
# beside this script (examples/images/<name>/recipe). Needs root, mmdebstrap and zstd, and uses the machine's own apt
# sources. What is there already and still fits its recipe is not made again.
#
#   build.sh [NAME...]     all recipes when none is named; prints the cache directory
#
# A recipe is a few shell variables: packages, unneeded (paths of the finished tree that the servers never read), the
# array `changes` (what `hoist image import --change` is given) and the function `finish ROOT` (edits the finished tree).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HOIST_IMAGE_CACHE:-$here/../../target/images}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# The machine's own sources of the distribution's packages, third parties' left out: one-line sources for mmdebstrap.
apt_sources() {
  apt-get indextargets --format 'deb $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' "Origin: $1" | sort -u
}

# The machine's own way to reach them: proxies, time limits, checks switched off.
apt_options() {
  apt-config dump | sed -nE 's/^(Acquire::[^ ]+ "[^"]+";)$/\1/p' | grep -vE 'Acquire::(Changelogs|Languages|IndexTargets|CompressionTypes)' || true
}

# Everything that decides what the image contains, hashed: changes when the recipe, this script or the archive does.
fingerprint() {
  { cat "$here/build.sh" "$here/$1"/*; apt_sources "$origin"
    (. "$here/$1/recipe"; apt-cache policy ${packages//,/ } | grep -E '^[a-z]|Candidate'); } | sha256sum | cut -c1-16
}

build() {
  local name=$1 want out=$cache/$1.tar.zst
  want=$(fingerprint "$name")
  if [ -s "$out" ] && [ "$(cat "$out.id" 2>/dev/null)" = "$want" ]; then return; fi
  (
    . "$here/$name/recipe"
    work=$(mktemp -d "$cache/.$name.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    local options=() option path
    while IFS= read -r option; do options+=(--aptopt="$option"); done < <(apt_options)
    for path in doc man info locale lintian bug; do
      options+=(--dpkgopt="path-exclude=/usr/share/$path/*")
    done
    export SOURCE_DATE_EPOCH=1750000000
    apt_sources "$origin" | mmdebstrap --mode=root --variant="${variant:-essential}" --include="$packages" --format=directory \
      "${options[@]}" "$codename" "$work/root" - >"$work/log" 2>&1 || {
        tail -n 15 "$work/log" >&2; echo "build.sh: $name: mmdebstrap failed" >&2; exit 1; }
    rm -rf "$work/root"/var/lib/apt/lists/* "$work/root"/var/cache/* "$work/root"/var/log/* "$work/root"/boot "$work/root"/dev/*
    (cd "$work/root" && rm -rf ${unneeded:-})
    finish "$work/root"
    tar --sort=name --numeric-owner --xattrs --one-file-system -C "$work/root" -cf - . | zstd -q -3 -T0 -o "$work/out"
    mv "$work/out" "$out"
    printf '%s\n' "${changes[@]}" >"$out.changes"
    echo "$want" >"$out.id"
    echo "$name: $(du -h "$out" | cut -f1)" >&2
  )
}

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
origin=$(. /etc/os-release && echo "${NAME%% *}")
[ -n "$(apt_sources "$origin")" ] || apt-get update -q >&2
[ -n "$(apt_sources "$origin")" ] || { echo "build.sh: apt has no package lists of $origin: run apt-get update" >&2; exit 1; }

[ $# -gt 0 ] || set -- $(cd "$here" && for recipe in */recipe; do dirname "$recipe"; done)
exec 9>"$cache/.lock"
flock 9
for name in "$@"; do build "$name"; done
echo "$cache"
