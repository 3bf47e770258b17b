//! What Dockerfiles and builds may say, through the command line: options of COPY and ADD, what RUN mounts and may do, ONBUILD.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::run::{self, Run};
use crate::common::{LONG, Project, TestHost, can_run, wait_until};

/// A directory to build from; its Compose file is not used.
fn context(host: &TestHost) -> Project<'_> {
    host.project("context", "services: {}\n")
}

/// Builds the Dockerfile with these options of `hoist image build`.
#[track_caller]
fn build(context: &Project<'_>, dockerfile: &str, options: &[&str]) -> Run {
    context.write("Dockerfile", dockerfile);
    context.hoist(&[&["--progress", "plain", "image", "build", "."], options].concat())
}

/// What the steps have printed, without their numbers and times.
fn printed(built: &Run) -> Vec<String> {
    let words = |line: &str| -> Option<String> {
        let mut words = line.strip_prefix('#')?.splitn(3, ' ');
        words.next()?;
        words.next()?.parse::<f64>().ok()?;
        Some(words.next().unwrap_or_default().to_owned())
    };
    // `image build` tells on standard error, `build` on standard output.
    let lines = built.stdout.lines().chain(built.stderr.lines());
    lines.filter_map(words).collect()
}

/// A process of the test's that ends with the value.
struct Helper(Child);

impl Helper {
    fn start(mut command: Command) -> Helper {
        use std::os::unix::process::CommandExt as _;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Helper(command.spawn().expect("it is installed"))
    }
}

impl Drop for Helper {
    /// `git daemon` is a child of `git`: the whole group goes.
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn copies_keep_parents_leave_out_and_change_modes() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    for file in [
        "src/one.txt",
        "src/run.sh",
        "src/deep/two.txt",
        "src/deep/er/three.txt",
        "src/skip/no.log",
    ] {
        context.write(file, file);
    }
    context.write("ignored.txt", "x");
    context.write("own.txt", "x");
    // The Dockerfile's own ignore file counts, the general one does not.
    context.write("Dockerfile.dockerignore", "ignored.txt\n");
    context.write(".dockerignore", "own.txt\n");
    let built = build(
        &context,
        "# syntax=docker/dockerfile:1-labs\nFROM busybox\n\
         COPY --parents src/deep/*.txt src/./deep/er /parents/\n\
         COPY --exclude=**/*.log --exclude=deep src /excluded/\n\
         COPY --link --chown=7:8 --chmod=u=rwX,go=rX src/deep /linked\n\
         COPY --chmod=u+x,go-r src/run.sh /modes/\n\
         COPY --chmod=0640 src/one.txt /modes/\n\
         COPY *.txt /top/\n\
         RUN find /parents /excluded /linked /modes /top -type f | sort | xargs stat -c '%a %u:%g %n'\n",
        &[],
    )
    .ok();
    assert_eq!(
        printed(&built),
        [
            "644 0:0 /excluded/one.txt",
            "644 0:0 /excluded/run.sh",
            "644 7:8 /linked/er/three.txt",
            "644 7:8 /linked/two.txt",
            "640 0:0 /modes/one.txt",
            "700 0:0 /modes/run.sh",
            "644 0:0 /parents/deep/er/three.txt",
            "644 0:0 /parents/src/deep/two.txt",
            "644 0:0 /top/own.txt",
        ],
        "{built}"
    );
}

/// Servers of a repository on port 9418 and of files on port 8000.
struct Served {
    /// Of the tag `v1`.
    commit: String,
    /// Of `file.txt`.
    digest: String,
    _servers: [Helper; 2],
}

