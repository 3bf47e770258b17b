//! Removes a tree that somebody else has filled, however deep it is.
//!
//! A container can nest directories without end, so neither the stack nor the number of open descriptors may grow with the depth: what lies
//! deeper than [`DEPTH`] is first moved up to the top. Links are never followed, and nothing that is mounted inside is entered.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// Directories that are open at a time.
const DEPTH: usize = 32;

/// Removes the file or tree at `path`, a path of the engine's own. One that is not there is no error.
///
/// # Errors
/// Something in the tree cannot be removed, for example because something is mounted on it.
pub fn erase_tree(path: &Path) -> io::Result<()> {
    Ok(erase_at(CWD, path.as_os_str())?)
}

/// Removes the file or tree `name` of an open directory. One that is not there is no error.
///
/// # Errors
/// As [`erase_tree`].
pub fn erase_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut eraser = Eraser {
        top: top.as_fd(),
        moved: 0,
    };
    // Each round takes DEPTH levels off what the one before moved up.
    while !names(top.as_fd())?.is_empty() {
        eraser.empty(top.as_fd(), 0)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

struct Eraser<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Eraser<'_> {
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for name in names(directory)? {
            match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) if depth == DEPTH => self.move_up(directory, &name)?,
                Err(Errno::ISDIR) => {
                    let resolve =
                        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let child =
                        rustix::fs::openat2(directory, &name, flags, Mode::empty(), resolve)?;
                    self.empty(child.as_fd(), depth + 1)?;
                    rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn move_up(&mut self, directory: BorrowedFd<'_>, name: &OsString) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            let free = format!(".erase-{}", self.moved);
            match rustix::fs::renameat_with(directory, name, self.top, free, RenameFlags::NOREPLACE)
            {
                Err(Errno::EXIST) => {}
                result => return result,
            }
        }
    }
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let outside = place.path().join("outside");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", tree.join("dangling")).unwrap();
        erase_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        erase_tree(&tree).unwrap();
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut directory = rustix::fs::open(&tree, flags, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&directory, "d", Mode::from_raw_mode(0o700)).unwrap();
            rustix::fs::mknodat(
                &directory,
                "f",
                rustix::fs::FileType::RegularFile,
                Mode::empty(),
                0,
            )
            .unwrap();
            directory = rustix::fs::openat(&directory, "d", flags, Mode::empty()).unwrap();
        }
        drop(directory);
        erase_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
