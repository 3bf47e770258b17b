//! Cache mounts: directories that stay between builds, by id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hoist_dockerfile::Sharing;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::error::BuildError;
use super::owner::Owner;

/// The caches of one engine.
#[derive(Debug)]
pub(crate) struct CacheMounts {
    directory: PathBuf,
    locks: Mutex<HashMap<PathBuf, Arc<RwLock<()>>>>,
}

/// A cache that a step uses; others wait or take another according to how they share.
#[derive(Debug)]
pub(crate) struct CacheMount {
    pub(crate) path: PathBuf,
    /// It was made for this step, so what it begins with may be copied in.
    pub(crate) is_new: bool,
    _lock: Lock,
}

/// What a cache takes.
#[derive(Debug, Clone)]
pub(crate) struct MountUsage {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// When a step took it last.
    pub(crate) used: Timestamp,
    pub(crate) in_use: bool,
}

#[derive(Debug)]
#[allow(dead_code, reason = "the guards are held, not read")]
enum Lock {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl CacheMounts {
    pub(crate) fn new(builder: &Path) -> Self {
        Self {
            directory: builder.join("mounts"),
            locks: Mutex::default(),
        }
    }

    /// Takes a cache. A `locked` one is waited for; instead of a busy `private` one another is taken.
    pub(crate) async fn take(
        &self,
        id: &str,
        sharing: Sharing,
        (owner, mode): (Owner, u32),
    ) -> Result<CacheMount, BuildError> {
        let name = hex::encode(&Sha256::digest(id.as_bytes())[..16]);
        let first = self.directory.join(&name);
        let (path, lock) = match sharing {
            Sharing::Shared => {
                let lock = self.lock(&first).read_owned().await;
                (first, Lock::Shared(lock))
            }
            Sharing::Locked => {
                let lock = self.lock(&first).write_owned().await;
                (first, Lock::Alone(lock))
            }
            Sharing::Private => self.free(&first),
        };
        let is_new = !path.exists();
        if is_new {
            make(&path, owner, mode).map_err(|error| BuildError::io("make cache", &path, error))?;
        } else if let Ok(directory) = std::fs::File::open(&path) {
            // Its time says when it was used last; one that cannot be set only makes it look older.
            let _ = directory.set_modified(SystemTime::now());
        }
        Ok(CacheMount {
            path,
            is_new,
            _lock: lock,
        })
    }

    /// The first of a cache's directories that nobody uses.
    fn free(&self, first: &Path) -> (PathBuf, Lock) {
        let mut number = 1_u64;
        let mut path = first.to_owned();
        loop {
            if let Ok(lock) = self.lock(&path).try_write_owned() {
                return (path, Lock::Alone(lock));
            }
            number += 1;
            path = first.with_extension(number.to_string());
        }
    }

    /// Removes a cache unless a step uses it; its bytes.
    pub(crate) fn remove(&self, name: &str) -> std::io::Result<Option<u64>> {
        let path = self.directory.join(name);
        let Ok(_alone) = self.lock(&path).try_write_owned() else {
            return Ok(None);
        };
        let bytes = size(&path);
        hoist_volumes::erase_tree(&path)?;
        Ok(Some(bytes))
    }

    /// The caches.
    pub(crate) fn usage(&self) -> Vec<MountUsage> {
        let names = crate::store::names(&self.directory).unwrap_or_default();
        let known = names.into_iter().map(|name| {
            let path = self.directory.join(&name);
            let modified = std::fs::metadata(&path).and_then(|found| found.modified());
            let used = modified
                .ok()
                .and_then(|time| Timestamp::try_from(time).ok());
            MountUsage {
                in_use: self.lock(&path).try_write_owned().is_err(),
                bytes: size(&path),
                used: used.unwrap_or(Timestamp::UNIX_EPOCH),
                name,
            }
        });
        known.collect()
    }

    fn lock(&self, path: &Path) -> Arc<RwLock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(path.to_owned()).or_default().clone()
    }
}

fn make(path: &Path, owner: Owner, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path)?;
    std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Bytes of the files beneath a directory; what cannot be read counts nothing.
fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut total = 0;
    let mut ahead = vec![path.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => ahead.push(entry.path()),
                Ok(data) => total += data.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn caches_are_shared_as_asked() {
        let place = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::new(place.path());
        let own = (Owner::default(), 0o755);
        let one = mounts.take("a", Sharing::Shared, own).await.unwrap();
        let two = mounts.take("a", Sharing::Shared, own).await.unwrap();
        assert_eq!(one.path, two.path);
        assert!(one.is_new && !two.is_new);
        let other = mounts.take("a", Sharing::Private, own).await.unwrap();
        assert_ne!(other.path, one.path);
        drop((one, two));
        let locked = mounts.take("a", Sharing::Locked, own).await.unwrap();
        let waiting = mounts.take("a", Sharing::Locked, own);
        let busy = tokio::time::timeout(std::time::Duration::from_millis(20), waiting).await;
        assert!(busy.is_err());
        drop(other);
        let remove = || {
            let known = mounts.usage().into_iter();
            let removed = known.map(|mount| mounts.remove(&mount.name).unwrap());
            removed.filter(Option::is_some).count()
        };
        assert_eq!(remove(), 1);
        drop(locked);
        assert_eq!(remove(), 1);
    }
}