fn serve(host: &TestHost) -> Served {
    let dir = host.path("served");
    let script = "git init -q repo && cd repo && git config user.email a@b && git config user.name n && mkdir sub && echo one >f && \
                  echo two >sub/g && git add . && git commit -qm one && git tag v1 && echo three >f && git commit -qam two && \
                  git rev-parse v1 && cd .. && echo payload >file.txt && tar -czf t.tgz file.txt && sha256sum file.txt";
    fs::create_dir(&dir).unwrap();
    let mut shell = host.command("sh");
    shell.args(["-euc", script]).current_dir(&dir);
    let made = run::to_end(shell, LONG).ok();
    let mut daemon = host.command("git");
    daemon
        .args([
            "daemon",
            "--reuseaddr",
            "--export-all",
            "--listen=127.0.0.1",
            "--port=9418",
        ])
        .arg(format!("--base-path={}", dir.display()));
    let repositories = Helper::start(daemon);
    let mut server = host.command("busybox");
    server
        .args(["httpd", "-f", "-p", "127.0.0.1:8000", "-h"])
        .arg(&dir);
    let server = Helper::start(server);
    for port in [9418, 8000] {
        wait_until(LONG, "the servers answer", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }
    let made = made.lines();
    Served {
        commit: made[0].to_owned(),
        digest: made[1].split(' ').next().unwrap().to_owned(),
        _servers: [repositories, server],
    }
}

#[test]
fn additions_from_repositories_and_servers_are_checked() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    let served = serve(&host);
    let (commit, digest) = (&served.commit, &served.digest);
    let repository = "git://127.0.0.1/repo";
    let built = build(
        &context,
        &format!(
            "FROM busybox\nADD {repository}#v1 /tag\nADD --checksum={commit} {repository}#v1:sub /sub\n\
             ADD --keep-git-dir=true {repository} /kept\nADD {repository}#{commit} /commit\n\
             ADD --checksum=sha256:{digest} http://127.0.0.1:8000/file.txt /url/\n\
             ADD --chmod=755 --chown=3:4 http://127.0.0.1:8000/file.txt /named\n\
             ADD http://127.0.0.1:8000/t.tgz /packed/\nADD --unpack=true http://127.0.0.1:8000/t.tgz /unpacked/\n\
             RUN cat /tag/f /kept/f /commit/f; find /sub /url /named /packed /unpacked -type f | sort | xargs stat -c '%a %u:%g %n'; \
             ls -d /kept/.git /tag/.git 2>/dev/null || true\n"
        ),
        &[],
    )
    .ok();
    assert_eq!(
        printed(&built),
        [
            "one",
            "three",
            "one",
            "755 3:4 /named",
            "600 0:0 /packed/t.tgz",
            "644 0:0 /sub/g",
            "644 0:0 /unpacked/file.txt",
            "600 0:0 /url/file.txt",
            "/kept/.git",
        ],
        "{built}"
    );
    let zeros = "0".repeat(64);
    for (line, why) in [
        (
            format!("ADD --checksum={} {repository}#v1 /x", &zeros[..40]),
            "was expected",
        ),
        (
            format!("ADD {repository}#gone /x"),
            "couldn't find remote ref gone",
        ),
        (
            format!("ADD --checksum=sha256:{zeros} http://127.0.0.1:8000/file.txt /x"),
            "was expected",
        ),
        (
            "ADD http://127.0.0.1:8000/gone /x".to_owned(),
            "404 Not Found",
        ),
    ] {
        let failed = build(&context, &format!("FROM busybox\n{line}\n"), &[]).fails();
        failed.says(&["Dockerfile:2:1", why]);
    }
}

