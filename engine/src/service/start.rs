//! Starting containers. Everything is found and made in an order that can be undone; a failure undoes it and leaves the
//! reason in the record.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::error::{ApiError, ErrorKind, Result};
use hoist_shim::client::Connection;
use hoist_shim::protocol::{
    EngineCommand, Event, LogConfig, Reply, RequestBody, ShimConfig, Started, State,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::create::merge_env;
use super::networking::Joined;
use super::spec::{self, Found};
use super::{Service, convert, devices, image_error, internal};
use crate::containers::{Container, PendingAttach};
use crate::image::Image;
use crate::runtime::spec::{Mount, NamespaceMode, RootFilesystem, UserNamespace};
use crate::runtime::{self, Lowered};
use crate::shim::{Shim, ShimError, ShimProcess};
use crate::store;
use crate::store::container::{ContainerRecord, Status};
use crate::supervise::restart::Backoff;
use crate::times;

/// Who wants the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A client.
    User,
    /// The restart policy.
    Policy,
}

impl Service {
    /// Starts a container for a client.
    pub(crate) async fn start(self: &Arc<Self>, key: &str) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        let result = self.start_locked(&container, Cause::User).await;
        let failed = matches!(&result, Err(error) if !error.is(ErrorKind::NotModified) && !container.is_running());
        if failed && container.record().host_config.auto_remove {
            // Clients wait for the removal, also of what never ran.
            self.auto_remove_later(&container);
        }
        result
    }

    /// Starts it; the caller holds its operation lock.
    pub(super) async fn start_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        cause: Cause,
    ) -> Result<()> {
        let record = self.begin(container, cause)?;
        let result = self.run(container, record).await;
        if let Err(failure) = &result {
            self.start_failed(container, failure).await;
        }
        result.map_err(|failure| failure.error)
    }

    /// Checks that it may be started, and forgets the last run.
    fn begin(&self, container: &Container, cause: Cause) -> Result<ContainerRecord> {
        let mut record = container.record();
        match record.run.status {
            Status::Running => return Err(ApiError::not_modified()),
            Status::Paused => {
                return Err(ApiError::conflict(
                    "cannot start a paused container, try unpause instead",
                ));
            }
            Status::Removing | Status::Dead => {
                return Err(ApiError::conflict(
                    "container is marked for removal and cannot be started",
                ));
            }
            Status::Created | Status::Exited | Status::Restarting => {}
        }
        record.run.error.clear();
        record.run.stopped_by_user = false;
        record.run.oom_killed = false;
        record.run.health = None;
        let mut live = container.live();
        live.stopping = false;
        if let Some(restart) = live.restart.take() {
            restart.abort();
        }
        match cause {
            Cause::User => {
                live.backoff = Backoff::default();
                record.run.restart_count = 0;
            }
            Cause::Policy => record.run.restart_count += 1,
        }
        Ok(record.clone())
    }

    async fn run(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: ContainerRecord,
    ) -> Result<(), StartFailure> {
        let joined = self.join(container, &record).await?;
        let (endpoints, ports) = (joined.endpoints.clone(), joined.ports.clone());
        let user_namespace = joined.users.as_ref().map(|(ids, _)| *ids);
        let (shim, events, started) = self.launch(container, &record, joined).await?;
        {
            let mut record = container.record();
            record.run.status = Status::Running;
            record.run.pid = started.pid;
            record.run.exit_code = 0;
            record.run.user_namespace = user_namespace;
            record.run.started_at = Some(times::from_nanoseconds(started.at.0));
            record.ports = ports;
            for (network, given) in endpoints {
                record.endpoints.entry(network).or_default().given = Some(given);
            }
        }
        for warning in started.warnings {
            tracing::warn!(container = container.id(), %warning, "a container was started with less than asked for");
        }
        self.supervise(container, shim, events);
        self.save_now(container);
        self.emit_volume_use("mount", container);
        let networks = container.snapshot().endpoints;
        self.emit_networks("connect", container, networks.keys());
        self.emit(container, "start", []);
        self.tell_linking(container).await;
        Ok(())
    }

    /// Takes a running container under supervision: after a start, and after a restart of the engine.
    pub(super) fn supervise(
        self: &Arc<Self>,
        container: &Arc<Container>,
        shim: Shim,
        events: UnboundedReceiver<Event>,
    ) {
        let late = {
            let mut live = container.live();
            live.shim = Some(shim.clone());
            std::mem::take(&mut live.attach)
        };
        if !late.is_empty() {
            // These clients came while the start was under way.
            tokio::spawn(attach_late(shim.clone(), late));
        }
        container.set_log_ended(false);
        container.announce(|phase| {
            phase.running = true;
            phase.restarting = false;
        });
        self.start_health(container);
        tokio::spawn(self.clone().follow_shim(container.clone(), shim, events));
    }

    async fn launch(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: &ContainerRecord,
        mut joined: Joined,
    ) -> Result<(Shim, UnboundedReceiver<Event>, Started), StartFailure> {
        let config = record.clone();
        let mut descriptors: Vec<OwnedFd> = joined.descriptor.take().into_iter().collect();
        let stored = std::mem::take(&mut joined.stored);
        let (shim_config, (connection, process), more) = self
            .blocking(move |service| {
                let users = joined.users.take();
                let mounts = service.runtime_mounts(&config, &joined, users.as_ref())?;
                let (ids, namespace) = users.unzip();
                let lowered = service.lower(&config, (&joined, mounts.mounts), ids)?;
                let shim_config = service.shim_config(&config, lowered)?;
                let connection = service.spawn_shim(&config)?;
                // In the order of their slots.
                let more: Vec<OwnedFd> = namespace.into_iter().chain(mounts.passed).collect();
                Ok((shim_config, connection, more))
            })
            .await?;
        descriptors.extend(more);
        let (shim, events) = Shim::drive(connection).map_err(|error| internal(&error))?;
        container.live().process = Some(process);
        shim.call(RequestBody::Configure(Box::new(shim_config)), descriptors)
            .await?;
        for (name, descriptors) in stored {
            shim.call(RequestBody::StoreFds { name }, descriptors)
                .await?;
        }
        let waiting = std::mem::take(&mut container.live().attach);
        for attach in waiting {
            shim.call(attach.request, attach.descriptors).await?;
        }
        match shim.call(RequestBody::Start, Vec::new()).await? {
            (Reply::Started(started), _) => Ok((shim, events, started)),
            // The command ended before the reply was written: its status tells.
            _ => match shim.call(RequestBody::Status, Vec::new()).await? {
                (Reply::Status(status), _) => match status.state {
                    State::Running(started) => Ok((shim, events, started)),
                    _ => Err(ShimError::Gone.into()),
                },
                _ => Err(ShimError::Gone.into()),
            },
        }
    }

    /// Undoes what a failed start made, and keeps the reason.
    async fn start_failed(self: &Arc<Self>, container: &Arc<Container>, failure: &StartFailure) {
        self.leave(container).await;
        let directory = self.config.container_state(container.id());
        let removed = self
            .blocking(move |_| {
                store::remove_directory(&directory).map_err(|error| internal(&error))
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(container = container.id(), %error, "cannot clean up after a failed start");
        }
        {
            let mut record = container.record();
            record.run.error.clone_from(&failure.error.message);
            record.run.exit_code = i64::from(failure.exit_code);
            if record.run.status == Status::Restarting {
                record.run.status = Status::Exited;
            }
            record.ports.clear();
        }
        {
            let mut live = container.live();
            live.attach.clear();
            live.process = None;
        }
        container.announce(|phase| {
            phase.running = false;
            phase.restarting = false;
            phase.exits += 1;
            phase.exit_code = i64::from(failure.exit_code);
        });
        self.save_now(container);
    }

    /// Finds what the record names and makes the programs that the shim carries out.
    fn lower(
        &self,
        record: &ContainerRecord,
        (joined, mounts): (&Joined, Vec<Mount>),
        user_namespace: Option<UserNamespace>,
    ) -> Result<Lowered> {
        let image = self.images.resolve(&record.image_id).map_err(image_error)?;
        let found = Found {
            root: self.root_filesystem(record, &image)?,
            mounts,
            devices: devices::of(record)?,
            network: joined.network,
            pid: self.shared_namespace(&record.host_config.pid_mode, "PID")?,
            ipc: self.shared_namespace(&record.host_config.ipc_mode, "IPC")?,
            hostname: joined.hostname.clone(),
            seccomp: spec::seccomp_file(&record.host_config)
                .map(|path| {
                    fs::read_to_string(&path)
                        .map_err(|error| unreadable("seccomp profile", &path, &error))
                })
                .transpose()?,
            cgroup_parent: self.config.cgroup_parent.clone(),
            user_namespace,
        };
        let mut spec = spec::runtime_spec(record, found)?;
        spec.environment = merge_env(&self.link_environment(record), &spec.environment);
        let lowered = runtime::lower(&spec, &self.machine).map_err(|error| {
            ApiError::new(ErrorKind::BadRequest, hoist_api::error::chain(&error))
        })?;
        for warning in &lowered.warnings {
            tracing::warn!(container = record.id.as_str(), %warning, "not everything asked for can be had here");
        }
        Ok(lowered)
    }

    pub(super) fn root_filesystem(
        &self,
        record: &ContainerRecord,
        image: &Image,
    ) -> Result<RootFilesystem> {
        let own = self.config.container_root(record.id.as_str());
        let state = self.config.container_state(record.id.as_str());
        let root = RootFilesystem {
            layers: image.layers.clone(),
            upper: own.join("upper"),
            work: own.join("work"),
            mount_point: state.join("root"),
            read_only: record.host_config.readonly_rootfs,
            volatile: false,
        };
        for directory in [&root.upper, &root.work, &root.mount_point] {
            store::make_directory(directory).map_err(|error| internal(&error))?;
        }
        // The upper directory's mode is the root's as processes see it.
        fs::set_permissions(
            &root.upper,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .map_err(|error| unreadable("writable layer", &root.upper, &error))?;
        Ok(root)
    }

    /// `host`, `container:<id>` or the container's own.
    fn shared_namespace(&self, mode: &str, what: &str) -> Result<NamespaceMode> {
        if mode == "host" {
            return Ok(NamespaceMode::Host);
        }
        let Some(id) = mode.strip_prefix("container:") else {
            return Ok(NamespaceMode::Private);
        };
        let other = self.containers.find(id)?;
        let (run, ipc) = {
            let record = other.record();
            (record.run.clone(), record.host_config.ipc_mode.clone())
        };
        if what == "IPC" && matches!(ipc.as_str(), "none" | "private") {
            return Err(ApiError::new(
                ErrorKind::Internal,
                format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                ),
            ));
        }
        if !run.status.is_alive() {
            return Err(ApiError::new(
                ErrorKind::Internal,
                format!(
                    "failed to join {what} namespace: cannot join {what} of a non running container: container {id} is not running"
                ),
            ));
        }
        Ok(NamespaceMode::Join(run.pid))
    }

    fn shim_config(&self, record: &ContainerRecord, lowered: Lowered) -> Result<ShimConfig> {
        let host = &record.host_config;
        let mut streams = lowered.streams;
        streams.terminal = record.config.tty;
        streams.stdin_open = record.config.open_stdin;
        streams.stdin_once = record.config.stdin_once;
        Ok(ShimConfig {
            id: record.id.to_string(),
            directory: self.config.container_state(record.id.as_str()),
            program: lowered.program,
            cgroup: lowered.cgroup,
            oom_score_adj: i32::try_from(host.oom_score_adj)
                .ok()
                .filter(|adjustment| *adjustment != 0),
            streams,
            log: log_config(&self.log_path(record.id.as_str()), &host.log_config)?,
            engine: self.engine_command(),
        })
    }

    /// Where a container's log is.
    pub(super) fn log_path(&self, id: &str) -> PathBuf {
        self.config
            .container_root(id)
            .join("log")
            .join(format!("{id}-json.log"))
    }

    fn engine_command(&self) -> Option<EngineCommand> {
        if self.config.command.is_empty() {
            return None;
        }
        let keep = ["PATH", "HOME", "LANG", "RUST_LOG", "XDG_RUNTIME_DIR"];
        let environment = keep
            .iter()
            .filter_map(|name| {
                std::env::var(name)
                    .ok()
                    .map(|value| format!("{name}={value}"))
            })
            .collect();
        Some(EngineCommand {
            argv: self.config.command.clone(),
            environment,
            socket: self.config.socket.clone(),
        })
    }

    fn spawn_shim(&self, record: &ContainerRecord) -> Result<(Connection, ShimProcess)> {
        let id = record.id.as_str();
        if let Some(directory) = self.log_path(id).parent() {
            store::make_directory(directory).map_err(|error| internal(&error))?;
        }
        let path = self.config.container_state(id).join("shim.log");
        let messages = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| unreadable("shim's messages", &path, &error))?;
        let (connection, child) = self
            .shim_program
            .spawn(record.id.short(), messages)
            .map_err(|error| internal(&error))?;
        Ok((connection, ShimProcess::new(child)))
    }
}

