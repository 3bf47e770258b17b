//! The terminal of a process, opened in the container's own `/dev/pts`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::mounts;
use super::program::{Op, Target};
use super::report::{self, Reason};
use super::run::{Child, Step};
use crate::path::resolve;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS: u64 = 0x1cd1;

/// Opens the terminal, makes it the controlling one and the standard streams, and sends its master to the shim.
///
/// `/dev/pts/ptmx` is verified to be the multiplexer of a devpts, and the other end is opened through it and
/// not by name: a file that the image has put there is refused (CVE-2025-52565).
pub(crate) fn open(child: &mut Child<'_>, op: &Op) -> Step {
    let Op::OpenConsole {
        rows,
        columns,
        bind,
    } = op
    else {
        return Err(rustix::io::Errno::NOSYS.into());
    };
    child.open_own_root()?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
    let path = resolve(child.root()?, c"dev/pts/ptmx", OFlags::PATH, Mode::empty())?;
    let status = rustix::fs::fstat(&path)?;
    let is_device = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
    let on_devpts =
        u64::try_from(rustix::fs::fstatfs(&path)?.f_type).is_ok_and(|kind| kind == DEVPTS);
    if !is_device || !on_devpts || status.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(Reason::Forged);
    }
    let master = resolve(child.root()?, c"dev/pts/ptmx", flags, Mode::empty())?;
    unlockpt(&master)?;
    let slave_flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, slave_flags)?;
    if (*rows, *columns) != (0, 0) {
        let size = Winsize {
            ws_row: *rows,
            ws_col: *columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size)?;
    }
    if let Some(target) = bind {
        bind_console(child, &slave, target)?;
    }
    rustix::process::ioctl_tiocsctty(&slave)?;
    report::send_terminal(child.channel.as_fd(), master.as_fd())?;
    let second = rustix::io::fcntl_dupfd_cloexec(&slave, 3)?;
    let third = rustix::io::fcntl_dupfd_cloexec(&slave, 3)?;
    child.streams = [Some(slave), Some(second), Some(third)];
    Ok(())
}

fn bind_console(child: &Child<'_>, slave: &OwnedFd, target: &Target) -> Step {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(slave, c"", flags)?;
    let place = mounts::open_target(child.root()?, target, false)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, c"", &place, c"", flags).map_err(Reason::from)
}
