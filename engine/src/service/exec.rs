//! Further processes in running containers.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hoist_api::ExecId;
use hoist_api::engine::TerminalSize;
use hoist_api::error::{ApiError, Result};
use hoist_api::exec::{ExecCreate, ExecCreated, ExecInspect, ProcessConfig};
use hoist_api::frame::{self, Stream};
use hoist_kernel::path::Root;
use hoist_shim::protocol::{ExecRequest, Reply, RequestBody, SignalTarget, TerminalTarget};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::attach::Streams;
use super::create::merge_env;
use super::spec::{self, Found};
use super::start::StartFailure;
use super::{Service, convert, internal};
use crate::build::owner;
use crate::containers::Container;
use crate::names;
use crate::pipes::Pipe;
use crate::runtime;
use crate::runtime::spec::{NamespaceMode, NetworkNamespace, RootFilesystem, RuntimeSpec};
use crate::shim::Shim;
use crate::store::container::{ContainerRecord, Status};

/// A further process.
#[derive(Debug)]
pub(crate) struct Exec {
    id: String,
    container: Arc<Container>,
    create: ExecCreate,
    state: Mutex<ExecState>,
    ended: watch::Sender<Option<Ended>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct ExecState {
    started: bool,
    pid: i32,
}

/// How an exec ended, and when that was first known.
#[derive(Debug, Clone, Copy)]
struct Ended {
    code: i32,
    at: Instant,
}

/// How long an exec that has ended can still be asked about; it keeps its container in memory.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The same once its container is removed.
const REMEMBERED_ALONE: Duration = Duration::from_secs(30);

impl Exec {
    fn new(container: Arc<Container>, create: ExecCreate) -> Self {
        Self {
            id: ExecId::from_bytes(names::random_id()).to_string(),
            container,
            create,
            state: Mutex::default(),
            ended: watch::Sender::new(None),
        }
    }

    fn end(&self, code: i32) {
        self.ended.send_modify(|known| {
            let at = known.map_or_else(Instant::now, |ended| ended.at);
            *known = Some(Ended { code, at });
        });
    }

    /// Its exit code, once it has ended.
    fn code(&self) -> Option<i32> {
        self.ended.borrow().map(|ended| ended.code)
    }

    /// Whether it can still be asked about.
    fn is_remembered(&self, now: Instant) -> bool {
        let Some(ended) = *self.ended.borrow() else {
            return true;
        };
        let removed = self.container.watch().borrow().removed;
        let kept = if removed {
            REMEMBERED_ALONE
        } else {
            REMEMBERED
        };
        now.saturating_duration_since(ended.at) < kept
    }

    fn state(&self) -> MutexGuard<'_, ExecState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn execs(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_exec(&self, id: &str) -> Result<Arc<Exec>> {
        self.execs()
            .get(id)
            .cloned()
            .ok_or_else(|| ApiError::not_found(format!("No such exec instance: {id}")))
    }

    /// The execs of a container, for inspect.
    pub(super) fn exec_ids(&self, container: &str) -> Option<Vec<String>> {
        let mut ids: Vec<String> = self
            .execs()
            .values()
            .filter(|exec| exec.container.id() == container && exec.code().is_none())
            .map(|exec| exec.id.clone())
            .collect();
        ids.sort();
        (!ids.is_empty()).then_some(ids)
    }

