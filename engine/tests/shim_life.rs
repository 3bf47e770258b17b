//! The shim's life with engines that come and go, and what becomes of a container whose shim dies.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use hoist_kernel::pidfd;
use hoist_shim::protocol::{EngineCommand, Event, Reply, RequestBody, SignalTarget, State};
use support::{Place, wait_until};

#[test]
fn a_container_outlives_its_engine_and_a_new_one_takes_over() {
    let place =
        Place::new("echo one; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo two; exit 3");
    let container = place.start().unwrap();
    let pid = container.started.pid;
    let support::Container {
        connection,
        mut child,
        ..
    } = container;
    // The engine dies: nothing is said.
    drop(connection);
    let mut second = place.connect();
    let mut third = place.connect();
    for connection in [&mut second, &mut third] {
        let (Reply::Status(status), _) = connection.call(RequestBody::Status, Vec::new()).unwrap()
        else {
            panic!("no status");
        };
        let State::Running(started) = status.state else {
            panic!("{:?}", status.state)
        };
        assert_eq!(
            (started.pid, status.id.as_str()),
            (pid, place.spec.id.as_str())
        );
    }
    std::fs::write(place.directory.path().join("upper/tmp/go"), "").unwrap_or_else(|_| {
        std::fs::create_dir_all(place.directory.path().join("upper/tmp")).unwrap();
    });
    let go = format!("/proc/{pid}/root/tmp/go");
    std::fs::write(go, "").unwrap();
    for connection in [&mut second, &mut third] {
        let Event::Exited(record) = connection.event().unwrap() else {
            panic!("another event")
        };
        assert_eq!(record.code, 3);
    }
    second.call(RequestBody::Release, Vec::new()).unwrap();
    assert!(child.wait().unwrap().success());
    let log = std::fs::read_to_string(place.state().join("log")).unwrap();
    assert_eq!(support::text_of(&log, "stdout"), "one\ntwo\n");
}

#[test]
fn descriptors_are_kept_for_the_next_engine() {
    let place = Place::new("sleep 60");
    let mut container = place.start().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let store = RequestBody::StoreFds { name: "dns".into() };
    container.connection.call(store, vec![reader]).unwrap();
    rustix::io::write(&writer, b"kept").unwrap();
    drop(writer);
    let mut next = place.connect();
    let (_, fds) = next
        .call(RequestBody::TakeFds { name: "dns".into() }, Vec::new())
        .unwrap();
    let [fd]: [OwnedFd; 1] = fds.try_into().unwrap();
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!(text, "kept");
    let (_, none) = next
        .call(
            RequestBody::TakeFds {
                name: "other".into(),
            },
            Vec::new(),
        )
        .unwrap();
    assert!(none.is_empty());
    next.call(RequestBody::DropFds { name: "dns".into() }, Vec::new())
        .unwrap();
    let (Reply::Status(status), _) = next.call(RequestBody::Status, Vec::new()).unwrap() else {
        panic!("no status");
    };
    assert!(status.stored.is_empty());
    container.kill();
}

/// An "engine" that only leaves a mark.
fn marking_engine(place: &mut Place) -> std::path::PathBuf {
    let mark = place.directory.path().join("engine-started");
    place.engine = Some(EngineCommand {
        argv: vec![
            "/bin/sh".into(),
            "-c".into(),
            format!("echo $MARK >> {}", mark.display()),
        ],
        environment: vec!["MARK=started".into()],
        socket: place.directory.path().join("engine.sock"),
    });
    mark
}

