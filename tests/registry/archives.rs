//! Archives of images: ours are reproducible and read by skopeo, skopeo's are read by us.

use std::fs;

use crate::common::run;
use crate::common::{LONG, TestHost, can_run};

#[test]
fn saved_archives_are_reproducible_and_exchanged_with_skopeo() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let path = |name: &str| host.path(name).to_str().unwrap().to_owned();
    host.hoist(&["image", "tag", "busybox", "shop/b:1"]).ok();
    let id = host.hoist(&["image", "inspect", "busybox"]).ok().json()[0]["Id"].clone();
    for file in ["one.tar", "two.tar"] {
        host.hoist(&["image", "save", "-o", &path(file), "busybox", "shop/b:1"])
            .ok();
    }
    let first = fs::read(path("one.tar")).unwrap();
    assert!(first == fs::read(path("two.tar")).unwrap(), "reproducible");
    host.hoist(&["image", "rm", "busybox", "shop/b:1"]).ok();
    let loaded = host.hoist(&["image", "load", "-i", &path("one.tar")]).ok();
    loaded.says(&["Loaded image: busybox:latest", "Loaded image: shop/b:1"]);
    assert_eq!(
        host.hoist(&["image", "inspect", "shop/b:1"]).ok().json()[0]["Id"],
        id
    );
    host.hoist(&[
        "image",
        "save",
        "-o",
        &path("three.tar"),
        "busybox",
        "shop/b:1",
    ])
    .ok();
    assert!(
        first == fs::read(path("three.tar")).unwrap(),
        "also after a load"
    );

    exchange_with_skopeo(&host);
    host.hoist(&["image", "save", "nothing"])
        .fails()
        .says(&["No such image"]);
    host.hoist(&["image", "history", "busybox"])
        .ok()
        .says(&["IMAGE", "CREATED BY"]);
    host.hoist(&["image", "prune", "-a", "-f"])
        .ok()
        .says(&["untagged: busybox:latest", "Total reclaimed space: "]);
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
    assert_eq!(
        fs::read_dir(host.root().join("layers")).unwrap().count(),
        1,
        "only the empty one"
    );
}

/// Skopeo reads `one.tar` of the host and writes it in every form; each is loaded.
fn exchange_with_skopeo(host: &TestHost) {
    let path = |name: &str| host.path(name).to_str().unwrap().to_owned();
    let skopeo = |from: &str, to: &str, more: &[&str]| {
        let mut command = host.command("/usr/bin/skopeo");
        command.args(["copy", "--insecure-policy"]);
        command.args(more).args([from, to]);
        run::to_end(command, LONG).ok();
    };
    let ours = format!("docker-archive:{}:shop/b:1", path("one.tar"));
    fs::create_dir(path("layout")).unwrap();
    let as_zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
    for (to, file, more) in [
        (
            format!("docker-archive:{}:s/docker:1", path("d.tar")),
            "d.tar",
            &[][..],
        ),
        (
            format!("oci-archive:{}:s/oci:1", path("o.tar")),
            "o.tar",
            &[],
        ),
        (format!("oci:{}:s/dir:1", path("layout")), "layout.tar", &[]),
        (
            format!("oci-archive:{}:s/zstd:1", path("z.tar")),
            "z.tar",
            &as_zstd,
        ),
    ] {
        skopeo(&ours, &to, more);
        if file == "layout.tar" {
            let mut tar = host.command("tar");
            tar.args(["-C", &path("layout"), "-cf", &path(file), "."]);
            run::to_end(tar, LONG).ok();
        }
        host.hoist(&["image", "load", "-i", &path(file)])
            .ok()
            .says(&["Loaded image: s/"]);
    }
    for name in ["s/docker:1", "s/oci:1", "s/dir:1", "s/zstd:1"] {
        let found = host.hoist(&["image", "inspect", name]).ok().json();
        assert_eq!(
            found[0]["RootFS"]["Layers"].as_array().unwrap().len(),
            1,
            "{name}"
        );
    }
}

/// Archives that podman 4.3 wrote (`podman save`) of an image that it built on an imported root file system.
#[test]
fn archives_of_podman_are_loaded() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let load = |file: &str, expected: &[&str]| {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/podman");
        let path = format!("{place}/{file}.tar.gz");
        host.hoist(&["image", "load", "-i", &path])
            .ok()
            .says(expected);
        let image = host
            .hoist(&["image", "inspect", "example.test/tiny:2"])
            .ok()
            .json();
        // Its own id, in each form.
        let id = "sha256:2aa77f15f3fa9eaad72c94aef6591539079e4e29237c2e281739db3a41c7e2df";
        assert_eq!(image[0]["Id"], id, "{file}");
        assert_eq!(image[0]["Config"]["Labels"]["a"], "b", "{file}");
        host.hoist(&["image", "prune", "-a", "-f"]).ok();
    };
    let two = "Loaded image: example.test/tiny:2";
    load("docker-archive", &[two]);
    load("oci-archive", &[two]);
    load(
        "docker-archive-of-two",
        &["Loaded image: example.test/tiny:1", two],
    );
}

/// The whole archive compressed, by the programs that people use.
#[test]
fn compressed_archives_are_loaded() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let saved = host.path("plain.tar").display().to_string();
    host.hoist(&["image", "save", "-o", &saved, "busybox"]).ok();
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        host.hoist(&["image", "prune", "-a", "-f"]).ok();
        let packed = format!("{saved}.{program}");
        let mut command = host.command("sh");
        command.args(["-c", "\"$0\" -1 <\"$1\" >\"$2\""]);
        command.args([program, &saved, &packed]);
        run::to_end(command, LONG).ok();
        host.hoist(&["image", "load", "-i", &packed])
            .ok()
            .says(&["Loaded image: busybox:latest"]);
    }
}
