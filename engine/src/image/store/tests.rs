//! The store as its callers see it: archives in, images and directories out, and what a restart finds.

use std::fs;
use std::io::Read;

use super::*;
use crate::image::error::ImageErrorKind;
use crate::image::testing::{Tar, gzip, scratch};

struct Fixture {
    root: tempfile::TempDir,
    store: Option<ImageStore>,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            root: scratch(),
            store: None,
        };
        fixture.reopen();
        fixture
    }

    fn reopen(&mut self) {
        self.store = None;
        let options = StoreOptions {
            reserve_bytes: 0,
            platform: amd64(),
            ..StoreOptions::default()
        };
        self.store = Some(ImageStore::open(self.root.path(), options).expect("open"));
    }

    fn store(&self) -> &ImageStore {
        self.store.as_ref().expect("open")
    }

    fn import(&self, archive: &[u8], name: &str) -> Result<ImageId, ImageError> {
        let options = ImportOptions {
            name: Some(name.parse().expect("name")),
            ..ImportOptions::default()
        };
        self.store().import(&mut &archive[..], &options)
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<LoadedImage>, ImageError> {
        self.store().load(&mut &archive[..], None)
    }

    #[track_caller]
    fn check_not_loaded(&self, archive: &[u8], expected: &str) {
        let error = self.load(archive).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        self.assert_nothing_is_left();
    }

    /// Names in a directory of the root.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join(directory)).expect("directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }

    fn layer_count(&self) -> usize {
        self.names("layers").len() - 1
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        assert_eq!(self.names("layers"), ["empty"]);
        assert_eq!(self.names("images/tmp"), Vec::<String>::new());
        assert_eq!(self.names("images/blobs/sha256"), Vec::<String>::new());
    }
}

fn is_dangling(image: &Image) -> bool {
    image.repo_tags.is_empty()
}

fn amd64() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: String::new(),
    }
}

fn root_file_system() -> Vec<u8> {
    Tar::new()
        .directory("etc/")
        .file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        .finish()
}

/// As `image rm --force` or without, by itself.
fn removing(force: bool) -> Removing {
    Removing {
        force,
        parents: true,
    }
}

#[test]
fn an_imported_archive_is_an_image_that_survives_a_restart() {
    let mut fixture = Fixture::new();
    let options = ImportOptions {
        name: Some("shop/web".parse().expect("name")),
        changes: vec!["CMD [\"nginx\"]".to_owned(), "EXPOSE 80".to_owned()],
        ..ImportOptions::default()
    };
    let archive = gzip(&root_file_system());
    let id = fixture
        .store()
        .import(&mut &archive[..], &options)
        .expect("import");
    for _ in 0..2 {
        let image = fixture.store().resolve("shop/web").expect("image");
        assert_eq!(image.id, id);
        assert_eq!(image.repo_tags, ["shop/web:latest"]);
        assert_eq!(image.config.config.cmd, Some(vec!["nginx".to_owned()]));
        assert_eq!(
            image.config.rootfs.diff_ids,
            [Digest::of(&root_file_system())]
        );
        assert_eq!(image.config.history[0].comment, "Imported from -");
        assert_eq!((image.size, image.layer_sizes.as_slice()), (26, &[26][..]));
        assert_eq!(
            fs::read(image.layers[0].join("etc/passwd")).expect("file"),
            b"root:x:0:0::/root:/bin/sh\n"
        );
        assert_eq!(
            fixture.store().resolve(id.short()).expect("short id").id,
            id
        );
        assert_eq!(fixture.store().resolve(id.as_str()).expect("id").id, id);
        assert!(!image.last_tagged.is_empty());
        fixture.reopen();
    }
    assert_eq!(fixture.names("images/tmp"), Vec::<String>::new());
}

