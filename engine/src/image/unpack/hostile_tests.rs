//! Archives that try to leave their layer, or to fill the machine. Each test fails when its defence is taken away: a canary lies beside the
//! layer's directory, and the whole place is compared before and after.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::testing::{Tar, scratch};

const LIMITS: UnpackLimits = UnpackLimits {
    bytes: 64 << 20,
    entries: 10_000,
};

struct Place {
    place: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = scratch();
        fs::create_dir(place.path().join("layer")).unwrap();
        fs::create_dir(place.path().join("victim")).unwrap();
        fs::write(place.path().join("victim/canary"), "alive").unwrap();
        Self { place }
    }

    fn layer(&self) -> PathBuf {
        self.place.path().join("layer")
    }

    fn victim(&self) -> String {
        self.place
            .path()
            .join("victim")
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        let root = fs::File::open(self.layer()).unwrap();
        unpack(archive, root.as_fd(), LIMITS, None)
    }

    #[track_caller]
    fn assert_unharmed(&self) {
        let mut names: Vec<_> = fs::read_dir(self.place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["layer", "victim"]);
        let victim = self.place.path().join("victim");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(victim.join("canary")).unwrap(), "alive");
        let metadata = fs::metadata(victim.join("canary")).unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (1, 0o644));
        assert_eq!(
            fs::metadata(&victim).unwrap().permissions().mode() & 0o7777,
            0o755
        );
    }

    #[track_caller]
    fn check_refused(&self, archive: &[u8], expected: &str) {
        let error = self.unpack(archive).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        self.assert_unharmed();
    }
}

#[track_caller]
fn check_refused(archive: &[u8], expected: &str) {
    Place::new().check_refused(archive, expected);
}

/// Unpacks; what was aimed at the victim must lie in the layer instead.
#[track_caller]
fn check_contained(archive: impl Fn(&str) -> Vec<u8>, lands_at: impl Fn(&str) -> String) {
    let place = Place::new();
    let victim = place.victim();
    place.unpack(&archive(&victim)).unwrap();
    let path = lands_at(&victim);
    let inside = place.layer().join(path.trim_start_matches('/'));
    assert!(
        fs::symlink_metadata(&inside).is_ok(),
        "{}",
        inside.display()
    );
    place.assert_unharmed();
}

#[test]
fn names_with_dots_are_refused() {
    for name in [
        "../victim/new",
        "a/../../victim/new",
        "/../victim/new",
        "./../x",
        "..",
    ] {
        check_refused(
            &Tar::new().file(name, b"x").finish(),
            "leads out of the root",
        );
        check_refused(
            &Tar::new().directory(name).finish(),
            "leads out of the root",
        );
        check_refused(
            &Tar::new().symlink(name, "x").finish(),
            "leads out of the root",
        );
    }
}

#[test]
fn absolute_names_lie_in_the_layer() {
    check_contained(
        |victim| Tar::new().file(&format!("{victim}/new"), b"x").finish(),
        |victim| format!("{victim}/new"),
    );
    check_contained(
        |victim| Tar::new().directory(victim).finish(),
        str::to_owned,
    );
}

#[test]
fn parents_that_are_links_lead_nowhere_else() {
    // The link's target as seen from inside; it must exist there for the entry to land.
    let through = |link: &'static str| {
        move |victim: &str| {
            let target = if link.starts_with('/') {
                victim.to_owned()
            } else {
                format!("{link}{victim}")
            };
            Tar::new()
                .directory(victim)
                .symlink("door", &target)
                .file("door/new", b"x")
                .finish()
        }
    };
    check_contained(through("/"), |victim| format!("{victim}/new"));
    check_contained(through("../../../../../../../../.."), |victim| {
        format!("{victim}/new")
    });
    // A chain of links, and a directory below one.
    let chain = |victim: &str| {
        Tar::new()
            .directory(victim)
            .symlink("a", victim)
            .symlink("b", "/a")
            .symlink("c", "b/../../b")
            .file("b/d/e/f", b"x")
            .finish()
    };
    check_contained(chain, |victim| format!("{victim}/d/e/f"));
    // Dangling, looping, and a file in a directory's place.
    let place = Place::new();
    let dangling = Tar::new()
        .symlink("door", &place.victim())
        .file("door/new", b"x")
        .finish();
    place.check_refused(
        &dangling,
        "is not a directory, but a later entry lies in it",
    );
    check_refused(
        &Tar::new()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b"")
            .finish(),
        "is a link that leads to itself",
    );
    check_refused(
        &Tar::new().symlink("a", "a").file("a/x", b"").finish(),
        "is a link that leads to itself",
    );
    check_refused(
        &Tar::new().file("f", b"").file("f/x", b"").finish(),
        "is not a directory",
    );
}

