//! Digests of files, each made once: a file that has the same place, size and times as before is not read again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

const HEADER: &[u8; 8] = b"hoistfd1";
const RECORD: usize = 80;
/// Files that are remembered; with more the table begins anew.
const LIMIT: usize = 500_000;
const CHUNK: usize = 256 << 10;
/// A file changed this short a time ago could change again without its time telling, where the kernel's clock is coarse.
const SETTLED: Duration = Duration::from_millis(20);

/// What a file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

/// What is known of files.
#[derive(Debug)]
pub(crate) struct FileTable {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Identity, Hash>,
    is_changed: bool,
}

impl FileTable {
    /// Reads the table; a damaged one is as good as none.
    pub(crate) fn open(path: PathBuf) -> Self {
        let known = std::fs::read(&path)
            .ok()
            .and_then(|bytes| decode(&bytes))
            .unwrap_or_default();
        Self {
            path,
            state: Mutex::new(State {
                known,
                is_changed: false,
            }),
        }
    }

    /// The digest of a file's content; `open` is only called when it is not known.
    pub(crate) fn digest(
        &self,
        stat: &Stat,
        open: impl FnOnce() -> std::io::Result<OwnedFd>,
    ) -> std::io::Result<Hash> {
        let identity = Identity::of(stat);
        if let Some(known) = self.state().known.get(&identity) {
            return Ok(*known);
        }
        let mut file = File::from(open()?);
        let hash = hash(&mut file)?;
        // What was hashed must be what was looked at.
        let after = rustix::fs::fstat(&file)?;
        if Identity::of(&after) == identity && is_settled(stat) {
            let mut state = self.state();
            if state.known.len() >= LIMIT {
                state.known.clear();
            }
            state.known.insert(identity, hash);
            state.is_changed = true;
        }
        Ok(hash)
    }

    /// Writes the table when it has changed.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        let bytes = {
            let mut state = self.state();
            if !std::mem::take(&mut state.is_changed) {
                return Ok(());
            }
            encode(&state.known)
        };
        let temporary = self.path.with_extension("new");
        File::create(&temporary)?.write_all(&bytes)?;
        std::fs::rename(&temporary, &self.path)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.known.clear();
        state.is_changed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the fields' types differ between architectures; sizes and nanoseconds are never negative"
    )]
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            out.extend_from_slice(&seconds.to_le_bytes());
            out.extend_from_slice(&nanoseconds.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            device: long(0)?,
            inode: long(8)?,
            size: long(16)?,
            modified: (long(24)?.cast_signed(), short(32)?),
            changed: (long(36)?.cast_signed(), short(44)?),
        })
    }
}

fn is_settled(stat: &Stat) -> bool {
    let seconds = u64::try_from(stat.st_ctime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or_default();
    let changed = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    SystemTime::now()
        .duration_since(changed)
        .is_ok_and(|age| age >= SETTLED)
}

/// The digest of all that a file has.
pub(crate) fn hash(file: &mut File) -> std::io::Result<Hash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn encode(known: &HashMap<Identity, Hash>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER.len() + known.len() * RECORD + 32);
    bytes.extend_from_slice(HEADER);
    for (identity, hash) in known {
        identity.write(&mut bytes);
        bytes.extend_from_slice(hash);
    }
    let sum: Hash = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<Identity, Hash>> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let expected: Hash = Sha256::digest(content).into();
    if sum != expected {
        return None;
    }
    let records = content.strip_prefix(HEADER)?.chunks_exact(RECORD);
    records
        .map(|record| {
            let hash = record[RECORD - 32..].try_into().ok()?;
            Some((Identity::read(record)?, hash))
        })
        .collect()
}

/// Builds a key out of parts, each with its length, so that no two lists of parts give one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyHasher(Sha256);

impl KeyHasher {
    /// A key of this kind.
    pub(crate) fn new(kind: &str) -> Self {
        Self::default().with(kind)
    }

    /// Adds a part.
    #[must_use]
    pub(crate) fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        self.add(part);
        self
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: impl Into<u64>) {
        self.0.update(number.into().to_le_bytes());
    }

    /// The key.
    pub(crate) fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

/// Where a file table is beneath the builder's directory.
pub(crate) fn table_path(directory: &Path) -> PathBuf {
    directory.join("files")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &Path) -> Stat {
        rustix::fs::stat(path).unwrap()
    }

    #[test]
    fn a_file_is_read_once_and_remembered() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        std::fs::write(&path, "one").unwrap();
        std::thread::sleep(SETTLED * 2);
        let table = FileTable::open(table_path(place.path()));
        let open = || Ok(File::open(&path)?.into());
        let first = table.digest(&stat(&path), open).unwrap();
        let expected: Hash = Sha256::digest("one").into();
        assert_eq!(first, expected);
        let unread = || Err(std::io::Error::other("read again"));
        assert_eq!(table.digest(&stat(&path), unread).unwrap(), first);
        table.save().unwrap();
        let again = FileTable::open(table_path(place.path()));
        assert_eq!(again.digest(&stat(&path), unread).unwrap(), first);
        std::fs::write(&path, "two").unwrap();
        assert!(again.digest(&stat(&path), unread).is_err());
    }

    #[test]
    fn a_damaged_table_is_none() {
        let place = tempfile::tempdir().unwrap();
        let path = table_path(place.path());
        let mut bytes = encode(&HashMap::from([(
            Identity::of(&stat(place.path())),
            [7; 32],
        )]));
        assert_eq!(decode(&bytes).unwrap().len(), 1);
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(FileTable::open(path).state().known.is_empty());
        assert!(decode(b"").is_none());
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        let key = |parts: &[&str]| {
            let mut hasher = KeyHasher::new("k");
            parts.iter().for_each(|part| hasher.add(part));
            hasher.finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["a"]), key(&["a"]));
    }
}
