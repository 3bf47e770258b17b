//! Files in memory, for tests of the loader.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hoist_compose::load::{FileKind, Files, LoadError, LoadOptions, Loaded, load};

/// Files by absolute path.
#[derive(Debug, Default)]
pub(crate) struct MemoryFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryFiles {
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (Path::new("/p").join(path), text.as_bytes().to_vec()));
        Self {
            files: files.collect(),
        }
    }

    pub(crate) fn bytes(content: Vec<u8>) -> Self {
        Self {
            files: BTreeMap::from([(PathBuf::from("/p/compose.yaml"), content)]),
        }
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        if self.files.contains_key(path) {
            return Some(FileKind::File);
        }
        self.files
            .keys()
            .any(|file| file.starts_with(path))
            .then_some(FileKind::Directory)
    }

    fn canonical(&self, path: &Path) -> Option<PathBuf> {
        self.kind(path).map(|_| path.to_path_buf())
    }

    fn read_stdin(&self) -> std::io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

/// Options of a command in the directory `/p`.
pub(crate) fn options() -> LoadOptions {
    LoadOptions {
        working_directory: PathBuf::from("/p"),
        ..LoadOptions::default()
    }
}

/// Loads one file.
pub(crate) fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load(&options(), &MemoryFiles::new([("compose.yaml", text)]))
}