    /// Prepares a process.
    pub(crate) async fn exec_create(
        self: &Arc<Self>,
        key: &str,
        body: ExecCreate,
    ) -> Result<ExecCreated> {
        let container = self.containers.find(key)?;
        let status = container.record().run.status;
        match status {
            Status::Running => {}
            Status::Paused => {
                return Err(ApiError::conflict(format!(
                    "Container {key} is paused, unpause the container before exec"
                )));
            }
            Status::Restarting => {
                return Err(ApiError::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id()
                )));
            }
            _ => {
                return Err(ApiError::conflict(format!(
                    "container {} is not running",
                    container.id()
                )));
            }
        }
        if body.cmd.is_empty() {
            return Err(ApiError::bad_request("No exec command specified"));
        }
        if !body.user.is_empty() {
            // What is wrong is told before a client takes over the connection.
            let user = body.user.clone();
            let find = move |_: &Service, _: &ContainerRecord, root: &Root| {
                owner::find(root, &user)
                    .map(drop)
                    .map_err(|error| ApiError::bad_request(hoist_api::error::chain(&error)))
            };
            self.in_tree(&container, find).await?;
        }
        let exec = self.register(&container, body);
        self.emit_exec("exec_create", &exec);
        Ok(ExecCreated {
            id: exec.id.clone(),
        })
    }

    fn emit_exec(&self, what: &str, exec: &Exec) {
        let action = format!("{what}: {}", exec.create.cmd.join(" "));
        self.emit(&exec.container, &action, [("execID", exec.id.clone())]);
    }

    fn register(&self, container: &Arc<Container>, create: ExecCreate) -> Arc<Exec> {
        let exec = Arc::new(Exec::new(container.clone(), create));
        let mut execs = self.execs();
        let now = Instant::now();
        execs.retain(|_, old| old.is_remembered(now));
        execs.insert(exec.id.clone(), exec.clone());
        drop(execs);
        exec
    }

    /// What is known of an exec before it is started: whether it has a terminal, and its detach keys.
    pub(crate) fn exec_terms(&self, id: &str) -> Result<(bool, String)> {
        let exec = self.find_exec(id)?;
        if !exec.container.is_running() {
            return Err(exec.container.not_running());
        }
        Ok((exec.create.tty, exec.create.detach_keys.clone()))
    }

    /// Starts it, with streams for a client or without.
    pub(crate) async fn exec_start(self: &Arc<Self>, id: &str, detach: bool) -> Result<Streams> {
        let exec = self.find_exec(id)?;
        if exec.container.record().run.status == Status::Paused {
            // Its processes stand still, and one that joins them would as well.
            return Err(ApiError::conflict(format!(
                "Container {} is paused, unpause the container before exec",
                exec.container.id()
            )));
        }
        {
            let mut state = exec.state();
            if state.started {
                let message = if exec.code().is_some() {
                    format!("Error: Exec command {id} has already run")
                } else {
                    format!("Error: Exec command {id} is already running")
                };
                return Err(ApiError::conflict(message));
            }
            state.started = true;
        }
        let wanted = if detach {
            [false; 3]
        } else {
            [
                exec.create.attach_stdin,
                exec.create.attach_stdout,
                exec.create.attach_stderr,
            ]
        };
        match self.launch_exec(&exec, wanted).await {
            Ok(streams) => {
                self.emit_exec("exec_start", &exec);
                Ok(streams)
            }
            Err(failure) => {
                exec.end(match failure.exit_code {
                    // What cannot even be tried, as Docker has it.
                    128 => 126,
                    code => code,
                });
                Err(failure.error)
            }
        }
    }

    /// Starts it for a client that has its headers already: a failure is what its streams say, as Docker has it.
    /// Tells whether it runs, too.
    pub(crate) async fn exec_start_attached(
        self: &Arc<Self>,
        id: &str,
        raw: bool,
    ) -> (Streams, bool) {
        match self.exec_start(id, false).await {
            Ok(streams) => {
                let streams = Streams {
                    terminal: raw,
                    ..streams
                };
                (streams, true)
            }
            Err(error) => (said(&error.message, raw), false),
        }
    }

    /// A client has left it by the detach keys.
    pub(crate) fn exec_detached(&self, id: &str) {
        if let Ok(exec) = self.find_exec(id) {
            self.emit(
                &exec.container,
                "exec_detach",
                [("execID", exec.id.clone())],
            );
        }
    }

    async fn launch_exec(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        [stdin, stdout, stderr]: [bool; 3],
    ) -> Result<Streams, StartFailure> {
        let shim = exec
            .container
            .shim()
            .ok_or_else(|| exec.container.not_running())?;
        let record = exec.container.snapshot();
        let terminal = exec.create.tty;
        let spec = self.exec_base(&record, &self.config.cgroup_parent)?;
        let hostname = self.own_hostname(&record);
        let mut exec_spec = spec::exec_spec(&record, &exec.create, &hostname);
        exec_spec.environment = merge_env(&self.link_environment(&record), &exec_spec.environment);
        let program = runtime::lower_exec(&spec, &exec_spec, &self.machine)
            .map_err(|error| ApiError::bad_request(hoist_api::error::chain(&error)))?;
        let mut streams = Streams::none(terminal);
        let mut descriptors = Vec::new();
        if !terminal {
            streams.stdin = input(stdin, &mut descriptors)?;
            streams.stdout = output(stdout, &mut descriptors)?;
            streams.stderr = output(stderr, &mut descriptors)?;
        }
        let request = ExecRequest {
            id: exec.id.clone(),
            program,
            terminal,
        };
        let (reply, received) = shim
            .call(RequestBody::Exec(Box::new(request)), descriptors)
            .await?;
        if let Reply::Executed { pid } = reply {
            exec.state().pid = pid;
        }
        if let Some(master) = received.into_iter().next() {
            let master = Pipe::new(master).map_err(|error| internal(&error))?;
            streams.stdin = Some(master.duplicate().map_err(|error| internal(&error))?);
            streams.stdout = Some(master);
        }
        Ok(streams)
    }

    /// The container's own description, as far as a further process depends on it.
    fn exec_base(
        &self,
        record: &crate::store::container::ContainerRecord,
        cgroup_parent: &str,
    ) -> Result<RuntimeSpec> {
        let state = self.config.container_state(record.id.as_str());
        let found = Found {
            root: RootFilesystem {
                layers: Vec::new(),
                upper: state.clone(),
                work: state.clone(),
                mount_point: state.join("root"),
                read_only: false,
                volatile: false,
            },
            mounts: Vec::new(),
            devices: Vec::new(),
            network: NetworkNamespace::Passed,
            pid: NamespaceMode::Private,
            ipc: NamespaceMode::Private,
            hostname: record.config.hostname.clone(),
            seccomp: spec::seccomp_file(&record.host_config)
                .and_then(|path| std::fs::read_to_string(path).ok()),
            cgroup_parent: cgroup_parent.to_owned(),
            user_namespace: record.run.user_namespace,
        };
        spec::runtime_spec(record, found)
    }

    /// A process has ended.
    pub(super) fn exec_ended(&self, id: &str, code: i32) {
        let Ok(exec) = self.find_exec(id) else { return };
        exec.end(code);
        self.emit(
            &exec.container,
            "exec_die",
            [("execID", exec.id.clone()), ("exitCode", code.to_string())],
        );
    }

    /// The container is gone.
    pub(super) fn forget_execs(&self, container: &str) {
        self.execs()
            .retain(|_, exec| exec.container.id() != container);
    }

    /// The container has ended, and with it all its processes. They are forgotten a while later, when clients have asked.
    pub(super) fn execs_ended(&self, container: &str) {
        self.execs().retain(|_, exec| {
            if exec.container.id() != container {
                return true;
            }
            if exec.code().is_none() {
                exec.end(137);
            }
            exec.state().started
        });
    }

    /// Everything about a process.
    pub(crate) fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.find_exec(id)?;
        let (state, code) = (*exec.state(), exec.code());
        let create = &exec.create;
        Ok(ExecInspect {
            id: exec.id.clone(),
            running: state.started && code.is_none(),
            exit_code: code.map(i64::from),
            process_config: ProcessConfig {
                tty: create.tty,
                entrypoint: create.cmd.first().cloned().unwrap_or_default(),
                arguments: create.cmd.iter().skip(1).cloned().collect(),
                privileged: create.privileged,
                user: if create.user.is_empty() {
                    exec.container.record().config.user.clone()
                } else {
                    create.user.clone()
                },
            },
            open_stdin: create.attach_stdin,
            open_stderr: create.attach_stderr,
            open_stdout: create.attach_stdout,
            can_remove: false,
            container_id: exec.container.id().to_owned(),
            detach_keys: create.detach_keys.clone(),
            pid: i64::from(state.pid),
        })
    }

    /// Waits until a process has ended, so that its exit code is known when its output ends.
    pub(crate) async fn exec_finished(&self, id: &str) {
        let Ok(exec) = self.find_exec(id) else { return };
        let mut ended = exec.ended.subscribe();
        // The sender lives as long as the exec, which is held here.
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Sets its terminal's size.
    pub(crate) async fn exec_resize(&self, id: &str, size: TerminalSize) -> Result<()> {
        let exec = self.find_exec(id)?;
        let shim = exec
            .container
            .shim()
            .ok_or_else(|| exec.container.not_running())?;
        if !exec.create.tty {
            return Ok(());
        }
        if !exec.state().started || exec.code().is_some() {
            return Err(ApiError::conflict(format!("exec {id} is not running")));
        }
        let size = hoist_kernel::pty::Size {
            rows: size.height,
            columns: size.width,
        };
        let request = RequestBody::Resize {
            target: TerminalTarget::Exec(exec.id.clone()),
            size,
        };
        shim.request(request)
            .await
            .map_err(|error| convert::shim_error(&error))
    }

    /// Runs a process to its end and keeps the beginning of what it prints. When the future is dropped, the process is killed, and
    /// what it had printed is in `captured`.
    pub(super) async fn run_and_capture(
        self: &Arc<Self>,
        container: &Arc<Container>,
        mut create: ExecCreate,
        captured: &mut Vec<u8>,
        limit: usize,
    ) -> Result<i32> {
        create.attach_stdout = true;
        let shim = container.shim().ok_or_else(|| container.not_running())?;
        let exec = self.register(container, create);
        exec.state().started = true;
        self.emit_exec("exec_create", &exec);
        let mut cleanup = Forget {
            service: self.clone(),
            shim,
            id: exec.id.clone(),
            kill: true,
        };
        let launched = self.launch_exec(&exec, [false, true, true]).await;
        let mut streams = launched.map_err(|failure| failure.error)?;
        self.emit_exec("exec_start", &exec);
        let output = streams.stdout.take().zip(streams.stderr.take());
        if let Some((stdout, stderr)) = output {
            capture(stdout, stderr, captured, limit).await;
        }
        let mut ended = exec.ended.subscribe();
        let code = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ended| *ended)
            .map_or(-1, |ended| ended.code);
        cleanup.kill = false;
        Ok(code)
    }
}

