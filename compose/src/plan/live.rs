//! A project as its containers know it: services and their dependencies, from the file or from labels alone.
//!
//! Commands that work on existing containers (`down`, `stop`, …) need no more, so they also work with only `-p`.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::desire::{image_name, labels};
use crate::graph::{self, Condition, Dependency, GraphError, Reason, ServiceGraph};
use crate::model::Project;
use crate::observe::{Observed, ObservedContainer};
use crate::provided::{self, Told};

use super::builder::PlanBuilder;
use super::step::{Hooks, Plan};
use super::{PlanError, hooks};

/// Services, networks and volumes that belong to a project.
#[derive(Debug, Clone)]
pub struct Live {
    /// The project's name.
    pub project: String,
    /// Its services by name.
    pub services: IndexMap<String, LiveService>,
    /// Names of services that the file has but that are not enabled, or not selected: left alone unless named.
    pub disabled: BTreeSet<String>,
    /// Engine names of its networks that are its own to remove.
    pub networks: Vec<String>,
    /// Engine names of its volumes that are its own to remove.
    pub volumes: Vec<String>,
    /// Whether it was read from labels, so that nothing can be an orphan.
    pub from_labels: bool,
    graph: ServiceGraph,
}

/// A service of a [`Live`] project.
#[derive(Debug, Clone, Default)]
pub struct LiveService {
    /// Its image, and whether the file names it (else it is the name a build is tagged with).
    pub image: Option<(String, bool)>,
    /// What runs in its containers after their start and before their end.
    pub hooks: Option<Hooks>,
}

impl Live {
    /// From the file.
    ///
    /// # Errors
    /// [`PlanError::Graph`] when its services have no order.
    pub fn from_project(project: &Project, observed: &Observed) -> Result<Self, PlanError> {
        let mut by_programs = project
            .services
            .iter()
            .filter(|(_, service)| service.provider.is_some())
            .map(|(name, _)| name.clone())
            .peekable();
        if by_programs.peek().is_some() {
            let mut rest = project.clone();
            provided::resolve(&mut rest, &Told::new());
            let mut live = Live::from_project(&rest, observed)?;
            // They have no containers.
            live.disabled.extend(by_programs);
            return Ok(live);
        }
        let services = project.services.iter().map(|(name, service)| {
            let image = image_name(&project.name, name, service.image.as_deref());
            (
                name.clone(),
                LiveService {
                    image: Some((image, service.image.is_some())),
                    hooks: hooks::of_service(name, service),
                },
            )
        });
        let mut networks: Vec<String> = project
            .networks
            .values()
            .filter(|network| !network.external)
            .map(|network| network.name.clone())
            .collect();
        for name in labelled_networks(&project.name, observed) {
            if !networks.contains(&name) {
                networks.push(name);
            }
        }
        let volumes = project.volumes.values().filter(|volume| !volume.external);
        Ok(Live {
            project: project.name.clone(),
            services: services.collect(),
            disabled: project.disabled_services.keys().cloned().collect(),
            networks,
            volumes: volumes.map(|volume| volume.name.clone()).collect(),
            from_labels: false,
            graph: graph::of_all_services(project)?,
        })
    }

    /// From the labels of what exists. Containers of different ages may contradict each other about the order;
    /// then there is none.
    pub fn from_labels(project: &str, observed: &Observed) -> Self {
        let mut wanted: IndexMap<String, Vec<Dependency>> = IndexMap::new();
        for container in observed
            .containers
            .iter()
            .filter(|container| !container.service().is_empty())
        {
            let known = wanted.entry(container.service().to_owned()).or_default();
            for dependency in labelled_dependencies(container) {
                if !known.contains(&dependency) {
                    known.push(dependency);
                }
            }
        }
        let without_order = || {
            wanted
                .keys()
                .map(|name| (name.clone(), Vec::new()))
                .collect::<Vec<_>>()
        };
        let graph = ServiceGraph::new(wanted.clone())
            .or_else(|_: GraphError| ServiceGraph::new(without_order()));
        let owned = observed.volumes.iter().filter(|volume| {
            volume
                .labels
                .get(labels::PROJECT)
                .is_some_and(|owner| owner == project)
        });
        Live {
            project: project.to_owned(),
            services: wanted
                .keys()
                .map(|name| (name.clone(), LiveService::default()))
                .collect(),
            disabled: BTreeSet::new(),
            networks: labelled_networks(project, observed),
            volumes: owned.map(|volume| volume.name.clone()).collect(),
            from_labels: true,
            graph: graph.unwrap_or_else(|_| ServiceGraph::empty()),
        }
    }

    /// A finished plan about its containers, with their hooks.
    pub(super) fn finish(&self, builder: PlanBuilder, observed: &Observed) -> Plan {
        let known = self.services.iter();
        let known =
            known.filter_map(|(name, service)| Some((name.as_str(), service.hooks.clone()?)));
        hooks::attached(builder.finish(&self.project), &known.collect(), observed)
    }

    /// The order of its services.
    pub fn graph(&self) -> &ServiceGraph {
        &self.graph
    }

    /// The services named, in start order; all when none is named.
    ///
    /// # Errors
    /// [`PlanError::NoSuchService`] for a name that the file does not have. Without a file, unknown names are ignored.
    pub fn select(&self, named: &[String]) -> Result<Vec<String>, PlanError> {
        let known =
            |name: &String| self.services.contains_key(name) || self.disabled.contains(name);
        if let Some(unknown) = named.iter().find(|name| !self.from_labels && !known(name)) {
            return Err(PlanError::NoSuchService(unknown.clone()));
        }
        let wanted = |name: &&str| match named {
            [] => !self.disabled.contains(*name),
            named => named.iter().any(|wanted| wanted == name),
        };
        Ok(self
            .graph
            .order()
            .filter(wanted)
            .map(str::to_owned)
            .collect())
    }

    /// Whether a container belongs to no service of the file.
    pub fn is_orphan(&self, container: &ObservedContainer) -> bool {
        let service = container.service();
        !self.services.contains_key(service) && !self.disabled.contains(service)
    }
}

fn labelled_networks(project: &str, observed: &Observed) -> Vec<String> {
    let owned = observed.networks.iter();
    let owned = owned.filter(|network| {
        network
            .labels
            .get(labels::PROJECT)
            .is_some_and(|owner| owner == project)
    });
    owned.map(|network| network.name.clone()).collect()
}

/// `db:service_healthy:true,cache:service_started:false`. The label does not say what is required; nothing is
/// started because of it, so that a missing dependency is no error.
fn labelled_dependencies(container: &ObservedContainer) -> Vec<Dependency> {
    let entries = container
        .label(labels::DEPENDS_ON)
        .split(',')
        .filter(|entry| !entry.is_empty());
    let parse = |entry: &str| {
        let mut fields = entry.split(':');
        let service = fields.next()?.to_owned();
        let condition = match fields.next() {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        let restart = fields.next() == Some("true");
        Some(Dependency {
            service,
            condition,
            required: false,
            restart,
            reason: Reason::DependsOn,
        })
    };
    entries.filter_map(parse).collect()
}
