//! `container`, `image`, `network`, `volume`, `system`: as their Docker twins.

use rustix::process::Signal;

use super::session::Session;
use crate::common::run::Run;
use crate::common::{LONG, TestHost, can_run, run, wait_until};

/// Words as a shell splits them, with single quotes only.
pub(super) fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    let parts = quoted.flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    parts.collect()
}

#[track_caller]
fn hoist(host: &TestHost, line: &str) -> Run {
    let words = words(line);
    host.hoist(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a command that must succeed prints.
#[track_caller]
fn said(host: &TestHost, line: &str) -> String {
    hoist(host, line).ok().stdout
}

#[test]
fn container_run_leaves_dockers_codes() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let run = |line: &str| hoist(&host, &format!("container run {line}"));
    let ran = run("--rm -e A=1 busybox sh -c 'echo $A; echo e >&2; exit 3'").exits(3);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1\n", "e\n"));
    run("--rm busybox no-such").exits(127).says(&["no-such"]);
    run("--rm busybox /etc").exits(126);
    run("--rm --pull never no-such-image:1")
        .exits(125)
        .says(&["no-such-image"]);
    run("--gpus all busybox").exits(125).says(&["GPUs"]);
    run("--rm --restart always busybox")
        .exits(125)
        .says(&["--restart and --rm"]);
    run("-it --rm busybox true").exits(1).says(&["not a TTY"]);
    assert_eq!(said(&host, "container ls -aq"), "");
    let mut cat = host.hoist_command();
    cat.args(["container", "run", "-i", "--rm", "busybox", "cat"]);
    let through = run::with_input(cat, b"through\n", LONG).ok();
    assert_eq!(through.stdout, "through\n");
}

#[test]
fn a_restart_is_no_end_that_removes() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    said(
        &host,
        "container run -d --rm --name again busybox sleep 1000",
    );
    for _ in 0..3 {
        said(&host, "container restart -t 0 again");
        // Calls on it wait for each other: after the second one a removal that waited has had its turn.
        for _ in 0..2 {
            said(&host, "container pause again");
            said(&host, "container unpause again");
        }
        assert_eq!(
            said(&host, "container ls -q --filter name=again")
                .lines()
                .count(),
            1
        );
    }
    said(&host, "container kill again");
    wait_until(LONG, "the container is removed", || {
        said(&host, "container ls -aq").is_empty()
    });
}

#[test]
fn container_run_takes_dockers_options() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let id_file = host.path("tmp/id").display().to_string();
    let env_file = host.path("tmp/env").display().to_string();
    std::fs::write(&env_file, "# comment\nFROM_FILE=yes\n").unwrap();
    said(&host, "network create net");
    let flags = format!(
        "-d --name web --cidfile {id_file} --env-file {env_file} --network net --network-alias w \
         -p 127.0.0.1:8080:80 -v data:/data:ro --tmpfs /t:size=1m --mount type=bind,source=/tmp,target=/host,readonly \
         --ulimit nofile=100:200 -m 64m --cpus 0.5 --health-cmd true --health-interval 1s --cap-drop ALL -l a=b -h box \
         --init --restart on-failure:3 --stop-signal SIGINT"
    );
    let id = said(&host, &format!("container run {flags} busybox sleep 1000"));
    assert_eq!(id.trim().len(), 64);
    assert_eq!(std::fs::read_to_string(&id_file).unwrap(), id.trim());
    hoist(&host, &format!("container run --cidfile {id_file} busybox"))
        .exits(125)
        .says(&["container ID file"]);
    for (format, expected) in [
        (
            "{{.HostConfig.Memory}} {{.Config.Hostname}}",
            "67108864 box\n",
        ),
        ("{{.HostConfig.RestartPolicy.Name}}", "on-failure\n"),
        (
            "{{range .HostConfig.Ulimits}}{{.Soft}}:{{.Hard}}{{end}}",
            "100:200\n",
        ),
        ("{{json .Config.Labels}}", "{\"a\":\"b\"}\n"),
        (
            "{{index .Config.Labels \"a\"}}{{.Config.Labels.none}}",
            "b<no value>\n",
        ),
        ("{{if .State.Health}}checked{{end}}", "checked\n"),
    ] {
        assert_eq!(
            said(&host, &format!("container inspect -f '{format}' web")),
            expected
        );
    }
    hoist(&host, "container inspect -f {{.Nope}} web")
        .exits(1)
        .says(&["Nope"]);
    let line = "echo $X $FROM_FILE; ulimit -n; hostname; touch /data/x 2>/dev/null || echo read-only; ls /host";
    let told = said(&host, &format!("container exec -e X=1 web sh -c '{line}'"));
    assert!(told.starts_with("1 yes\n100\nbox\nread-only\n"), "{told}");
    said(&host, "container run --rm --network net busybox nslookup w");
    assert_eq!(
        said(&host, "container port web"),
        "80/tcp -> 127.0.0.1:8080\n"
    );
    assert_eq!(said(&host, "container port web 80"), "127.0.0.1:8080\n");
    hoist(&host, "container top web").ok().says(&["sleep 1000"]);
    said(&host, "container rename web other");
    said(&host, "container rm -f other");
    said(&host, "volume rm data");
    said(&host, "network rm net");
}

