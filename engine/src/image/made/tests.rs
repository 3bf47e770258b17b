//! Layers made here, and every layer's archive given again.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::image::layers::{LayerLimits, Layers};
use crate::image::staging::Staging;
use crate::image::store::StoreOptions;
use crate::image::stream::Hashing;
use crate::image::testing::{Tar, gzip, scratch};
use crate::image::upper::mark_opaque;

fn layers(root: &Path) -> Layers {
    let staging = Staging::open(root.join("tmp")).expect("staging");
    let limits = LayerLimits {
        reserve_bytes: 0,
        max_entries: 100_000,
        max_ratio: 400,
    };
    Layers::open(root, staging, limits).expect("layers")
}

fn archive_of(layers: &Layers, pin: &Pin) -> LayerArchive {
    let layer = layers.content(&pin.diff_id);
    LayerArchive::start(
        layer.parent().expect("a layer").to_path_buf(),
        pin.diff_id.clone(),
    )
}

/// Insists that the layer of an archive gives that archive again.
#[track_caller]
fn check_same(archive: &[u8]) {
    let place = scratch();
    let layers = layers(place.path());
    let (pin, _) = layers
        .add(&mut &gzip(archive)[..], Hashing::Both)
        .expect("unpacked");
    let mut again = Vec::new();
    archive_of(&layers, &pin)
        .read_to_end(&mut again)
        .expect("woven");
    assert!(again == archive, "the archive is another one");
}

#[test]
fn any_archive_is_given_again_byte_by_byte() {
    check_same(&Tar::new().finish());
    check_same(
        &Tar::new()
            .directory("d/")
            .file("d/a", &vec![7; 300_000])
            .file("d/.wh.gone", b"")
            .file("d/.wh..wh..opq", b"")
            .symlink("l", "d")
            .file("l/through", b"a link")
            .hard_link("h", "d/a")
            .file(&"long/".repeat(40), b"")
            .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"y")])
            .file("e", b"")
            .finish(),
    );
    // Bytes after the end mark, and a file whose padding is not zero.
    let mut odd = Tar::new().file("a", b"abc").finish();
    odd[512 + 100] = 9;
    odd.extend([1; 3000]);
    check_same(&odd);
}

#[test]
fn what_a_later_entry_replaces_is_still_given() {
    check_same(
        &Tar::new()
            .file("a", b"first")
            .file("a", b"second, longer")
            .directory("d/")
            .file("d/f", b"in a directory")
            .file("d/f", b"again")
            .file("d", b"no directory any more")
            .hard_link("b", "a")
            .file("b", b"not a link")
            .finish(),
    );
}

#[test]
fn archives_of_gnu_tar_with_sparse_files_are_given_again() {
    let place = scratch();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).expect("tree");
    let sparse = fs::File::create(tree.join("sparse")).expect("file");
    std::os::unix::fs::FileExt::write_at(&sparse, &[3; 5000], 1 << 20).expect("write");
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 5 << 20).expect("write");
    for format in ["gnu", "pax", "v7", "ustar"] {
        let output = Command::new("tar")
            .args(["--sparse", "--format", format, "-cC"])
            .arg(&tree)
            .arg(".")
            .output()
            .expect("tar");
        check_same(&output.stdout);
    }
}

#[test]
fn a_changed_layer_is_not_given() {
    let place = scratch();
    let layers = layers(place.path());
    let (pin, _) = layers
        .add(
            &mut &Tar::new().file("a", b"abc").finish()[..],
            Hashing::Both,
        )
        .expect("unpacked");
    fs::write(layers.content(&pin.diff_id).join("a"), b"abd").expect("write");
    let error = archive_of(&layers, &pin)
        .read_to_end(&mut Vec::new())
        .expect_err("changed");
    assert!(
        error.to_string().contains("was changed or is damaged"),
        "{error}"
    );
}

fn store(root: &Path) -> ImageStore {
    let options = StoreOptions {
        reserve_bytes: 0,
        ..StoreOptions::default()
    };
    ImageStore::open(root, options).expect("a store")
}

/// A tree as a container leaves it in an upper directory.
fn fill(tree: &Path) {
    fs::create_dir_all(tree.join("d/opaque")).expect("directories");
    mark_opaque(&tree.join("d/opaque"));
    fs::write(tree.join("d/z"), b"last").expect("file");
    fs::write(tree.join("d/a"), vec![1; 700]).expect("file");
    fs::hard_link(tree.join("d/a"), tree.join("d/b")).expect("link");
    std::os::unix::fs::symlink("../nowhere", tree.join("d/l")).expect("link");
    let device = rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("d/gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    );
    device.expect("a whiteout");
}

fn list(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            entry
                .expect("entry")
                .path()
                .expect("path")
                .display()
                .to_string()
        })
        .collect()
}

#[test]
fn a_tree_becomes_a_layer_and_an_image_that_outlast_a_restart() {
    let place = scratch();
    let store = store(place.path());
    let make = || {
        let staged = store.stage_layer().expect("staged");
        fill(&staged.tree());
        fs::create_dir(staged.beside("work")).expect("work");
        store
            .commit_layer(staged, Some(1_700_000_000))
            .expect("committed")
    };
    let (layer, again) = (make(), make());
    assert_eq!(layer.diff_id(), again.diff_id(), "reproducible");
    let modified = fs::metadata(layer.directory().join("d/z")).expect("file");
    assert_eq!(
        (modified.mtime(), modified.mtime_nsec()),
        (1_700_000_000, 0)
    );
    let mut archive = Vec::new();
    layer.archive().read_to_end(&mut archive).expect("woven");
    assert_eq!(
        list(&archive),
        [
            "d/",
            "d/a",
            "d/b",
            "d/.wh.gone",
            "d/l",
            "d/opaque/",
            "d/opaque/.wh..wh..opq",
            "d/z"
        ]
    );
    let copied = store.copy_layer(layer.directory(), None).expect("copied");
    assert_eq!(
        copied.diff_id(),
        layer.diff_id(),
        "a copy is the same layer"
    );
    let content = NewContent {
        config: ImageConfig::default(),
        layers: vec![layer],
        names: vec!["made".parse().expect("name")],
    };
    let id = store.create_image(content).expect("image");
    drop((store, again, copied));
    let store = self::store(place.path());
    let (image, held) = store.hold("made").expect("image");
    assert_eq!((image.id.clone(), held.len()), (id, 1));
    assert_eq!(
        fs::read(held[0].directory().join("d/b")).expect("file"),
        [1; 700]
    );
}

#[test]
fn layers_that_somebody_needs_stay_without_an_image() {
    let place = scratch();
    let opened = store(place.path());
    let archive = Tar::new().file("a", b"x").finish();
    let layer = opened.add_layer(&mut &archive[..]).expect("layer");
    let diff_id = layer.diff_id().clone();
    opened
        .set_roots("build", &[diff_id.clone()].into())
        .expect("roots");
    drop((layer, opened));
    let opened = store(place.path());
    assert_eq!(opened.roots("build"), [diff_id.clone()].into());
    assert!(opened.hold_layer(&diff_id).is_some());
    opened.set_roots("build", &BTreeSet::new()).expect("roots");
    drop(opened);
    assert!(store(place.path()).hold_layer(&diff_id).is_none());
}
