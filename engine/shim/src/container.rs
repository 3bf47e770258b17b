//! Starting the container's first process.

use std::os::fd::{AsFd, OwnedFd};

use hoist_kernel::init::program::{InitProgram, Maker};
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
    let mut making = Making::begin(program, inputs)?;
    let mut at = time::now();
    if let Some(pid) = making.pid {
        admit(config, pid, &making.channel, &mut warnings);
    }
    let (mut terminal, mut failed) = (None, None);
    while let Some(report) = next_report(&making.channel)? {
        let wording = |operation, reason| wording::of_program(program, operation, reason);
        match report {
            Report::Terminal(master) => terminal = Some(master),
            Report::Warning { operation, reason } => {
                warnings.push(wording(operation, reason).message);
            }
            // All is read to the end: the process may say why it ends before the one that made it says which it is.
            Report::Failed { operation, reason } => failed = Some(wording(operation, reason)),
            Report::Joined(pid) => {
                at = time::now();
                making.pid = Some(pid);
                admit(config, pid, &making.channel, &mut warnings);
            }
        }
    }
    let (pid, pidfd) = making.finish(failed)?;
    connect(streams, config, terminal.as_ref(), (ends.ours, ends.input))?;
    let started = Started { pid, at, warnings };
    Ok(Running {
        pid,
        pidfd,
        started,
        terminal,
    })
}

/// A process that is being made, by this one or by one between.
struct Making {
    pid: Option<i32>,
    pidfd: Option<OwnedFd>,
    between: Option<i32>,
    channel: OwnedFd,
}

impl Making {
    fn begin(program: &InitProgram, inputs: Inputs<'_>) -> Result<Self, Failure> {
        let worded = |error| wording::start_error(error, &program.before);
        match program.maker {
            Maker::Shim => {
                let starting = start::start(program, inputs).map_err(worded)?;
                Ok(Self {
                    pid: Some(starting.pid),
                    pidfd: Some(starting.pidfd),
                    between: None,
                    channel: starting.channel,
                })
            }
            Maker::Intermediate => {
                let between = start::start_joined(program, inputs).map_err(worded)?;
                Ok(Self {
                    pid: None,
                    pidfd: None,
                    between: Some(between.pid),
                    channel: between.channel,
                })
            }
        }
    }

    /// The process once it executes its program, or why it does not.
    fn finish(self, failed: Option<Failure>) -> Result<(i32, OwnedFd), Failure> {
        if let Some(between) = self.between {
            reap(between);
        }
        let process = match (failed, self.pid, self.pidfd) {
            (None, Some(pid), Some(pidfd)) => return Ok((pid, pidfd)),
            // It is our child: its number is its own until we reap it.
            (None, Some(pid), None) => hoist_kernel::pidfd::open(pid).map(|pidfd| (pid, pidfd)),
            (Some(failure), pid, _) => {
                if let Some(pid) = pid {
                    reap(pid);
                }
                return Err(failure);
            }
            (None, None, _) => {
                return Err(wording::plain("the container's process could not be made"));
            }
        };
        process.map_err(|error| wording::plain(error.to_string()))
    }
}

/// Puts the process into its groups while it mounts its root, and lets it go on.
fn admit(config: &ShimConfig, pid: i32, channel: &OwnedFd, warnings: &mut Vec<String>) {
    warnings.extend(cgroup::join(&config.cgroup, pid));
    warnings.extend(set_oom_score(config.oom_score_adj, pid));
    let _ = rustix::io::write(channel, b"g");
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
