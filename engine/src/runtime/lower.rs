//! From a [`RuntimeSpec`] to what a shim executes. Pure: no I/O, clock or randomness.

use hoist_kernel::init::InitProgram;
use hoist_shim::protocol::{CgroupPlan, StreamConfig};

use super::machine::Machine;
use super::spec::{ExecSpec, RuntimeSpec};

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
}

/// Makes the program and plans of a container.
///
/// # Errors
/// When the spec asks for what cannot be expressed, such as an unknown seccomp profile.
pub fn lower(spec: &RuntimeSpec, machine: &Machine) -> Result<Lowered, LowerError> {
    let _ = (spec, machine);
    Ok(Lowered {
        program: InitProgram::default(),
        cgroup: CgroupPlan::default(),
        streams: StreamConfig::default(),
        warnings: Vec::new(),
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
    let _ = (spec, exec, machine);
    Ok(InitProgram::default())
}
