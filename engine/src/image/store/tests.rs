//! The store as its callers see it: archives in, images and directories out, and what a restart finds.

use std::fs;
use std::io::Read;

use serde_json::{Value, json};

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
        self.store().load(&mut &archive[..])
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

/// A configuration for layers; `more` goes into it.
fn config(layers: &[&[u8]], more: Value) -> Vec<u8> {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| Digest::of(layer).to_string())
        .collect();
    let mut config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    config
        .as_object_mut()
        .expect("object")
        .extend(more.as_object().expect("object").clone());
    serde_json::to_vec(&config).expect("json")
}

/// What `docker save` wrote until version 24: a directory for each layer, the list last.
fn saved(layers: &[&[u8]], tags: &[&str], config: &[u8]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut names = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{index}/layer.tar");
        tar = tar
            .directory(&format!("{index}/"))
            .file(&format!("{index}/VERSION"), b"1.0")
            .file(&name, layer);
        names.push(name);
    }
    let config_name = format!("{}.json", Digest::of(config).hex());
    let list = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    tar.file(&config_name, config)
        .file("manifest.json", list.to_string().as_bytes())
        .finish()
}

/// An OCI layout of several blobs with an index.
fn layout(blobs: &[&[u8]], manifests: Value) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    let tar = Tar::new()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes());
    blobs
        .iter()
        .fold(tar, |tar, blob| {
            tar.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob)
        })
        .finish()
}

fn descriptor(blob: &[u8]) -> Value {
    json!({"mediaType": "x", "digest": Digest::of(blob).to_string(), "size": blob.len()})
}

