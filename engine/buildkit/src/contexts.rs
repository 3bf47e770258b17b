//! Directories that contexts are kept in between builds. Builds of the same directory by the same client find what the last one
//! left; two at the same time get one each.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// How directories are called that belong to one build; one that is left is of an engine that was killed.
const ONCE: &str = "once-";

/// Directories under one root.
#[derive(Debug, Clone)]
pub struct Contexts {
    root: PathBuf,
    taken: Arc<Mutex<HashMap<String, HashSet<usize>>>>,
}

/// A directory that belongs to one build until it is dropped.
#[derive(Debug)]
pub struct Context {
    contexts: Contexts,
    key: String,
    number: usize,
    path: PathBuf,
    /// It will not be found again.
    fleeting: bool,
}

/// What a directory takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Its name.
    pub id: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// When a build used it last.
    pub used: SystemTime,
}

impl Contexts {
    /// Keeps directories under `root`, which is made when it is needed and belongs to nobody else.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            taken: Arc::default(),
        }
    }

    /// A directory for what `shared_key` and `name` say; with an empty key for this build alone.
    ///
    /// # Errors
    /// The disk's.
    pub fn take(&self, shared_key: &str, name: &str) -> io::Result<Context> {
        let fleeting = shared_key.is_empty();
        let mut hash = Sha256::new();
        hash.update(shared_key);
        hash.update([0]);
        hash.update(name);
        let mut key = hex::encode(&hash.finalize()[..16]);
        if fleeting {
            key.insert_str(0, ONCE);
        }
        // Held until it is there: who lets go of another directory removes the parent when it is empty.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = taken.entry(key.clone()).or_default();
        let free = (0..).find(|number| !of_key.contains(number));
        let number = free.unwrap_or_default();
        let path = self.root.join(&key).join(number.to_string());
        std::fs::create_dir_all(&path)?;
        of_key.insert(number);
        drop(taken);
        Ok(Context {
            contexts: self.clone(),
            path,
            key,
            number,
            fleeting,
        })
    }

    /// What is kept.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        let sized = |(id, path): (String, PathBuf)| Usage {
            bytes: bytes_beneath(&path),
            used: used(&path),
            id,
        };
        self.kept().into_iter().map(sized).collect()
    }

    /// Removes what no build uses and none has used for `unused`, or ever will again; says what that gave back.
    #[must_use]
    pub fn prune(&self, unused: Duration) -> Vec<Usage> {
        let mut removed = Vec::new();
        for (id, path) in self.kept() {
            let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let is_taken = path
                .parent()
                .and_then(Path::file_name)
                .and_then(|key| taken.get(key.to_str()?))
                .zip(
                    path.file_name()
                        .and_then(|name| name.to_str()?.parse().ok()),
                )
                .is_some_and(|(numbers, number)| numbers.contains(&number));
            let age = path.metadata().and_then(|metadata| metadata.modified());
            let age = age.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
            let is_recent = age.is_ok_and(|age| age < unused) && !id.starts_with(ONCE);
            if is_taken || is_recent {
                continue;
            }
            let (bytes, used) = (bytes_beneath(&path), used(&path));
            // Held until it is gone, so that no build takes it in between.
            if std::fs::remove_dir_all(&path).is_ok() {
                // The last one of its key.
                let _ = path.parent().map(std::fs::remove_dir);
                removed.push(Usage { id, bytes, used });
            }
            drop(taken);
        }
        removed
    }

    fn kept(&self) -> Vec<(String, PathBuf)> {
        let mut kept = Vec::new();
        for key in std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
        {
            for number in std::fs::read_dir(key.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                let id = format!(
                    "{}-{}",
                    key.file_name().to_string_lossy(),
                    number.file_name().to_string_lossy()
                );
                kept.push((id, number.path()));
            }
        }
        kept
    }
}

impl Context {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let contexts = &self.contexts;
        let taken = contexts.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        if self.fleeting {
            // What cannot be removed now is removed by the next prune.
            let _ = std::fs::remove_dir_all(&self.path);
            let _ = self.path.parent().map(std::fs::remove_dir);
        } else if let Ok(directory) = std::fs::File::open(&self.path) {
            // Its time says when it was used last.
            let _ = directory.set_modified(SystemTime::now());
        }
        if let Some(numbers) = taken.get_mut(&self.key) {
            numbers.remove(&self.number);
            if numbers.is_empty() {
                taken.remove(&self.key);
            }
        }
    }
}

/// When a build used a directory last.
fn used(path: &Path) -> SystemTime {
    let time = path.metadata().and_then(|metadata| metadata.modified());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Bytes of all files; links are not followed.
fn bytes_beneath(path: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            bytes_beneath(&entry.path())
        } else {
            metadata.len()
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_found_again_and_shared_by_nobody() {
        let root = tempfile::tempdir().unwrap();
        let contexts = Contexts::new(root.path().join("contexts"));
        let first = contexts.take("key", "context").unwrap();
        let path = first.path().to_owned();
        std::fs::write(path.join("a"), "12345").unwrap();
        let second = contexts.take("key", "context").unwrap();
        assert_ne!(second.path(), path);
        assert_ne!(contexts.take("key", "dockerfile").unwrap().path(), path);
        let removed = contexts.prune(Duration::ZERO);
        assert!(removed.iter().all(|usage| usage.bytes == 0), "{removed:?}");
        drop(first);
        assert_eq!(contexts.take("key", "context").unwrap().path(), path);
        assert!(path.join("a").exists());
        assert_eq!(contexts.prune(Duration::from_secs(3600)), []);
        let removed = contexts.prune(Duration::ZERO);
        assert!(removed.iter().any(|usage| usage.bytes == 5), "{removed:?}");
        assert!(!path.exists());
        let once = contexts.take("", "context").unwrap();
        let path = once.path().to_owned();
        drop(once);
        assert!(!path.exists());
    }
}