#[test]
fn importing_again_keeps_the_id() {
    let fixture = Fixture::new();
    let first = fixture.import(&root_file_system(), "a").expect("import");
    assert_eq!(
        fixture
            .import(&gzip(&root_file_system()), "b")
            .expect("import"),
        first
    );
    assert_eq!(
        fixture.store().resolve("a").expect("image").repo_tags,
        ["a:latest", "b:latest"]
    );
    assert_eq!(fixture.layer_count(), 1);
}

#[test]
fn many_imports_of_one_archive_at_once_make_one_layer() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for index in 0..6 {
            let fixture = &fixture;
            scope.spawn(move || {
                fixture
                    .import(&gzip(&root_file_system()), &format!("name{index}"))
                    .expect("import")
            });
        }
    });
    assert_eq!(fixture.layer_count(), 1);
    assert_eq!(fixture.names("images/tmp"), Vec::<String>::new());
    let tags: usize = fixture
        .store()
        .list()
        .iter()
        .map(|image| image.repo_tags.len())
        .sum();
    assert_eq!(tags, 6);
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let fixture = Fixture::new();
    let good = root_file_system();
    let check = |archive: &[u8], expected: &str| {
        let error = fixture
            .import(archive, "x")
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
        fixture.assert_nothing_is_left();
    };
    check(
        &Tar::new().file("a", b"x").file("../b", b"y").finish(),
        "leads out of the root",
    );
    check(&good[..1040], "ends in the middle");
    check(&gzip(&good)[..60], "damaged or cut short");
    check(
        b"this is not a tar archive, it is a sentence",
        "ends in the middle of a header",
    );
    check(&[b'x'; 2048], "not a tar header");
    let options = ImportOptions {
        changes: vec!["FROM x".to_owned()],
        ..ImportOptions::default()
    };
    let error = fixture
        .store()
        .import(&mut &good[..], &options)
        .expect_err("change");
    assert_eq!(error.kind(), ImageErrorKind::Invalid);
    fixture.assert_nothing_is_left();
}

/// Fails after some bytes, as a connection does.
struct Breaking<'a>(&'a [u8]);

impl Read for Breaking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() {
            return Err(std::io::Error::other("connection reset"));
        }
        self.0.read(buffer)
    }
}

#[test]
fn a_source_that_breaks_off_leaves_nothing() {
    let fixture = Fixture::new();
    let archive = root_file_system();
    let error = fixture
        .store()
        .import(&mut Breaking(&archive[..1024]), &ImportOptions::default())
        .expect_err("broken");
    assert!(error.to_string().contains("connection reset"), "{error}");
    fixture.assert_nothing_is_left();
}

/// What the classic builder leaves: an image for each step, made from the one before.
#[test]
fn images_of_steps_go_with_what_was_made_of_them() {
    let mut fixture = Fixture::new();
    let none = ImageUsers::new();
    let store = fixture.store().clone();
    let base = fixture.import(&root_file_system(), "base").expect("import");
    let (_, layers) = store.hold("base").expect("base");
    let image = |comment: &str| {
        crate::image::described(crate::image::NewContent {
            config: ImageConfig {
                comment: comment.to_owned(),
                ..ImageConfig::default()
            },
            layers: layers.clone(),
            names: Vec::new(),
        })
        .expect("it can be written")
    };
    let ids = ["one", "two", "three"].map(|comment| image(comment).id);
    let [one, two, three] = ids.clone();
    let make = |store: &ImageStore| {
        let steps = vec![
            (image("one"), Some(base.clone())),
            (image("two"), Some(one.clone())),
            (image("three"), Some(two.clone())),
        ];
        store.publish_steps(steps).expect("they are taken in");
        store
            .tag(three.as_str(), &"x".parse().expect("name"))
            .expect("tag");
    };
    make(&store);
    // A circle is none.
    let circle = [(one.clone(), Some(three.clone()))];
    store.set_parents(circle.into_iter()).expect("nothing");
    assert_eq!(
        store.resolve(one.as_str()).expect("one").parent,
        Some(base.clone())
    );
    let conflict = store.remove(two.as_str(), &none, removing(true));
    let conflict = conflict.expect_err("it has children").to_string();
    assert!(
        conflict.contains("image has dependent child images"),
        "{conflict}"
    );
    let gone = store.remove("x", &none, removing(false)).expect("remove");
    let deleted = |id: &ImageId| Removed::Deleted(id.to_string());
    let expected = [
        Removed::Untagged("x:latest".to_owned()),
        deleted(&three),
        deleted(&two),
        deleted(&one),
    ];
    assert_eq!(gone, expected);

    // A base that loses its name stays as long as there is something made from it.
    make(&store);
    let untagged = store.remove("base", &none, removing(false)).expect("untag");
    assert_eq!(untagged, [Removed::Untagged("base:latest".to_owned())]);
    let is_meant = |image: &Image| image.repo_tags.is_empty();
    assert_eq!(store.prune(&none, &is_meant).expect("prune").0, []);
    drop(store);
    fixture.reopen();
    let restarted = fixture.store();
    let parent = restarted.resolve("x").expect("x").parent.clone();
    assert_eq!(parent, Some(two));
    let (gone, _) = restarted.prune(&none, &|_| true).expect("prune");
    for id in ids.iter().chain([&base]) {
        assert!(gone.contains(&deleted(id)), "{gone:?}");
    }
}

