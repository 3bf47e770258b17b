//! One transfer, from the first entry to the last byte. It blocks, so it runs on a thread of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mode;
use super::order::{IsDirectory, Order, OrderError, check};
use super::tree::{self, Level};
use crate::proto::session::{Packet, PacketKind, Stat};

/// What is taken from a client at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of a tree.
    pub entries: u32,
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files that are being written at a time; clients send four.
    pub open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: 256 << 30,
            open_files: 64,
        }
    }
}

/// What a transfer moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Entries of the tree.
    pub entries: u32,
    /// Files whose contents were sent.
    pub files: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// A path that is not taken.
    #[error("the client sent a tree that is refused")]
    Refused(#[from] OrderError),
    /// Data for a file that was not asked for.
    #[error("the client sent data of entry {0}, which was not asked for")]
    NotAsked(u32),
    /// A packet where it does not belong.
    #[error("the client sent a packet of kind {0} where it does not belong")]
    Unexpected(i32),
    /// More than the limits allow.
    #[error("the client sent more than is taken: {0}")]
    TooMuch(&'static str),
    /// A second name of something that did not come before.
    #[error(
        "the client sent {path:?} as another name of {target:?}, which is no file that it sent before"
    )]
    BadLink {
        /// The new name.
        path: String,
        /// What it should be.
        target: String,
    },
    /// The client's words.
    #[error("the client cannot send its files: {0}")]
    Client(String),
    /// The connection ended.
    #[error("the client went away while it was sending files")]
    Gone,
    /// The disk.
    #[error("cannot {what} {path:?}")]
    Disk {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: String,
        /// The kernel's error.
        #[source]
        source: std::io::Error,
    },
}

/// Brings the tree at `root` up to date. `next` gives the client's packets, none when it is gone; `send` takes ours.
///
/// # Errors
/// What is wrong with what the client sent, or with the disk. The tree is then as far as it came, and the next transfer goes on
/// from there: a file counts only once it is whole.
pub fn receive(
    root: &Path,
    limits: Limits,
    next: impl FnMut() -> Option<Packet>,
    send: impl FnMut(Packet),
) -> Result<Received, ReceiveError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let shown = root.display().to_string();
    let directory = rustix::fs::open(root, flags, Mode::empty()).map_err(disk("open", &shown))?;
    let level = Level::root(root).map_err(disk("read", &shown))?;
    let mut transfer = Transfer {
        root: directory,
        limits,
        send,
        order: Order::new(),
        levels: vec![level],
        wanted: HashMap::new(),
        open: HashMap::new(),
        links: Vec::new(),
        directories: Vec::new(),
        listed: false,
        received: Received::default(),
    };
    let result = transfer.run(next);
    if let Err(error) = &result {
        (transfer.send)(Packet {
            kind: PacketKind::Error as i32,
            data: Bytes::from(error.to_string()),
            ..Packet::default()
        });
    }
    result.map(|()| transfer.received)
}

fn disk(what: &'static str, path: &str) -> impl FnOnce(Errno) -> ReceiveError {
    let path = path.to_owned();
    move |errno| ReceiveError::Disk {
        what,
        path,
        source: errno.into(),
    }
}

/// A file whose contents were asked for.
#[derive(Debug)]
struct Wanted {
    path: String,
    mode: u32,
    mod_time: i64,
}

struct Transfer<Send> {
    root: OwnedFd,
    limits: Limits,
    send: Send,
    order: Order,
    levels: Vec<Level>,
    wanted: HashMap<u32, Wanted>,
    open: HashMap<u32, File>,
    /// Second names, and what they are names of: made when all files are there.
    links: Vec<(String, String)>,
    /// Modes and times of directories: set when nothing in them changes any more.
    directories: Vec<(String, u32, i64)>,
    listed: bool,
    received: Received,
}

impl<Send: FnMut(Packet)> Transfer<Send> {
    fn run(&mut self, mut next: impl FnMut() -> Option<Packet>) -> Result<(), ReceiveError> {
        loop {
            let packet = next().ok_or(ReceiveError::Gone)?;
            match PacketKind::try_from(packet.kind) {
                Ok(PacketKind::Stat) if !self.listed => match packet.stat {
                    Some(stat) => self.entry(stat)?,
                    None => self.end_of_list()?,
                },
                Ok(PacketKind::Data) => self.data(packet.id, &packet.data)?,
                Ok(PacketKind::Error) => {
                    let words = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(ReceiveError::Client(words));
                }
                _ => return Err(ReceiveError::Unexpected(packet.kind)),
            }
            if self.listed && self.wanted.is_empty() {
                return self.finish(next);
            }
        }
    }

