//! What a container's writable layer holds: `/changes`, `/export` and `/commit`.
//!
//! The writable layer itself is read, never the mounts of the container: volumes and kernel file systems are in none of the three. What
//! only marks the place of a mount is left out of changes and commits, as Docker's init layer hides it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::archive::FileChange;
use hoist_api::container::{CommitContainer, ContainerCommitted, ContainerConfig};
use hoist_api::error::{ApiError, Result};
use hoist_kernel::path::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use tokio::sync::mpsc;

use super::archive::{Pieces, QUEUE, send_archive};
use super::images::{PieceReader, image_name};
use super::{Service, create, image_error, internal, tree};
use crate::containers::Container;
use crate::image::change;
use crate::image::config::Empty;
use crate::image::pack::{Marks, Packing, pack};
use crate::image::{CommitOptions, ContainerDefaults, HealthcheckDefaults, Image};
use crate::store::container::{ContainerRecord, Status};

const CHANGED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;

/// What the runtime makes in every container before it mounts something there.
const MOUNT_POINTS: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/.dockerenv",
];

impl Service {
    /// Bytes of the container's writable layer, and of it and its image together.
    pub(super) async fn sizes(self: &Arc<Self>, container: &Arc<Container>) -> Result<(i64, i64)> {
        let record = container.snapshot();
        self.blocking(move |service| {
            let upper = service
                .config
                .container_root(record.id.as_str())
                .join("upper");
            let own = if upper.exists() {
                let root = Root::open(&upper).map_err(|error| internal(&error))?;
                size(&root).map_err(|error| internal(&error))?
            } else {
                0
            };
            let image = service.images.resolve(&record.image_id);
            let below = image.map_or(0, |image| image.size);
            let wire = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            Ok((wire(own), wire(own.saturating_add(below))))
        })
        .await
    }

    /// How the container's files differ from its image's.
    pub(crate) async fn changes(self: &Arc<Self>, key: &str) -> Result<Vec<FileChange>> {
        let container = self.containers.find(key)?;
        let record = container.snapshot();
        self.blocking(move |service| {
            let image = service
                .images
                .resolve(&record.image_id)
                .map_err(image_error)?;
            let upper = service
                .config
                .container_root(record.id.as_str())
                .join("upper");
            let mut changes = BTreeMap::new();
            if upper.exists() {
                let mut comparison = Comparison {
                    upper: Root::open(&upper).map_err(|error| internal(&error))?,
                    below: Below::open(&image)?,
                    places: places(&record),
                    tell: &mut |path, kind| {
                        changes.insert(path, kind);
                    },
                };
                comparison.run().map_err(|error| internal(&error))?;
            }
            let told = changes.into_iter().map(|(path, kind)| FileChange {
                path: path.to_string_lossy().into_owned(),
                kind,
            });
            Ok(told.collect())
        })
        .await
    }

    /// The container's files as an archive, without what is mounted in it.
    pub(crate) async fn export(self: &Arc<Self>, key: &str) -> Result<Pieces> {
        let container = self.containers.find(key)?;
        let record = container.snapshot();
        let root = self
            .blocking(move |service| {
                let image = service
                    .images
                    .resolve(&record.image_id)
                    .map_err(image_error)?;
                let overlay = service.root_filesystem(&record, &image)?;
                tree::mount_layers(&overlay).map_err(|error| internal(&error))
            })
            .await?;
        let (sender, pieces) = mpsc::channel(QUEUE);
        let pack_all = move |_: &Service| {
            let packing = Packing {
                root: &root,
                from: "/".into(),
                name: PathBuf::new(),
                marks: Marks::Plain,
                skip: &|_| false,
            };
            send_archive(&sender, |out| pack(&packing, out));
            Ok(())
        };
        let service = self.clone();
        tokio::spawn(async move { service.for_client(pack_all).await });
        self.emit(&container, "export", []);
        Ok(pieces)
    }

