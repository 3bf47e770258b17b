//! `RUN --mount`: what is mounted for one step and leaves nothing in its layer.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hoist_api::build::SecretSource;
use hoist_dockerfile::{Ignore, InlineFile, MountKind, NodeId, Ownership, RunMount, RunOp};
use hoist_kernel::path::{Directory, Root};
use rustix::fs::{FileType, Mode};

use super::super::spec;
use super::steps::{Build, Output};
use crate::build::Scratch;
use crate::build::agent::AgentSocket;
use crate::build::copy::{Copier, Target};
use crate::build::error::BuildError;
use crate::build::mounts::CacheMount;
use crate::build::owner::Owner;
use crate::build::select::{Origin, follow, select, status};
use crate::build::tree;
use crate::image::StagedLayer;
use crate::runtime::spec::{FileIds, Mount, MountSource};

const SSH_SOCKET: &str = "SSH_AUTH_SOCK";

/// The mounts of one step.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// Detached mounts, in the order of [`MountSource::Passed`].
    pub(super) passed: Vec<OwnedFd>,
    /// Secrets that are variables, and where the agent's socket is.
    pub(super) env: Vec<String>,
    /// What must be there to be mounted on, and whether it is a directory.
    pub(super) targets: Vec<(String, bool)>,
    /// In use until the step has ended.
    caches: Vec<CacheMount>,
    agents: Vec<AgentSocket>,
    scratch: Vec<Scratch>,
}

/// A step whose mounts are made.
pub(super) struct Mounting<'a> {
    pub(super) build: &'a Arc<Build>,
    pub(super) op: &'a RunOp,
    pub(super) staged: &'a StagedLayer,
    /// What the steps that it names have made.
    pub(super) outputs: &'a (dyn Fn(NodeId) -> Result<Arc<Output>, BuildError> + Sync),
}

