//! What inspect and the lists say, field by field against Docker's engine: every field that Docker's engine fills is there, and has the
//! same value where it is not another each time. Fields beyond those are of later versions of the API, and not compared.
//!
//! `inspect.txt` has what Docker's engine says; `~ path why` names what differs on purpose. Where that engine is at hand the record
//! is checked, and `HOIST_BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::{Value, json};

use super::load::ask;
use super::protocol::{call, created};
use crate::common::{Reference, TestHost, can_run, reference};

/// Fields whose values are another each time or on each machine; of these the kind is compared.
const CHANGING: &str = r"(?x)
    (^|\.)(Id|ID|Image|ImageID|Pid|Created|CreatedAt|StartedAt|FinishedAt|LastTagTime|Size|VirtualSize|SandboxID|SandboxKey|ContainerID|ExecIDs|EndpointID
        |NetworkID|MacAddress|Mountpoint|Source|LogPath|ResolvConfPath|HostnamePath|HostsPath|ConfigOnly|Parent|DockerVersion
        |Layers|Hostname|Containers|Status|Start|End|Output|ParentId|ContainerConfig|Health|RepoDigests|Platform)($|\.|\[)
    | GraphDriver\.Data | ^version\. | ^info\. | GlobalIPv6Address | Created$";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/inspect.txt")
}

/// Every leaf of a value by its path.
fn leaves(path: &str, value: &Value, changing: &Regex, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                // Names with ids in them are no fields.
                if name.len() < 60 {
                    leaves(&format!("{path}.{name}"), value, changing, found);
                }
            }
        }
        Value::Array(items) if !items.is_empty() && !changing.is_match(path) => {
            let mut items: Vec<&Value> = items.iter().collect();
            // Docker's engine has no order for them.
            for (list, field) in [(".Mounts", "Destination"), (".Ports", "PrivatePort")] {
                if path.ends_with(list) {
                    items.sort_by_key(|item| item[field].to_string());
                }
            }
            for (number, item) in items.into_iter().enumerate() {
                leaves(&format!("{path}[{number}]"), item, changing, found);
            }
        }
        _ => {
            let text = match value {
                // Go has two ways to say nothing, and engines change between them.
                Value::Null => "nothing".to_owned(),
                Value::Array(items) if items.is_empty() => "nothing".to_owned(),
                Value::Object(fields) if fields.is_empty() => "nothing".to_owned(),
                _ if !changing.is_match(path) => value.to_string(),
                Value::String(_) => "text".to_owned(),
                Value::Number(_) => "number".to_owned(),
                Value::Bool(_) => "yes or no".to_owned(),
                Value::Array(_) => "list".to_owned(),
                Value::Object(_) => "object".to_owned(),
            };
            found.insert(path.to_owned(), text);
        }
    }
}

fn container() -> Value {
    json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "Env": ["A=b"], "Labels": {"l": "m"}, "User": "0:0", "WorkingDir": "/tmp",
        "ExposedPorts": {"80/tcp": {}, "81/udp": {}}, "StopSignal": "SIGKILL", "StopTimeout": 3, "Domainname": "example.org",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 3_600_000_000_000_i64, "Retries": 3},
        "HostConfig": {
            "Memory": 67_108_864, "CpuShares": 512, "PidsLimit": 100, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}, "NetworkMode": "net", "CapAdd": ["SYS_TIME"],
            "CapDrop": ["MKNOD"], "Dns": ["9.9.9.9"], "ExtraHosts": ["there:10.9.8.7"], "Tmpfs": {"/t": "size=1m"}, "Binds": ["vol:/v:ro"],
            "Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/m", "ReadOnly": true}, {"Type": "tmpfs", "Target": "/n"}],
            "Ulimits": [{"Name": "nofile", "Soft": 70, "Hard": 80}], "Sysctls": {"net.ipv4.ip_forward": "0"}, "ShmSize": 2_097_152,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "ReadonlyRootfs": true, "GroupAdd": ["7"]
        },
        "NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["www"], "IPAMConfig": {"IPv4Address": "10.77.0.50"}}}}
    })
}

