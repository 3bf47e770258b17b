//! `init: true`: our own code stays as process 1, forwards signals and reaps; no file of the image is needed.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::report::Reason;
use super::run::{Child, Step};
use crate::sys;

/// Forks. The child goes on with the program; the parent never comes back.
pub(crate) fn become_init(child: &mut Child<'_>) -> Step {
    sys::block_signals();
    match sys::plain_fork(child.proof)? {
        None => {
            // A process group of its own, in the foreground: a ^C reaches it once, from the terminal.
            rustix::process::setpgid(None, None)?;
            if child.streams[0]
                .as_ref()
                .is_some_and(rustix::termios::isatty)
            {
                let group = rustix::process::getpgrp();
                rustix::termios::tcsetpgrp(rustix::stdio::stdin(), group)?;
            }
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(Reason::from)
        }
        Some(pid) => {
            let main = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
            let _ = rustix::thread::set_name(c"hoist-init");
            // Everything but the standard streams: above all the channel, whose end tells of the execve.
            sys::close_from(3);
            sys::exit_now(supervise(main))
        }
    }
}

/// Forwards and reaps until the main process ends; its exit code.
fn supervise(main: Pid) -> i32 {
    loop {
        match sys::wait_for_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(main) {
                    return code;
                }
            }
            // The terminal's stop signals are for the foreground group, which is not ours.
            Ok(libc::SIGTTIN | libc::SIGTTOU | libc::SIGTSTP) => {}
            Ok(signal) => {
                if let Some(signal) = sys::signal(signal) {
                    let _ = rustix::process::kill_process(main, signal);
                }
            }
            Err(_) => return 1,
        }
    }
}

fn reap(main: Pid) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            code = exit_code(status);
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
