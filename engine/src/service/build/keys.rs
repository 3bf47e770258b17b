//! Keys of steps: the digest of what a step does and of its inputs' content.

use std::sync::Arc;

use hoist_dockerfile::{CopyOp, MountKind, NodeId, Op, RunOp, Source};

use super::steps::{Build, Output};
use crate::build::cache::Made;
use crate::build::digest::{Hash, KeyHasher};
use crate::build::error::BuildError;
use crate::build::select::{Origin, add_to_key, select};

/// Changed when the same step would make something else than before.
const VERSION: &str = "1";

/// The key of a `RUN`, and what is known under it.
pub(super) fn run(build: &Arc<Build>, id: NodeId) -> Result<(Hash, Option<Made>), BuildError> {
    let node = build.graph.node(id);
    let Op::Run(op) = &node.op else {
        return Err(BuildError::Refused("not a RUN".to_owned()));
    };
    let mut key = KeyHasher::new("run");
    key.add(VERSION);
    add_json(&mut key, &without_nodes(op))?;
    key.add(build.output(op.base)?.key());
    for host in &build.request.extra_hosts {
        key.add(host);
    }
    key.add(&build.request.network);
    for mount in &op.mounts {
        match &mount.kind {
            MountKind::Bind { from, source, .. } => {
                add_files(build, &mut key, (*from, source))?;
            }
            MountKind::Cache {
                from: Some(from), ..
            } => key.add(build.output(*from)?.key()),
            _ => {}
        }
    }
    add_epoch(build, &mut key);
    let key = key.finish();
    let known = build.known(id, &key);
    Ok((key, known))
}

/// What a copy is by its definition: enough when all its files come from other steps.
pub(super) fn copy(build: &Build, op: &CopyOp) -> Result<KeyHasher, BuildError> {
    let mut key = KeyHasher::new("copy");
    key.add(VERSION);
    add_json(&mut key, &copy_without_nodes(op))?;
    // A linked copy does not look at what it comes onto, unless for names.
    let names = op.chown.as_deref().is_some_and(|owner| {
        owner
            .chars()
            .any(|letter| !letter.is_ascii_digit() && letter != ':')
    });
    if !op.link || names {
        key.add(build.output(op.base)?.key());
    }
    add_epoch(build, &mut key);
    Ok(key)
}

/// The same file with other times would be another layer.
fn add_epoch(build: &Build, key: &mut KeyHasher) {
    if let Some(seconds) = build.graph.source_date_epoch {
        key.add("epoch");
        key.number(seconds.cast_unsigned());
    }
}

/// Adds the files that a mount shows.
fn add_files(
    build: &Build,
    key: &mut KeyHasher,
    (from, source): (NodeId, &str),
) -> Result<(), BuildError> {
    let output = build.output(from)?;
    match output.context() {
        Some(origin) => add_selected(build, key, (origin, source)),
        // All of a step's files: the step itself says which.
        None if source.trim_matches('/').is_empty() => {
            key.add(output.key());
            Ok(())
        }
        None => add_selected(build, key, (&read(build, &output)?, source)),
    }
}

fn add_selected(
    build: &Build,
    key: &mut KeyHasher,
    (origin, source): (&Origin, &str),
) -> Result<(), BuildError> {
    for item in select(origin, source, &hoist_dockerfile::Ignore::default())? {
        add_to_key(origin, &item, &build.service.builder.files, key)?;
    }
    Ok(())
}

/// The files of a step.
pub(super) fn read(build: &Build, output: &Output) -> Result<Origin, BuildError> {
    Ok(Origin {
        root: output.read(&build.service)?,
        ignore: hoist_dockerfile::Ignore::default(),
        is_context: false,
    })
}

/// Numbers of steps depend on the rest of the Dockerfile; what they stand for is added beside.
fn without_nodes(op: &RunOp) -> RunOp {
    let mut op = op.clone();
    op.base = NodeId(0);
    for mount in &mut op.mounts {
        match &mut mount.kind {
            MountKind::Bind { from, .. } => *from = NodeId(0),
            MountKind::Cache { from, .. } => *from = from.map(|_| NodeId(0)),
            _ => {}
        }
    }
    op
}

fn copy_without_nodes(op: &CopyOp) -> CopyOp {
    let mut op = op.clone();
    op.base = NodeId(0);
    for source in &mut op.sources {
        if let Source::Files { from, .. } = source {
            *from = NodeId(0);
        }
    }
    op
}

fn add_json(key: &mut KeyHasher, value: &impl serde::Serialize) -> Result<(), BuildError> {
    let text = serde_json::to_vec(value)
        .map_err(|error| BuildError::io("describe", "a step", std::io::Error::from(error)))?;
    key.add(text);
    Ok(())
}
