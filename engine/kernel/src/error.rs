//! One error for system calls, in the manner of strace: the call, its object, the errno.

use rustix::io::Errno;

/// Result of an operation of this crate.
pub type Result<T> = std::result::Result<T, KernelError>;

/// A system call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} {object}: {errno}")]
pub struct KernelError {
    /// Name of the call, as in its man page.
    pub call: &'static str,
    /// What it was applied to: a path, a name, a descriptor's purpose.
    pub object: String,
    /// Why it failed.
    pub errno: Errno,
}

impl KernelError {
    /// An error of `call` on `object`.
    pub fn new(call: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        Self {
            call,
            object: object.into(),
            errno,
        }
    }
}

impl From<KernelError> for std::io::Error {
    fn from(error: KernelError) -> Self {
        let kind = std::io::Error::from(error.errno).kind();
        Self::new(kind, error)
    }
}

/// Adds call and object to the result of a system call.
pub(crate) trait Context<T> {
    fn context(self, call: &'static str, object: impl AsRef<std::ffi::OsStr>) -> Result<T>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, call: &'static str, object: impl AsRef<std::ffi::OsStr>) -> Result<T> {
        self.map_err(|errno| KernelError::new(call, object.as_ref().to_string_lossy(), errno))
    }
}

/// The errno of an [`std::io::Error`], `EIO` when it has none.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
