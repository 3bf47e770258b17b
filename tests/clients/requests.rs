//! What single calls are answered, in the version of the API that they speak: values that cannot be meant, and answers that
//! changed from one version to the next. Facts of Docker's engine 28.5, which its own integration tests ask for.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::protocol::{call, created, open};
use crate::common::{LONG, TestHost, can_run, wait_until};

/// Checks calls: `METHOD PATH [BODY] => STATUS [TEXT]`; CONTAINER is one that runs.
#[track_caller]
fn check(host: &TestHost, container: &str, calls: &str) {
    let mut wrong = Vec::new();
    for line in calls.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace("CONTAINER", container);
        let (asked, expected) = line.split_once(" => ").expect("call => answer");
        let mut words = asked.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let (status, said) = call(host, method, path, words.next().unwrap_or("{}"));
        let (code, text) = expected.split_once(' ').unwrap_or((expected, ""));
        if status.to_string() != code || !said.contains(text) {
            wrong.push(format!("{line}\n    {status} {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn running(host: &TestHost, more: &Value) -> String {
    let mut body =
        json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"Init": true}});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let id = created(host, &body);
    let (status, said) = call(host, "POST", &format!("/containers/{id}/start"), "");
    assert_eq!(status, 204, "{said}");
    id
}

#[test]
fn what_cannot_be_meant_is_refused_in_dockers_words() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = running(&host, &json!({"Tty": true}));
    let calls = r#"
        POST /containers/create {x => 400 invalid character 'x' looking for beginning of object key string
        POST /containers/create {} {} => 400 unexpected content after JSON
        POST /volumes/create {} trailing => 400 unexpected content after JSON
        POST /containers/create {"Image":"busybox:sha256:x"} => 400 "message":"invalid reference format"
        POST /containers/create {"Image":"busybox","Env":["=x"]} => 400 invalid environment variable: =x
        POST /containers/create {"Image":"busybox","Healthcheck":{"Interval":500000}} => 400 Interval in Healthcheck cannot be less than 1ms
        POST /containers/create {"Image":"busybox","Healthcheck":{"Retries":-1}} => 400 Retries in Healthcheck cannot be negative
        POST /containers/create {"Image":"busybox","HostConfig":{"CpuShares":-1}} => 400 invalid CPU shares (-1): value must be a positive integer
        POST /containers/create {"Image":"busybox","HostConfig":{"Annotations":{"":"a"}}} => 400 the empty string is not permitted as an annotation key
        POST /containers/create {"Image":"busybox","HostConfig":{"SecurityOpt":["writable-cgroups=1"]}} => 400 invalid --security-opt 2
        POST /containers/create {"Image":"busybox","HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/v","VolumeOptions":{"Subpath":"../x"}}]}} => 400 subpath must be a relative path within the volume
        POST /v1.43/containers/create {"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}} => 400 Container cannot be created with multiple network endpoints
        POST /containers/CONTAINER/resize?w=1 => 400 invalid resize height
        POST /containers/CONTAINER/resize?h=1&w=-1 => 400 value out of range
        POST /containers/CONTAINER/resize?h=1&w=1 => 200
        POST /containers/CONTAINER/exec {"Cmd":["id"],"User":"nobody-here"} => 400 unable to find user nobody-here: no matching entries in passwd file
        POST /containers/CONTAINER/exec {"Cmd":["id"],"User":"1:nobody-here"} => 400 unable to find group nobody-here: no matching entries in group file
        GET /containers/CONTAINER/archive?path=/etc/passwd/ => 400 not a directory
        POST /images/busybox/tag?repo=sha256&tag=x => 400 refusing to create an ambiguous tag using digest algorithm as name
        GET /images/get?names=busybox&platform={}&platform={} => 400 multiple platform parameters not supported
        GET /images/busybox/json?platform={"os":"windows","architecture":"amd64"} => 404 its platform (linux/amd64) does not match the specified platform (windows/amd64)
        GET /images/busybox/json?platform={"os":"linux"} => 200
        GET /images/busybox/json?platform={"os":"linux"}&manifests=1 => 400 manifests and platform options cannot both be set
        POST /build?platform=foobar => 400 unknown operating system or architecture
        POST /images/create?fromSrc=-&platform=nintendo64 => 400 unknown operating system or architecture
        POST /images/create?fromSrc=-&platform=macos/arm64 => 400 operating system is not supported
        POST /images/create?fromImage=x&platform=foobar => 400 unknown operating system or architecture
        GET /images/json?filters={"since":["absent"]} => 404 absent
        POST /session => 400 no upgrade
        POST /containers/create {"Image":"busybox","Cmd":"true","Entrypoint":"echo","HostConfig":{"CapAdd":"NET_ADMIN"}} => 201
        POST /containers/create {"Image":"busybox","HostConfig":{"PidMode":"container:absent"}} => 400 No such container: absent
        POST /containers/create {"Image":"busybox","HostConfig":{"NetworkMode":"container:absent"}} => 201
        POST /containers/create {"HostConfig":{}} => 400 config cannot be empty in order to create a container
        POST /containers/create {"Image":"busybox","HostConfig":{"PortBindings":{"19039;1230":[{}]}}} => 400 invalid port specification
        POST /containers/create {"Image":""} => 400 no command specified
        POST /containers/create {"Image":"busybox","Cmd":1} => 400 invalid type: integer `1`, expected a sequence
        POST /containers/create {"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"99999"}]}}} => 400 invalid port specification
        POST /containers/create {"Image":"busybox","HostConfig":{"ExtraHosts":["x"]}} => 400 bad format for add-host
        POST /containers/create {"Image":"busybox","HostConfig":{"ExtraHosts":["x:host-gateway","y:[::1]","z=10.0.0.1","w:::1"]}} => 201
        POST /containers/create {"Image":"busybox","NetworkingConfig":{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"::1"}}}}} => 400 invalid IPv4 address: ::1
        POST /containers/create {"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"/not/here","Target":"/v"}]}} => 400 bind source path does not exist: /not/here
        POST /containers/CONTAINER/rename?name= => 400 Neither old nor new names may be empty
        POST /containers/CONTAINER/rename?name=-x => 400 Error when allocating new name: Invalid container name (-x)
        POST /networks/bridge/connect {} => 400 value is empty
        POST /networks/host/disconnect {"Container":"CONTAINER"} => 403 is not connected to network host
        POST /images/prune?filters={"dangling":["x"]} => 400 invalid filter 'dangling=[x]'
        GET /containers/json?filters={"publish":["x"]} => 400 invalid filter 'publish=[x]'
        GET /containers/json?filters={"label":"x"} => 400 a filter's values are a list of texts
        GET /v1.41//containers/json?all=1 => 301
    "#;
    // Braces and quotes of paths go over the wire in percent.
    let calls: Vec<String> = calls.lines().map(|line| in_percent(line.trim())).collect();
    check(&host, &id, &calls.join("\n"));
    // As people write it for curl.
    let raw = r#"/containers/json?filters={"label":["nobody=has|this"]}"#;
    let (status, said) = call(&host, "GET", raw, "");
    assert_eq!((status, said.trim()), (200, "[]"));
}

