//! Containers from their specification to their exit record, on the real kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use hoist_engine::runtime::spec::{Mount, MountSource, ResourceLimit, TerminalSize};
use hoist_kernel::init::program::Propagation;
use hoist_kernel::pty::Size;
use hoist_shim::protocol::{RequestBody, TerminalTarget};
use support::{Place, exec};

/// Runs a script with changes to the specification; its standard output.
fn stdout(script: &str, change: impl FnOnce(&mut Place)) -> String {
    let mut place = Place::new(script);
    change(&mut place);
    place.stdout()
}

#[test]
fn output_and_exit_code_come_back() {
    let outcome = Place::new("echo out; echo err >&2; exit 7").run();
    assert_eq!((outcome.record.code, outcome.record.signal), (7, None));
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert!(outcome.record.finished_at > outcome.record.started_at);
    assert!(!outcome.record.out_of_memory);
}

#[test]
fn a_death_by_signal_is_128_and_its_number() {
    // Process 1 ignores signals from its own namespace: it is killed from outside.
    let place = Place::new("kill -9 $$; sleep 9");
    let outcome = place.start().unwrap().kill();
    assert_eq!((outcome.record.code, outcome.record.signal), (137, Some(9)));
}

#[test]
fn what_cannot_be_executed_is_told_as_docker_tells_it() {
    let check = |argv: &[&str], message: &str, code: i32| {
        let place = Place::with_argv(argv);
        std::fs::write(place.layer().join("etc/data"), "no program").unwrap();
        std::fs::write(place.layer().join("bin/odd"), "no program either").unwrap();
        let odd = place.layer().join("bin/odd");
        std::fs::set_permissions(odd, std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = place.start().err().expect("it cannot start");
        assert_eq!(
            (failure.message.as_str(), failure.exit_code),
            (message, code)
        );
    };
    check(
        &["foo", "x"],
        "exec: \"foo\": executable file not found in $PATH",
        127,
    );
    check(
        &["/no/foo"],
        "exec: \"/no/foo\": stat /no/foo: no such file or directory",
        127,
    );
    check(
        &["/etc/data"],
        "exec: \"/etc/data\": permission denied",
        126,
    );
    check(&["/etc"], "exec: \"/etc\": is a directory", 126);
    check(&["odd"], "exec: \"odd\": exec format error", 126);
}

#[test]
fn the_root_is_layers_and_a_writable_one() {
    let mut place = Place::new("cat /low /both; echo new > /made; ls /merged 2>&1; rm /both");
    let second = place.directory.path().join("second");
    std::fs::create_dir(&second).unwrap();
    std::fs::write(place.layer().join("low"), "low\n").unwrap();
    std::fs::write(place.layer().join("both"), "hidden\n").unwrap();
    std::fs::write(second.join("both"), "upper\n").unwrap();
    place.spec.root.layers.push(second.clone());
    let outcome = place.run();
    assert_eq!(
        outcome.stdout,
        "low\nupper\nls: /merged: No such file or directory\n"
    );
    let upper = place.directory.path().join("upper");
    assert_eq!(
        std::fs::read_to_string(upper.join("made")).unwrap(),
        "new\n"
    );
    assert_eq!(
        std::fs::read_to_string(second.join("both")).unwrap(),
        "upper\n"
    );
    // Nothing of the container's mounts is to be seen here.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&place.directory.path().display().to_string()));
}

#[test]
fn layers_far_down_and_with_odd_names_are_mounted() {
    let mut place = Place::new("cat /deep");
    let mut directory = place.directory.path().join("odd:name,with\\things");
    for _ in 0..6 {
        directory.push("a-long-component-".repeat(8));
    }
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("deep"), "deep\n").unwrap();
    place.spec.root.layers.push(directory);
    assert_eq!(place.stdout(), "deep\n");
}

