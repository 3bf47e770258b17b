//! What each element of a service becomes in the create request.

use serde_json::{Value, json};

use crate::model::Project;

use super::{DesireError, DesiredService, InstanceFacts, desire};

/// A project of one service `web` with the canonical attributes given, and what they may refer to.
fn project(service: Value) -> Project {
    let mut project: Project = serde_json::from_value(json!({
        "name": "p",
        "services": {"web": service},
        "networks": {"default": {"name": "p_default"}, "back": {"name": "p_back"}},
        "volumes": {"data": {"name": "p_data"}},
        "secrets": {"key": {"name": "p_key", "file": "/host/key"}, "env": {"name": "p_env", "environment": "KEY"}},
        "configs": {"app": {"name": "p_app", "content": "a=1"}, "file": {"name": "p_file", "file": "/host/app"}},
    }))
    .unwrap();
    project.working_dir = "/work".into();
    project
        .environment
        .insert("HOME".to_owned(), "/root".to_owned());
    project
}

fn lower(service: Value) -> Result<DesiredService, DesireError> {
    let mut desired = desire(&project(service), ["web"])?;
    Ok(desired.services.swap_remove("web").unwrap())
}

/// The request for the second container of the service, as JSON.
fn request(service: Value) -> Value {
    let shared = vec!["p-db-1".to_owned(); 4];
    let facts = InstanceFacts {
        number: 2,
        image_id: "sha256:1",
        shared: &shared,
        links: &[],
        inherited: &[],
        replaces: None,
    };
    serde_json::to_value(lower(service).unwrap().instance("p", &facts)).unwrap()
}

/// Looks only at the fields of `expected`.
#[track_caller]
fn check(service: Value, expected: Value) {
    let found = request(service);
    for (pointer, expected) in expected.as_object().unwrap() {
        assert_eq!(
            found.pointer(pointer).unwrap_or(&Value::Null),
            expected,
            "at {pointer} of {found:#}"
        );
    }
}

#[test]
fn processes() {
    check(
        json!({"image": "nginx", "command": ["a", "b"], "entrypoint": [], "working_dir": "/w", "user": "1:2", "tty": true, "stdin_open": true,
            "environment": {"A": "1", "HOME": null, "GONE": null}, "init": true, "stop_signal": "SIGINT", "stop_grace_period": "1m30s",
            "hostname": "h", "domainname": "d"}),
        json!({"/Image": "nginx", "/Cmd": ["a", "b"], "/Entrypoint": [], "/WorkingDir": "/w", "/User": "1:2", "/Tty": true, "/OpenStdin": true,
            "/Env": ["A=1", "HOME=/root", "GONE"], "/HostConfig/Init": true, "/StopSignal": "SIGINT", "/StopTimeout": 90,
            "/Hostname": "h", "/Domainname": "d"}),
    );
    check(
        json!({"image": "a"}),
        json!({"/Cmd": null, "/Entrypoint": null, "/HostConfig/Init": null, "/StopTimeout": null}),
    );
    check(
        json!({"build": {"context": "."}}),
        json!({"/Image": "p-web"}),
    );
}

#[test]
fn labels_are_composes_and_win() {
    check(
        json!({"image": "a", "labels": {"mine": "1", "com.docker.compose.project": "other"},
            "depends_on": {"db": {"condition": "service_healthy", "restart": true}, "c": {"condition": "service_started"}}}),
        json!({"/Labels/mine": "1", "/Labels/com.docker.compose.project": "p", "/Labels/com.docker.compose.service": "web",
            "/Labels/com.docker.compose.container-number": "2", "/Labels/com.docker.compose.oneoff": "False",
            "/Labels/com.docker.compose.image": "sha256:1", "/Labels/com.docker.compose.project.working_dir": "/work",
            "/Labels/com.docker.compose.depends_on": "db:service_healthy:true,c:service_started:false"}),
    );
}

