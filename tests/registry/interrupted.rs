//! Pulls that are killed, given up, shared, or lied to: the store keeps what is whole and nothing else.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hoist_api::Digest;

use crate::common::{TestHost, can_run, wait_until};
use crate::support::{Asked, FakeRegistry, image_of, say};

/// An image of two layers whose second one comes only when it may.
struct Image {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

impl Image {
    fn new() -> Image {
        let layer = |name: &str, content: &[u8]| {
            let mut header = tar_header(name, content.len());
            header.extend_from_slice(content);
            header.resize(header.len().next_multiple_of(512) + 1024, 0);
            header
        };
        let layers = [layer("one", &[1; 1000]), layer("two", &vec![2; 300_000])];
        let [config, manifest] = image_of(&[&layers[0], &layers[1]]);
        let [one, two] = layers;
        Image {
            blobs: vec![config, one, two],
            manifest,
        }
    }

    /// Answers a request; none when it is for the second layer.
    fn answer(&self, asked: &Asked, stream: &mut TcpStream) -> Option<&[u8]> {
        if asked.path == "/v2/" {
            say(stream, "200 OK", "", b"");
        } else if asked.path.contains("/manifests/") {
            say(stream, "200 OK", "", &self.manifest);
        } else {
            let wanted = |blob: &&Vec<u8>| asked.path.ends_with(Digest::of(blob).as_str());
            let blob = self.blobs.iter().find(wanted).expect("a blob of the image");
            if blob == &self.blobs[2] {
                return Some(blob);
            }
            say(stream, "200 OK", "", blob);
        }
        None
    }
}

fn tar_header(name: &str, size: usize) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn layers(host: &TestHost) -> usize {
    let entries = std::fs::read_dir(host.root().join("layers")).unwrap();
    entries
        .flatten()
        .filter(|entry| entry.file_name().len() == 64)
        .count()
}

fn staged(host: &TestHost) -> usize {
    std::fs::read_dir(host.root().join("images/tmp"))
        .unwrap()
        .count()
}

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let image = Image::new();
    let may_end = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&may_end);
    let registry = FakeRegistry::start(move |asked, stream| {
        if let Some(blob) = image.answer(asked, stream) {
            if gate.load(Ordering::SeqCst) {
                return say(stream, "200 OK", "", blob);
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
            let _ = stream.write_all(&[head.as_bytes(), &blob[..1000]].concat());
            // Until the engine is dead.
            let _ = std::io::Read::read(stream, &mut [0]);
        }
    });
    let name = format!("{}/web:1", registry.host);
    let mut command = host.hoist_command();
    command.args(["image", "pull", &name]);
    let mut pull = command.spawn().unwrap();
    wait_until(
        Duration::from_secs(20),
        "one layer is there, one half",
        || host.root().join("layers").exists() && layers(&host) == 1 && staged(&host) == 1,
    );
    host.kill_engine();
    pull.wait().unwrap();
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
    assert_eq!(
        (layers(&host), staged(&host)),
        (1, 0),
        "the whole one is kept"
    );
    may_end.store(true, Ordering::SeqCst);
    host.hoist(&["image", "pull", &name]).ok().says(&[
        "Already exists",
        "Pull complete",
        "Downloaded newer image",
    ]);
    assert_eq!((layers(&host), staged(&host)), (2, 0));
    let once = registry.lines();
    let first = Digest::of(&Image::new().blobs[1]).to_string();
    assert_eq!(
        once.iter().filter(|line| line.ends_with(&first)).count(),
        1,
        "{once:#?}"
    );
}

/// A registry that is busy, then fails, then breaks off in the middle of a layer: the rest is fetched, not all of it again.
#[test]
fn a_layer_is_waited_for_and_resumed() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let image = Image::new();
    let tries = AtomicUsize::new(0);
    let registry = FakeRegistry::start(move |asked, stream| {
        let Some(blob) = image.answer(asked, stream) else {
            return;
        };
        let (part, length) = (100_000, blob.len());
        match tries.fetch_add(1, Ordering::SeqCst) {
            0 => say(
                stream,
                "429 Too Many Requests",
                "Retry-After: 0\r\n",
                b"slow down",
            ),
            1 => say(stream, "502 Bad Gateway", "Retry-After: 0\r\n", b""),
            2 => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), &blob[..part]].concat());
            }
            _ => {
                let range = format!("Content-Range: bytes {part}-{}/{length}\r\n", length - 1);
                say(stream, "206 Partial Content", &range, &blob[part..]);
            }
        }
    });
    let name = format!("{}/web:1", registry.host);
    host.hoist(&["image", "pull", &name])
        .ok()
        .says(&["Downloaded newer image"]);
    assert_eq!((layers(&host), staged(&host)), (2, 0));
    let blob = Digest::of(&Image::new().blobs[2]).to_string();
    let asked = registry.asked.lock().unwrap();
    let ranges: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.path.ends_with(&blob))
        .map(|asked| asked.header("range"))
        .collect();
    assert_eq!(ranges, ["", "", "", "bytes=100000-"]);
}

