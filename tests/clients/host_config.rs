//! Every field of `HostConfig` in Docker's API 1.51: done, or refused by its name. None is taken and forgotten.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::protocol::call;
use crate::Shell;
use crate::common::{TestHost, can_run};

/// What becomes of a field.
enum Outcome {
    /// Inspect has it, and the container's own look at things says so: a shell line and what it says. `-`: nothing to be seen inside.
    Done(&'static str, &'static str),
    /// 400 or 404 with this in the message.
    Refused(&'static str),
}

use Outcome::{Done, Refused};

/// The field, a value, and what becomes of it.
fn fields() -> Vec<(&'static str, Value, Outcome)> {
    let mut fields = limits();
    fields.extend(places());
    fields.extend(isolation());
    fields
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn limits() -> Vec<(&'static str, Value, Outcome)> {
    let throttle = json!([{"Path": "/dev/none", "Rate": 1}]);
    vec![
        ("CpuShares", json!(512), Done(V::SHARES, "512|20")),
        ("Memory", json!(67_108_864), Done(V::MEMORY, "67108864")),
        (
            "CgroupParent",
            json!("odd-parent"),
            Done("cat /proc/1/cgroup", "odd-parent|0::/"),
        ),
        ("BlkioWeight", json!(300), Done("-", "")),
        (
            "BlkioWeightDevice",
            json!([{"Path": "/dev/vda", "Weight": 100}]),
            Refused("BlkioWeightDevice"),
        ),
        ("BlkioDeviceReadBps", throttle.clone(), Refused("/dev/none")),
        (
            "BlkioDeviceWriteBps",
            throttle.clone(),
            Refused("/dev/none"),
        ),
        (
            "BlkioDeviceReadIOps",
            throttle.clone(),
            Refused("/dev/none"),
        ),
        ("BlkioDeviceWriteIOps", throttle, Refused("/dev/none")),
        ("CpuPeriod", json!(50_000), Done(V::PERIOD, "50000")),
        ("CpuQuota", json!(40_000), Done(V::QUOTA, "40000")),
        (
            "CpuRealtimePeriod",
            json!(1000),
            Refused("CpuRealtimePeriod"),
        ),
        ("CpuRealtimeRuntime", json!(1000), Refused("CpuRealtime")),
        (
            "CpusetCpus",
            json!("0"),
            Done("grep Cpus_allowed_list /proc/self/status", "\t0"),
        ),
        (
            "CpusetMems",
            json!("0"),
            Done("grep Mems_allowed_list /proc/self/status", "\t0"),
        ),
        (
            "Devices",
            json!([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rw"}]),
            Done("ls /dev/mine", "/dev/mine"),
        ),
        ("DeviceCgroupRules", json!(["c 1:3 r"]), Done("-", "")),
        (
            "DeviceRequests",
            json!([{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]),
            Refused("nvidia"),
        ),
        ("KernelMemory", json!(1 << 25), Refused("KernelMemory")),
        (
            "KernelMemoryTCP",
            json!(1 << 25),
            Refused("KernelMemoryTCP"),
        ),
        (
            "MemoryReservation",
            json!(33_554_432),
            Done(V::RESERVATION, "33554432"),
        ),
        ("MemorySwap", json!(-1), Done("-", "")),
        ("MemorySwappiness", json!(10), Done("-", "")),
        ("NanoCpus", json!(500_000_000), Done(V::QUOTA, "50000")),
        ("OomKillDisable", json!(true), Done("-", "")),
        (
            "OomScoreAdj",
            json!(100),
            Done("cat /proc/self/oom_score_adj", "100"),
        ),
        ("PidsLimit", json!(77), Done(V::PIDS, "77")),
        (
            "Ulimits",
            json!([{"Name": "nofile", "Soft": 70, "Hard": 80}]),
            Done("ulimit -n; ulimit -Hn", "70\n80"),
        ),
        ("CpuCount", json!(1), Refused("CpuCount")),
        ("CpuPercent", json!(1), Refused("CpuPercent")),
        ("IOMaximumIOps", json!(1), Refused("IOMaximumIOps")),
        (
            "IOMaximumBandwidth",
            json!(1),
            Refused("IOMaximumBandwidth"),
        ),
        ("ShmSize", json!(2 << 20), Done("df /dev/shm", " 2048 ")),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn places() -> Vec<(&'static str, Value, Outcome)> {
    let mount = |kind: &str, more: Value| {
        let mut mount = json!({"Type": kind, "Target": "/m"});
        for (key, value) in more.as_object().expect("an object") {
            mount[key] = value.clone();
        }
        json!([mount])
    };
    let bind = |options: Value| {
        mount(
            "bind",
            json!({"Source": "/usr", "ReadOnly": true, "BindOptions": options}),
        )
    };
    vec![
        (
            "Binds",
            json!(["/etc:/m:ro"]),
            Done("grep ' /m ' /proc/mounts", "ro"),
        ),
        ("ContainerIDFile", json!("/cid"), Done("-", "")),
        ("VolumeDriver", json!("odd"), Done("-", "")),
        (
            "VolumesFrom",
            json!(["other:ro"]),
            Done("grep ' /kept ' /proc/mounts", "ro"),
        ),
        (
            "Mounts",
            mount(
                "volume",
                json!({"Source": "vol", "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"}, "Subpath": ""}}),
            ),
            Done("ls -d /m", "/m"),
        ),
        (
            "Mounts",
            mount(
                "tmpfs",
                json!({"TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700, "Options": [["noexec"], ["uid", "7"]]}}),
            ),
            Done("ls -nd /m; grep ' /m ' /proc/mounts", "noexec"),
        ),
        (
            "Mounts",
            bind(json!({"Propagation": "rslave", "NonRecursive": true})),
            Done("grep ' /m ' /proc/mounts", "ro"),
        ),
        (
            "Mounts",
            bind(json!({"CreateMountpoint": true, "ReadOnlyNonRecursive": true})),
            Done("touch /m/x; true", "Read-only"),
        ),
        (
            "Mounts",
            bind(json!({"ReadOnlyForceRecursive": true})),
            Done("grep ' /m ' /proc/mounts", "ro"),
        ),
        (
            "Mounts",
            bind(json!({"ReadOnlyForceRecursive": true, "ReadOnlyNonRecursive": true})),
            Refused("ReadOnlyNonRecursive"),
        ),
        (
            "Mounts",
            mount(
                "image",
                json!({"Source": "busybox", "ImageOptions": {"Subpath": "bin"}}),
            ),
            Done("grep ' /m ' /proc/mounts; ls /m/busybox", "/m/busybox"),
        ),
        (
            "Mounts",
            mount("bind", json!({"Source": "/usr", "ImageOptions": {}})),
            Refused("field ImageOptions must not be specified"),
        ),
        (
            "Mounts",
            mount("cluster", json!({"Source": "x", "ClusterOptions": {}})),
            Refused("ClusterOptions"),
        ),
        (
            "Mounts",
            mount("npipe", json!({"Source": "x"})),
            Refused("npipe"),
        ),
        ("StorageOpt", json!({"size": "1G"}), Refused("StorageOpt")),
        ("Tmpfs", json!({"/t": "size=1m"}), Done("df /t", " 1024 ")),
        (
            "LogConfig",
            json!({"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}),
            Done("-", ""),
        ),
        (
            "LogConfig",
            json!({"Type": "syslog", "Config": {}}),
            Refused("syslog"),
        ),
        (
            "NetworkMode",
            json!("none"),
            Done("ls /sys/class/net", "lo"),
        ),
        (
            "PortBindings",
            json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}),
            Done("-", ""),
        ),
        ("PublishAllPorts", json!(true), Done("-", "")),
        ("Dns", json!(["9.9.9.9"]), Done("-", "")),
        (
            "DnsOptions",
            json!(["ndots:3"]),
            Done("cat /etc/resolv.conf", "ndots:3"),
        ),
        (
            "DnsSearch",
            json!(["example.org"]),
            Done("cat /etc/resolv.conf", "search example.org"),
        ),
        (
            "ExtraHosts",
            json!(["there:10.9.8.7"]),
            Done("cat /etc/hosts", "10.9.8.7\tthere"),
        ),
        (
            "Links",
            json!(["other:alias"]),
            Done("cat /etc/hosts", "alias"),
        ),
        (
            "RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 3}),
            Done("-", ""),
        ),
        ("AutoRemove", json!(true), Done("-", "")),
        ("ConsoleSize", json!([30, 100]), Done("-", "")),
        ("Annotations", json!({"a": "b"}), Done("-", "")),
    ]
}

fn isolation() -> Vec<(&'static str, Value, Outcome)> {
    let effective = "grep CapEff /proc/self/status";
    vec![
        ("CapAdd", json!(["SYS_TIME"]), Done(effective, "aa0425fb")),
        ("CapAdd", json!(["NO_SUCH"]), Refused("CAP_NO_SUCH")),
        (
            "CapDrop",
            json!(["ALL"]),
            Done(effective, "0000000000000000"),
        ),
        ("CapDrop", json!(["NO_SUCH"]), Refused("CAP_NO_SUCH")),
        (
            "CgroupnsMode",
            json!("private"),
            Done("head -1 /proc/1/cgroup", ":/\n"),
        ),
        ("GroupAdd", json!(["777"]), Done("id -G", "777")),
        ("IpcMode", json!("host"), Done("-", "")),
        ("Cgroup", json!("container:other"), Refused("cgroup")),
        (
            "PidMode",
            json!("container:other"),
            Done("ps -o args", "sleep 7777"),
        ),
        (
            "Privileged",
            json!(true),
            Done("grep Seccomp: /proc/self/status", "\t0"),
        ),
        (
            "ReadonlyRootfs",
            json!(true),
            Done("touch /x; true", "Read-only"),
        ),
        (
            "SecurityOpt",
            json!(["no-new-privileges"]),
            Done("grep NoNewPrivs /proc/self/status", "\t1"),
        ),
        ("SecurityOpt", json!(["odd"]), Refused("odd")),
        ("UTSMode", json!("host"), Done("-", "")),
        ("UsernsMode", json!("host"), Done("-", "")),
        ("UsernsMode", json!("odd"), Refused("odd")),
        (
            "Sysctls",
            json!({"net.ipv4.ip_unprivileged_port_start": "99"}),
            Done("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "99"),
        ),
        ("Runtime", json!("runc"), Done("-", "")),
        ("Runtime", json!("kata"), Refused("kata")),
        ("Isolation", json!("default"), Done("-", "")),
        ("Isolation", json!("hyperv"), Refused("hyperv")),
        (
            "MaskedPaths",
            json!(["/etc/passwd"]),
            Done("wc -c /etc/passwd", "0 /etc"),
        ),
        (
            "ReadonlyPaths",
            json!(["/etc"]),
            Done("touch /etc/x; true", "Read-only"),
        ),
        ("Init", json!(true), Done("ps -o comm", "init")),
    ]
}

/// Where the two versions of control groups say the limits.
struct V;

impl V {
    const SHARES: &str = "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu.weight 2>/dev/null; true";
    const MEMORY: &str =
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; true";
    const PERIOD: &str = "cd /sys/fs/cgroup; cat cpu/cpu.cfs_period_us cpu.max 2>/dev/null; true";
    const QUOTA: &str = "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null; true";
    const RESERVATION: &str =
        "cd /sys/fs/cgroup; cat memory/memory.soft_limit_in_bytes memory.low 2>/dev/null; true";
    const PIDS: &str = "cd /sys/fs/cgroup; cat pids/pids.max pids.max 2>/dev/null; true";
}

/// All fields of Docker's description of the API 1.51, and `KernelMemory`, which it had until 1.41.
const ALL: &str = "CpuShares Memory CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps \
    BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices \
    DeviceCgroupRules DeviceRequests KernelMemory KernelMemoryTCP MemoryReservation MemorySwap MemorySwappiness NanoCpus \
    OomKillDisable Init PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth Binds ContainerIDFile LogConfig \
    NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom Mounts ConsoleSize Annotations CapAdd CapDrop \
    CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts \
    ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation MaskedPaths ReadonlyPaths";

#[test]
fn no_field_of_the_host_config_is_forgotten() {
    if !can_run() {
        return;
    }
    let fields = fields();
    let tried: BTreeSet<&str> = fields.iter().map(|(field, ..)| *field).collect();
    assert_eq!(
        tried,
        ALL.split_whitespace().collect(),
        "the table has every field"
    );
    let host = TestHost::with_busybox();
    let shell = Shell::of(&host, &["docker-cli.sh"]);
    shell.check("docker run -d --init --name other -v /kept busybox sleep 7777");
    let mut wrong = Vec::new();
    for (field, value, outcome) in fields {
        if let Err(what) = becomes(&host, &shell, field, &value, &outcome) {
            wrong.push(format!("{field} {value}: {what}"));
        }
    }
    shell.check("docker rm -fv other; docker volume rm -f vol");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn becomes(
    host: &TestHost,
    shell: &Shell<'_>,
    field: &str,
    value: &Value,
    outcome: &Outcome,
) -> Result<(), String> {
    let (probe, expected) = match outcome {
        Done(probe, expected) => (*probe, *expected),
        Refused(_) => ("true", ""),
    };
    let line = if probe == "-" { "true" } else { probe };
    let mut body = json!({"Image": "busybox", "Cmd": ["sh", "-c", format!("{{ {line}; }} 2>&1")], "HostConfig": {}});
    body["HostConfig"][field] = value.clone();
    // Some are only together with another.
    match field {
        "MemorySwap" | "MemorySwappiness" | "OomKillDisable" => {
            body["HostConfig"]["Memory"] = json!(64 << 20)
        }
        _ => {}
    }
    let (status, said) = call(
        host,
        "POST",
        "/containers/create?name=probe",
        &body.to_string(),
    );
    if let Refused(reason) = outcome {
        let refused = matches!(status, 400 | 404) && said.contains(reason);
        if status == 201 {
            call(host, "DELETE", "/containers/probe?force=1&v=1", "");
        }
        return match refused {
            true => Ok(()),
            false => Err(format!("{status} {said}")),
        };
    }
    if status != 201 {
        return Err(format!("{status} {said}"));
    }
    let inspected = shell.run("docker inspect probe");
    let kept = inspected.json()[0]["HostConfig"][field].clone();
    let (started, error) = call(host, "POST", "/containers/probe/start", "");
    let logs = shell.run("timeout 5 docker logs -f probe").stdout;
    let _ = call(host, "DELETE", "/containers/probe?force=1&v=1", "");
    if started != 204 {
        return Err(format!("start: {started} {error}"));
    }
    let seen = probe == "-" || expected.split('|').any(|expected| logs.contains(expected));
    if !seen {
        return Err(format!("{probe:?} says {logs:?}, not {expected:?}"));
    }
    if !same(&kept, value) {
        return Err(format!("inspect says {kept}"));
    }
    Ok(())
}

/// Everything that was given is there; more may be.
fn same(kept: &Value, given: &Value) -> bool {
    match (kept, given) {
        (Value::Object(kept), Value::Object(given)) => {
            given.iter().all(|(key, value)| match kept.get(key) {
                Some(kept) => same(kept, value),
                None => value == &json!("") || value == &json!({}),
            })
        }
        (Value::Array(kept), Value::Array(given)) => {
            kept.len() == given.len()
                && kept
                    .iter()
                    .zip(given)
                    .all(|(kept, given)| same(kept, given))
        }
        // Names of containers become their ids.
        (Value::String(kept), Value::String(given)) => {
            kept == given || kept.starts_with("container:") || kept.starts_with('/')
        }
        _ => kept == given,
    }
}
