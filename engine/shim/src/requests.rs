//! What is done for each request.

use std::os::fd::{AsFd, OwnedFd};

use hoist_kernel::init::program::IdRange;
use hoist_kernel::{pidfd, pty, userns};
use rustix::io::Errno;

use crate::json_log::Stream;
use crate::listener::Listener;
use crate::log_file::LogFile;
use crate::oom::OomWatch;
use crate::protocol::{
    ExecRequest, Failure, Reply, RequestBody, ShimConfig, SignalTarget, State, Status,
    TerminalTarget,
};
use crate::shim::Shim;
use crate::{cgroup, container, execs, exit_record, wording};

type Answer = (Result<Reply, Failure>, Vec<OwnedFd>);

/// Does what a request of the connection `peer` asks.
pub(crate) fn handle(
    shim: &mut Shim,
    peer: usize,
    request: RequestBody,
    descriptors: Vec<OwnedFd>,
) -> Answer {
    let done = |result: Result<(), Failure>| (result.map(|()| Reply::Done), Vec::new());
    match request {
        RequestBody::Configure(config) => done(configure(shim, config, descriptors)),
        RequestBody::Start => (start(shim), Vec::new()),
        RequestBody::Status => (Ok(Reply::Status(Box::new(status(shim)))), Vec::new()),
        RequestBody::Signal { target, signal } => done(send_signal(shim, &target, signal)),
        RequestBody::Exec(request) => exec(shim, *request, descriptors),
        RequestBody::Resize { target, size } => done(resize(shim, &target, size)),
        RequestBody::Attach {
            stdin,
            stdout,
            stderr,
        } => done(attach(shim, [stdin, stdout, stderr], descriptors)),
        RequestBody::CloseStdin => {
            shim.streams.close_input();
            done(Ok(()))
        }
        RequestBody::StoreFds { name } => {
            shim.store.insert(name, descriptors);
            done(Ok(()))
        }
        RequestBody::TakeFds { name } => stored(shim, &name),
        RequestBody::DropFds { name } => {
            shim.store.remove(&name);
            done(Ok(()))
        }
        RequestBody::EngineLeaving => {
            if let Some(peer) = shim.peers.get_mut(peer) {
                peer.leaving = true;
            }
            done(Ok(()))
        }
        RequestBody::Release => {
            shim.released = true;
            done(Ok(()))
        }
        RequestBody::MakeNamespaces { users, groups } => {
            make_namespaces((&users, &groups), descriptors)
        }
    }
}

fn configure(
    shim: &mut Shim,
    config: Box<ShimConfig>,
    descriptors: Vec<OwnedFd>,
) -> Result<(), Failure> {
    if shim.config.is_some() {
        return Err(wording::plain("the shim is configured already"));
    }
    shim.log = Some(LogFile::open(config.log.clone()).map_err(|error| {
        let path = config.log.path.clone().unwrap_or_default();
        wording::plain(format!("cannot open the log {}: {error}", path.display()))
    })?);
    exit_record::remove(&config.directory).map_err(|error| wording::plain(error.to_string()))?;
    let listener = Listener::bind(&config.directory);
    shim.listener = Some(listener.map_err(|error| wording::plain(error.to_string()))?);
    shim.engine = crate::engine::EngineWatch::new(config.engine.clone());
    shim.descriptors = descriptors;
    shim.config = Some(config);
    Ok(())
}

fn start(shim: &mut Shim) -> Result<Reply, Failure> {
    let Some(config) = &shim.config else {
        return Err(wording::plain("the shim is not configured"));
    };
    if shim.container.is_some() {
        return Err(wording::plain("the container is started already"));
    }
    let descriptors = std::mem::take(&mut shim.descriptors);
    match container::start(config, descriptors, &mut shim.streams) {
        Ok(running) => {
            let started = running.started.clone();
            shim.oom = config.cgroup.oom.as_ref().and_then(OomWatch::open);
            shim.container = Some(running);
            Ok(Reply::Started(started))
        }
        Err(failure) => {
            // Before the answer: the engine may start another shim for the container at once.
            cgroup::remove(&config.cgroup);
            shim.listener = None;
            Err(failure)
        }
    }
}

fn status(shim: &Shim) -> Status {
    let state = match (&shim.ending, &shim.container) {
        (Some(ending), _) if ending.told => State::Exited(ending.record.clone()),
        (_, Some(running)) => State::Running(running.started.clone()),
        (_, None) => State::Created,
    };
    Status {
        id: shim
            .config
            .as_ref()
            .map(|config| config.id.clone())
            .unwrap_or_default(),
        shim_pid: rustix::process::getpid().as_raw_nonzero().get(),
        state,
        execs: shim
            .execs
            .iter()
            .map(|exec| (exec.id.clone(), exec.pid))
            .collect(),
        stored: shim.store.keys().cloned().collect(),
    }
}

