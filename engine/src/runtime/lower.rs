//! From a [`RuntimeSpec`] to what a shim executes. Pure: no I/O, clock or randomness.

use std::ffi::CString;

use hoist_kernel::init::program::{InitProgram, Maker, Namespace, OnFailure, Op, Slot};
use hoist_shim::protocol::{CgroupPlan, StreamConfig};

use super::machine::Machine;
use super::seccomp::SeccompError;
use super::spec::{
    CgroupNamespaceMode, ExecSpec, MountSource, NamespaceMode, NetworkNamespace, RuntimeSpec,
    TerminalSize,
};
use super::{capabilities, cgroup, mounts, process, userns};

/// A container, lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// What its first process does.
    pub program: InitProgram,
    /// Its control groups.
    pub cgroup: CgroupPlan,
    /// Its streams, but for `stdin_open` and `stdin_once`, which the engine sets.
    pub streams: StreamConfig,
    /// What was asked for and is not to be had on this machine.
    pub warnings: Vec<String>,
}

/// A container cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// A string that the kernel takes cannot hold a NUL.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// Which.
        what: String,
    },
    /// There is nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// A number that is no user's or group's.
    #[error("uids and gids must be in range 0-{}", hoist_kernel::accounts::MAX_ID)]
    IdRange,
    /// A path of the container must be absolute.
    #[error("the path {0:?} is not absolute")]
    RelativePath(String),
    /// What is mounted there would stand for what the kernel says of the container (CVE-2019-16884).
    #[error("cannot mount on {0:?}: it is inside /proc")]
    InProc(String),
    /// A kernel parameter is not one of the container's own namespaces.
    #[error("sysctl {0:?} is not separate from the machine's in this container")]
    Sysctl(String),
    /// A resource limit has no such name.
    #[error("invalid ulimit type: {0}")]
    UnknownLimit(String),
    /// The seccomp profile cannot be used.
    #[error("cannot use the seccomp profile")]
    Seccomp(#[from] SeccompError),
}

/// What lowering gathers.
#[derive(Debug)]
pub(super) struct Builder<'spec> {
    pub(super) spec: &'spec RuntimeSpec,
    pub(super) machine: &'spec Machine,
    pub(super) program: InitProgram,
    pub(super) warnings: Vec<String>,
    /// The user namespace that the process is to be in, when it has one of its own.
    pub(super) user_namespace: Option<Slot>,
    /// The slot of the first detached mount that the engine passes.
    pub(super) first_passed: u16,
}

impl<'spec> Builder<'spec> {
    fn new(spec: &'spec RuntimeSpec, machine: &'spec Machine) -> Self {
        Self {
            spec,
            machine,
            program: InitProgram::default(),
            warnings: Vec::new(),
            user_namespace: None,
            first_passed: 0,
        }
    }

    /// A new slot.
    pub(super) fn slot(&mut self) -> Slot {
        let slot = Slot(self.program.slots);
        self.program.slots += 1;
        slot
    }

    /// Adds an operation of the shim.
    pub(super) fn before(&mut self, op: Op) {
        self.program.before.push(op);
    }

    /// Adds an operation of the new process.
    pub(super) fn inside(&mut self, op: Op) {
        self.program.inside.push(op);
    }

    /// Adds an operation that needs the machine's own privileges where a user namespace takes them away.
    pub(super) fn privileged(&mut self, op: Op) {
        if self.spec.user_namespace.is_some() {
            self.before(op)
        } else {
            self.inside(op)
        }
    }

    /// Capabilities of the container.
    fn capabilities(&mut self, privileged: bool) -> u64 {
        if privileged {
            return self.machine.capabilities;
        }
        let security = &self.spec.security;
        capabilities::select(
            &security.add_capabilities,
            &security.drop_capabilities,
            self.machine.capabilities,
            &mut self.warnings,
        )
    }
}