#[test]
fn magic_links_are_not_followed() {
    let place = Place::new();
    let archive = Tar::new()
        .symlink("self", "/proc/self/cwd")
        .file("self/x", b"")
        .finish();
    assert!(place.unpack(&archive).is_err());
    place.assert_unharmed();
}

#[test]
fn nothing_is_written_through_an_existing_name() {
    let place = Place::new();
    let canary = format!("{}/canary", place.victim());
    // Over a link: the link is replaced, its target is untouched.
    for archive in [
        Tar::new().symlink("x", &canary).file("x", b"dead").finish(),
        Tar::new()
            .symlink("y", &place.victim())
            .directory("y")
            .file("y/new", b"x")
            .finish(),
        Tar::new()
            .symlink("z", &canary)
            .raw(tar::EntryType::Fifo, "z", "", b"")
            .finish(),
        Tar::new()
            .file("w", b"")
            .hard_link("v", "w")
            .file("w", b"other")
            .finish(),
    ] {
        place.unpack(&archive).unwrap();
        place.assert_unharmed();
    }
    assert_eq!(fs::read(place.layer().join("x")).unwrap(), b"dead");
    assert!(
        fs::symlink_metadata(place.layer().join("y"))
            .unwrap()
            .is_dir()
    );
    // A hard link keeps the old content when the other name is replaced.
    assert_eq!(fs::read(place.layer().join("v")).unwrap(), b"");
}

#[test]
fn hard_links_stay_in_the_layer() {
    let place = Place::new();
    let canary = format!("{}/canary", place.victim());
    place.check_refused(
        &Tar::new().hard_link("x", "../victim/canary").finish(),
        "hard link that leads out of the layer",
    );
    place.check_refused(
        &Tar::new().hard_link("x", &canary).finish(),
        "which is not a file of this layer",
    );
    place.check_refused(
        &Tar::new().hard_link("x", "/etc/passwd").finish(),
        "which is not a file of this layer",
    );
    let through = Tar::new()
        .symlink("door", &place.victim())
        .hard_link("x", "door/canary")
        .finish();
    place.check_refused(&through, "which is not a file of this layer");
    // A hard link to a link is a link, and writing to the name replaces it.
    let archive = Tar::new()
        .symlink("l", &canary)
        .hard_link("m", "l")
        .file("m", b"dead")
        .finish();
    place.unpack(&archive).unwrap();
    place.assert_unharmed();
    check_refused(
        &Tar::new().directory("d").hard_link("x", "d").finish(),
        "which is not a file of this layer",
    );
    check_refused(
        &Tar::new().hard_link("x", "/").finish(),
        "hard link to the root directory",
    );
    check_refused(
        &Tar::new().hard_link("x", "y").hard_link("y", "x").finish(),
        "which is not a file of this layer",
    );
    // To itself, and in place of a directory that holds the target.
    Place::new()
        .unpack(&Tar::new().file("f", b"").hard_link("f", "./f").finish())
        .unwrap();
    check_refused(
        &Tar::new()
            .directory("d")
            .file("d/f", b"")
            .hard_link("d", "d/f")
            .finish(),
        "which is not a file of this layer",
    );
}

#[test]
fn whiteouts_hide_only_names_beside_them() {
    for name in [".wh...", ".wh..", "a/.wh...", ".wh."] {
        check_refused(
            &Tar::new().file(name, b"").finish(),
            "whiteout of a directory above it",
        );
    }
    let place = Place::new();
    let through = Tar::new()
        .directory(&place.victim())
        .symlink("door", &place.victim())
        .file("door/.wh.canary", b"")
        .finish();
    place.unpack(&through).unwrap();
    place.assert_unharmed();
}

#[test]
fn overlays_own_attributes_are_refused() {
    for attribute in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
    ] {
        let record = format!("SCHILY.xattr.{attribute}");
        check_refused(
            &Tar::new().pax(&[(&record, b"y")]).directory("d").finish(),
            "which only overlayfs may",
        );
    }
}

#[test]
fn the_root_stays_a_directory() {
    check_refused(
        &Tar::new().symlink("./", "/etc").finish(),
        "replace the root directory",
    );
    check_refused(
        &Tar::new().file(".", b"x").finish(),
        "replace the root directory",
    );
    check_refused(
        &Tar::new().raw(tar::EntryType::Fifo, ".", "", b"").finish(),
        "replace the root directory",
    );
}

#[test]
fn names_are_bounded() {
    let long = "a/".repeat(2047) + "x";
    Place::new()
        .unpack(&Tar::new().file(&long, b"").finish())
        .unwrap();
    check_refused(
        &Tar::new().file(&("a/".repeat(2048) + "x"), b"").finish(),
        "more than 4095 bytes",
    );
    check_refused(
        &Tar::new().file(&"n".repeat(4096), b"").finish(),
        "more than 255 bytes",
    );
    check_refused(
        &Tar::new().symlink("l", &"t".repeat(4096)).finish(),
        "without a usable target",
    );
    check_refused(
        &Tar::new().symlink("l", "").finish(),
        "without a usable target",
    );
    check_refused(
        &Tar::new().pax(&[("path", b"a\0b")]).file("f", b"").finish(),
        "NUL",
    );
    check_refused(
        &Tar::new()
            .pax(&[("linkpath", b"a\0b")])
            .symlink("f", "x")
            .finish(),
        "without a usable target",
    );
}

