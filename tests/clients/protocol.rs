//! The protocol's fine points, spoken by hand: upgrades, half-close, detach keys, versions, bad input.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) use crate::common::http::{call, open};
use crate::common::{TestHost, can_run, wait_until};

#[track_caller]
pub(crate) fn created(host: &TestHost, body: &Value) -> String {
    let (status, said) = call(host, "POST", "/containers/create", &body.to_string());
    assert_eq!(status, 201, "{said}");
    let start = said.find('{').expect("JSON");
    let end = said.rfind('}').expect("JSON");
    let made: Value = serde_json::from_str(&said[start..=end]).expect("JSON");
    made["Id"].as_str().expect("an id").to_owned()
}

pub(crate) fn upgrade(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn attached_terminals_are_left_by_their_keys() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["cat"], "Tty": true, "OpenStdin": true, "AttachStdin": true, "StdinOnce": true}),
    );
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    let attach =
        format!("/containers/{id}/attach?stdin=1&stdout=1&stderr=1&stream=1&detachKeys=ctrl-a,b");
    for _ in 0..2 {
        let (mut stream, head) = open(&host, &upgrade(&attach, ""));
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
        stream.write_all(b"hello\n").unwrap();
        let mut echo = [0; 7];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"hello\r\n");
        stream.write_all(b"\x01b").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let (status, state) = call(&host, "GET", &format!("/containers/{id}/json"), "");
        assert!(
            status == 200 && state.contains(r#""Running":true"#),
            "{state}"
        );
    }
    let bad = format!("/containers/{id}/attach?stream=1&detachKeys=ctrl-%21%21");
    let (status, said) = call(&host, "POST", &bad, "");
    assert!(
        status == 400 && said.contains("Unknown character"),
        "{status} {said}"
    );
}

/// What was attached has all output when a wait is answered: clients take it then, and look no more.
#[test]
fn a_wait_is_answered_after_the_output() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    for _ in 0..5 {
        let id = created(
            &host,
            &json!({"Image": "busybox", "Cmd": ["echo", "everything"], "Tty": true}),
        );
        // docker-py's output follows its headers with a pause, so that it surely comes late.
        let attach = upgrade(
            &format!("/containers/{id}/attach?stdout=1&stderr=1&stream=1"),
            "",
        )
        .replace("Host: x", "Host: x\r\nUser-Agent: docker-sdk-python/7.1.0");
        let (mut stream, _) = open(&host, &attach);
        let start = format!("/containers/{id}/start");
        assert_eq!(call(&host, "POST", &start, "").0, 204);
        let (status, said) = call(&host, "POST", &format!("/containers/{id}/wait"), "");
        assert!(status == 200 && said.contains("0"), "{status} {said}");
        stream.set_nonblocking(true).unwrap();
        let mut output = [0; 12];
        stream
            .read_exact(&mut output)
            .expect("the output is there already");
        assert_eq!(&output, b"everything\r\n");
    }
}