/// The same call with the path's JSON in percent-encoding.
fn in_percent(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let (Some(method), Some(path), Some(rest)) = (words.next(), words.next(), words.next()) else {
        return line.to_owned();
    };
    let path = path
        .replace('{', "%7B")
        .replace('}', "%7D")
        .replace('"', "%22");
    format!("{method} {path} {rest}")
}

fn inspected(host: &TestHost, version: &str, path: &str) -> Value {
    let (status, said) = call(host, "GET", &format!("{version}{path}"), "");
    assert_eq!(status, 200, "{said}");
    let body = said.find(['{', '[']).expect("JSON");
    let end = said.rfind(['}', ']']).expect("JSON");
    serde_json::from_str(&said[body..=end]).expect("JSON")
}

#[test]
fn answers_are_those_of_the_version_that_is_spoken() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let info = |version| inspected(&host, version, "/info");
    assert_eq!(info("/v1.49")["BridgeNfIptables"], json!(false));
    assert_eq!(info("/v1.50")["BridgeNfIptables"], Value::Null);
    assert_eq!(info("/v1.48")["FirewallBackend"], Value::Null);
    assert_eq!(info("")["FirewallBackend"]["Driver"], json!("nftables"));
    assert_eq!(info("/v1.51")["InitCommit"]["Expected"], Value::Null);
    assert!(info("/v1.48")["InitCommit"]["Expected"].is_string());

    let noted =
        json!({"Image": "busybox", "HostConfig": {"Annotations": {"a": "b"}, "Privileged": true}});
    let id = created(&host, &noted);
    let listed =
        |version| inspected(&host, version, "/containers/json?all=1")[0]["HostConfig"].clone();
    assert_eq!(listed("/v1.46")["Annotations"], json!({"a": "b"}));
    assert_eq!(listed("/v1.45")["Annotations"], Value::Null);
    let whole = inspected(&host, "", &format!("/containers/{id}/json"));
    assert_eq!(whole["HostConfig"]["MaskedPaths"], Value::Null);
    assert_eq!(whole["HostConfig"]["IpcMode"], json!("private"));

    let (_, said) = call(
        &host,
        "POST",
        "/v1.39/containers/create?name=old",
        r#"{"Image":"busybox"}"#,
    );
    let old = inspected(&host, "", "/containers/old/json");
    assert_eq!(old["HostConfig"]["IpcMode"], json!("shareable"), "{said}");

    for name in ["one", "two"] {
        call(
            &host,
            "POST",
            "/volumes/create",
            &format!(r#"{{"Name":"{name}"}}"#),
        );
    }
    let (_, kept) = call(&host, "POST", "/v1.42/volumes/prune", "");
    assert!(!kept.contains("one"), "{kept}");
    let (_, gone) = call(&host, "POST", "/v1.41/volumes/prune", "");
    assert!(gone.contains("one") && gone.contains("two"), "{gone}");
}

