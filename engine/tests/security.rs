//! What a container and a hostile image can see and do. Each test names the class of attack whose defence it holds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hoist_engine::runtime::spec::{Mount, MountSource, Seccomp};
use hoist_kernel::init::program::Propagation;
use support::{Place, exec};

fn bind(path: &Path, target: &str) -> Mount {
    let source = MountSource::Bind {
        path: path.to_owned(),
        subpath: None,
        recursive: true,
        writable_below: false,
        propagation: Propagation::Private,
        ids: Default::default(),
    };
    Mount {
        target: target.to_owned(),
        source,
        read_only: false,
    }
}

const CAPABILITIES: &str = "grep -E 'Cap|NoNew|Seccomp:' /proc/self/status | tr '\\t' ' '";

/// CVE-2022-24769, CVE-2016-8867: nothing inheritable or ambient.
#[test]
fn capabilities_are_dockers_and_never_inheritable() {
    let expected = "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\n\
        CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n";
    assert_eq!(Place::new(CAPABILITIES).stdout(), expected);
    let of_user = expected
        .replace("Prm: 00000000a80425fb", "Prm: 0000000000000000")
        .replace("Eff: 00000000a80425fb", "Eff: 0000000000000000");
    let mut place = Place::new(CAPABILITIES);
    place.spec.user = "app".into();
    assert_eq!(place.stdout(), of_user);
    let place = Place::new("sleep 60");
    let mut container = place.start().unwrap();
    let mut wanted = exec(&["sh", "-c", CAPABILITIES]);
    assert_eq!(container.exec(&wanted).unwrap(), (0, expected.to_owned()));
    wanted.user = "1000".into();
    assert_eq!(container.exec(&wanted).unwrap(), (0, of_user));
    container.kill();
}

#[test]
fn capabilities_and_privileges_as_asked() {
    let capabilities = |change: &dyn Fn(&mut Place)| {
        let mut place = Place::new(
            "grep -E 'CapEff|NoNew|Seccomp:' /proc/self/status | cut -f2 | tr '\\n' ' '",
        );
        change(&mut place);
        place.stdout()
    };
    let dropped = capabilities(&|place| {
        place.spec.security.drop_capabilities = vec!["ALL".into()];
        place.spec.security.add_capabilities = vec!["NET_ADMIN".into(), "NO_SUCH".into()];
        place.spec.security.no_new_privileges = true;
    });
    assert_eq!(dropped, "0000000000001000 1 2 ");
    let place = Place::new("true");
    let all = format!("{:016x} 0 0 ", place.machine.capabilities);
    assert_eq!(
        capabilities(&|place| place.spec.security.privileged = true),
        all
    );
    let unconfined = capabilities(&|place| place.spec.security.seccomp = Seccomp::Unconfined);
    assert_eq!(unconfined, "00000000a80425fb 0 0 ");
}

#[test]
fn a_profile_of_the_user_is_enforced() {
    let mut place = Place::new("mkdir /made; echo after");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]}"#;
    place.spec.security.seccomp = Seccomp::Profile(profile.into());
    let outcome = place.run();
    assert!(
        outcome.stderr.contains("Cannot assign requested address"),
        "{outcome:?}"
    );
    assert_eq!(outcome.stdout, "after\n");
}

/// New user namespaces would give capabilities inside them.
#[test]
fn no_namespaces_can_be_made() {
    let outcome =
        Place::new("unshare -U true; unshare -n true; unshare -m true; mount -t tmpfs x /tmp")
            .run();
    assert_eq!(
        outcome.stderr.matches("Operation not permitted").count()
            + outcome.stderr.matches("permission denied").count(),
        4,
        "{outcome:?}"
    );
}

/// CVE-2016-9962, CVE-2024-21626: no descriptor of the machine gets in.
#[test]
fn only_the_standard_streams_are_inherited() {
    let script = "ls /proc/self/fd | tr '\\n' ' '";
    assert_eq!(Place::new(script).stdout(), "0 1 2 3 ");
    let mut place = Place::new(script);
    place.spec.init = true;
    assert_eq!(place.stdout(), "0 1 2 3 ");
    let place = Place::new("sleep 60");
    let mut container = place.start().unwrap();
    assert_eq!(container.exec_script(script), (0, "0 1 2 3 ".to_owned()));
    container.kill();
}

