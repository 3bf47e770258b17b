//! How much a directory holds.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes on the disk below `path`, each file once however many names it has. Links are not followed; what vanishes meanwhile is not counted.
pub(crate) fn usage(path: &Path) -> io::Result<u64> {
    let mut seen = HashSet::new();
    let mut ahead: Vec<PathBuf> = vec![path.to_path_buf()];
    let mut total = 0;
    while let Some(directory) = ahead.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        for entry in entries {
            // An entry's own metadata: never that of what a link leads to.
            let Ok(metadata) = entry
                .as_ref()
                .map_err(|_| ())
                .and_then(|entry| entry.metadata().map_err(|_| ()))
            else {
                continue;
            };
            if metadata.is_dir() {
                ahead.push(entry?.path());
            }
            if metadata.nlink() == 1
                || metadata.is_dir()
                || seen.insert((metadata.dev(), metadata.ino()))
            {
                total += metadata.blocks() * 512;
            }
        }
    }
    Ok(total)
}
