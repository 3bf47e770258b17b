//! Hostile archives: whatever is in them, nothing is written outside of the image store, and no process dies of them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hoist_api::Digest;

use crate::common::{TestHost, can_run, run};
use crate::support::{FakeRegistry, image_of, say};

/// One entry of a ustar archive.
struct Entry {
    name: &'static str,
    kind: u8,
    link: &'static str,
    data: &'static [u8],
}

fn file(name: &'static str, data: &'static [u8]) -> Entry {
    Entry {
        name,
        kind: b'0',
        link: "",
        data,
    }
}

fn symlink(name: &'static str, to: &'static str) -> Entry {
    Entry {
        name,
        kind: b'2',
        link: to,
        data: b"",
    }
}

fn hardlink(name: &'static str, to: &'static str) -> Entry {
    Entry {
        name,
        kind: b'1',
        link: to,
        data: b"",
    }
}

fn device(name: &'static str, kind: u8) -> Entry {
    Entry {
        name,
        kind,
        link: "",
        data: b"",
    }
}

/// The layer in an archive as `docker save` writes it.
fn saved(layer: &[u8]) -> Vec<u8> {
    let [config, _] = image_of(&[layer]);
    let list = br#"[{"Config":"config.json","RepoTags":["hostile:1"],"Layers":["one/layer.tar"]}]"#;
    // The entries of this file's archives live as long as the test does.
    let member = |name, data: &[u8]| file(name, Box::leak(data.to_vec().into_boxed_slice()));
    archive(
        &[
            member("one/layer.tar", layer),
            member("config.json", &config),
            member("manifest.json", list),
        ],
        None,
    )
}

/// A registry that has the layer's image under every name.
fn registry(layer: &[u8]) -> FakeRegistry {
    let [config, manifest] = image_of(&[layer]);
    let layer = layer.to_vec();
    FakeRegistry::start(move |asked, stream| {
        let body = if asked.path == "/v2/" {
            &[][..]
        } else if asked.path.contains("/manifests/") {
            &manifest
        } else if asked.path.ends_with(Digest::of(&config).as_str()) {
            &config
        } else {
            &layer
        };
        say(stream, "200 OK", "", body);
    })
}

