//! `up`, `create` and `scale`: make what exists equal to what the file says, and start it.
//!
//! In phases, each a function of what the phases before decided: which services; the fate of every container
//! ([`fate`]); stops that must come early; networks and volumes ([`resources`]); containers
//! ([`containers`]); starts and waits ([`super::start`]); and the order between containers that hand a name, a
//! port or an address over to each other ([`handover`]).

mod containers;
mod fate;
mod handover;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indexmap::IndexMap;

use crate::desire::{Desired, desire};
use crate::graph::{ServiceGraph, of_project};
use crate::model::Project;
use crate::observe::{ContainerState, Observed, ObservedContainer};

use super::builder::{Draft, NewStep, PlanBuilder};
use super::start::{Instance, StartPhase};
use super::step::{Action, Cause, Kind, Need, Plan};
use super::{PlanError, hooks};

use fate::ServiceFate;

/// What `up` is asked for. The default is a plain `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpOptions {
    /// Only these services and what they depend on; all when empty.
    pub services: Vec<String>,
    /// When to make containers of the named services (all when none is named) again.
    pub recreate: Recreate,
    /// When to make containers of their dependencies again.
    pub recreate_dependencies: Recreate,
    /// Leave dependencies alone.
    pub no_deps: bool,
    /// Start containers; false for `create` and `--no-start`.
    pub start: bool,
    /// What to do about containers of services that the file does not have.
    pub orphans: Orphans,
    /// Give replaced containers new anonymous volumes.
    pub renew_anonymous_volumes: bool,
    /// Seconds to stop a container; its own when absent.
    pub timeout: Option<i64>,
    /// Numbers of containers that win over the file's.
    pub scale: BTreeMap<String, u32>,
    /// `--wait`.
    pub wait: Option<Wait>,
    /// What to do about volumes that do not match the file.
    pub volume_changes: VolumeChanges,
    /// New containers have `_` in their names, as Docker Compose 1 had it.
    pub compatible_names: bool,
}

impl Default for UpOptions {
    fn default() -> Self {
        UpOptions {
            services: Vec::new(),
            recreate: Recreate::default(),
            recreate_dependencies: Recreate::default(),
            no_deps: false,
            start: true,
            orphans: Orphans::default(),
            renew_anonymous_volumes: false,
            timeout: None,
            scale: BTreeMap::new(),
            wait: None,
            volume_changes: VolumeChanges::default(),
            compatible_names: false,
        }
    }
}

/// When to make a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recreate {
    /// When it does not match the file.
    #[default]
    Diverged,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// What to do about containers of services that the file does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphans {
    /// Tell about them.
    #[default]
    Warn,
    /// Remove them.
    Remove,
    /// Say nothing.
    Ignore,
}

/// Waiting until services are ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wait {
    /// How long at most.
    pub timeout: Option<Duration>,
}

/// What to do about volumes that do not match the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VolumeChanges {
    /// Return [`PlanError::NeedsApproval`].
    #[default]
    Ask,
    /// Make them again; their data is lost.
    Recreate,
    /// Leave them as they are.
    Keep,
}

/// Plans `up`.
///
/// # Errors
/// [`PlanError`]; nothing was changed.
pub fn plan_up(
    project: &Project,
    observed: &Observed,
    options: &UpOptions,
) -> Result<Plan, PlanError> {
    let graph = of_project(project)?;
    let selected = select(&graph, options)?;
    let mut desired = desire(project, selected.iter().map(String::as_str))?;
    set_scale(&mut desired, options)?;
    check_names(&desired)?;
    check_shared(&desired, observed)?;
    let resources = resources::decide(&desired, observed, options.volume_changes)?;
    let context = Context {
        graph: &graph,
        desired: &desired,
        observed,
        options,
        resources: &resources,
    };
    let fates = fate::decide(&context)?;
    let mut planner = Planner {
        context,
        builder: PlanBuilder::default(),
        stops: BTreeMap::new(),
        removals: BTreeMap::new(),
        ready_networks: BTreeMap::new(),
        ready_volumes: BTreeMap::new(),
        instances: IndexMap::new(),
    };
    let ignored = ignored_attributes(project, &desired);
    for warning in resources.warnings().map(str::to_owned).chain(ignored) {
        planner.builder.warn(warning);
    }
    planner.add_orphans(project);
    planner.add_early_stops(&fates);
    planner.add_resources(&fates);
    planner.add_containers(&fates)?;
    planner.restore_bystanders(project);
    let plan = planner.finish(&fates);
    Ok(hooks::attached(plan, &hooks::of_project(project), observed))
}

