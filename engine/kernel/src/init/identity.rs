//! Operations on who the process is and what it may do.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::mounts;
use super::program::{Capabilities, OnFailure, Op, Target, UserLookup};
use super::report::Reason;
use super::run::{Child, Step};
use crate::path::resolve;
use crate::{accounts, sys};

/// The most of a passwd or group file that is read.
const FILE_LIMIT: usize = 1 << 20;
/// The kernel's own limit of supplementary groups (`NGROUPS_MAX`).
const GROUP_LIMIT: usize = 65_536;
const HOME_PREFIX: &[u8] = b"HOME=";
const HOME_LIMIT: usize = 4_096;
/// `CAP_SYS_ADMIN` of linux/capability.h.
const SYS_ADMIN: u64 = 1 << 21;

/// Who the process is going to be, with room for everything that is found out in the child.
#[derive(Debug)]
pub(crate) struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<Gid>,
    home: Vec<u8>,
    file: Vec<u8>,
}

impl Identity {
    /// Memory that is not touched costs nothing: the large buffers are only reserved.
    pub(crate) fn with_room() -> Self {
        let mut home = Vec::with_capacity(HOME_PREFIX.len() + HOME_LIMIT + 2);
        home.extend_from_slice(b"HOME=/\0");
        Self {
            uid: 0,
            gid: 0,
            groups: Vec::with_capacity(GROUP_LIMIT),
            home,
            file: vec![0; FILE_LIMIT],
        }
    }

    /// `HOME=…` of the user that was looked up, with its end mark.
    pub(crate) fn take_home_variable(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.home)
    }

    fn set_home(&mut self, home: &[u8]) {
        if home.is_empty() || home.len() > HOME_LIMIT || home.contains(&0) {
            return;
        }
        self.home.clear();
        self.home.extend_from_slice(HOME_PREFIX);
        self.home.extend_from_slice(home);
        self.home.push(0);
    }

    fn add_group(&mut self, gid: u32) {
        let gid = Gid::from_raw(gid);
        if self.groups.len() < GROUP_LIMIT && !self.groups.contains(&gid) {
            self.groups.push(gid);
        }
    }
}

pub(crate) fn step(child: &mut Child<'_>, op: &Op) -> Step {
    match op {
        Op::LookUpUser(lookup) => look_up_user(child, lookup),
        Op::WorkingDirectory { target, create } => {
            child.open_own_root()?;
            enter_directory(child, target, *create)
        }
        Op::ActAs { user, group } => act_as(*user, *group),
        Op::GiveStreams { user, group } => give_streams(child, *user, *group),
        Op::BecomeRoot => become_root(),
        Op::Stdio => set_streams(child),
        Op::BecomeUser(capabilities) => become_user(&child.identity, *capabilities),
        Op::FinishCapabilities(capabilities) => finish_capabilities(&child.identity, *capabilities),
        Op::NoNewPrivileges => rustix::thread::set_no_new_privs(true).map_err(Reason::from),
        Op::LoadFilter(filter) => sys::load_filter(filter).map_err(Reason::from),
        Op::JoinKeyring(name) => match sys::join_keyring(name) {
            // Without keyrings in the kernel, or beyond their quota, there is nothing to keep apart.
            Ok(()) | Err(Errno::NOSYS | Errno::DQUOT) => Ok(()),
            Err(errno) => Err(errno.into()),
        },
        Op::SetLimit {
            resource,
            soft,
            hard,
        } => set_limit(child, *resource, (*soft, *hard)),
        _ => Err(Errno::NOSYS.into()),
    }
}

/// A limit above our own cannot be set without CAP_SYS_RESOURCE: it becomes ours, and a warning.
fn set_limit(child: &Child<'_>, resource: u32, (soft, hard): (u64, u64)) -> Step {
    match sys::set_limit(resource, soft, hard) {
        Err(Errno::PERM) => {
            let most = sys::hard_limit(resource)?;
            sys::set_limit(resource, soft.min(most), hard.min(most))?;
            child.optional(OnFailure::Warn, Err(Errno::PERM.into()))
        }
        result => result.map_err(Reason::from),
    }
}

fn look_up_user(child: &mut Child<'_>, lookup: &UserLookup) -> Step {
    child.open_own_root()?;
    let mut file = std::mem::take(&mut child.identity.file);
    let length = read_file(child, c"etc/passwd", &mut file)?;
    let wanted: &[u8] = if lookup.user.is_empty() {
        b"0"
    } else {
        &lookup.user
    };
    let found = accounts::find_user(&file[..length], wanted);
    let mut name = [0_u8; 256];
    let mut name_length = 0;
    match found {
        Some(user) => {
            child.identity.uid = user.uid;
            child.identity.gid = user.gid;
            child.identity.set_home(user.home);
            name_length = user.name.len().min(name.len());
            name[..name_length].copy_from_slice(&user.name[..name_length]);
        }
        None => child.identity.uid = number(wanted, Reason::NoSuchUser)?,
    }
    let length = read_file(child, c"etc/group", &mut file)?;
    let groups = &file[..length];
    if lookup.group.is_empty() {
        child.identity.add_group(child.identity.gid);
        for group in accounts::groups(groups)
            .filter(|group| name_length > 0 && group.has_member(&name[..name_length]))
        {
            child.identity.add_group(group.gid);
        }
    } else {
        child.identity.gid = find_group(groups, &lookup.group)?;
        child.identity.add_group(child.identity.gid);
    }
    for wanted in &lookup.additional {
        let gid = find_group(groups, wanted)?;
        child.identity.add_group(gid);
    }
    let Identity { uid, gid, .. } = child.identity;
    if uid > accounts::MAX_ID || gid > accounts::MAX_ID {
        Err(Reason::BadId)
    } else {
        Ok(())
    }
}

