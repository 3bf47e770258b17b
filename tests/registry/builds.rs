//! Builds that need a registry: base images behind a password, and caches that other engines left.

use std::path::PathBuf;
use std::process::Command;

use crate::common::run::{self, Run};
use crate::common::{LONG, Project, TestHost, can_run};
use crate::support::{RealRegistry, Settings};

/// A client of others, by the script that finds it.
fn client(script: &str) -> PathBuf {
    let find = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(script);
    PathBuf::from(run::to_end(Command::new(find), 5 * LONG).ok().stdout.trim())
}

fn run_in(project: &Project<'_>, mut command: Command, arguments: &[&str]) -> Run {
    command.args(arguments).current_dir(project.dir());
    run::to_end(command, LONG)
}

#[test]
fn a_base_image_behind_a_password_is_pulled_with_the_clients_login() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let settings = Settings {
        user: Some("ann:s3cret"),
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    let base = format!("{}/private/base:1", registry.host);
    let mut login = host.hoist_command();
    login.args(["login", "-u", "ann", "--password-stdin", &registry.host]);
    run::with_input(login, b"s3cret", LONG).ok();
    host.hoist(&["image", "tag", "busybox", &base]).ok();
    host.hoist(&["image", "push", &base]).ok();
    let compose = "services:\n  app:\n    image: app\n    build: {context: ., no_cache: true}\n";
    let project = host.project("p", compose);
    project.write(
        "Dockerfile",
        &format!("FROM {base}\nRUN echo made >/made\n"),
    );
    // The image has other names, too, which do not help: the build asks for this one.
    let forget = || host.hoist(&["image", "rm", &base]).ok();
    forget();
    project.hoist(&["build"]).ok();
    forget();
    project.hoist(&["image", "build", "-t", "app", "."]).ok();
    forget();
    let mut docker = host.command(client("docker-cli.sh"));
    docker.env("DOCKER_BUILDKIT", "0");
    run_in(&project, docker, &["build", "-t", "app", "."])
        .ok()
        .says(&["Successfully built"]);
    forget();
    let compose = host.command(client("compose-cli.sh"));
    run_in(&project, compose, &["--progress", "plain", "build"]).ok();
    forget();
    host.hoist(&["logout", &registry.host]).ok();
    project
        .hoist(&["build"])
        .fails()
        .says(&["cannot pull", "denied", "hoist login"]);
}

#[test]
fn the_build_cache_is_counted_where_no_image_has_it() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let project = host.project("p", "services: {}\n");
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c head -c 40000 /dev/zero >/c/kept && head -c 2000000 /dev/zero >/big\n";
    project.write("Dockerfile", dockerfile);
    project.hoist(&["image", "build", "-t", "built", "."]).ok();
    let row = || {
        let rows = host
            .hoist(&[
                "system",
                "df",
                "--format",
                "{{.Type}} {{.TotalCount}} {{.Size}}",
            ])
            .ok();
        let rows = rows
            .lines()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        rows.into_iter()
            .find(|row| row.starts_with("Build Cache"))
            .unwrap()
    };
    // The image has the layer; the mount is nobody else's.
    assert_eq!(row(), "Build Cache 2 40.96kB");
    host.hoist(&["image", "rm", "built"]).ok();
    assert_eq!(row(), "Build Cache 2 2.041MB");
    host.hoist(&["system", "prune", "-a", "-f"]).ok();
    assert_eq!(row(), "Build Cache 0 0B");
}

/// A second engine on the same host, with a store of its own.
struct Second<'h> {
    host: &'h TestHost,
}

impl<'h> Second<'h> {
    fn new(host: &'h TestHost) -> Second<'h> {
        std::fs::create_dir(host.path("root/second")).unwrap();
        Second { host }
    }

    fn hoist(&self, directory: &Project<'_>, arguments: &[&str]) -> Run {
        let mut command = self.host.hoist_command();
        let place = self.host.path("root/second");
        let socket = place.join("state/hoist.sock");
        command
            .env("HOIST_ROOT", place.join("root"))
            .env("HOIST_STATE", place.join("state"))
            .env("HOIST_HOST", format!("unix://{}", socket.display()));
        run_in(directory, command, arguments)
    }
}

/// Builds on one engine with `cache_to`, on another with `cache_from`, which must not do any step again.
fn another_engine_is_saved_the_work(to: &str, from: &str, pushes: bool) {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let (to, from) = (
        to.replace("REGISTRY", &registry.host),
        from.replace("REGISTRY", &registry.host),
    );
    let image = format!("{}/shop/app:1", registry.host);
    let base = format!("{}/shop/base:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &base]).ok();
    host.hoist(&["image", "push", &base]).ok();
    let compose = format!(
        "services:\n  app:\n    image: {image}\n    build: {{context: ., cache_to: [\"{to}\"], cache_from: [\"{from}\"]}}\n"
    );
    let project = host.project("p", &compose);
    project.write(
        "Dockerfile",
        &format!("FROM {base}\nRUN cat /proc/sys/kernel/random/uuid >/unique\nCOPY f /f\nRUN wc -c /f >/count\n"),
    );
    project.write("f", "f\n");
    let flags: &[&str] = if pushes {
        &["build", "--push", "--progress", "plain"]
    } else {
        &["build", "--progress", "plain"]
    };
    project.hoist(flags).ok();
    let unique = project
        .hoist(&["run", "--rm", "app", "cat", "/unique"])
        .ok();
    let second = Second::new(&host);
    second
        .hoist(&project, &["build", "--progress", "plain"])
        .ok();
    let again = second.hoist(
        &project,
        &["run", "--rm", "app", "cat", "/unique", "/count"],
    );
    // What only a step that ran could know is the same: none ran.
    let stopped = second.hoist(&project, &["engine", "stop", "--containers", "-t", "2"]);
    assert!(again.ok().stdout.starts_with(&unique.stdout));
    stopped.ok();
    project.down(&[]);
}

#[test]
fn a_cache_in_a_registry_saves_another_engine_the_work() {
    another_engine_is_saved_the_work(
        "type=registry,ref=REGISTRY/shop/cache:1",
        "REGISTRY/shop/cache:1",
        false,
    );
}

#[test]
fn a_cache_in_a_directory_saves_another_engine_the_work() {
    another_engine_is_saved_the_work("type=local,dest=./kept", "type=local,src=./kept", false);
}

#[test]
fn a_cache_in_the_pushed_image_saves_another_engine_the_work() {
    another_engine_is_saved_the_work("type=inline", "REGISTRY/shop/app:1", true);
}

#[test]
fn a_cache_that_cannot_be_used_is_only_a_warning() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let plain = format!("{}/shop/plain:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &plain]).ok();
    host.hoist(&["image", "push", &plain]).ok();
    let missing = format!("{}/shop/none:1", registry.host);
    let project = host.project("p", "services: {}\n");
    project.write("Dockerfile", "FROM busybox\nRUN true\n");
    for (from, why) in [
        (plain.as_str(), "has no notes of a build's steps"),
        (missing.as_str(), "cache_from is not used"),
        ("type=gha", "type gha is not known"),
    ] {
        project
            .hoist(&[
                "image",
                "build",
                "--cache-from",
                from,
                "--progress",
                "plain",
                ".",
            ])
            .ok()
            .says(&[why]);
    }
}