/// Forgets an exec that no client knows of.
struct Forget {
    service: Arc<Service>,
    shim: Shim,
    id: String,
    kill: bool,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.service.execs().remove(&self.id);
        if self.kill {
            let (shim, id) = (self.shim.clone(), std::mem::take(&mut self.id));
            tokio::spawn(async move {
                // It may have ended by itself in the meantime.
                let _ = shim
                    .request(RequestBody::Signal {
                        target: SignalTarget::Exec(id),
                        signal: 9,
                    })
                    .await;
            });
        }
    }
}

/// Reads both streams to their ends, keeping the first bytes. When both have something to say, standard output comes first: the order
/// between two pipes is not known, and it must not change from one run to the next.
async fn capture(mut stdout: Pipe, mut stderr: Pipe, captured: &mut Vec<u8>, limit: usize) {
    let (mut one, mut other) = ([0; 4096], [0; 4096]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let (piece, open) = tokio::select! {
            biased;
            read = stdout.read(&mut one), if out_open => (&one[..*read.as_ref().unwrap_or(&0)], &mut out_open),
            read = stderr.read(&mut other), if err_open => (&other[..*read.as_ref().unwrap_or(&0)], &mut err_open),
        };
        if piece.is_empty() {
            *open = false;
        }
        let room = limit.saturating_sub(captured.len());
        captured.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// Streams on which a message is all there is.
fn said(message: &str, terminal: bool) -> Streams {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let text = format!("{message}\r\n");
    let piece = if terminal {
        text.into()
    } else {
        frame::encode(Stream::Stderr, text.as_bytes())
    };
    // The channel has room for one.
    let _ = sender.try_send(piece);
    Streams {
        replay: Some(receiver),
        ..Streams::none(terminal)
    }
}

fn null(write: bool) -> Result<OwnedFd> {
    let opened = std::fs::OpenOptions::new()
        .read(!write)
        .write(write)
        .open("/dev/null");
    opened.map(OwnedFd::from).map_err(|error| internal(&error))
}

fn input(wanted: bool, descriptors: &mut Vec<OwnedFd>) -> Result<Option<Pipe>> {
    if !wanted {
        descriptors.push(null(false)?);
        return Ok(None);
    }
    let (ours, theirs) = Pipe::writer().map_err(|error| internal(&error))?;
    descriptors.push(theirs);
    Ok(Some(ours))
}

fn output(wanted: bool, descriptors: &mut Vec<OwnedFd>) -> Result<Option<Pipe>> {
    if !wanted {
        descriptors.push(null(true)?);
        return Ok(None);
    }
    let (ours, theirs) = Pipe::reader().map_err(|error| internal(&error))?;
    descriptors.push(theirs);
    Ok(Some(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::tests::record;

    #[test]
    fn an_exec_that_ended_is_forgotten_after_a_while() {
        let exec = Exec::new(
            Arc::new(Container::new(record(1, "one"))),
            ExecCreate::default(),
        );
        let now = Instant::now();
        assert!(exec.is_remembered(now + 10 * REMEMBERED), "it runs");
        exec.end(3);
        let now = Instant::now();
        assert!(exec.is_remembered(now + REMEMBERED / 2));
        assert!(!exec.is_remembered(now + REMEMBERED));
        // Its container's end is not another one.
        exec.end(137);
        assert!(!exec.is_remembered(now + REMEMBERED));
        exec.container.announce(|phase| phase.removed = true);
        assert!(exec.is_remembered(now + REMEMBERED_ALONE / 2));
        assert!(!exec.is_remembered(now + REMEMBERED_ALONE));
    }
}