#[test]
fn networks_have_aliases_addresses_and_an_order() {
    check(
        json!({"image": "a", "mac_address": "02:00:00:00:00:01", "networks": {"default": null,
            "back": {"aliases": ["w"], "ipv4_address": "10.0.0.9", "priority": 10}}}),
        json!({"/HostConfig/NetworkMode": "p_back",
            "/NetworkingConfig/EndpointsConfig/p_back/Aliases": ["p-web-2", "web", "w"],
            "/NetworkingConfig/EndpointsConfig/p_back/IPAMConfig/IPv4Address": "10.0.0.9",
            "/NetworkingConfig/EndpointsConfig/p_back/MacAddress": "02:00:00:00:00:01",
            "/NetworkingConfig/EndpointsConfig/p_default/Aliases": ["p-web-2", "web"]}),
    );
    check(
        json!({"image": "a", "network_mode": "host"}),
        json!({"/HostConfig/NetworkMode": "host", "/NetworkingConfig/EndpointsConfig": {}}),
    );
    check(
        json!({"image": "a", "network_mode": "service:db", "pid": "service:db", "ipc": "host", "volumes_from": ["db:ro", "container:x"]}),
        json!({"/HostConfig/NetworkMode": "container:p-db-1", "/HostConfig/PidMode": "container:p-db-1", "/HostConfig/IpcMode": "host",
            "/HostConfig/VolumesFrom": ["x", "p-db-1:ro"]}),
    );
}

#[test]
fn ports() {
    check(
        json!({"image": "a", "expose": ["9000-9001", "53/udp"], "ports": [{"target": 80, "published": "8080", "host_ip": "127.0.0.1"},
            {"target": 80, "published": "8000-8010"}, {"target": 53, "protocol": "UDP"}]}),
        json!({"/ExposedPorts": {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}, "9001/tcp": {}},
            "/HostConfig/PortBindings": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": "8000-8010"}],
                "53/udp": [{"HostIp": "", "HostPort": ""}]}}),
    );
}

#[test]
fn mounts() {
    check(
        json!({"image": "a", "tmpfs": ["/run:size=1m", "/tmp"], "volumes": [
            {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": true}},
            {"type": "volume", "target": "/anonymous"},
            {"type": "bind", "source": "/src", "target": "/s", "read_only": true, "bind": {"create_host_path": true, "propagation": "rshared"}},
            {"type": "bind", "source": "/must/exist", "target": "/m", "bind": {"create_host_path": false}},
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1048576", "mode": 511}},
            {"type": "image", "source": "i", "target": "/i", "image": {"subpath": "a/b"}}]}),
        json!({"/HostConfig/Binds": ["p_data:/d:rw,nocopy", "/src:/s:ro,rshared"], "/Volumes": {"/anonymous": {}},
            "/HostConfig/Tmpfs": {"/run": "size=1m", "/tmp": ""},
            "/HostConfig/Mounts/0/Source": "/must/exist", "/HostConfig/Mounts/0/Type": "bind",
            "/HostConfig/Mounts/1/TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 511},
            "/HostConfig/Mounts/2/ImageOptions": {"Subpath": "a/b"}}),
    );
}

#[test]
fn anonymous_volumes_are_inherited_where_nothing_else_is_mounted() {
    let service = json!({"image": "a", "tmpfs": ["/t"], "volumes": [{"type": "volume", "target": "/a"}, {"type": "volume", "source": "data", "target": "/d"}]});
    let inherited: Vec<(String, String)> = ["/a", "/of-the-image", "/t", "/d"]
        .map(|path| ("v".to_owned(), path.to_owned()))
        .to_vec();
    let facts = InstanceFacts {
        number: 1,
        image_id: "",
        shared: &[],
        links: &[],
        inherited: &inherited,
        replaces: Some("old"),
    };
    let request = lower(service).unwrap().instance("p", &facts);
    assert_eq!(
        request.host_config.binds,
        ["p_data:/d:rw", "v:/a:rw", "v:/of-the-image:rw"]
    );
    assert_eq!(request.config.volumes, None);
    assert_eq!(request.config.labels["com.docker.compose.replace"], "old");
}

#[test]
fn secrets_and_configs() {
    let service = json!({"image": "a", "secrets": [{"source": "key"}], "configs": [
        {"source": "file", "target": "etc/app"},
        {"source": "app", "target": "/etc/x", "uid": "5", "gid": "6", "mode": "0440"}]});
    let found = request(service.clone());
    assert_eq!(
        found.pointer("/HostConfig/Mounts").unwrap(),
        &json!([{"Type": "bind", "Source": "/host/key", "Target": "/run/secrets/key", "ReadOnly": true},
            {"Type": "bind", "Source": "/host/app", "Target": "/etc/app", "ReadOnly": true}])
    );
    let files = lower(service).unwrap().files;
    assert_eq!(
        format!("{files:?}"),
        "[InjectedFile(/etc/x, 3 bytes, 5:6, 0440)]"
    );
    let error = lower(json!({"image": "a", "secrets": [{"source": "env"}]})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment variable \"KEY\" required by secret \"p_env\" is not set"
    );
}

#[test]
fn limits_and_privileges() {
    check(
        json!({"image": "a", "cpus": 1.5, "mem_limit": "1048576", "pids_limit": 9, "shm_size": "64", "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"],
            "privileged": true, "read_only": true, "sysctls": {"net.core.somaxconn": "1"}, "ulimits": {"nproc": 5, "nofile": {"soft": 1, "hard": 2}},
            "extra_hosts": ["a=1.2.3.4", "gw=host-gateway", "six=::1"], "dns": ["9.9.9.9"], "security_opt": ["no-new-privileges:true"]}),
        json!({"/HostConfig/NanoCpus": 1_500_000_000, "/HostConfig/Memory": 1_048_576, "/HostConfig/PidsLimit": 9, "/HostConfig/ShmSize": 64,
            "/HostConfig/CapAdd": ["NET_ADMIN"], "/HostConfig/CapDrop": ["ALL"], "/HostConfig/Privileged": true,
            "/HostConfig/ReadonlyRootfs": true, "/HostConfig/Sysctls": {"net.core.somaxconn": "1"},
            "/HostConfig/Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Soft": 5, "Hard": 5}],
            "/HostConfig/ExtraHosts": ["a:1.2.3.4", "gw:host-gateway", "six:::1"], "/HostConfig/Dns": ["9.9.9.9"],
            "/HostConfig/SecurityOpt": ["no-new-privileges:true"]}),
    );
    check(
        json!({"image": "a", "deploy": {"resources": {"limits": {"cpus": 0.5, "memory": "42", "pids": 3}, "reservations": {"memory": "7"}}}}),
        json!({"/HostConfig/NanoCpus": 500_000_000, "/HostConfig/Memory": 42, "/HostConfig/PidsLimit": 3, "/HostConfig/MemoryReservation": 7}),
    );
}

