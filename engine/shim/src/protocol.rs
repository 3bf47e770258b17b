//! What the engine and a shim say to each other.
//!
//! Over a unix stream socket, each message is a frame ([`crate::frame`]) with a postcard value;
//! descriptors travel with the first byte of the frame they belong to. The engine sends [`Request`]s, the
//! shim answers each with one [`FromShim::Reply`] of the same number and tells every connection about
//! [`Event`]s. Several engines' connections at a time are normal: an old one that hangs, a new one that takes over.
//!
//! The first connection is the shim's standard input. Its first request is [`RequestBody::Configure`], then
//! attachments, then [`RequestBody::Start`]; so an attached client misses no output. Later connections come
//! through `shim.sock` in the container's state directory.

use std::path::PathBuf;

use hoist_kernel::init::program::{IdRange, InitProgram, Instruction, OnFailure};
use hoist_kernel::pty::Size;
use serde::{Deserialize, Serialize};

/// Name of the shim's socket in the container's state directory.
pub const SOCKET_NAME: &str = "shim.sock";
/// Name of the exit record in the container's state directory.
pub const EXIT_RECORD_NAME: &str = "exit";

/// Nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A message to the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the sender, repeated in the reply.
    pub number: u32,
    /// What is asked.
    pub body: RequestBody,
}

/// What the engine asks. "Descriptors" are those that travel with the frame, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// The container. Descriptors: those of the program's first slots. Reply: [`Reply::Done`].
    Configure(Box<ShimConfig>),
    /// Starts the process. Reply: [`Reply::Started`].
    Start,
    /// Reply: [`Reply::Status`].
    Status,
    /// Sends a signal (1 to 64). Reply: [`Reply::Done`].
    Signal { target: SignalTarget, signal: i32 },
    /// Runs a further process in the container. Descriptors: standard input, output and error unless it has
    /// a terminal. Reply: [`Reply::Executed`], which carries the terminal's master.
    Exec(Box<ExecRequest>),
    /// Sets the size of the container's or a further process's terminal. Reply: [`Reply::Done`].
    Resize { target: TerminalTarget, size: Size },
    /// Connects streams to the running container, from now on. Descriptors: one for each that is set.
    /// The shim reads `stdin` and writes the others; a terminal's output goes to `stdout`.
    /// Reply: [`Reply::Done`]; the streams close when the container ends or the other side closes.
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// Closes the container's standard input. Reply: [`Reply::Done`].
    CloseStdin,
    /// Keeps descriptors for a later engine, under a name; replaces those of the same name.
    /// Descriptors: those to keep. Reply: [`Reply::Done`].
    StoreFds { name: String },
    /// Reply: [`Reply::Stored`] with duplicates of the descriptors; they stay stored.
    TakeFds { name: String },
    /// Drops stored descriptors. Reply: [`Reply::Done`].
    DropFds { name: String },
    /// The engine leaves in order: do not start another one now. Reply: [`Reply::Done`].
    EngineLeaving,
    /// The engine has noted the end of the container: the shim leaves. Reply: [`Reply::Done`].
    Release,
    /// Makes a user namespace with these ids and a network namespace that it owns. Asked of a shim that has no container.
    /// Descriptors: none, or a user namespace to be used instead of a new one. Reply: [`Reply::Stored`] with the two.
    MakeNamespaces {
        users: Vec<IdRange>,
        groups: Vec<IdRange>,
    },
}

/// Which process a signal goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalTarget {
    /// The container's first process.
    Container,
    /// A further process by its exec id.
    Exec(String),
    /// Every process of the container; the signal must be 9.
    Everything,
}

/// Which terminal is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminalTarget {
    /// The container's own.
    Container,
    /// A further process's by its exec id.
    Exec(String),
}

/// A container, ready to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimConfig {
    /// The container's id, for messages.
    pub id: String,
    /// The container's state directory: socket and exit record.
    pub directory: PathBuf,
    /// What to run.
    pub program: InitProgram,
    /// Its control groups.
    pub cgroup: CgroupPlan,
    /// `oom_score_adj` of the first process; what cannot be set is a warning.
    pub oom_score_adj: Option<i32>,
    /// Its streams.
    pub streams: StreamConfig,
    /// Where its output goes.
    pub log: LogConfig,
    /// How to start an engine when none answers; `None`: never (tests).
    pub engine: Option<EngineCommand>,
}

/// The container's standard streams.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamConfig {
    /// A terminal instead of pipes.
    pub terminal: bool,
    /// Keep standard input open; otherwise it is `/dev/null`.
    pub stdin_open: bool,
    /// Close standard input when the first attached client's ends.
    pub stdin_once: bool,
}

