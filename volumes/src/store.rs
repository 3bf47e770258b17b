//! The volume store: records, content directories, and what the runtime mounts.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::driver::{check_options, mount};
use crate::erase::erase_tree;
use crate::error::VolumeError;
use crate::name::VolumeName;
use crate::populate::{self, DATA};

const RECORD: &str = "volume.json";
const DRIVER: &str = "local";
/// The label by which Docker's clients know volumes that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// Beginning of the names of removed volumes' directories; no volume's name begins with a dot.
const REMOVED: &str = ".removed-";

/// What a new volume is to be.
#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// The name; none makes an anonymous volume.
    pub name: Option<VolumeName>,
    /// The driver; empty or `local`.
    pub driver: String,
    /// The driver's options: `type`, `o`, `device` as `mount(8)` takes them.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name.
    pub name: VolumeName,
    /// Always `local`.
    pub driver: String,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// The content directory, `<root>/volumes/<name>/_data`.
    pub mountpoint: PathBuf,
    /// Whether the engine chose the name: such a volume goes with its container when that is asked for.
    pub anonymous: bool,
}

/// What the runtime mounts for a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A bind mount of this directory (or file) of the host.
    Bind {
        /// The host path.
        path: PathBuf,
        /// What is mounted of it, when that is not the whole: a relative path without links. What is in a volume is a container's work
        /// and may have changed until it is mounted, so whoever mounts it resolves this beneath `path`.
        subpath: Option<PathBuf>,
        /// Whether the volume's own options say read-only.
        read_only: bool,
    },
    /// A file system to mount, as `mount -t <kind> -o <options> <device>` would.
    FileSystem {
        /// `tmpfs`, `nfs`, `ext4`.
        kind: String,
        /// What to mount; `tmpfs` for a tmpfs.
        device: String,
        /// The options, one by one: `size=1m`, `ro`.
        options: Vec<String>,
    },
}

/// Where a new volume's first content comes from.
#[derive(Debug, Clone)]
pub struct Populate {
    /// The image's layer directories, lowest first.
    pub layers: Vec<PathBuf>,
    /// The absolute path in the image at which the volume is mounted.
    pub path: PathBuf,
    /// A directory below the volume that is mounted instead of the whole, and filled when it is there and empty.
    pub subpath: Option<PathBuf>,
}

/// What [`VolumeStore::populate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Populated {
    /// The image's content was copied.
    Copied {
        /// Files, directories and links.
        entries: u64,
        /// Bytes of file content.
        bytes: u64,
    },
    /// The volume had content already, is not a local directory, or the image has nothing at the path.
    Unchanged,
}

/// Which containers (by id) use which volumes.
pub type VolumeUsers = HashMap<VolumeName, Vec<String>>;

/// The record on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    name: VolumeName,
    driver: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    created_at: String,
    #[serde(default)]
    anonymous: bool,
}

/// The volume store. Clones share it. Every method may block on the disk: call it from a blocking thread.
#[derive(Debug, Clone)]
pub struct VolumeStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    volumes: Mutex<BTreeMap<VolumeName, Known>>,
    removals: AtomicU64,
}

/// A volume and the lock that populating and removing it take.
#[derive(Debug, Clone)]
struct Known {
    volume: Volume,
    work: Arc<Mutex<()>>,
}

