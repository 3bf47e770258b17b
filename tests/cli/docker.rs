//! hoist under the name `docker`.

use super::objects::words;
use super::session::Session;
use crate::common::run::{self, Run};
use crate::common::{LONG, TestHost, can_run};

#[test]
fn under_the_name_docker() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let link = host.path("tmp/docker");
    let binary = crate::common::host::binary();
    std::os::unix::fs::symlink(&binary, &link).unwrap();
    let docker = |line: &str| {
        let mut command = host.command(&link);
        command
            .args(words(line))
            .current_dir(host.path("tmp"))
            .env("HOIST_SHIM", binary.with_file_name("hoist-shim"));
        run::to_end(command, LONG)
    };
    docker("run -d --name box --init busybox sleep 1000").ok();
    assert_eq!(docker("ps --format {{.Names}}").ok().stdout, "box\n");
    docker("exec box echo inside").ok().says(&["inside\n"]);
    docker("images -q").ok();
    let inspect = docker("--log-level debug inspect --format {{.Name}} box").ok();
    assert_eq!(inspect.stdout, "/box\n");
    refusals_in_dockers_words(&docker);
    answers_in_dockers_words(&docker);
    docker("run --rm=true -i=false --kernel-memory 4m busybox echo yes")
        .ok()
        .says(&["yes\n"]);
    let mut trusted = host.command(&link);
    trusted
        .args(words("run --rm busybox true"))
        .env("DOCKER_CONTENT_TRUST", "1");
    run::to_end(trusted, LONG)
        .exits(1)
        .says(&["cannot check signatures"]);
    // Left running by the keys for that, which is told.
    let mut exec = host.command(&link);
    exec.args(words("exec -it box cat"));
    let session = Session::on_terminal(exec, 24, 80);
    session.types("here\r");
    session.wait_for("here\r\nhere");
    session.types("\x10\x11");
    session.wait_for("read escape sequence");
    assert_eq!(session.end().0, 1);
    docker("stop -t 0 box").ok();
    docker("rm box").ok();
    let text = "services: {x: {image: busybox, init: true, command: [sleep, '1000']}}\n";
    let project = host.project("p", text);
    let file = project.dir().join("compose.yaml").display().to_string();
    docker(&format!("compose -f {file} up -d")).ok();
    docker("compose -p p down -t 0").ok();
}

/// What is refused, with which code, and what scripts look for in what is said.
const REFUSALS: &[(&str, i32, &str)] = &[
    ("ps --odd", 125, "unknown flag: --odd"),
    ("ps -Z", 125, "unknown shorthand flag: 'Z' in -Z"),
    ("run --odd busybox", 125, "unknown flag: --odd"),
    ("volume ls extra", 1, "extra"),
    ("create -v :/x busybox", 125, "empty section between colons"),
    ("inspect FooBar", 1, "Error: No such object: FooBar"),
    (
        "rm nothing",
        1,
        "Error response from daemon: No such container: nothing",
    ),
    (
        "run --rm busybox nothing",
        127,
        "docker: Error response from daemon: exec: \"nothing\"",
    ),
    ("run --rm --network none2 busybox true", 125, "none2"),
    (
        "run --rm --add-host x busybox true",
        125,
        "bad format for add-host",
    ),
    ("run --rm --label =x busybox true", 125, "empty name"),
    (
        "run --rm --use-api-socket busybox",
        125,
        "-v /run/hoist/hoist.sock",
    ),
    ("run --rm --env", 125, "flag needs an argument: --env"),
    (
        "run --rm --shm-size x busybox",
        125,
        "invalid argument \"x\" for \"--shm-size\" flag: ",
    ),
    (
        "rm",
        1,
        "docker: 'docker container rm' requires at least 1 argument",
    ),
    (
        "container nosuch",
        1,
        "docker: unknown command: docker container nosuch",
    ),
    (
        "exec box",
        1,
        "docker: 'docker container exec' requires at least 2 arguments",
    ),
    (
        "run --rm --network name=bridge,alias=x busybox",
        125,
        "network-scoped aliases",
    ),
    (
        "--host unix:///nowhere ps",
        1,
        "Cannot connect to the Docker daemon at unix:///nowhere. Is the",
    ),
    (
        "port box 81",
        1,
        "Error: No public port '81' published for box",
    ),
    (
        "--tlsverify=false ps",
        1,
        "unable to resolve docker endpoint: open ",
    ),
    ("service ls", 1, "This node is not a swarm manager"),
    ("swarm leave", 1, "This node is not part of a swarm"),
    ("up -d", 1, "docker: unknown command: docker up"),
    (
        "manifest create x y",
        1,
        "hoist has no command \"docker manifest\"",
    ),
];

fn refusals_in_dockers_words(docker: &dyn Fn(&str) -> Run) {
    for (line, code, says) in REFUSALS {
        docker(line).exits(*code).says(&[says]);
    }
}

fn answers_in_dockers_words(docker: &dyn Fn(&str) -> Run) {
    docker("rmi -f nothing").ok().says(&["No such image"]);
    docker("rm -f nothing").ok().says(&["No such container"]);
    docker("volume create --name named").ok().says(&["named"]);
    docker("run --rm --mount \"type=volume\",\"dst=/a,b\" busybox ls -d /a,b").ok();
    docker("stats --no-stream --format {{.Container}} box")
        .ok()
        .says(&["box"]);
    docker("system prune -f --filter label=none").ok();
    let everything = docker("system df -v --format json").ok().json();
    assert_eq!(everything["Containers"][0]["Names"], "box");
    assert_eq!(everything["Volumes"][0]["Links"], "0");
    docker("run --rm --mount type=volume,src=named,dst=/v,volume-subpath=none busybox true")
        .exits(127)
        .says(&["cannot access path none: no such file or directory"]);
    let inspect =
        "inspect -f {{json(.State.Health)}}{{.Config.Healthcheck}}{{.Config.MacAddress}} box";
    assert_eq!(docker(inspect).ok().stdout, "null<nil>\n");
    docker("images --tree")
        .ok()
        .says(&["IMAGE", "busybox:latest", "DISK USAGE"]);
    docker("run --rm -e -x=1 busybox env").ok().says(&["-x=1"]);
    docker("--version")
        .ok()
        .says(&["Docker version 28.", ", build hoist-"]);
    docker("version --format {{.Server.Version}}")
        .ok()
        .says(&["28."]);
    docker("info --format {{json(.ClientInfo.Plugins)}}")
        .ok()
        .says(&["[]"]);
    docker("compose version --short").ok().says(&["2."]);
    docker("buildx version")
        .ok()
        .says(&["github.com/docker/buildx v0."]);
    docker("container").ok().says(&["Usage:"]);
    docker("help ps").ok().says(&["container ls"]);
    docker("-v").ok().says(&["Docker version "]);
    docker("plugin ls").ok().says(&["ENABLED"]);
    docker("version").ok().says(&["Client:\n", " Engine:\n"]);
    docker("info").ok().says(&[
        "\nServer:\n Containers: 1\n",
        " Plugins:\n  Volume: local\n",
    ]);
    docker("system df -v")
        .ok()
        .says(&["LOCAL VOLUMES", "Local Volumes space usage:"]);
}
