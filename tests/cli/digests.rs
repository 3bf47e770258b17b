//! `config --resolve-image-digests` and `--lock-image-digests`, against an engine that only answers what is asked here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use super::place::Place;
use crate::common::{LONG, run};

const IN_REGISTRY: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const PULLED: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
  old:
    image: registry.test:5000/own/old
  pinned:
    image: busybox:1@sha256:3333333333333333333333333333333333333333333333333333333333333333
  built:
    build: .
";

/// Answers every request of a connection: the registry knows nginx, the store holds what was pulled.
fn answer(stream: UnixStream) {
    let mut writer = stream.try_clone().expect("a socket can be duplicated");
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while reader.read_line(&mut request).is_ok_and(|read| read > 0) {
        let mut header = String::new();
        while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = if path.ends_with("/_ping") {
            ("200 OK", "OK".to_owned())
        } else if path.ends_with("/version") {
            (
                "200 OK",
                r#"{"Version":"1","ApiVersion":"1.47","MinAPIVersion":"1.24"}"#.to_owned(),
            )
        } else if path.ends_with("/distribution/docker.io/library/nginx:1.27/json") {
            (
                "200 OK",
                format!(r#"{{"Descriptor":{{"digest":"{IN_REGISTRY}"}}}}"#),
            )
        } else if path.ends_with("/images/registry.test:5000/own/old:latest/json") {
            let own = format!("registry.test:5000/own/old@{PULLED}");
            (
                "200 OK",
                format!(r#"{{"Id":"sha256:0","RepoDigests":["other@{IN_REGISTRY}","{own}"]}}"#),
            )
        } else {
            (
                "500 Internal Server Error",
                r#"{"message":"the registry is down"}"#.to_owned(),
            )
        };
        let length = body.len();
        let _ = write!(
            writer,
            "HTTP/1.1 {status}\r\nApi-Version: 1.47\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        request.clear();
    }
}

/// Runs `hoist LINE` in a place with an engine.
fn hoist(place: &Place, line: &str) -> run::Run {
    let socket = place.path().join("engine.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("it is ours");
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    let mut command = place.command(line);
    command.env("HOIST_HOST", format!("unix://{}", socket.display()));
    run::to_end(command, LONG)
}

#[test]
fn names_become_digests() {
    let place = Place::with(SHOP);
    let run = hoist(&place, "config --resolve-image-digests --format json").ok();
    let services = &run.json()["services"];
    assert_eq!(
        services["web"]["image"],
        format!("docker.io/library/nginx:1.27@{IN_REGISTRY}")
    );
    assert_eq!(
        services["old"]["image"],
        format!("registry.test:5000/own/old:latest@{PULLED}")
    );
    assert_eq!(
        services["pinned"]["image"],
        format!("docker.io/library/busybox@sha256:{}", "3".repeat(64))
    );
    assert!(services["built"]["image"].is_null());
    run.says(&["digest that the local image was pulled by: the registry is down"]);
}

#[test]
fn a_lock_file_is_put_over_the_others() {
    let place = Place::with(SHOP);
    hoist(&place, "config --lock-image-digests -o lock.yaml").ok();
    let lock = std::fs::read_to_string(place.path().join("lock.yaml")).unwrap();
    let read: serde_json::Value = serde_yaml::from_str(&lock).unwrap();
    assert_eq!(
        read.as_object().map(|map| map.len()),
        Some(1),
        "only services: {lock}"
    );
    assert_eq!(read["services"]["built"], serde_json::json!({}));
    let merged = place
        .hoist("-f compose.yaml -f lock.yaml config --images")
        .ok();
    assert!(
        merged.stdout.contains(&format!("nginx:1.27@{IN_REGISTRY}")),
        "{}",
        merged.stdout
    );
}

#[test]
fn what_nobody_knows_is_told() {
    let place = Place::with("services: {a: {image: nowhere/x}}\n");
    hoist(&place, "config --resolve-image-digests")
        .exits(1)
        .says(&[
            "cannot find out the digest of nowhere/x",
            "the registry is down",
            "pull the image first",
        ]);
    // No engine is asked when there is nothing to find out.
    let place = Place::with("services: {a: {build: .}}\n");
    place.hoist("config --resolve-image-digests").ok();
    assert!(!place.has_engine());
}