fn manifest(config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
    json!({"schemaVersion": 2, "config": descriptor(config), "layers": layers})
        .to_string()
        .into_bytes()
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
    check(b"", "it is empty");
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

#[test]
fn a_saved_image_is_loaded_with_its_layers_and_names() {
    let fixture = Fixture::new();
    let base = root_file_system();
    let upper = Tar::new()
        .file("etc/.wh.passwd", b"")
        .file("app", b"run")
        .finish();
    let text = config(&[&base, &upper], json!({"author": "me"}));
    let archive = saved(&[&base, &upper], &["shop:1", "shop:2"], &text);
    for archive in [
        archive.clone(),
        gzip(&archive),
        zstd::encode_all(&archive[..], 1).expect("zstd"),
    ] {
        let loaded = fixture.load(&archive).expect("load");
        assert_eq!(
            loaded,
            [LoadedImage {
                id: ImageId(Digest::of(&text)),
                names: vec!["shop:1".to_owned(), "shop:2".to_owned()]
            }]
        );
    }
    let image = fixture.store().resolve("shop:2").expect("image");
    assert_eq!(image.config.author, "me");
    assert_eq!(image.layers.len(), 2);
    assert_eq!(fs::read(image.layers[1].join("app")).expect("file"), b"run");
    assert_eq!(fixture.layer_count(), 2);
}

#[test]
fn shared_layers_are_linked_in_old_archives() {
    let fixture = Fixture::new();
    let layer = root_file_system();
    let text = config(&[&layer, &layer], json!({}));
    let list =
        json!([{"Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let archive = Tar::new()
        .file("a/layer.tar", &layer)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("c.json", &text)
        .file("manifest.json", list.to_string().as_bytes())
        .finish();
    let loaded = fixture.load(&archive).expect("load");
    assert_eq!(loaded[0].names, Vec::<String>::new());
    let image = fixture
        .store()
        .resolve(loaded[0].id.as_str())
        .expect("image");
    // overlayfs refuses a directory twice.
    assert_eq!((image.layers.len(), image.layer_sizes.len()), (1, 2));
}

#[test]
fn a_layout_gives_this_platforms_image() {
    let fixture = Fixture::new();
    let layer = root_file_system();
    let archive = gzip(&layer);
    let ours = config(&[&layer], json!({}));
    let other = config(&[&layer], json!({"architecture": "s390x"}));
    let (our_manifest, other_manifest) =
        (manifest(&ours, &[&archive]), manifest(&other, &[&archive]));
    let with_platform = |blob: &[u8], architecture: &str| {
        let mut entry = descriptor(blob);
        entry["platform"] = json!({"architecture": architecture, "os": "linux"});
        entry
    };
    let mut attestation = with_platform(&other, "unknown");
    attestation["platform"]["os"] = json!("unknown");
    let index = json!({"schemaVersion": 2, "manifests": [
        with_platform(&other_manifest, "s390x"), with_platform(&our_manifest, "amd64"), attestation]});
    let index = index.to_string().into_bytes();
    let mut entry = descriptor(&index);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "shop:7"});
    let blobs: [&[u8]; 6] = [
        &archive,
        &ours,
        &other,
        &our_manifest,
        &other_manifest,
        &index,
    ];
    let loaded = fixture.load(&layout(&blobs, json!([entry]))).expect("load");
    assert_eq!(
        loaded,
        [LoadedImage {
            id: ImageId(Digest::of(&ours)),
            names: vec!["shop:7".to_owned()]
        }]
    );
    let image = fixture.store().resolve("shop:7").expect("image");
    assert_eq!(image.manifest, Digest::of(&our_manifest));
    assert_eq!(
        image.layers,
        [fixture.store().layer_directory(&Digest::of(&layer))]
    );
    // The same with the layer known: it is not unpacked again.
    fixture
        .load(&layout(&blobs, json!([entry])))
        .expect("load again");

    let only_other = json!([
        with_platform(&other_manifest, "s390x"),
        with_platform(&other_manifest, "arm64")
    ]);
    let error = fixture
        .load(&layout(&blobs, only_other))
        .expect_err("no such platform");
    assert_eq!(
        error.to_string(),
        "no image for linux/amd64 in the archive, only for linux/s390x, linux/arm64"
    );
}

#[test]
fn archives_that_contradict_themselves_are_refused_whole() {
    let fixture = Fixture::new();
    let layer = root_file_system();
    let text = config(&[&layer], json!({}));
    let check = |archive: &[u8], expected: &str| {
        let error = fixture.load(archive).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        fixture.assert_nothing_is_left();
    };
    let other = Tar::new().file("other", b"").finish();
    check(
        &saved(&[&other], &["x"], &text),
        "the image's configuration says",
    );
    check(
        &saved(&[&layer, &other], &["x"], &text),
        "has 2 layers, its configuration says 1",
    );
    check(&saved(&[&layer], &["X"], &text), "is not an image name");
    check(
        &saved(
            &[&layer],
            &["x"],
            &config(&[&layer], json!({"os": "windows"})),
        ),
        "only linux images",
    );
    check(
        &saved(&[&layer], &["x"], b"{]"),
        "not an image's configuration",
    );
    check(&layer, "no archive of images");
    check(
        &Tar::new().file("manifest.json", b"[]").finish(),
        "lists no image",
    );
    let missing = json!([{"Config": "c.json", "RepoTags": ["x"], "Layers": ["l.tar"]}]).to_string();
    check(
        &Tar::new()
            .file("c.json", &text)
            .file("manifest.json", missing.as_bytes())
            .finish(),
        "l.tar is missing",
    );
    let escaping = Tar::new().file("../x", b"").finish();
    check(
        &saved(&[&escaping], &["x"], &config(&[&escaping], json!({}))),
        "leads out of the root",
    );
    let looped = Tar::new()
        .symlink("c.json", "c.json")
        .file("manifest.json", missing.as_bytes());
    check(&looped.finish(), "leads to itself");
    let image = manifest(&text, &[&layer]);
    let lying = Tar::new()
        .file(
            "index.json",
            json!({"schemaVersion": 2, "manifests": [descriptor(&image)]})
                .to_string()
                .as_bytes(),
        )
        .file(
            &format!("blobs/sha256/{}", Digest::of(&image).hex()),
            &image,
        )
        .file(
            &format!("blobs/sha256/{}", Digest::of(&text).hex()),
            &config(&[], json!({})),
        );
    check(
        &lying.finish(),
        "does not have the content that its name says",
    );
}

#[test]
fn an_index_that_holds_itself_ends() {
    let fixture = Fixture::new();
    // A document cannot hold its own digest, but many levels can be made.
    let mut inner = manifest(&config(&[], json!({})), &[]);
    let mut blobs = vec![config(&[], json!({})), inner.clone()];
    for _ in 0..8 {
        inner = json!({"schemaVersion": 2, "manifests": [descriptor(&inner)]})
            .to_string()
            .into_bytes();
        blobs.push(inner.clone());
    }
    let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let error = fixture
        .load(&layout(&blobs, json!([descriptor(&inner)])))
        .expect_err("deep");
    assert!(error.to_string().contains("too deep"), "{error}");
}

#[test]
fn an_image_without_layers_has_an_empty_directory() {
    let fixture = Fixture::new();
    let text = config(&[], json!({}));
    let loaded = fixture
        .load(&saved(&[], &["scratch-like"], &text))
        .expect("load");
    let image = fixture.store().resolve(&loaded[0].names[0]).expect("image");
    assert_eq!(image.layers.len(), 1);
    assert_eq!(
        fs::read_dir(&image.layers[0]).expect("directory").count(),
        0
    );
}

#[test]
fn a_layer_with_an_opaque_root_hides_all_below() {
    let fixture = Fixture::new();
    let base = root_file_system();
    let upper = Tar::new()
        .file("new", b"")
        .file(".wh..wh..opq", b"")
        .finish();
    fixture
        .load(&saved(
            &[&base, &upper],
            &["x"],
            &config(&[&base, &upper], json!({})),
        ))
        .expect("load");
    let image = fixture.store().resolve("x").expect("image");
    assert_eq!(
        image.layers,
        [fixture.store().layer_directory(&Digest::of(&upper))]
    );
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
        store.remove("y", &none, false).expect("untag"),
        [Removed::Untagged("y:latest".to_owned())]
    );
    let removed = store.remove("x", &none, false).expect("remove");
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
    let (pruned, _) = store.prune(&none, false).expect("prune");
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
            .remove(name, &users(running), force)
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
        .remove(short, &none, false)
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
        .remove("other/x:2", &users(true), false)
        .expect("untag");
    assert_eq!(
        store.remove("x:1", &users(true), true).expect("force"),
        [Removed::Untagged("x:1".to_owned())]
    );
    assert!(store.resolve(short).expect("still there").layers[0].is_dir());
    assert_eq!(store.prune(&users(true), true).expect("prune").0, []);
    assert_eq!(
        store.remove(short, &none, false).expect("unused now").len(),
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
