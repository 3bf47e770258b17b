//! `COPY`, `ADD` and `WORKDIR`: files come into a new layer. Everything here blocks on the disk.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_dockerfile::{CopyOp, Ignore, NodeId, Op, Source};
use hoist_kernel::path::Root;
use rustix::fs::{FileType, Mode, OFlags};

use super::super::Service;
use super::steps::Build;
use super::{fetch, keys};
use crate::build::cache::Made;
use crate::build::copy::{Copier, Target};
use crate::build::digest::{Hash, KeyHasher};
use crate::build::error::BuildError;
use crate::build::select::{Item, Origin, add_to_key, follow, select, status};
use crate::build::{owner, tree};
use crate::image::{RootFilesystem, StagedLayer, Unpacking};

/// What a source brings, found but not copied.
enum Found<'a> {
    /// Files, and of each the part of its path that is kept.
    Files {
        origin: Arc<Origin>,
        items: Vec<(Item, Option<PathBuf>)>,
        unpack: bool,
    },
    /// A file that is at hand.
    Content {
        name: &'a str,
        content: Vec<u8>,
        mode: u32,
        time: Option<i64>,
        unpack: bool,
    },
}

/// Does a step, or finds that it was done before.
pub(super) fn step(build: &Arc<Build>, id: NodeId) -> Result<(Made, bool), BuildError> {
    let node = build.graph.node(id);
    match &node.op {
        Op::Copy(op) => copy(build, id, op),
        Op::Workdir { base, path, user } => workdir(build, id, (*base, path, user)),
        _ => Err(BuildError::Refused("not a COPY".to_owned())),
    }
}

fn copy(build: &Arc<Build>, id: NodeId, op: &CopyOp) -> Result<(Made, bool), BuildError> {
    let known = |key: &Hash| build.known(id, key);
    let by_definition = definition(build, op)?;
    if let Some(made) = by_definition.as_ref().and_then(known) {
        return Ok((made, true));
    }
    let exclude = Ignore::new(op.exclude.iter().map(String::as_str))
        .map_err(|_| BuildError::Refused("invalid --exclude pattern".to_owned()))?;
    let mut found = Vec::new();
    let mut key = keys::copy(build, op)?;
    for source in &op.sources {
        let source = find(build, source, &exclude)?;
        add_found(build, &source, &mut key)?;
        found.push(source);
    }
    let key = key.finish();
    let flight = build.service.builder.flights.of(&key);
    let _alone = flight.blocking_lock();
    let keys = by_definition.iter().chain([&key]);
    if let Some(made) = known(&key) {
        keys.for_each(|key| build.remember(id, key, &made));
        return Ok((made, true));
    }
    let made = copy_new(build, op, &found)?;
    keys.for_each(|key| build.made(id, key, &made));
    Ok((made, false))
}

/// The key that needs no look at files: when all of them come from other steps, or are in the Dockerfile.
fn definition(build: &Build, op: &CopyOp) -> Result<Option<Hash>, BuildError> {
    let mut key = keys::copy(build, op)?.with("definition");
    for source in &op.sources {
        match source {
            Source::Files { from, .. } => {
                let output = build.output(*from)?;
                if output.context().is_some() {
                    return Ok(None);
                }
                key.add(output.key());
            }
            Source::Inline(_) => {}
            // What a digest names is always the same.
            Source::Url {
                checksum: Some(_), ..
            } => {}
            Source::Git(git) if git.checksum.is_some() => {}
            Source::Url { .. } | Source::Git(_) => return Ok(None),
        }
    }
    Ok(Some(key.finish()))
}

