//! Trees of files from a client and back to it: `fsutil`'s protocol, both sides.
//!
//! Who sends lists its tree, parents before children and names in order; for each file that differs from what is here its
//! contents are asked for by number; at the end each side says that it is done. The tree that is here is made the same as the
//! client's, so that of the next build only what changed is moved.

mod order;
mod receive;
mod send;
mod tree;

pub use receive::{Limits, ReceiveError, Received, receive};
pub use send::{SendError, send, stat_of};

/// Bits of Go's `os.FileMode`, <https://pkg.go.dev/io/fs#FileMode>.
pub(crate) mod mode {
    pub(crate) const DIRECTORY: u32 = 1 << 31;
    pub(crate) const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const PIPE: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const CHARACTER_DEVICE: u32 = 1 << 21;
    pub(crate) const SET_USER: u32 = 1 << 23;
    pub(crate) const SET_GROUP: u32 = 1 << 22;
    pub(crate) const STICKY: u32 = 1 << 20;
    /// All bits that say what something is; none of them: a regular file.
    pub(crate) const TYPE: u32 =
        DIRECTORY | SYMLINK | PIPE | SOCKET | DEVICE | CHARACTER_DEVICE | (1 << 19);
    pub(crate) const PERMISSIONS: u32 = 0o777;

    /// The mode as the kernel has it, without the type.
    pub(crate) fn to_unix(mode: u32) -> u32 {
        let bit = |go: u32, unix: u32| if mode & go == 0 { 0 } else { unix };
        (mode & PERMISSIONS) | bit(SET_USER, 0o4000) | bit(SET_GROUP, 0o2000) | bit(STICKY, 0o1000)
    }

    /// Go's bits for a kernel's mode.
    pub(crate) fn from_unix(mode: u32) -> u32 {
        let bit = |unix: u32, go: u32| if mode & unix == 0 { 0 } else { go };
        let kind = match mode & 0o170_000 {
            0o040_000 => DIRECTORY,
            0o120_000 => SYMLINK,
            0o060_000 => DEVICE,
            0o020_000 => DEVICE | CHARACTER_DEVICE,
            0o010_000 => PIPE,
            0o140_000 => SOCKET,
            _ => 0,
        };
        kind | (mode & PERMISSIONS)
            | bit(0o4000, SET_USER)
            | bit(0o2000, SET_GROUP)
            | bit(0o1000, STICKY)
    }
}
