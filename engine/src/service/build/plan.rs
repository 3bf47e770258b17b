//! The instructions of a build in the order of its Dockerfile, for clients that read them one after the other.

use std::sync::{Arc, OnceLock};

use hoist_dockerfile::{BuildGraph, Dockerfile, Span, Stage};

use super::steps::Build;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanLine {
    /// As it was written, on one line.
    pub(crate) text: String,
    /// The step that does it; `None` when it only changes the configuration.
    pub(crate) step: Option<u32>,
}

/// Set when the Dockerfile is understood.
pub(crate) type Plan = Arc<OnceLock<Vec<PlanLine>>>;

/// The instructions of all stages that the build needs.
pub(super) fn lines(dockerfile: &Dockerfile, graph: &BuildGraph) -> Vec<PlanLine> {
    let mut lines = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let name = stage
            .name
            .clone()
            .unwrap_or_else(|| format!("stage-{index}"));
        let is_needed =
            graph.target_stage == name || graph.nodes.iter().any(|node| node.stage == name);
        if is_needed {
            add_stage(stage, graph, &mut lines);
        }
    }
    lines
}

fn add_stage(stage: &Stage, graph: &BuildGraph, lines: &mut Vec<PlanLine>) {
    let mut from = format!("FROM {}", stage.base);
    if let Some((keyword, alias)) = &stage.alias {
        from = format!("{from} {keyword} {alias}");
    }
    lines.push(PlanLine {
        text: from,
        step: step_at(graph, stage.span),
    });
    for instruction in &stage.instructions {
        let words: Vec<&str> = instruction.original.split_whitespace().collect();
        lines.push(PlanLine {
            text: words.join(" "),
            step: step_at(graph, instruction.span),
        });
    }
}

fn step_at(graph: &BuildGraph, span: Span) -> Option<u32> {
    let found = graph
        .nodes
        .iter()
        .position(|node| node.span.start == span.start && node.span.line == span.line);
    found.map(|index| Build::step_of(hoist_dockerfile::NodeId(index)))
}