impl VolumeStore {
    /// Opens (and creates when missing) `<root>/volumes`, finishes or undoes what a killed engine left half done, and sets unreadable
    /// records aside with a warning.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let directory = root.join("volumes");
        make_directory(&directory, 0o711)?;
        let mut volumes = BTreeMap::new();
        let entries =
            fs::read_dir(&directory).map_err(|error| VolumeError::at("read", &directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| VolumeError::at("read", &directory, error))?;
            if let Some(volume) = recover(&entry.path()) {
                volumes.insert(
                    volume.name.clone(),
                    Known {
                        volume,
                        work: Arc::default(),
                    },
                );
            }
        }
        let inner = Inner {
            directory,
            volumes: Mutex::new(volumes),
            removals: AtomicU64::new(0),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes a volume. When it exists already with the same driver options, it is returned as it is (its labels win), as Docker does.
    ///
    /// # Errors
    /// [`VolumeError::UnknownDriver`], [`VolumeError::InvalidOption`], [`VolumeError::Differs`], or it cannot be written.
    pub fn create(&self, request: CreateVolume) -> Result<Volume, VolumeError> {
        if !matches!(request.driver.as_str(), "" | DRIVER) {
            return Err(VolumeError::UnknownDriver(request.driver));
        }
        check_options(&request.driver_opts)?;
        let anonymous = request.name.is_none();
        let name = request.name.map_or_else(VolumeName::anonymous, Ok)?;
        // Held until the record is there, so that two creations of one name make one volume.
        let mut volumes = self.volumes();
        if let Some(known) = volumes.get(&name) {
            let is_same =
                request.driver_opts.is_empty() || known.volume.driver_opts == request.driver_opts;
            return if is_same {
                Ok(known.volume.clone())
            } else {
                Err(VolumeError::Differs(name.to_string()))
            };
        }
        let mut labels = request.labels;
        if anonymous {
            labels.entry(ANONYMOUS.to_owned()).or_default();
        }
        let volume = Volume {
            mountpoint: self.directory_of(&name).join(DATA),
            name: name.clone(),
            driver: DRIVER.to_owned(),
            driver_opts: request.driver_opts,
            labels,
            created_at: jiff::Timestamp::now().to_string(),
            anonymous,
        };
        write_volume(&self.directory_of(&name), &volume)?;
        volumes.insert(
            name,
            Known {
                volume: volume.clone(),
                work: Arc::default(),
            },
        );
        Ok(volume)
    }

    /// The volume of this name.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        self.known(name).map(|known| known.volume)
    }

    /// All volumes, by name.
    pub fn list(&self) -> Vec<Volume> {
        self.volumes()
            .values()
            .map(|known| known.volume.clone())
            .collect()
    }

