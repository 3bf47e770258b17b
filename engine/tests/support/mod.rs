//! Containers for tests: a root file system of busybox, a shim, and nothing of an engine.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use hoist_engine::runtime::machine::Machine;
use hoist_engine::runtime::spec::{
    ExecSpec, Namespaces, NetworkNamespace, Resources, RootFilesystem, RuntimeSpec, Security,
};
use hoist_engine::runtime::{lower, lower_exec};
use hoist_shim::client::{ClientError, Connection, ShimProgram};
use hoist_shim::protocol::{
    EngineCommand, Event, ExecRequest, ExitRecord, Failure, LogConfig, Reply, RequestBody,
    ShimConfig, Started,
};

const APPLETS: &[&str] = &[
    "sh", "echo", "cat", "ls", "id", "env", "pwd", "sleep", "true", "false", "kill", "stat",
    "mount", "umount", "grep", "hostname", "touch", "mkdir", "rm", "mknod", "dd", "head", "tail",
    "wc", "yes", "tty", "stty", "readlink", "ps", "seq", "chmod", "chown", "ln", "cut", "tr",
    "sort", "printf", "test", "sync", "nproc", "ulimit", "mv", "awk", "sed", "find", "ip",
    "unshare", "setsid", "usleep", "df",
];

/// A place for one container.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) spec: RuntimeSpec,
    pub(crate) machine: Machine,
    pub(crate) stdin_open: bool,
    pub(crate) log_limit: (Option<u64>, u32),
    pub(crate) engine: Option<EngineCommand>,
}

/// A running container.
pub(crate) struct Container {
    pub(crate) connection: Connection,
    pub(crate) child: Child,
    pub(crate) started: Started,
    pub(crate) spec: RuntimeSpec,
    pub(crate) machine: Machine,
    state: PathBuf,
    _remains: Remains,
}

/// What is left of a container that has ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) record: ExitRecord,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) log: String,
}

impl Place {
    /// A place whose container runs `sh -c script`.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_argv(&["sh", "-c", script])
    }

    /// A place whose container runs a command.
    pub(crate) fn with_argv(argv: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hoist-runtime-")
            .tempdir()
            .unwrap();
        for name in ["layer", "upper", "work", "merged", "state"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        make_layer(&directory.path().join("layer"));
        let unique = directory
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let spec = spec(directory.path(), argv, &unique);
        Self {
            directory,
            spec,
            machine: Machine::detect().unwrap(),
            stdin_open: false,
            log_limit: (None, 1),
            engine: None,
        }
    }

    /// The image's root, to be prepared by the test.
    pub(crate) fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    /// The container's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A new shim that is configured, but whose container is not started.
    pub(crate) fn configure(&self) -> Result<(Connection, Child), ClientError> {
        let lowered = lower(&self.spec, &self.machine).expect("the spec can be lowered");
        let program =
            ShimProgram::load(Path::new(env!("CARGO_BIN_EXE_hoist-shim-for-tests"))).unwrap();
        let messages = File::create(self.directory.path().join("shim.log")).unwrap();
        let (mut connection, child) = program.spawn(&self.spec.id, messages)?;
        let mut streams = lowered.streams;
        streams.stdin_open = self.stdin_open;
        streams.stdin_once = self.stdin_open;
        let config = ShimConfig {
            id: self.spec.id.clone(),
            directory: self.state(),
            program: lowered.program,
            cgroup: lowered.cgroup,
            oom_score_adj: self.spec.oom_score_adj,
            streams,
            log: LogConfig {
                path: Some(self.state().join("log")),
                max_size: self.log_limit.0,
                max_file: self.log_limit.1,
            },
            engine: self.engine.clone(),
        };
        connection.call(RequestBody::Configure(Box::new(config)), Vec::new())?;
        Ok((connection, child))
    }

    /// Starts the container.
    pub(crate) fn start(&self) -> Result<Container, Failure> {
        let (mut connection, mut child) = self.configure().unwrap();
        match connection.call(RequestBody::Start, Vec::new()) {
            Ok((Reply::Started(started), _)) => Ok(Container {
                _remains: Remains {
                    container: started.pid,
                    shim: child.id(),
                    spec: self.spec.clone(),
                },
                connection,
                child,
                started,
                spec: self.spec.clone(),
                machine: self.machine.clone(),
                state: self.state(),
            }),
            Ok((other, _)) => panic!("unexpected reply {other:?}"),
            Err(ClientError::Refused(failure)) => {
                drop(connection);
                child.wait().unwrap();
                Err(failure)
            }
            Err(error) => panic!("{error:?}: {}", self.complaints()),
        }
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Outcome {
        let started = self
            .start()
            .unwrap_or_else(|failure| panic!("{failure}: {}", self.complaints()));
        let outcome = started.wait();
        assert_eq!(self.complaints(), "");
        outcome
    }

    /// Runs the container and gives its standard output, which must have ended well.
    pub(crate) fn stdout(&self) -> String {
        let outcome = self.run();
        assert_eq!(
            (outcome.record.code, outcome.stderr.as_str()),
            (0, ""),
            "{}",
            outcome.stdout
        );
        outcome.stdout
    }

    /// A second connection, as a new engine makes it.
    pub(crate) fn connect(&self) -> Connection {
        let directory = File::open(self.state()).unwrap();
        Connection::open(directory.as_fd()).unwrap()
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("shim.log")).unwrap_or_default()
    }
}

