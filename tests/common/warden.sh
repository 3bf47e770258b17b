#!/bin/sh
# Waits for the end of its standard input, which is the end of the test that started it, and then removes what is left of
# the test host: the processes in its network namespace and in its cgroups, its cgroups, its directory.
#   warden.sh CGROUP-NAME DIRECTORY
while read -r _; do :; done

own=$(readlink /proc/self/ns/net)
for round in 1 2 3 4 5; do
  found=
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    [ "$pid" != $$ ] || continue
    # Itself forks for $(...): its children die by themselves.
    if [ "$(readlink "$process/ns/net" 2>/dev/null)" = "$own" ] && grep -qa hoist "$process/cmdline" 2>/dev/null &&
       ! grep -qa warden "$process/cmdline" 2>/dev/null; then
      kill -9 "$pid" 2>/dev/null && found=yes
    fi
  done
  for procs in $(find /sys/fs/cgroup -path "*/$1/*" -name cgroup.procs 2>/dev/null); do
    while read -r pid; do kill -9 "$pid" 2>/dev/null && found=yes; done <"$procs"
  done
  [ -n "$found" ] || break
  sleep 0.1
done
find /sys/fs/cgroup -depth -type d \( -name "$1" -o -path "*/$1/*" \) -exec rmdir {} \; 2>/dev/null
# The directory's tmpfs goes with the mount namespace; the empty directory beneath it has to be removed outside.
umount -l "$2/root" "$2" 2>/dev/null
rmdir "$2" 2>/dev/null
exit 0