/// Makes the program and plans of a container.
///
/// # Errors
/// When the spec asks for what cannot be expressed, such as an unknown seccomp profile.
pub fn lower(spec: &RuntimeSpec, machine: &Machine) -> Result<Lowered, LowerError> {
    let mut builder = Builder::new(spec, machine);
    let cgroup = cgroup::plan(spec, &machine.cgroups, &mut builder.warnings);
    let allowed = builder.capabilities(spec.security.privileged);
    add_namespaces(&mut builder);
    builder.inside(Op::NewSession);
    builder.inside(Op::DieWithParent);
    builder.inside(Op::SetUmask(0));
    userns::add_preparations(&mut builder)?;
    mounts::add_root(&mut builder, &cgroup)?;
    add_names(&mut builder);
    builder.inside(Op::AwaitGo);
    if owns_cgroup_namespace(spec, machine) && !machine.cgroups.is_unified() {
        builder.inside(Op::Unshare {
            namespaces: Namespace::Cgroup.flag(),
        });
    }
    let process = process::Process {
        argv: &spec.argv,
        environment: &spec.environment,
        working_directory: &spec.working_directory,
        user: &spec.user,
        allowed,
        privileged: spec.security.privileged,
        terminal: spec.terminal,
        first: true,
    };
    process::add(&mut builder, &process)?;
    userns::add_entry(&mut builder);
    let streams = StreamConfig {
        terminal: spec.terminal.is_some(),
        ..StreamConfig::default()
    };
    Ok(Lowered {
        program: builder.program,
        cgroup,
        streams,
        warnings: builder.warnings,
    })
}

/// Makes the program of a further process in the container of `spec`.
///
/// # Errors
/// As [`lower`].
pub fn lower_exec(
    spec: &RuntimeSpec,
    exec: &ExecSpec,
    machine: &Machine,
) -> Result<InitProgram, LowerError> {
    let mut builder = Builder::new(spec, machine);
    let allowed = builder.capabilities(exec.privileged || spec.security.privileged);
    let container = builder.slot();
    for group in cgroup::plan(spec, &machine.cgroups, &mut Vec::new()).groups {
        if group.join {
            let procs = c_path(&group.directory.join("cgroup.procs"))?;
            builder.before(Op::JoinCgroup { procs });
        }
    }
    userns::add_preparations(&mut builder)?;
    builder.before(Op::JoinProcess {
        slot: container,
        namespaces: namespaces_to_join(spec, machine),
    });
    userns::add_exec_entry(&mut builder, container);
    builder.inside(Op::NewSession);
    builder.inside(Op::DieWithParent);
    userns::add_root_user(&mut builder);
    let or_container = |own: &'_ str, container: &'_ str| {
        if own.is_empty() {
            container.to_owned()
        } else {
            own.to_owned()
        }
    };
    let process = process::Process {
        argv: &exec.argv,
        environment: &exec.environment,
        working_directory: &or_container(&exec.working_directory, &spec.working_directory),
        user: &or_container(&exec.user, &spec.user),
        allowed,
        privileged: exec.privileged || spec.security.privileged,
        terminal: exec.terminal,
        first: false,
    };
    process::add(&mut builder, &process)?;
    Ok(builder.program)
}

