//! The json-file log of a container: appended to, rotated by size.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::protocol::LogConfig;

/// Bytes that are gathered before they are written.
const BATCH: usize = 64 * 1024;

/// An open log. A failure to write loses lines and never stops the container.
#[derive(Debug)]
pub(crate) struct LogFile {
    config: LogConfig,
    file: Option<File>,
    size: u64,
    batch: Vec<u8>,
    failed: bool,
}

impl LogFile {
    /// Opens the log, appending to what is there.
    ///
    /// # Errors
    /// Those of opening the file.
    pub(crate) fn open(config: LogConfig) -> std::io::Result<Self> {
        let file = config.path.as_deref().map(open_appending).transpose()?;
        let size = file
            .as_ref()
            .map_or(Ok(0), |file| file.metadata().map(|data| data.len()))?;
        Ok(Self {
            config,
            file,
            size,
            batch: Vec::new(),
            failed: false,
        })
    }

    /// Adds an entry, which ends in a line end. It is written by [`LogFile::flush`] at the latest.
    pub(crate) fn append(&mut self, entry: &[u8]) {
        if self.file.is_none() {
            return;
        }
        let pending = self.size + self.batch.len() as u64;
        if pending > 0
            && self
                .config
                .max_size
                .is_some_and(|limit| pending + entry.len() as u64 > limit)
        {
            self.flush();
            self.rotate();
        }
        self.batch.extend_from_slice(entry);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(&self.batch) {
            Ok(()) => self.size += self.batch.len() as u64,
            Err(error) => {
                // Told once: a full disk would fill it further with complaints.
                if !self.failed {
                    self.failed = true;
                    crate::complain(format_args!("cannot write the container's log: {error}"));
                }
                // Without the part of an entry that was written: what is in the log stays readable.
                let _ = file.set_len(self.size);
            }
        }
        self.batch.clear();
    }

    fn rotate(&mut self) {
        let Some(path) = self.config.path.clone() else {
            return;
        };
        let files = self.config.max_file.max(1);
        let renamed = if files == 1 {
            std::fs::remove_file(&path)
        } else {
            shift(&path, files)
        };
        match renamed.and_then(|()| open_appending(&path)) {
            Ok(file) => {
                self.file = Some(file);
                self.size = 0;
            }
            Err(error) => {
                crate::complain(format_args!("cannot rotate the container's log: {error}"))
            }
        }
    }
}

/// Renames `log.1` to `log.2` and so on, then `log` to `log.1`; the oldest is overwritten.
fn shift(path: &Path, files: u32) -> std::io::Result<()> {
    for index in (1..files - 1).rev() {
        match std::fs::rename(numbered(path, index), numbered(path, index + 1)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, index: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{index}"));
    PathBuf::from(name)
}

fn open_appending(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(max_size: Option<u64>, max_file: u32, entries: usize) -> Vec<(String, String)> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let mut log = LogFile::open(LogConfig {
            path: Some(path),
            max_size,
            max_file,
        })
        .unwrap();
        for index in 0..entries {
            log.append(format!("line {index}\n").as_bytes());
        }
        log.flush();
        let mut found: Vec<(String, String)> = std::fs::read_dir(place.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    fn check(max_size: Option<u64>, max_file: u32, entries: usize, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        assert_eq!(written(max_size, max_file, entries), expected);
    }

    #[test]
    fn rotation_keeps_as_many_files_as_asked() {
        check(None, 1, 3, &[("log", "line 0\nline 1\nline 2\n")]);
        check(Some(14), 3, 2, &[("log", "line 0\nline 1\n")]);
        check(
            Some(14),
            3,
            3,
            &[("log", "line 2\n"), ("log.1", "line 0\nline 1\n")],
        );
        check(
            Some(14),
            3,
            8,
            &[
                ("log", "line 6\nline 7\n"),
                ("log.1", "line 4\nline 5\n"),
                ("log.2", "line 2\nline 3\n"),
            ],
        );
        check(Some(14), 1, 5, &[("log", "line 4\n")]);
        check(Some(3), 2, 2, &[("log", "line 1\n"), ("log.1", "line 0\n")]);
    }
}
