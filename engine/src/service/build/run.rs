//! `RUN`: a process of our own runtime, in an overlay of the layers so far and a new one. It is no container: nobody lists it,
//! nothing restarts it, and it ends with its build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hoist_api::build::BuildEvent;
use hoist_api::container::ContainerConfig;
use hoist_api::host_config::HostConfig;
use hoist_dockerfile::{RunOp, Security};
use hoist_shim::protocol::{
    Event, ExitRecord, LogConfig, Reply, RequestBody, ShimConfig, SignalTarget,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::networking::Joined;
use super::super::spec::{self, Found};
use super::super::{Service, convert, internal};
use super::network::{self, Sandbox};
use super::run_mounts::{self, Mounted};
use super::steps::Build;
use crate::build::error::BuildError;
use crate::build::remains;
use crate::build::report::{Reporter, Tail};
use crate::image::StagedLayer;
use crate::pipes::Pipe;
use crate::runtime::spec::{FileIds, Mount, MountSource, NamespaceMode, RootFilesystem};
use crate::runtime::{self, Lowered};
use crate::shim::{Shim, ShimProcess};
use crate::store;
use crate::store::container::ContainerRecord;

const HOSTNAME: &str = "hoist-build";
const SHM_SIZE: i64 = 64 << 20;
const PIECE: usize = 16 << 10;
/// How long a process's output may go on after its end while something holds the other end.
const SILENCE: Duration = Duration::from_secs(1);

/// A `RUN` that is to be done.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) build: &'a Arc<Build>,
    pub(super) op: &'a RunOp,
    pub(super) step: u32,
    /// The layers below, lowest first.
    pub(super) layers: Vec<PathBuf>,
    /// Where the new layer is made.
    pub(super) staged: &'a StagedLayer,
    pub(super) mounted: Mounted,
    pub(super) tail: &'a Tail,
}

