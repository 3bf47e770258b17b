//! What the engine fetches by itself: root file systems by `fromSrc=URL`; and how soon it says that there is no network.

use std::time::{Duration, Instant};

use crate::common::http::call;
use crate::common::{TestHost, can_run};
use crate::support::{FakeRegistry, say};

#[test]
fn a_root_file_system_is_imported_from_an_address() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    host.hoist(&["image", "ls"]).ok();
    // Two blocks of nothing are a whole archive.
    let server = FakeRegistry::start(|asked, stream| match asked.path.as_str() {
        "/moved" => say(stream, "302 Found", "Location: /rootfs.tar\r\n", b""),
        "/rootfs.tar" => say(stream, "200 OK", "", &[0; 1024]),
        "/broken.tar" => say(stream, "200 OK", "", b"no archive"),
        _ => say(stream, "404 Not Found", "", b""),
    });
    let at = |path: &str| {
        let url = format!("{}/{path}", server.host);
        call(
            &host,
            "POST",
            &format!("/images/create?fromSrc={url}&repo=fetched&tag=1"),
            "",
        )
    };
    let (status, said) = at("moved");
    assert_eq!(status, 200, "{said}");
    let from = format!("Downloading from http://{}/moved", server.host);
    assert!(said.contains(&from), "{said}");
    assert!(said.contains(r#"{"status":"sha256:"#), "{said}");
    let comment = host
        .hoist(&["image", "inspect", "--format", "{{.Comment}}", "fetched:1"])
        .ok();
    assert_eq!(
        comment.stdout.trim(),
        format!("Imported from {}/moved", server.host)
    );
    // Our own command leaves the fetching to the engine, too.
    let url = |path: &str| format!("http://{}/{path}", server.host);
    host.hoist(&["image", "import", &url("rootfs.tar"), "own:1"])
        .ok();
    let comment = ["image", "inspect", "--format", "{{.Comment}}", "own:1"];
    let comment = host.hoist(&comment).ok().stdout;
    assert_eq!(
        comment.trim(),
        format!("Imported from {}", url("rootfs.tar"))
    );
    host.hoist(&["image", "import", &url("absent.tar")])
        .fails()
        .says(&["the server answered 404"]);
    let (status, said) = at("absent.tar");
    assert_eq!(status, 404, "{said}");
    assert!(said.contains("the server answered 404"), "{said}");
    let (status, said) = at("broken.tar");
    assert_eq!(status, 200, "{said}");
    assert!(said.contains(r#""errorDetail""#), "{said}");
}

#[test]
fn without_a_network_a_pull_fails_at_once() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    host.hoist(&["image", "ls"]).ok();
    let check = |image: &str, why: &str| {
        let begun = Instant::now();
        let failed = host.hoist(&["image", "pull", image]).fails();
        let took = begun.elapsed();
        assert!(failed.stderr.contains(why), "{}", failed.stderr);
        assert!(took < Duration::from_secs(3), "{image}: {took:?}");
    };
    // The host has only its loopback: no resolver, no route.
    check(
        "absent.invalid/a/b:1",
        "cannot find the address of absent.invalid",
    );
    check("192.0.2.7:5000/a/b:1", "unreachable");
}
