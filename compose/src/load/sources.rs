//! The rim: the only part of loading that reads files.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Where files come from.
pub trait Files: Debug {
    /// The content of a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// What is at the path, following symbolic links; none when there is nothing.
    fn kind(&self, path: &Path) -> Option<FileKind>;

    /// All of standard input.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_stdin(&self) -> io::Result<Vec<u8>>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Something to read.
    File,
    /// A directory.
    Directory,
}

/// The machine's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFiles;

impl Files for LocalFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(if metadata.is_dir() {
            FileKind::Directory
        } else {
            FileKind::File
        })
    }

    fn read_stdin(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut content)?;
        Ok(content)
    }
}
