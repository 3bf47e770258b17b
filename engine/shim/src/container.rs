//! Starting the container's first process.

use std::os::fd::{AsFd, OwnedFd};

use hoist_kernel::init::report::{self, Report};
use hoist_kernel::init::start::{self, Inputs};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cgroup;
use crate::json_log::Stream;
use crate::protocol::{Failure, ShimConfig, Started};
use crate::streams::{Output, Streams};
use crate::{time, wording};

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) started: Started,
    /// The master of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Streams of the new process, and our ends of them.
struct Ends {
    theirs: [Option<OwnedFd>; 3],
    ours: Option<[OwnedFd; 2]>,
    input: Option<OwnedFd>,
}

/// Starts the container; its streams are added to `streams`.
///
/// # Errors
/// With the words for the user. Nothing of the container is left but its cgroups.
pub(crate) fn start(
    config: &ShimConfig,
    descriptors: Vec<OwnedFd>,
    streams: &mut Streams,
) -> Result<Running, Failure> {
    let mut warnings = cgroup::create(&config.cgroup)?;
    let ends =
        make_ends(config).map_err(|errno| wording::plain(format!("cannot make pipes: {errno}")))?;
    let unified = cgroup::open_unified(&config.cgroup);
    let inputs = Inputs {
        descriptors,
        streams: ends.theirs,
        cgroup: unified.as_ref().map(AsFd::as_fd),
    };
    let program = &config.program;
    let starting = start::start(program, inputs)
        .map_err(|error| wording::start_error(error, &program.before))?;
    let at = time::now();
    // While the process mounts its root.
    warnings.extend(cgroup::join(&config.cgroup, starting.pid));
    warnings.extend(set_oom_score(config.oom_score_adj, starting.pid));
    let _ = rustix::io::write(&starting.channel, b"g");
    let mut terminal = None;
    while let Some(report) = next_report(&starting.channel)? {
        match report {
            Report::Terminal(master) => terminal = Some(master),
            Report::Warning { operation, reason } => {
                warnings.push(wording::failure(program.inside.get(operation), reason).message);
            }
            Report::Failed { operation, reason } => {
                reap(starting.pid);
                return Err(wording::failure(program.inside.get(operation), reason));
            }
            Report::Joined(_) => {}
        }
    }
    connect(streams, config, terminal.as_ref(), (ends.ours, ends.input))?;
    let started = Started {
        pid: starting.pid,
        at,
        warnings,
    };
    Ok(Running {
        pid: starting.pid,
        pidfd: starting.pidfd,
        started,
        terminal,
    })
}

fn next_report(channel: &OwnedFd) -> Result<Option<Report>, Failure> {
    report::receive(channel).map_err(|error| wording::plain(error.to_string()))
}

fn make_ends(config: &ShimConfig) -> rustix::io::Result<Ends> {
    if config.streams.terminal {
        return Ok(Ends {
            theirs: [None, None, None],
            ours: None,
            input: None,
        });
    }
    let (out_reader, out_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err_reader, err_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&out_reader, true)?;
    rustix::io::ioctl_fionbio(&err_reader, true)?;
    let (stdin, input) = if config.streams.stdin_open {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        (reader, Some(writer))
    } else {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        (rustix::fs::open(c"/dev/null", flags, Mode::empty())?, None)
    };
    let theirs = [Some(stdin), Some(out_writer), Some(err_writer)];
    Ok(Ends {
        theirs,
        ours: Some([out_reader, err_reader]),
        input,
    })
}

fn connect(
    streams: &mut Streams,
    config: &ShimConfig,
    terminal: Option<&OwnedFd>,
    (ours, input): (Option<[OwnedFd; 2]>, Option<OwnedFd>),
) -> Result<(), Failure> {
    let duplicate = |fd: &OwnedFd| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|errno| wording::plain(errno.to_string()))
    };
    streams.stdin_once = config.streams.stdin_once;
    if let Some(master) = terminal {
        streams.terminal = true;
        streams
            .outputs
            .push(Output::new(Stream::Stdout, duplicate(master)?));
        // A terminal that nobody holds open for input still has to take the output's side.
        streams.input = config
            .streams
            .stdin_open
            .then(|| duplicate(master))
            .transpose()?;
    } else if let Some([output, error]) = ours {
        streams.outputs.push(Output::new(Stream::Stdout, output));
        streams.outputs.push(Output::new(Stream::Stderr, error));
        streams.input = input;
    }
    Ok(())
}

fn set_oom_score(score: Option<i32>, pid: i32) -> Option<String> {
    let score = score?;
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
        .err()
        .map(|error| format!("cannot set oom_score_adj to {score}: {error}"))
}

/// Waits for a process that is about to end.
pub(crate) fn reap(pid: i32) {
    use rustix::process::{Pid, WaitOptions, waitpid};
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
    }
}
