//! Collects steps in the order planners think of them, and puts them into an order in which they can run.
//!
//! Planners may add an order between two steps at any time; numbers are given at the end. Steps keep the
//! order in which they were added wherever the dependencies leave a choice, so that the text is stable.

use std::collections::BTreeSet;

use super::step::{Action, After, Cause, Kind, Need, Object, Plan, Step, StepId};

/// A step that was added but has no number yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Draft(usize);

/// What a step is, without its place.
#[derive(Debug)]
pub(crate) struct NewStep {
    pub(crate) object: Object,
    pub(crate) target: String,
    pub(crate) action: Action,
    pub(crate) cause: Option<Cause>,
    pub(crate) replacing: bool,
}

impl NewStep {
    /// A step about an object that the engine knows by the shown name.
    pub(crate) fn new(kind: Kind, name: &str, action: Action) -> Self {
        let object = Object {
            kind,
            name: name.to_owned(),
        };
        NewStep {
            object,
            target: name.to_owned(),
            action,
            cause: None,
            replacing: false,
        }
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(crate) fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) fn replacing(mut self) -> Self {
        self.replacing = true;
        self
    }
}

/// A plan in the making.
#[derive(Debug, Default)]
pub(crate) struct PlanBuilder {
    steps: Vec<(NewStep, BTreeSet<(Draft, Need)>)>,
    unchanged: Vec<String>,
    warnings: Vec<String>,
}

impl PlanBuilder {
    pub(crate) fn add<I>(&mut self, step: NewStep, after: I) -> Draft
    where
        I: IntoIterator<Item = Draft>,
    {
        let draft = Draft(self.steps.len());
        self.steps.push((
            step,
            after
                .into_iter()
                .map(|before| (before, Need::Success))
                .collect(),
        ));
        draft
    }

    /// Puts `before` before `step`.
    pub(crate) fn order(&mut self, step: Draft, before: Draft, need: Need) {
        if step != before {
            self.steps[step.0].1.insert((before, need));
        }
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Notes a container about which nothing is to be done.
    pub(crate) fn leave(&mut self, container: &str) {
        self.unchanged.push(container.to_owned());
    }

    /// Numbers the steps. Steps on a cycle would be a planner's mistake; they are put last, where the
    /// linter finds them.
    pub(crate) fn finish(self, project: &str) -> Plan {
        let order = self.sorted();
        let mut number = vec![0; self.steps.len()];
        for (position, draft) in order.iter().enumerate() {
            number[draft.0] = position;
        }
        let mut numbered: Vec<(usize, Step)> = Vec::with_capacity(self.steps.len());
        for (draft, (new, before)) in self.steps.into_iter().enumerate() {
            let after = merge_needs(
                before
                    .into_iter()
                    .map(|(draft, need)| (StepId::from_index(number[draft.0]), need)),
            );
            let NewStep {
                object,
                target,
                action,
                cause,
                replacing,
            } = new;
            let id = StepId::from_index(number[draft]);
            numbered.push((
                number[draft],
                Step {
                    id,
                    object,
                    target,
                    action,
                    cause,
                    after,
                    replacing,
                    hooks: None,
                },
            ));
        }
        numbered.sort_by_key(|(position, _)| *position);
        let mut steps: Vec<Step> = numbered.into_iter().map(|(_, step)| step).collect();
        drop_implied_needs(&mut steps);
        Plan {
            project: project.to_owned(),
            steps,
            unchanged: self.unchanged,
            warnings: self.warnings,
        }
    }

    fn sorted(&self) -> Vec<Draft> {
        let mut followers = vec![Vec::new(); self.steps.len()];
        let mut missing = vec![0_usize; self.steps.len()];
        for (index, (_, before)) in self.steps.iter().enumerate() {
            let before: BTreeSet<Draft> = before.iter().map(|(draft, _)| *draft).collect();
            missing[index] = before.len();
            for draft in before {
                followers[draft.0].push(index);
            }
        }
        let mut ready: BTreeSet<usize> = (0..missing.len())
            .filter(|&index| missing[index] == 0)
            .collect();
        let mut order = Vec::with_capacity(missing.len());
        while let Some(index) = ready.pop_first() {
            order.push(Draft(index));
            for &follower in &followers[index] {
                missing[follower] -= 1;
                if missing[follower] == 0 {
                    ready.insert(follower);
                }
            }
        }
        order.extend(
            (0..missing.len())
                .filter(|&index| missing[index] > 0)
                .map(Draft),
        );
        order
    }
}

/// One entry per predecessor; needing success is the stronger of two needs.
fn merge_needs(after: impl Iterator<Item = (StepId, Need)>) -> Vec<After> {
    let mut merged: Vec<After> = Vec::new();
    for (step, need) in after {
        match merged.iter_mut().find(|known| known.step == step) {
            Some(known) => known.need = known.need.min(need),
            None => merged.push(After { step, need }),
        }
    }
    merged.sort();
    merged
}

/// Leaves out predecessors that another predecessor has needed the success of, directly or not: when that one has
/// succeeded, they have too.
fn drop_implied_needs(steps: &mut [Step]) {
    let mut implied: Vec<BTreeSet<StepId>> = Vec::with_capacity(steps.len());
    for step in steps {
        let strong = step
            .after
            .iter()
            .filter(|after| after.need == Need::Success)
            .map(|after| after.step);
        let strong: Vec<StepId> = strong.collect();
        // A step on a cycle names later ones; the linter tells.
        let behind = |id: &StepId| implied.get(id.index()).cloned().unwrap_or_default();
        let mut all: BTreeSet<StepId> = strong.iter().flat_map(behind).collect();
        step.after.retain(|after| !all.contains(&after.step));
        all.extend(strong);
        implied.push(all);
    }
}