#[test]
fn on_a_terminal_and_by_keys() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let command = |line: &str| {
        let mut command = host.hoist_command();
        command.args(words(line));
        command
    };
    let line = "container run -it --name box --detach-keys ctrl-x,q busybox sh";
    let session = Session::on_terminal(command(line), 30, 90);
    session.types("stty size; echo a$((1+1))b\r");
    session.wait_for("30 90");
    session.wait_for("a2b");
    session.resize(20, 50);
    session.types("sleep 0.3; stty size\r");
    session.wait_for("20 50");
    session.types("\x18q");
    assert_eq!(session.end().0, 0);
    assert_eq!(
        said(&host, "container inspect -f {{.State.Status}} box"),
        "running\n"
    );
    let session = Session::on_terminal(command("container attach box"), 30, 90);
    session.types("exit 4\r");
    assert_eq!(session.end().0, 4);
    let session = Session::on_terminal(command("container start -ai box"), 30, 90);
    session.types("echo again; exit 6\r");
    session.wait_for("again");
    assert_eq!(session.end().0, 6);
    said(&host, "container rm box");
    // With a terminal, too, signals from elsewhere go to the container.
    let line = "container run -it --rm --init busybox sh -c 'echo up; sleep 1000'";
    let session = Session::on_terminal(command(line), 30, 90);
    session.wait_for("up");
    session.signal(Signal::TERM);
    assert_eq!(session.end().0, 143);
    // Without an open input there is nothing to join: its end is waited for.
    let line = "container run --rm -a stdin busybox sh -c 'sleep 0.2; exit 7'";
    let session = Session::on_terminal(command(line), 30, 90);
    assert_eq!(session.end().0, 7);
    // Ctrl-C at a question is a no.
    said(&host, "volume create kept");
    let session = Session::on_terminal(command("volume prune -a"), 30, 90);
    session.wait_for("[y/N]");
    session.signal(Signal::INT);
    assert_eq!(session.end().0, 0);
    assert_eq!(said(&host, "volume ls -q"), "kept\n");
    // Without a terminal signals go to the container.
    let trap = "trap \"exit 9\" INT; echo ready; while :; do sleep 0.1; done";
    let line = format!("container run --rm busybox sh -c '{trap}'");
    let session = Session::start(command(&line));
    session.wait_for("ready");
    session.signal(Signal::INT);
    assert_eq!(session.end().0, 9);
}

