//! Sealed memory files: programs and data that nobody can change any more.
//!
//! The shim runs from such a file. A container process that opens `/proc/<pid>/exe` for writing finds a
//! sealed file, and not the program on disk (CVE-2019-5736).

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

use crate::error::{Context, KernelError, Result, errno_of};

/// Copies `contents` into a new memory file and seals it against every change.
///
/// # Errors
/// `ENOMEM`, `EMFILE`.
pub fn sealed(name: &CStr, contents: &[u8]) -> Result<OwnedFd> {
    let object = name.to_string_lossy().into_owned();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know MFD_EXEC and make every memory file executable.
    let fd = memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create(name, flags))
        .context("memfd_create", &object)?;
    let mut written = 0;
    while written < contents.len() {
        written += rustix::io::retry_on_intr(|| rustix::io::write(&fd, &contents[written..]))
            .context("write", &object)?;
    }
    fcntl_add_seals(&fd, all_seals()).context("fcntl F_ADD_SEALS", &object)?;
    Ok(fd)
}

/// Copies the file at `path` into a sealed memory file named after it.
///
/// # Errors
/// Those of reading the file, and of [`sealed`].
pub fn sealed_copy(path: &Path) -> Result<OwnedFd> {
    let contents = std::fs::read(path)
        .map_err(|error| KernelError::new("read", path.to_string_lossy(), errno_of(&error)))?;
    sealed(c"hoist-shim", &contents)
}

/// Whether the descriptor is a memory file with every seal.
pub fn is_sealed(fd: impl std::os::fd::AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(all_seals()))
}

fn all_seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_cannot_change() {
        let fd = sealed(c"test", b"contents").unwrap();
        assert!(is_sealed(&fd));
        assert_eq!(rustix::io::write(&fd, b"x"), Err(rustix::io::Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(rustix::io::Errno::PERM));
        let mut buffer = [0; 16];
        assert_eq!(rustix::io::pread(&fd, &mut buffer, 0), Ok(8));
        assert_eq!(&buffer[..8], b"contents");
    }
}
