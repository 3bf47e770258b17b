//! Which steps may run now: a state machine over a finished plan.
//!
//! It performs nothing and knows no time, so that every order of events can be tested. A step is ready
//! when all its predecessors are settled; it is skipped when one that must succeed did not.
//!
//! Must not know: what a step does, and the engine.

use std::collections::VecDeque;

use crate::plan::{Need, Plan, StepId};

/// Where a step is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Predecessors are not settled yet.
    Waiting,
    /// May run; not handed out yet.
    Ready,
    /// Handed out by [`Scheduler::take_ready`].
    Running,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
    /// Will never run: something it needs failed or was skipped, or the run was cancelled.
    Skipped,
}

impl State {
    fn is_settled(self) -> bool {
        matches!(self, State::Done | State::Failed | State::Skipped)
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It did what it should.
    Success,
    /// It did not; steps that require it are skipped.
    Failure,
}

/// The states of all steps of one run.
#[derive(Debug)]
pub struct Scheduler {
    states: Vec<State>,
    needs: Vec<Vec<(usize, Need)>>,
    followers: Vec<Vec<usize>>,
    ready: VecDeque<usize>,
    unsettled: usize,
}

impl Scheduler {
    /// Starts a run of `plan`: steps without predecessors are ready.
    pub fn new(plan: &Plan) -> Self {
        let count = plan.steps.len();
        let mut followers = vec![Vec::new(); count];
        let needs: Vec<Vec<(usize, Need)>> = plan
            .steps
            .iter()
            .map(|step| {
                step.after
                    .iter()
                    .map(|after| (after.step.index(), after.need))
                    .collect()
            })
            .collect();
        for (index, needs) in needs.iter().enumerate() {
            for &(need, _) in needs {
                followers[need].push(index);
            }
        }
        let mut scheduler = Scheduler {
            states: vec![State::Waiting; count],
            needs,
            followers,
            ready: VecDeque::new(),
            unsettled: count,
        };
        for index in 0..count {
            scheduler.update(index);
        }
        scheduler
    }

    /// Hands out up to `limit` ready steps, lowest number first, and marks them running.
    pub fn take_ready(&mut self, limit: usize) -> Vec<StepId> {
        let count = limit.min(self.ready.len());
        let taken: Vec<usize> = self.ready.drain(..count).collect();
        taken
            .into_iter()
            .map(|index| {
                self.states[index] = State::Running;
                StepId::from_index(index)
            })
            .collect()
    }

    /// Records the end of a running step. Returns the steps that can never run because of it, in plan order.
    pub fn finish(&mut self, step: StepId, end: End) -> Vec<StepId> {
        let index = step.index();
        if self.states[index] != State::Running {
            return Vec::new();
        }
        self.settle(
            index,
            if end == End::Success {
                State::Done
            } else {
                State::Failed
            },
        );
        self.propagate(index)
    }

    /// Gives up every step that was not handed out yet. Running ones are still to be finished.
    pub fn cancel(&mut self) {
        self.ready.clear();
        for index in 0..self.states.len() {
            if matches!(self.states[index], State::Waiting | State::Ready) {
                self.settle(index, State::Skipped);
            }
        }
    }

    /// Whether nothing is left to run or to wait for.
    pub fn is_finished(&self) -> bool {
        self.unsettled == 0
    }

    /// The state of one step.
    pub fn state(&self, step: StepId) -> State {
        self.states[step.index()]
    }

    fn settle(&mut self, index: usize, state: State) {
        self.states[index] = state;
        self.unsettled -= 1;
    }

    /// Looks again at everything behind `index`, as far as skipping reaches.
    fn propagate(&mut self, index: usize) -> Vec<StepId> {
        let mut skipped = Vec::new();
        let mut open = VecDeque::from([index]);
        while let Some(settled) = open.pop_front() {
            for follower in self.followers[settled].clone() {
                if self.update(follower) == Some(State::Skipped) {
                    skipped.push(StepId::from_index(follower));
                    open.push_back(follower);
                }
            }
        }
        skipped.sort();
        skipped
    }

    /// Moves a waiting step on when its predecessors allow. Returns its new state when it changed.
    fn update(&mut self, index: usize) -> Option<State> {
        if self.states[index] != State::Waiting {
            return None;
        }
        let broken = |&(need, kind): &(usize, Need)| {
            kind == Need::Success && matches!(self.states[need], State::Failed | State::Skipped)
        };
        if self.needs[index].iter().any(broken) {
            self.settle(index, State::Skipped);
        } else if self.needs[index]
            .iter()
            .all(|&(need, _)| self.states[need].is_settled())
        {
            self.states[index] = State::Ready;
            self.ready.push_back(index);
        } else {
            return None;
        }
        Some(self.states[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, After, Kind, Object, Step};

    /// A plan from `"1 2<1 3<1? 4<2,3"`: `?` marks an order that any end satisfies.
    fn plan(text: &str) -> Plan {
        let steps = text.split(' ').enumerate().map(|(index, text)| {
            let (_, before) = text.split_once('<').unwrap_or((text, ""));
            let after = before
                .split(',')
                .filter(|text| !text.is_empty())
                .map(|text| {
                    let number: usize = text.trim_end_matches('?').parse().unwrap();
                    let need = if text.ends_with('?') {
                        Need::Settled
                    } else {
                        Need::Success
                    };
                    After {
                        step: StepId::from_index(number - 1),
                        need,
                    }
                });
            Step {
                id: StepId::from_index(index),
                object: Object {
                    kind: Kind::Container,
                    name: index.to_string(),
                },
                target: index.to_string(),
                action: Action::StartContainer,
                cause: None,
                after: after.collect(),
                replacing: false,
                hooks: None,
            }
        });
        Plan {
            steps: steps.collect(),
            ..Plan::default()
        }
    }

    /// Runs one step at a time; the steps named fail. Tells the order, and what was skipped when.
    #[track_caller]
    fn check(text: &str, failing: &[usize], expected: &str) {
        let mut scheduler = Scheduler::new(&plan(text));
        let mut told = Vec::new();
        while let Some(&step) = scheduler.take_ready(1).first() {
            let fails = failing.contains(&(step.index() + 1));
            let skipped = scheduler.finish(step, if fails { End::Failure } else { End::Success });
            told.push(format!("{step}{}", if fails { "!" } else { "" }));
            told.extend(skipped.into_iter().map(|step| format!("-{step}")));
        }
        assert!(scheduler.is_finished());
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn steps_follow_their_predecessors() {
        check("1 2<1 3<1 4<2,3", &[], "#1 #2 #3 #4");
        check("1 2 3<2 4<1", &[], "#1 #2 #4 #3");
    }

    #[test]
    fn a_failure_skips_what_needs_it_and_nothing_else() {
        check("1 2<1 3<2 4 5<4", &[1], "#1! -#2 -#3 #4 #5");
        check("1 2<1? 3<2", &[1], "#1! #2 #3");
        check("1 2<1 3<2? 4<3,1?", &[1], "#1! -#2 #3 #4");
    }

    #[test]
    fn cancelling_gives_up_what_has_not_begun() {
        let mut scheduler = Scheduler::new(&plan("1 2<1 3"));
        let running = scheduler.take_ready(1);
        scheduler.cancel();
        assert!(!scheduler.is_finished());
        scheduler.finish(running[0], End::Success);
        assert!(scheduler.is_finished() && scheduler.take_ready(9).is_empty());
        assert_eq!(scheduler.state(running[0]), State::Done);
    }
}