/// What a load had unpacked when its engine died goes with the next engine's start.
#[test]
fn a_killed_load_leaves_a_store_that_works() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let saved = host.path("saved.tar");
    let path = saved.to_str().unwrap();
    host.hoist(&["image", "save", "-o", path, "busybox"]).ok();
    host.hoist(&["image", "prune", "-a", "-f"]).ok();
    let archive = std::fs::read(&saved).unwrap();
    let mut command = host.hoist_command();
    command.args(["image", "load"]);
    command.stdin(std::process::Stdio::piped());
    let mut load = command.spawn().unwrap();
    let mut input = load.stdin.take().unwrap();
    input.write_all(&archive[..archive.len() / 2]).unwrap();
    wait_until(Duration::from_secs(20), "half a layer is there", || {
        staged(&host) == 1
    });
    host.kill_engine();
    drop(input);
    assert!(!load.wait().unwrap().success());
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
    assert_eq!((layers(&host), staged(&host)), (0, 0));
    host.hoist(&["image", "load", "-i", path])
        .ok()
        .says(&["Loaded image: busybox:latest"]);
    assert_eq!((layers(&host), staged(&host)), (1, 0));
}

#[test]
fn two_pulls_of_one_image_share_one_download() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    host.hoist(&["image", "ls"]).ok();
    let image = Image::new();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opened = Arc::clone(&gate);
    let registry = FakeRegistry::start(move |asked, stream| {
        if let Some(blob) = image.answer(asked, stream) {
            let (lock, changed) = &*opened;
            let open = lock.lock().unwrap();
            drop(changed.wait_while(open, |open| !*open).unwrap());
            say(stream, "200 OK", "", blob);
        }
    });
    let name = format!("{}/web:1", registry.host);
    let start = || {
        let mut command = host.hoist_command();
        command
            .args(["image", "pull", &name])
            .stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let pulls = [start(), start()];
    wait_until(
        Duration::from_secs(20),
        "both have asked for the manifest",
        || {
            let lines = registry.lines();
            lines
                .iter()
                .filter(|line| line.contains("/manifests/"))
                .count()
                == 2
                && lines
                    .iter()
                    .any(|line| line.ends_with(Digest::of(&Image::new().blobs[2]).as_str()))
        },
    );
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    for mut pull in pulls {
        assert!(pull.wait().unwrap().success());
    }
    let lines = registry.lines();
    for blob in &Image::new().blobs[1..] {
        let count = lines
            .iter()
            .filter(|line| line.ends_with(Digest::of(blob).as_str()))
            .count();
        assert_eq!(count, 1, "{lines:#?}");
    }
}

/// A push that dies with its engine leaves nothing in the store but the image; the next one ends.
#[test]
fn a_killed_push_leaves_a_store_that_works() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let may_end = Arc::new(AtomicBool::new(false));
    let sending = Arc::new(AtomicBool::new(false));
    let (gate, began) = (Arc::clone(&may_end), Arc::clone(&sending));
    let registry = FakeRegistry::start(move |asked, stream| {
        let size: usize = asked
            .header("content-range")
            .rsplit('-')
            .next()
            .map_or(0, |end| end.parse().unwrap_or(0));
        let state = format!("Location: /v2/web/blobs/uploads/1\r\nRange: 0-{size}\r\n");
        match asked.method.as_str() {
            "PATCH" if !gate.load(Ordering::SeqCst) => {
                began.store(true, Ordering::SeqCst);
                // Until the engine is dead.
                let _ = std::io::Read::read(stream, &mut [0]);
            }
            "POST" | "PATCH" => say(stream, "202 Accepted", &state, b""),
            "PUT" => say(stream, "201 Created", "", b""),
            "GET" if asked.path == "/v2/" => say(stream, "200 OK", "", b""),
            _ => say(stream, "404 Not Found", "", b""),
        }
    });
    let name = format!("{}/web:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &name]).ok();
    let mut command = host.hoist_command();
    command.args(["image", "push", &name]);
    let mut push = command.spawn().unwrap();
    wait_until(Duration::from_secs(20), "a layer is on its way", || {
        sending.load(Ordering::SeqCst)
    });
    host.kill_engine();
    push.wait().unwrap();
    host.hoist(&["image", "ls"]).ok().says(&["busybox"]);
    assert_eq!((layers(&host), staged(&host)), (1, 0));
    may_end.store(true, Ordering::SeqCst);
    host.hoist(&["image", "push", &name]).ok().says(&["Pushed"]);
    assert_eq!(staged(&host), 0);
}

#[test]
fn a_lie_leaves_nothing_behind() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let image = Image::new();
    let registry = FakeRegistry::start(move |asked, stream| {
        if let Some(blob) = image.answer(asked, stream) {
            let mut other = blob.to_vec();
            other[700] ^= 1;
            say(stream, "200 OK", "", &other);
        }
    });
    let name = format!("{}/web:1", registry.host);
    host.hoist(&["image", "pull", &name])
        .fails()
        .says(&["gave a wrong answer", "has content with the digest"]);
    assert_eq!(staged(&host), 0);
    host.hoist(&["image", "prune", "-f"]).ok();
    assert_eq!(layers(&host), 0);
}
