//! Kernel parameters that are set, and what of the kernel's file systems is hidden or read-only.

use hoist_kernel::init::program::{OnFailure, Op, Slot};

use super::super::lower::{Builder, LowerError, write};
use super::super::spec::{NamespaceMode, NetworkNamespace};
use super::relative;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What is masked and what is read-only unless something else is asked for, as inspect tells it.
pub(crate) fn default_paths() -> (Vec<String>, Vec<String>) {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    (owned(&MASKED), owned(&READ_ONLY))
}

/// Kernel parameters, through our own procfs. Only those of namespaces that the container does not share.
pub(super) fn add_sysctls(builder: &mut Builder<'_>, proc: Slot) -> Result<(), LowerError> {
    for (name, value) in &builder.spec.sysctls {
        let path = sysctl_path(name);
        let is_own = path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
            && is_own_sysctl(builder, &path);
        if !is_own {
            return Err(LowerError::Sysctl(name.clone()));
        }
        let path = format!("sys/{path}");
        builder.inside(write(proc, &path, value, OnFailure::Fail)?);
    }
    Ok(())
}

fn is_own_sysctl(builder: &Builder<'_>, path: &str) -> bool {
    const IPC: [&str; 8] = [
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
    ];
    let namespaces = &builder.spec.namespaces;
    let ipc = path
        .strip_prefix("kernel/")
        .is_some_and(|name| IPC.contains(&name))
        || path.starts_with("fs/mqueue/");
    (ipc && namespaces.ipc != NamespaceMode::Host)
        || (path.starts_with("net/") && namespaces.network != NetworkNamespace::Host)
        || (path == "kernel/domainname" && namespaces.uts == NamespaceMode::Private)
}

/// As sysctl(8) reads names: whichever separator comes first separates, and the other one stands for it inside a
/// name (`net.ipv4.conf.eth0/1.forwarding`, `net/ipv4/conf/eth0.1/forwarding`).
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => {
            let swap = |character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

pub(super) fn add_restrictions(builder: &mut Builder<'_>) -> Result<(), LowerError> {
    let security = &builder.spec.security;
    if security.privileged {
        return Ok(());
    }
    let defaults = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let read_only = security
        .read_only_paths
        .clone()
        .unwrap_or_else(|| defaults(&READ_ONLY));
    let masked = security
        .masked_paths
        .clone()
        .unwrap_or_else(|| [defaults(&MASKED), builder.machine.masked_paths.clone()].concat());
    for path in &read_only {
        builder.inside(Op::MakeReadOnly {
            path: relative(path)?,
        });
    }
    for path in &masked {
        builder.inside(Op::Mask {
            path: relative(path)?,
        });
    }
    Ok(())
}