#[test]
fn limits_are_lifted() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let limits = json!({"HostConfig": {"Init": true, "PidsLimit": 32, "CpuQuota": 20000, "CpuPeriod": 100_000}});
    let id = running(&host, &limits);
    let update = |version: &str, body: &str| {
        let (status, said) = call(
            &host,
            "POST",
            &format!("{version}/containers/{id}/update"),
            body,
        );
        assert_eq!(status, 200, "{said}");
        inspected(&host, "", &format!("/containers/{id}/json"))["HostConfig"].clone()
    };
    let file = |names: &[&str]| {
        let read = format!("cat {} 2>/dev/null | head -n 1", names.join(" "));
        let run = host
            .hoist(&["container", "exec", &id, "sh", "-c", &read])
            .ok();
        run.stdout.trim().to_owned()
    };
    let pids = || file(&["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]);
    assert_eq!(
        update("/v1.39", r#"{"PidsLimit":16}"#)["PidsLimit"],
        json!(32)
    );
    assert_eq!(update("", r#"{"PidsLimit":24}"#)["PidsLimit"], json!(24));
    assert_eq!(pids(), "24");
    assert_eq!(update("", r#"{"PidsLimit":-2}"#)["PidsLimit"], json!(0));
    assert_eq!(pids(), "max");
    assert_eq!(
        update("", r#"{"CpuQuota":-1,"CpuPeriod":100000}"#)["CpuQuota"],
        json!(-1)
    );
    let quota = file(&[
        "/sys/fs/cgroup/cpu.max",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    ]);
    assert!(quota.starts_with("max") || quota == "-1", "{quota}");
}

#[test]
fn what_was_said_right_after_the_start_is_in_the_log() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    for number in 0..20 {
        let said = format!("line {number}");
        let id = created(&host, &json!({"Image": "busybox", "Cmd": ["echo", said]}));
        call(&host, "POST", &format!("/containers/{id}/start"), "");
        let (_, log) = call(&host, "GET", &format!("/containers/{id}/logs?stdout=1"), "");
        assert!(log.contains(&said), "{log:?} instead of {said:?}");
    }
}

#[test]
fn a_profile_of_ones_own_holds_for_privileged_containers() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chown","fchownat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let file = host.path("tmp/profile.json");
    std::fs::write(&file, profile).unwrap();
    let option = format!("seccomp={}", file.display());
    let run = |options: &[&str]| {
        let image = ["busybox", "chown", "42", "/bin/busybox"];
        host.hoist(
            &[
                &["container", "run", "--rm", "--privileged"],
                options,
                &image,
            ]
            .concat(),
        )
    };
    run(&[]).ok();
    run(&["--security-opt", &option])
        .fails()
        .says(&["Operation not permitted"]);
}

/// A container that leaves with 3 when it is stopped and with 137 when it is killed, in a state.
fn in_state(host: &TestHost, state: &str) -> String {
    let script = "trap 'exit 3' TERM; while :; do sleep 0.05; done";
    let id = created(
        host,
        &json!({"Image": "busybox", "Cmd": ["sh", "-c", script]}),
    );
    for action in match state {
        "created" => &[][..],
        "running" => &["start"],
        _ => &["start", "stop"],
    } {
        act(host, &id, action);
    }
    id
}

fn act(host: &TestHost, id: &str, action: &str) {
    let (status, said) = match action {
        "remove" => call(host, "DELETE", &format!("/containers/{id}"), ""),
        "start" => {
            let started = call(host, "POST", &format!("/containers/{id}/start"), "");
            // The signal that is to come must find the trap.
            let trapped = || {
                let top = call(host, "GET", &format!("/containers/{id}/top"), "").1;
                // The process of that name, not the script, which has the words in it.
                top.contains("\"sleep 0.05\"")
            };
            wait_until(LONG, "the script has begun", trapped);
            started
        }
        action => call(host, "POST", &format!("/containers/{id}/{action}"), ""),
    };
    assert_eq!(status, 204, "{action}: {said}");
}

#[test]
fn waits_end_when_their_condition_holds() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let table: [(&str, &str, &[&str], i64); 10] = [
        ("created", "not-running", &[], 0),
        ("created", "next-exit", &["start", "kill"], 137),
        ("created", "removed", &["remove"], 0),
        ("running", "", &["stop"], 3),
        ("running", "not-running", &["kill"], 137),
        ("running", "next-exit", &["stop"], 3),
        ("running", "removed", &["kill", "remove"], 137),
        ("exited", "not-running", &[], 3),
        ("exited", "next-exit", &["start", "kill"], 137),
        ("exited", "removed", &["remove"], 3),
    ];
    for (state, condition, actions, code) in table {
        let case = format!("{state}, {condition:?}");
        let id = in_state(&host, state);
        let request = format!(
            "POST /containers/{id}/wait?condition={condition} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        // The head comes at once: clients start the container only then.
        let (mut stream, head) = open(&host, &request);
        assert!(head.starts_with("HTTP/1.1 200"), "{case}: {head}");
        for action in actions {
            stream.set_nonblocking(true).unwrap();
            let early = stream.read(&mut [0; 64]);
            assert!(early.is_err(), "{case}: answered before {action}");
            stream.set_nonblocking(false).unwrap();
            act(&host, &id, action);
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.contains(&format!(r#""StatusCode":{code}"#)),
            "{case}: {answer}"
        );
        call(&host, "DELETE", &format!("/containers/{id}?force=1"), "");
    }
}

/// What the suites of aiodocker and dockerode ask for.
#[test]
fn public_clients_get_what_they_look_for() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = running(&host, &json!({}));
    check(
        &host,
        &id,
        r#"
        POST /containers/prune => 200 "ContainersDeleted":null
        POST /images/prune => 200 "ImagesDeleted":null
        POST /networks/prune => 200 "NetworksDeleted":null
        POST /networks/create {"Name":"side"} => 201
        POST /networks/side/connect {"container":"CONTAINER"} => 200
        POST /networks/side/connect {"container":"CONTAINER"} => 403 already exists in network side
        POST /containers/create?name=waits {"Image":"busybox"} => 201
        POST /networks/bridge/connect {"Container":"waits"} => 200
        DELETE /containers/waits => 204
        POST /networks/side/disconnect {"container":"CONTAINER"} => 200
        POST /build/prune => 200 "CachesDeleted":null
        POST /images/busybox/tag?repo=side:old&tag=new => 201
        GET /images/side:new/json => 200 "side:new"
        POST /images/create?fromImage=busybox&platform=foo => 400 unknown operating system or architecture: invalid argument
        "#,
    );
    // No credentials are no reason to refuse a push.
    let push = "POST /images/nothing/push?tag=1 HTTP/1.1\r\nHost: x\r\nX-Registry-Auth: placeholder\r\nContent-Length: 0\r\n\r\n";
    let (_, head) = open(&host, push);
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    // A refusal is heard by a client that still writes.
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    let size = 200_000;
    write!(
        stream,
        "POST /build?platform=foo HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {size}\r\n\r\n"
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(&vec![0; size]).expect("it still listens");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}
