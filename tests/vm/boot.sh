#!/bin/bash
# Boots a small machine with Debian's kernel and cgroup v2 only, and runs a script in it as process 1's child.
#
#   tests/vm/boot.sh SCRIPT FILE[=PATH]...
#
# SCRIPT runs under busybox sh; each FILE is put at PATH in the machine (default: /bin/<its name>), with the shared libraries
# it needs. Prints the console; the exit status is the script's. Needs Debian's qemu-system-x86, busybox-static, cpio and kmod;
# the kernel package is downloaded with apt and unpacked, not installed, and kept in $HOIST_TEST_CACHE.
set -euo pipefail

script=$1
shift
cache=${HOIST_TEST_CACHE:-target/test-cache}/vm
memory=${HOIST_VM_MEMORY:-1024}
seconds=${HOIST_VM_SECONDS:-240}

die() { echo "vm: $*" >&2; exit 125; }
for tool in qemu-system-x86_64 cpio dpkg-deb apt-get ldd depmod; do
    command -v "$tool" >/dev/null || die "$tool is missing: apt-get install qemu-system-x86 busybox-static cpio kmod"
done

# The kernel that the machine's own Debian release has for virtual machines.
fetch_kernel() {
    [ -e "$cache/kernel/.complete" ] && return
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: *//p' | head -n 1)
    [ -n "$package" ] || die "no Debian kernel package in the package lists: apt-get update"
    rm -rf "$cache/kernel" && mkdir -p "$cache/kernel/deb"
    (cd "$cache/kernel/deb" && apt-get download -qq "$package" >/dev/null 2>&1) || die "cannot download $package"
    dpkg-deb -x "$cache"/kernel/deb/*.deb "$cache/kernel"
    rm -r "$cache/kernel/deb"
    touch "$cache/kernel/.complete"
}

# The modules that a container engine makes a kernel load, with all that they depend on.
modules="overlay bridge br_netfilter veth nf_tables nf_nat nf_conntrack nf_conntrack_netlink nft_chain_nat nft_nat nft_masq nft_fib nft_fib_ipv4 nft_fib_ipv6
nft_fib_inet nft_ct nft_reject nft_reject_inet nft_limit nft_compat nfnetlink x_tables ip_tables stp llc tun dummy"

copy_modules() {
    local root=$1 release from to name file
    release=$(ls "$cache/kernel/lib/modules")
    from=$cache/kernel/lib/modules/$release
    to=$root/lib/modules/$release
    mkdir -p "$to"
    cp "$from"/modules.{order,builtin,builtin.modinfo} "$to/"
    for name in $modules; do
        file=$(find "$from" -name "$name.ko*" | head -n 1)
        [ -n "$file" ] || continue
        copy_module "$from" "$to" "${file#"$from"/}"
    done
    depmod -b "$root" "$release"
}

copy_module() {
    local from=$1 to=$2 file=$3 dependency
    [ -e "$to/$file" ] && return
    mkdir -p "$to/$(dirname "$file")"
    cp "$from/$file" "$to/$file"
    for dependency in $(modinfo -F depends "$from/$file" | tr ',' ' '); do
        dependency=$(cd "$from" && find . -name "$dependency.ko*" -o -name "${dependency//_/-}.ko*" | head -n 1)
        [ -z "$dependency" ] || copy_module "$from" "$to" "${dependency#./}"
    done
}

copy_file() {
    local root=$1 file=$2 path=$3 library
    mkdir -p "$root/$(dirname "$path")"
    cp -L "$file" "$root/$path"
    for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true); do
        [ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
    done
}

build_root() {
    local root=$1 applet argument
    shift
    mkdir -p "$root"/{bin,sbin,proc,sys,dev,run,tmp,etc,var/lib,root,usr/bin}
    cp /bin/busybox "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    ln -sf ../bin/busybox "$root/sbin/modprobe"
    copy_modules "$root"
    for argument in "$@"; do
        case $argument in
            *=*) copy_file "$root" "${argument%%=*}" "${argument#*=}" ;;
            *) copy_file "$root" "$argument" "/bin/$(basename "$argument")" ;;
        esac
    done
    cp "$script" "$root/script"
    cp "$(dirname "$0")/init.sh" "$root/init"
    chmod +x "$root/init" "$root/script"
}

fetch_kernel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build_root "$work/root" "$@"
(cd "$work/root" && find . | cpio -o -H newc --quiet) > "$work/initramfs"

timeout "$seconds" qemu-system-x86_64 -machine accel=tcg -cpu max -smp 2 -m "$memory" -nodefaults -no-reboot -display none \
    -kernel "$cache"/kernel/boot/vmlinuz-* -initrd "$work/initramfs" -serial stdio -monitor none \
    -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all rdinit=/init" < /dev/null | tee "$work/console" | tr -d '\r' || true
status=$(tr -d '\r' < "$work/console" | sed -n 's/^VM-EXIT \([0-9]*\)$/\1/p' | tail -n 1)
[ -n "$status" ] || die "the machine ended, or ran out of its $seconds seconds, before the script did"
exit "$status"
