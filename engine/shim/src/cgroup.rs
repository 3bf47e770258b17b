//! Carrying out a [`CgroupPlan`]: nothing here knows controllers or versions.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hoist_kernel::init::program::OnFailure;
use rustix::fs::{Mode, OFlags};

use crate::protocol::{CgroupPlan, CgroupValue, CgroupWrite, Failure, OomCounter};

/// How long the removal of groups waits for the last process to be gone.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(2);

/// Makes the groups and writes their limits; returns warnings.
///
/// # Errors
/// When a write that must succeed fails.
pub(crate) fn create(plan: &CgroupPlan) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for group in &plan.groups {
        if let Some(parent) = group.directory.parent()
            && let Err(error) = std::fs::create_dir_all(parent)
        {
            warnings.push(format!(
                "cannot make the cgroup {}: {error}",
                parent.display()
            ));
            continue;
        }
        write_all(&group.parents, &mut warnings)?;
        match std::fs::create_dir(&group.directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                warnings.push(format!(
                    "cannot make the cgroup {}: {error}",
                    group.directory.display()
                ));
            }
            _ => write_all(&group.writes, &mut warnings)?,
        }
    }
    if let (Some(group), false) = (&plan.unified, plan.device_filter.is_empty()) {
        attach_device_filter(group, &plan.device_filter)?;
    }
    Ok(warnings)
}

fn attach_device_filter(group: &Path, filter: &[u64]) -> Result<(), Failure> {
    let group = open_directory(group).map_err(|error| failure("open the cgroup", &error))?;
    hoist_kernel::device_filter::attach(&group, filter).map_err(|error| Failure {
        message: format!("cannot restrict devices: {error}"),
        errno: error.errno.raw_os_error(),
        exit_code: 128,
    })
}

fn write_all(writes: &[CgroupWrite], warnings: &mut Vec<String>) -> Result<(), Failure> {
    for write in writes {
        let (result, value) = match &write.value {
            CgroupValue::Text(value) => (write_value(&write.file, value), value.as_str()),
            CgroupValue::FromAbove => (copy_from_above(&write.file), "that of the group above"),
        };
        let Err(error) = result else { continue };
        let message = format!("cannot set {} to {value}: {error}", write.file.display());
        match write.on_failure {
            OnFailure::Warn => warnings.push(message),
            OnFailure::Fail => {
                let errno = error.raw_os_error().unwrap_or_default();
                return Err(Failure {
                    message,
                    errno,
                    exit_code: 128,
                });
            }
        }
    }
    Ok(())
}

fn copy_from_above(file: &Path) -> std::io::Result<()> {
    if !std::fs::read_to_string(file)?.trim().is_empty() {
        return Ok(());
    }
    let above = file.parent().and_then(Path::parent).zip(file.file_name());
    let above = above
        .map(|(directory, name)| directory.join(name))
        .ok_or(ErrorKind::NotFound)?;
    write_value(file, std::fs::read_to_string(above)?.trim())
}

/// Moves a process into the groups that are joined by a write; returns warnings.
pub(crate) fn join(plan: &CgroupPlan, pid: i32) -> Vec<String> {
    let groups = plan.groups.iter().filter(|group| group.join);
    groups
        .filter_map(|group| {
            let file = group.directory.join("cgroup.procs");
            write_value(&file, &pid.to_string()).err().map(|error| {
                format!(
                    "cannot join the cgroup {}: {error}",
                    group.directory.display()
                )
            })
        })
        .collect()
}

/// Opens the version 2 group, to start a process in it.
pub(crate) fn open_unified(plan: &CgroupPlan) -> Option<OwnedFd> {
    plan.unified
        .as_deref()
        .and_then(|group| open_directory(group).ok())
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Whether a process of the groups was killed for lack of memory.
pub(crate) fn out_of_memory(plan: &CgroupPlan) -> bool {
    plan.oom.as_ref().is_some_and(|counter| kills(counter) > 0)
}

/// How many processes were killed for lack of memory.
pub(crate) fn kills(counter: &OomCounter) -> u64 {
    let Ok(text) = std::fs::read_to_string(&counter.file) else {
        return 0;
    };
    let counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    counts
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

/// Kills every process of the groups.
pub(crate) fn kill(plan: &CgroupPlan) {
    if let Some(group) = &plan.unified
        && write_value(&group.join("cgroup.kill"), "1").is_ok()
    {
        return;
    }
    for group in &plan.groups {
        kill_tree(&group.directory);
    }
}

fn kill_tree(directory: &Path) {
    for child in subdirectories(directory) {
        kill_tree(&child);
    }
    let Ok(pids) = std::fs::read_to_string(directory.join("cgroup.procs")) else {
        return;
    };
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        // By descriptor: the number may mean another process by the time the signal is sent, the second
        // look at the group tells.
        let Ok(pidfd) = hoist_kernel::pidfd::open(pid) else {
            continue;
        };
        let again = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        if again.lines().any(|line| line.parse() == Ok(pid)) {
            let _ = hoist_kernel::pidfd::send_signal(&pidfd, 9);
        }
    }
}

/// Removes the groups with whatever a container has made below them, killing what is left in them.
pub(crate) fn remove(plan: &CgroupPlan) {
    let deadline = Instant::now() + REMOVAL_PATIENCE;
    let mut left: Vec<&PathBuf> = plan.groups.iter().map(|group| &group.directory).collect();
    let mut pause = Duration::from_micros(200);
    loop {
        left.retain(|directory| !remove_tree(directory));
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        // A process that was killed leaves its groups a moment after it was reaped (EBUSY until then).
        kill(plan);
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    for directory in left {
        crate::complain(format_args!(
            "cannot remove the cgroup {}",
            directory.display()
        ));
    }
}

/// Whether the group is gone.
fn remove_tree(directory: &Path) -> bool {
    match std::fs::remove_dir(directory) {
        Ok(()) => return true,
        Err(error) if error.kind() == ErrorKind::NotFound => return true,
        Err(_) => {}
    }
    for child in subdirectories(directory) {
        remove_tree(&child);
    }
    std::fs::remove_dir(directory).is_ok()
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let directories = entries.filter_map(Result::ok);
    directories
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn write_value(file: &Path, value: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}

fn failure(what: &str, error: &std::io::Error) -> Failure {
    Failure {
        message: format!("cannot {what}: {error}"),
        errno: error.raw_os_error().unwrap_or_default(),
        exit_code: 128,
    }
}