#[test]
fn lists_take_templates() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    said(
        &host,
        "container create --name one -l tier=front busybox true",
    );
    let ls = |format: &str| said(&host, &format!("container ls -a --format '{format}'"));
    assert_eq!(
        ls("{{.Names}} {{.Image}} {{.State}} {{.Label \"tier\"}}"),
        "one busybox created front\n"
    );
    assert_eq!(
        ls("table {{.Names}}\\t{{.Image}}"),
        "NAMES     IMAGE\none       busybox\n"
    );
    assert_eq!(ls("json").lines().count(), 1);
    for (format, says) in [
        ("{{.Nope}}", "can't evaluate field Nope"),
        ("{{.Names", "unclosed action"),
        ("yaml", "cannot print as \"yaml\""),
    ] {
        hoist(&host, &format!("container ls -a --format {format}"))
            .exits(1)
            .says(&[says]);
    }
    assert_eq!(
        said(&host, "image ls --format {{.Repository}}:{{.Tag}}"),
        "busybox:latest\n"
    );
    hoist(&host, "info")
        .ok()
        .says(&["Containers: 1", "Server Version: "]);
    assert_eq!(said(&host, "system info -f {{.OSType}}"), "linux\n");
    hoist(&host, "inspect nothing")
        .exits(1)
        .says(&["No such object: nothing"]);
    assert_eq!(
        said(&host, "inspect --type image --format {{.Os}} busybox"),
        "linux\n"
    );
    hoist(&host, "container prune -f")
        .ok()
        .says(&["Deleted Containers:", "Total reclaimed space: "]);
}

#[test]
fn volumes_and_networks() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    said(&host, "container create --name one busybox true");
    said(&host, "volume create vol --label x=y");
    assert_eq!(
        said(
            &host,
            "volume ls --format '{{.Driver}}/{{.Name}} {{.Labels}}'"
        ),
        "local/vol x=y\n"
    );
    assert_eq!(said(&host, "volume inspect -f {{.Name}} vol"), "vol\n");
    hoist(&host, "volume prune -f -a")
        .ok()
        .says(&["Deleted Volumes:\nvol\n"]);
    said(
        &host,
        "network create n --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25",
    );
    assert_eq!(
        said(
            &host,
            "network inspect -f '{{(index .IPAM.Config 0).Subnet}}' n"
        ),
        "10.77.0.0/24\n"
    );
    said(&host, "network connect --alias z --ip 10.77.0.7 n one");
    let address = "{{(index .NetworkSettings.Networks \"n\").IPAMConfig.IPv4Address}}";
    assert_eq!(
        said(&host, &format!("inspect --format '{address}' one")),
        "10.77.0.7\n"
    );
    said(&host, "network disconnect n one");
    hoist(&host, "network prune -f")
        .ok()
        .says(&["Deleted Networks:\nn\n"]);
    said(&host, "network rm -f n");
    hoist(&host, "network rm n").exits(1);
    let events = "system events --since 1h --until 0s --format '{{.Type}} {{.Action}}'";
    hoist(&host, events)
        .ok()
        .says(&["container create", "network create"]);
    said(&host, "container rm one");
}

#[test]
fn images_by_platform_and_history() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let archive = host.path("tmp/saved.tar").display().to_string();
    for line in ["inspect", "history", "save", "rm"] {
        let other = format!("image {line} --platform linux/s390x busybox");
        hoist(&host, &other).fails().says(&["platform"]);
    }
    said(
        &host,
        &format!(
            "image save --platform linux/{} -o {archive} busybox",
            ARCHITECTURE
        ),
    );
    let load = format!("image load -i {archive} --platform");
    hoist(&host, &format!("{load} linux/s390x"))
        .fails()
        .says(&["no image for linux/s390x"]);
    said(&host, &format!("{load} {ARCHITECTURE}"));
    let id = said(&host, "image history -q --no-trunc busybox");
    assert_eq!(
        said(&host, "image history --no-trunc --format {{.ID}} busybox"),
        id
    );
    let exact = said(&host, "image history -H=false busybox");
    assert!(exact.starts_with("IMAGE          CREATED AT"), "{exact}");
    let row = hoist(&host, "image history --format json busybox")
        .ok()
        .json();
    assert!(row["CreatedAt"].as_str().unwrap().ends_with('Z'), "{row}");
    let table = "image ls --filter dangling=true --format";
    let format = "table {{.Repository}}\\t{{.SharedSize}}";
    let mut command = host.hoist_command();
    command.args(words(table)).arg(format);
    let table = run::to_end(command, LONG).ok();
    assert_eq!(table.stdout, "REPOSITORY   SHARED SIZE\n");
}