#[test]
fn the_kernels_file_systems_are_where_oci_wants_them() {
    let script = "awk '{print $2, $3}' /proc/mounts | grep -v cgroup | sort | uniq";
    let expected = "\
/ overlay
/dev devtmpfs-or-tmpfs
/dev/mqueue mqueue
/dev/pts devpts
/dev/shm tmpfs
/proc proc
";
    let seen = stdout(script, |_| {});
    let seen = seen.replace("/dev tmpfs", "/dev devtmpfs-or-tmpfs");
    for line in expected.lines() {
        assert!(seen.lines().any(|other| other == line), "{line} in {seen}");
    }
    let devices = stdout(
        "ls -ld /dev/null /dev/zero /dev/tty /dev/fd /dev/ptmx | cut -c1-10; stat -c %t,%T /dev/full",
        |_| {},
    );
    assert_eq!(
        devices,
        "lrwxrwxrwx\ncrw-rw-rw-\nlrwxrwxrwx\ncrw-rw-rw-\ncrw-rw-rw-\n1,7\n"
    );
    let shm = stdout(
        "df -k /dev/shm | tail -1 | awk '{print $2}'; stat -c %a /dev/shm",
        |place| {
            place.spec.shm_size = Some(8 << 20);
        },
    );
    assert_eq!(shm, "8192\n1777\n");
}

#[test]
fn names_environment_user_and_directory_are_set() {
    let output = stdout(
        "hostname; pwd; id; echo $HOME $A; env | sort | grep -v PWD; umask; stat -c %u /dev/fd/1 | wc -l",
        |place| {
            place.spec.hostname = Some("web-1".into());
            place.spec.user = "app".into();
            place.spec.working_directory = "/srv/made/for/it".into();
            place.spec.environment.push("A=b c".into());
            place.spec.umask = Some(0o027);
            place.spec.additional_groups = vec!["2000".into(), "77".into()];
        },
    );
    let expected = "web-1\n/srv/made/for/it\n\
        uid=1000(app) gid=1001(app) groups=77,1001(app),2000(extra)\n/home/app b c\n\
        A=b c\nHOME=/home/app\nPATH=/bin\n0027\n1\n";
    assert_eq!(output.replace("SHLVL=1\n", ""), expected);
}

#[test]
fn users_by_number_need_no_entry_and_names_do() {
    let id = |user: &str| {
        let user = user.to_owned();
        stdout("id -u; id -g; id -G; echo $HOME", |place| {
            place.spec.user = user
        })
    };
    assert_eq!(id(""), "0\n0\n0\n/root\n");
    assert_eq!(id("4242"), "4242\n0\n0\n/\n");
    assert_eq!(id("4242:4343"), "4242\n4343\n4343\n/\n");
    assert_eq!(id("app:extra"), "1000\n2000\n2000\n/home/app\n");
    assert_eq!(id("1000"), "1000\n1001\n1001 2000\n/home/app\n");
    let failure = |user: &str| {
        let mut place = Place::new("true");
        place.spec.user = user.into();
        place.start().err().unwrap().message
    };
    assert_eq!(
        failure("web"),
        "unable to find user web: no matching entries in passwd file"
    );
    assert_eq!(
        failure("0:web"),
        "unable to find group web: no matching entries in group file"
    );
    assert_eq!(
        failure("1x"),
        "unable to find user 1x: no matching entries in passwd file"
    );
    assert_eq!(
        failure("4294967295"),
        "uids and gids must be in range 0-2147483647"
    );
}

#[test]
fn a_user_can_reopen_the_standard_streams() {
    let output = stdout(
        "echo one > /dev/stdout; echo two > /proc/self/fd/1",
        |place| {
            place.spec.user = "app".into();
        },
    );
    assert_eq!(output, "one\ntwo\n");
}

#[test]
fn mounts_of_the_user() {
    let mut place = Place::new(
        "cat /data/file /etc/one; echo w 2>/dev/null > /data/file || echo read-only; echo t > /cache/x; \
         stat -c %a /cache /made/deep; ls /vol; cat /vol/inner",
    );
    let host = place.directory.path().join("host");
    std::fs::create_dir_all(host.join("volume/sub")).unwrap();
    std::fs::write(host.join("file"), "data\n").unwrap();
    std::fs::write(host.join("one"), "single\n").unwrap();
    std::fs::write(host.join("volume/sub/inner"), "sub\n").unwrap();
    let bind = |path: &str, target: &str, read_only| Mount {
        target: target.into(),
        source: MountSource::Bind {
            path: host.join(path),
            subpath: None,
            recursive: true,
            writable_below: false,
            propagation: Propagation::Private,
            ids: Default::default(),
        },
        read_only,
    };
    let tmpfs = |target: &str, mode| Mount {
        target: target.into(),
        source: MountSource::Tmpfs {
            size: Some(1 << 20),
            mode,
            options: vec!["exec".into()],
        },
        read_only: false,
    };
    let mut volume = bind("volume", "/vol", false);
    if let MountSource::Bind { subpath, .. } = &mut volume.source {
        *subpath = Some("sub".into());
    }
    place.spec.mounts = vec![
        bind("", "/data/", true),
        bind("one", "/etc/one", false),
        tmpfs("/cache", Some(0o750)),
        tmpfs("/made/deep", None),
        volume,
    ];
    let outcome = place.run();
    assert_eq!(
        outcome.stdout,
        "data\nsingle\nread-only\n750\n1777\ninner\nsub\n"
    );
}

