//! `--help`, as one text: what there is to learn from it changes only on purpose.

use super::place::{Place, check_snapshot};

const COMMANDS: &[&str] = &[
    "",
    "up",
    "down",
    "plan",
    "plan down",
    "build",
    "ps",
    "logs",
    "exec",
    "run",
    "attach",
    "cp",
    "events",
    "stats",
    "commit",
    "export",
    "watch",
    "start",
    "stop",
    "restart",
    "kill",
    "pause",
    "unpause",
    "rm",
    "create",
    "scale",
    "wait",
    "top",
    "port",
    "images",
    "volumes",
    "config",
    "ls",
    "version",
    "image",
    "builder",
    "image build",
    "image import",
    "image load",
    "image ls",
    "image rm",
    "image inspect",
    "image tag",
    "volume",
    "volume ls",
    "volume inspect",
    "volume rm",
    "volume create",
    "volume prune",
    "network",
    "network ls",
    "network inspect",
    "network rm",
    "network create",
    "network connect",
    "network disconnect",
    "network prune",
    "container",
    "container run",
    "container create",
    "container start",
    "container stop",
    "container restart",
    "container kill",
    "container rm",
    "container ls",
    "container inspect",
    "container logs",
    "container exec",
    "container attach",
    "container cp",
    "container diff",
    "container export",
    "container commit",
    "container pause",
    "container unpause",
    "container wait",
    "container port",
    "container rename",
    "container stats",
    "container top",
    "container update",
    "container prune",
    "system",
    "system df",
    "system events",
    "system info",
    "system prune",
    "system version",
    "inspect",
    "info",
    "engine",
    "engine start",
    "engine stop",
    "engine status",
    "engine logs",
];

#[test]
fn help_of_every_command() {
    let place = Place::new();
    let mut all = String::new();
    for command in COMMANDS {
        let run = place.hoist(&format!("{command} --help")).ok();
        assert_eq!(run.stderr, "", "help goes to standard output");
        all.push_str(&format!("==== hoist {command} --help\n{}\n", run.stdout));
    }
    check_snapshot("help", &all);
}

#[test]
fn the_version_needs_no_engine() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        place.hoist("version").ok().stdout,
        format!("hoist version v{version}\n")
    );
    assert_eq!(
        place.hoist("version --short").ok().stdout,
        format!("{version}\n")
    );
    assert_eq!(
        place.hoist("version -f json").ok().json()["version"],
        format!("v{version}")
    );
    assert_eq!(
        place.hoist("--version").ok().stdout,
        format!("hoist version v{version}\n")
    );
    assert!(!place.has_engine());
}
