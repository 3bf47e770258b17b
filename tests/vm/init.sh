#!/bin/sh
# Process 1 of the test machine: mounts what a Linux system has, runs /script, says its exit status, turns the machine off.
export PATH=/bin:/sbin:/usr/bin HOME=/root
if [ "$1" != moved ]; then
    # Nobody can pivot_root(2) away from the first root file system of a kernel: move to another one, as every initramfs does.
    mkdir /real && mount -t tmpfs -o mode=755,size=75% tmpfs /real
    for entry in /*; do
        [ "$entry" = /real ] || cp -a "$entry" /real/
    done
    exec /real/bin/busybox switch_root /real /init moved
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var
mkdir -p /var/lib /var/tmp
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
ifconfig lo 127.0.0.1 up
hostname vm
sh /script < /dev/null
echo "VM-EXIT $?"
poweroff -f