/// Namespaces that are made or joined, in the order that joining needs: the mount namespace, which changes what
/// paths mean, is always made by clone3(2).
fn add_namespaces(builder: &mut Builder<'_>) {
    let modes = builder.spec.namespaces.clone();
    builder.program.namespaces |= Namespace::Mount.flag();
    match modes.network {
        NetworkNamespace::Host => {}
        NetworkNamespace::Empty => builder.program.namespaces |= Namespace::Network.flag(),
        NetworkNamespace::Passed => {
            let slot = builder.slot();
            builder.privileged(Op::Join {
                slot,
                namespace: Namespace::Network,
            });
        }
    }
    if builder.spec.user_namespace.is_some() {
        builder.user_namespace = Some(builder.slot());
    }
    // What comes with the program has the first slots.
    builder.first_passed = builder.program.slots;
    for mount in &builder.spec.mounts {
        if matches!(mount.source, MountSource::Passed { .. }) {
            builder.program.slots += 1;
        }
    }
    let others = [
        (modes.pid, Namespace::Pid, "pid"),
        (modes.ipc, Namespace::Ipc, "ipc"),
        (modes.uts, Namespace::Uts, "uts"),
    ];
    for (mode, namespace, name) in others {
        match mode {
            NamespaceMode::Host => {}
            NamespaceMode::Private => builder.program.namespaces |= namespace.flag(),
            NamespaceMode::Join(pid) => {
                let slot = builder.slot();
                let path =
                    c_string("namespace", format!("/proc/{pid}/ns/{name}")).unwrap_or_default();
                builder.before(Op::OpenNamespace { slot, path });
                let join = Op::Join { slot, namespace };
                // A pid namespace is joined by the children of who joins it: were it the shim, the processes that it makes
                // later would be told by numbers of that namespace.
                if namespace == Namespace::Pid {
                    builder.program.maker = Maker::Intermediate;
                    builder.before(join)
                } else {
                    builder.privileged(join)
                }
            }
        }
    }
}

fn add_names(builder: &mut Builder<'_>) {
    if builder.spec.namespaces.uts != NamespaceMode::Private {
        return;
    }
    if let Some(name) = &builder.spec.hostname {
        builder.inside(Op::SetHostName(name.as_bytes().to_vec()));
    }
    if let Some(name) = &builder.spec.domainname {
        builder.inside(Op::SetDomainName(name.as_bytes().to_vec()));
    }
}

/// Docker's default: private on version 2, the machine's on version 1.
pub(super) fn owns_cgroup_namespace(spec: &RuntimeSpec, machine: &Machine) -> bool {
    match spec.namespaces.cgroup {
        CgroupNamespaceMode::Private => true,
        CgroupNamespaceMode::Host => false,
        CgroupNamespaceMode::Default => machine.cgroups.is_unified(),
    }
}

/// All that the container does not share with the machine.
fn namespaces_to_join(spec: &RuntimeSpec, machine: &Machine) -> u64 {
    let modes = &spec.namespaces;
    let mut flags = Namespace::Mount.flag();
    let others = [
        (modes.network != NetworkNamespace::Host, Namespace::Network),
        (modes.pid != NamespaceMode::Host, Namespace::Pid),
        (modes.ipc != NamespaceMode::Host, Namespace::Ipc),
        (modes.uts != NamespaceMode::Host, Namespace::Uts),
        (owns_cgroup_namespace(spec, machine), Namespace::Cgroup),
    ];
    for (_, namespace) in others.iter().filter(|(own, _)| *own) {
        flags |= namespace.flag();
    }
    flags
}

/// Rows and columns, zero for unset.
pub(super) fn console(size: TerminalSize, bind: bool) -> Result<Op, LowerError> {
    let bind = if bind {
        Some(mounts::target("/dev/console", mounts::KERNEL_LINKS)?)
    } else {
        None
    };
    Ok(Op::OpenConsole {
        rows: size.rows,
        columns: size.columns,
        bind,
    })
}

/// A string for the kernel.
pub(super) fn c_string(what: &str, text: impl Into<Vec<u8>>) -> Result<CString, LowerError> {
    CString::new(text).map_err(|_| LowerError::Nul {
        what: what.to_owned(),
    })
}

/// A path of the machine for the kernel.
pub(super) fn c_path(path: &std::path::Path) -> Result<CString, LowerError> {
    use std::os::unix::ffi::OsStrExt;
    c_string("a path", path.as_os_str().as_bytes())
}

/// An optional write below a file system of our own.
pub(super) fn write(
    slot: Slot,
    path: &str,
    value: &str,
    on_failure: OnFailure,
) -> Result<Op, LowerError> {
    let (path, value) = (c_string("a path", path)?, value.as_bytes().to_vec());
    Ok(Op::Write {
        slot,
        path,
        value,
        on_failure,
    })
}