#[test]
fn agents_and_secrets_are_there_for_one_step_with_their_owners() {
    if !can_run() {
        return;
    }
    let host = TestHost::new().with_images(&["debian-base"]);
    let context = context(&host).with("TOKEN", "s3cret");
    let agent = host.path("agent").display().to_string();
    let mut start = host.command("ssh-agent");
    start.args(["-D", "-a", &agent]);
    let _agent = Helper::start(start);
    wait_until(LONG, "the agent listens", || Path::new(&agent).exists());
    let context = context.with("SSH_AUTH_SOCK", &agent);
    // Asks an agent for its keys, by hand: the request is 11, the answer 12 and the number of keys.
    let ask = r#"perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ENV{SSH_AUTH_SOCK})) or die $!;
syswrite(S, "\0\0\0\1\13"); sysread(S, $answer, 9); print unpack("H*", $answer), "\n"'"#;
    let ask = ask.replace('\n', " ");
    let built = build(
        &context,
        &format!(
            "FROM debian-base\n\
             RUN --mount=type=ssh stat -c '%F %a %u %n' $SSH_AUTH_SOCK && {ask}\n\
             RUN --mount=type=ssh,id=other,uid=9,gid=10,mode=0660,target=/agent stat -c '%F %a %u:%g' /agent; echo $SSH_AUTH_SOCK\n\
             RUN test -z \"$SSH_AUTH_SOCK\" && test ! -e /run/buildkit && test ! -e /agent && echo gone\n\
             RUN --mount=type=secret,id=t stat -c '%a %u:%g %s' /run/secrets/t\n\
             RUN --mount=type=secret,id=t,target=/x/y,mode=0440,uid=5,gid=6 stat -c '%a %u:%g' /x/y && cat /x/y && echo\n\
             RUN --mount=type=secret,id=t,env=GIVEN echo \"$GIVEN\" && test ! -e /run/secrets/t\n\
             RUN --mount=type=secret,id=none test ! -e /run/secrets/none && test ! -e /x && echo \"no $GIVEN\"\n\
             USER 1000\n\
             RUN --mount=type=secret,id=t cat /run/secrets/t 2>/dev/null || echo denied\n"
        ),
        &["--ssh", "default", "--ssh", &format!("other={agent}"), "--secret", "id=t,env=TOKEN"],
    )
    .ok();
    assert_eq!(
        printed(&built),
        [
            "socket 600 0 /run/buildkit/ssh_agent.0",
            "000000050c00000000",
            "socket 660 9:10",
            "/agent",
            "gone",
            "400 0:0 6",
            "440 5:6",
            "s3cret",
            "s3cret",
            "no ",
            "denied",
        ],
        "{built}"
    );
    for (mount, why) in [
        ("type=ssh,id=nobody,required", "no SSH agent \"nobody\""),
        ("type=secret,id=nobody,required", "secret nobody: not found"),
    ] {
        build(
            &context,
            &format!("FROM debian-base\nRUN --mount={mount} true\n"),
            &[],
        )
        .fails()
        .says(&["Dockerfile:2:1", why]);
    }
}

#[test]
fn triggers_are_carried_out_once_and_never_in_circles() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    context.write("name", "nm\n");
    let base = "FROM busybox\nONBUILD ARG WHO=none\nONBUILD COPY name /name\nONBUILD RUN echo \"trigger $WHO $(cat /name)\" >/triggered\n";
    build(&context, base, &["-t", "base"]).ok();
    let child = build(
        &context,
        "FROM base AS one\nRUN cat /triggered\nFROM one\nRUN echo again; cat /triggered\n",
        &["-t", "child", "--build-arg", "WHO=me"],
    )
    .ok();
    assert_eq!(
        printed(&child),
        ["trigger me nm", "again", "trigger me nm"],
        "{child}"
    );
    let images = context
        .hoist(&["image", "inspect", "base", "child"])
        .ok()
        .json();
    assert_eq!(images[0]["Config"]["OnBuild"][1], "COPY name /name");
    assert!(
        images[1]["Config"]["OnBuild"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{}",
        images[1]
    );
    for (dockerfile, place, why) in [
        (
            "FROM busybox AS a\nONBUILD COPY --from=b /x /x\nFROM a AS b\nRUN true\n",
            "Dockerfile:3:1",
            "circular dependency detected on stage: b",
        ),
        (
            "FROM busybox\nONBUILD ONBUILD RUN x\n",
            "Dockerfile:2:1",
            "ONBUILD ONBUILD",
        ),
        (
            "FROM busybox\nONBUILD FROM busybox\n",
            "Dockerfile:2:1",
            "FROM isn't allowed as an ONBUILD trigger",
        ),
    ] {
        build(&context, dockerfile, &[]).fails().says(&[place, why]);
    }
}