/// What all phases look at.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    graph: &'a ServiceGraph,
    desired: &'a Desired,
    observed: &'a Observed,
    options: &'a UpOptions,
    resources: &'a resources::Resources,
}

/// The plan in the making, and where its steps are.
#[derive(Debug)]
struct Planner<'a> {
    context: Context<'a>,
    builder: PlanBuilder,
    /// Stops by container id.
    stops: BTreeMap<String, Draft>,
    /// Removals by container id.
    removals: BTreeMap<String, Draft>,
    /// The steps after which a network is there, by name.
    ready_networks: BTreeMap<String, Draft>,
    /// The steps after which a volume is there, by name.
    ready_volumes: BTreeMap<String, Draft>,
    /// Containers by service, as the start phase will find them.
    instances: IndexMap<String, Vec<Instance>>,
}

impl Planner<'_> {
    /// The stop of a running container, added on first use.
    fn stop(
        &mut self,
        container: &ObservedContainer,
        cause: Option<Cause>,
        replacing: bool,
    ) -> Draft {
        if let Some(&known) = self.stops.get(&container.id) {
            return known;
        }
        let action = Action::StopContainer {
            timeout: self.context.options.timeout,
        };
        let mut step = NewStep::new(Kind::Container, &container.name, action).target(&container.id);
        step.cause = cause;
        step.replacing = replacing;
        let draft = self.builder.add(step, []);
        self.stops.insert(container.id.clone(), draft);
        draft
    }

    /// Stops a container if it runs, and removes it.
    fn remove(&mut self, container: &ObservedContainer, cause: &Cause) -> Draft {
        let known_stop = self.stops.contains_key(&container.id);
        let stop = container
            .state
            .is_alive()
            .then(|| self.stop(container, Some(cause.clone()), false));
        let action = Action::RemoveContainer { volumes: false };
        let mut step = NewStep::new(Kind::Container, &container.name, action).target(&container.id);
        step.cause = Some(cause.clone()).filter(|_| stop.is_none() || known_stop);
        let draft = self.builder.add(step, stop);
        self.removals.insert(container.id.clone(), draft);
        draft
    }

    fn add_orphans(&mut self, project: &Project) {
        let context = self.context;
        let orphans = context.observed.containers.iter();
        let orphans: Vec<&ObservedContainer> = orphans
            .filter(|container| is_orphan(project, container))
            .collect();
        match self.context.options.orphans {
            Orphans::Remove => orphans.into_iter().for_each(|orphan| {
                self.remove(orphan, &Cause::Orphan);
            }),
            Orphans::Warn if !orphans.is_empty() => {
                let names: Vec<&str> = orphans.iter().map(|orphan| orphan.name.as_str()).collect();
                self.builder.warn(format!(
                    "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                    names.join(" ")
                ));
            }
            Orphans::Warn | Orphans::Ignore => {}
        }
    }

    /// Services whose containers are replaced take those with `restart: true` down before, dependents first.
    fn add_early_stops(&mut self, fates: &IndexMap<String, ServiceFate<'_>>) {
        for service in self.context.graph.order().rev() {
            let Some(fate) = fates.get(service) else {
                continue;
            };
            let Some(cause) = fate
                .interrupted_by
                .as_ref()
                .map(|other| Cause::Follows(format!("service {other}")))
            else {
                continue;
            };
            for container in fate
                .surviving()
                .filter(|container| container.state.is_alive())
            {
                self.stop(container, Some(cause.clone()), fate.is_replaced(container));
            }
        }
    }

    /// Stops of dependents that must come before `service` is replaced.
    fn stops_before(&self, service: &str) -> Vec<Draft> {
        let dependents = self.context.graph.dependents(service).into_iter();
        let dependents = dependents.filter(|(_, how)| how.restart || how.reason.shares_container());
        let containers =
            dependents.flat_map(|(dependent, _)| self.context.observed.of_service(dependent));
        containers
            .filter_map(|container| self.stops.get(&container.id).copied())
            .collect()
    }

    fn finish(mut self, fates: &IndexMap<String, ServiceFate<'_>>) -> Plan {
        let instances = std::mem::take(&mut self.instances);
        let mut phase = StartPhase::new(
            self.context.graph,
            &instances,
            &self.context.options.services,
        );
        if self.context.options.start {
            phase.add_starts(&mut self.builder);
            if let Some(wait) = self.context.options.wait {
                phase.add_waits(&mut self.builder, wait.timeout);
            }
        }
        self.add_handovers(fates, &instances, &phase);
        self.builder.finish(&self.context.desired.project)
    }
}

