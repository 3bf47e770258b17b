//! Following a log: what is there, then what comes, through rotations, until the container's end.
//!
//! One inotify instance serves all followers of an engine (an instance each would run into
//! `fs.inotify.max_user_instances`, 128 by default). Reading happens on blocking threads, a batch at a time; waiting for the file and
//! for the client does not, so that neither idle nor stuck clients hold a thread.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};

use super::{Selection, Stop, files, read_lines};

/// Batches that may wait for a slow reader.
const QUEUE: usize = 4;

type Followers = Arc<Mutex<HashMap<PathBuf, (watch::Sender<()>, usize)>>>;

/// Wakes followers when files change in the directories of their logs.
pub(crate) struct LogWatcher {
    /// Locked before the followers, and as long as one comes or goes: another one of the same directory is watched for as well.
    watcher: Mutex<notify::RecommendedWatcher>,
    followers: Followers,
}

impl std::fmt::Debug for LogWatcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogWatcher").finish_non_exhaustive()
    }
}

/// One follower's registration; it ends with the value.
struct Registration {
    watcher: Arc<LogWatcher>,
    directory: PathBuf,
    /// Each follower has seen its own changes: what happens while it reads is not missed, however many there are.
    changed: watch::Receiver<()>,
}

impl LogWatcher {
    /// Starts watching nothing yet.
    pub(crate) fn start() -> notify::Result<Arc<Self>> {
        let followers: Followers = Arc::default();
        let woken = followers.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            // Followers open the file themselves when they are woken: that must not wake them again.
            if event.kind.is_access() {
                return;
            }
            let followers = woken.lock().unwrap_or_else(PoisonError::into_inner);
            for directory in event.paths.iter().filter_map(|path| path.parent()) {
                if let Some((changed, _)) = followers.get(directory) {
                    changed.send_replace(());
                }
            }
        })?;
        Ok(Arc::new(Self {
            watcher: Mutex::new(watcher),
            followers,
        }))
    }

    fn register(self: &Arc<Self>, path: &Path) -> io::Result<Registration> {
        let directory = path.parent().unwrap_or(path).to_owned();
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let entry = followers
            .entry(directory.clone())
            .or_insert_with(|| (watch::Sender::default(), 0));
        entry.1 += 1;
        let (changed, first) = (entry.0.subscribe(), entry.1 == 1);
        // The thread that tells changes takes it, and the watcher waits for that thread.
        drop(followers);
        let watched = match first {
            true => watcher.watch(&directory, RecursiveMode::NonRecursive),
            false => Ok(()),
        };
        drop(watcher);
        let registration = Registration {
            watcher: self.clone(),
            directory,
            changed,
        };
        watched.map(|()| registration).map_err(io::Error::other)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let watcher = &self.watcher.watcher;
        let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followers = self
            .watcher
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = followers.get_mut(&self.directory) else {
            return;
        };
        entry.1 -= 1;
        if entry.1 == 0 {
            followers.remove(&self.directory);
            drop(followers);
            // The directory may be gone already, and its watch with it.
            let _ = watcher.unwatch(&self.directory);
        }
    }
}

/// Reads a log in the background; the receiver ends with it. `follow` carries the watcher and a signal that is
/// true when the container has ended and all its output is written.
///
/// The files are open when this returns: who has asked for a log reads it to its end, though the container is removed meanwhile.
///
/// # Errors
///
/// A file of the log cannot be opened, or not be watched.
pub(crate) async fn read(
    path: PathBuf,
    selection: Selection,
    follow: Option<(Arc<LogWatcher>, watch::Receiver<bool>)>,
) -> io::Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let followed = match follow {
        Some((watcher, ended)) => Some((watcher.register(&path)?, ended)),
        None => None,
    };
    let position = Position::begin(&path, selection.tail).await?;
    tokio::spawn(async move {
        if let Err(error) = run(&path, position, selection, followed, sender).await {
            tracing::warn!(path = %path.display(), %error, "cannot go on reading a log");
        }
    });
    Ok(receiver)
}

async fn run(
    path: &Path,
    mut position: Position,
    selection: Selection,
    mut followed: Option<(Registration, watch::Receiver<bool>)>,
    sender: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let selection = Arc::new(selection);
    loop {
        // Asked before reading: what was written before the end is read after it was seen.
        let last = followed.as_ref().is_none_or(|(_, ended)| *ended.borrow());
        let left = loop {
            let (next, bytes, left) = position.advance(path.to_owned(), selection.clone()).await?;
            position = next;
            if !bytes.is_empty() && sender.send(bytes).await.is_err() {
                return Ok(());
            }
            if left != Left::More {
                break left;
            }
        };
        if last || left == Left::Nothing {
            return Ok(());
        }
        let Some((registration, ended)) = &mut followed else {
            return Ok(());
        };
        tokio::select! {
            changed = registration.changed.changed() => if changed.is_err() { return Ok(()) },
            changed = ended.changed() => if changed.is_err() { return Ok(()) },
            () = sender.closed() => return Ok(()),
        }
    }
}

