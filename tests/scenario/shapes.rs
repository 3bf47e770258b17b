//! Dockerfiles in the shapes of well-known projects', in `shapes/`: each is built on Debian's base, run, and its output compared. Small
//! scripts stand in for the compilers, because a test host reaches nothing outside; instructions and options are the real ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::reference::Dockerd;
use crate::common::run::{self, Run};
use crate::common::{LONG, Project, TestHost, can_run};

/// Those that Docker's classic builder can build, too: no heredocs, no mounts.
const CLASSIC: &[&str] = &["config", "java", "postgres"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario/shapes")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(fixtures()).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A shape as a project of this host, in a copy.
fn shape<'h>(host: &'h TestHost, name: &str) -> Project<'h> {
    let to = host.path("projects").join(name);
    let mut copy = host.command("cp");
    copy.arg("-R").arg(fixtures().join(name)).arg(&to);
    run::to_end(copy, LONG).ok();
    let mut project = Project::new(host, to).with("INDEX_PASSWORD", "hush");
    if name == "redis" {
        let packed = "tar --sort=name --mtime=@1700000000 --owner=0 --group=0 -cf redis.tar redis && sha256sum redis.tar";
        let mut pack = host.command("sh");
        pack.args(["-c", packed]).current_dir(project.dir());
        let digest = run::to_end(pack, LONG).ok().stdout;
        project = project.with("REDIS_SHA", digest.split(' ').next().unwrap());
    }
    project
}

#[track_caller]
fn check(name: &str, run: &Run) {
    let expected = fs::read_to_string(fixtures().join(name).join("expected.txt")).unwrap();
    assert_eq!(run.stdout, expected, "{name}: {run}");
}

fn id(host: &TestHost, image: &str) -> Value {
    host.hoist(&["image", "inspect", image]).ok().json()[0]["Id"].clone()
}

/// Builds a shape twice and runs what was built.
#[track_caller]
fn builds_and_runs(host: &TestHost, name: &str) {
    let project = shape(host, name);
    let built = project.hoist(&["--progress", "plain", "build"]).ok();
    let errors = built.stderr.matches("ERROR").count();
    assert_eq!(errors, 0, "{name}: {built}");
    check(name, &project.hoist(&["run", "--rm", "-T", "app"]).ok());
    let image = format!("{name}-app");
    let first = id(host, &image);
    let again = project.hoist(&["--progress", "plain", "build"]).ok();
    assert!(
        !again.stderr.contains("DONE"),
        "{name}: every step is known: {again}"
    );
    assert_eq!(id(host, &image), first, "{name}");
}

#[test]
fn compiled_languages_shapes_build_and_run() {
    if !can_run() {
        return;
    }
    let host = TestHost::new().with_images(&["debian-base"]);
    for name in ["go", "java", "rust", "redis", "config"] {
        builds_and_runs(&host, name);
    }
}

#[test]
fn interpreted_languages_and_servers_shapes_build_and_run() {
    if !can_run() {
        return;
    }
    let host = TestHost::new().with_images(&["debian-base"]);
    for name in ["nginx", "node", "php", "postgres", "python", "site"] {
        builds_and_runs(&host, name);
    }
    // One Dockerfile, two targets: the other service has the front's files.
    let project = Project::new(&host, host.path("projects").join("php"));
    let web = project.hoist(&["run", "--rm", "-T", "web"]).ok();
    assert_eq!(web.stdout, "fastcgi_pass app:9000;\n<?php\n");
}

#[test]
fn every_shape_has_its_test() {
    let tests = include_str!("shapes.rs");
    for name in names() {
        assert!(tests.contains(&format!("\"{name}\"")), "{name}");
    }
    assert!(names().len() >= 10);
}

#[test]
fn images_made_here_run_under_dockers_engine_and_its_own_here() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_room("size=4g,mode=755").with_images(&["debian-base"]);
    let Some(docker) = Dockerd::beside(&host) else {
        return;
    };
    let projects: Vec<(String, Project<'_>)> = names()
        .into_iter()
        .map(|name| (name.clone(), shape(&host, &name)))
        .collect();
    for (_, project) in &projects {
        project.hoist(&["build", "--quiet", "app"]).ok();
    }
    let images: Vec<String> = projects
        .iter()
        .map(|(name, _)| format!("{name}-app"))
        .collect();
    let archive = host.root().join("ours.tar").display().to_string();
    let mut save = vec!["image", "save", "-o", &archive, "debian-base"];
    save.extend(images.iter().map(String::as_str));
    host.hoist(&save).ok();
    docker.run(&["load", "--input", &archive]).ok();
    fs::remove_file(&archive).unwrap();
    for (name, image) in projects.iter().map(|(name, _)| name).zip(&images) {
        // The image's identity is its configuration's digest: nothing was changed on the way.
        let theirs = docker
            .run(&["image", "inspect", "-f", "{{json .Id}}", image])
            .ok();
        assert_eq!(theirs.json(), id(&host, image), "{name}");
        if name == "postgres" {
            // Its configuration has the script that its output tells of.
            docker
                .run(&["run", "--rm", "--network", "none", image])
                .ok()
                .says(&["700 postgres"]);
        } else {
            check(
                name,
                &docker
                    .run(&["run", "--rm", "--network", "none", image])
                    .ok(),
            );
        }
    }
    for name in CLASSIC {
        same_configuration(&docker, name, &host);
    }
    comes_back(&docker, &host);
}

/// What the image's configuration says, told the same way by both builders.
#[track_caller]
fn same_configuration(docker: &Dockerd, name: &str, host: &TestHost) {
    let place = host.path("projects").join(name).display().to_string();
    let tag = format!("{name}-classic");
    docker
        .run(&["build", "--network", "none", "--tag", &tag, &place])
        .ok();
    let config = |image: &str| {
        docker
            .run(&["image", "inspect", "-f", "{{json .Config}}", image])
            .ok()
            .json()
    };
    let (ours, theirs) = (config(&format!("{name}-app")), config(&tag));
    for field in [
        "Env",
        "Cmd",
        "Entrypoint",
        "User",
        "WorkingDir",
        "Healthcheck",
        "ExposedPorts",
        "Volumes",
        "StopSignal",
        "Shell",
        "OnBuild",
    ] {
        let of = |config: &Value| match &config[field] {
            Value::Array(list) if list.is_empty() => Value::Null,
            value => value.clone(),
        };
        assert_eq!(of(&ours), of(&theirs), "{name}: {field}");
    }
    let labels = |config: &Value| {
        let mut labels = config["Labels"].as_object().cloned().unwrap_or_default();
        labels.retain(|key, _| !key.starts_with("com.docker.compose."));
        labels
    };
    assert_eq!(labels(&ours), labels(&theirs), "{name}");
}

/// What Docker's classic builder has made is loaded and run here.
#[track_caller]
fn comes_back(docker: &Dockerd, host: &TestHost) {
    let archive = host.root().join("theirs.tar").display().to_string();
    docker
        .run(&[
            "save",
            "--output",
            &archive,
            "java-classic",
            "config-classic",
        ])
        .ok();
    host.hoist(&["image", "load", "--input", &archive])
        .ok()
        .says(&[
            "Loaded image: java-classic:latest",
            "Loaded image: config-classic:latest",
        ]);
    for name in ["java", "config"] {
        let image = format!("{name}-classic");
        let theirs = docker
            .run(&["image", "inspect", "-f", "{{json .Id}}", &image])
            .ok();
        assert_eq!(theirs.json(), id(host, &image), "{name}");
        check(
            name,
            &host.hoist(&["container", "run", "--rm", &image]).ok(),
        );
    }
}