async fn attach_late(shim: Shim, late: Vec<PendingAttach>) {
    for attach in late {
        if let Err(error) = shim.call(attach.request, attach.descriptors).await {
            // Its streams close, and the client sees the end.
            tracing::debug!(%error, "a client attached too late");
        }
    }
}

/// A failed start: the error for the caller and the exit code for the record.
pub(super) struct StartFailure {
    pub(super) error: ApiError,
    pub(super) exit_code: i32,
}

impl From<ApiError> for StartFailure {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            exit_code: 128,
        }
    }
}

impl From<ShimError> for StartFailure {
    fn from(error: ShimError) -> Self {
        let exit_code = match &error {
            ShimError::Refused(failure) => failure.exit_code,
            _ => 128,
        };
        Self {
            error: convert::shim_error(&error),
            exit_code,
        }
    }
}

fn unreadable(what: &str, path: &Path, error: &std::io::Error) -> ApiError {
    ApiError::new(
        ErrorKind::Internal,
        format!("cannot use the {what} {}: {error}", path.display()),
    )
}

/// `max-size` and `max-file` as Docker's json-file driver takes them.
fn log_config(path: &Path, wire: &hoist_api::host_config::LogConfig) -> Result<LogConfig> {
    if wire.driver == "none" {
        return Ok(LogConfig {
            path: None,
            max_size: None,
            max_file: 1,
        });
    }
    let option = |name: &str| {
        wire.config
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let invalid = |name: &str, value: &str| {
        ApiError::bad_request(format!("invalid log option {name}={value}"))
    };
    let max_size = match option("max-size") {
        None | Some("-1") => None,
        Some(value) => Some(super::mounts::bytes(value).ok_or_else(|| invalid("max-size", value))?),
    };
    let max_file = match option("max-file") {
        None => 1,
        Some(value) => value
            .parse()
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| invalid("max-file", value))?,
    };
    Ok(LogConfig {
        path: Some(path.to_owned()),
        max_size,
        max_file,
    })
}

/// Opens the network namespace of a process.
pub(super) fn open_network_namespace(pid: i32) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    File::open(&path)
        .map(OwnedFd::from)
        .map_err(|error| unreadable("network namespace", &path, &error))
}