#[test]
fn more_than_usual_has_to_be_allowed() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    let none = build(
        &context,
        "FROM busybox\nRUN --network=none ip -o link | wc -l; ip route | wc -l\n",
        &[],
    )
    .ok();
    assert_eq!(printed(&none), ["1", "0"], "{none}");

    let own = fs::read_link("/proc/thread-self/ns/net")
        .unwrap()
        .display()
        .to_string();
    let at_host = "FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n";
    let refused = build(&context, at_host, &[]).fails();
    refused.says(&[
        "Dockerfile:2:1",
        "network.host is not allowed",
        "--allow network.host",
    ]);
    assert_eq!(
        printed(&build(&context, at_host, &["--allow", "network.host"]).ok()),
        [own.as_str()]
    );
    let all = build(
        &context,
        "FROM busybox\nRUN readlink /proc/self/ns/net\n",
        &["--network", "host"],
    )
    .ok();
    assert_eq!(printed(&all), [own.as_str()], "{all}");

    let insecure = "FROM busybox\nRUN echo before\nRUN --security=insecure mkdir /m && mount -t tmpfs none /m && echo mounted\n";
    let refused = build(&context, insecure, &[]).fails();
    refused.says(&["Dockerfile:3:1", "security.insecure is not allowed"]);
    let allowed = build(&context, insecure, &["--allow", "security.insecure"]).ok();
    // The first time nothing had been run: what is not allowed is told before.
    assert_eq!(printed(&allowed), ["before", "mounted"], "{allowed}");
    let plain = build(
        &context,
        "FROM busybox\nRUN mkdir /m; mount -t tmpfs none /m || echo refused\n",
        &[],
    )
    .ok();
    assert!(printed(&plain).contains(&"refused".to_owned()), "{plain}");
    for (options, why) in [
        (
            ["--allow", "everything"].as_slice(),
            "there is no entitlement \"everything\"",
        ),
        (&["--squash"], "squash is not supported"),
        (&["--network", "gone"], "network gone not found"),
        (&["--isolation", "vm"], "--isolation"),
        (
            &["--cache-to", "type=local,dest=x,mode=some"],
            "there is no mode \"some\"",
        ),
    ] {
        build(&context, "FROM busybox\nRUN echo new\n", options)
            .fails()
            .says(&[why]);
    }
}

#[test]
fn hosts_limits_and_layouts_of_a_build_section_reach_its_steps() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    build(
        &context,
        "FROM busybox\nRUN echo laid >/laid\n",
        &["-t", "laid:1"],
    )
    .ok();
    let layout = context.dir().join("layout");
    fs::create_dir(&layout).unwrap();
    context
        .hoist(&["image", "save", "-o", "laid.tar", "laid:1"])
        .ok();
    let mut unpack = host.command("tar");
    unpack.args(["-xf", "../laid.tar"]).current_dir(&layout);
    run::to_end(unpack, LONG).ok();
    context.hoist(&["image", "rm", "laid:1"]).ok();
    context.write(
        "Dockerfile",
        "FROM laid\nRUN cat /laid; grep -E 'db|v6' /etc/hosts; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; ulimit -Sn; ulimit -Hn\n",
    );
    context.write(
        "compose.yaml",
        "services:\n  app:\n    build:\n      context: .\n      additional_contexts: [\"laid=oci-layout://./layout\"]\n      \
         extra_hosts: [\"db=10.1.2.3\", \"v6:::1\"]\n      shm_size: 32m\n      ulimits: {nofile: {soft: 100, hard: 200}}\n",
    );
    // Also from elsewhere: the layout is beside the Compose file.
    let file = context.dir().join("compose.yaml").display().to_string();
    let built = host
        .hoist(&["--progress", "plain", "-f", &file, "build"])
        .ok();
    assert_eq!(
        printed(&built),
        ["laid", "10.1.2.3\tdb", "::1\tv6", "32768", "100", "200"],
        "{built}"
    );
    // A context gives no names.
    context.hoist(&["image", "inspect", "laid:1"]).fails();
    let other = ["--build-context", "laid=oci-layout://layout:2"];
    build(&context, "FROM laid\n", &other)
        .fails()
        .says(&["0 of its images are 2, one is wanted"]);
}

