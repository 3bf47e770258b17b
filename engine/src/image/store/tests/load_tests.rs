//! Archives of images: `docker save`'s and OCI layouts.

use std::fs;

use serde_json::{Value, json};

use super::*;

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
    let check = |archive: &[u8], expected: &str| fixture.check_not_loaded(archive, expected);
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
}

#[test]
fn members_that_are_missing_or_lie_are_told() {
    let fixture = Fixture::new();
    let layer = root_file_system();
    let text = config(&[&layer], json!({}));
    let check = |archive: &[u8], expected: &str| fixture.check_not_loaded(archive, expected);
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

/// Each name is as long as an entry's metadata may be; they are in memory until the archive's end.
#[test]
fn names_without_end_are_refused() {
    let fixture = Fixture::new();
    let mut archive = Tar::new();
    for number in 0..70 {
        archive = archive.symlink(&format!("{number}/{}", "n".repeat(1_000_000)), "x");
    }
    fixture.check_not_loaded(&archive.finish(), "documents and names have more than");
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
