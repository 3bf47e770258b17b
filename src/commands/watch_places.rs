//! What `hoist watch` has the kernel watch: what the rules name, or, while that is not there, the directory it will be in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::failure::Failure;

/// What of a path there is: itself, or the nearest directory above it.
pub(super) fn existing(path: &Path) -> &Path {
    let mut above = path.ancestors();
    above.find(|path| path.exists()).unwrap_or(path)
}

/// A path as the kernel reports it in changes: without links, although its end may not be there yet.
pub(super) fn without_links(path: &Path) -> PathBuf {
    let there = existing(path);
    match (std::fs::canonicalize(there), path.strip_prefix(there)) {
        (Ok(there), Ok(rest)) if rest.as_os_str().is_empty() => there,
        (Ok(there), Ok(rest)) => there.join(rest),
        _ => path.to_owned(),
    }
}

/// The watched places of some paths.
#[derive(Debug)]
pub(super) struct Places {
    paths: BTreeSet<PathBuf>,
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, RecursiveMode>,
}

impl Places {
    /// Watches these paths; what changes beneath them is received.
    ///
    /// # Errors
    /// A path cannot be watched.
    pub(super) fn watch(
        paths: BTreeSet<PathBuf>,
    ) -> Result<(Places, UnboundedReceiver<Vec<PathBuf>>), Failure> {
        let (sender, changed) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
            {
                // Whoever listened has gone away: nothing is watched any more.
                let _ = sender.send(event.paths);
            }
        })?;
        let mut places = Places {
            paths,
            watcher,
            watched: BTreeMap::new(),
        };
        places.follow(&BTreeSet::new())?;
        Ok((places, changed))
    }

    /// Those of the paths that are not there.
    pub(super) fn absent(&self) -> impl Iterator<Item = &Path> {
        let paths = self.paths.iter().map(PathBuf::as_path);
        paths.filter(|path| !path.exists())
    }

    /// Watches what has appeared meanwhile, and the directories of what has gone; of these changes, what was put in another's
    /// place is watched again. The paths that are watched since now are returned.
    ///
    /// # Errors
    /// A path cannot be watched.
    pub(super) fn follow(&mut self, changed: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>, Failure> {
        // The kernel watches the file or directory, not its name.
        let mut stale: Vec<PathBuf> = self.watched.keys().cloned().collect();
        stale.retain(|place| changed.contains(place));
        for place in stale {
            self.forget(&place);
        }
        let mut new = Vec::new();
        // While one directory was being watched, the next one may have appeared in it.
        loop {
            let wanted = self.wanted();
            let mut old: Vec<PathBuf> = self.watched.keys().cloned().collect();
            old.retain(|place| wanted.get(place) != self.watched.get(place));
            for place in old {
                self.forget(&place);
            }
            let missing = wanted
                .into_iter()
                .filter(|(place, _)| !self.watched.contains_key(place))
                .collect::<Vec<_>>();
            if missing.is_empty() {
                return Ok(new);
            }
            for (place, mode) in missing {
                match self.watcher.watch(&place, mode) {
                    Ok(()) => {}
                    // Gone again.
                    Err(_) if !place.exists() => continue,
                    Err(error) => {
                        let what = format!("cannot watch {}", place.display());
                        return Err(Failure::from(error).context(what));
                    }
                }
                if mode == RecursiveMode::Recursive {
                    new.push(place.clone());
                }
                self.watched.insert(place, mode);
            }
        }
    }

    fn wanted(&self) -> BTreeMap<PathBuf, RecursiveMode> {
        let places = self.paths.iter().map(|path| (existing(path), path));
        let (there, absent): (Vec<_>, Vec<_>) = places.partition(|(there, path)| there == path);
        let there: BTreeSet<&Path> = there.into_iter().map(|(there, _)| there).collect();
        // Not with all below it: that may be half of the machine when the path is mistyped.
        let above = absent
            .into_iter()
            .map(|(above, _)| above)
            .filter(|above| !above.ancestors().any(|place| there.contains(place)))
            .map(|above| (above.to_owned(), RecursiveMode::NonRecursive));
        let whole = there.iter();
        whole
            .map(|place| ((*place).to_owned(), RecursiveMode::Recursive))
            .chain(above)
            .collect()
    }

    fn forget(&mut self, place: &Path) {
        self.watched.remove(place);
        // What is gone is watched no more by itself.
        let _ = self.watcher.unwatch(place);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// The changes that are told until none comes for a moment.
    fn told(changed: &mut UnboundedReceiver<Vec<PathBuf>>) -> BTreeSet<PathBuf> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut paths = BTreeSet::new();
            let mut patience = Duration::from_secs(5);
            while let Ok(Some(more)) = tokio::time::timeout(patience, changed.recv()).await {
                paths.extend(more);
                patience = Duration::from_millis(200);
            }
            paths
        })
    }

    fn watched(places: &Places) -> Vec<(&Path, RecursiveMode)> {
        let all = places.watched.iter();
        all.map(|(place, mode)| (place.as_path(), *mode)).collect()
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        (directory, path)
    }

    #[test]
    fn of_what_is_absent_only_the_directory_above_is_watched() {
        let (_directory, top) = directory();
        let (other, source) = (top.join("other/deep"), top.join("app/src"));
        fs::create_dir_all(&other).unwrap();
        let (mut places, mut changed) = Places::watch(BTreeSet::from([source.clone()])).unwrap();
        assert_eq!(watched(&places), [(&*top, RecursiveMode::NonRecursive)]);
        assert_eq!(places.absent().collect::<Vec<_>>(), [source.as_path()]);

        fs::write(other.join("file"), "").unwrap();
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("early"), "").unwrap();
        let paths = told(&mut changed);
        assert!(!paths.contains(&other.join("file")), "{paths:?}");
        assert_eq!(places.follow(&paths).unwrap(), [source.as_path()]);
        assert_eq!(watched(&places), [(&*source, RecursiveMode::Recursive)]);
        assert_eq!(places.absent().count(), 0);

        fs::create_dir(source.join("new")).unwrap();
        fs::write(source.join("late"), "").unwrap();
        let paths = told(&mut changed);
        assert!(paths.contains(&source.join("late")), "{paths:?}");
    }

    #[test]
    fn what_was_replaced_is_watched_again() {
        let (_directory, top) = directory();
        let (file, source) = (top.join("settings"), top.join("src"));
        fs::write(&file, "1").unwrap();
        fs::create_dir(&source).unwrap();
        let both = BTreeSet::from([file.clone(), source.clone()]);
        let (mut places, mut changed) = Places::watch(both).unwrap();

        // As editors write, and as a checkout does.
        fs::write(top.join("settings.new"), "2").unwrap();
        fs::rename(top.join("settings.new"), &file).unwrap();
        fs::remove_dir(&source).unwrap();
        fs::create_dir(&source).unwrap();
        let paths = told(&mut changed);
        assert!(paths.contains(&file), "{paths:?}");
        assert!(paths.contains(&source), "{paths:?}");
        let new = places.follow(&paths).unwrap();
        assert_eq!(new, [file.clone(), source.clone()]);

        fs::write(&file, "3").unwrap();
        fs::write(source.join("main"), "").unwrap();
        let paths = told(&mut changed);
        assert!(paths.contains(&file), "{paths:?}");
        assert!(paths.contains(&source.join("main")), "{paths:?}");
    }

    #[test]
    fn what_has_gone_is_waited_for() {
        let (_directory, top) = directory();
        let source = top.join("src");
        fs::create_dir(&source).unwrap();
        let (mut places, mut changed) = Places::watch(BTreeSet::from([source.clone()])).unwrap();
        fs::remove_dir(&source).unwrap();
        let paths = told(&mut changed);
        assert!(places.follow(&paths).unwrap().is_empty());
        assert_eq!(watched(&places), [(&*top, RecursiveMode::NonRecursive)]);
    }
}