#[test]
fn an_engine_is_started_when_the_connection_breaks_and_none_answers() {
    let mut place = Place::new("sleep 60");
    let mark = marking_engine(&mut place);
    let container = place.start().unwrap();
    let pid = container.started.pid;
    let support::Container {
        connection,
        mut child,
        ..
    } = container;
    drop(connection);
    wait_until("the engine", || {
        std::fs::read_to_string(&mark)
            .ok()
            .filter(|text| text == "started\n")
    });
    let mut next = place.connect();
    next.call(
        RequestBody::Signal {
            target: SignalTarget::Everything,
            signal: 9,
        },
        Vec::new(),
    )
    .unwrap();
    next.event().unwrap();
    next.call(RequestBody::Release, Vec::new()).unwrap();
    child.wait().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn no_engine_is_started_while_one_answers_or_has_left_in_order() {
    let mut place = Place::new("sleep 60");
    let mark = marking_engine(&mut place);
    let listener =
        std::os::unix::net::UnixListener::bind(place.directory.path().join("engine.sock")).unwrap();
    let support::Container {
        connection,
        mut child,
        ..
    } = place.start().unwrap();
    drop(connection);
    // The shim comes to see whether an engine lives.
    listener.accept().unwrap();
    let mut next = place.connect();
    drop(listener);
    std::fs::remove_file(place.directory.path().join("engine.sock")).unwrap();
    next.call(RequestBody::EngineLeaving, Vec::new()).unwrap();
    drop(next);
    let mut last = place.connect();
    last.call(RequestBody::Status, Vec::new()).unwrap();
    assert!(!mark.exists());
    last.call(
        RequestBody::Signal {
            target: SignalTarget::Container,
            signal: 9,
        },
        Vec::new(),
    )
    .unwrap();
    last.event().unwrap();
    last.call(RequestBody::Release, Vec::new()).unwrap();
    child.wait().unwrap();
    assert!(!mark.exists(), "the engine knew of the end");
}

#[test]
fn an_end_without_an_engine_is_recorded_and_starts_one() {
    let mut place = Place::new("while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 5");
    let mark = marking_engine(&mut place);
    let container = place.start().unwrap();
    let pid = container.started.pid;
    let support::Container {
        mut connection,
        mut child,
        ..
    } = container;
    connection
        .call(RequestBody::EngineLeaving, Vec::new())
        .unwrap();
    drop(connection);
    std::fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    assert!(child.wait().unwrap().success());
    let record = hoist_shim::exit_record::read(&place.state())
        .unwrap()
        .unwrap();
    assert_eq!(record.code, 5);
    wait_until("the engine", || mark.exists().then_some(()));
    assert!(!place.state().join("shim.sock").exists());
}

#[test]
fn a_container_dies_with_its_shim() {
    let place = Place::new("sleep 60 & sleep 60");
    let container = place.start().unwrap();
    let init = pidfd::open(container.started.pid).unwrap();
    let support::Container { mut child, .. } = container;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(pidfd::wait_ended(init.as_fd(), Duration::from_secs(5)).unwrap());
    remove_groups(&place);
}

/// What an engine does when it finds a container without its shim.
fn remove_groups(place: &Place) {
    let machine = &place.machine.cgroups;
    let v1 = machine
        .v1
        .iter()
        .map(|hierarchy| hierarchy.mount_point.clone());
    for mount_point in v1.chain(machine.v2.iter().map(|tree| tree.mount_point.clone())) {
        let group = mount_point.join(&place.spec.cgroup);
        wait_until("the group's end", || {
            (!group.exists() || std::fs::remove_dir(&group).is_ok()).then_some(())
        });
    }
}

#[test]
fn a_shim_whose_engine_dies_before_the_start_leaves() {
    let place = Place::new("true");
    let (connection, mut child) = place.configure().unwrap();
    drop(connection);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_peer_that_breaks_the_protocol_disturbs_nobody() {
    let place = Place::new("sleep 60");
    let container = place.start().unwrap();
    let bad = place.connect();
    rustix::io::write(&bad, &[0xff; 64]).unwrap();
    let mut buffer = [0; 1];
    assert_eq!(rustix::io::read(&bad, &mut buffer), Ok(0), "it is closed");
    container.kill();
}

#[test]
fn a_slow_client_stops_the_output_and_a_gone_one_does_not() {
    let place = Place::new("head -c 6000000 /dev/zero | tr '\\0' x; echo; echo done");
    let (mut connection, mut child) = place.configure().unwrap();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let attach = RequestBody::Attach {
        stdin: false,
        stdout: true,
        stderr: false,
    };
    connection.call(attach, vec![writer]).unwrap();
    connection.call(RequestBody::Start, Vec::new()).unwrap();
    let log = place.state().join("log");
    wait_until("some output", || {
        std::fs::metadata(&log)
            .ok()
            .filter(|data| data.len() > 500_000)
    });
    drop(reader);
    connection.event().unwrap();
    connection.call(RequestBody::Release, Vec::new()).unwrap();
    child.wait().unwrap();
    let text = support::text_of(&std::fs::read_to_string(log).unwrap(), "stdout");
    assert!(text.ends_with("done\n"));
    assert_eq!(text.len(), 6_000_006);
}

/// What an engine does that restarts a container: the old shim must not take away what the new one has made.
#[test]
fn an_old_shim_leaves_what_its_successor_made() {
    let place = Place::new("sleep 60");
    let mut old = place.start().unwrap();
    old.call(RequestBody::Signal {
        target: SignalTarget::Container,
        signal: 9,
    });
    let Event::Exited(_) = old.connection.event().unwrap() else {
        panic!("another event")
    };
    // Before the old one is released.
    let new = place.start().unwrap();
    old.call(RequestBody::Release);
    assert!(old.child.wait().unwrap().success());
    let mut connection = place.connect();
    let (Reply::Status(status), _) = connection.call(RequestBody::Status, Vec::new()).unwrap()
    else {
        panic!("no status");
    };
    assert!(matches!(status.state, State::Running(started) if started.pid == new.started.pid));
    assert!(
        hoist_shim::exit_record::read(&place.state())
            .unwrap()
            .is_none()
    );
    new.kill();
}

#[test]
fn a_failed_start_leaves_the_next_one_alone() {
    let mut place = Place::with_argv(&["nothing"]);
    let (mut failed, mut failed_shim) = place.configure().unwrap();
    failed.call(RequestBody::Start, Vec::new()).unwrap_err();
    place.spec.argv = vec!["sleep".into(), "60".into()];
    let container = place.start().unwrap();
    drop(failed);
    assert!(failed_shim.wait().unwrap().success());
    let mut connection = place.connect();
    let (Reply::Status(status), _) = connection.call(RequestBody::Status, Vec::new()).unwrap()
    else {
        panic!("no status");
    };
    assert!(matches!(status.state, State::Running(_)));
    drop(connection);
    container.kill();
}
