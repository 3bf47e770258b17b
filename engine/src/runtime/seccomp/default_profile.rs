//! Docker's default profile (moby/profiles, 2026), as data.
//!
//! What everybody may call is in `allowed.txt`; here is what depends on something.

use super::super::capabilities;
use super::{Action, Argument, Comparison, Condition, Profile, Rule};

const ALLOWED: &str = include_str!("allowed.txt");

const PERM: u16 = 1;
const NO_SYSTEM_CALL: u16 = 38;

/// Namespace flags of clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Calls that a capability allows.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    (
        "SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("SYS_RAWIO", "iopl ioperm"),
    (
        "SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("SYS_TTY_CONFIG", "vhangup"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// Calls that an architecture has for itself.
const BY_ARCHITECTURE: [(&str, &str); 3] = [
    ("amd64", "arch_prctl modify_ldt"),
    (
        "arm64",
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    ("riscv64", "riscv_flush_icache"),
];

/// What personality(2) may set: Linux, 32 bits, with and without UNAME26, and asking for the current one.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Address families below these two gaps and beyond: AF_ALG (38) and AF_VSOCK (40) reach code of the kernel and
/// the hypervisor that no container needs.
const FAMILIES: [(Comparison, u64); 3] = [
    (Comparison::Less, 38),
    (Comparison::Equal, 39),
    (Comparison::Greater, 40),
];

/// The default profile.
pub fn default_profile() -> Profile {
    let mut rules = vec![rule(ALLOWED)];
    rules.push(Rule {
        includes: Condition {
            min_kernel: Some((4, 8)),
            ..Condition::default()
        },
        ..rule("process_vm_readv process_vm_writev ptrace")
    });
    for (comparison, value) in FAMILIES {
        rules.push(Rule {
            arguments: vec![argument(comparison, value)],
            ..rule("socket")
        });
    }
    for value in PERSONALITIES {
        rules.push(Rule {
            arguments: vec![argument(Comparison::Equal, value)],
            ..rule("personality")
        });
    }
    for (architecture, names) in BY_ARCHITECTURE {
        let architectures = vec![architecture.to_owned()];
        rules.push(Rule {
            includes: Condition {
                architectures,
                ..Condition::default()
            },
            ..rule(names)
        });
    }
    for (capability, names) in BY_CAPABILITY {
        rules.push(Rule {
            includes: having(capability),
            ..rule(names)
        });
    }
    // New namespaces would give a process capabilities inside them. What clone3(2) is asked for is behind a
    // pointer that a filter cannot follow: C libraries fall back to clone(2).
    rules.push(Rule {
        arguments: vec![argument(Comparison::MaskedEqual, NAMESPACE_FLAGS)],
        excludes: having("SYS_ADMIN"),
        ..rule("clone")
    });
    rules.push(Rule {
        action: Action::Errno(NO_SYSTEM_CALL),
        excludes: having("SYS_ADMIN"),
        ..rule("clone3")
    });
    Profile {
        default_action: Action::Errno(PERM),
        rules,
    }
}

fn rule(names: &str) -> Rule {
    Rule {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: Action::Allow,
        arguments: Vec::new(),
        includes: Condition::default(),
        excludes: Condition::default(),
    }
}

fn argument(comparison: Comparison, value: u64) -> Argument {
    Argument {
        index: 0,
        comparison,
        value,
        second_value: 0,
    }
}

fn having(capability: &str) -> Condition {
    Condition {
        capabilities: capabilities::bit(capability).unwrap_or_default(),
        ..Condition::default()
    }
}