impl Mounting<'_> {
    /// Takes the caches that the step asks for, in the order of their ids, so that two steps never wait for each other.
    pub(super) async fn caches(&self) -> Result<Vec<(usize, CacheMount)>, BuildError> {
        let mut wanted = Vec::new();
        for (index, mount) in self.op.mounts.iter().enumerate() {
            if let MountKind::Cache {
                id, sharing, owner, ..
            } = &mount.kind
            {
                wanted.push((id, *sharing, index, *owner));
            }
        }
        wanted.sort_by(|one, other| one.0.cmp(other.0));
        let mut taken = Vec::new();
        for (id, sharing, index, owner) in wanted {
            let mode = owner.mode.unwrap_or(0o755);
            let taking =
                self.build
                    .service
                    .builder
                    .mounts
                    .take(id, sharing, (owner_of(owner), mode));
            let cache = tokio::select! {
                cache = taking => cache?,
                () = self.build.reporter.cancelled() => return Err(BuildError::Cancelled),
            };
            taken.push((index, cache));
        }
        Ok(taken)
    }

    /// Makes everything else. Blocks.
    pub(super) fn make(&self, mut caches: Vec<(usize, CacheMount)>) -> Result<Mounted, BuildError> {
        let mut mounted = Mounted::default();
        for (index, mount) in self.op.mounts.iter().enumerate() {
            let at = caches.iter().position(|(wanted, _)| *wanted == index);
            match (&mount.kind, at.map(|at| caches.swap_remove(at).1)) {
                (MountKind::Cache { .. }, Some(cache)) => self.cache(mount, cache, &mut mounted)?,
                _ => self.other(index, mount, &mut mounted)?,
            }
        }
        for (index, script) in self.op.scripts.iter().enumerate() {
            self.script(index, script, &mut mounted)?;
        }
        Ok(mounted)
    }

    fn other(
        &self,
        index: usize,
        mount: &RunMount,
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        match &mount.kind {
            MountKind::Bind {
                from,
                source,
                writable,
            } => self.bind(index, mount, (*from, source, *writable), mounted),
            MountKind::Tmpfs { size } => {
                let source = MountSource::Tmpfs {
                    size: *size,
                    mode: None,
                    options: vec!["exec".to_owned(), "suid".to_owned()],
                };
                mounted.add(&mount.target, source, (true, false));
                Ok(())
            }
            MountKind::Secret {
                id,
                env,
                required,
                owner,
            } => match self.build.request.secrets.get(id) {
                Some(secret) => self.secret((id, secret), (mount, env.as_deref(), *owner), mounted),
                None if *required => Err(BuildError::Refused(format!("secret {id}: not found"))),
                None => Ok(()),
            },
            MountKind::Ssh {
                id,
                required,
                owner,
            } => self.ssh((id, *required), (index, mount, *owner), mounted),
            MountKind::Cache { .. } => Ok(()),
        }
    }

    fn bind(
        &self,
        index: usize,
        mount: &RunMount,
        (from, source, writable): (NodeId, &str, bool),
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let output = (self.outputs)(from)?;
        let wanted = Path::new(source);
        if let Some(origin) = output.context() {
            // What is ignored must not be seen, and what is written must not reach the context.
            if writable || !origin.ignore.is_empty() {
                return self.copied(index, mount, (origin, source, writable), mounted);
            }
            return part(&origin.root, wanted, (mount, writable), mounted)?.map_or_else(
                || self.copied(index, mount, (origin, source, writable), mounted),
                Ok,
            );
        }
        let layers = output.directories(&self.build.service);
        let root = if writable {
            let upper = tree::Upper {
                tree: self.directory(&format!("upper-{index}"))?,
                work: self.directory(&format!("work-{index}"))?,
            };
            Root::from_fd(tree::mount(&layers, Some(&upper))?)
        } else {
            output.read(&self.build.service)?
        };
        if let Some(()) = part(&root, wanted, (mount, writable), mounted)? {
            return Ok(());
        }
        let origin = Origin {
            root,
            ignore: Ignore::default(),
            is_context: false,
        };
        self.copied(index, mount, (&origin, source, writable), mounted)
    }

    /// Mounts a copy of the files that a source names.
    fn copied(
        &self,
        index: usize,
        mount: &RunMount,
        (origin, source, writable): (&Origin, &str, bool),
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let place = self.directory(&format!("copy-{index}"))?;
        let root = tree::open(&place)?;
        let target = Target {
            root: &root,
            dest: "/all".to_owned(),
            owner: None,
            mode: None,
            time: None,
        };
        let mut is_directory = true;
        let mut copier = Copier::new(&target);
        for item in select(origin, source, &Ignore::default())? {
            is_directory = item
                .entries
                .first()
                .is_some_and(|entry| entry.kind() == FileType::Directory);
            copier.item(origin, &item, None)?;
        }
        let source = bind(place.join("all"));
        mounted.add(&mount.target, source, (is_directory, !writable));
        Ok(())
    }

    fn cache(
        &self,
        mount: &RunMount,
        cache: CacheMount,
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let MountKind::Cache {
            from,
            source,
            read_only,
            ..
        } = &mount.kind
        else {
            return Ok(());
        };
        if let Some(from) = from.filter(|_| cache.is_new) {
            let output = (self.outputs)(from)?;
            let own;
            let origin = match output.context() {
                Some(origin) => origin,
                None => {
                    own = Origin {
                        root: output.read(&self.build.service)?,
                        ignore: Ignore::default(),
                        is_context: false,
                    };
                    &own
                }
            };
            let root = tree::open(&cache.path)?;
            let target = Target {
                root: &root,
                dest: "/".to_owned(),
                owner: None,
                mode: None,
                time: None,
            };
            let mut copier = Copier::new(&target);
            for item in select(origin, source, &Ignore::default())? {
                copier.item(origin, &item, None)?;
            }
        }
        mounted.add(&mount.target, bind(cache.path.clone()), (true, *read_only));
        mounted.caches.push(cache);
        Ok(())
    }

    fn secret(
        &self,
        (id, secret): (&str, &SecretSource),
        (mount, env, owner): (&RunMount, Option<&str>, Ownership),
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let value = match secret {
            SecretSource::Value(value) => value.clone(),
            SecretSource::File(path) => std::fs::read(path).map_err(|error| {
                BuildError::io("read the secret", format!("{id} ({path})"), error)
            })?,
        };
        if let Some(name) = env {
            let text = String::from_utf8_lossy(&value);
            mounted.env.push(format!("{name}={text}"));
        }
        if mount.target.is_empty() {
            return Ok(());
        }
        let mode = owner.mode.unwrap_or(0o400);
        self.in_memory((&value, mode), owner_of(owner), &mount.target, mounted)
    }

    fn script(
        &self,
        index: usize,
        script: &InlineFile,
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let path = self.staged.beside(&format!("script-{index}"));
        std::fs::write(&path, &script.data)
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(script.mode))
            })
            .map_err(|error| BuildError::io("write", &path, error))?;
        mounted.add(&script.path, bind(path), (false, true));
        Ok(())
    }

    /// A file that is never on a disk: in a file system in memory, which only the step has.
    fn in_memory(
        &self,
        (content, mode): (&[u8], u32),
        owner: Owner,
        target: &str,
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let failed = |error: hoist_kernel::error::KernelError| {
            BuildError::kernel("write", "a secret", &error)
        };
        let memory = Root::from_fd(tree::memory()?);
        let directory: Directory = memory.directory(Path::new("/")).map_err(failed)?;
        let name = OsStr::new("secret");
        let file = directory
            .create_file(name, Mode::from_raw_mode(0o600))
            .map_err(failed)?;
        File::from(file)
            .write_all(content)
            .map_err(|error| BuildError::io("write", "a secret", error))?;
        directory
            .set_owner(name, owner.user, owner.group)
            .and_then(|()| directory.set_mode(name, Mode::from_raw_mode(mode)))
            .map_err(failed)?;
        if let Some(file) = tree::part(&memory, Path::new(name))? {
            mounted.pass(target, file, (false, true));
            return Ok(());
        }
        // Older kernels mount no part of what is mounted nowhere: the engine's state directory is memory on most machines.
        let scratch = Scratch::secret(&self.build.service.config.state)?;
        let path = scratch.path().join(name);
        std::fs::write(&path, content)
            .and_then(|()| std::os::unix::fs::chown(&path, Some(owner.user), Some(owner.group)))
            .and_then(|()| {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            })
            .map_err(|error| BuildError::io("write", "a secret", error))?;
        mounted.add(target, bind(path), (false, true));
        mounted.scratch.push(scratch);
        Ok(())
    }

    fn ssh(
        &self,
        (id, required): (&str, bool),
        (index, mount, owner): (usize, &RunMount, Ownership),
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let Some(socket) = self.build.request.ssh.get(id) else {
            if required {
                return Err(BuildError::Refused(format!(
                    "no SSH agent {id:?} was given: use --ssh"
                )));
            }
            return Ok(());
        };
        let is_socket =
            std::fs::metadata(socket).is_ok_and(|metadata| metadata.file_type().is_socket());
        if !is_socket {
            return Err(BuildError::Refused(format!(
                "the SSH agent {id:?} has no socket at {socket}"
            )));
        }
        let own = AgentSocket::open(
            (&self.directory(&format!("ssh-{index}"))?, "agent"),
            socket,
            (owner_of(owner), owner.mode.unwrap_or(0o600)),
        )?;
        mounted.add(&mount.target, bind(own.path().to_owned()), (false, false));
        mounted.agents.push(own);
        let known = self.op.env.iter().any(|(name, _)| name == SSH_SOCKET);
        let added = mounted
            .env
            .iter()
            .any(|entry| entry.starts_with(SSH_SOCKET));
        if !known && !added {
            mounted.env.push(format!("{SSH_SOCKET}={}", mount.target));
        }
        Ok(())
    }

    fn directory(&self, name: &str) -> Result<PathBuf, BuildError> {
        let path = self.staged.beside(name);
        std::fs::create_dir(&path).map_err(|error| BuildError::io("create", &path, error))?;
        Ok(path)
    }
}