/// The archive's bytes. `declared` lies about the size of the data.
fn archive(entries: &[Entry], declared: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut head = [0_u8; 512];
        head[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[108..115].copy_from_slice(b"0000000");
        head[116..123].copy_from_slice(b"0000000");
        let size = declared.unwrap_or(entry.data.len() as u64);
        head[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        head[136..147].copy_from_slice(b"00000000000");
        head[148..156].copy_from_slice(b"        ");
        head[156] = entry.kind;
        head[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        head[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(entry.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Imports the bytes, loads them as a layer and pulls them as one; whatever comes of it, the canary outside is untouched and the engine
/// lives.
#[track_caller]
fn check(bytes: &[u8]) {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    std::fs::write(host.path("canary"), "alive").unwrap();
    let path = host.path("tmp/hostile.tar");
    std::fs::File::create(&path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
    let before = host.engine_pid();
    let import = host.hoist(&["image", "import", path.to_str().unwrap(), "hostile"]);
    assert!(import.code == 0 || import.code == 1, "{import}");
    std::fs::write(&path, saved(bytes)).unwrap();
    let load = host.hoist(&["image", "load", "-i", path.to_str().unwrap()]);
    // What another way has brought must not help this one.
    host.hoist(&["image", "rm", "hostile", "hostile:1"]);
    host.hoist(&["image", "prune", "-f", "-a"]).ok();
    let registry = registry(bytes);
    let pull = host.hoist(&["image", "pull", &format!("{}/hostile:1", registry.host)]);
    // An image may have an empty layer, but nothing can be made of an empty file.
    let taken = import.code == 0 || bytes.is_empty();
    assert_eq!(
        (load.code == 0, pull.code == 0),
        (taken, taken),
        "one way takes what another refuses\n{import}\n{load}\n{pull}"
    );
    assert_eq!(
        std::fs::read_to_string(host.path("canary")).unwrap(),
        "alive"
    );
    assert!(
        !Path::new("/tmp/hoist-was-here").exists() && !Path::new("/etc/hoist-was-here").exists()
    );
    assert_eq!(
        std::fs::read_dir(host.path("")).unwrap().count(),
        5,
        "root, state, projects, tmp, canary"
    );
    assert_eq!(host.engine_pid(), before, "the engine lives");
}

#[test]
fn names_that_climb() {
    check(&archive(
        &[
            file("../../../../../../../../tmp/hoist-was-here", b"x"),
            file("a/../../../../../../../../../../etc/hoist-was-here", b"x"),
        ],
        None,
    ));
}

#[test]
fn absolute_names() {
    check(&archive(
        &[
            file("/tmp/hoist-was-here", b"x"),
            file("//etc/hoist-was-here", b"x"),
        ],
        None,
    ));
}

#[test]
fn links_that_lead_outside_and_are_written_through() {
    check(&archive(
        &[
            symlink("out", "/tmp"),
            file("out/hoist-was-here", b"x"),
            symlink("up", "../../../../../../../../../../../../etc"),
            file("up/hoist-was-here", b"x"),
            hardlink("shadow", "/etc/shadow"),
            hardlink("passwd", "../../../../../../../../../../etc/passwd"),
        ],
        None,
    ));
}

#[test]
fn links_in_a_loop() {
    check(&archive(
        &[
            symlink("a", "b"),
            symlink("b", "a"),
            file("a/x", b"x"),
            hardlink("c", "c"),
            hardlink("d", "a/x"),
        ],
        None,
    ));
}

#[test]
fn sizes_that_lie() {
    check(&archive(&[file("huge", b"x")], Some(0o77_777_777_777)));
}

#[test]
fn rubbish() {
    check(&b"this is not an archive at all".repeat(1000));
    check(b"");
}

#[test]
fn device_nodes() {
    check(&archive(
        &[
            device("sda", b'4'),
            device("null", b'3'),
            device("pipe", b'6'),
            file("null", b"x"),
        ],
        None,
    ));
}

#[test]
fn whiteouts_of_what_is_above() {
    check(&archive(
        &[
            file("a/.wh...", b""),
            file("../.wh.canary", b""),
            file("a/.wh...wh.", b""),
        ],
        None,
    ));
    check(&archive(&[file(".wh..", b"")], None));
}

#[test]
fn names_longer_than_the_kernel_takes() {
    let long = |entries: &mut Vec<Entry>, name: String| {
        entries.push(Entry {
            name: "././@LongLink",
            kind: b'L',
            link: "",
            data: Box::leak(name.into_bytes().into_boxed_slice()),
        });
        entries.push(file("short", b"x"));
    };
    let mut entries = Vec::new();
    long(&mut entries, "d/".repeat(2048) + "x");
    check(&archive(&entries, None));
    let mut entries = Vec::new();
    long(&mut entries, "n".repeat(4096));
    check(&archive(&entries, None));
}

/// Names upon names of one file, in an archive of a few megabytes: taken, without the engine growing with them. More of them would
/// take an engine that is not optimised minutes.
#[test]
fn very_many_entries() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    host.hoist(&["image", "ls"]).ok();
    let path = host.path("tmp/many.tar.gz");
    let mut gzip = Command::new("gzip")
        .arg("-1")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let first = archive(&[file("f", b"x")], None);
    let link = archive(&[hardlink("l/0000000", "f")], None)[..512].to_vec();
    let checksum = |header: &[u8]| -> u32 {
        let text = std::str::from_utf8(&header[148..154]).unwrap();
        u32::from_str_radix(text, 8).unwrap()
    };
    let zeros = checksum(&link);
    let mut input = std::io::BufWriter::new(gzip.stdin.take().unwrap());
    input.write_all(&first[..1024]).unwrap();
    let mut header = link;
    for number in 0..200_000 {
        let digits = format!("{number:07}");
        header[2..9].copy_from_slice(digits.as_bytes());
        let sum = zeros
            + digits
                .bytes()
                .map(|digit| u32::from(digit - b'0'))
                .sum::<u32>();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        input.write_all(&header).unwrap();
    }
    input.write_all(&[0; 1024]).unwrap();
    drop(input.into_inner().unwrap());
    assert!(gzip.wait().unwrap().success());
    let mut import = host.hoist_command();
    import.args(["image", "import"]).arg(&path).arg("many");
    run::to_end(import, std::time::Duration::from_secs(120)).ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.engine_pid().unwrap()));
    let status = status.unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 100_000, "the engine needed {peak} kB");
    host.hoist(&["image", "rm", "many"]).ok();
}

#[test]
fn a_small_archive_of_a_huge_file_fills_the_disk_and_no_more() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_room("size=400m,mode=755");
    let made = std::process::Command::new("sh")
        .args([
            "-c",
            "cd $0/tmp && truncate -s 3G big && tar cf - big | zstd -q -o bomb.tar.zst; rm -f big",
        ])
        .arg(host.path(""))
        .status()
        .unwrap();
    assert!(made.success());
    let mut import = host.hoist_command();
    import
        .args(["image", "import"])
        .arg(host.path("tmp/bomb.tar.zst"))
        .arg("bomb");
    run::to_end(import, std::time::Duration::from_secs(120))
        .fails()
        .says(&["may be used on the disk"]);
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
}
