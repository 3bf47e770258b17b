//! Clients that mean harm, or are broken: bodies without end, archives that climb out, connections that are only half there.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::load::{ask, held};
use super::protocol::{call, created, open, upgrade};
use crate::common::{TestHost, can_run, wait_until};

/// An archive whose entries have the names as they are, however evil.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o777);
        let data = *kind == tar::EntryType::Regular;
        header.set_size(if data { content.len() as u64 } else { 0 });
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if !data {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        if data {
            bytes.extend_from_slice(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// `PUT` of an archive: status and answer.
fn put(host: &TestHost, path: &str, archive: &[u8]) -> (u16, String) {
    let mut stream = UnixStream::connect(host.socket()).expect("an engine listens");
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    // It may have answered before the end.
    let _ = stream.write_all(archive);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of attempts")]
fn archives_and_paths_stay_inside_the_container() {
    if !can_run() {
        return;
    }
    use tar::EntryType::{Link, Regular, Symlink};
    let host = TestHost::with_busybox();
    let id = created(
        &host,
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}),
    );
    let outside = host.path("outside");
    std::fs::create_dir(&outside).expect("the tmpfs is writable");
    std::fs::write(outside.join("secret"), "of the host").expect("the tmpfs is writable");
    let place = outside.display().to_string();
    let climb = format!("../../../../../../../../../..{place}/climbed");
    let absolute = format!("{place}/absolute");
    let (secret, through) = (format!("{place}/secret"), "link/through");
    let evil: &[&[(&str, tar::EntryType, &str)]] = &[
        &[(&climb, Regular, "x")],
        &[(&absolute, Regular, "x")],
        &[("link", Symlink, &place), (through, Regular, "x")],
        &[
            ("up", Symlink, "../../../../../../.."),
            ("up/climbed", Regular, "x"),
        ],
        &[("hard", Link, &secret)],
        &[("hard", Link, &climb)],
        &[("a/../../../../../../../../climbed", Regular, "x")],
    ];
    for running in [false, true] {
        if running {
            assert_eq!(
                call(&host, "POST", &format!("/containers/{id}/start"), "").0,
                204
            );
        }
        for entries in evil {
            let (status, said) = put(
                &host,
                &format!("/containers/{id}/archive?path=/tmp"),
                &archive(entries),
            );
            assert!(
                matches!(status, 200 | 400 | 403 | 404),
                "{entries:?}: {said}"
            );
            let found: Vec<_> = std::fs::read_dir(&outside)
                .expect("it is there")
                .flatten()
                .collect();
            assert_eq!(found.len(), 1, "{entries:?} came out: {found:?}");
        }
        // Paths of queries and links inside lead nowhere else.
        put(
            &host,
            &format!("/containers/{id}/archive?path=/"),
            &archive(&[("evil", Symlink, &secret)]),
        );
        for path in [
            &secret,
            &climb,
            "/evil",
            "/tmp/link/secret",
            &format!("/proc/1/root{secret}"),
            &format!("/proc/self/cwd/../../../../../..{secret}"),
        ] {
            let (status, body) = ask(
                &host.socket(),
                "GET",
                &format!("/containers/{id}/archive?path={path}"),
                "",
            )
            .expect("it answers");
            let body = String::from_utf8_lossy(&body);
            assert!(!body.contains("of the host"), "{path} gave the host's file");
            assert!(matches!(status, 200 | 400 | 404), "{path}: {status} {body}");
        }
    }
    let (status, said) = put(
        &host,
        &format!("/containers/{id}/archive?path=/tmp"),
        b"no archive at all, however long it may be",
    );
    assert!(status == 400 && said.contains(r#""message":""#), "{said}");
    for (method, path, body) in [
        ("POST", "/commit?container=x&repo=../../x", "{}"),
        ("POST", &format!("/containers/{id}/rename?name=../x"), ""),
        ("POST", &format!("/containers/{id}/rename?name=a/b"), ""),
        ("POST", "/images/busybox/tag?repo=../../x", ""),
        ("GET", "/images/../../etc/json", ""),
        ("GET", "/exec/..%2f..%2fetc/json", ""),
        ("DELETE", "/volumes/..%2f..", ""),
        ("DELETE", "/networks/..%2f..", ""),
        ("DELETE", "/images/..%2f..%2fetc", ""),
    ] {
        let (status, said) = call(&host, method, path, body);
        assert!(
            (400..500).contains(&status) && said.contains(r#""message":""#),
            "{method} {path}: {status} {said}"
        );
    }
    call(&host, "DELETE", &format!("/containers/{id}?force=1"), "");
}

#[test]
fn bodies_without_end_are_cut_off() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let pid = host.engine_pid().expect("an engine runs");
    let before = held(pid);
    // Chunks for as long as the engine takes them, up to 256 MiB.
    for path in [
        "/containers/create",
        "/networks/create",
        "/volumes/create",
        "/containers/x/exec",
        "/exec/x/start",
        "/auth",
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut stream = UnixStream::connect(host.socket()).expect("an engine listens");
        stream.write_all(head.as_bytes()).expect("it reads");
        let piece = [b"10000\r\n".as_slice(), &[b' '; 65536], b"\r\n"].concat();
        let _ = stream.set_write_timeout(Some(Duration::from_secs(20)));
        let sent = (0..4096)
            .take_while(|_| stream.write_all(&piece).is_ok())
            .count();
        assert!(sent < 4096, "{path} takes everything");
        let mut answer = String::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
        let _ = stream.read_to_string(&mut answer);
        let refused = answer.starts_with("HTTP/1.1 4") && answer.contains(r#""message":""#);
        // Or the connection was closed under its hands.
        assert!(refused || answer.is_empty(), "{path}: {answer}");
    }
    let after = held(pid);
    assert!(
        after.memory < before.memory + (64 << 10),
        "{before:?}, then {after:?}"
    );
    assert_eq!(call(&host, "GET", "/_ping", "").0, 200);
}

#[test]
fn half_of_a_connection_holds_nothing() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let talks = json!({"Image": "busybox", "Cmd": ["sh", "-c", "while :; do echo tick; sleep 0.1; done"], "OpenStdin": true});
    let id = created(&host, &talks);
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    let pid = host.engine_pid().expect("an engine runs");
    let before = held(pid);
    let path = format!("/containers/{id}/attach?stdin=1&stdout=1&stderr=1&stream=1");
    let mut halves = Vec::new();
    for number in 0..60 {
        let (mut stream, head) = open(&host, &upgrade(&path, ""));
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        match number % 3 {
            // No more to say, but still listening: what comes next is heard.
            0 => {
                stream.shutdown(Shutdown::Write).expect("it is open");
                let mut frame = [0; 13];
                stream.read_exact(&mut frame).expect("output goes on");
                assert_eq!(&frame[8..], b"tick\n");
            }
            // Deaf.
            1 => stream.shutdown(Shutdown::Read).expect("it is open"),
            // Silent in the middle of a request.
            _ => {
                let mut half = UnixStream::connect(host.socket()).expect("an engine listens");
                half.write_all(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Le")
                    .expect("it reads");
                halves.push(half);
            }
        }
        halves.push(stream);
    }
    assert_eq!(
        call(&host, "GET", &format!("/containers/{id}/json"), "").0,
        200
    );
    drop(halves);
    wait_until(Duration::from_secs(30), "all is given back", || {
        let now = held(pid);
        now.descriptors <= before.descriptors + 1 && now.threads <= before.threads + 4
    });
    call(&host, "DELETE", &format!("/containers/{id}?force=1"), "");
}

/// More than the threads that the engine has for everything else.
const STALLED: usize = 560;

#[test]
fn clients_that_stand_still_starve_nobody() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let sleeps =
        json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"Init": true}});
    let id = created(&host, &sleeps);
    assert_eq!(
        call(&host, "POST", &format!("/containers/{id}/start"), "").0,
        204
    );
    // 2 MB each, of which nobody takes more than the head; and bodies whose second half never comes.
    let reads = [
        format!("GET /containers/{id}/archive?path=/bin HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /containers/{id}/export HTTP/1.1\r\nHost: x\r\n\r\n"),
        "GET /images/get?names=busybox HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    let writes = [
        "POST /images/load",
        "POST /build?t=x",
        "POST /images/create?fromSrc=-",
    ];
    let mut still = Vec::new();
    for number in 0..STALLED {
        if number % 2 == 0 {
            let (stream, head) = open(&host, &reads[number / 2 % 3]);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            still.push(stream);
        } else {
            let mut stream = UnixStream::connect(host.socket()).expect("an engine listens");
            let head = format!(
                "{} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 100000\r\n\r\n",
                writes[number / 2 % 3]
            );
            stream.write_all(head.as_bytes()).expect("it reads");
            stream.write_all(&[0; 100]).expect("it reads");
            still.push(stream);
        }
    }
    let other = host.hoist(&["container", "run", "--rm", "busybox", "echo", "well"]);
    assert_eq!(other.ok().stdout, "well\n");
    host.hoist(&["container", "exec", &id, "true"]).ok();
    host.hoist(&["container", "logs", &id]).ok();
    let pid = host.engine_pid().expect("an engine runs");
    drop(still);
    wait_until(
        Duration::from_secs(30),
        "the threads are given back",
        || held(pid).threads < 60,
    );
    call(&host, "DELETE", &format!("/containers/{id}?force=1"), "");
}