fn make_namespaces((users, groups): (&[IdRange], &[IdRange]), descriptors: Vec<OwnedFd>) -> Answer {
    let made = match descriptors.into_iter().next() {
        Some(user) => userns::create_network(user.as_fd()).map(|network| vec![user, network]),
        None => userns::create(users, groups).map(|made| vec![made.user, made.network]),
    };
    match made {
        Ok(made) => (Ok(Reply::Stored), made),
        Err(error) => (Err(wording::namespaces_error(&error)), Vec::new()),
    }
}

fn send_signal(shim: &Shim, target: &SignalTarget, signal: i32) -> Result<(), Failure> {
    let (Some(running), Some(config)) = (&shim.container, &shim.config) else {
        return Err(not_running());
    };
    let process = match target {
        SignalTarget::Everything => {
            cgroup::kill(&config.cgroup);
            // Without control groups, the first process takes its pid namespace with it.
            let _ = pidfd::send_signal(&running.pidfd, 9);
            return Ok(());
        }
        SignalTarget::Container if shim.ending.is_some() => return Err(not_running()),
        SignalTarget::Container => &running.pidfd,
        SignalTarget::Exec(id) => &find_exec(shim, id)?.pidfd,
    };
    pidfd::send_signal(process, signal).map_err(|error| Failure {
        message: error.to_string(),
        errno: error.errno.raw_os_error(),
        exit_code: 1,
    })
}

fn exec(shim: &mut Shim, request: ExecRequest, streams: Vec<OwnedFd>) -> Answer {
    let (Some(running), Some(config), None) = (&shim.container, &shim.config, &shim.ending) else {
        return (Err(not_running()), Vec::new());
    };
    let limits = (&config.cgroup, config.oom_score_adj);
    let exec = match execs::start(request, streams, &running.pidfd, limits) {
        Ok(exec) => exec,
        Err(failure) => return (Err(failure), Vec::new()),
    };
    let master = exec
        .terminal
        .as_ref()
        .and_then(|master| rustix::io::fcntl_dupfd_cloexec(master, 3).ok());
    let reply = Reply::Executed { pid: exec.pid };
    shim.execs.push(exec);
    (Ok(reply), master.into_iter().collect())
}

fn resize(shim: &Shim, target: &TerminalTarget, size: pty::Size) -> Result<(), Failure> {
    let terminal = match target {
        TerminalTarget::Container => shim
            .container
            .as_ref()
            .and_then(|running| running.terminal.as_ref()),
        TerminalTarget::Exec(id) => find_exec(shim, id)?.terminal.as_ref(),
    };
    let terminal = terminal.ok_or_else(|| wording::plain("there is no terminal"))?;
    pty::set_size(terminal.as_fd(), size).map_err(|error| wording::plain(error.to_string()))
}

fn attach(shim: &mut Shim, wanted: [bool; 3], descriptors: Vec<OwnedFd>) -> Result<(), Failure> {
    if descriptors.len() != wanted.iter().filter(|wanted| **wanted).count() {
        return Err(wording::plain(
            "an attachment needs one descriptor for each stream",
        ));
    }
    if shim.ending.as_ref().is_some_and(|ending| ending.told) {
        return Err(not_running());
    }
    let mut descriptors = descriptors.into_iter();
    let [stdin, stdout, stderr] =
        wanted.map(|wanted| if wanted { descriptors.next() } else { None });
    if let Some(stdin) = stdin {
        shim.streams.add_feed(stdin);
    }
    for (stream, client) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
        if let Some(client) = client {
            shim.streams.add_sink(stream, client);
        }
    }
    Ok(())
}

fn stored(shim: &Shim, name: &str) -> Answer {
    let kept = shim.store.get(name).map(Vec::as_slice).unwrap_or_default();
    let copies: rustix::io::Result<Vec<OwnedFd>> = kept
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3))
        .collect();
    match copies {
        Ok(copies) => (Ok(Reply::Stored), copies),
        Err(errno) => (
            Err(wording::plain(format!("cannot give descriptors: {errno}"))),
            Vec::new(),
        ),
    }
}

fn find_exec<'shim>(shim: &'shim Shim, id: &str) -> Result<&'shim execs::Exec, Failure> {
    shim.execs
        .iter()
        .find(|exec| exec.id == id)
        .ok_or_else(|| Failure {
            message: format!("exec {id} is not running"),
            errno: Errno::SRCH.raw_os_error(),
            exit_code: 1,
        })
}

fn not_running() -> Failure {
    Failure {
        message: "the container is not running".to_owned(),
        errno: Errno::SRCH.raw_os_error(),
        exit_code: 1,
    }
}
