//! What moby's own suites ask of the containers API, in two scenarios: places in networks with their drivers' options, and the
//! rest of what a container may be asked for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::protocol::{call, created};
use crate::common::{LONG, TestHost, can_run, wait_until};

fn ask(host: &TestHost, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let (status, said) = call(host, method, path, &body);
    let text = said.find(['{', '[']).map_or("null", |start| &said[start..]);
    let text = text.rfind(['}', ']']).map_or(text, |end| &text[..=end]);
    (status, serde_json::from_str(text).unwrap_or(json!(text)))
}

/// Creates and starts; the id.
#[track_caller]
fn started(host: &TestHost, body: &Value) -> String {
    let id = created(host, body);
    let (status, said) = ask(
        host,
        "POST",
        &format!("/containers/{id}/start"),
        &json!(null),
    );
    assert_eq!(status, 204, "{said}");
    id
}

/// What a container that ends by itself printed.
#[track_caller]
fn printed(host: &TestHost, body: &Value) -> String {
    let id = started(host, body);
    let (_, ended) = ask(
        host,
        "POST",
        &format!("/containers/{id}/wait"),
        &json!(null),
    );
    let (_, said) = call(
        host,
        "GET",
        &format!("/containers/{id}/logs?stdout=1&stderr=1"),
        "",
    );
    assert_eq!(ended["StatusCode"], 0, "{said}");
    said
}

/// What answers at a port of this host; empty when nobody does.
fn answer(port: u16) -> String {
    let mut said = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn published_ports_follow_a_container_through_its_networks() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    for (network, internal) in [("inner", true), ("one", false), ("two", false)] {
        let body = json!({"Name": network, "Internal": internal});
        let (status, said) = ask(&host, "POST", "/networks/create", &body);
        assert_eq!(status, 201, "{said}");
    }
    let id = started(
        &host,
        &json!({
            "Image": "busybox", "Cmd": ["httpd", "-f", "-p", "80"], "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"NetworkMode": "inner", "Init": true, "PortBindings": {"80/tcp": [{"HostPort": "18082"}]}}
        }),
    );
    let change = |network: &str, what: &str| {
        let path = format!("/networks/{network}/{what}");
        let (status, said) = ask(&host, "POST", &path, &json!({"Container": id}));
        assert_eq!(status, 200, "{said}");
    };
    let answers = || answer(18082).starts_with("HTTP/1.");
    assert!(!answers(), "a port of an internal network is published");
    change("one", "connect");
    wait_until(LONG, "the port is published", answers);
    change("two", "connect");
    change("one", "disconnect");
    wait_until(LONG, "the port leads to the other network", answers);
    // The next engine goes on with it.
    host.kill_engine();
    host.hoist(&["container", "ls"]).ok();
    wait_until(LONG, "the port is published still", answers);
    change("two", "disconnect");
    assert!(!answers(), "the port is published still");
    let (_, found) = ask(
        &host,
        "GET",
        &format!("/containers/{id}/json"),
        &json!(null),
    );
    assert!(
        found["NetworkSettings"]["Ports"]["80/tcp"].is_null(),
        "{found}"
    );
}

const LINK: &str = "com.docker.network.endpoint.ifname";
const SETTINGS: &str = "com.docker.network.endpoint.sysctls";