    /// Removes a volume and its content.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::InUse`], or it cannot be removed.
    pub fn remove(&self, name: &str, users: &VolumeUsers) -> Result<(), VolumeError> {
        let known = self.known(name)?;
        let volume = known.volume;
        if let Some(users) = users.get(&volume.name).filter(|users| !users.is_empty()) {
            return Err(VolumeError::InUse {
                name: name.to_owned(),
                users: users.clone(),
            });
        }
        // A copy from an image that is still running would bring the directory back.
        let _work = lock(&known.work);
        let directory = self.directory_of(&volume.name);
        let number = self.inner.removals.fetch_add(1, Ordering::Relaxed);
        let aside = self.inner.directory.join(format!(
            "{REMOVED}{number}-{}",
            &volume.name.as_str()[..volume.name.as_str().len().min(64)]
        ));
        {
            let mut volumes = self.volumes();
            match fs::rename(&directory, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(VolumeError::at("remove", &directory, error));
                }
                _ => volumes.remove(&volume.name),
            };
        }
        if let Err(error) = erase_tree(&aside) {
            tracing::warn!(volume = name, path = %aside.display(), %error, "a removed volume's files are left until the engine starts again");
        }
        Ok(())
    }

    /// Removes the volumes that nothing uses and that `wanted` picks (Docker: only anonymous ones unless all are asked for). Returns them
    /// and the bytes they gave back.
    ///
    /// # Errors
    /// A volume cannot be removed; those before it are gone.
    pub fn prune(
        &self,
        users: &VolumeUsers,
        wanted: &dyn Fn(&Volume) -> bool,
    ) -> Result<(Vec<Volume>, u64), VolumeError> {
        let mut removed = Vec::new();
        let mut bytes = 0;
        let is_unused = |volume: &Volume| users.get(&volume.name).is_none_or(Vec::is_empty);
        for volume in self
            .list()
            .into_iter()
            .filter(|volume| is_unused(volume) && wanted(volume))
        {
            let size = self.size(volume.name.as_str()).unwrap_or(0);
            match self.remove(volume.name.as_str(), users) {
                Ok(()) => {
                    bytes += size;
                    removed.push(volume);
                }
                // Somebody else was faster.
                Err(VolumeError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((removed, bytes))
    }

    /// What to mount for a volume, or for a path below it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`], [`VolumeError::BindSourceMissing`] for a volume whose device is a host path.
    pub fn mount_source(
        &self,
        name: &str,
        subpath: Option<&Path>,
    ) -> Result<MountSource, VolumeError> {
        mount(&self.inspect(name)?, subpath)
    }

    /// Fills a volume with what the image has at the mount path, with modes, owners, times, links and extended attributes, as Docker does:
    /// only when the volume is a plain local one and empty. The caller does not call it for `nocopy`. Safe to call at every start, from
    /// several threads, and to be killed in.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::NoSpace`] (the volume is empty then, as before), or something cannot be copied.
    pub fn populate(&self, name: &str, from: &Populate) -> Result<Populated, VolumeError> {
        let known = self.known(name)?;
        let _work = lock(&known.work);
        if !known.volume.driver_opts.is_empty() {
            return Ok(Populated::Unchanged);
        }
        // It may have been removed while this waited.
        self.known(name)?;
        populate::populate(&self.directory_of(&known.volume.name), from)
    }

    /// Bytes of a volume's content, for `system df` and prune.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], or it cannot be read.
    pub fn size(&self, name: &str) -> Result<u64, VolumeError> {
        let mountpoint = self.inspect(name)?.mountpoint;
        crate::usage::usage(&mountpoint)
            .map_err(|error| VolumeError::at("measure", &mountpoint, error))
    }

    fn known(&self, name: &str) -> Result<Known, VolumeError> {
        let parsed: Option<VolumeName> = name.parse().ok();
        let found = parsed.and_then(|name| self.volumes().get(&name).cloned());
        found.ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    fn directory_of(&self, name: &VolumeName) -> PathBuf {
        self.inner.directory.join(name.as_str())
    }

    fn volumes(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Known>> {
        lock(&self.inner.volumes)
    }
}

/// The maps are whole after every single change, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_directory(path: &Path, mode: u32) -> Result<(), VolumeError> {
    let make = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    make.map_err(|error| VolumeError::at("create", path, error))
}

/// Directory and content first, the record last: without it there is no volume. Content that is there already is taken over, so data whose
/// record was lost comes back when the volume is made again.
fn write_volume(directory: &Path, volume: &Volume) -> Result<(), VolumeError> {
    make_directory(directory, 0o711)?;
    if !volume.mountpoint.exists() {
        make_directory(&volume.mountpoint, 0o755)?;
        // The umask must not matter.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&volume.mountpoint, mode)
            .map_err(|error| VolumeError::at("chmod", &volume.mountpoint, error))?;
    }
    let record = Record {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        options: volume.driver_opts.clone(),
        labels: volume.labels.clone(),
        created_at: volume.created_at.clone(),
        anonymous: volume.anonymous,
    };
    let (path, staged) = (directory.join(RECORD), directory.join("volume.json.tmp"));
    let failed = |error: io::Error| VolumeError::at("write", &path, error);
    let text = serde_json::to_vec_pretty(&record).map_err(|error| failed(error.into()))?;
    let mut file = File::create(&staged).map_err(failed)?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&staged, &path))
        .map_err(failed)
}

/// The volume in a directory of the store, after what a killed engine left there was cleared up; none when there is none.
fn recover(directory: &Path) -> Option<Volume> {
    let name = directory.file_name()?.to_str()?;
    if name.starts_with(REMOVED) {
        warn_about(
            directory,
            "a removed volume cannot be erased",
            erase_tree(directory).err(),
        );
        return None;
    }
    let name: VolumeName = name.parse().ok()?;
    match read_record(directory, &name) {
        Ok(volume) => {
            warn_about(
                directory,
                "a volume cannot be filled",
                populate::recover(directory).err(),
            );
            Some(volume)
        }
        // Killed between the directory and the record.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !has_content(directory) => {
            warn_about(
                directory,
                "a half-made volume cannot be removed",
                erase_tree(directory).err(),
            );
            None
        }
        Err(error) => {
            let aside = directory.join("volume.json.unreadable");
            drop(fs::rename(directory.join(RECORD), &aside));
            tracing::warn!(volume = %name, %error, "a volume's record is unreadable and was set aside; making the volume again brings its data back");
            None
        }
    }
}

fn read_record(directory: &Path, name: &VolumeName) -> io::Result<Volume> {
    let text = fs::read(directory.join(RECORD))?;
    let record: Record = serde_json::from_slice(&text)?;
    if record.name != *name {
        return Err(io::Error::other(format!(
            "it is that of volume {}",
            record.name
        )));
    }
    let mountpoint = directory.join(DATA);
    if !mountpoint.is_dir() {
        return Err(io::Error::other("its content directory is missing"));
    }
    Ok(Volume {
        mountpoint,
        name: record.name,
        driver: record.driver,
        driver_opts: record.options,
        labels: record.labels,
        created_at: record.created_at,
        anonymous: record.anonymous,
    })
}

fn has_content(directory: &Path) -> bool {
    fs::read_dir(directory.join(DATA)).is_ok_and(|mut entries| entries.next().is_some())
}

fn warn_about<E: std::fmt::Display>(directory: &Path, what: &str, error: Option<E>) {
    if let Some(error) = error {
        tracing::warn!(path = %directory.display(), %error, "{what}");
    }
}

#[cfg(test)]
mod tests;
