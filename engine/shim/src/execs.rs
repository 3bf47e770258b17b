//! Further processes in the container.

use std::os::fd::{AsFd, OwnedFd};

use hoist_kernel::init::report::{self, Report};
use hoist_kernel::init::start::{self, Inputs};

use crate::cgroup;
use crate::container::reap;
use crate::protocol::{CgroupPlan, ExecRequest, Failure};
use crate::wording;

/// A further process that runs.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// A duplicate of its terminal's master, for resizing.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Starts a process in the container of `pidfd`.
///
/// # Errors
/// With the words for the user.
pub(crate) fn start(
    request: ExecRequest,
    streams: Vec<OwnedFd>,
    container: &OwnedFd,
    (plan, oom_score): (&CgroupPlan, Option<i32>),
) -> Result<Exec, Failure> {
    let mut streams = streams.into_iter();
    let streams = [streams.next(), streams.next(), streams.next()];
    if !request.terminal && streams.iter().any(Option::is_none) {
        return Err(wording::plain("an exec needs three streams or a terminal"));
    }
    let pidfd = rustix::io::fcntl_dupfd_cloexec(container, 3)
        .map_err(|errno| wording::plain(errno.to_string()))?;
    let unified = cgroup::open_unified(plan);
    let inputs = Inputs {
        descriptors: vec![pidfd],
        streams,
        cgroup: unified.as_ref().map(AsFd::as_fd),
    };
    let program = &request.program;
    // It has the container's score from its first instruction on if it inherits it.
    let own = oom_score.and_then(swap_oom_score);
    let intermediate = start::start_joined(program, inputs);
    if let Some(own) = own {
        swap_oom_score(own);
    }
    let intermediate =
        intermediate.map_err(|error| wording::start_error(error, &program.before))?;
    let mut terminal = None;
    let mut pid = None;
    let mut failed = None;
    while let Some(report) =
        report::receive(&intermediate.channel).map_err(|error| wording::plain(error.to_string()))?
    {
        match report {
            Report::Terminal(master) => terminal = Some(master),
            Report::Joined(joined) => pid = Some(joined),
            Report::Warning { .. } => {}
            Report::Failed { operation, reason } => {
                failed = Some(wording::of_program(program, operation, reason));
            }
        }
    }
    reap(intermediate.pid);
    match (failed, pid) {
        (None, Some(pid)) => {
            let pidfd = hoist_kernel::pidfd::open(pid)
                .map_err(|error| wording::plain(error.to_string()))?;
            Ok(Exec {
                id: request.id,
                pid,
                pidfd,
                terminal,
            })
        }
        (failed, pid) => {
            if let Some(pid) = pid {
                reap(pid);
            }
            Err(failed.unwrap_or_else(|| wording::plain("the container is not running")))
        }
    }
}

/// Sets our own score; what it was before. Without the right to, nothing is done: the kernel merely picks another victim.
fn swap_oom_score(score: i32) -> Option<i32> {
    let place = "/proc/self/oom_score_adj";
    let before: i32 = std::fs::read_to_string(place).ok()?.trim().parse().ok()?;
    if before == score {
        return None;
    }
    std::fs::write(place, score.to_string()).ok()?;
    Some(before)
}
