//! Honest archives: what an entry becomes on disk.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::testing::{Tar, scratch};

const LIMITS: UnpackLimits = UnpackLimits {
    bytes: 64 << 20,
    entries: 10_000,
};

struct Layer {
    place: tempfile::TempDir,
    unpacked: Unpacked,
}

impl Layer {
    fn of(tar: Tar) -> Self {
        let place = scratch();
        let root = fs::File::open(place.path()).unwrap();
        let unpacked = unpack(&tar.finish()[..], root.as_fd(), LIMITS, None).unwrap();
        Self { place, unpacked }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn metadata(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let metadata = self.metadata(name);
        metadata.file_type().is_char_device() && metadata.rdev() == 0
    }

    fn xattr(&self, name: &str, attribute: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 256];
        let length = rustix::fs::lgetxattr(
            self.path(name),
            CString::new(attribute).unwrap(),
            &mut value,
        )
        .ok()?;
        value.truncate(length);
        Some(value)
    }

    fn is_opaque(&self, name: &str) -> bool {
        self.xattr(name, "trusted.overlay.opaque").as_deref() == Some(b"y")
    }
}

#[test]
fn metadata_is_kept() {
    let records: [(&str, &[u8]); 6] = [
        ("uid", b"70"),
        ("gid", b"100000"),
        ("mtime", b"1600000000.123456789"),
        ("SCHILY.xattr.user.note", b"hello"),
        (
            "SCHILY.xattr.security.capability",
            b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
        ("SCHILY.xattr.security.selinux", b"label"),
    ];
    let mut header = tar::Header::new_gnu();
    header.set_path("tool").unwrap();
    header.set_mode(0o6755);
    header.set_size(3);
    header.set_cksum();
    let mut tar = Tar::new().pax(&records);
    tar.0.append(&header, &b"abc"[..]).unwrap();
    let layer = Layer::of(tar);
    let metadata = layer.metadata("tool");
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o6755, 70, 100_000)
    );
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (1_600_000_000, 123_456_789)
    );
    assert_eq!(
        layer.xattr("tool", "user.note").as_deref(),
        Some(&b"hello"[..])
    );
    assert_eq!(
        layer
            .xattr("tool", "security.capability")
            .map(|value| value.len()),
        Some(20)
    );
    assert_eq!(layer.xattr("tool", "security.selinux"), None);
    assert_eq!(
        layer.unpacked,
        Unpacked {
            bytes: 3,
            is_opaque: false
        }
    );
}

#[test]
fn a_directorys_time_is_that_of_the_archive_whatever_comes_later() {
    let layer = Layer::of(
        Tar::new()
            .directory("./")
            .directory("d/")
            .directory("d/e/")
            .file("d/e/f", b"")
            .file("d/g", b""),
    );
    for name in ["", "d", "d/e", "d/e/f"] {
        assert_eq!(layer.metadata(name).mtime(), 1_700_000_000, "{name}");
    }
}

#[test]
fn links_and_nodes_are_what_they_were() {
    let layer = Layer::of(
        Tar::new()
            .file("a", b"x")
            .hard_link("b", "a")
            .symlink("absolute", "/etc/alternatives/x")
            .symlink("dangling", "../../nowhere")
            .hard_link("same-link", "dangling")
            .raw(tar::EntryType::Fifo, "pipe", "", b""),
    );
    assert_eq!(layer.metadata("a").ino(), layer.metadata("b").ino());
    assert_eq!(
        fs::read_link(layer.path("absolute")).unwrap(),
        Path::new("/etc/alternatives/x")
    );
    assert_eq!(layer.metadata("absolute").mtime(), 1_700_000_000);
    assert_eq!(
        fs::read_link(layer.path("same-link")).unwrap(),
        Path::new("../../nowhere")
    );
    assert!(layer.metadata("pipe").file_type().is_fifo());
    assert_eq!(layer.metadata("pipe").mode() & 0o7777, 0o644);
}

#[test]
fn whiteouts_are_in_overlays_terms_in_any_order() {
    let layer = Layer::of(
        Tar::new()
            .file(".wh.gone", b"")
            .file("d/.wh..wh..opq", b"")
            .file("d/new", b"")
            .file("d/.wh.old", b"")
            .file(".wh..wh.plnk", b"")
            // The same name made again: the lower one is hidden, the new one shown.
            .file(".wh.file", b"")
            .file("file", b"new")
            .file("file2", b"new")
            .file(".wh.file2", b"")
            .file(".wh.dir", b"")
            .directory("dir/")
            .file(".wh.implied", b"")
            .file("implied/x", b"")
            .directory("dir2/")
            .file(".wh.dir2", b""),
    );
    assert!(layer.is_whiteout("gone") && layer.is_whiteout("d/old"));
    for name in ["d", "dir", "implied", "dir2"] {
        assert!(layer.is_opaque(name), "{name}");
    }
    assert!(layer.metadata("file").is_file() && layer.metadata("file2").is_file());
    assert!(!layer.path(".wh..wh.plnk").exists() && !layer.unpacked.is_opaque);
    assert!(
        Layer::of(Tar::new().file(".wh..wh..opq", b""))
            .unpacked
            .is_opaque
    );
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let layer = Layer::of(
        Tar::new()
            .directory("a/b/")
            .file("a/b/c", b"")
            .file("a", b"file now")
            .file("x", b"1")
            .directory("x/")
            .file("x/y", b"2")
            .file("twice", b"long content")
            .file("twice", b"short")
            .directory("kept/")
            .file("kept/f", b"")
            .directory("kept/"),
    );
    assert_eq!(fs::read(layer.path("a")).unwrap(), b"file now");
    assert_eq!(fs::read(layer.path("x/y")).unwrap(), b"2");
    assert_eq!(fs::read(layer.path("twice")).unwrap(), b"short");
    assert!(layer.path("kept/f").exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let map = [
        ("GNU.sparse.map", &b"4096,3,33554432,2"[..]),
        ("GNU.sparse.size", b"33558528"),
    ];
    let layer = Layer::of(Tar::new().pax(&map).file("s", b"abcde"));
    let content = fs::read(layer.path("s")).unwrap();
    assert_eq!(
        (
            content.len(),
            &content[4096..4099],
            &content[33_554_432..33_554_434]
        ),
        (33_558_528, &b"abc"[..], &b"de"[..])
    );
    assert!(layer.metadata("s").blocks() * 512 < 1 << 20);
}