/// Makes the objects, and looks at each.
#[allow(clippy::too_many_lines, reason = "a table of calls")]
fn looks(socket: &Path) -> BTreeMap<String, String> {
    let call = |method: &str, path: &str, body: &Value| -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, said) =
            ask(socket, method, &format!("/v1.41{path}"), &body).expect("it answers");
        assert!(
            status < 400,
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&said)
        );
        serde_json::from_slice(&said).unwrap_or(Value::Null)
    };
    let network = json!({"Name": "net", "CheckDuplicate": true, "Labels": {"l": "m"}, "Options": {"o": "p"},
        "IPAM": {"Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.9", "IPRange": "10.77.0.0/25"}]}});
    call("POST", "/networks/create", &network);
    call(
        "POST",
        "/volumes/create",
        &json!({"Name": "vol", "Labels": {"l": "m"}}),
    );
    call("POST", "/containers/create?name=box", &container());
    call(
        "POST",
        "/containers/create?name=plain",
        &json!({"Image": "busybox"}),
    );
    call("POST", "/containers/box/start", &Value::Null);
    let changing = Regex::new(CHANGING).expect("it is one");
    let mut found = BTreeMap::new();
    let exec = call(
        "POST",
        "/containers/box/exec",
        &json!({"Cmd": ["true"], "AttachStdout": true}),
    );
    let exec = format!("/exec/{}/json", exec["Id"].as_str().expect("an id"));
    for (name, path) in [
        ("running", "/containers/box/json"),
        ("created", "/containers/plain/json"),
        ("image", "/images/busybox/json"),
        ("network", "/networks/net"),
        ("bridge", "/networks/bridge"),
        ("volume", "/volumes/vol"),
        ("exec", exec.as_str()),
        ("containers", r#"/containers/json?filters={"name":["box"]}"#),
        ("images", "/images/json"),
        ("volumes", "/volumes"),
        ("history", "/images/busybox/history"),
        ("info", "/info"),
        ("version", "/version"),
        ("stats", "/containers/box/stats?stream=0"),
    ] {
        let path = path
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let mut value = call("GET", &path, &Value::Null);
        if name == "stats" || name == "info" {
            shape(&mut value);
        }
        leaves(name, &value, &changing, &mut found);
    }
    call("DELETE", "/containers/box?force=1", &Value::Null);
    call("DELETE", "/containers/plain", &Value::Null);
    call("DELETE", "/networks/net", &Value::Null);
    call("DELETE", "/volumes/vol", &Value::Null);
    found
}

/// Of figures and of the machine only the fields are compared.
fn shape(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(shape),
        Value::Number(_) => *value = json!("number"),
        Value::String(_) => *value = json!("text"),
        Value::Array(_) | Value::Null => *value = json!("list"),
        Value::Bool(_) => *value = json!("yes or no"),
    }
}

#[test]
fn every_field_is_as_dockers_engine_fills_it() {
    if !can_run() {
        return;
    }
    let theirs = reference::programs().map(|bin| {
        std::thread::spawn(move || {
            let reference = Reference::start(bin);
            reference.import("busybox");
            looks(&reference.path("sock"))
        })
    });
    let host = TestHost::with_busybox();
    let ours = looks(&host.socket());
    let theirs = theirs.map(|theirs| theirs.join().expect("the reference ran"));
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let accepted: Vec<&str> = text.lines().filter(|line| line.starts_with("~ ")).collect();
    let is_accepted = |path: &str| {
        accepted.iter().any(|line| {
            line.split(' ')
                .nth(1)
                .is_some_and(|known| path.starts_with(known))
        })
    };
    let mut record: BTreeMap<String, String> = text
        .lines()
        .filter(|line| !line.starts_with("~ "))
        .filter_map(|line| line.split_once(" = "))
        .map(|(path, value)| (path.to_owned(), value.to_owned()))
        .collect();
    let mut wrong = String::new();
    if let Some(theirs) = theirs {
        if std::env::var_os("HOIST_BLESS").is_some() {
            let mut text = accepted.join("\n") + "\n";
            for (path, value) in &theirs {
                let _ = writeln!(text, "{path} = {value}");
            }
            std::fs::write(file(), text).expect("the record is writable");
            record.clone_from(&theirs);
        }
        for (path, value) in theirs.iter().filter(|(path, _)| !is_accepted(path)) {
            if record.get(path) != Some(value) {
                let _ = writeln!(
                    wrong,
                    "Docker's engine: {path} = {value}, the record: {:?}",
                    record.get(path)
                );
            }
        }
    }
    for (path, value) in record.iter().filter(|(path, _)| !is_accepted(path)) {
        match ours.get(path) {
            Some(our) if our == value => {}
            other => {
                let _ = writeln!(
                    wrong,
                    "{path} = {value} in Docker's engine, ours: {other:?}"
                );
            }
        }
    }
    assert!(wrong.is_empty() && record.len() > 100, "{wrong}");
}

#[test]
fn older_clients_find_the_short_id_among_the_aliases() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    assert_eq!(
        call(&host, "POST", "/networks/create", r#"{"Name":"users"}"#).0,
        201
    );
    let endpoints = json!({"users": {"Aliases": ["own"]}});
    let id = created(
        &host,
        &json!({"Image": "busybox", "HostConfig": {"NetworkMode": "users"},
            "NetworkingConfig": {"EndpointsConfig": endpoints}}),
    );
    let aliases = |version: &str| {
        let (_, said) = call(
            &host,
            "GET",
            &format!("/{version}/containers/{id}/json"),
            "",
        );
        let start = said.find('{').expect("JSON");
        let end = said.rfind('}').expect("JSON");
        let found: Value = serde_json::from_str(&said[start..=end]).expect("JSON");
        found["NetworkSettings"]["Networks"]["users"]["Aliases"].clone()
    };
    assert_eq!(aliases("v1.45"), json!(["own"]));
    assert_eq!(aliases("v1.44"), json!(["own", &id[..12]]));
}
