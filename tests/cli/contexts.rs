//! `context`: the files are Docker's, so that `docker` and hoist read what the other writes.

use std::path::PathBuf;
use std::process::Command;

use super::place::Place;
use crate::common::run::{self, Run};
use crate::common::{LONG, host};

/// hoist under the name `docker`, and Docker's own command line, with the same home.
struct Home {
    dir: tempfile::TempDir,
    theirs: PathBuf,
}

impl Home {
    fn new() -> Home {
        let find = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools/docker-cli.sh");
        let found = run::to_end(Command::new(find), 5 * LONG).ok().stdout;
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(host::binary(), dir.path().join("docker")).unwrap();
        std::fs::write(dir.path().join("ca.pem"), "not looked into").unwrap();
        Home {
            dir,
            theirs: PathBuf::from(found.trim()),
        }
    }

    fn run(&self, program: PathBuf, line: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(program);
        for name in [
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "DOCKER_CONFIG",
            "HOIST_HOST",
            "HOIST_ROOT",
        ] {
            command.env_remove(name);
        }
        command
            .args(line.split(' '))
            .env("HOME", self.dir.path())
            .envs(variables.iter().copied())
            .current_dir(self.dir.path());
        run::to_end(command, LONG)
    }

    fn ours(&self, line: &str) -> Run {
        self.run(self.dir.path().join("docker"), line, &[])
    }

    /// Both succeed and print the same.
    #[track_caller]
    fn same(&self, line: &str, variables: &[(&str, &str)]) -> String {
        let ours = self
            .run(self.dir.path().join("docker"), line, variables)
            .ok();
        let theirs = self.run(self.theirs.clone(), line, variables).ok();
        // Each has a default engine of its own.
        let told = |text: &str| {
            let text = text
                .replace("unix:///var/run/docker.sock", "SOCKET")
                .replace("unix:///run/hoist/hoist.sock", "SOCKET")
                // The same letters, as Go may write them in JSON.
                .replace("\\u003c", "<")
                .replace("\\u003e", ">");
            let lines = text.lines().map(|line| {
                let words: Vec<&str> = line
                    .split("  ")
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .collect();
                words.join("|")
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(told(&ours.stdout), told(&theirs.stdout), "docker {line}");
        ours.stdout
    }
}

#[test]
fn contexts_are_dockers() {
    let home = Home::new();
    home.same("context ls", &[]);
    home.same("context show", &[]);
    home.same("context inspect", &[]);
    let made = home.ours("context create far --description there --docker host=tcp://far:2376,ca=ca.pem,skip-tls-verify=true");
    let made = made.ok();
    assert_eq!(made.stdout, "far\n");
    made.says(&["Successfully created context \"far\""]);
    home.ours("context create copy --from far").ok();
    home.ours("context update copy --description other --docker host=ssh://me@box")
        .ok();
    home.same("context ls", &[]);
    home.same("context ls -q", &[]);
    home.same("context ls --format json", &[]);
    home.same("context inspect far", &[]);
    home.same(
        "context inspect -f {{.Name}}={{.Endpoints.docker.Host}} far copy",
        &[],
    );
    let other = [("DOCKER_HOST", "tcp://other:1")];
    home.same("context ls", &other);
    assert_eq!(home.same("-c far context show", &other), "far\n");
    assert_eq!(
        home.same("context show", &[("DOCKER_CONTEXT", "copy")]),
        "copy\n"
    );

    let used = home.ours("context use far").ok();
    assert_eq!(used.stdout, "far\n");
    used.says(&["Current context is now \"far\""]);
    assert_eq!(home.same("context show", &[]), "far\n");
    home.same("context ls", &[]);
    home.ours("context rm far")
        .fails()
        .says(&["is in use, set -f flag to force remove"]);
    home.ours("context rm -f far copy").ok();
    assert_eq!(home.same("context show", &[]), "default\n");
    assert_eq!(home.same("context ls -q", &[]), "default\n");
}

#[test]
fn what_is_wrong_with_contexts() {
    let home = Home::new();
    for (line, says) in [
        (
            "context use absent",
            "context \"absent\": context not found",
        ),
        ("context inspect absent", "context not found"),
        ("context update absent", "context not found"),
        ("context rm absent", "context \"absent\" does not exist"),
        (
            "context rm default",
            "context \"default\" cannot be removed",
        ),
        (
            "context create default",
            "\"default\" is a reserved context name",
        ),
        ("context create a/b", "context name \"a/b\" is invalid"),
        (
            "context create one --docker host=odd",
            "unable to parse docker host `odd`",
        ),
        (
            "context create one --docker odd=1",
            "unrecognized config key",
        ),
        ("context create one --docker ca=absent.pem", "cannot read"),
    ] {
        home.ours(line).fails().says(&[says]);
    }
    assert_eq!(home.same("context ls -q", &[]), "default\n");
    home.ours("context create one").ok();
    home.ours("context create one")
        .fails()
        .says(&["already exists"]);
    // One that is gone is shown, so that it can be left.
    let gone = [("DOCKER_CONTEXT", "gone")];
    let listed = home
        .run(home.dir.path().join("docker"), "context ls", &gone)
        .ok();
    listed.says(&["gone *", "context not found"]);
}

#[test]
fn contexts_travel_as_archives() {
    let home = Home::new();
    let theirs = |line: &str| home.run(home.theirs.clone(), line, &[]);
    home.ours("context create far --description there --docker host=tcp://far:2376,ca=ca.pem")
        .ok();
    home.ours("context export far far.tar")
        .ok()
        .says(&["Written file \"far.tar\""]);
    home.ours("context export far far.tar")
        .fails()
        .says(&["cannot write", "exists"]);
    // Each reads what the other writes.
    theirs("context import there far.tar").ok();
    theirs("context export there").ok();
    let made = home.ours("context import back there.dockercontext").ok();
    assert_eq!(made.stdout, "back\n");
    let place = "{{.Endpoints.docker.Host}} {{.Metadata.Description}} {{json .TLSMaterial}}";
    let shown = |name: &str| {
        let mut command = Command::new(home.dir.path().join("docker"));
        command
            .args(["context", "inspect", "-f", place, name])
            .env_remove("DOCKER_HOST")
            .env("HOME", home.dir.path());
        run::to_end(command, LONG).ok().stdout
    };
    assert_eq!(shown("back"), shown("far"));
    assert!(shown("back").contains("ca.pem"), "{}", shown("back"));
    home.ours("context import back there.dockercontext")
        .fails()
        .says(&["already exists"]);
    home.ours("context import odd ca.pem")
        .fails()
        .says(&["cannot import ca.pem"]);
    // Another directory of settings.
    home.ours("--config elsewhere context create there2").ok();
    let listed = home.ours("--config elsewhere context ls -q").ok();
    assert_eq!(listed.stdout, "default\nthere2\n");
    assert!(home.dir.path().join("elsewhere/contexts").exists());
}

#[test]
fn hoist_says_that_the_current_context_is_dockers() {
    let place = Place::new();
    let run = place.hoist("context use default");
    run.ok().says(&["hoist goes on with its own engine"]);
}
