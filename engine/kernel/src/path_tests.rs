//! What a hostile tree can and cannot do to lookups.

use super::*;
use std::os::unix::fs::symlink;

struct Fixture {
    place: tempfile::TempDir,
    root: Root,
}

/// `<place>/outside/secret` and an empty `<place>/root`.
fn fixture() -> Fixture {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("outside")).unwrap();
    std::fs::write(place.path().join("outside/secret"), "secret").unwrap();
    std::fs::create_dir(place.path().join("root")).unwrap();
    let root = Root::open(&place.path().join("root")).unwrap();
    Fixture { place, root }
}

impl Fixture {
    fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.place.path().join("root").join(name)).unwrap();
    }

    fn errno(&self, path: &str) -> Errno {
        self.root
            .open_beneath(Path::new(path), OFlags::RDONLY, Mode::empty())
            .unwrap_err()
            .errno
    }
}

#[test]
fn nothing_outside_can_be_opened() {
    let fixture = fixture();
    let outside = fixture.place.path().join("outside");
    fixture.link("absolute", &outside);
    fixture.link("relative", "../outside");
    fixture.link("magic", "/proc/self/root");
    fixture.link("loop", "loop");
    for path in [
        "absolute/secret",
        "relative/secret",
        "../outside/secret",
        "magic/etc/passwd",
    ] {
        assert_eq!(fixture.errno(path), Errno::NOENT, "{path}");
    }
    assert_eq!(fixture.errno("loop"), Errno::LOOP);
    let proc = Root::open(Path::new("/proc")).unwrap();
    let magic = proc.open_beneath(Path::new("self/root"), OFlags::RDONLY, Mode::empty());
    assert_eq!(magic.unwrap_err().errno, Errno::LOOP);
}

#[test]
fn what_leads_out_is_told() {
    let fixture = fixture();
    std::fs::write(fixture.place.path().join("root/file"), "x").unwrap();
    fixture.link("inside", "file");
    fixture.link("absolute", "/file");
    fixture.link("up", "../outside");
    let open = |path: &str| {
        fixture
            .root
            .open_within(Path::new(path), OFlags::PATH, Mode::empty())
            .map(drop)
            .map_err(|error| error.errno)
    };
    assert_eq!((open("file"), open("inside")), (Ok(()), Ok(())));
    for path in ["absolute", "up/secret", "../root/file", "/file"] {
        assert_eq!(open(path), Err(Errno::XDEV), "{path}");
    }
    assert_eq!(open("missing"), Err(Errno::NOENT));
}

#[test]
fn directories_are_created_inside_only() {
    let fixture = fixture();
    fixture.link("up", "../../..");
    fixture.link("absolute", "/made");
    let mode = Mode::from_raw_mode(0o755);
    fixture
        .root
        .create_directories(Path::new("up/a/b"), mode)
        .unwrap();
    assert!(fixture.place.path().join("root/a/b").is_dir());
    fixture
        .root
        .create_directories(Path::new("/../../c/./d"), mode)
        .unwrap();
    assert!(fixture.place.path().join("root/c/d").is_dir());
    let dangling = fixture
        .root
        .create_directories(Path::new("absolute/x"), mode)
        .unwrap_err();
    assert_eq!(dangling.errno, Errno::NOENT);
    assert!(!Path::new("/made").exists());
}

#[test]
fn the_last_name_is_never_followed() {
    let fixture = fixture();
    fixture.link("link", fixture.place.path().join("outside/secret"));
    let (directory, name) = fixture.root.parent(Path::new("/link")).unwrap();
    assert_eq!(
        directory
            .open(&name, OFlags::RDONLY, Mode::empty())
            .unwrap_err()
            .errno,
        Errno::LOOP
    );
    assert_eq!(
        directory
            .create_file(&name, Mode::from_raw_mode(0o644))
            .unwrap_err()
            .errno,
        Errno::EXIST
    );
    assert_eq!(
        directory.set_mode(&name, Mode::empty()).unwrap_err().errno,
        Errno::OPNOTSUPP
    );
    directory.set_owner(&name, 12, 34).unwrap();
    assert_eq!(directory.status(&name).unwrap().st_uid, 12);
    let outside = std::fs::metadata(fixture.place.path().join("outside/secret")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&outside), 0);
}