#[test]
fn declared_sizes_are_refused_before_a_byte_is_written() {
    let place = Place::new();
    let mut archive = Tar::new().file("f", b"").finish();
    let header = &mut archive[..512];
    header[124..136].copy_from_slice(b"77777777777\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    place.check_refused(&archive, "needs more than the 67.1MB");
    assert_eq!(fs::read_dir(place.layer()).unwrap().count(), 0);
    // A hole costs nothing now, but everything when somebody copies the file.
    let sparse = Tar::new()
        .pax(&[
            ("GNU.sparse.map", b"0,1"),
            ("GNU.sparse.size", b"1000000000000000000"),
        ])
        .file("s", b"x")
        .finish();
    check_refused(&sparse, "needs more than the 67.1MB");
}

#[test]
fn counts_are_bounded_also_for_parents() {
    let many = (0..LIMITS.entries + 1)
        .fold(Tar::new(), |tar, index| tar.file(&format!("f{index}"), b""))
        .finish();
    check_refused(&many, "more than 10000 entries");
    let deep = (0..40)
        .fold(Tar::new(), |tar, index| {
            tar.file(&format!("{index}/{}x", "a/".repeat(1000)), b"")
        })
        .finish();
    check_refused(&deep, "more than 10000 entries");
}

#[test]
fn directories_deeper_than_any_name_can_be_removed() {
    let place = Place::new();
    let deep = "d/".repeat(1000);
    let archive = Tar::new()
        .directory(&deep)
        .symlink("a", &deep)
        .directory(&format!("a/{deep}"))
        .symlink("b", &format!("a/{deep}"))
        .directory(&format!("b/{deep}"));
    place.unpack(&archive.finish()).unwrap();
    hoist_volumes::erase_tree(&place.layer()).unwrap();
    assert!(!place.layer().exists());
}

/// More directories with long names than are kept in memory: their times come back from the disk, and nothing else of that is left.
#[test]
fn times_of_very_many_directories_are_kept() {
    let long = "d".repeat(250);
    let mut tar = Tar::new();
    for number in 0..4000 {
        tar = tar.directory(&format!("{long}/{number}/"));
    }
    let place = Place::new();
    place.unpack(&tar.finish()).unwrap();
    let parent = place.layer().join(&long);
    assert_eq!(fs::read_dir(place.layer()).unwrap().count(), 1);
    for number in [0, 1, 1999, 3999] {
        let made = fs::metadata(parent.join(number.to_string())).unwrap();
        assert_eq!(made.mtime(), 1_700_000_000, "{number}");
    }
    // It has no entry of its own.
    assert!(fs::metadata(&parent).unwrap().mtime() > 1_700_000_000);
    place.assert_unharmed();
}

#[test]
fn replacing_without_end_is_refused() {
    let place = Place::new();
    let aside = scratch();
    let long = format!("{}/f", vec!["n".repeat(250); 15].join("/"));
    let mut tar = Tar::new();
    for _ in 0..2500 {
        tar = tar.file(&long, b"x");
    }
    let keep = Keep {
        record: SplitWriter::create(&aside.path().join("split"), 1 << 30).unwrap(),
        aside: fs::File::open(aside.path()).unwrap().into(),
    };
    let root = fs::File::open(place.layer()).unwrap();
    let error = unpack(&tar.finish()[..], root.as_fd(), LIMITS, Some(keep)).expect_err("endless");
    let error = error.to_string();
    assert!(
        error.contains("replaces its own entries too often"),
        "{error}"
    );
}

#[test]
fn devices_in_an_archive_are_nodes_and_are_never_opened() {
    // A block device's node over which a file is unpacked must not be written to.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_path("null").unwrap();
    header.set_mode(0o666);
    header.set_size(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_cksum();
    let mut tar = Tar::new();
    tar.0.append(&header, &b""[..]).unwrap();
    let place = Place::new();
    place.unpack(&tar.file("null", b"data").finish()).unwrap();
    assert_eq!(fs::read(place.layer().join("null")).unwrap(), b"data");
    assert!(fs::metadata(place.layer().join("null")).unwrap().is_file());
}

#[test]
fn an_error_in_the_middle_is_an_error() {
    let archive = Tar::new().file("a", b"x").file("b", &[0; 5000]).finish();
    check_refused(&archive[..2000], "ends in the middle of a file");
    assert!(Path::new("/etc/passwd").exists());
}