fn find<'a>(
    build: &Arc<Build>,
    source: &'a Source,
    exclude: &Ignore,
) -> Result<Found<'a>, BuildError> {
    match source {
        Source::Files {
            from,
            path,
            parents_pattern,
            unpack,
        } => {
            let output = build.output(*from)?;
            let origin = match output.context() {
                Some(origin) => origin.clone(),
                None => Arc::new(keys::read(build, &output)?),
            };
            let wanted = match parents_pattern {
                Some(pattern) => format!("{path}/{pattern}"),
                None => path.clone(),
            };
            let kept = |item: &Item| {
                let below = item.named.components().skip(components(path));
                let kept: PathBuf = parents_pattern.as_ref().map(|_| below.collect())?;
                Some(kept).filter(|kept| kept.components().next().is_some())
            };
            let items = select(&origin, &wanted, exclude)?
                .into_iter()
                .map(|item| (kept(&item), item))
                .map(|(kept, item)| (item, kept))
                .collect();
            Ok(Found::Files {
                origin,
                items,
                unpack: *unpack,
            })
        }
        Source::Inline(file) => Ok(Found::Content {
            name: &file.path,
            content: file.data.clone().into_bytes(),
            mode: file.mode,
            time: None,
            unpack: false,
        }),
        Source::Url {
            url,
            filename,
            checksum,
            unpack,
        } => {
            let (content, time) = fetch::url(build, url, checksum.as_deref())?;
            Ok(Found::Content {
                name: filename,
                content,
                mode: 0o600,
                time,
                unpack: *unpack,
            })
        }
        Source::Git(git) => {
            let origin = Arc::new(fetch::git(build, git)?);
            let items = select(&origin, "/", exclude)?.into_iter();
            Ok(Found::Files {
                origin,
                items: items.map(|item| (item, None)).collect(),
                unpack: false,
            })
        }
    }
}

fn components(path: &str) -> usize {
    let parts = path.split('/');
    parts.filter(|part| !matches!(*part, "" | ".")).count()
}

fn add_found(build: &Build, found: &Found<'_>, key: &mut KeyHasher) -> Result<(), BuildError> {
    match found {
        Found::Files { origin, items, .. } => {
            key.number(items.len() as u64);
            for (item, kept) in items {
                if let Some(kept) = kept {
                    key.add(kept.as_os_str().as_encoded_bytes());
                }
                add_to_key(origin, item, &build.service.builder.files, key)?;
            }
        }
        Found::Content { name, content, .. } => {
            key.add(name);
            key.add(content);
        }
    }
    Ok(())
}