#[test]
fn a_tmpfs_without_a_mode_takes_over_that_of_the_image() {
    let output = stdout("stat -c %a /run", |place| {
        std::fs::create_dir(place.layer().join("run")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(place.layer().join("run"), mode).unwrap();
        let source = MountSource::Tmpfs {
            size: None,
            mode: None,
            options: Vec::new(),
        };
        place.spec.mounts.push(Mount {
            target: "/run".into(),
            source,
            read_only: false,
        });
    });
    assert_eq!(output, "711\n");
}

#[test]
fn a_directory_onto_a_file_is_told() {
    let mut place = Place::new("true");
    place.spec.mounts.push(Mount {
        target: "/etc/passwd".into(),
        source: MountSource::Bind {
            path: place.layer(),
            subpath: None,
            recursive: true,
            writable_below: false,
            propagation: Propagation::Private,
            ids: Default::default(),
        },
        read_only: false,
    });
    let failure = place.start().err().unwrap();
    assert!(
        failure
            .message
            .contains("mount /etc/passwd: not a directory: Are you trying"),
        "{failure}"
    );
}

#[test]
fn a_read_only_root_has_writable_mounts() {
    let script = "touch /x 2>&1; touch /dev/shm/x /tmp/x && echo fine";
    let output = stdout(script, |place| {
        place.spec.root.read_only = true;
        let source = MountSource::Tmpfs {
            size: None,
            mode: None,
            options: Vec::new(),
        };
        place.spec.mounts.push(Mount {
            target: "/tmp".into(),
            source,
            read_only: false,
        });
    });
    assert_eq!(output, "touch: /x: Read-only file system\nfine\n");
}

#[test]
fn limits_and_sysctls_apply_and_what_cannot_be_is_a_warning() {
    let mut place =
        Place::new("ulimit -n; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni");
    let limit = |name: &str, value| ResourceLimit {
        name: name.into(),
        soft: Some(value),
        hard: Some(value),
    };
    place.spec.limits = vec![limit("nofile", 99), limit("RLIMIT_CORE", 0)];
    place
        .spec
        .sysctls
        .insert("net.core.somaxconn".into(), "123".into());
    place
        .spec
        .sysctls
        .insert("kernel.shmmni".into(), "77".into());
    assert_eq!(place.stdout(), "99\n123\n77\n");
    let mut place = Place::new("ulimit -Hn");
    place.spec.limits = vec![limit("nofile", 1 << 40)];
    let container = place.start().unwrap();
    let [warning] = &container.started.warnings[..] else {
        panic!("no warning")
    };
    assert!(
        warning.starts_with("cannot set resource limit 7 to"),
        "{warning}"
    );
    assert_ne!(container.wait().stdout, "");
    let mut place = Place::new("true");
    place.spec.oom_score_adj = Some(-1000);
    let container = place.start().unwrap();
    let can = place.machine.capabilities & (1 << 24) != 0;
    assert_eq!(
        container.started.warnings.is_empty(),
        can,
        "{:?}",
        container.started.warnings
    );
    container.wait();
}

#[test]
fn an_init_reaps_forwards_and_passes_the_code_on() {
    let mut place =
        Place::new("cat /proc/1/comm; (sleep 0.05 & ) ; sleep 0.2; ps -o stat | grep -c Z; exit 9");
    place.spec.init = true;
    let outcome = place.run();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.record.code),
        ("hoist-init\n0\n", 9)
    );
    let mut place =
        Place::new("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    place.spec.init = true;
    let mut container = place.start().unwrap();
    container.wait_for_stdout("readiness", |text| text == "ready\n");
    let target = hoist_shim::protocol::SignalTarget::Container;
    container.call(RequestBody::Signal { target, signal: 15 });
    let outcome = container.wait();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.record.code),
        ("ready\ngot\n", 3)
    );
    let mut place = Place::new("kill -9 $$");
    place.spec.init = true;
    assert_eq!(place.run().record.code, 137);
    let mut place = Place::with_argv(&["nothing"]);
    place.spec.init = true;
    assert_eq!(place.start().err().unwrap().exit_code, 127);
}

