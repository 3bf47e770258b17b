//! The parent's side: making the process that runs a program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::program::InitProgram;
use super::report::{self, Reason};
use super::run::{Child, Descriptors};
use crate::error::KernelError;
use crate::sys::{self, CloneRequest, Forked, SingleThreaded};

/// What a new process gets from its shim.
#[derive(Debug)]
pub struct Inputs<'fd> {
    /// Descriptors for the program's first slots.
    pub descriptors: Vec<OwnedFd>,
    /// Standard input, output and error; `None` when the program opens a terminal.
    pub streams: [Option<OwnedFd>; 3],
    /// A version 2 cgroup to start in.
    pub cgroup: Option<BorrowedFd<'fd>>,
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Starting {
    /// Its id in this pid namespace.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// What it reports, for [`report::receive`]; a byte written here is the "go" of
    /// [`super::program::Op::AwaitGo`].
    pub channel: OwnedFd,
}

/// Why no process could be made.
#[derive(Debug)]
pub enum StartError {
    /// An operation before the process failed; its index in the program's `before` list.
    Before(usize, Reason),
    /// A system call failed.
    Kernel(KernelError),
}

/// Runs the operations that come before the process, and makes it.
///
/// # Errors
/// `EINVAL` when this process has more than one thread.
pub fn start(program: &InitProgram, inputs: Inputs<'_>) -> Result<Starting, StartError> {
    let (mut child, ours) = prepare(program, inputs.descriptors, inputs.streams)?;
    for (index, op) in program.before.iter().enumerate() {
        child
            .step(op)
            .map_err(|reason| StartError::Before(index, reason))?;
    }
    let request = CloneRequest {
        flags: program.namespaces,
        cgroup: inputs.cgroup,
    };
    match clone(request, child.proof) {
        Err(errno) => Err(StartError::Kernel(KernelError::new(
            "clone3",
            "container",
            errno,
        ))),
        Ok(Forked::Child) => {
            drop(ours);
            child.run(program)
        }
        Ok(Forked::Parent(pid, pidfd)) => Ok(Starting {
            pid,
            pidfd,
            channel: ours,
        }),
    }
}

/// The interpreter, with everything it needs made ready, and our end of its channel.
fn prepare(
    program: &InitProgram,
    slots: Vec<OwnedFd>,
    streams: [Option<OwnedFd>; 3],
) -> Result<(Child<'_>, OwnedFd), StartError> {
    let proof = SingleThreaded::check().map_err(|errno| {
        StartError::Kernel(KernelError::new("clone3", "a process with threads", errno))
    })?;
    let (ours, channel) = report::channel().map_err(StartError::Kernel)?;
    Ok((
        Child::new(
            program,
            Descriptors {
                slots,
                channel,
                streams,
            },
            proof,
        ),
        ours,
    ))
}

/// Starts in the cgroup where the kernel can (5.7); elsewhere the caller has to move the process.
fn clone(request: CloneRequest<'_>, proof: SingleThreaded) -> rustix::io::Result<Forked> {
    match sys::fork(request, proof) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) if request.cgroup.is_some() => sys::fork(
            CloneRequest {
                cgroup: None,
                ..request
            },
            proof,
        ),
        result => result,
    }
}

/// Makes a process through an intermediate one, which joins a container or a user namespace and makes the real one as a
/// child of this process (`CLONE_PARENT`), so that this process reaps it.
///
/// The `before` operations run in the intermediate process, not here: they change its namespaces for good.
///
/// # Errors
/// As [`start`].
pub fn start_joined(program: &InitProgram, inputs: Inputs<'_>) -> Result<Intermediate, StartError> {
    let (mut child, ours) = prepare(program, inputs.descriptors, inputs.streams)?;
    // The intermediate process is already made in the container's control group, and its child inherits that: where
    // cgroup namespaces delegate (`nsdelegate`), who has joined one can no longer bring a process in from outside.
    let request = CloneRequest {
        cgroup: inputs.cgroup,
        ..CloneRequest::default()
    };
    match clone(request, child.proof) {
        Err(errno) => Err(StartError::Kernel(KernelError::new(
            "clone3",
            "intermediate",
            errno,
        ))),
        Ok(Forked::Child) => {
            drop(ours);
            join_and_run(&mut child, program)
        }
        Ok(Forked::Parent(pid, pidfd)) => Ok(Intermediate {
            pid,
            pidfd,
            channel: ours,
        }),
    }
}

/// The process that joins a container for another one.
#[derive(Debug)]
pub struct Intermediate {
    /// Its id: reap it once it has ended.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// Reports of it and, after [`report::Report::Joined`], of the real process.
    pub channel: OwnedFd,
}

/// Failures of the `before` list are reported with indices beyond those of `inside`.
fn join_and_run<'program>(child: &mut Child<'program>, program: &'program InitProgram) -> ! {
    for (index, op) in program.before.iter().enumerate() {
        child.operation = program.inside.len() + index;
        if let Err(reason) = child.step(op) {
            report::send_failure(child.channel.as_fd(), child.operation, reason);
            sys::exit_now(127);
        }
    }
    let flags = program.namespaces | u64::from(libc::CLONE_PARENT.cast_unsigned());
    let request = CloneRequest {
        flags,
        ..CloneRequest::default()
    };
    match clone(request, child.proof) {
        Err(errno) => {
            report::send_failure(child.channel.as_fd(), program.inside.len(), errno.into())
        }
        Ok(Forked::Child) => child.run(program),
        Ok(Forked::Parent(pid, _)) => {
            let _ = report::send_joined(child.channel.as_fd(), pid);
            sys::exit_now(0);
        }
    }
    sys::exit_now(127)
}