impl Run<'_> {
    /// Runs the command to its end; another code than 0 is [`BuildError::Exit`].
    pub(super) async fn run(self) -> Result<(), BuildError> {
        let service = &self.build.service;
        let record = self.record()?;
        let sandbox = self.build.sandboxes.take(service, &record).await?;
        let id = record.id.to_string();
        let result = self.run_in(&record, &sandbox).await;
        network::remove_state(service, &id).await;
        self.build.sandboxes.put(sandbox);
        let exit = result?;
        if self.build.reporter.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        match exit.code {
            0 => Ok(()),
            _ if exit.out_of_memory => Err(BuildError::Refused(format!(
                "process {:?} was killed: out of memory",
                self.op.argv.join(" ")
            ))),
            code => Err(BuildError::Exit {
                command: self.op.argv.join(" "),
                code: code.into(),
            }),
        }
    }

    fn record(&self) -> Result<ContainerRecord, BuildError> {
        let (request, op) = (&self.build.request, self.op);
        let privileged = op.security == Security::Insecure;
        let mut env: Vec<String> = op
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let proxies = self.build.graph.proxy.iter();
        env.extend(proxies.map(|(name, value)| format!("{name}={value}")));
        env.extend(self.mounted.env.iter().cloned());
        let config = ContainerConfig {
            hostname: HOSTNAME.to_owned(),
            user: op.user.clone(),
            env,
            cmd: Some(op.argv.clone()),
            working_dir: op.workdir.clone(),
            ..ContainerConfig::default()
        };
        let host_config = HostConfig {
            network_mode: self.network_mode(),
            privileged,
            shm_size: if request.shm_size > 0 {
                request.shm_size
            } else {
                SHM_SIZE
            },
            ulimits: request.ulimits.clone(),
            extra_hosts: request
                .extra_hosts
                .iter()
                .map(|host| host.replacen('=', ":", 1))
                .collect(),
            memory: request.memory,
            memory_swap: request.memory_swap,
            cpu_shares: request.cpu_shares,
            cpu_quota: request.cpu_quota,
            cpu_period: request.cpu_period,
            cpuset_cpus: request.cpuset_cpus.clone(),
            cpuset_mems: request.cpuset_mems.clone(),
            cgroup_parent: request.cgroup_parent.clone(),
            // The layer has the machine's ids.
            userns_mode: "host".to_owned(),
            ..HostConfig::default()
        };
        Ok(ContainerRecord {
            config,
            host_config,
            ..network::blank()
        })
    }

    /// The instruction's own network; by default that of the build.
    fn network_mode(&self) -> String {
        match self.op.network {
            hoist_dockerfile::Network::None => "none".to_owned(),
            hoist_dockerfile::Network::Host => "host".to_owned(),
            hoist_dockerfile::Network::Default => match self.build.request.network.as_str() {
                "" | "default" => "bridge".to_owned(),
                named => named.to_owned(),
            },
        }
    }

    async fn run_in(
        &self,
        record: &ContainerRecord,
        sandbox: &Sandbox,
    ) -> Result<ExitRecord, BuildError> {
        let service = &self.build.service;
        let mut joined = sandbox.lend()?;
        let mut descriptors = Vec::new();
        if sandbox.has_namespace() {
            descriptors.extend(joined.descriptor.take());
        }
        for mount in &self.mounted.passed {
            let copy = mount.try_clone();
            descriptors.push(copy.map_err(|error| BuildError::io("pass", "a mount", error))?);
        }
        let lowered = self.lower(record, &joined)?;
        let config = shim_config(service, record, lowered);
        let state = config.directory.clone();
        let (connection, process) = spawn(service, record, &state)?;
        let (shim, events) =
            Shim::drive(connection).map_err(|error| convert::shim_error(&error))?;
        let called = |error| BuildError::Engine(convert::shim_error(&error));
        shim.call(RequestBody::Configure(Box::new(config)), descriptors)
            .await
            .map_err(called)?;
        let attach = RequestBody::Attach {
            stdin: false,
            stdout: true,
            stderr: true,
        };
        let failed = |error| BuildError::io("make", "a pipe", error);
        let (stdout, their_stdout) = Pipe::reader().map_err(failed)?;
        let (stderr, their_stderr) = Pipe::reader().map_err(failed)?;
        shim.call(attach, vec![their_stdout, their_stderr])
            .await
            .map_err(called)?;
        let outputs = [(stdout, false), (stderr, true)].map(|(pipe, stderr)| Output {
            pipe,
            stderr,
            step: self.step,
        });
        let exit = self.follow(&shim, events, outputs).await;
        drop(process);
        exit
    }

    fn lower(&self, record: &ContainerRecord, joined: &Joined) -> Result<Lowered, BuildError> {
        let service = &self.build.service;
        let state = service.config.container_state(record.id.as_str());
        let root = RootFilesystem {
            layers: self.layers.clone(),
            upper: self.staged.tree(),
            work: self.staged.beside("work"),
            mount_point: state.join("root"),
            read_only: false,
            volatile: true,
        };
        for directory in [&root.work, &root.mount_point] {
            store::make_directory(directory).map_err(|error| internal(&error))?;
        }
        let files = joined.files.iter().map(|(target, path)| Mount {
            target: (*target).to_owned(),
            source: MountSource::Bind {
                path: path.clone(),
                subpath: None,
                recursive: false,
                writable_below: false,
                propagation: spec::propagation(""),
                ids: FileIds::default(),
            },
            read_only: true,
        });
        let found = Found {
            root,
            mounts: files.chain(self.mounted.mounts.iter().cloned()).collect(),
            devices: Vec::new(),
            network: joined.network,
            pid: NamespaceMode::Private,
            ipc: NamespaceMode::Private,
            hostname: HOSTNAME.to_owned(),
            seccomp: None,
            cgroup_parent: service.config.cgroup_parent.clone(),
            user_namespace: None,
        };
        let spec = spec::runtime_spec(record, found)?;
        runtime::lower(&spec, &service.machine)
            .map_err(|error| BuildError::Refused(hoist_api::error::chain(&error)))
    }

    /// Starts it and passes its output on until it has ended; a build that is given up kills it.
    async fn follow(
        &self,
        shim: &Shim,
        mut events: UnboundedReceiver<Event>,
        outputs: [Output; 2],
    ) -> Result<ExitRecord, BuildError> {
        let [stdout, stderr] = outputs;
        let reporter = &self.build.reporter;
        let output = async {
            tokio::join!(
                stdout.copy(reporter, self.tail),
                stderr.copy(reporter, self.tail)
            );
        };
        tokio::pin!(output);
        let started = shim.call(RequestBody::Start, Vec::new()).await;
        if let Err(error) = started {
            let _ = shim.request(RequestBody::Release).await;
            return Err(BuildError::Engine(convert::shim_error(&error)));
        }
        debug_assert!(matches!(started, Ok((Reply::Started(_) | Reply::Done, _))));
        let mut is_read = false;
        let mut is_killed = false;
        let exit = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Exited(exit)) => break exit,
                    Some(_) => {}
                    None => return Err(BuildError::Engine(convert::shim_error(&crate::shim::ShimError::Gone))),
                },
                () = &mut output, if !is_read => is_read = true,
                () = reporter.cancelled(), if !is_killed => {
                    is_killed = true;
                    let kill = RequestBody::Signal { target: SignalTarget::Everything, signal: 9 };
                    let _ = shim.request(kill).await;
                }
            }
        };
        // The streams end with the process, unless something outside holds them.
        if !is_read {
            let _ = tokio::time::timeout(SILENCE, output).await;
        }
        let _ = shim.request(RequestBody::Release).await;
        Ok(exit)
    }
}