#[test]
fn an_exec_ends_its_input_and_goes_on_talking() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    let exec = |cmd: &Value| {
        let body =
            json!({"Cmd": cmd, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true});
        let (status, said) = call(
            &host,
            "POST",
            &format!("/containers/{id}/exec"),
            &body.to_string(),
        );
        assert_eq!(status, 201, "{said}");
        said[said.find(r#""Id":""#).expect("an id") + 6..][..64].to_owned()
    };
    let counts = exec(&json!(["sh", "-c", "wc -c; echo after; exit 5"]));
    let (mut stream, _) = open(
        &host,
        &upgrade(
            &format!("/exec/{counts}/start"),
            r#"{"Detach":false,"Tty":false}"#,
        ),
    );
    stream.write_all(b"12345").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut output = Vec::new();
    stream.read_to_end(&mut output).unwrap();
    assert!(output.starts_with(&[1, 0, 0, 0, 0, 0, 0]), "{output:?}");
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains('5') && text.contains("after"), "{text}");
    let (_, state) = call(&host, "GET", &format!("/exec/{counts}/json"), "");
    assert!(state.contains(r#""ExitCode":5"#), "{state}");
    // Without an upgrade, too, the output ends after the process.
    let silent = exec(&json!(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 6"]));
    let (mut stream, _) = open(
        &host,
        &format!(
            "POST /exec/{silent}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        ),
    );
    let mut end = [0; 5];
    stream.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
    let (_, state) = call(&host, "GET", &format!("/exec/{silent}/json"), "");
    assert!(state.contains(r#""ExitCode":6"#), "{state}");
    // A second start says so in the stream, as Docker has it, and does not wait for the first.
    let (mut stream, head) = open(&host, &upgrade(&format!("/exec/{counts}/start"), "{}"));
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101") && said.contains("has already run"),
        "{head}{said}"
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of requests")]
fn bad_input_is_refused_with_a_reason() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let long = format!("/containers/{}/json", "x".repeat(5000));
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (method, path, body, expected) in [
        ("GET", "/nowhere", "", 404),
        ("PATCH", "/containers/json", "", 404),
        ("GET", "/v1.99/info", "", 400),
        ("GET", "/v1.12/info", "", 400),
        ("GET", "/containers/json?filters=%7Bx", "", 400),
        ("GET", "/containers/json?limit=many", "", 400),
        (
            "GET",
            "/containers/json?filters=%7B%22odd%22%3A%5B%221%22%5D%7D",
            "",
            400,
        ),
        ("POST", "/containers/create", "{", 400),
        ("POST", "/containers/create", r#"{"Image": 5}"#, 400),
        (
            "POST",
            "/containers/create",
            r#"{"Image": "nothing:here"}"#,
            404,
        ),
        (
            "POST",
            "/containers/create?name=../../x",
            r#"{"Image": "busybox"}"#,
            400,
        ),
        ("POST", "/containers/create", &deep, 400),
        (
            "POST",
            "/containers/create",
            r#"{"Image":"busybox","HostConfig":{"Runtime":"kata"}}"#,
            400,
        ),
        (
            "POST",
            "/containers/create",
            r#"{"Image":"busybox","HostConfig":{"Links":["none"]}}"#,
            400,
        ),
        ("POST", "/containers/nothing/wait?condition=odd", "", 400),
        ("GET", &long, "", 404),
        ("GET", "/containers/..%2f..%2fetc/json", "", 404),
        ("PUT", "/containers/nothing/archive", "", 400),
        ("GET", "/volumes/..%2f..%2fetc", "", 404),
        ("POST", "/volumes/create", r#"{"Name":"../../x"}"#, 400),
        ("POST", "/networks/create", r#"{"Name":"a/b"}"#, 400),
        (
            "POST",
            "/networks/create",
            r#"{"Name":"a","IPAM":{"Config":[{"Subnet":"10.0.0.0/99"}]}}"#,
            400,
        ),
        ("GET", "/system/df?type=odd", "", 400),
        ("GET", "/events?since=soon", "", 400),
        ("GET", "/nodes", "", 503),
        ("DELETE", "/containers/a/b", "", 404),
    ] {
        let (status, said) = call(&host, method, path, body);
        let shown: String = body.chars().take(80).collect();
        assert_eq!(status, expected, "{method} {path:.80} {shown}: {said:.300}");
        assert!(
            said.contains(r#""message":""#),
            "{method} {path:.80}: {said:.300}"
        );
    }
    // A body that is announced and never sent holds nobody up but its sender.
    let request = "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1099511627776\r\n\r\n";
    let mut slow = UnixStream::connect(host.socket()).expect("an engine listens");
    slow.write_all(request.as_bytes()).expect("it reads");
    assert_eq!(call(&host, "GET", "/_ping", "").0, 200);
}

#[test]
fn an_exec_made_before_a_pause_starts_after_it() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    let post = |path: &str, body: &str| call(&host, "POST", path, body);
    assert_eq!(post(&format!("/containers/{id}/start"), "").0, 204);
    let (_, said) = post(&format!("/containers/{id}/exec"), r#"{"Cmd":["true"]}"#);
    let exec: String = said
        .chars()
        .skip_while(|c| *c != ':')
        .skip(2)
        .take(64)
        .collect();
    let start = format!("/exec/{exec}/start");
    assert_eq!(post(&format!("/containers/{id}/pause"), "").0, 204);
    let (status, said) = post(&start, r#"{"Detach":true}"#);
    assert!(
        status == 409 && said.contains("is paused"),
        "{status} {said}"
    );
    assert_eq!(post(&format!("/containers/{id}/unpause"), "").0, 204);
    assert_eq!(post(&start, r#"{"Detach":true}"#).0, 200);
}

/// docker-py loses what comes in one read with the headers (the read through a buffer of 8 KiB is its own).
#[test]
fn output_for_python_waits_until_the_headers_were_read() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    let post = |path: &str, body: &str| call(&host, "POST", path, body);
    assert_eq!(post(&format!("/containers/{id}/start"), "").0, 204);
    let body = r#"{"Cmd":["echo","said"],"AttachStdout":true}"#;
    let (_, made) = post(&format!("/containers/{id}/exec"), body);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let path = format!("/exec/{}/start", made["Id"].as_str().unwrap());
    let request = upgrade(&path, "{}").replacen(
        "Host: x",
        "Host: x\r\nUser-Agent: docker-sdk-python/7.1.0",
        1,
    );
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    // A slow one.
    std::thread::sleep(Duration::from_millis(600));
    let mut buffer = [0; 8192];
    let length = stream.read(&mut buffer).unwrap();
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(
        first.starts_with("HTTP/1.1 101") && first.ends_with("\r\n\r\n"),
        "{first:?}"
    );
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"said\n"), "{rest:?}");
}

#[test]
fn idle_followers_cost_no_threads() {
    if !can_run() {
        return;
    }
    const FOLLOWERS: usize = 60;
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    let pid = host.engine_pid().expect("an engine runs");
    let count = |what: &str| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/{what}"));
        entries.expect("the engine lives").count()
    };
    let descriptors = count("fd");
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let own = format!("/containers/{id}");
        followers.push(open(&host, &get("/events")));
        followers.push(open(&host, &get(&format!("{own}/logs?follow=1&stdout=1"))));
        followers.push(open(&host, &get(&format!("{own}/stats"))));
        followers.push(open(&host, &upgrade(&format!("{own}/wait"), "")));
        followers.push(open(
            &host,
            &upgrade(&format!("{own}/attach?stream=1&stdout=1"), ""),
        ));
    }
    // The runtime keeps those for a while that read the statistics' files; none is any follower's own.
    let threads = count("task");
    assert!(
        threads < followers.len() / 2,
        "{threads} threads for {} followers",
        followers.len()
    );
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/kill"), "").0,
        204
    );
    drop(followers);
    wait_until(
        Duration::from_secs(15),
        "all descriptors are given back",
        || count("fd") <= descriptors,
    );
}

#[test]
fn a_web_socket_talks_to_a_process() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["cat"], "OpenStdin": true}),
    );
    let path = format!("/containers/{id}");
    assert_eq!(call(&host, "POST", &format!("{path}/start"), "").0, 204);
    // The key and what it is answered with are those of RFC 6455.
    let request = format!(
        "GET {path}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (mut stream, head) = open(&host, &request);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // A text message of three bytes, masked with zeroes.
    stream.write_all(b"\x81\x83\0\0\0\0hi\n").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x82\x03hi\n");
    let (status, said) = call(&host, "GET", &format!("{path}/attach/ws"), "");
    assert_eq!(status, 400, "{said}");
}

#[test]
fn by_tcp_only_who_has_a_certificate_comes_in() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let open_door = host.hoist(&["engine", "run", "--listen", "tcp://0.0.0.0:2375"]);
    open_door
        .fails()
        .says(&["without TLS", "--insecure-listen"]);
    let half = [
        "engine",
        "run",
        "--listen",
        "tcp://127.0.0.1:2375",
        "--tlscert",
        "/x",
    ];
    host.hoist(&half).fails().says(&["go together"]);
    crate::check(
        &host,
        r#"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca
        printf 'subjectAltName=IP:127.0.0.1' > names
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request -subj /CN=both
        openssl x509 -req -in request -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -extfile names
        "#,
    );
    let door = "tcp://127.0.0.1:2376";
    // The engine that imported the images makes room for one with a door.
    host.hoist(&["engine", "stop"]).ok();
    wait_until(Duration::from_secs(20), "the engine is gone", || {
        host.engine_pid().is_none()
    });
    let mut engine = host.hoist_command();
    engine
        .args(["engine", "run", "--idle", "0", "--listen", door])
        .args([
            "--tlscacert",
            "ca.pem",
            "--tlscert",
            "cert.pem",
            "--tlskey",
            "key.pem",
        ]);
    let mut engine = engine.spawn().expect("hoist is built");
    wait_until(Duration::from_secs(20), "the engine answers", || {
        host.socket().exists()
    });
    crate::check(
        &host,
        r#"
        DOCKER_HOST=tcp://127.0.0.1:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=. docker run --rm busybox echo through => through
        DOCKER_HOST=tcp://127.0.0.1:2376 docker ps =! HTTP
        mkdir -p stranger; cp ca.pem stranger
        DOCKER_HOST=tcp://127.0.0.1:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=stranger docker ps =! certificate
        "#,
    );
    host.hoist(&["engine", "stop"]).ok();
    let _ = engine.wait();
}

/// Docker Compose's `up --watch` does this, and crashes when the container is gone.
#[test]
fn who_is_told_of_an_end_finds_the_container() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let filters = "%7B%22event%22%3A%5B%22die%22%5D%7D";
    let (mut events, _) = open(
        &host,
        &format!("GET /events?filters={filters} HTTP/1.0\r\nHost: x\r\n\r\n"),
    );
    for _ in 0..8 {
        let id = created(
            &host,
            &json!({"Image": "busybox", "Cmd": ["sleep", "99"], "StopSignal": "KILL"}),
        );
        let container = format!("/containers/{id}");
        let (started, _) = call(&host, "POST", &format!("{container}/start"), "");
        assert_eq!(started, 204);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                call(&host, "POST", &format!("{container}/stop"), "");
                call(&host, "DELETE", &container, "");
            });
            let mut told = Vec::new();
            while !told.ends_with(b"\n") {
                let mut byte = [0];
                assert_eq!(events.read(&mut byte).expect("it tells"), 1);
                told.push(byte[0]);
            }
            let (status, _) = call(&host, "GET", &format!("{container}/json"), "");
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&told));
        });
        assert_eq!(call(&host, "GET", &format!("{container}/json"), "").0, 404);
    }
}
