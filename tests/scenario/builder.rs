//! `hoist builder`: the build cache is shown, and pruned by Docker's rules.

use std::fs;

use crate::common::{TestHost, can_run};

fn host() -> TestHost {
    let host = TestHost::with_busybox();
    fs::create_dir(host.path("context")).unwrap();
    let text = "FROM busybox\nRUN --mount=type=cache,target=/kept echo x >/kept/x; echo one >/one\nRUN echo two >/two\n";
    fs::write(host.path("context/Dockerfile"), text).unwrap();
    host
}

#[test]
fn the_build_cache_is_shown_and_pruned() {
    if !can_run() {
        return;
    }
    let host = host();
    let context = host.path("context").to_str().unwrap().to_owned();
    let build = || {
        host.hoist(&[
            "--progress",
            "plain",
            "builder",
            "build",
            "-t",
            "app",
            &context,
        ])
    };
    let prune = |more: &[&str]| host.hoist(&[&["builder", "prune", "--force"], more].concat());
    build().ok();
    let held = host.hoist(&["buildx", "du"]).ok();
    held.says(&["exec.cachemount", "regular", "Reclaimable:", "Total:"]);
    host.hoist(&["system", "df", "-v"]).ok().says(&[
        "Build cache usage: ",
        "CACHE ID",
        "exec.cachemount",
    ]);

    // What the image is made of stays, and with it the next build is quick.
    prune(&["--filter", "type=regular"])
        .ok()
        .says(&["Total reclaimed space: 0B"]);
    assert_eq!(build().ok().to_string().matches("CACHED").count(), 3);
    let asked = host.hoist(&["builder", "prune"]).ok().to_string();
    assert!(
        !asked.contains("Total reclaimed space"),
        "nobody agreed: {asked}"
    );

    prune(&["--filter", "until=24h", "--all"])
        .ok()
        .says(&["space: 0B"]);
    prune(&["--keep-storage", "1g", "--all"])
        .ok()
        .says(&["space: 0B"]);
    prune(&["--filter", "type=exec.cachemount"]).ok().says(&[
        "Deleted build cache objects:",
        "Total reclaimed space: 4.1kB",
    ]);
    prune(&["--filter", "colour=red"])
        .fails()
        .says(&["invalid filter 'colour'"]);
    prune(&["--all"])
        .ok()
        .says(&["Deleted build cache objects:"]);
    assert_eq!(
        build().ok().to_string().matches("CACHED").count(),
        1,
        "only FROM"
    );

    host.hoist(&["image", "rm", "app"]).ok();
    // The one before has no name any more, and perhaps the same layers.
    host.hoist(&["image", "prune", "--force"]).ok();
    prune(&[]).ok().says(&["Deleted build cache objects:"]);
    let left = host.hoist(&["builder", "du", "--format", "json"]).ok();
    assert_eq!(left.stdout, "");
}

#[test]
fn dockers_words_for_building_are_known() {
    if !can_run() {
        return;
    }
    let host = host();
    let docker = host.path("docker");
    std::os::unix::fs::symlink(crate::common::host::binary(), &docker).unwrap();
    let context = host.path("context").to_str().unwrap().to_owned();
    for words in [
        &["build", "-q", &context][..],
        &["buildx", "build", "--load", "-q", &context],
        &["builder", "build", "-q", &context],
        &["builder", "prune", "-a", "-f"],
        &["buildx", "prune", "-f", "--max-used-space", "1g"],
        &["buildx", "du"],
    ] {
        let mut command = host.command(&docker);
        command.args(words);
        crate::common::run::to_end(command, crate::common::LONG).ok();
    }
}
