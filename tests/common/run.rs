//! Running a command to its end within a time limit.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Run {
    /// The command, for messages.
    pub line: String,
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// Insists on exit code 0.
    #[track_caller]
    pub fn ok(self) -> Run {
        self.exits(0)
    }

    /// Insists on this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Insists on a failure.
    #[track_caller]
    pub fn fails(self) -> Run {
        assert_ne!(self.code, 0, "{self}");
        self
    }

    /// Insists that one of the two outputs contains each of these texts.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Run {
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "nothing says {text:?}\n{self}"
            );
        }
        self
    }

    /// Standard output read as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "$ {}\n{}{}[exit code {} after {:.2?}]",
            self.line, self.stdout, self.stderr, self.code, self.took
        )
    }
}

/// Runs the command with no input. It has ended when it and whoever has its outputs open are gone: an engine started on
/// the way that kept the pipes would hang every `$(hoist …)`, and is found here.
#[track_caller]
pub fn to_end(command: Command, limit: Duration) -> Run {
    with_input(command, b"", limit)
}

/// [`to_end`] with an input.
#[track_caller]
pub fn with_input(mut command: Command, input: &[u8], limit: Duration) -> Run {
    let line = describe(&command);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    std::thread::spawn(move || {
        use std::io::Write;
        let _ = stdin.write_all(&input);
    });
    let stdout = reader(child.stdout.take().expect("piped"));
    let stderr = reader(child.stderr.take().expect("piped"));
    let deadline = start + limit;
    let out = stdout.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let err = stderr.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let (Ok(out), Ok(err)) = (out, err) else {
        let _ = child.kill();
        let status = child.wait();
        panic!(
            "{line}: did not end within {limit:?} ({status:?}); stderr: {}",
            stderr
                .recv_timeout(Duration::from_secs(1))
                .unwrap_or_default()
        );
    };
    let status = child.wait().expect("the child is ours");
    Run {
        line,
        code: code(status),
        stdout: out,
        stderr: err,
        took: start.elapsed(),
    }
}

/// The exit code as a shell shows it.
pub fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn reader(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
