//! Hostile archives: whatever is in them, nothing is written outside of the image store, and no process dies of them.

use std::io::Write;
use std::path::Path;

use crate::common::{TestHost, can_run, run};

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

/// Imports the bytes; whatever comes of it, the canary outside is untouched and the engine lives.
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