    /// Makes an image of the container.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        key: &str,
        options: CommitContainer,
        config: Option<ContainerConfig>,
    ) -> Result<ContainerCommitted> {
        let container = self.containers.find(key)?;
        let (service, options) = (self.clone(), Arc::new(options));
        let (locked, wanted) = (container.clone(), options.clone());
        // A container that was frozen is thawed although the client goes away.
        let work = tokio::spawn(async move {
            let _operation = locked.operation.lock().await;
            service.commit_locked(&locked, &wanted, config).await
        });
        let id = work.await.map_err(|error| internal(&error))??;
        let told = [
            ("comment", options.comment.clone()),
            ("imageID", id.clone()),
            ("imageRef", options.reference.clone()),
        ];
        self.emit(&container, "commit", told);
        Ok(ContainerCommitted { id })
    }

    async fn commit_locked(
        self: &Arc<Self>,
        container: &Arc<Container>,
        options: &CommitContainer,
        config: Option<ContainerConfig>,
    ) -> Result<String> {
        let record = container.snapshot();
        if matches!(record.run.status, Status::Removing | Status::Dead) {
            return Err(ApiError::conflict(format!(
                "You cannot commit container {} which is being removed",
                record.id
            )));
        }
        let commit = commit_options(&record, options, config)?;
        let freezes = options.pause && record.run.status == Status::Running;
        if freezes {
            self.freeze_if_running(container, true).await?;
        }
        let made = self
            .blocking(move |service| service.commit_layer(&record, commit))
            .await;
        if freezes {
            self.freeze_if_running(container, false).await?;
        }
        made
    }

    /// It may end meanwhile, and with it what freezes it.
    async fn freeze_if_running(
        self: &Arc<Self>,
        container: &Arc<Container>,
        frozen: bool,
    ) -> Result<()> {
        let group = self.group(&container.snapshot());
        match self.freeze(container, frozen).await {
            Err(error) => {
                let directories = self.machine.cgroups.directories(&group);
                let lives = directories.iter().any(|directory| directory.exists());
                if lives { Err(error) } else { Ok(()) }
            }
            Ok(()) => Ok(()),
        }
    }

    fn commit_layer(&self, record: &ContainerRecord, commit: CommitOptions) -> Result<String> {
        let upper = self.config.container_root(record.id.as_str()).join("upper");
        fs::create_dir_all(&upper).map_err(|error| internal(&error))?;
        let root = Root::open(&upper).map_err(|error| internal(&error))?;
        let image = self.images.resolve(&record.image_id).map_err(image_error)?;
        let (places, below) = (places(record), Below::open(&image)?);
        let skip =
            |path: &Path| places.iter().any(|place| place == path) && below.find(path).is_none();
        let (sender, receiver) = mpsc::channel(16);
        let made = std::thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                let packing = Packing {
                    root: &root,
                    from: "/".into(),
                    name: PathBuf::new(),
                    marks: Marks::Overlay,
                    skip: &skip,
                };
                send_archive(&sender, |out| pack(&packing, out));
            });
            self.images.commit(&mut PieceReader::new(receiver), commit)
        });
        Ok(made.map_err(image_error)?.to_string())
    }
}

fn commit_options(
    record: &ContainerRecord,
    options: &CommitContainer,
    config: Option<ContainerConfig>,
) -> Result<CommitOptions> {
    let name = match options.reference.as_str() {
        "" => None,
        name => Some(image_name(name)?),
    };
    let mut defaults = defaults(config.as_ref().unwrap_or(&record.config));
    change::apply_all(&mut defaults, &options.changes)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    if config.is_some() {
        complete(&mut defaults, self::defaults(&record.config));
    }
    Ok(CommitOptions {
        base: record.image_id.clone(),
        name,
        config: defaults,
        author: options.author.clone(),
        comment: options.comment.clone(),
        created_by: record.argv().join(" "),
    })
}

/// What was not said of the new image is the container's (moby, `daemon/commit.go`, `merge`).
fn complete(asked: &mut ContainerDefaults, container: ContainerDefaults) {
    let fill = |mine: &mut String, other: String| {
        if mine.is_empty() {
            *mine = other;
        }
    };
    fill(&mut asked.user, container.user);
    fill(&mut asked.working_dir, container.working_dir);
    fill(&mut asked.stop_signal, container.stop_signal);
    asked.env = create::merge_env(&container.env, &asked.env);
    for (port, empty) in container.exposed_ports {
        asked.exposed_ports.entry(port).or_insert(empty);
    }
    for (path, empty) in container.volumes {
        asked.volumes.entry(path).or_insert(empty);
    }
    for (label, value) in container.labels {
        asked.labels.entry(label).or_insert(value);
    }
    if asked.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
            asked.cmd = container.cmd;
        }
        if asked.entrypoint.is_none() {
            asked.entrypoint = container.entrypoint;
        }
    }
    asked.healthcheck = asked.healthcheck.take().or(container.healthcheck);
    asked.shell = asked.shell.take().or(container.shell);
}

