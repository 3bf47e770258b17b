//! A command that is followed while it runs, perhaps on a terminal of its own.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::common::{run, wait_until};

/// How long a test waits for one thing to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running command and all it has printed so far.
#[derive(Debug)]
pub(crate) struct Session {
    child: Child,
    printed: Arc<Mutex<String>>,
    terminal: Option<OwnedFd>,
}

impl Session {
    /// Starts a command; both its outputs are kept as one.
    pub(crate) fn start(mut command: Command) -> Session {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Arc::default();
        collect(child.stdout.take().unwrap(), &printed);
        collect(child.stderr.take().unwrap(), &printed);
        Session {
            child,
            printed,
            terminal: None,
        }
    }

    /// Starts a command on a terminal of this many rows and columns.
    pub(crate) fn on_terminal(mut command: Command, rows: u16, columns: u16) -> Session {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        set_size(&master, rows, columns);
        let streams = [
            slave.try_clone().unwrap(),
            slave.try_clone().unwrap(),
            slave,
        ];
        let [stdin, stdout, stderr] = streams.map(Stdio::from);
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        drop(command);
        let printed = Arc::default();
        collect(std::fs::File::from(master.try_clone().unwrap()), &printed);
        Session {
            child,
            printed,
            terminal: Some(master),
        }
    }

    /// What it has printed.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let what = format!("{text:?} is printed");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(PATIENCE, &what, || self.printed().contains(text));
        }));
        assert!(
            found.is_ok(),
            "{text:?} is not printed, but:\n{}",
            self.printed()
        );
    }

    /// Types on its terminal.
    pub(crate) fn types(&self, text: &str) {
        let terminal = self.terminal.as_ref().expect("it is on a terminal");
        rustix::io::write(terminal, text.as_bytes()).unwrap();
    }

    /// Changes its terminal's size and tells it so.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        set_size(
            self.terminal.as_ref().expect("it is on a terminal"),
            rows,
            columns,
        );
        self.signal(Signal::WINCH);
    }

    /// The settings of its terminal.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(self.terminal.as_ref().expect("it is on a terminal")).unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; its exit code and all it has printed.
    #[track_caller]
    pub(crate) fn end(mut self) -> (i32, String) {
        let mut status = None;
        wait_until(PATIENCE, "the command ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // Its last words may still be on their way through the pipe.
        wait_until(PATIENCE, "its output is read", || {
            self.terminal.is_some() || Arc::strong_count(&self.printed) == 1
        });
        (run::code(status.unwrap()), self.printed())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, printed: &Arc<Mutex<String>>) {
    let printed = printed.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            printed
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}