fn find_group(file: &[u8], wanted: &[u8]) -> Step<u32> {
    match accounts::find_group(file, wanted) {
        Some(group) => Ok(group.gid),
        None => number(wanted, Reason::NoSuchGroup),
    }
}

fn number(text: &[u8], not_a_number: Reason) -> Step<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(not_a_number);
    }
    accounts::number(text)
        .filter(|id| *id <= accounts::MAX_ID)
        .ok_or(Reason::BadId)
}

/// Reads a regular file of the root; a missing one is empty. Never blocks on a pipe or device put in its place.
fn read_file(child: &Child<'_>, path: &CStr, buffer: &mut [u8]) -> Step<usize> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match resolve(child.root()?, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    if !FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode).is_file() {
        return Ok(0);
    }
    let mut length = 0;
    while length < buffer.len() {
        match rustix::io::read(&file, &mut buffer[length..]) {
            // A file that cannot be read on holds nothing more.
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    Ok(length)
}

/// A working directory that leads outside, by a descriptor of the machine that is still open here, would give
/// the machine's files to the container (CVE-2024-21626): links into `/proc/self/fd` are not followed, and
/// the kernel is asked whether the result is below our root.
fn enter_directory(child: &Child<'_>, target: &Target, create: bool) -> Step {
    let directory = if target.path.is_empty() {
        resolve(
            child.root()?,
            c".",
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )?
    } else if create {
        mounts::open_target(child.root()?, target, true)?
    } else {
        resolve(
            child.root()?,
            target.path.as_c_str(),
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )?
    };
    rustix::process::fchdir(&directory)?;
    if sys::working_directory_is_reachable()? {
        Ok(())
    } else {
        Err(Reason::OutsideRoot)
    }
}

/// Where the kernel's ids of files are mapped, files can only be made by ids that the map has. The capabilities that the
/// change would take away (capabilities(7), "effect of user ID changes") stay.
fn act_as(user: u32, group: u32) -> Step {
    use rustix::thread::CapabilitiesSecureBits as Bits;
    let bits = if user == 0 {
        Bits::empty()
    } else {
        Bits::NO_SETUID_FIXUP
    };
    rustix::thread::set_capabilities_secure_bits(bits)?;
    sys::set_file_ids(user, group).map_err(Reason::from)
}

/// From inside a user namespace, a stream that belongs to an id outside of it cannot be given to anybody.
fn give_streams(child: &Child<'_>, user: u32, group: u32) -> Step {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    for stream in child.streams.iter().flatten() {
        if rustix::fs::fstat(stream)?.st_rdev == rustix::fs::makedev(1, 3) {
            continue;
        }
        match rustix::fs::fchown(stream, Some(user), Some(group)) {
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn become_root() -> Step {
    rustix::thread::set_thread_groups(&[])?;
    let (user, group) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    // Changing the user has cleared it (prctl(2)).
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(Reason::from)
}

/// Puts the streams in place and gives them to the user, who could not reopen `/dev/stdout` otherwise.
fn set_streams(child: &mut Child<'_>) -> Step {
    let [input, output, error] = &child.streams;
    let place = |fd: &Option<OwnedFd>, dup: fn(&OwnedFd) -> rustix::io::Result<()>| match fd {
        Some(fd) => dup(fd),
        None => Ok(()),
    };
    place(input, |fd| rustix::stdio::dup2_stdin(fd))?;
    place(output, |fd| rustix::stdio::dup2_stdout(fd))?;
    place(error, |fd| rustix::stdio::dup2_stderr(fd))?;
    let user = Uid::from_raw(child.identity.uid);
    for stream in child.streams.iter().flatten() {
        let status = rustix::fs::fstat(stream)?;
        let is_null = status.st_rdev == rustix::fs::makedev(1, 3);
        if is_null || status.st_uid == child.identity.uid {
            continue;
        }
        match rustix::fs::fchown(stream, Some(user), None) {
            // A file of the machine that cannot be given away is still readable through the descriptor.
            Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    sys::close_on_exec_from(3).map_err(Reason::from)
}

/// The order is that of capabilities(7): the bounding set while CAP_SETPCAP is held, groups before users, and
/// the capabilities kept over the change of user until the filter is loaded.
fn become_user(identity: &Identity, capabilities: Capabilities) -> Step {
    drop_bounding(capabilities.allowed)?;
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(&identity.groups)?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    rustix::thread::clear_ambient_capability_set()?;
    set_capabilities(capabilities.allowed | SYS_ADMIN)?;
    // Changing the user has cleared it (prctl(2)).
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(Reason::from)
}

fn finish_capabilities(identity: &Identity, capabilities: Capabilities) -> Step {
    let last = if identity.uid == 0 {
        capabilities.allowed
    } else {
        0
    };
    set_capabilities(last).map_err(Reason::from)
}

fn set_capabilities(bits: u64) -> rustix::io::Result<()> {
    let set = CapabilitySet::from_bits_retain(bits);
    let sets = CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

fn drop_bounding(keep: u64) -> rustix::io::Result<()> {
    for number in 0..64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        match sys::drop_bounding(number) {
            Ok(()) => {}
            // Beyond the kernel's last capability.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