/// What a test that fails takes away: neither processes nor control groups stay.
pub(crate) struct Remains {
    container: i32,
    shim: u32,
    spec: RuntimeSpec,
}

impl Drop for Remains {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let shim = i32::try_from(self.shim).unwrap_or_default();
        for pid in [self.container, shim] {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // A group can be removed a moment after the last of its processes has ended.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && !leftovers(&self.spec).is_empty() {
            for group in leftovers(&self.spec) {
                let _ = std::fs::remove_dir(group);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Container {
    /// Waits for the end, lets the shim go and gathers what is left.
    pub(crate) fn wait(mut self) -> Outcome {
        let record = loop {
            match self.connection.event().unwrap() {
                Event::Exited(record) => break record,
                Event::ExecExited { .. } | Event::OutOfMemory => {}
            }
        };
        let on_disk = hoist_shim::exit_record::read(&self.state).unwrap();
        assert_eq!(
            on_disk.as_ref(),
            Some(&record),
            "the record is on disk before the event"
        );
        self.connection
            .call(RequestBody::Release, Vec::new())
            .unwrap();
        assert!(self.child.wait().unwrap().success());
        assert_eq!(leftovers(&self.spec), Vec::<PathBuf>::new());
        let log = std::fs::read_to_string(self.state.join("log")).unwrap_or_default();
        Outcome {
            record,
            stdout: text_of(&log, "stdout"),
            stderr: text_of(&log, "stderr"),
            log,
        }
    }

    /// Kills the container and waits for its end.
    pub(crate) fn kill(mut self) -> Outcome {
        self.call(RequestBody::Signal {
            target: hoist_shim::protocol::SignalTarget::Container,
            signal: 9,
        });
        self.wait()
    }

    /// Asks the shim for something that it must not refuse.
    pub(crate) fn call(&mut self, body: RequestBody) -> Reply {
        self.connection.call(body, Vec::new()).unwrap().0
    }

    /// Runs a further process; its exit code and output.
    pub(crate) fn exec(&mut self, exec: &ExecSpec) -> Result<(i32, String), Failure> {
        let program = lower_exec(&self.spec, exec, &self.machine).unwrap();
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = File::open("/dev/null").unwrap();
        let error = writer.try_clone().unwrap();
        let request = ExecRequest {
            id: "one".to_owned(),
            program,
            terminal: false,
        };
        let streams = vec![OwnedFd::from(null), writer, error];
        match self
            .connection
            .call(RequestBody::Exec(Box::new(request)), streams)
        {
            Ok(_) => {}
            Err(ClientError::Refused(failure)) => return Err(failure),
            Err(error) => panic!("{error:?}"),
        }
        let output = std::io::read_to_string(File::from(reader)).unwrap();
        loop {
            if let Event::ExecExited { code, .. } = self.connection.event().unwrap() {
                return Ok((code, output));
            }
        }
    }

    /// Runs a script as a further process.
    pub(crate) fn exec_script(&mut self, script: &str) -> (i32, String) {
        self.exec(&exec(&["sh", "-c", script])).unwrap()
    }

    /// The container's log so far.
    pub(crate) fn stdout(&self) -> String {
        text_of(
            &std::fs::read_to_string(self.state.join("log")).unwrap_or_default(),
            "stdout",
        )
    }

    /// Waits until the log's standard output satisfies a condition.
    pub(crate) fn wait_for_stdout(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        wait_until(what, || Some(self.stdout()).filter(|text| condition(text)))
    }
}

/// A further process.
pub(crate) fn exec(argv: &[&str]) -> ExecSpec {
    ExecSpec {
        argv: argv.iter().map(|text| (*text).to_owned()).collect(),
        environment: vec!["PATH=/bin".to_owned()],
        working_directory: String::new(),
        user: String::new(),
        terminal: None,
        privileged: false,
    }
}

/// Waits for a value with a deadline.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spec(place: &Path, argv: &[&str], unique: &str) -> RuntimeSpec {
    RuntimeSpec {
        id: unique.to_owned(),
        argv: argv.iter().map(|text| (*text).to_owned()).collect(),
        environment: vec!["PATH=/bin".to_owned()],
        working_directory: String::new(),
        user: String::new(),
        additional_groups: Vec::new(),
        hostname: Some("testhost".to_owned()),
        domainname: None,
        root: RootFilesystem {
            layers: vec![place.join("layer")],
            upper: place.join("upper"),
            work: place.join("work"),
            mount_point: place.join("merged"),
            read_only: false,
            volatile: false,
        },
        mounts: Vec::new(),
        terminal: None,
        security: Security::default(),
        devices: Vec::new(),
        device_rules: Vec::new(),
        limits: Vec::new(),
        sysctls: BTreeMap::new(),
        oom_score_adj: None,
        resources: Resources::default(),
        cgroup: PathBuf::from(format!("hoist-tests-{unique}")),
        namespaces: Namespaces {
            network: NetworkNamespace::Empty,
            ..Namespaces::default()
        },
        user_namespace: None,
        init: false,
        shm_size: None,
        umask: None,
    }
}

fn make_layer(layer: &Path) {
    for directory in ["bin", "etc", "tmp", "root"] {
        std::fs::create_dir(layer.join(directory)).unwrap();
    }
    std::fs::copy("/usr/bin/busybox", layer.join("bin/busybox"))
        .or_else(|_| std::fs::copy("/bin/busybox", layer.join("bin/busybox")))
        .expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n";
    std::fs::write(layer.join("etc/passwd"), passwd).unwrap();
    std::fs::write(
        layer.join("etc/group"),
        "root:x:0:\napp:x:1001:\nextra:x:2000:app\n",
    )
    .unwrap();
}

/// Control groups of the container that still exist.
fn leftovers(spec: &RuntimeSpec) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/sys/fs/cgroup") else {
        return Vec::new();
    };
    let groups = entries.map(|entry| entry.unwrap().path().join(&spec.cgroup));
    groups.filter(|group| group.exists()).collect()
}

/// The text of one stream in a json-file log.
pub(crate) fn text_of(log: &str, stream: &str) -> String {
    let entries = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let of_stream = entries.filter(|entry| entry["stream"] == stream);
    of_stream
        .map(|entry| entry["log"].as_str().unwrap().to_owned())
        .collect()
}