fn copy_new(build: &Build, op: &CopyOp, found: &[Found<'_>]) -> Result<Made, BuildError> {
    let service = &build.service;
    let base = build.output(op.base)?;
    let staged = service.images.stage_layer()?;
    let owner = match &op.chown {
        Some(text) => Some(owner::find(&base.read(service)?, text)?),
        None => None,
    };
    let root = if op.link || base.layers.is_empty() {
        tree::open(&staged.tree())?
    } else {
        overlay(&staged, &base.directories(service))?
    };
    let target = Target {
        root: &root,
        dest: op.dest.clone(),
        owner,
        mode: op.chmod.clone(),
        time: build.graph.source_date_epoch,
    };
    let is_several = op.sources.len() > 1
        || found
            .iter()
            .any(|one| matches!(one, Found::Files { items, .. } if items.len() > 1));
    if is_several && !op.dest.ends_with('/') && !is_directory(&root, &op.dest)? {
        return Err(BuildError::Refused(
            "when using COPY with more than one source file, the destination must be a directory and end with a /".to_owned(),
        ));
    }
    let mut copier = Copier::new(&target);
    for one in found {
        if build.reporter.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        put(build, &target, (&mut copier, one))?;
    }
    drop(root);
    commit(service, staged, build.graph.source_date_epoch)
}

fn is_directory(root: &Root, path: &str) -> Result<bool, BuildError> {
    let Some(found) = follow(root, Path::new(path))? else {
        return Ok(false);
    };
    Ok(status(root, &found)?
        .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

fn put(
    build: &Build,
    target: &Target<'_>,
    (copier, found): (&mut Copier<'_>, &Found<'_>),
) -> Result<(), BuildError> {
    match found {
        Found::Files {
            origin,
            items,
            unpack,
        } => {
            for (item, kept) in items {
                let archive = if *unpack {
                    open_archive(origin, item)?
                } else {
                    None
                };
                match archive {
                    Some(archive) => unpack_into(build, target, archive)?,
                    None => copier.item(origin, item, kept.as_deref())?,
                }
            }
            Ok(())
        }
        Found::Content {
            name,
            content,
            mode,
            time,
            unpack,
        } => {
            if *unpack {
                let path = build.scratch.file(content)?;
                let mut file = std::fs::File::open(&path)
                    .map_err(|error| BuildError::io("open", &path, error))?;
                if is_archive(&mut file)? {
                    return unpack_into(build, target, file);
                }
            }
            copier.content(OsStr::new(name), (content, *mode), *time)
        }
    }
}

/// The archive that an item is, if it is one.
fn open_archive(origin: &Origin, item: &Item) -> Result<Option<std::fs::File>, BuildError> {
    let is_file = item
        .entries
        .first()
        .is_some_and(|entry| entry.kind() == FileType::RegularFile);
    if !is_file {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let opened = origin
        .root
        .open_beneath(&item.source, flags, Mode::empty())
        .map_err(|error| BuildError::kernel("open", &item.source, &error))?;
    let mut file = opened.into();
    Ok(is_archive(&mut file)?.then_some(file))
}

/// Whether a file is an archive that `ADD` unpacks.
pub(super) fn is_archive(file: &mut std::fs::File) -> Result<bool, BuildError> {
    crate::image::is_archive(file).map_err(|error| BuildError::io("read", "a file", error))
}

/// Unpacks an archive in the destination. With an owner or a mode of its own it takes a detour.
fn unpack_into(
    build: &Build,
    target: &Target<'_>,
    mut archive: std::fs::File,
) -> Result<(), BuildError> {
    let fits = |error: crate::image::RootError| match error {
        crate::image::RootError::Archive(error) => BuildError::Image(error),
        other => BuildError::Refused(hoist_api::error::chain(&other)),
    };
    let mut reader = std::io::BufReader::new(archive.by_ref());
    let copier = Copier::new(target);
    if target.owner.is_none() && target.mode.is_none() {
        let place = copier.make_directories(Path::new(&target.dest))?;
        let root = target
            .root
            .as_directory_fd()
            .try_clone_to_owned()
            .map_err(|error| BuildError::io("open", &place, error))?;
        return RootFilesystem::new(Root::from_fd(root), "/")
            .put_archive(
                &Path::new("/").join(place),
                &mut reader,
                Unpacking::default(),
            )
            .map_err(fits);
    }
    let place = build.scratch.unique()?;
    RootFilesystem::new(tree::open(&place)?, &place)
        .put_archive(Path::new("/"), &mut reader, Unpacking::default())
        .map_err(fits)?;
    let origin = Origin {
        root: tree::open(&place)?,
        ignore: Ignore::default(),
        is_context: false,
    };
    let mut copier = Copier::new(target);
    for item in select(&origin, "/", &Ignore::default())? {
        copier.item(&origin, &item, None)?;
    }
    Ok(())
}

fn workdir(
    build: &Arc<Build>,
    id: NodeId,
    (base, path, user): (NodeId, &str, &str),
) -> Result<(Made, bool), BuildError> {
    let service = &build.service;
    let base = build.output(base)?;
    let mut key = KeyHasher::new("workdir").with(path).with(user);
    key.add(base.key());
    if let Some(seconds) = build.graph.source_date_epoch {
        key.number(seconds.cast_unsigned());
    }
    let key = key.finish();
    let flight = build.service.builder.flights.of(&key);
    let _alone = flight.blocking_lock();
    if let Some(made) = build.known(id, &key) {
        return Ok((made, true));
    }
    let below = base.read(service)?;
    let made = if is_directory(&below, path)? {
        Made::now(None)
    } else {
        let owner = match user {
            "" => None,
            user => Some(owner::find(&below, user)?),
        };
        let staged = service.images.stage_layer()?;
        let root = overlay(&staged, &base.directories(service))?;
        let target = Target {
            root: &root,
            dest: path.to_owned(),
            owner,
            mode: None,
            time: build.graph.source_date_epoch,
        };
        Copier::new(&target).make_directories(Path::new(path))?;
        drop(root);
        commit(service, staged, build.graph.source_date_epoch)?
    };
    build.made(id, &key, &made);
    Ok((made, false))
}

/// The layers so far with the new one on top, as one tree.
fn overlay(staged: &StagedLayer, layers: &[PathBuf]) -> Result<Root, BuildError> {
    let upper = tree::Upper {
        tree: staged.tree(),
        work: staged.beside("work"),
    };
    std::fs::create_dir(&upper.work)
        .map_err(|error| BuildError::io("create", &upper.work, error))?;
    tree::mount(layers, Some(&upper)).map(Root::from_fd)
}

/// Makes the layer; `None` when nothing is in it.
pub(super) fn commit(
    service: &Service,
    staged: StagedLayer,
    latest: Option<i64>,
) -> Result<Made, BuildError> {
    let tree = staged.tree();
    let mut entries =
        std::fs::read_dir(&tree).map_err(|error| BuildError::io("read", &tree, error))?;
    if entries.next().is_none() {
        return Ok(Made::now(None));
    }
    let layer = service.images.commit_layer(staged, latest)?;
    Ok(Made::now(Some(layer)))
}