#[test]
fn places_in_networks_have_the_names_and_settings_asked_for() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    for network in ["one", "two", "three"] {
        let (status, said) = ask(&host, "POST", "/networks/create", &json!({"Name": network}));
        assert_eq!(status, 201, "{said}");
    }
    let setting = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.neigh.IFNAME.app_solicit=3";
    let id = started(
        &host,
        &json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "one", "Init": true},
            "NetworkingConfig": {"EndpointsConfig": {
                "one": {"DriverOpts": {LINK: "eth1", SETTINGS: setting}, "IPAMConfig": {"LinkLocalIPs": ["169.254.7.7"]}},
                "two": {}}}
        }),
    );
    let run = |script: &str| {
        let said = host
            .hoist(&["container", "exec", &id, "sh", "-c", script])
            .ok();
        said.stdout.trim().to_owned()
    };
    // The one without a name gets the first that is free.
    assert_eq!(run("ls /sys/class/net | grep eth | xargs"), "eth0 eth1");
    assert_eq!(run("ip -o addr show eth1 | grep -c 169.254.7.7/16"), "1");
    let of_link = "cat /proc/sys/net/ipv4/conf/eth1/log_martians /proc/sys/net/ipv4/neigh/eth1/app_solicit | xargs";
    assert_eq!(run(of_link), "1 3");
    assert_eq!(run("cat /proc/sys/net/ipv4/conf/eth0/log_martians"), "0");
    let connect = |options: Value| {
        let body = json!({"Container": id, "EndpointConfig": {"DriverOpts": options}});
        ask(&host, "POST", "/networks/three/connect", &body)
    };
    let (status, said) = connect(json!({LINK: "eth0"}));
    let message = said["message"].as_str().unwrap_or_default();
    assert!(status == 400 && message.contains("file exists"), "{said}");
    let (status, said) = connect(json!({LINK: "a/b"}));
    let message = said["message"].as_str().unwrap_or_default();
    assert!(
        status == 400 && message.contains("invalid interface name"),
        "{said}"
    );
    let (status, said) = connect(json!({SETTINGS: "net.core.somaxconn=1"}));
    let message = said["message"].as_str().unwrap_or_default();
    assert!(
        status == 400 && message.contains("unrecognised network"),
        "{said}"
    );
    let lan = json!({LINK: "lan", SETTINGS: "net.ipv4.conf.ifname.log_martians=1"});
    assert_eq!(connect(lan).0, 200);
    assert_eq!(run("cat /proc/sys/net/ipv4/conf/lan/log_martians"), "1");
}

#[test]
fn what_a_container_is_asked_for_is_what_it_gets() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    // A privileged one has the machine's devices, and a directory of devices gives those in it.
    let own = host.path("devices/deeper");
    std::fs::create_dir_all(&own).unwrap();
    let kind = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, own.join("nil"), kind, 0o666.into(), null).unwrap();
    let list = json!(["sh", "-c", "ls -d /dev/kmsg /dev/d/deeper/nil 2>&1; true"]);
    let devices = json!([{"PathOnHost": host.path("devices"), "PathInContainer": "/dev/d"}]);
    let host_config = json!({"Privileged": true, "Devices": devices});
    let said = printed(
        &host,
        &json!({"Image": "busybox", "Cmd": list, "HostConfig": host_config}),
    );
    assert!(said.contains("/dev/d/deeper/nil\n"), "{said}");
    assert!(said.contains("/dev/kmsg\n"), "{said}");
    let host_config = json!({"Devices": devices});
    let said = printed(
        &host,
        &json!({"Image": "busybox", "Cmd": list, "HostConfig": host_config}),
    );
    assert!(said.contains("/dev/d/deeper/nil\n"), "{said}");
    assert!(said.contains("/dev/kmsg: No such"), "{said}");
    // Without a network there is only loopback.
    let links =
        json!({"Image": "busybox", "Cmd": ["ls", "/sys/class/net"], "NetworkDisabled": true});
    let said = printed(&host, &links);
    assert!(said.contains("lo\n") && !said.contains("eth0"), "{said}");
    // Details are the labels and variables that the log options choose.
    let talks = json!({
        "Image": "busybox", "Cmd": ["echo", "hello"], "Labels": {"part": "a b"}, "Env": ["MODE=x"],
        "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"labels": "part", "env": "MODE"}}}
    });
    let id = started(&host, &talks);
    let logs = format!("/containers/{id}/logs?stdout=1&details=1");
    wait_until(LONG, "its output is in the log", || {
        call(&host, "GET", &logs, "")
            .1
            .contains("MODE=x,part=a+b hello")
    });
    ipv6_is_off(&host);
    containers_that_must_not_reach_each_other(&host);
    links_are_names(&host);
    nothing_is_told_of_what_was_not_asked_for(&host);
}

/// A container may turn IPv6 off in a network that has it, and is told by its address of the main network's link.
fn ipv6_is_off(host: &TestHost) {
    let body = json!({"Name": "six", "EnableIPv6": true});
    let (status, said) = ask(host, "POST", "/networks/create", &body);
    assert_eq!(status, 201, "{said}");
    let mac = "02:42:ac:11:00:42";
    let said = printed(
        host,
        &json!({
            "Image": "busybox", "Cmd": ["sh", "-c", "cat /etc/hosts; ip addr show eth0"],
            "HostConfig": {"NetworkMode": "six", "Sysctls": {"net.ipv6.conf.all.disable_ipv6": "1"}},
            "NetworkingConfig": {"EndpointsConfig": {"six": {"MacAddress": mac}}}
        }),
    );
    assert!(said.contains("inet ") && said.contains(mac), "{said}");
    assert!(
        !said.contains("inet6") && !said.contains("ip6-localhost"),
        "{said}"
    );
    let (_, found) = ask(host, "GET", "/containers/json?all=1", &json!(null));
    let id = found[0]["Id"].as_str().expect("it is the newest");
    let (_, found) = ask(host, "GET", &format!("/containers/{id}/json"), &json!(null));
    assert_eq!(found["Config"]["MacAddress"], mac, "{found}");
}

