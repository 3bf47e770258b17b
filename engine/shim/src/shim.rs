//! The shim's state and its loop: wait for something, handle it, until the container has ended and an engine
//! knows, or none can be had.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hoist_kernel::{KernelError, signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::container::Running;
use crate::engine::EngineWatch;
use crate::execs::Exec;
use crate::listener::Listener;
use crate::log_file::LogFile;
use crate::oom::OomWatch;
use crate::peers::{Peer, broadcast};
use crate::protocol::{Event, ExitRecord, ShimConfig};
use crate::streams::Streams;
use crate::{cgroup, exit_record, requests, time};

/// SIGCHLD of signal(7).
const CHILD_SIGNAL: i32 = 17;
/// How long output is read after the process has ended, when something else still holds the streams.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);
/// How long clients that read slowly may take for what is left.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// Everything a shim holds.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) config: Option<Box<ShimConfig>>,
    /// Descriptors of the program's first slots, until it starts.
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) container: Option<Running>,
    pub(crate) oom: Option<OomWatch>,
    pub(crate) ending: Option<Ending>,
    pub(crate) execs: Vec<Exec>,
    pub(crate) streams: Streams,
    pub(crate) log: Option<LogFile>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) store: BTreeMap<String, Vec<OwnedFd>>,
    pub(crate) engine: EngineWatch,
    pub(crate) listener: Option<Listener>,
    pub(crate) released: bool,
    signals: OwnedFd,
}

/// The container's process has ended; its output may not have.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) record: ExitRecord,
    since: Instant,
    /// Whether everybody has been told.
    pub(crate) told: bool,
}

/// What a descriptor that is waited for means.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Oom,
    Listener,
    Peer(usize),
    Output(usize),
    Input,
    Sink(usize),
    Feed(usize),
}

impl Shim {
    /// Makes this process a shim whose first connection is standard input.
    ///
    /// # Errors
    /// Those of the first system calls.
    pub(crate) fn take_over() -> Result<Self, KernelError> {
        let context = |call| move |errno| KernelError::new(call, "shim", errno);
        // Nobody of a container may look into or stop a process that has the machine's descriptors.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(context("prctl"))?;
        // Executed through a descriptor, its name would be that number.
        let _ = rustix::thread::set_name(c"hoist-shim");
        // Already a leader when it was started as one.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(context("prctl"))?;
        let engine =
            rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(context("dup"))?;
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(context("open"))?;
        rustix::stdio::dup2_stdin(&null).map_err(context("dup2"))?;
        Ok(Self {
            config: None,
            descriptors: Vec::new(),
            container: None,
            oom: None,
            ending: None,
            execs: Vec::new(),
            streams: Streams::default(),
            log: None,
            peers: vec![Peer::new(engine)],
            store: BTreeMap::new(),
            engine: EngineWatch::new(None),
            listener: None,
            released: false,
            signals: signal::descriptor(&[CHILD_SIGNAL])?,
        })
    }

    /// Serves until there is nothing more to do.
    ///
    /// # Errors
    /// Those of poll(2).
    pub(crate) fn run(&mut self) -> Result<(), KernelError> {
        while !self.is_done() {
            let ready = self.wait()?;
            for (source, events) in ready {
                self.handle(source, events);
            }
            if self.oom.as_mut().is_some_and(OomWatch::look) {
                broadcast(&mut self.peers, &Event::OutOfMemory);
            }
            self.finish_ending();
            self.engine.look(Instant::now());
        }
        self.clean_up();
        Ok(())
    }

    /// A shim leaves when its container has ended and an engine knows, or when it has nothing to hold and nobody
    /// to talk to.
    fn is_done(&self) -> bool {
        if self.container.is_some() && self.ending.as_ref().is_none_or(|ending| !ending.told) {
            return false;
        }
        (self.released || self.peers.is_empty()) && !self.must_wait_for_clients()
    }

    fn must_wait_for_clients(&self) -> bool {
        let patient = self
            .ending
            .as_ref()
            .is_some_and(|ending| ending.since.elapsed() < CLIENT_PATIENCE);
        patient && self.streams.has_waiting_sinks()
    }