#[test]
fn names_with_structure_are_refused() {
    let fixture = fixture();
    let directory = fixture.root.directory(Path::new("")).unwrap();
    for name in ["", ".", "..", "a/b", "/"] {
        let error = directory
            .create_directory(OsStr::new(name), Mode::empty())
            .unwrap_err();
        assert_eq!(error.errno, Errno::INVAL, "{name:?}");
    }
    assert_eq!(
        fixture.root.parent(Path::new("/")).unwrap_err().errno,
        Errno::INVAL
    );
    assert_eq!(
        fixture.root.parent(Path::new("a/..")).unwrap_err().errno,
        Errno::INVAL
    );
}

#[test]
fn everything_a_layer_holds_can_be_made() {
    let fixture = fixture();
    let directory = fixture.root.directory(Path::new("/")).unwrap();
    let name = OsStr::new("file");
    let file = directory
        .create_file(name, Mode::from_raw_mode(0o600))
        .unwrap();
    rustix::io::write(&file, b"x").unwrap();
    directory.set_owner(name, 1, 2).unwrap();
    directory
        .set_mode(name, Mode::from_raw_mode(0o4755))
        .unwrap();
    directory
        .set_attribute(name, c"trusted.test", b"value")
        .unwrap();
    assert_eq!(
        directory.attribute(name, c"trusted.test").unwrap().unwrap(),
        b"value"
    );
    assert_eq!(directory.attribute(name, c"trusted.none").unwrap(), None);
    assert_eq!(
        directory.attributes(name).unwrap(),
        [c"trusted.test".to_owned()]
    );
    directory
        .create_link(OsStr::new("hard"), &directory, name)
        .unwrap();
    let status = directory.status(OsStr::new("hard")).unwrap();
    assert_eq!(
        (status.st_nlink, status.st_mode & 0o7777, status.st_gid),
        (2, 0o4755, 2)
    );
    directory
        .create_symlink(OsStr::new("soft"), OsStr::new("/any/where"))
        .unwrap();
    assert_eq!(
        directory.read_link(OsStr::new("soft")).unwrap(),
        "/any/where"
    );
    let mode = Mode::from_raw_mode(0o666);
    directory
        .make_node(OsStr::new("null"), Node::Character(1, 3), mode)
        .unwrap();
    directory
        .make_node(OsStr::new("pipe"), Node::Fifo, mode)
        .unwrap();
    let status = directory.status(OsStr::new("null")).unwrap();
    assert_eq!(status.st_rdev, rustix::fs::makedev(1, 3));
    let mut names = directory.names().unwrap();
    names.sort();
    assert_eq!(names, ["file", "hard", "null", "pipe", "soft"]);
}

#[test]
fn removing_a_tree_does_not_follow_links_out_of_it() {
    let fixture = fixture();
    fixture
        .root
        .create_directories(Path::new("tree/deep/er"), Mode::from_raw_mode(0o755))
        .unwrap();
    fixture.link("tree/deep/out", fixture.place.path().join("outside"));
    let directory = fixture.root.directory(Path::new("")).unwrap();
    directory.remove_all(OsStr::new("tree")).unwrap();
    directory.remove_all(OsStr::new("tree")).unwrap();
    assert_eq!(directory.names().unwrap(), Vec::<OsString>::new());
    assert!(fixture.place.path().join("outside/secret").exists());
}

#[test]
fn a_tree_deeper_than_descriptors_is_removed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let fixture = fixture();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(256),
            ..limit
        },
    )
    .unwrap();
    let mode = Mode::from_raw_mode(0o755);
    let mut directory = fixture.root.directory(Path::new("")).unwrap();
    for depth in 0..1_000 {
        directory.create_directory(OsStr::new("d"), mode).unwrap();
        if depth % 100 == 0 {
            directory.create_file(OsStr::new("f"), mode).unwrap();
        }
        directory = directory.child(OsStr::new("d")).unwrap();
    }
    let top = fixture.root.directory(Path::new("")).unwrap();
    top.remove_all(OsStr::new("d")).unwrap();
    assert_eq!(top.names().unwrap(), ["f"]);
}
