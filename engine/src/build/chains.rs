//! Which instructions were carried out on what, for clients of the classic builder: it keeps an image for each instruction, so that also
//! one that only changes the configuration is told to be taken from the cache.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many are remembered; then all are forgotten, which costs nothing but a line of a build's output.
const LIMIT: usize = 1 << 16;

/// The rows of instructions that were carried out, by a digest of each row.
#[derive(Debug)]
pub(crate) struct Chains {
    path: PathBuf,
    /// Read when the first one is asked for.
    known: Mutex<Option<HashSet<String>>>,
}

impl Chains {
    /// Those beneath a builder's directory.
    pub(crate) fn at(directory: &Path) -> Self {
        Self {
            path: directory.join("chains"),
            known: Mutex::default(),
        }
    }

    /// Notes one; returns whether it was known. What cannot be written is told as new again.
    pub(crate) fn note(&self, chain: &str) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_with(|| {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        });
        if known.contains(chain) {
            return true;
        }
        let is_full = known.len() >= LIMIT;
        if is_full {
            known.clear();
        }
        known.insert(chain.to_owned());
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(!is_full).write(true);
        let file = options.truncate(is_full).open(&self.path);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{chain}")) {
            tracing::debug!(%error, "an instruction is not remembered");
        }
        false
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(HashSet::new());
        // Nothing there is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_to_the_next_engine() {
        let place = tempfile::tempdir().unwrap();
        let chains = Chains::at(place.path());
        assert!(!chains.note("a") && chains.note("a"));
        let next = Chains::at(place.path());
        assert!(next.note("a") && !next.note("b"));
        next.clear();
        assert!(!next.note("a"));
        for number in 0..=LIMIT {
            next.note(&number.to_string());
        }
        let text = std::fs::read_to_string(place.path().join("chains")).unwrap();
        assert!(text.lines().count() <= LIMIT);
    }
}