#[test]
fn names_move_and_images_go_with_their_last_name() {
    let fixture = Fixture::new();
    let none = ImageUsers::new();
    let store = fixture.store();
    let first = fixture.import(&root_file_system(), "x").expect("import");
    let second = fixture
        .import(&Tar::new().file("b", b"").finish(), "y")
        .expect("import");
    store.tag("x", &"y".parse().expect("name")).expect("tag");
    assert_eq!(store.resolve("y").expect("y").id, first);
    assert_eq!(
        store.resolve(second.as_str()).expect("second").repo_tags,
        Vec::<String>::new()
    );

    assert_eq!(
        store
            .remove("y", &none, Removing::default())
            .expect("untag"),
        [Removed::Untagged("y:latest".to_owned())]
    );
    let removed = store
        .remove("x", &none, Removing::default())
        .expect("remove");
    assert_eq!(
        removed[..2],
        [
            Removed::Untagged("x:latest".to_owned()),
            Removed::Deleted(first.to_string())
        ]
    );
    assert_eq!(removed.len(), 3);
    let error = store.resolve("x").expect_err("gone");
    assert_eq!(
        (error.to_string().as_str(), error.kind()),
        ("No such image: x:latest", ImageErrorKind::NotFound)
    );
    let (pruned, _) = store.prune(&none, &is_dangling).expect("prune");
    assert_eq!(pruned[0], Removed::Deleted(second.to_string()));
    fixture.assert_nothing_is_left();
}