/// One of a process's outputs.
struct Output {
    pipe: Pipe,
    stderr: bool,
    step: u32,
}

impl Output {
    async fn copy(mut self, reporter: &Reporter, tail: &Tail) {
        let mut buffer = vec![0; PIECE];
        let mut begun: Vec<u8> = Vec::new();
        while let Ok(length) = self.pipe.read(&mut buffer).await {
            if length == 0 {
                break;
            }
            begun.extend_from_slice(&buffer[..length]);
            let whole = whole_characters(&begun);
            let rest = begun.split_off(whole);
            self.tell(reporter, tail, &begun).await;
            begun = rest;
        }
        self.tell(reporter, tail, &begun).await;
    }

    async fn tell(&self, reporter: &Reporter, tail: &Tail, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        tail.push(&text);
        reporter
            .tell(BuildEvent::Output {
                step: self.step,
                stderr: self.stderr,
                text,
            })
            .await;
    }
}

/// How many bytes are not the beginning of a character whose rest is still to come.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

fn shim_config(service: &Service, record: &ContainerRecord, lowered: Lowered) -> ShimConfig {
    ShimConfig {
        id: record.id.to_string(),
        directory: service.config.container_state(record.id.as_str()),
        program: lowered.program,
        cgroup: lowered.cgroup,
        oom_score_adj: None,
        streams: lowered.streams,
        log: LogConfig {
            path: None,
            max_size: None,
            max_file: 1,
        },
        // Without its build it is of no use: no engine is started for it.
        engine: None,
    }
}

fn spawn(
    service: &Service,
    record: &ContainerRecord,
    state: &Path,
) -> Result<(hoist_shim::client::Connection, ShimProcess), BuildError> {
    let path = state.join(remains::MARK);
    let messages =
        std::fs::File::create(&path).map_err(|error| BuildError::io("create", &path, error))?;
    let (connection, child) = service
        .shim_program
        .spawn(record.id.short(), messages)
        .map_err(|error| internal(&error))?;
    Ok((connection, ShimProcess::new(child)))
}

/// What must be there to be mounted on, in a layer of its own below all others, so that it leaves no trace in the new one.
pub(super) fn stubs(directory: &Path, mounted: &Mounted) -> Result<(), BuildError> {
    let failed = |error| BuildError::io("create", directory, error);
    for path in ["proc", "sys", "dev", "etc"] {
        std::fs::create_dir_all(directory.join(path)).map_err(failed)?;
    }
    for file in ["hosts", "resolv.conf", "hostname"] {
        std::fs::write(directory.join("etc").join(file), "").map_err(failed)?;
    }
    for (target, is_directory) in &mounted.targets {
        let Some(path) = run_mounts::beneath(directory, target) else {
            continue;
        };
        // What is in the way is another mount's.
        if *is_directory {
            let _ = std::fs::create_dir_all(&path);
        } else if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, ""));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        let text = "aé".as_bytes();
        assert_eq!(whole_characters(text), 3);
        assert_eq!(whole_characters(&text[..2]), 1);
        assert_eq!(whole_characters(b"a\xffb"), 3);
    }
}