/// The services to work on: the named ones and, unless `no_deps`, what they need.
fn select(graph: &ServiceGraph, options: &UpOptions) -> Result<Vec<String>, PlanError> {
    let mentioned = options.services.iter().chain(options.scale.keys());
    if let Some(unknown) = mentioned.into_iter().find(|name| !graph.contains(name)) {
        return Err(PlanError::NoSuchService(unknown.clone()));
    }
    if options.services.is_empty() {
        return Ok(graph.order().map(str::to_owned).collect());
    }
    let wanted: BTreeSet<String> = if options.no_deps {
        options.services.iter().cloned().collect()
    } else {
        graph.with_dependencies(options.services.iter().map(String::as_str))
    };
    Ok(graph
        .order()
        .filter(|service| wanted.contains(*service))
        .map(str::to_owned)
        .collect())
}

fn set_scale(desired: &mut Desired, options: &UpOptions) -> Result<(), PlanError> {
    for (name, service) in &mut desired.services {
        if options.compatible_names {
            service.separator = '_';
        }
        if let Some(&replicas) = options.scale.get(name) {
            service.replicas = replicas;
        }
        if let Some(fixed) = service
            .container_name
            .clone()
            .filter(|_| service.replicas > 1)
        {
            return Err(PlanError::FixedNameScaled {
                service: name.clone(),
                replicas: service.replicas,
                name: fixed,
            });
        }
    }
    Ok(())
}

/// What a service shares with another one must be planned or there, also when nothing else is to be done for it.
fn check_shared(desired: &Desired, observed: &Observed) -> Result<(), PlanError> {
    let shared = desired
        .services
        .values()
        .flat_map(|service| &service.shared);
    for shared in shared {
        let planned = desired.services.contains_key(&shared.service);
        if !planned && observed.of_service(&shared.service).next().is_none() {
            return Err(PlanError::SharedContainerMissing {
                thing: shared
                    .reason
                    .shared_thing()
                    .unwrap_or("anything")
                    .to_owned(),
                service: shared.service.clone(),
            });
        }
    }
    Ok(())
}

fn check_names(desired: &Desired) -> Result<(), PlanError> {
    let mut used: BTreeMap<&str, &str> = BTreeMap::new();
    for service in desired
        .services
        .values()
        .filter(|service| service.replicas > 0)
    {
        let Some(name) = &service.container_name else {
            continue;
        };
        if let Some(first) = used.insert(name, &service.name) {
            let (first, second) = (first.to_owned(), service.name.clone());
            return Err(PlanError::NameUsedTwice {
                name: name.clone(),
                first,
                second,
            });
        }
    }
    Ok(())
}

/// A container of a service that the files do not have, or of a `run` that is over.
fn is_orphan(project: &Project, container: &ObservedContainer) -> bool {
    if container.is_one_off() {
        return matches!(
            container.state,
            ContainerState::Exited | ContainerState::Dead
        );
    }
    let service = container.service();
    !project.services.contains_key(service) && !project.disabled_services.contains_key(service)
}

/// What the files ask for and containers do not get.
fn ignored_attributes(project: &Project, desired: &Desired) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, service) in desired
        .services
        .keys()
        .filter_map(|name| project.services.get_key_value(name))
    {
        let of_files = service.secrets.iter().filter(|secret| {
            project
                .secrets
                .get(&secret.source)
                .is_some_and(|secret| secret.file.is_some())
        });
        let of_files = of_files.chain(service.configs.iter().filter(|config| {
            project
                .configs
                .get(&config.source)
                .is_some_and(|config| config.file.is_some())
        }));
        for file in
            of_files.filter(|file| file.uid.is_some() || file.gid.is_some() || file.mode.is_some())
        {
            warnings.push(format!(
                "service {name:?}: uid, gid and mode of {:?} are ignored, since it is a file of the machine: change them there",
                file.source
            ));
        }
    }
    warnings
}

/// Whether the step must have gone well for the next to make sense.
const REQUIRED: Need = Need::Success;