#[test]
fn images_in_use_are_kept_by_dockers_rules() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let id = fixture.import(&root_file_system(), "x:1").expect("import");
    let users = |running: bool| {
        ImageUsers::from([(
            id.clone(),
            vec![ImageUse {
                container: "0123456789abcdef".to_owned(),
                running,
            }],
        )])
    };
    let refused = |name: &str, running: bool, force: bool| {
        store
            .remove(name, &users(running), removing(force))
            .expect_err(name)
            .to_string()
    };
    let short = id.short();
    assert_eq!(
        refused("x:1", true, false),
        format!(
            "conflict: unable to remove repository reference \"x:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        refused(short, true, true),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    assert_eq!(
        refused(short, false, false),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    store
        .tag("x:1", &"other/x:2".parse().expect("name"))
        .expect("tag");
    let none = ImageUsers::new();
    let error = store
        .remove(short, &none, Removing::default())
        .expect_err("two names")
        .to_string();
    assert_eq!(
        error,
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    // One of two names is no loss, and force takes the last but keeps the files.
    store
        .remove("other/x:2", &users(true), Removing::default())
        .expect("untag");
    assert_eq!(
        store
            .remove("x:1", &users(true), removing(true))
            .expect("force"),
        [Removed::Untagged("x:1".to_owned())]
    );
    assert!(store.resolve(short).expect("still there").layers[0].is_dir());
    assert_eq!(store.prune(&users(true), &|_| true).expect("prune").0, []);
    assert_eq!(
        store
            .remove(short, &none, Removing::default())
            .expect("unused now")
            .len(),
        2
    );
    fixture.assert_nothing_is_left();
}

#[test]
fn a_prefix_of_two_ids_is_ambiguous() {
    let fixture = Fixture::new();
    for index in 0..40 {
        fixture
            .import(
                &Tar::new().file(&format!("f{index}"), b"").finish(),
                &format!("n{index}"),
            )
            .expect("import");
    }
    let ids: Vec<ImageId> = fixture
        .store()
        .list()
        .iter()
        .map(|image| image.id.clone())
        .collect();
    let clash = ids
        .iter()
        .find(|id| {
            ids.iter()
                .filter(|other| other.0.hex().starts_with(&id.0.hex()[..1]))
                .count()
                > 1
        })
        .expect("40 ids, 16 digits");
    let error = fixture
        .store()
        .resolve(&clash.0.hex()[..1])
        .expect_err("ambiguous");
    assert!(matches!(error, ImageError::Ambiguous(_)), "{error}");
}

#[test]
fn a_restart_clears_what_a_kill_left() {
    let mut fixture = Fixture::new();
    let id = fixture.import(&root_file_system(), "x").expect("import");
    fixture.store = None;
    let root = fixture.root.path();
    // Killed while unpacking, after unpacking, and between documents and index.
    fs::create_dir_all(root.join("images/tmp/layer-0/fs/etc")).expect("tmp");
    fs::write(root.join("images/tmp/layer-0/fs/etc/x"), "x").expect("tmp");
    let orphan = root.join("layers").join(Digest::of(b"orphan").hex());
    fs::create_dir_all(orphan.join("fs")).expect("orphan");
    fs::write(orphan.join("layer.json"), r#"{"size":1,"archiveSize":1}"#).expect("orphan");
    fs::write(
        root.join("images/blobs/sha256")
            .join(Digest::of(b"blob").hex()),
        "blob",
    )
    .expect("blob");
    fixture.reopen();
    assert_eq!(fixture.store().resolve("x").expect("x").id, id);
    assert_eq!(fixture.layer_count(), 1);
    assert_eq!(fixture.names("images/tmp"), Vec::<String>::new());
    assert_eq!(fixture.names("images/blobs/sha256").len(), 2);
}

#[test]
fn torn_files_cost_at_most_their_image() {
    let mut fixture = Fixture::new();
    let broken = fixture
        .import(&root_file_system(), "broken")
        .expect("import");
    fixture
        .import(&Tar::new().file("b", b"").finish(), "whole")
        .expect("import");
    fixture.store = None;
    fs::write(
        fixture
            .root
            .path()
            .join("images/blobs/sha256")
            .join(broken.0.hex()),
        "{\"arch",
    )
    .expect("tear");
    fixture.reopen();
    assert!(fixture.store().resolve("broken").is_err());
    assert!(fixture.store().resolve("whole").is_ok());
    // It can be brought in again.
    fixture
        .import(&root_file_system(), "broken")
        .expect("import");

    fixture.store = None;
    fs::write(fixture.root.path().join("images/index.json"), "{\"schemaV").expect("tear");
    fixture.reopen();
    assert_eq!(fixture.store().list().len(), 0);
    assert!(
        fixture
            .names("images")
            .iter()
            .any(|name| name.starts_with("index.json.unreadable-"))
    );
    assert_eq!(
        fixture.layer_count(),
        2,
        "without an index nothing is removed"
    );
}

#[test]
fn a_second_engine_is_refused() {
    let fixture = Fixture::new();
    let error = ImageStore::open(fixture.root.path(), StoreOptions::default()).expect_err("second");
    assert!(matches!(error, ImageError::InUse(_)), "{error}");
}

#[test]
fn limits_refuse_before_the_disk_is_full() {
    let root = scratch();
    let options = StoreOptions {
        reserve_bytes: 0,
        max_entries: 5,
        ..StoreOptions::default()
    };
    let store = ImageStore::open(root.path(), options).expect("open");
    let archive = (0..6)
        .fold(Tar::new(), |tar, index| tar.file(&format!("f{index}"), b""))
        .finish();
    let error = store
        .import(&mut &archive[..], &ImportOptions::default())
        .expect_err("entries");
    assert_eq!(
        error.to_string(),
        "the archive was refused: it has more than 5 entries"
    );
    drop(store);
    let options = StoreOptions {
        reserve_bytes: u64::MAX,
        ..StoreOptions::default()
    };
    let store = ImageStore::open(root.path(), options).expect("open");
    let error = store
        .import(&mut &root_file_system()[..], &ImportOptions::default())
        .expect_err("reserve");
    assert!(
        error.to_string().contains("no space left on the disk of"),
        "{error}"
    );
}

/// What the index names is there, and what is there the index names.
fn assert_consistent(fixture: &Fixture) {
    let images = fixture.store().list();
    let layers: std::collections::BTreeSet<String> = images
        .iter()
        .flat_map(|image| {
            image
                .config
                .rootfs
                .diff_ids
                .iter()
                .map(|diff_id| diff_id.hex().to_owned())
        })
        .collect();
    let mut found = fixture.names("layers");
    found.retain(|name| name != "empty");
    assert_eq!(found, layers.into_iter().collect::<Vec<_>>());
    assert_eq!(fixture.names("images/blobs/sha256").len(), images.len() * 2);
    assert_eq!(fixture.names("images/tmp"), Vec::<String>::new());
    for image in &images {
        assert!(
            image.layers.iter().all(|layer| layer.join("file").exists()),
            "{}",
            image.id
        );
    }
}

#[test]
fn operations_beside_each_other_keep_the_store_whole() {
    let mut fixture = Fixture::new();
    let archives: Vec<Vec<u8>> = (0..3)
        .map(|index| Tar::new().file("file", &[index; 600]).finish())
        .collect();
    let bad = Tar::new().file("file", b"x").file("../y", b"").finish();
    std::thread::scope(|scope| {
        for seed in 0..4_usize {
            let (fixture, archives, bad) = (&fixture, &archives, &bad);
            scope.spawn(move || {
                for round in 0..40 {
                    let choice = (seed * 31 + round * 17) % 11;
                    let name = format!("n{}", choice % 3);
                    // Any of them may find what it needs gone; none may break the store.
                    match choice {
                        0..=4 => drop(
                            fixture
                                .import(&archives[choice % 3], &name)
                                .expect("import"),
                        ),
                        5 | 6 => drop(fixture.store().remove(
                            &name,
                            &ImageUsers::new(),
                            Removing::default(),
                        )),
                        7 => drop(
                            fixture
                                .store()
                                .prune(&ImageUsers::new(), &|image| {
                                    round % 2 == 0 || is_dangling(image)
                                })
                                .expect("prune"),
                        ),
                        8 => drop(fixture.import(bad, &name).expect_err("bad")),
                        9 => drop(fixture.store().tag(&name, &"other".parse().expect("name"))),
                        _ => drop(fixture.store().list()),
                    }
                }
            });
        }
    });
    fixture
        .store()
        .prune(&ImageUsers::new(), &is_dangling)
        .expect("prune");
    assert_consistent(&fixture);
    let before: Vec<ImageId> = fixture
        .store()
        .list()
        .iter()
        .map(|image| image.id.clone())
        .collect();
    fixture.reopen();
    let mut after: Vec<ImageId> = fixture
        .store()
        .list()
        .iter()
        .map(|image| image.id.clone())
        .collect();
    after.sort();
    let mut before = before;
    before.sort();
    assert_eq!(after, before);
    assert_consistent(&fixture);
}

mod load_tests;