impl Mounted {
    fn add(&mut self, target: &str, source: MountSource, (is_directory, read_only): (bool, bool)) {
        self.targets.push((target.to_owned(), is_directory));
        self.mounts.push(Mount {
            target: target.to_owned(),
            source,
            read_only,
        });
    }

    fn pass(&mut self, target: &str, mount: OwnedFd, kind: (bool, bool)) {
        let index = self.passed.len();
        self.passed.push(mount);
        self.add(target, MountSource::Passed { index }, kind);
    }
}

/// Mounts a part of a tree itself; `None` where the kernel cannot.
fn part(
    root: &Root,
    path: &Path,
    (mount, writable): (&RunMount, bool),
    mounted: &mut Mounted,
) -> Result<Option<()>, BuildError> {
    let missing = || BuildError::NotFound(path.display().to_string());
    let found = follow(root, path)?.ok_or_else(missing)?;
    let stat = status(root, &found)?.ok_or_else(missing)?;
    let Some(part) = tree::part(root, &found)? else {
        return Ok(None);
    };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    mounted.pass(&mount.target, part, (is_directory, !writable));
    Ok(Some(()))
}

fn bind(path: PathBuf) -> MountSource {
    MountSource::Bind {
        path,
        subpath: None,
        recursive: false,
        writable_below: false,
        propagation: spec::propagation(""),
        ids: FileIds::default(),
    }
}

fn owner_of(owner: Ownership) -> Owner {
    Owner {
        user: owner.uid.unwrap_or(0),
        group: owner.gid.unwrap_or(0),
    }
}

/// A path beneath a directory of our own, whatever `..` it has; `None` for the directory itself.
pub(super) fn beneath(directory: &Path, path: &str) -> Option<PathBuf> {
    let mut found = directory.to_owned();
    let mut depth = 0_usize;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => {
                found.push(name);
                depth += 1;
            }
            Component::ParentDir if depth > 0 => {
                found.pop();
                depth -= 1;
            }
            _ => {}
        }
    }
    (depth > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_beneath() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(
                beneath(Path::new("/own"), path),
                expected.map(PathBuf::from),
                "{path}"
            );
        };
        check("/a/b", Some("/own/a/b"));
        check("/../../etc", Some("/own/etc"));
        check("/a/../..", None);
        check("/", None);
    }
}