/// CVE-2024-21626: a working directory in `/proc/self/fd` leads to what is still open outside.
#[test]
fn a_working_directory_cannot_lead_outside() {
    for fd in 3..16 {
        let mut place = Place::new("pwd; ls");
        place.spec.working_directory = format!("/proc/self/fd/{fd}");
        let failure = place
            .start()
            .err()
            .unwrap_or_else(|| panic!("/proc/self/fd/{fd} was entered"));
        assert!(
            failure
                .message
                .starts_with("cannot change to the working directory"),
            "{failure}"
        );
    }
    let place = Place::new("sleep 60");
    let mut container = place.start().unwrap();
    for directory in [
        "/proc/self/fd/7",
        "/proc/1/cwd",
        "/proc/self/root",
        "/nowhere",
    ] {
        let mut wanted = exec(&["pwd"]);
        wanted.working_directory = directory.into();
        assert!(container.exec(&wanted).is_err(), "{directory}");
    }
    container.kill();
}

/// CVE-2019-5736: the program that runs before execve is not writable from inside.
#[test]
fn the_init_program_cannot_be_overwritten() {
    let mut place = Place::new(
        "echo x > /proc/1/exe; cat /proc/1/exe >/dev/null; ls -l /proc/1/fd 2>&1; echo end",
    );
    place.spec.init = true;
    let outcome = place.run();
    assert!(outcome.stdout.ends_with("end\n"));
    let denied = outcome.stderr.matches("Permission denied").count()
        + outcome.stderr.matches("Text file busy").count();
    assert_eq!(denied, 2, "{outcome:?}");
    assert!(outcome.stdout.contains("Permission denied"), "{outcome:?}");
}

/// CVE-2019-19921, CVE-2025-52881: the kernel's file systems do not go where an image's link points.
#[test]
fn kernel_file_systems_are_not_mounted_through_links() {
    for name in ["proc", "sys", "dev"] {
        let place = Place::new("true");
        let outside = place.directory.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink("/tmp", place.layer().join(name)).unwrap();
        let failure = place
            .start()
            .err()
            .unwrap_or_else(|| panic!("/{name} was mounted through a link"));
        assert!(
            failure
                .message
                .starts_with(&format!("cannot mount /{name}")),
            "{failure}"
        );
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    }
}

