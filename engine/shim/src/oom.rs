//! Hearing of kills for lack of memory when they happen.
//!
//! Version 2 tells by a change of `memory.events`, which inotify(7) reports; version 1 by an eventfd that is registered in
//! `cgroup.event_control` (the kernel's cgroup-v1/memory.rst, "OOM Control"), a moment before it counts the kill.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use crate::cgroup;
use crate::protocol::OomCounter;

/// How long the count may come after the notice, and how often it is looked at until then.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Watches one counter.
#[derive(Debug)]
pub(crate) struct OomWatch {
    notices: OwnedFd,
    counter: OomCounter,
    /// Kills that were told.
    told: u64,
    /// A notice came whose kill is not counted yet: look again until then.
    expected_until: Option<Instant>,
    /// A notice came of memory that is short where nothing is killed for it (`OomKillDisable`, version 1 only).
    waits: bool,
}

impl OomWatch {
    /// Starts watching; `None` where the kernel offers no notices, and the end of the container tells.
    pub(crate) fn open(counter: &OomCounter) -> Option<Self> {
        let name = counter.file.file_name()?.to_str()?;
        let notices = if name == "memory.oom_control" {
            register(&counter.file).ok()?
        } else {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags).ok()?;
            inotify::add_watch(&watch, &counter.file, inotify::WatchFlags::MODIFY).ok()?;
            watch
        };
        Some(Self {
            notices,
            counter: counter.clone(),
            told: 0,
            expected_until: None,
            waits: false,
        })
    }

    /// Takes a notice.
    pub(crate) fn noticed(&mut self) {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.notices, &mut buffer).is_ok_and(|length| length > 0) {}
        self.expected_until = Some(Instant::now() + PATIENCE);
        let state = std::fs::read_to_string(&self.counter.file).unwrap_or_default();
        self.waits |= waits(&state);
    }

    /// Whether memory was short in a way that was not told before: mostly there were kills.
    pub(crate) fn look(&mut self) -> bool {
        if std::mem::take(&mut self.waits) {
            self.expected_until = None;
            return true;
        }
        let Some(until) = self.expected_until else {
            return false;
        };
        let found = self.untold();
        if found || Instant::now() >= until {
            self.expected_until = None;
        }
        found
    }

    /// As [`OomWatch::look`], without a notice.
    pub(crate) fn untold(&mut self) -> bool {
        let kills = cgroup::kills(&self.counter);
        let new = kills > self.told;
        self.told = self.told.max(kills);
        new
    }

    /// When to look again.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        self.expected_until.map(|_| now + PAUSE)
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }
}

fn register(control: &Path) -> std::io::Result<OwnedFd> {
    let notices = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let file = std::fs::File::open(control)?;
    let text = format!("{} {}", notices.as_raw_fd(), file.as_raw_fd());
    std::fs::write(control.with_file_name("cgroup.event_control"), text)?;
    Ok(notices)
}

/// Whether processes wait for memory because none may be killed, as version 1's `memory.oom_control` tells.
fn waits(state: &str) -> bool {
    let is_set = |name: &str| {
        let mut lines = state.lines();
        lines.any(|line| line.split_once(' ') == Some((name, "1")))
    };
    is_set("oom_kill_disable") && is_set("under_oom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_killed_waits() {
        assert!(waits("oom_kill_disable 1\nunder_oom 1\noom_kill 0\n"));
        assert!(!waits("oom_kill_disable 0\nunder_oom 1\noom_kill 0\n"));
        assert!(!waits("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n"));
        assert!(!waits("low 0\noom 1\noom_kill 1\n"));
    }
}