/// Without `enable_icc` containers reach their gateway, and not each other; options that nothing here does are refused.
fn containers_that_must_not_reach_each_other(host: &TestHost) {
    let icc = "com.docker.network.bridge.enable_icc";
    for (name, value) in [("apart", "false"), ("together", "true")] {
        let body = json!({"Name": name, "Options": {icc: value}});
        let (status, said) = ask(host, "POST", "/networks/create", &body);
        assert_eq!(status, 201, "{said}");
        let mode = json!({"NetworkMode": name, "Init": true});
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": mode});
        let other = started(host, &body);
        let script = format!(
            "ping -c 1 -W 2 {} && echo reached; ping -c 1 -W 5 $(ip route | sed -n 's/default via //; s/ .*//p' | head -1) && echo gateway",
            &other[..12]
        );
        let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": mode});
        let said = printed(host, &body);
        assert_eq!(said.contains("reached"), name == "together", "{said}");
        assert!(said.contains("gateway"), "{said}");
    }
    for (name, value) in [
        (icc, "perhaps"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
        ("com.docker.network.bridge.enable_ccc", "true"),
    ] {
        let body = json!({"Name": "refused", "Options": {name: value}});
        let (status, said) = ask(host, "POST", "/networks/create", &body);
        assert!(status == 400 && said.to_string().contains(name), "{said}");
    }
}

/// A linked container is found by its name in the linking one, also after that has got another name.
fn links_are_names(host: &TestHost) {
    let top = json!(["sleep", "1000"]);
    let linked = started(
        host,
        &json!({"Image": "busybox", "Cmd": top, "HostConfig": {"Init": true}}),
    );
    let links = json!({"Links": [format!("{linked}:db")], "Init": true});
    let linking = json!({"Image": "busybox", "Cmd": top, "HostConfig": links});
    let (_, made) = ask(host, "POST", "/containers/create?name=web", &linking);
    let id = made["Id"].as_str().expect("it was created");
    for (path, name) in [("web/db", "web"), ("other/db", "other")] {
        if name == "other" {
            let (status, said) = ask(
                host,
                "POST",
                &format!("/containers/{id}/rename?name=other"),
                &json!(null),
            );
            assert_eq!(status, 204, "{said}");
        }
        let (status, found) = ask(
            host,
            "GET",
            &format!("/v1.51/containers/{path}/json"),
            &json!(null),
        );
        assert_eq!((status, &found["Id"]), (200, &json!(linked)), "{found}");
    }
    let (status, said) = ask(host, "GET", "/containers/web/db/json", &json!(null));
    assert!(
        status == 404 && said["message"] == "No such container: web/db",
        "{said}"
    );
}

fn nothing_is_told_of_what_was_not_asked_for(host: &TestHost) {
    let (_, usage) = ask(host, "GET", "/system/df?type=volume", &json!(null));
    assert!(
        usage["Containers"].is_null() && usage["Images"].is_null(),
        "{usage}"
    );
    assert!(usage["Volumes"].is_array(), "{usage}");
    let (status, said) = ask(
        host,
        "POST",
        "/volumes/create",
        &json!({"Name": "vol", "DriverOpts": {"x": "y"}}),
    );
    let message = said["message"].as_str().unwrap_or_default();
    assert!(
        status == 400 && message.starts_with("create vol: invalid option"),
        "{said}"
    );
    let body = json!({"Image": "busybox", "Volumes": {"/data": {}}, "Healthcheck": {}, "HostConfig": {"PidMode": "host"}});
    let id = created(host, &body);
    let (_, found) = ask(host, "GET", &format!("/containers/{id}/json"), &json!(null));
    assert_eq!(found["Mounts"][0]["Mode"], "", "{found}");
    assert_eq!(found["Config"]["Healthcheck"], json!({}), "{found}");
    assert_eq!(
        found["HostConfig"]["SecurityOpt"],
        json!(["label=disable"]),
        "{found}"
    );
}
