//! Paths of a transfer: each is named once, after its directory, and names within a directory come in order. What is not so
//! is refused, and with it everything that could lead out of the root.

/// Deepest directory that is taken.
const MAX_DEPTH: usize = 255;
/// Longest path that is taken, the kernel's own limit.
const MAX_PATH: usize = 4096;
/// Longest name, the kernel's own limit.
const MAX_NAME: usize = 255;

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Absolute, empty, `.` or `..` in it, or a zero byte.
    #[error("path {0:?} is not a clean path beneath the root")]
    Unclean(String),
    /// Longer or deeper than the kernel takes.
    #[error("path of {0} bytes is too long or too deep")]
    TooLong(usize),
    /// Its directory was not named before, is none, or is done.
    #[error("path {0:?} comes before its directory, or after it was left")]
    NoParent(String),
    /// A name twice, or out of order.
    #[error("path {0:?} is out of order")]
    OutOfOrder(String),
}

/// Where the list of paths is.
#[derive(Debug)]
pub(crate) struct Order {
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    path: String,
    last: Option<String>,
}

/// What a path means: leave so many directories, then this name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step<'path> {
    /// Directories that are done.
    pub(crate) leave: usize,
    /// The name in the directory then open.
    pub(crate) name: &'path str,
}

impl Order {
    pub(crate) fn new() -> Self {
        Self {
            levels: vec![Level::default()],
        }
    }

    /// Takes the next path.
    ///
    /// # Errors
    /// When it is not allowed here.
    pub(crate) fn next<'path>(
        &mut self,
        path: &'path str,
        is_directory: IsDirectory,
    ) -> Result<Step<'path>, OrderError> {
        check(path)?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let at = self
            .levels
            .iter()
            .rposition(|level| level.path == parent)
            .ok_or_else(|| OrderError::NoParent(path.to_owned()))?;
        let leave = self.levels.len() - 1 - at;
        self.levels.truncate(at + 1);
        let level = &mut self.levels[at];
        if level.last.as_deref().is_some_and(|last| last >= name) {
            return Err(OrderError::OutOfOrder(path.to_owned()));
        }
        level.last = Some(name.to_owned());
        if is_directory == IsDirectory::Yes {
            self.levels.push(Level {
                path: path.to_owned(),
                last: None,
            });
        }
        Ok(Step { leave, name })
    }
}

/// Whether a path is a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsDirectory {
    Yes,
    No,
}

/// Whether a path can be taken at all.
///
/// # Errors
/// When it could lead anywhere but beneath the root.
pub(crate) fn check(path: &str) -> Result<(), OrderError> {
    if path.len() >= MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return Err(OrderError::TooLong(path.len()));
    }
    let unclean = |name: &str| name.is_empty() || name == "." || name == "..";
    if path.contains('\0') || path.split('/').any(unclean) {
        return Err(OrderError::Unclean(path.to_owned()));
    }
    match path.split('/').find(|name| name.len() > MAX_NAME) {
        Some(name) => Err(OrderError::TooLong(name.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(paths: &[&str]) -> Result<(), OrderError> {
        let mut order = Order::new();
        for path in paths {
            let (path, kind) = match path.strip_suffix('/') {
                Some(path) => (path, IsDirectory::Yes),
                None => (*path, IsDirectory::No),
            };
            order.next(path, kind)?;
        }
        Ok(())
    }

    #[test]
    fn a_walk_is_taken() {
        run(&["a/", "a/b", "a/c/", "a/c/d", "a/e", "a-b", "b"]).unwrap();
    }

    #[test]
    fn everything_else_is_refused() {
        for paths in [
            &["../x"][..],
            &[".."],
            &["/etc"],
            &["a//b"],
            &["a/", "a/."],
            &["a/", "a/../b"],
            &["a\0b"],
            &[""],
            &["a/b"],
            &["a", "a/b"],
            &["b", "a"],
            &["a", "a"],
            &["a/", "b", "a/c"],
        ] {
            assert!(run(paths).is_err(), "{paths:?}");
        }
        assert!(run(&[&"x".repeat(256)]).is_err());
        assert!(run(&[&"x/".repeat(300)]).is_err());
    }
}