#[test]
fn restart_policies() {
    let policy = |name: &str, count: i64| json!({"/HostConfig/RestartPolicy": {"Name": name, "MaximumRetryCount": count}});
    check(json!({"image": "a"}), policy("", 0));
    check(
        json!({"image": "a", "restart": "unless-stopped"}),
        policy("unless-stopped", 0),
    );
    check(
        json!({"image": "a", "restart": "on-failure:3"}),
        policy("on-failure", 3),
    );
    let deployed = |policy: Value| json!({"image": "a", "restart": "no", "deploy": {"restart_policy": policy}});
    check(deployed(json!({"condition": "any"})), policy("always", 0));
    check(deployed(json!({"condition": "none"})), policy("no", 0));
    check(
        deployed(json!({"condition": "on-failure", "max_attempts": 4})),
        policy("on-failure", 4),
    );
    assert_eq!(
        lower(json!({"image": "a", "restart": "sometimes"}))
            .unwrap_err()
            .to_string(),
        "service \"web\": restart policy \"sometimes\" is not supported"
    );
}

#[test]
fn health_checks() {
    check(
        json!({"image": "a", "healthcheck": {"test": ["CMD-SHELL", "true"], "interval": "1.5s", "retries": 2}}),
        json!({"/Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1_500_000_000, "Retries": 2}}),
    );
    check(
        json!({"image": "a", "healthcheck": {"disable": true}}),
        json!({"/Healthcheck": {"Test": ["NONE"]}}),
    );
}

/// Whether two services have the same hash.
#[track_caller]
fn check_hash(one: Value, other: Value, same: bool) {
    let hash = |service: &Value| lower(service.clone()).unwrap().config_hash;
    assert_eq!(hash(&one) == hash(&other), same, "{one} and {other}");
}

#[test]
fn the_hash_counts_what_changes_a_container() {
    check_hash(json!({"image": "a"}), json!({"image": "b"}), false);
    check_hash(
        json!({"image": "a"}),
        json!({"image": "a", "labels": {"x": ""}}),
        false,
    );
    check_hash(
        json!({"image": "a"}),
        json!({"image": "a", "command": []}),
        false,
    );
    check_hash(
        json!({"image": "a"}),
        json!({"image": "a", "scale": 3, "profiles": ["x"], "pull_policy": "never"}),
        true,
    );
    check_hash(
        json!({"image": "a"}),
        json!({"image": "a", "depends_on": {"b": {"condition": "service_started"}}}),
        true,
    );
    check_hash(
        json!({"image": "a", "environment": {"A": "1", "B": "2"}}),
        json!({"image": "a", "environment": {"B": "2", "A": "1"}}),
        true,
    );
}
