//! Device access of a version 2 cgroup: an eBPF program (`BPF_PROG_TYPE_CGROUP_DEVICE`), attached by bpf(2).
//!
//! The program itself is made elsewhere, as instructions; this module loads and attaches it. The group keeps
//! it alive after the descriptor is closed.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{KernelError, Result};
use crate::sys;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of groups below apply as well; each must allow.
const ALLOW_MULTI: u32 = 2;

/// The start of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
}

/// The start of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program and attaches it to an open cgroup directory.
///
/// # Errors
/// `EINVAL` when the verifier refuses it, `EPERM` without CAP_BPF and CAP_NET_ADMIN.
pub fn attach(group: &OwnedFd, instructions: &[u64]) -> Result<()> {
    let count = u32::try_from(instructions.len())
        .map_err(|_| KernelError::new("bpf", "BPF_PROG_LOAD", Errno::TOOBIG))?;
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        instruction_count: count,
        instructions: instructions.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
    };
    let program = sys::bpf_load(PROG_LOAD, &load)
        .map_err(|errno| KernelError::new("bpf", "BPF_PROG_LOAD", errno))?;
    let attach = Attach {
        target: group.as_fd().as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    sys::bpf_attach(PROG_ATTACH, &attach)
        .map_err(|errno| KernelError::new("bpf", "BPF_PROG_ATTACH", errno))
}
