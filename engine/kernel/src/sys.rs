//! The raw system calls that rustix does not offer as safe functions.
//!
//! One `unsafe` operation per function; what makes it sound is said at the block and does not depend on
//! the caller.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::thread::UnshareFlags;

use crate::init::program::{Instruction, MountAttributes, Propagation};

/// unshare(2) for the calling thread. `FILES` is refused, which is the only flag that can invalidate
/// descriptors that other threads own.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL);
    }
    // SAFETY: without CLONE_FILES the descriptor table stays shared, so no `OwnedFd` of another thread
    // changes its meaning; the other flags change no memory of this process.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A signal by its number, 1 to 64; real-time signals too, which rustix names only through this door.
pub(crate) fn signal(number: i32) -> Option<rustix::process::Signal> {
    if let Some(named) = rustix::process::Signal::from_named_raw(number) {
        return Some(named);
    }
    if !(32..=64).contains(&number) {
        return None;
    }
    // SAFETY: the signal is only ever sent to other processes by number; no handler or mask of this
    // process's libc, which reserves 32 and 33 for itself, is touched through the value.
    Some(unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}

/// clone(2) as fork(2) uses it, which filters allow where clone3(2) is refused. In the parent: the child's id.
pub(crate) fn plain_fork(_proof: SingleThreaded) -> Result<Option<i32>> {
    // SAFETY: without CLONE_VM the child has a copy of the memory, and with a null stack its stack pointer stays
    // valid; this process has one thread (`_proof`), so no lock is held by a thread that the child lacks.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    if pid == 0 {
        Ok(None)
    } else {
        i32::try_from(pid).map(Some).map_err(|_| Errno::OVERFLOW)
    }
}

/// What clone3(2) is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CloneRequest<'fd> {
    /// `CLONE_*` bits without `CLONE_VM` and those that ask for descriptors, which the fields below set.
    pub(crate) flags: u64,
    /// Start in this version 2 cgroup.
    pub(crate) cgroup: Option<BorrowedFd<'fd>>,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's id in its own pid namespace and its pidfd.
    Parent(i32, OwnedFd),
}

/// Proof that the process has one thread. It holds in children made by [`fork`] as well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Looks at `/proc/self/task`, which has a link for each thread besides its own two.
    ///
    /// A thread can only be started by this thread, and nothing that holds the proof starts one.
    pub(crate) fn check() -> Result<Self> {
        let links = rustix::fs::stat(c"/proc/self/task")?.st_nlink;
        if links == 3 {
            Ok(Self(()))
        } else {
            Err(Errno::INVAL)
        }
    }
}

/// clone3(2) without shared memory.
pub(crate) fn fork(request: CloneRequest<'_>, _proof: SingleThreaded) -> Result<Forked> {
    const REFUSED: libc::c_int = libc::CLONE_VM
        | libc::CLONE_VFORK
        | libc::CLONE_THREAD
        | libc::CLONE_FILES
        | libc::CLONE_FS;
    if request.flags & u64::from(REFUSED.cast_unsigned()) != 0 {
        return Err(Errno::INVAL);
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = request.flags | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    // A process made with CLONE_PARENT inherits the parent's own exit signal: SIGCHLD.
    let inherits = flags & u64::from(libc::CLONE_PARENT.cast_unsigned()) != 0;
    let exit_signal = if inherits { 0 } else { libc::SIGCHLD };
    if request.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    let arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(exit_signal.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: request
            .cgroup
            .map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the child has a copy of the memory and its own stack pointer stays valid; this
    // process has one thread (`_proof`), so no lock is held by a thread that the child lacks.
    // `arguments` and `pidfd` outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) };
    match check(result)? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us alone (CLONE_PIDFD).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(
                i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?,
                pidfd,
            ))
        }
    }
}