    fn entry(&mut self, stat: Stat) -> Result<(), ReceiveError> {
        let id = self.received.entries;
        if id >= self.limits.entries {
            return Err(ReceiveError::TooMuch("entries"));
        }
        self.received.entries += 1;
        let is_directory = stat.mode & mode::TYPE == mode::DIRECTORY;
        let kind = if is_directory {
            IsDirectory::Yes
        } else {
            IsDirectory::No
        };
        let step = self.order.next(&stat.path, kind)?;
        for _ in 0..step.leave {
            if let Some(level) = self.levels.pop() {
                level
                    .leave()
                    .map_err(disk("clean the directory of", &stat.path))?;
            }
        }
        let level = self
            .levels
            .last_mut()
            .expect("the order never leaves the root");
        level.named(step.name);
        match stat.mode & mode::TYPE {
            mode::DIRECTORY => {
                let inner = level.enter(step.name).map_err(disk("make", &stat.path))?;
                self.levels.push(inner);
                let mode = mode::to_unix(stat.mode);
                self.directories.push((stat.path, mode, stat.mod_time));
            }
            mode::SYMLINK => level
                .link(step.name, &stat.linkname)
                .map_err(disk("make", &stat.path))?,
            0 if !stat.linkname.is_empty() => {
                check(&stat.linkname)?;
                self.links.push((stat.path, stat.linkname));
            }
            0 if level
                .stat(step.name)
                .is_some_and(|there| same(&there, &stat)) => {}
            0 => self.want(id, stat)?,
            // Devices, pipes and sockets are nothing that a build can copy.
            _ => level
                .remove(step.name)
                .map_err(disk("remove", &stat.path))?,
        }
        Ok(())
    }

    fn want(&mut self, id: u32, stat: Stat) -> Result<(), ReceiveError> {
        (self.send)(Packet {
            kind: PacketKind::Request as i32,
            id,
            ..Packet::default()
        });
        let wanted = Wanted {
            path: stat.path,
            mode: mode::to_unix(stat.mode),
            mod_time: stat.mod_time,
        };
        self.wanted.insert(id, wanted);
        Ok(())
    }

    fn end_of_list(&mut self) -> Result<(), ReceiveError> {
        self.listed = true;
        while let Some(level) = self.levels.pop() {
            level.leave().map_err(disk("clean", "the tree"))?;
        }
        Ok(())
    }

    fn data(&mut self, id: u32, data: &[u8]) -> Result<(), ReceiveError> {
        let wanted = self.wanted.get(&id).ok_or(ReceiveError::NotAsked(id))?;
        if !self.open.contains_key(&id) {
            if self.open.len() >= self.limits.open_files {
                return Err(ReceiveError::TooMuch("files at a time"));
            }
            let file = tree::create(self.root.as_fd(), &wanted.path);
            self.open
                .insert(id, file.map_err(disk("make", &wanted.path))?);
        }
        let file = self.open.get_mut(&id).expect("it was opened above");
        if !data.is_empty() {
            self.received.bytes += data.len() as u64;
            if self.received.bytes > self.limits.bytes {
                return Err(ReceiveError::TooMuch("bytes"));
            }
            return file.write_all(data).map_err(|source| ReceiveError::Disk {
                what: "write",
                path: wanted.path.clone(),
                source,
            });
        }
        tree::finish(file, wanted.mode, wanted.mod_time).map_err(disk("finish", &wanted.path))?;
        self.received.files += 1;
        self.open.remove(&id);
        self.wanted.remove(&id);
        Ok(())
    }

    fn finish(&mut self, mut next: impl FnMut() -> Option<Packet>) -> Result<(), ReceiveError> {
        let root = self.root.as_fd();
        for (path, target) in std::mem::take(&mut self.links) {
            tree::hard_link(root, &target, &path)
                .map_err(|_| ReceiveError::BadLink { path, target })?;
        }
        // Children first: a directory that may not be searched is closed last.
        for (path, mode, mod_time) in std::mem::take(&mut self.directories).into_iter().rev() {
            tree::finish_directory(root, &path, mode, mod_time).map_err(disk("finish", &path))?;
        }
        (self.send)(Packet {
            kind: PacketKind::Finish as i32,
            ..Packet::default()
        });
        // The client answers the same and closes; a client that closes without a word has sent everything all the same.
        let Some(packet) = next() else {
            return Ok(());
        };
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Finish) => Ok(()),
            Ok(PacketKind::Error) => {
                let words = String::from_utf8_lossy(&packet.data).into_owned();
                Err(ReceiveError::Client(words))
            }
            _ => Err(ReceiveError::Unexpected(packet.kind)),
        }
    }
}

/// Whether a file on disk is the client's: BuildKit compares the same.
fn same(there: &rustix::fs::Stat, stat: &Stat) -> bool {
    tree::file_type(there) == FileType::RegularFile
        && there.st_mode & 0o7777 == mode::to_unix(stat.mode)
        && there.st_size == stat.size
        && tree::mod_time(there) == stat.mod_time
}