/// What is to be had after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Perhaps more, at once.
    More,
    /// What will be written.
    Later,
    /// Nothing that is wanted.
    Nothing,
}

/// How far a log has been read.
struct Position {
    /// Files still to be read, oldest first, with their first bytes to read.
    ahead: VecDeque<(File, u64)>,
    current: Option<File>,
    offset: u64,
    /// The file after a rotation, while the current one is read once more: it may have got lines between its last reading and
    /// the rotation.
    newer: Option<File>,
}

impl Position {
    async fn begin(path: &Path, tail: Option<u64>) -> io::Result<Self> {
        let path = path.to_owned();
        let found = tokio::task::spawn_blocking(move || files(&path, tail))
            .await
            .map_err(io::Error::other)??;
        Ok(Self {
            ahead: found.into(),
            current: None,
            offset: 0,
            newer: None,
        })
    }

    /// Reads a batch.
    async fn advance(
        mut self,
        path: PathBuf,
        selection: Arc<Selection>,
    ) -> io::Result<(Self, Bytes, Left)> {
        let work = move || {
            let (bytes, left) = self.read(&path, &selection)?;
            Ok((self, bytes, left))
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)?
    }

    fn read(&mut self, path: &Path, selection: &Selection) -> io::Result<(Bytes, Left)> {
        loop {
            if let Some(file) = &mut self.current {
                let (bytes, stop) = read_lines(file, &mut self.offset, selection)?;
                if stop == Stop::Past {
                    return Ok((bytes, Left::Nothing));
                }
                if !bytes.is_empty() {
                    return Ok((bytes, Left::More));
                }
            }
            let next = self.ahead.pop_front();
            let next = next.or_else(|| self.newer.take().map(|newer| (newer, 0)));
            if let Some((file, offset)) = next {
                self.current = Some(file);
                self.offset = offset;
                continue;
            }
            self.newer = self.rotated(path)?;
            if self.newer.is_none() {
                return Ok((Bytes::new(), Left::Later));
            }
        }
    }

    /// The file that now has the log's name, when it is another one.
    fn rotated(&self, path: &Path) -> io::Result<Option<File>> {
        let newer = match File::open(path) {
            Ok(newer) => newer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(current) = &self.current {
            let (current, new) = (current.metadata()?, newer.metadata()?);
            if (current.dev(), current.ino()) == (new.dev(), new.ino()) {
                return Ok(None);
            }
        }
        Ok(Some(newer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    fn line(text: &str) -> String {
        format!(
            "{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"
        )
    }

    async fn next(receiver: &mut mpsc::Receiver<Bytes>) -> Option<String> {
        let bytes = tokio::time::timeout(Duration::from_secs(10), receiver.recv())
            .await
            .expect("a line in time");
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_comes_is_followed_through_a_rotation_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, line("one")).unwrap();
        let (ended, signal) = watch::channel(false);
        let selection = Selection {
            stdout: true,
            raw: true,
            ..Selection::default()
        };
        let mut lines = read(
            path.clone(),
            selection,
            Some((LogWatcher::start().unwrap(), signal)),
        )
        .await
        .unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("one\n"));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(line("two").as_bytes())
            .unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("two\n"));
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        std::fs::write(&path, line("three")).unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("three\n"));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(line("four").as_bytes())
            .unwrap();
        ended.send_replace(true);
        let mut rest = String::new();
        while let Some(text) = next(&mut lines).await {
            rest.push_str(&text);
        }
        assert_eq!(rest, "four\n");
    }

    #[tokio::test]
    async fn writers_wake_all_and_readers_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = File::create(&path).unwrap();
        let watcher = LogWatcher::start().unwrap();
        let mut followers = [(), ()].map(|()| watcher.register(&path).unwrap());
        drop(File::open(&path).unwrap());
        let waiting =
            tokio::time::timeout(Duration::from_millis(300), followers[0].changed.changed());
        assert!(waiting.await.is_err());
        // Nobody waits when it changes, and everybody hears it.
        log.write_all(b"x").unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        for follower in &mut followers {
            let heard = tokio::time::timeout(Duration::from_secs(10), follower.changed.changed());
            assert!(heard.await.is_ok_and(|heard| heard.is_ok()));
        }
    }

    #[tokio::test]
    async fn a_log_that_is_removed_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(directory.path().join("log.1"), line("one")).unwrap();
        std::fs::write(&path, line("two")).unwrap();
        let selection = Selection {
            stdout: true,
            raw: true,
            ..Selection::default()
        };
        // One thread runs the test: nothing has been read when the files go.
        let mut lines = read(path, selection, None).await.unwrap();
        directory.close().unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("one\n"));
        assert_eq!(next(&mut lines).await.as_deref(), Some("two\n"));
        assert_eq!(next(&mut lines).await, None);
    }
}