#[test]
fn standard_input_reaches_the_container_and_ends() {
    let mut place = Place::new("cat; echo end");
    place.stdin_open = true;
    let (mut connection, mut child) = place.configure().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (out_reader, out_writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let attach = RequestBody::Attach {
        stdin: true,
        stdout: true,
        stderr: false,
    };
    connection.call(attach, vec![reader, out_writer]).unwrap();
    connection.call(RequestBody::Start, Vec::new()).unwrap();
    rustix::io::write(&writer, b"hello\n").unwrap();
    drop(writer);
    let text = std::io::read_to_string(std::fs::File::from(out_reader)).unwrap();
    assert_eq!(text, "hello\nend\n");
    connection.event().unwrap();
    connection.call(RequestBody::Release, Vec::new()).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_terminal_is_a_terminal() {
    let mut place = Place::new(
        "tty; stty size; echo t > /dev/console; while [ \"$(stty size)\" = '24 80' ]; do :; done; stty size",
    );
    place.spec.terminal = Some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    let mut container = place.start().unwrap();
    container.wait_for_stdout("the size", |text| text.contains("24 80"));
    let size = Size {
        rows: 30,
        columns: 100,
    };
    container.call(RequestBody::Resize {
        target: TerminalTarget::Container,
        size,
    });
    let outcome = container.wait();
    assert_eq!(outcome.stdout, "/dev/pts/0\r\n24 80\r\nt\r\n30 100\r\n");
    assert_eq!(outcome.record.code, 0);
}

#[test]
fn a_terminal_with_an_init_gives_it_to_the_program() {
    let mut place = Place::new("read line; echo got $line; cat /proc/1/comm");
    place.spec.terminal = Some(TerminalSize {
        rows: 24,
        columns: 80,
    });
    place.spec.init = true;
    place.stdin_open = true;
    let (mut connection, mut child) = place.configure().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let attach = RequestBody::Attach {
        stdin: true,
        stdout: false,
        stderr: false,
    };
    connection.call(attach, vec![reader]).unwrap();
    connection.call(RequestBody::Start, Vec::new()).unwrap();
    rustix::io::write(&writer, b"input\n").unwrap();
    connection.event().unwrap();
    connection.call(RequestBody::Release, Vec::new()).unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(place.state().join("log")).unwrap();
    assert_eq!(
        support::text_of(&log, "stdout"),
        "input\r\ngot input\r\nhoist-init\r\n"
    );
}

#[test]
fn a_further_process_joins_everything() {
    let mut place = Place::new("cd /tmp; touch here; sleep 60");
    place.spec.user = "app".into();
    place.spec.working_directory = "/tmp".into();
    std::fs::set_permissions(
        place.layer().join("tmp"),
        std::fs::Permissions::from_mode(0o1777),
    )
    .unwrap();
    let mut container = place.start().unwrap();
    let (code, output) = container.exec_script(
        "until ls here >/dev/null 2>&1; do :; done; hostname; pwd; id -u; id -G; echo $HOME; cat /proc/1/comm; \
         for n in pid net ipc uts mnt cgroup; do [ \"$(readlink /proc/1/ns/$n 2>/dev/null)\" = \"$(readlink /proc/self/ns/$n)\" ] || echo other $n; done; exit 5",
    );
    assert_eq!(
        (code, output.as_str()),
        (5, "testhost\n/tmp\n1000\n1001 2000\n/home/app\nsleep\n")
    );
    let failure = container.exec(&exec(&["nothing"])).unwrap_err();
    assert_eq!(
        failure.message,
        "exec: \"nothing\": executable file not found in $PATH"
    );
    assert_eq!(failure.exit_code, 127);
    let mut other = exec(&["sh", "-c", "id -u; pwd"]);
    other.user = "0".into();
    other.working_directory = "/etc".into();
    assert_eq!(container.exec(&other).unwrap(), (0, "0\n/etc\n".to_owned()));
    let (code, _) = container.exec_script("kill -9 $$");
    assert_eq!(code, 137);
    container.kill();
}

#[test]
fn a_further_process_gets_a_terminal_of_the_container() {
    let place = Place::new("sleep 60");
    let mut container = place.start().unwrap();
    let mut wanted = exec(&["sh", "-c", "tty; stty size; read x; exit 4"]);
    wanted.terminal = Some(TerminalSize {
        rows: 11,
        columns: 22,
    });
    let program =
        hoist_engine::runtime::lower_exec(&container.spec, &wanted, &container.machine).unwrap();
    let request = hoist_shim::protocol::ExecRequest {
        id: "t".into(),
        program,
        terminal: true,
    };
    let (_, mut fds) = container
        .connection
        .call(RequestBody::Exec(Box::new(request)), Vec::new())
        .unwrap();
    let master: OwnedFd = fds.remove(0);
    rustix::io::ioctl_fionbio(&master, false).unwrap();
    rustix::io::write(&master, b"\n").unwrap();
    let mut text = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(length @ 1..) = rustix::io::read(&master, &mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text.replace("\r\n\r\n", "\r\n").trim_start_matches("\r\n"),
        "/dev/pts/0\r\n11 22\r\n"
    );
    let hoist_shim::protocol::Event::ExecExited { code, .. } =
        container.connection.event().unwrap()
    else {
        panic!("another event");
    };
    assert_eq!(code, 4);
    container.kill();
}

#[test]
fn a_log_is_rotated() {
    let mut place = Place::new("seq 1 200");
    place.log_limit = (Some(4096), 2);
    let outcome = place.run();
    assert!(outcome.log.len() <= 4096);
    assert!(outcome.stdout.ends_with("199\n200\n"));
    let older = std::fs::read_to_string(place.state().join("log.1")).unwrap();
    assert!(older.len() <= 4096);
    assert!(!place.state().join("log.2").exists());
    let first: u32 = outcome.stdout.lines().next().unwrap().parse().unwrap();
    let last: u32 = support::text_of(&older, "stdout")
        .lines()
        .last()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(last + 1, first);
}

#[test]
fn a_hundred_thousand_lines_are_all_logged() {
    let outcome = Place::new("seq 1 100000").run();
    assert_eq!(outcome.stdout.lines().count(), 100_000);
    assert!(outcome.stdout.ends_with("\n99999\n100000\n"));
}

#[test]
fn namespaces_are_shared_as_asked() {
    let place = Place::new("sleep 60");
    let first = place.start().unwrap();
    let mut other = Place::new("ps | grep -c '[s]leep 60'; hostname; readlink /proc/self/ns/ipc");
    let pid = first.started.pid;
    let join = hoist_engine::runtime::spec::NamespaceMode::Join(pid);
    other.spec.namespaces.pid = join;
    other.spec.namespaces.ipc = join;
    other.spec.namespaces.uts = join;
    let ipc = std::fs::read_link(format!("/proc/{pid}/ns/ipc")).unwrap();
    assert_eq!(other.stdout(), format!("1\ntesthost\n{}\n", ipc.display()));
    first.kill();
}

#[test]
fn nothing_of_a_container_with_the_machines_processes_is_left() {
    let mut place = Place::new(
        "sleep 61.5 & echo $!; readlink /proc/self/ns/pid; readlink /proc/self/ns/uts; touch /dev/shm/$(hostname) 2>&1",
    );
    let host = hoist_engine::runtime::spec::NamespaceMode::Host;
    place.spec.namespaces.pid = host;
    place.spec.namespaces.uts = host;
    place.spec.namespaces.ipc = host;
    let output = place.stdout();
    let mut lines = output.lines();
    let background = lines.next().unwrap().to_owned();
    for name in ["pid", "uts"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(lines.next(), ours.to_str());
    }
    assert!(!std::path::Path::new(&format!("/proc/{background}")).exists());
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    std::fs::remove_file(std::path::Path::new("/dev/shm").join(hostname.trim())).unwrap();
}