#[test]
fn two_engines_make_the_same_image_of_the_same_sources() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    context.write("file", "content\n");
    let archive = context.dir().join("base.tar").display().to_string();
    host.hoist(&["image", "save", "-o", &archive, "busybox"])
        .ok();
    let dockerfile = "FROM busybox AS make\nWORKDIR /w\nRUN echo x >y; mkdir z; ln -s y l\n\
                      FROM busybox\nARG SOURCE_DATE_EPOCH\nCOPY file /f\nWORKDIR /w\nCOPY --from=make /w .\nRUN touch new\nENV A=b\n";
    let options = [
        "-q",
        "-t",
        "same",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1700000000",
    ];
    let one = build(&context, dockerfile, &options).ok().stdout;
    let again = build(
        &context,
        dockerfile,
        &[options.as_slice(), &["--no-cache"]].concat(),
    )
    .ok();
    assert_eq!(again.stdout, one, "nothing of the clock is in it");

    // Another engine on the same host, with places of its own.
    let second = |arguments: &[&str]| {
        let mut command = host.hoist_command();
        command
            .args(arguments)
            .current_dir(context.dir())
            .env("HOIST_ROOT", host.path("root/second"))
            .env("HOIST_STATE", host.path("second"))
            .env(
                "HOIST_HOST",
                format!("unix://{}/hoist.sock", host.path("second").display()),
            );
        run::to_end(command, LONG)
    };
    context.write("file", "content\n");
    second(&["image", "load", "-i", &archive]).ok();
    let two = second(&[["image", "build", "."].as_slice(), &options].concat());
    second(&["engine", "stop", "--containers"]).ok();
    assert_eq!(two.ok().stdout, one);
}

#[test]
fn stages_that_begin_alike_do_the_work_once() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    let stage = |name: &str| {
        format!(
            "FROM busybox AS {name}\nWORKDIR /w\nRUN --mount=type=cache,target=/c echo run >>/c/log; cat /c/log\n"
        )
    };
    let last = "FROM busybox\nCOPY --from=a /w /a\nCOPY --from=b /w /b\nCOPY --from=c /w /c\n";
    let dockerfile = [stage("a"), stage("b"), stage("c"), last.to_owned()].concat();
    let built = build(&context, &dockerfile, &["-t", "alike"]).ok();
    assert_eq!(printed(&built), ["run"], "{built}");
    let afresh = build(&context, &dockerfile, &["-t", "alike", "--no-cache"]).ok();
    assert_eq!(printed(&afresh), ["run", "run"], "{afresh}");
}

#[test]
fn a_shell_opens_where_a_step_has_failed_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let context = context(&host);
    context.write(
        "Dockerfile",
        "FROM busybox\nENV X=1\nWORKDIR /here\nUSER 65534\nRUN echo half >/tmp/made && exit 3\n",
    );
    let before = context.hoist(&["image", "ls", "-aq"]).ok().stdout;
    let hinted = context.hoist(&["image", "build", "."]).fails();
    hinted.says(&["the same command with --shell-on-fail"]);
    let command = context.command(&["image", "build", "--shell-on-fail", "."]);
    let ran = run::with_input(command, b"id -u; pwd; echo x$X; cat /tmp/made\n", LONG);
    assert_eq!(ran.lines(), ["65534", "/here", "x1", "half"], "{ran}");
    ran.fails().says(&["Dockerfile:5:1", "exit code: 3"]);
    assert_eq!(context.hoist(&["image", "ls", "-aq"]).ok().stdout, before);
    assert_eq!(context.hoist(&["container", "ls", "-aq"]).ok().stdout, "");
}
