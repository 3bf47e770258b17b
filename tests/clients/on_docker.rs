//! The other way round: our command line with Docker's engine, and in the place of Docker's command line.

use crate::common::run::Run;
use crate::common::{LONG, Reference, TestHost, can_run, reference, run};

const STACK: &str = r#"
name: stack
services:
  store:
    image: busybox
    init: true
    command: [sh, -c, "echo ready >/tmp/ready; sleep 1000"]
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 1s}
    volumes: ["data:/data"]
  front:
    image: busybox
    init: true
    command: sleep 1000
    environment: {WHO: docker}
    ports: ["127.0.0.1:18081:80"]
    depends_on: {store: {condition: service_healthy}}
    networks: {default: {aliases: [www]}}
volumes:
  data:
"#;

#[test]
fn a_stack_runs_on_dockers_engine() {
    if !can_run() {
        return;
    }
    let Some(bin) = reference::programs() else {
        return;
    };
    let reference = Reference::start(bin);
    reference.import("busybox");
    let dir = reference.path("stack");
    std::fs::create_dir(&dir).expect("the tmpfs is writable");
    std::fs::write(dir.join("compose.yaml"), STACK).expect("the tmpfs is writable");
    let hoist = |arguments: &[&str]| -> Run {
        let mut command = reference.command(env!("CARGO_BIN_EXE_hoist"));
        command
            .args(["--host", &reference.address()])
            .args(arguments)
            .env_remove("HOIST_HOST")
            .env_remove("DOCKER_HOST")
            .current_dir(&dir);
        run::to_end(command, 2 * LONG)
    };
    hoist(&["up", "-d", "--wait"]).ok();
    let listed = hoist(&["ps", "--format", "{{.Name}} {{.State}}"]).ok();
    listed.says(&["stack-front-1 running", "stack-store-1 running"]);
    hoist(&["plan", "--exit-code"]).ok();
    let inside = [
        "exec",
        "-T",
        "front",
        "sh",
        "-c",
        "echo $WHO; ping -c 1 -q store",
    ];
    hoist(&inside).ok().says(&["docker", "1 packets received"]);
    hoist(&["run", "--rm", "-T", "front", "echo", "once"])
        .ok()
        .says(&["once"]);
    hoist(&["port", "front", "80"])
        .ok()
        .says(&["127.0.0.1:18081"]);
    std::fs::write(dir.join("file"), "word\n").expect("the tmpfs is writable");
    hoist(&["cp", "file", "front:/file"]).ok();
    hoist(&["exec", "-T", "front", "cat", "/file"])
        .ok()
        .says(&["word"]);
    hoist(&["logs", "store"]).ok();
    hoist(&["scale", "front=1", "store=2"]).ok();
    hoist(&["container", "ls", "-q"]).ok();
    hoist(&["stats", "--no-stream"])
        .ok()
        .says(&["stack-front-1"]);
    hoist(&["restart", "-t", "1", "front"]).ok();
    // What Docker's own clients see is what they would have made.
    let label = "label=com.docker.compose.project=stack";
    let mut docker = reference.command("docker");
    docker.args(["ps", "-q", "--filter", label]);
    assert_eq!(run::to_end(docker, LONG).ok().lines().len(), 3);
    hoist(&["down", "-v", "-t", "1"]).ok();
    for kind in ["container", "volume"] {
        let mut docker = reference.command("docker");
        docker.args([kind, "ls", "-q"]);
        assert_eq!(run::to_end(docker, LONG).ok().stdout, "", "{kind}");
    }
}

#[test]
fn under_dockers_name_it_takes_dockers_command_line() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let bin = host.path("bin");
    std::fs::create_dir(&bin).expect("the tmpfs is writable");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hoist"), bin.join("docker"))
        .expect("a link is made");
    host.project("stack", STACK);
    let shell = crate::Shell {
        host: &host,
        path: format!(
            "{}:{}",
            bin.display(),
            std::env::var("PATH").unwrap_or_default()
        ),
        dir: host.path("projects/stack"),
    };
    shell.check(
        r#"
        docker run --rm busybox echo hello => hello
        docker run -d --name one -p 127.0.0.1:18080:80 -l a=b busybox sleep 1000
        docker ps --filter label=a=b --format '{{.Names}} {{.Ports}}' => one 127.0.0.1:18080->80/tcp
        docker exec one echo inside => inside
        docker inspect -f '{{.State.Status}}' one => running
        docker images => busybox
        docker volume create data => data
        docker network create net
        docker network connect net one
        docker logs one
        docker stop -t 1 one => one
        docker rm one => one
        docker network rm net => net
        docker volume rm data => data
        docker compose up -d --wait
        docker compose ps --format '{{.Name}}' => stack-front-1
        docker compose exec -T front echo in the stack => in the stack
        docker compose down -v -t 1
        docker system df => Images
        docker info => Server
        docker nonsense =! nonsense
        "#,
    );
}