/// CVE-2021-30465, CVE-2023-27561: links on the way to a target end inside the root.
#[test]
fn targets_through_links_stay_inside() {
    let mut place = Place::new("cat /link/deep/file /up/other/file /root/made/file");
    let outside = place.directory.path().join("outside");
    let volume = place.directory.path().join("volume");
    for directory in [&outside, &volume] {
        std::fs::create_dir(directory).unwrap();
    }
    std::fs::write(volume.join("file"), "v\n").unwrap();
    // Absolute and climbing links: both exist outside, and mean something else inside.
    symlink(&outside, place.layer().join("link")).unwrap();
    std::fs::create_dir_all(place.layer().join(outside.strip_prefix("/").unwrap())).unwrap();
    symlink("../../../../../../../../tmp", place.layer().join("up")).unwrap();
    place.spec.mounts = ["/link/deep", "/up/other", "/root/made"]
        .map(|target| bind(&volume, target))
        .to_vec();
    assert_eq!(place.stdout(), "v\nv\nv\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!Path::new("/tmp/other").exists());
}

/// CVE-2021-30465: a directory of a shared volume is swapped for a link while another container starts.
#[test]
fn a_target_that_is_swapped_while_it_is_mounted_stays_inside() {
    let place = Place::new("true");
    let shared = place.directory.path().join("shared");
    let outside = place.directory.path().join("outside");
    std::fs::create_dir_all(shared.join("target")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, shared.join("swap")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let directory = std::fs::File::open(&shared).unwrap();
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&directory, "target", &directory, "swap", flags).unwrap();
            }
        });
        for _ in 0..25 {
            let mut place = Place::new("true");
            let mounted = place.directory.path().join("mounted");
            std::fs::create_dir(&mounted).unwrap();
            place.spec.mounts = vec![
                bind(&shared, "/shared"),
                bind(&mounted, "/shared/target/inner"),
            ];
            // It may fail: the link's target is not there inside. It may not reach outside.
            if let Ok(container) = place.start() {
                container.wait();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_path_inside_a_volume_cannot_climb_out() {
    let place = Place::new("true");
    let volume = place.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(place.directory.path().join("secret"), "secret").unwrap();
    symlink("../secret", volume.join("link")).unwrap();
    for subpath in ["../secret", "link", "/../secret"] {
        let mut place = Place::new("true");
        let mut mount = bind(&volume, "/data");
        if let MountSource::Bind {
            subpath: inside, ..
        } = &mut mount.source
        {
            *inside = Some(subpath.into());
        }
        place.spec.mounts = vec![mount];
        assert!(place.start().is_err(), "{subpath}");
    }
}

/// CVE-2025-31133 and its class: what is masked is masked, what is read-only stays so.
#[test]
fn what_docker_hides_is_hidden() {
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do \
            [ -e $f ] && stat -c '%n %t,%T' $f; done; \
        ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | grep -c .; \
        for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/0/smp_affinity /sys/kernel/profiling /sys/fs/cgroup/x; do \
            (echo 1 > $f) 2>/dev/null && echo WRITABLE $f; done; echo end";
    let output = Place::new(script).stdout();
    for line in output.lines().filter(|line| line.starts_with("/proc")) {
        assert!(line.ends_with(" 1,3"), "{line}");
    }
    assert!(output.contains("/proc/timer_list 1,3\n"), "{output}");
    assert!(output.ends_with("0\nend\n"), "{output}");
    let mut place = Place::new(
        "stat -c %t,%T /proc/timer_list; echo 1 > /proc/sys/net/ipv4/ip_forward && echo written",
    );
    place.spec.security.privileged = true;
    assert_eq!(place.stdout(), "0,0\nwritten\n");
}

/// CVE-2022-36109's neighbours: a hostile account file neither blocks nor confuses.
#[test]
fn hostile_account_files_do_no_harm() {
    let check = |prepare: &dyn Fn(&Path), user: &str, expected: Result<&str, &str>| {
        let mut place = Place::new("id -u");
        std::fs::remove_file(place.layer().join("etc/passwd")).unwrap();
        prepare(&place.layer().join("etc/passwd"));
        place.spec.user = user.into();
        let result = place
            .start()
            .map(|container| container.wait().stdout)
            .map_err(|failure| failure.message);
        assert_eq!(result.as_deref().map_err(String::as_str), expected);
    };
    let no_user = Err("unable to find user web: no matching entries in passwd file");
    let fifo = |path: &Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            0o644.into(),
            0,
        )
        .unwrap();
    };
    check(&fifo, "web", no_user);
    check(&|path| symlink("/dev/zero", path).unwrap(), "web", no_user);
    check(
        &|path| symlink("/proc/self/mem", path).unwrap(),
        "12",
        Ok("12\n"),
    );
    check(&|path| std::fs::create_dir(path).unwrap(), "12", Ok("12\n"));
    let many = format!("{}web:x:77:77::/:\n", "a:b\n".repeat(10_000));
    check(
        &|path| std::fs::write(path, &many).unwrap(),
        "web",
        Ok("77\n"),
    );
    let endless = "x".repeat(2 << 20) + "\nweb:x:77:77::/:\n";
    check(
        &|path| std::fs::write(path, &endless).unwrap(),
        "web",
        no_user,
    );
}

/// The container sees its own processes only, and none of the machine's mounts.
#[test]
fn the_machine_is_out_of_sight() {
    let output = Place::new("ps -o pid | wc -l; ls /sys/class/net; cat /proc/mounts | grep -c ' /merged\\| /work'; ls -di / /..| cut -d/ -f1 | sort -u | wc -l").stdout();
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() <= 4, "{output}");
    assert_eq!(lines[1..], ["lo", "0", "1"]);
}

#[test]
fn sysctls_of_the_machine_are_refused() {
    let check = |name: &str| {
        let mut place = Place::new("true");
        place.spec.sysctls.insert(name.into(), "1".into());
        hoist_engine::runtime::lower(&place.spec, &place.machine).is_err()
    };
    for name in [
        "kernel.core_pattern",
        "vm.overcommit_memory",
        "fs.file-max",
        "net/../kernel/core_pattern",
        "net.ipv4.../x",
    ] {
        assert!(check(name), "{name}");
    }
    assert!(!check("net.ipv4.ip_forward"));
}

/// A privileged neighbour of the shim, with all capabilities inside, cannot look into it or its init.
#[test]
fn processes_of_ours_cannot_be_looked_into() {
    let mut place = Place::new(
        "cat /proc/1/environ | wc -c; cat /proc/1/maps | wc -l; readlink /proc/1/cwd || echo no",
    );
    place.spec.init = true;
    let outcome = place.run();
    assert_eq!(outcome.stdout, "0\n0\nno\n", "{outcome:?}");
}
