//! Order between containers that have nothing to do with each other in the file, but of which one must let go of a
//! name, a host port or an address before the other can have it.

use indexmap::IndexMap;

use crate::observe::ObservedContainer;
use crate::plan::start::{Instance, StartPhase};
use crate::plan::step::Need;

use super::Planner;
use super::fate::ServiceFate;

impl<'a> Planner<'a> {
    /// Puts every start behind the stop (or removal) of other containers that hold a port it needs, and every
    /// creation and renaming behind the removal of the container that has the name.
    pub(super) fn add_handovers(
        &mut self,
        fates: &IndexMap<String, ServiceFate<'_>>,
        instances: &IndexMap<String, Vec<Instance>>,
        phase: &StartPhase<'_>,
    ) {
        let leaving = self.leaving();
        for (name, service) in &self.context.desired.services {
            let ports = service.fixed_host_ports();
            let holders = leaving
                .iter()
                .filter(|container| container.host_ports.iter().any(|port| ports.contains(port)));
            for holder in holders {
                let Some(&gone) = self
                    .stops
                    .get(&holder.id)
                    .or_else(|| self.removals.get(&holder.id))
                else {
                    continue;
                };
                for &start in phase.starts(name) {
                    self.builder.order(start, gone, Need::Settled);
                }
            }
            let created = fates.get(name).map_or(0, |fate| fate.created.len());
            let all = instances.get(name).map_or(&[][..], Vec::as_slice);
            for instance in &all[all.len().saturating_sub(created)..] {
                self.order_names(&leaving, instance);
            }
        }
    }

    fn order_names(&mut self, leaving: &[&ObservedContainer], instance: &Instance) {
        for holder in leaving
            .iter()
            .filter(|container| container.name == instance.name)
        {
            if let (Some(&create), Some(&gone)) =
                (instance.ready.first(), self.removals.get(&holder.id))
            {
                self.builder.order(create, gone, Need::Success);
            }
        }
    }

    /// Containers that this plan stops or removes.
    fn leaving(&self) -> Vec<&'a ObservedContainer> {
        let observed = self.context.observed.containers.iter();
        observed
            .filter(|container| {
                self.stops.contains_key(&container.id) || self.removals.contains_key(&container.id)
            })
            .collect()
    }
}
