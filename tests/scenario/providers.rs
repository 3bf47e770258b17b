//! Services that a program runs instead of a container.

use std::os::unix::fs::PermissionsExt;

use crate::common::{TestHost, can_run};

const FILE: &str = r#"
services:
  app:
    image: busybox
    command: sh -c 'env | grep _URL; sleep 99'
    init: true
    depends_on: [cloud]
  other: {image: busybox, command: sleep 99, init: true}
  cloud:
    provider: {type: cloudy, options: {size: 3, region: [a, b], unknown: 1}}
  broken:
    profiles: [broken]
    provider: {type: cloudy, options: {size: 3, fail: yes}}
  absent:
    profiles: [absent]
    provider: {type: no-such-program}
"#;

/// Says what it takes, notes how it is called, and fails when it is asked to.
const PROGRAM: &str = r#"#!/bin/sh
[ "$2" = metadata ] && {
  parameter() { echo "{\"name\":\"$1\",\"required\":$2,\"type\":\"string\"}"; }
  list="[$(parameter size true),$(parameter region false),$(parameter fail false)]"
  echo "{\"description\":\"clouds\",\"up\":{\"parameters\":$list},\"down\":{\"parameters\":[]}}"
  exit
}
echo "$WHO $*" >>called
case "$*" in
*--fail*) echo '{"type":"error","message":"no cloud today"}'; exit 0 ;;
*up*)
  echo '{"type":"debug","message":"thinking"}'
  echo '{"type":"info","message":"raining 50%"}'
  echo '{"type":"setenv","message":"URL=cloud://1?a=b"}' ;;
esac
"#;

#[test]
fn a_provider_is_run_and_tells_its_dependents() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let path = format!(
        "{}:{}",
        host.path("projects/sky/bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let project = host.project("sky", FILE).with("PATH", &path);
    project.write(".env", "WHO=me\n");
    project.write("bin/cloudy", PROGRAM);
    let program = project.dir().join("bin/cloudy");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let called = || std::fs::read_to_string(project.dir().join("called")).unwrap_or_default();

    let planned = project.hoist(&["plan"]).ok();
    assert!(
        planned.stderr.contains("\"cloud\" is left out"),
        "{planned}"
    );
    assert!(!planned.stdout.contains("cloud"), "{planned}");
    assert_eq!(called(), "");
    let up = project.hoist(&["up", "-d", "--wait"]).ok();
    assert!(up.stderr.contains(" cloud raining 50%"), "{up}");
    assert!(up.stderr.contains(" cloud Created"), "{up}");
    let line = "me compose --project-name=sky up --size=3 --region=a --region=b cloud\n";
    assert_eq!(called(), line);
    let environment = project.sh("app", "env | grep _URL");
    assert_eq!(environment, "CLOUD_URL=cloud://1?a=b\n");
    assert_eq!(project.sh("other", "env | grep -c _URL || true"), "0\n");
    // The same variables each time: nothing is made again.
    let again = project.hoist(&["up", "-d"]).ok();
    assert!(!again.stderr.contains("Recreate"), "{again}");
    project.hoist(&["up", "-d", "cloud"]).ok();
    assert_eq!(called(), line.repeat(3));
    let ran = project.hoist(&["run", "--rm", "-T", "app", "env"]).ok();
    assert!(ran.stdout.contains("CLOUD_URL=cloud://1?a=b"), "{ran}");

    let broken = project.hoist(&["up", "-d", "broken"]).exits(1);
    broken.says(&["cannot start service \"broken\"", "no cloud today"]);
    let absent = project.hoist(&["up", "-d", "absent"]).exits(1);
    absent.says(&["\"absent\"", "\"no-such-program\" is not found in $PATH"]);
    let run = project.hoist(&["run", "cloud"]).exits(1);
    run.says(&["cannot run service \"cloud\""]);

    for command in [["stop", "-t0"], ["start", "--wait"]] {
        project.hoist(&command).ok();
    }
    project.down(&["-t", "0"]);
    assert!(
        called().ends_with("me compose --project-name=sky down cloud\n"),
        "{}",
        called()
    );
    project.write(
        "compose.yaml",
        "services: {cloud: {provider: {type: cloudy}}}",
    );
    let required = project.hoist(&["up", "-d"]).exits(1);
    required.says(&["required parameter \"size\" is missing"]);
}
