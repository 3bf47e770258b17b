//! The instructions of a build in the order of its Dockerfile, for clients that read them one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hoist_api::build::BuildRequest;
use hoist_dockerfile::{BuildGraph, Dockerfile, Kind, Op, Span, Stage};

use super::steps::Build;
use crate::build::chains::Chains;
use crate::build::digest::Hash;

/// Arguments that every build knows without an `ARG`.
const PREDEFINED: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanLine {
    /// As it was written, on one line.
    pub(crate) text: String,
    /// The step that does it; `None` when it only changes the configuration.
    pub(crate) step: Option<u32>,
    /// Of a `FROM`: what the stage begins with.
    pub(crate) base: Option<LineBase>,
    /// It comes from an image below, by `ONBUILD`, and stands in no line of its own.
    pub(crate) is_trigger: bool,
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineBase {
    /// An image's id; empty for `scratch`.
    Image(String),
    /// What stands in this line.
    Line(usize),
}

/// All instructions.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanLines {
    pub(crate) all: Vec<PlanLine>,
    /// What variables may stand for.
    pub(crate) arguments: String,
    /// Build arguments that no `ARG` asks for.
    pub(crate) unused: Vec<String>,
}

/// Filled while a build goes on. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Set when the Dockerfile is understood.
    lines: OnceLock<PlanLines>,
    /// What the steps have made that are done.
    made: Mutex<BTreeMap<u32, Hash>>,
    chains: Option<Arc<Chains>>,
}

impl Plan {
    pub(crate) fn new(chains: Arc<Chains>) -> Self {
        Self(Arc::new(Shared {
            chains: Some(chains),
            ..Shared::default()
        }))
    }

    /// The instructions, as soon as they are known.
    pub(crate) fn lines(&self) -> Option<&PlanLines> {
        self.0.lines.get()
    }

    pub(crate) fn set(&self, lines: PlanLines) {
        // Nobody else sets it.
        let _ = self.0.lines.set(lines);
    }

    pub(super) fn made(&self, step: u32, key: Hash) {
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(step, key);
    }

    /// The digest of what a step has made; nothing while it is not done.
    pub(crate) fn made_by(&self, step: u32) -> Option<Hash> {
        let made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&step).copied()
    }

    /// Notes that a row of instructions was carried out; whether it was before.
    pub(crate) fn note(&self, chain: &str) -> bool {
        let chains = self.0.chains.as_ref();
        chains.is_some_and(|chains| chains.note(chain))
    }
}

/// The instructions of all stages that the build needs. Images are ids by the references that the Dockerfile has.
pub(super) fn lines(
    dockerfile: &Dockerfile,
    graph: &BuildGraph,
    (request, images): (&BuildRequest, &BTreeMap<String, String>),
) -> PlanLines {
    let mut all = Vec::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let name = stage
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"));
        let is_needed =
            graph.target_stage == name || graph.nodes.iter().any(|node| node.stage == name);
        if is_needed {
            add_stage(stage, graph, (&mut all, &ends, images));
            ends.insert(name, all.len().saturating_sub(1));
        }
    }
    let arguments = request.args.iter();
    let arguments: Vec<String> = arguments
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    PlanLines {
        all,
        arguments: arguments.join("\n"),
        unused: unused(dockerfile, request),
    }
}

fn unused(dockerfile: &Dockerfile, request: &BuildRequest) -> Vec<String> {
    let stages = dockerfile.stages.iter();
    let instructions = stages.flat_map(|stage| &stage.instructions);
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    for instruction in dockerfile.global_args.iter().chain(instructions) {
        if let Kind::Arg(pairs) = &instruction.kind {
            asked.extend(pairs.iter().map(|pair| pair.key.as_str()));
        }
    }
    let is_predefined = |name: &str| {
        PREDEFINED.contains(&name.to_uppercase().as_str()) || name.starts_with("BUILDKIT_")
    };
    let given = request.args.keys();
    given
        .filter(|name| !asked.contains(name.as_str()) && !is_predefined(name))
        .cloned()
        .collect()
}

fn add_stage(
    stage: &Stage,
    graph: &BuildGraph,
    (lines, ends, images): (
        &mut Vec<PlanLine>,
        &BTreeMap<String, usize>,
        &BTreeMap<String, String>,
    ),
) {
    let mut from = format!("FROM {}", stage.base);
    if let Some((keyword, alias)) = &stage.alias {
        from = format!("{from} {keyword} {alias}");
    }
    let first = nodes_at(graph, stage.span).find(|index| !is_work(graph, *index));
    let of_node = first.and_then(|index| match &graph.nodes[index].op {
        Op::Image { reference, .. } => images.get(reference).cloned(),
        _ => None,
    });
    let base = match ends.get(&stage.base.to_lowercase()) {
        Some(line) => LineBase::Line(*line),
        None => LineBase::Image(of_node.unwrap_or_default()),
    };
    lines.push(PlanLine {
        text: from,
        step: first.and_then(|index| step_of(graph, index)),
        base: Some(base),
        is_trigger: false,
    });
    let name = |index: usize| {
        let name = &graph.nodes[index].name;
        let trigger = name.split_once("] ONBUILD ");
        trigger.map_or_else(|| name.clone(), |(_, trigger)| trigger.to_owned())
    };
    let triggers = nodes_at(graph, stage.span).filter(|index| is_work(graph, *index));
    lines.extend(triggers.map(|index| PlanLine {
        text: name(index),
        step: step_of(graph, index),
        base: None,
        is_trigger: true,
    }));
    for instruction in &stage.instructions {
        let words: Vec<&str> = instruction.original.split_whitespace().collect();
        // What it takes its files from is said to be there, too.
        let node = nodes_at(graph, instruction.span).find(|index| is_work(graph, *index));
        lines.push(PlanLine {
            text: words.join(" "),
            step: node.and_then(|index| step_of(graph, index)),
            base: None,
            is_trigger: false,
        });
    }
}

/// The steps of an instruction. Those of triggers are said to be where their stage begins.
fn nodes_at(graph: &BuildGraph, span: Span) -> impl Iterator<Item = usize> {
    let nodes = graph.nodes.iter().enumerate();
    nodes
        .filter(move |(_, node)| node.span.start == span.start && node.span.line == span.line)
        .map(|(index, _)| index)
}

/// Whether something is done in a step, as opposed to something being there.
fn is_work(graph: &BuildGraph, node: usize) -> bool {
    matches!(
        graph.nodes[node].op,
        Op::Run(_) | Op::Copy(_) | Op::Workdir { .. }
    )
}

/// The number of a step; nothing for one that no event tells of.
fn step_of(graph: &BuildGraph, node: usize) -> Option<u32> {
    let is_told = !matches!(graph.nodes[node].op, Op::Scratch);
    is_told.then(|| Build::step_of(hoist_dockerfile::NodeId(node)))
}