/// A json-file log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogConfig {
    /// The current file; rotated ones are `<path>.1`, `<path>.2`, … `None`: no log.
    pub path: Option<PathBuf>,
    /// Bytes at which a file is rotated; `None`: never.
    pub max_size: Option<u64>,
    /// Number of files with the current one, at least 1.
    pub max_file: u32,
}

/// How to reach an engine, and how to start one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCommand {
    /// Command line, the program's path first. Started as a session of its own.
    pub argv: Vec<String>,
    /// Its whole environment, `NAME=value`.
    pub environment: Vec<String>,
    /// The engine's socket: connecting tells that one lives.
    pub socket: PathBuf,
}

/// Control groups of a container: what to make and write, in order. All paths are the machine's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// One group for each hierarchy.
    pub groups: Vec<CgroupGroup>,
    /// The group in the version 2 tree, also named in `groups`: clone3(2) starts the process in it, and
    /// `cgroup.kill` ends everything.
    pub unified: Option<PathBuf>,
    /// Filter of device access for version 2: eBPF instructions; empty: none.
    pub device_filter: Vec<u64>,
    /// Where kills for lack of memory are counted.
    pub oom: Option<OomCounter>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupGroup {
    /// Its directory. Missing parents are made.
    pub directory: PathBuf,
    /// Writes to parents (controllers switched on for children, cpusets handed down), before it is made.
    pub parents: Vec<CgroupWrite>,
    /// Writes to its own files.
    pub writes: Vec<CgroupWrite>,
    /// Whether the process joins by a write to `cgroup.procs` (version 1).
    pub join: bool,
}

/// A write to a control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupWrite {
    /// The file.
    pub file: PathBuf,
    /// What is written.
    pub value: CgroupValue,
    /// What a failure means.
    pub on_failure: OnFailure,
}

/// What is written to a control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupValue {
    /// This text.
    Text(String),
    /// What the file of the same name in the group above has, when this one is empty: a new version 1 cpuset
    /// has no processors and takes no process.
    FromAbove,
}

/// A counter `oom_kill` in a control file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomCounter {
    /// `memory.oom_control` (version 1) or `memory.events` (version 2).
    pub file: PathBuf,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Its exec id.
    pub id: String,
    /// What to run; slot 0 is the pidfd of the container's first process.
    pub program: InitProgram,
    /// Whether it gets a terminal.
    pub terminal: bool,
}

/// A message from the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromShim {
    /// Answer to the request of this number.
    Reply {
        number: u32,
        result: Result<Reply, Failure>,
    },
    /// Something happened.
    Event(Event),
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The container runs.
    Started(Started),
    /// What the shim knows.
    Status(Box<Status>),
    /// The further process runs. Descriptors: the terminal's master, when it has one.
    Executed { pid: i32 },
    /// Descriptors come with this frame: stored ones, none when the name is unknown; or new ones.
    Stored,
}

/// A started container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The first process's id in the machine.
    pub pid: i32,
    /// When it was started.
    pub at: Timestamp,
    /// What could not be had and was done without.
    pub warnings: Vec<String>,
}

/// A request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What failed and why, for users; Docker's wording where it has one.
    pub message: String,
    /// The errno, when a system call failed; else 0.
    pub errno: i32,
    /// Exit code that Docker gives such a failure: 127 command not found, 126 not executable, else 128.
    pub exit_code: i32,
}

/// State of a container as its shim knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The container's id.
    pub id: String,
    /// The shim's own process id.
    pub shim_pid: i32,
    /// Whether and how it runs.
    pub state: State,
    /// Further processes that run: exec id and process id.
    pub execs: Vec<(String, i32)>,
    /// Names under which descriptors are stored.
    pub stored: Vec<String>,
}

/// Whether a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Configured, not started.
    Created,
    /// Running.
    Running(Started),
    /// Ended.
    Exited(ExitRecord),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The container ended; its output is logged and its exit record written.
    Exited(ExitRecord),
    /// A further process ended.
    ExecExited { id: String, code: i32 },
    /// A process of the container was killed for lack of memory.
    OutOfMemory,
}

/// How a container ended; also the contents of the exit record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code; 128 + n for a death by signal n.
    pub code: i32,
    /// The signal it died of.
    pub signal: Option<i32>,
    /// Whether a process of it was killed for lack of memory.
    pub out_of_memory: bool,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Instructions of a seccomp filter, for those who only see this crate.
pub type Filter = Vec<Instruction>;