/// `CLONE_INTO_CGROUP` of linux/sched.h, which libc declares as a type too small for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// mount_setattr(2) on an open mount.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, change: MountAttributes) -> Result<()> {
    let propagation = match change.propagation {
        None => 0,
        Some(Propagation::Private) => libc::MS_PRIVATE,
        Some(Propagation::Slave) => libc::MS_SLAVE,
        Some(Propagation::Shared) => libc::MS_SHARED,
    };
    let attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation,
        userns_fd: 0,
    };
    let recursive = if change.recursive {
        libc::AT_RECURSIVE
    } else {
        0
    };
    set_mount_attributes(mount, attributes, recursive)
}

/// Shows a detached mount with the ids of a user namespace (`MOUNT_ATTR_IDMAP`, since Linux 5.12).
pub(crate) fn map_ids(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().cast_unsigned()),
    };
    set_mount_attributes(mount, attributes, 0)
}

fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: libc::mount_attr,
    recursive: libc::c_int,
) -> Result<()> {
    // SAFETY: the path is an empty C string and `attributes` has the size that is passed; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Loads a seccomp filter for this thread.
pub(crate) fn load_filter(filter: &[Instruction]) -> Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?;
    // `Instruction` has the layout of `struct sock_filter`.
    let program = libc::sock_fprog {
        len: length,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `program` describes exactly `filter`, which the kernel copies and does not write.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    check(result).map(drop)
}

/// Joins a new session keyring of this name.
pub(crate) fn join_keyring(name: &CStr) -> Result<()> {
    /// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
    const JOIN: libc::c_int = 1;
    // SAFETY: `name` is a C string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) }).map(drop)
}

/// Makes every descriptor from `first` on close at execve(2).
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: nothing is closed now; the flag changes no open descriptor's meaning.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// Whether the working directory can be reached from the root: the kernel says `(unreachable)…` if not.
pub(crate) fn working_directory_is_reachable() -> Result<bool> {
    let mut buffer = [0_u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    check(result)?;
    Ok(buffer[0] == b'/')
}

/// Puts every signal back to its default handling and unblocks all.
pub(crate) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL runs no code of this process. Signals that cannot be set are refused by the call.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_blocked(&empty_signals());
}

/// Blocks every signal that can be blocked.
pub(crate) fn block_signals() {
    let mut all = empty_signals();
    // SAFETY: `all` is an initialised set that this function owns.
    unsafe { libc::sigfillset(&raw mut all) };
    set_blocked(&all);
}

/// Waits for any blocked signal and returns its number.
pub(crate) fn wait_for_signal() -> Result<i32> {
    let mut all = empty_signals();
    // SAFETY: `all` is an initialised set that this function owns.
    unsafe { libc::sigfillset(&raw mut all) };
    let mut number = 0;
    // SAFETY: both pointers are to live local values.
    match unsafe { libc::sigwait(&raw const all, &raw mut number) } {
        0 => Ok(number),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// See [`crate::signal::descriptor`].
pub(crate) fn signal_descriptor(signals: &[i32]) -> Result<OwnedFd> {
    let mut set = empty_signals();
    for signal in signals {
        // SAFETY: `set` is an initialised set that this function owns; a bad number is refused by the call.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set_blocked(&set);
    // SAFETY: `set` is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(fd.into())?;
    // SAFETY: signalfd(2) has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn empty_signals() -> libc::sigset_t {
    // SAFETY: a signal set is plain bits, and all zero is the empty set on Linux.
    unsafe { std::mem::zeroed() }
}

fn set_blocked(set: &libc::sigset_t) {
    // SAFETY: `set` is initialised; the old mask is not asked for. It cannot fail with a valid `how`.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) };
}

/// A table of C strings ending in null, as execve(2) takes it, with room for more.
#[derive(Debug, Default)]
pub(crate) struct PointerTable<'strings> {
    pointers: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'strings CStr>,
}

impl<'strings> PointerTable<'strings> {
    /// A table of `strings` with room for `spare` more.
    pub(crate) fn new(strings: &'strings [std::ffi::CString], spare: usize) -> Self {
        let mut pointers = Vec::with_capacity(strings.len() + spare + 1);
        pointers.extend(strings.iter().map(|string| string.as_ptr()));
        pointers.push(std::ptr::null());
        Self {
            pointers,
            strings: std::marker::PhantomData,
        }
    }

    /// Adds a string; never allocates within the room that was asked for.
    pub(crate) fn push(&mut self, string: &'strings CStr) {
        self.pointers.pop();
        self.pointers.push(string.as_ptr());
        self.pointers.push(std::ptr::null());
    }
}

/// execve(2); returns only when it fails.
pub(crate) fn execve(path: &CStr, argv: &PointerTable<'_>, env: &PointerTable<'_>) -> Errno {
    // SAFETY: both tables end in null and their strings live as long as the borrows.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    last_errno()
}

/// Loads an eBPF program; `load` points to its instructions, which outlive the call by the borrow of the caller.
pub(crate) fn bpf_load(command: libc::c_int, load: &crate::device_filter::Load) -> Result<OwnedFd> {
    let size = size_of::<crate::device_filter::Load>();
    // SAFETY: the kernel reads `size` bytes of a live value and, through it, the instructions and a C string
    // that `device_filter::attach` holds; without a log it writes nothing.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(load), size) })?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: BPF_PROG_LOAD has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches an eBPF program.
pub(crate) fn bpf_attach(
    command: libc::c_int,
    attach: &crate::device_filter::Attach,
) -> Result<()> {
    let size = size_of::<crate::device_filter::Attach>();
    // SAFETY: the kernel reads `size` bytes of a live value of integers.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attach), size) })
        .map(drop)
}

/// setfsuid(2) and setfsgid(2) for this thread alone. They tell no failure: what is there now is asked for.
pub(crate) fn set_file_ids(user: u32, group: u32) -> Result<()> {
    for (call, id) in [(libc::SYS_setfsgid, group), (libc::SYS_setfsuid, user)] {
        // SAFETY: integers only; no memory is involved.
        unsafe { libc::syscall(call, id) };
        // SAFETY: as above; an id that is no id changes nothing and the present one is returned.
        let present = unsafe { libc::syscall(call, -1) };
        if present != libc::c_long::from(id) {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

/// Ends the process at once, without running any exit handler of the shim's that a child has inherited.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ending the process needs nothing of it.
    unsafe { libc::_exit(code) }
}

/// `SIOCOUTQ`: how many bytes wait at the other end of a socket (unix(7)).
pub(crate) fn bytes_waiting(socket: BorrowedFd<'_>) -> Result<libc::c_int> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: for TIOCOUTQ, which SIOCOUTQ is another name of, the kernel writes one int to the address.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    check(libc::c_long::from(result)).map(|_| bytes)
}

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(result)
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Moves this process into namespaces (`CLONE_NEW*` bits) of the process that a pidfd means.
pub(crate) fn join_process(pidfd: BorrowedFd<'_>, namespaces: u64) -> Result<()> {
    let flags = libc::c_int::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    // SAFETY: the caller is the single thread of a process made for this; no other thread's view changes.
    check(unsafe { libc::setns(pidfd.as_raw_fd(), flags) }.into()).map(drop)
}

/// Sets a resource limit (`RLIMIT_*` by number) of this process.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` outlives the call, which only reads it; a bad number is refused.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).map(drop)
}

/// The hard limit of this process.
pub(crate) fn hard_limit(resource: u32) -> Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit` to a live local value; a bad number is refused.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) }.into())?;
    Ok(limit.rlim_max)
}

/// Takes a capability, by number, from the bounding set.
pub(crate) fn drop_bounding(number: u32) -> Result<()> {
    // SAFETY: prctl(2) with integers only.
    check(
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) }.into(),
    )
    .map(drop)
}

/// Closes every descriptor from `first` on. Only for a process that ends without touching them again.
pub(crate) fn close_from(first: u32) {
    // SAFETY: called where control never returns to owners of these descriptors: the process goes on in a
    // loop without descriptors and leaves by `_exit`.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}