/// This machine's, in Go's words.
const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else {
    "arm64"
};

#[test]
fn questions_are_answered_by_a_pipe() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let prune = |answer: &str| {
        said(&host, "volume create --label x kept");
        let mut command = host.command("/bin/sh");
        let hoist = crate::common::host::binary();
        let line = format!("printf '{answer}' | {} volume prune -a", hoist.display());
        command.args(["-c", &line]);
        run::to_end(command, LONG).ok();
        said(&host, "volume ls -q")
    };
    assert_eq!(prune("n\n"), "kept\n");
    assert_eq!(prune(""), "kept\n");
    assert_eq!(prune("y\n"), "");
}

/// Hands what comes at a TCP port on to the engine's socket; its port.
fn proxy(host: &TestHost) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = host.socket();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(engine) = std::os::unix::net::UnixStream::connect(&socket) else {
                continue;
            };
            let (mut from, mut to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
            let (mut from, mut to) = (engine, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

#[test]
fn engines_elsewhere() {
    use std::os::unix::fs::PermissionsExt;
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let through = |address: &str, path: &str| {
        let mut command = host.hoist_command();
        command.args(["--host", address]).env("PATH", path);
        command.args(words("container run --rm -i busybox wc -c"));
        run::with_input(command, &vec![b'x'; 1 << 20], LONG)
    };
    let tcp = format!("tcp://127.0.0.1:{}", proxy(&host));
    assert_eq!(through(&tcp, "/usr/bin:/bin").ok().stdout.trim(), "1048576");
    through("tcp://127.0.0.1:1", "/usr/bin:/bin")
        .exits(1)
        .says(&["cannot reach the engine at tcp://127.0.0.1:1"]);
    // What sshd does with the last word: the user's shell reads it.
    let bin = host.path("tmp/bin");
    std::fs::create_dir(&bin).unwrap();
    let ssh = bin.join("ssh");
    std::fs::write(
        &ssh,
        "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(crate::common::host::binary(), bin.join("hoist")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let address = format!("ssh://me@box{}", host.socket().display());
    assert_eq!(through(&address, &path).ok().stdout.trim(), "1048576");
    hoist(&host, "--host ftp://box container ls")
        .exits(1)
        .says(&["cannot use the engine at \"ftp://box\"", "ssh://USER@HOST"]);
    hoist(&host, "--context none container ls")
        .exits(1)
        .says(&["cannot use the context \"none\""]);
}

/// A directory with a file, a directory and a link.
fn sources(host: &TestHost) -> String {
    let src = host.path("tmp/src");
    std::fs::create_dir_all(src.join("sub")).unwrap();
    std::fs::write(src.join("one"), "one").unwrap();
    std::fs::write(src.join("sub/two"), "two").unwrap();
    std::os::unix::fs::symlink("one", src.join("link")).unwrap();
    src.display().to_string()
}

#[test]
fn files_in_and_out() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let (src, out) = (sources(&host), host.path("tmp/out"));
    std::fs::create_dir(&out).unwrap();
    let text =
        "services: {web: {image: busybox, init: true, command: [sleep, '1000'], scale: 2}}\n";
    let project = host.project("shop", text);
    project.up();
    let cp = |from: &str, to: &str| project.hoist(&["cp", from, to]);
    cp(&src, "web:/opt")
        .ok()
        .says(&["shop-web-1 copy", "shop-web-2 copy", "Copied"]);
    cp(&format!("{src}/."), "web:/opt").ok();
    cp(&format!("{src}/one"), "web:/opt/renamed").ok();
    let found = "cd /opt; find . | sort | tr '\\n' ' '; cat renamed";
    let listed = project
        .hoist(&["exec", "-T", "--index", "2", "web", "sh", "-c", found])
        .ok();
    let all = ". ./link ./one ./renamed ./sub ./sub/two one";
    let nested = listed
        .stdout
        .replace("./src ./src/link ./src/one ./src/sub ./src/sub/two ", "");
    assert_eq!(nested, all, "{listed}");
    let at = |name: &str| out.join(name).display().to_string();
    cp("web:/opt/sub", &at("")).ok();
    cp("web:/opt/sub/.", &at("contents")).ok();
    cp("web:/opt/one", &at("two")).ok();
    project
        .hoist(&["cp", "-L", "web:/opt/link", &at("followed")])
        .ok();
    for (name, expected) in [
        ("sub/two", "two"),
        ("contents/two", "two"),
        ("two", "one"),
        ("followed", "one"),
    ] {
        assert_eq!(
            std::fs::read_to_string(out.join(name)).unwrap(),
            expected,
            "{name}"
        );
    }
    cp("web:/nope", &at(""))
        .exits(1)
        .says(&["shop-web-1:/nope"]);
    cp("web:/opt", &at("two"))
        .exits(1)
        .says(&["cannot copy a directory to the file"]);
    cp(&at("none"), "web:/").exits(1).says(&["cannot copy"]);
    cp("a", "b").exits(1).says(&["unknown copy direction"]);
    let mut archive = project.command(&["cp", "web:/opt/sub", "-"]);
    archive.stdin(std::process::Stdio::null());
    let bytes = archive.output().unwrap().stdout;
    let mut into = project.command(&["cp", "-", "web:/tmp"]);
    into.stdout(std::process::Stdio::null());
    run::with_input(into, &bytes, LONG).ok();
    assert_eq!(project.sh("web", "cat /tmp/sub/two"), "two");
    hoist(
        &host,
        &format!("container cp shop-web-1:/opt/one {}", at("three")),
    )
    .ok()
    .says(&["Successfully copied"]);
    project.down(&["-t", "0"]);
}

#[test]
fn what_containers_use_and_become() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let text = "services: {web: {image: busybox, init: true, command: [sh, -c, 'echo x > /made; sleep 1000']}}\n";
    let project = host.project("shop", text);
    project.up();
    let stats = project.hoist(&["stats", "--no-stream"]).ok();
    stats.says(&["CPU %", "MEM USAGE / LIMIT", "shop-web-1"]);
    let json = project
        .hoist(&["stats", "--no-stream", "--format", "json", "web"])
        .ok()
        .json();
    assert_eq!(json["Name"], "shop-web-1");
    assert!(
        json["MemUsage"].as_str().unwrap().contains("iB / "),
        "{json}"
    );
    hoist(
        &host,
        "container stats --no-stream --format {{.Name}}:{{.PIDs}} shop-web-1",
    )
    .ok()
    .says(&["shop-web-1:2"]);
    hoist(&host, "container diff shop-web-1")
        .ok()
        .says(&["A /made"]);
    let tar = host.path("tmp/web.tar").display().to_string();
    project.hoist(&["export", "-o", &tar, "web"]).ok();
    assert!(std::fs::metadata(&tar).unwrap().len() > 100_000);
    let id = project
        .hoist(&["commit", "-m", "made", "-c", "ENV A=1", "web", "made:1"])
        .ok();
    assert!(id.stdout.starts_with("sha256:"), "{id}");
    let told = said(
        &host,
        "container run --rm made:1 sh -c 'cat /made; echo $A'",
    );
    assert_eq!(told, "x\n1\n");
    said(
        &host,
        "container update --memory 64m --restart always shop-web-1",
    );
    let after = "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(
        said(&host, &format!("inspect -f '{after}' shop-web-1")),
        "67108864 always\n"
    );
    hoist(&host, "container update shop-web-1")
        .exits(1)
        .says(&["one or more flags"]);
    hoist(&host, "system df")
        .ok()
        .says(&["Images", "Containers", "Local Volumes", "Build Cache"]);
    hoist(&host, "system df -v")
        .ok()
        .says(&["shop-web-1", "busybox"]);
    hoist(&host, "system version")
        .ok()
        .says(&["Client:", "Server:"]);
    project.down(&["-t", "0"]);
    said(&host, "image rm made:1");
}
