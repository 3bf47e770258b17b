//! The store as its callers see it: volumes made, filled, removed, and what a restart finds.

use std::error::Error as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use std::time::{Duration, UNIX_EPOCH};

use super::*;

struct Fixture {
    root: tempfile::TempDir,
    store: VolumeStore,
}

impl Fixture {
    fn new() -> Self {
        let root = crate::testing::scratch();
        let store = VolumeStore::open(root.path()).unwrap();
        Self { root, store }
    }

    fn reopen(&mut self) {
        self.store = VolumeStore::open(self.root.path()).unwrap();
    }

    fn create(&self, name: &str) -> Volume {
        self.store
            .create(CreateVolume {
                name: Some(name.parse().unwrap()),
                ..CreateVolume::default()
            })
            .unwrap()
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.root.path().join("volumes").join(name)
    }

    /// A layer's directory.
    fn layer(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn populate(
        &self,
        name: &str,
        layers: &[PathBuf],
        path: &str,
    ) -> Result<Populated, VolumeError> {
        self.store.populate(
            name,
            &Populate {
                layers: layers.to_vec(),
                path: path.into(),
                subpath: None,
            },
        )
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn a_volume_survives_a_restart_with_all_that_was_said_of_it() {
    let mut fixture = Fixture::new();
    let request = CreateVolume {
        name: Some("shop_data".parse().unwrap()),
        driver: "local".to_owned(),
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::from([("com.docker.compose.project".to_owned(), "shop".to_owned())]),
    };
    let volume = fixture.store.create(request.clone()).unwrap();
    write(&volume.mountpoint.join("file"), "x");
    assert_eq!(
        fs::metadata(&volume.mountpoint).unwrap().mode() & 0o7777,
        0o755
    );
    for _ in 0..2 {
        assert_eq!(fixture.store.inspect("shop_data").unwrap(), volume);
        assert_eq!(fixture.store.create(request.clone()).unwrap(), volume);
        assert_eq!(fixture.store.list(), std::slice::from_ref(&volume));
        fixture.reopen();
    }
    assert!(!volume.anonymous);
    let anonymous = fixture.store.create(CreateVolume::default()).unwrap();
    assert!(anonymous.anonymous && anonymous.name.as_str().len() == 64);
}

#[test]
fn other_options_or_drivers_are_refused() {
    let fixture = Fixture::new();
    fixture.create("vol");
    let check = |request: CreateVolume, expected: &str| {
        assert_eq!(
            fixture.store.create(request).unwrap_err().to_string(),
            expected
        );
    };
    let name = || Some("vol".parse().unwrap());
    let tmpfs = BTreeMap::from([
        ("type".to_owned(), "tmpfs".to_owned()),
        ("device".to_owned(), "tmpfs".to_owned()),
    ]);
    check(
        CreateVolume {
            name: name(),
            driver_opts: tmpfs,
            ..CreateVolume::default()
        },
        "volume vol exists already with other driver options: remove it first (hoist volume rm vol) or choose another name",
    );
    check(
        CreateVolume {
            name: name(),
            driver: "rexray".to_owned(),
            ..CreateVolume::default()
        },
        "error looking up volume plugin rexray: plugin \"rexray\" not found (the only volume driver here is local)",
    );
}

#[test]
fn a_volume_in_use_stays_and_an_unused_one_goes_with_its_content() {
    let fixture = Fixture::new();
    let volume = fixture.create("vol");
    write(&volume.mountpoint.join("a/b/c"), "x");
    let users = VolumeUsers::from([(
        volume.name.clone(),
        vec!["0123".to_owned(), "4567".to_owned()],
    )]);
    let error = fixture.store.remove("vol", &users).unwrap_err();
    assert_eq!(
        error.to_string(),
        "remove vol: volume is in use - [0123, 4567]"
    );
    let none = VolumeUsers::new();
    fixture.store.remove("vol", &none).unwrap();
    assert!(
        fixture
            .names(&fixture.root.path().join("volumes"))
            .is_empty()
    );
    assert_eq!(
        fixture.store.remove("vol", &none).unwrap_err().to_string(),
        "get vol: no such volume"
    );
    assert_eq!(
        fixture.store.inspect("../etc").unwrap_err().to_string(),
        "get ../etc: no such volume"
    );
}

#[test]
fn prune_takes_what_is_wanted_and_unused() {
    let fixture = Fixture::new();
    let used = fixture.create("used");
    let unused = fixture.create("unused");
    write(&unused.mountpoint.join("file"), &"x".repeat(10_000));
    let anonymous = fixture.store.create(CreateVolume::default()).unwrap();
    let users = VolumeUsers::from([(used.name.clone(), vec!["c".to_owned()])]);
    let (removed, _) = fixture
        .store
        .prune(&users, &|volume| volume.anonymous)
        .unwrap();
    assert_eq!(removed, [anonymous]);
    let (removed, bytes) = fixture.store.prune(&users, &|_| true).unwrap();
    assert_eq!(removed, [unused]);
    assert!(bytes >= 10_000, "{bytes}");
    assert_eq!(fixture.store.list(), [used]);
}

/// Two layers with one of each kind of entry in `/data`.
fn layers_of_all_kinds(fixture: &Fixture) -> [PathBuf; 2] {
    let (low, high) = (fixture.layer("low"), fixture.layer("high"));
    write(&low.join("data/sub/old"), "old");
    write(&low.join("data/gone"), "gone");
    write(&high.join("data/tool"), "#!");
    fs::set_permissions(high.join("data/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(high.join("data"), fs::Permissions::from_mode(0o2770)).unwrap();
    std::os::unix::fs::chown(high.join("data"), Some(70), Some(71)).unwrap();
    std::os::unix::fs::chown(low.join("data/sub/old"), Some(5), Some(6)).unwrap();
    fs::hard_link(high.join("data/tool"), high.join("data/same")).unwrap();
    symlink("/etc/passwd", high.join("data/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        high.join("data/gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )
    .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        high.join("data/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .unwrap();
    rustix::fs::setxattr(
        low.join("data/sub"),
        "user.note",
        b"n",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let time = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    File::open(low.join("data/sub"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    [low, high]
}

#[test]
fn a_new_volume_gets_the_images_content_as_it_is() {
    let fixture = Fixture::new();
    let layers = layers_of_all_kinds(&fixture);
    let time = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    let volume = fixture.create("vol");
    let inode = fs::metadata(&volume.mountpoint).unwrap().ino();
    let copied = fixture.populate("vol", &layers, "/data").unwrap();
    assert_eq!(
        copied,
        Populated::Copied {
            entries: 6,
            bytes: 5
        }
    );
    let data = &volume.mountpoint;
    assert_eq!(fixture.names(data), ["link", "pipe", "same", "sub", "tool"]);
    assert_eq!(fs::read_to_string(data.join("sub/old")).unwrap(), "old");
    let metadata = |name: &str| fs::symlink_metadata(data.join(name)).unwrap();
    assert_eq!(
        (metadata("sub/old").uid(), metadata("sub/old").gid()),
        (5, 6)
    );
    assert_eq!(metadata("tool").mode() & 0o7777, 0o4755);
    assert_eq!(
        (metadata("tool").ino(), metadata("tool").nlink()),
        (metadata("same").ino(), 2)
    );
    assert_eq!(
        fs::read_link(data.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(metadata("pipe").mode() & 0o7777, 0o640);
    let root = fs::metadata(data).unwrap();
    assert_eq!(
        (root.mode() & 0o7777, root.uid(), root.gid(), root.ino()),
        (0o2770, 70, 71, inode)
    );
    let mut note = [0; 8];
    assert_eq!(
        rustix::fs::getxattr(data.join("sub"), "user.note", &mut note).unwrap(),
        1
    );
    assert_eq!(metadata("sub").modified().unwrap(), time);
    assert_eq!(
        fixture.names(&fixture.directory("vol")),
        ["_data", "volume.json"]
    );
}

#[test]
fn only_an_empty_plain_volume_is_filled() {
    let fixture = Fixture::new();
    let layer = fixture.layer("layer");
    write(&layer.join("data/file"), "image");
    symlink("/etc", layer.join("host")).unwrap();
    let volume = fixture.create("used");
    write(&volume.mountpoint.join("mine"), "mine");
    let layers = [layer];
    assert_eq!(
        fixture.populate("used", &layers, "/data").unwrap(),
        Populated::Unchanged
    );
    fixture.create("empty");
    for path in ["/missing", "/data/file", "/host", "/"] {
        assert_eq!(
            fixture.populate("empty", &layers, path).unwrap(),
            Populated::Unchanged,
            "{path}"
        );
    }
    assert_eq!(
        fixture.populate("empty", &layers, "/data").unwrap(),
        Populated::Copied {
            entries: 1,
            bytes: 5
        }
    );
    assert_eq!(
        fixture.populate("empty", &layers, "/data").unwrap(),
        Populated::Unchanged
    );
    let device = BTreeMap::from([
        ("type".to_owned(), "tmpfs".to_owned()),
        ("device".to_owned(), "tmpfs".to_owned()),
    ]);
    fixture
        .store
        .create(CreateVolume {
            name: Some("tmp".parse().unwrap()),
            driver_opts: device,
            ..CreateVolume::default()
        })
        .unwrap();
    assert_eq!(
        fixture.populate("tmp", &layers, "/data").unwrap(),
        Populated::Unchanged
    );
}

#[test]
fn holes_stay_holes() {
    let fixture = Fixture::new();
    let layer = fixture.layer("layer");
    write(&layer.join("data/sparse"), "begin");
    let file = File::options()
        .write(true)
        .open(layer.join("data/sparse"))
        .unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (32 << 20) + 5).unwrap();
    let volume = fixture.create("vol");
    fixture
        .populate("vol", std::slice::from_ref(&layer), "/data")
        .unwrap();
    let copy = fs::metadata(volume.mountpoint.join("sparse")).unwrap();
    assert_eq!(copy.len(), 64 << 20);
    assert!(copy.blocks() * 512 < 1 << 20);
    assert!(
        fs::read(volume.mountpoint.join("sparse")).unwrap()
            == fs::read(layer.join("data/sparse")).unwrap()
    );
}

#[test]
fn many_containers_at_once_fill_a_volume_once() {
    let fixture = Fixture::new();
    let layer = fixture.layer("layer");
    for index in 0..50 {
        write(&layer.join(format!("data/d{index}/file")), "x");
    }
    fixture.create("vol");
    let results: Vec<Populated> = std::thread::scope(|scope| {
        let start = || {
            fixture
                .populate("vol", std::slice::from_ref(&layer), "/data")
                .unwrap()
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let copied = results
        .iter()
        .filter(|result| **result != Populated::Unchanged)
        .count();
    assert_eq!(copied, 1);
    assert_eq!(
        fixture.names(&fixture.directory("vol").join("_data")).len(),
        50
    );
}

#[test]
fn a_killed_copy_is_undone_or_finished() {
    let mut fixture = Fixture::new();
    let layer = fixture.layer("layer");
    write(&layer.join("data/a"), "a");
    let volume = fixture.create("undone");
    write(&fixture.directory("undone").join("populate.tmp/half"), "ha");
    let finished = fixture.create("finished");
    write(&fixture.directory("finished").join("populate/second"), "2");
    write(&finished.mountpoint.join("first"), "1");
    fs::set_permissions(
        fixture.directory("finished").join("populate"),
        fs::Permissions::from_mode(0o1777),
    )
    .unwrap();
    fixture.reopen();
    assert_eq!(
        fixture.names(&fixture.directory("undone")),
        ["_data", "volume.json"]
    );
    assert_eq!(fixture.names(&volume.mountpoint), Vec::<String>::new());
    assert_eq!(
        fixture.populate("undone", &[layer], "/data").unwrap(),
        Populated::Copied {
            entries: 1,
            bytes: 1
        }
    );
    assert_eq!(fixture.names(&finished.mountpoint), ["first", "second"]);
    assert_eq!(
        fs::metadata(&finished.mountpoint).unwrap().mode() & 0o7777,
        0o1777
    );
}

#[test]
fn torn_records_are_set_aside_and_data_comes_back() {
    let mut fixture = Fixture::new();
    let volume = fixture.create("torn");
    write(&volume.mountpoint.join("file"), "kept");
    fs::write(
        fixture.directory("torn").join("volume.json"),
        "{\"Name\": \"to",
    )
    .unwrap();
    let other = fixture.create("other");
    fs::create_dir_all(fixture.directory("half/_data")).unwrap();
    fs::create_dir_all(fixture.directory(".removed-3-x/deep")).unwrap();
    fixture.reopen();
    assert_eq!(fixture.store.list(), [other]);
    assert_eq!(
        fixture.names(&fixture.root.path().join("volumes")),
        ["other", "torn"]
    );
    let again = fixture.create("torn");
    assert_eq!(
        fs::read_to_string(again.mountpoint.join("file")).unwrap(),
        "kept"
    );
}

#[test]
fn a_path_below_a_volume_stays_in_it() {
    let fixture = Fixture::new();
    let volume = fixture.create("vol");
    write(&volume.mountpoint.join("sub/file"), "x");
    symlink("/etc", volume.mountpoint.join("out")).unwrap();
    symlink("../vol", volume.mountpoint.join("up")).unwrap();
    symlink("../sub", volume.mountpoint.join("sub/in")).unwrap();
    let path = |subpath: &str| {
        let source = fixture.store.mount_source("vol", Some(Path::new(subpath)));
        source
            .map(|source| match source {
                MountSource::Bind { path, subpath, .. } if path == volume.mountpoint => subpath,
                other => panic!("{other:?}"),
            })
            .map_err(|error| error.source().map(ToString::to_string).unwrap_or_default())
    };
    assert_eq!(path("sub").unwrap(), Some("sub".into()));
    assert_eq!(path("sub/in/file").unwrap(), Some("sub/file".into()));
    assert_eq!(path("sub/..").unwrap(), None);
    for (bad, why) in [
        (
            "missing",
            "cannot access path missing: no such file or directory",
        ),
        ("out", "escapes the base directory"),
        ("up", "escapes the base directory"),
        ("../vol", "escapes the base directory"),
        ("/sub", "escapes the base directory"),
    ] {
        let told = path(bad).expect_err(bad);
        assert!(told.contains(why), "{bad}: {told}");
    }
}

#[test]
fn an_empty_directory_below_a_volume_is_filled_as_a_volume_is() {
    let mut fixture = Fixture::new();
    let layer = fixture.layer("layer");
    write(&layer.join("bin/tool"), "tool");
    fs::set_permissions(layer.join("bin"), PermissionsExt::from_mode(0o750)).unwrap();
    let volume = fixture.create("vol");
    write(&volume.mountpoint.join("full/own"), "x");
    fs::create_dir(volume.mountpoint.join("empty")).unwrap();
    let fill = |fixture: &Fixture, subpath: &str| {
        let from = Populate {
            layers: vec![layer.clone()],
            path: "/bin".into(),
            subpath: Some(subpath.into()),
        };
        fixture.store.populate("vol", &from)
    };
    assert_eq!(fill(&fixture, "missing").unwrap(), Populated::Unchanged);
    assert_eq!(fill(&fixture, "full").unwrap(), Populated::Unchanged);
    assert_eq!(
        fill(&fixture, "empty").unwrap(),
        Populated::Copied {
            entries: 1,
            bytes: 4
        }
    );
    let filled = volume.mountpoint.join("empty");
    assert_eq!(fs::read_to_string(filled.join("tool")).unwrap(), "tool");
    assert_eq!(fs::metadata(&filled).unwrap().mode() & 0o777, 0o750);
    // A copy that was cut short before it was moved.
    let again = volume.mountpoint.join("again");
    fs::create_dir(&again).unwrap();
    write(&fixture.directory("vol").join("populate/late"), "late");
    write(&fixture.directory("vol").join("populate.into"), "again");
    fixture.reopen();
    assert_eq!(fs::read_to_string(again.join("late")).unwrap(), "late");
    assert!(!fixture.directory("vol").join("populate.into").exists());
}