fn defaults(config: &ContainerConfig) -> ContainerDefaults {
    ContainerDefaults {
        user: config.user.clone(),
        exposed_ports: config
            .exposed_ports
            .keys()
            .map(|port| (port.clone(), Empty {}))
            .collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config
            .volumes
            .iter()
            .flat_map(BTreeMap::keys)
            .map(|path| (path.clone(), Empty {}))
            .collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config
            .healthcheck
            .as_ref()
            .map(|check| HealthcheckDefaults {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
        shell: Some(config.shell.clone()).filter(|shell| !shell.is_empty()),
        on_build: config.on_build.clone().unwrap_or_default(),
        args_escaped: false,
    }
}

/// Paths that hold mounts, with the directories that were made only to lead to them.
fn places(record: &ContainerRecord) -> Vec<PathBuf> {
    let targets = record.mounts.iter().map(|mount| mount.target.as_str());
    let mut places = Vec::new();
    for target in MOUNT_POINTS.iter().copied().chain(targets) {
        places.push(PathBuf::from(target.trim_end_matches('/')));
    }
    places
}

/// Bytes of all files in a tree, each counted once.
fn size(root: &Root) -> io::Result<u64> {
    let mut total = 0;
    let mut seen = HashSet::new();
    let mut pending = vec![PathBuf::from("/")];
    while let Some(directory) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let Ok(opened) = root.open_beneath(&directory, flags, Mode::empty()) else {
            continue;
        };
        for entry in rustix::fs::Dir::read_from(&opened)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let Ok(stat) = rustix::fs::statat(&opened, name, flags) else {
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            if is_directory(&stat) {
                pending.push(directory.join(name));
            } else if stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                total += u64::try_from(stat.st_size).unwrap_or(0);
            }
        }
    }
    Ok(total)
}

/// An image's layers, open to be looked at.
struct Below(Vec<Root>);

impl Below {
    fn open(image: &Image) -> Result<Self> {
        let open = |layer: &PathBuf| Root::open(layer).map_err(|error| internal(&error));
        image
            .layers
            .iter()
            .rev()
            .map(open)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// What the image has at a path: the highest layer that says something of it counts.
    fn find(&self, path: &Path) -> Option<Stat> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let mut found = self
            .0
            .iter()
            .filter_map(|layer| layer.open_beneath(path, flags, Mode::empty()).ok());
        let stat = rustix::fs::fstat(found.next()?).ok()?;
        (!is_whiteout(&stat)).then_some(stat)
    }
}

/// A writable layer beside its image.
struct Comparison<'a> {
    upper: Root,
    below: Below,
    /// What only marks the place of a mount.
    places: Vec<PathBuf>,
    tell: &'a mut dyn FnMut(PathBuf, u8),
}

impl Comparison<'_> {
    /// Walks the writable layer and tells each path that differs from the image.
    fn run(&mut self) -> io::Result<()> {
        let mut pending = vec![PathBuf::from("/")];
        while let Some(directory) = pending.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            // What has gone since its parent was read is told at the next time.
            let Ok(opened) = self.upper.open_beneath(&directory, flags, Mode::empty()) else {
                continue;
            };
            let mut appeared_or_gone = false;
            for entry in rustix::fs::Dir::read_from(&opened)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let Ok(stat) = rustix::fs::statat(&opened, name, flags) else {
                    continue;
                };
                if name == "." || name == ".." {
                    continue;
                }
                let path = directory.join(name);
                if is_directory(&stat) {
                    pending.push(path.clone());
                }
                appeared_or_gone |= self.entry(path, &stat);
            }
            if appeared_or_gone
                && directory != Path::new("/")
                && self.below.find(&directory).is_some()
            {
                (self.tell)(directory, CHANGED);
            }
        }
        Ok(())
    }

    /// Tells of one entry, and whether its directory has one more or one less.
    fn entry(&mut self, path: PathBuf, stat: &Stat) -> bool {
        if is_whiteout(stat) {
            (self.tell)(path, DELETED);
            return true;
        }
        let Some(before) = self.below.find(&path) else {
            if self.places.contains(&path) {
                return false;
            }
            (self.tell)(path, ADDED);
            return true;
        };
        let owned = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        // A directory that is there because something in it changed is told with that.
        let only_leads = is_directory(stat) && is_directory(&before);
        if !only_leads || owned(stat) != owned(&before) {
            (self.tell)(path, CHANGED);
        }
        false
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
