# Runs in the machine that boot.sh makes: a stack with what depends on the kernel and on cgroup v2. /bin has hoist and
# hoist-shim, /busybox.tar.zst the image.
set -eu

image() {
    set -- --change 'CMD ["sh"]' --change 'ENV PATH=/bin'
    hoist image import "$@" /busybox.tar.zst busybox:latest
}

say() { echo "smoke: $*"; }
is() { [ "$2" = "$3" ] || { echo "smoke: $1: expected '$2', got '$3'"; hoist engine logs -n 30; exit 1; }; }

mkdir -p /root/p && cd /root/p
cat > compose.yaml <<'EOF'
services:
  web:
    image: busybox
    init: true
    ports: ['8080:80']
    command: [sh, -c, 'mkdir /www && echo it works >/www/index.html && exec httpd -f -h /www']
    mem_limit: 64m
    pids_limit: 50
    cpus: 0.5
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, wget, -q, -O, /dev/null, 'http://127.0.0.1'], interval: 500ms, timeout: 20s}
  db:
    image: busybox
    init: true
    command: [sh, -c, 'echo 7 >/data/x; sleep infinity']
    volumes: ['data:/data']
    healthcheck: {test: [CMD, test, -e, /data/x], interval: 500ms, timeout: 20s}
  greedy:
    image: busybox
    command: [tail, /dev/zero]
    mem_limit: 16m
    memswap_limit: 16m
volumes: {data: {}}
EOF

say "import"
image
say "up"
hoist --progress plain up -d --wait web
is "the page" "it works" "$(wget -q -O - http://127.0.0.1:8080/)"
is "the name" "it works" "$(hoist exec -T db wget -q -O - http://web/)"
is "memory.max" 67108864 "$(hoist exec -T web cat /sys/fs/cgroup/memory.max)"
is "pids.max" 50 "$(hoist exec -T web cat /sys/fs/cgroup/pids.max)"
is "cpu.max" "50000 100000" "$(hoist exec -T web cat /sys/fs/cgroup/cpu.max)"
is "its cgroup" "0::/" "$(hoist exec -T web cat /proc/self/cgroup)"
say "out of memory"
hoist --progress plain up -d greedy
for i in $(seq 100); do hoist ps -a | grep greedy | grep -q Exited && break; sleep 0.2; done
hoist container inspect p-greedy-1 | grep -q '"OOMKilled": *true' || { echo "smoke: no OOMKilled"; hoist container inspect p-greedy-1; exit 1; }
say "at rest"
hoist plan
say "down"
hoist down -v
hoist engine stop --containers
sleep 1
is "links" "lo" "$(ls /sys/class/net | tr '\n' ' ' | sed 's/ $//')"
is "cgroups" "" "$(find /sys/fs/cgroup -name 'hoist*')"
is "processes" "" "$(ps | grep '[h]oist-shim')"
is "mounts" "" "$(grep hoist /proc/mounts)"
say "passed"
