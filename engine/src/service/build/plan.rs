//! The instructions of a build in the order of its Dockerfile, for clients that read them one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hoist_api::build::BuildRequest;
use hoist_dockerfile::{BuildGraph, Dockerfile, Kind, Mark, Op, Span, Stage};

use super::super::Service;
use super::kept::{Intermediate, Keeping};
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
    /// What it leaves: its place in the graph's trail, if there is one.
    pub(crate) mark: Option<usize>,
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

impl PlanLines {
    /// Whether it is `FROM scratch` and no more, which the classic builder takes for a mistake.
    pub(super) fn is_nothing(&self) -> bool {
        let nothing = LineBase::Image(String::new());
        self.all
            .iter()
            .all(|line| line.base.as_ref() == Some(&nothing))
    }
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
    /// Where images and containers of single instructions are kept, and which.
    keeper: Option<(Arc<Service>, Keeping)>,
    /// The images of the lines so far.
    images: Mutex<Vec<String>>,
    /// What the containers of lines are called.
    containers: Mutex<BTreeMap<usize, Intermediate>>,
}

impl Plan {
    pub(crate) fn new(chains: Arc<Chains>, keeper: Option<(Arc<Service>, Keeping)>) -> Self {
        Self(Arc::new(Shared {
            chains: Some(chains),
            keeper,
            ..Shared::default()
        }))
    }

    /// Whether the build is told instruction by instruction, to a client that asks for what each of them made.
    pub(crate) fn is_told(&self) -> bool {
        self.0.keeper.is_some()
    }

    pub(super) fn keeper(&self) -> Option<(&Arc<Service>, Keeping)> {
        let keeper = self.0.keeper.as_ref()?;
        Some((&keeper.0, keeper.1))
    }

    /// The images of the lines so far. Whoever adds some holds it meanwhile.
    pub(super) fn images(&self) -> MutexGuard<'_, Vec<String>> {
        let images = self.0.images.lock();
        images.unwrap_or_else(PoisonError::into_inner)
    }

    /// The image that a line has left, if it was kept.
    pub(crate) fn image_of(&self, line: usize) -> Option<String> {
        self.images().get(line).cloned()
    }

    /// The line that a step stands in.
    pub(super) fn line_of(&self, step: u32) -> Option<usize> {
        let is_it = |line: &PlanLine| line.step == Some(step) && line.base.is_none();
        self.lines()?.all.iter().position(is_it)
    }

    /// What the container of a line is called, whether it stays or not.
    pub(crate) fn container_of(&self, line: usize) -> Intermediate {
        let containers = self.0.containers.lock();
        let mut containers = containers.unwrap_or_else(PoisonError::into_inner);
        containers.entry(line).or_default().clone()
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
            add_stage((index, stage), graph, (&mut all, &ends, images));
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
    (place, stage): (usize, &Stage),
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
        mark: None,
    });
    let of_stage = graph.trail.iter().enumerate();
    let of_stage = of_stage.filter(|(_, mark)| mark.stage == place);
    let mut own = of_stage.clone().filter(|(_, mark)| !mark.is_trigger);
    let name = |index: usize| {
        let name = &graph.nodes[index].name;
        let trigger = name.split_once("] ONBUILD ");
        trigger.map_or_else(|| name.clone(), |(_, trigger)| trigger.to_owned())
    };
    let triggers = nodes_at(graph, stage.span).filter(|index| is_work(graph, *index));
    let mark_of = |index: usize| {
        let triggered = |mark: &Mark| mark.is_trigger && mark.node.0 == index;
        let found = of_stage.clone().filter(|(_, mark)| triggered(mark));
        found.map(|(place, _)| place).max()
    };
    lines.extend(triggers.map(|index| PlanLine {
        text: name(index),
        step: step_of(graph, index),
        base: None,
        is_trigger: true,
        mark: mark_of(index),
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
            mark: own.next().map(|(mark, _)| mark),
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
