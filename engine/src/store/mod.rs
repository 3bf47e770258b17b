//! Records on disk: one JSON file an object, replaced atomically. A torn or unknown record is set aside with a
//! warning, never fatal: the file is renamed to `<name>.damaged` and the object is as good as not there.

pub(crate) mod container;
pub(crate) mod network;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How surely a record must be on disk when the write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It may be lost with the machine's power, never torn: state that is found out again.
    Replaced,
    /// It survives: what the user made.
    Synced,
}

/// A record could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(crate) struct StoreError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failure<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Replaces a record's file.
pub(crate) fn save<T: Serialize>(
    path: &Path,
    record: &T,
    durability: Durability,
) -> Result<(), StoreError> {
    let json = serde_json::to_vec(record).map_err(|error| failure("write", path)(error.into()))?;
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&json)?;
        if durability == Durability::Synced {
            file.sync_data()?;
        }
        fs::rename(&temporary, path)?;
        if durability == Durability::Synced
            && let Some(directory) = path.parent()
        {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(failure("write", path))
}

/// Reads a record; `None` when there is none or it was set aside.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let json = match fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure("read", path)(error)),
    };
    match serde_json::from_slice(&json) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            let aside = path.with_extension("damaged");
            tracing::warn!(path = %path.display(), %error, "a record cannot be read and is set aside");
            fs::rename(path, &aside).map_err(failure("set aside", path))?;
            Ok(None)
        }
    }
}

/// The names in a directory; none when it does not exist.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failure("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failure("list", directory))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Makes a directory and its parents, only for the engine's user.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o711)
        .create(path)
        .map_err(failure("create", path))
}

/// Removes a directory with all it holds; a missing one is no error.
pub(crate) fn remove_directory(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failure("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a file; a missing one is no error.
pub(crate) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failure("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Writes a file of the engine's own (no record), replacing it in place so that bind mounts see the change.
pub(crate) fn write_in_place(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    fs::write(path, content).map_err(failure("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        assert_eq!(load::<Vec<u32>>(&path).unwrap(), None);
        save(&path, &vec![1], Durability::Synced).unwrap();
        save(&path, &vec![2, 3], Durability::Replaced).unwrap();
        assert_eq!(load::<Vec<u32>>(&path).unwrap(), Some(vec![2, 3]));
        assert_eq!(names(directory.path()).unwrap(), ["record.json"]);
    }

    #[test]
    fn a_torn_record_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        for torn in ["", "[1, 2", "{\"unknown\": true}"] {
            fs::write(&path, torn).unwrap();
            assert_eq!(load::<Vec<u32>>(&path).unwrap(), None, "{torn}");
            assert_eq!(names(directory.path()).unwrap(), ["record.damaged"]);
        }
    }
}