    /// Waits for events; returns what is ready. Later indices come first, so that a removal disturbs none.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>, KernelError> {
        let wanted = self.wanted();
        let mut fds: Vec<PollFd<'_>> = wanted
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let timeout = self
            .timeout()
            .and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(KernelError::new("poll", "shim", errno)),
        }
        let ready = wanted
            .iter()
            .zip(&fds)
            .rev()
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready
            .map(|((source, ..), fd)| (*source, fd.revents()))
            .collect())
    }

    fn wanted(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut wanted = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(oom) = &self.oom {
            wanted.push((Source::Oom, oom.as_fd(), PollFlags::IN));
        }
        if let Some(listener) = &self.listener {
            wanted.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let more = if peer.has_outgoing() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            wanted.push((
                Source::Peer(index),
                peer.socket.as_fd(),
                PollFlags::IN | more,
            ));
        }
        let streams = &self.streams;
        if streams.may_read_output() {
            for (index, output) in streams.outputs.iter().enumerate() {
                if let Some(source) = &output.source {
                    wanted.push((Source::Output(index), source.as_fd(), PollFlags::IN));
                }
            }
        }
        if let (Some(input), true) = (&streams.input, streams.has_input()) {
            wanted.push((Source::Input, input.as_fd(), PollFlags::OUT));
        }
        for (index, sink) in streams.sinks.iter().enumerate() {
            // Without a wish, a closed other end is still told.
            let flags = if sink.is_waiting() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            wanted.push((Source::Sink(index), sink.client.as_fd(), flags));
        }
        if streams.may_read_input() && self.container.is_some() {
            for (index, feed) in streams.feeds.iter().enumerate() {
                wanted.push((Source::Feed(index), feed.client.as_fd(), PollFlags::IN));
            }
        }
        wanted
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let ending = self.ending.as_ref().map(|ending| {
            ending.since
                + if ending.told {
                    CLIENT_PATIENCE
                } else {
                    DRAIN_PATIENCE
                }
        });
        // Once its time has passed, an ending that was told has nothing more to wait for.
        let ending =
            ending.filter(|due| *due > now || self.ending.as_ref().is_some_and(|e| !e.told));
        let oom = self.oom.as_ref().and_then(|oom| oom.due(now));
        let due = [ending, oom, self.engine.due()];
        let due = due.into_iter().flatten().min()?;
        // Rounded up, so that it is due when poll returns.
        Some(due.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn handle(&mut self, source: Source, events: PollFlags) {
        match source {
            Source::Signals => {
                signal::drain(&self.signals);
                self.reap();
            }
            Source::Oom => {
                if let Some(oom) = &mut self.oom {
                    oom.noticed();
                }
            }
            Source::Listener => self.accept(),
            Source::Peer(index) => self.serve(index, events),
            Source::Output(index) => {
                if let Some(log) = &mut self.log {
                    self.streams.read_output(index, log);
                }
            }
            Source::Input => self.streams.flush_input(),
            Source::Sink(index)
                if events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) =>
            {
                self.streams.drop_sink(index);
            }
            Source::Sink(_) => self.streams.flush_sinks(),
            Source::Feed(index) => self.streams.read_feed(index),
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let flags = rustix::net::SocketFlags::CLOEXEC;
        if let Ok(socket) = rustix::net::accept_with(listener, flags) {
            self.engine.connected();
            self.peers.push(Peer::new(socket));
        }
    }

    fn serve(&mut self, index: usize, events: PollFlags) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let mut alive = peer.flush().is_ok();
        if alive && events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            alive = peer.receive().is_ok();
        }
        // What came before the end of the connection is still answered.
        loop {
            let Some(peer) = self.peers.get_mut(index) else {
                return;
            };
            match peer.request() {
                Ok(Some((request, descriptors))) => {
                    let number = request.number;
                    let (result, descriptors) =
                        requests::handle(self, index, request.body, descriptors);
                    let message = crate::protocol::FromShim::Reply { number, result };
                    if let Some(peer) = self.peers.get_mut(index) {
                        alive &= peer.send(&message, descriptors).is_ok();
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    crate::complain(format_args!("a connection broke the protocol: {error}"));
                    alive = false;
                    break;
                }
            }
        }
        if !alive {
            let orderly = self.peers.remove(index).leaving;
            if self.peers.is_empty() && !orderly && self.container.is_some() {
                self.engine.connection_lost();
            }
        }
    }

    /// Reaps everything that has ended: the container, further processes, orphans.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let code = exit_code(status);
            if self
                .container
                .as_ref()
                .is_some_and(|running| running.pid == pid)
            {
                self.container_ended(code, status.terminating_signal());
            } else if let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) {
                let id = self.execs.remove(index).id;
                broadcast(&mut self.peers, &Event::ExecExited { id, code });
            }
        }
    }

    fn container_ended(&mut self, code: i32, signal: Option<i32>) {
        let (Some(running), Some(config)) = (&self.container, &self.config) else {
            return;
        };
        // Before the groups go, which the watch takes for a notice.
        if self.oom.take().is_none_or(|mut oom| oom.untold())
            && cgroup::out_of_memory(&config.cgroup)
        {
            broadcast(&mut self.peers, &Event::OutOfMemory);
        }
        let record = ExitRecord {
            code,
            signal,
            out_of_memory: cgroup::out_of_memory(&config.cgroup),
            started_at: running.started.at,
            finished_at: time::now(),
        };
        // With a shared pid namespace, others of the container may live on.
        cgroup::kill(&config.cgroup);
        self.ending = Some(Ending {
            record,
            since: Instant::now(),
            told: false,
        });
    }

    /// Tells of the end once the output is read: record first, then events, so that nobody who hears of it finds
    /// less on disk.
    fn finish_ending(&mut self) {
        let (Some(ending), Some(config)) = (&mut self.ending, &self.config) else {
            return;
        };
        let drained = self.streams.are_drained() || ending.since.elapsed() >= DRAIN_PATIENCE;
        if ending.told || !drained {
            return;
        }
        ending.told = true;
        if let Some(log) = &mut self.log {
            for index in 0..self.streams.outputs.len() {
                self.streams.end_output(index, log);
            }
        }
        self.streams.close_clients();
        if let Err(error) = exit_record::write(&config.directory, &ending.record) {
            crate::complain(format_args!("{error}"));
        }
        // Once it is told, the engine may start another shim for the container at once: its groups and its socket's
        // name are free by then.
        cgroup::remove(&config.cgroup);
        self.listener = None;
        broadcast(&mut self.peers, &Event::Exited(ending.record.clone()));
    }

    /// Nobody knows of the end who could have been told: an engine is started to find the record.
    fn clean_up(&mut self) {
        self.listener = None;
        if !self.released && self.ending.is_some() {
            self.engine.ensure();
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or_default()
}
