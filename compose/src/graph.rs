//! The dependency graph of a project's services.
//!
//! An edge goes from a service to one that must be there first, and says why: `depends_on`, `links`,
//! a shared namespace, or `volumes_from`. A graph that exists has no cycle: making one checks it, so
//! that nothing downstream has to.
//!
//! Must not know: containers, the engine, and what a service is beyond its name.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::model::{DependencyCondition, Project, Service};

/// What a dependent waits for before it starts (`depends_on.<service>.condition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// `service_started`: the containers have been started.
    Started,
    /// `service_healthy`: every container's health check has passed.
    Healthy,
    /// `service_completed_successfully`: every container has ended with exit code 0.
    Completed,
}

/// Why a service needs another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `depends_on`.
    DependsOn,
    /// `links`.
    Link,
    /// `network_mode: service:x`.
    NetworkNamespace,
    /// `ipc: service:x`.
    IpcNamespace,
    /// `pid: service:x`.
    PidNamespace,
    /// `volumes_from: [x]`.
    VolumesFrom,
}

impl Reason {
    /// Whether a dependent's container refers to the dependency's container, so that it must be made
    /// again whenever that one is.
    pub fn shares_container(self) -> bool {
        !matches!(self, Reason::DependsOn | Reason::Link)
    }

    /// What is shared, for messages: `network namespace`, `volume`, …
    pub fn shared_thing(self) -> Option<&'static str> {
        match self {
            Reason::DependsOn | Reason::Link => None,
            Reason::NetworkNamespace => Some("network namespace"),
            Reason::IpcNamespace => Some("IPC namespace"),
            Reason::PidNamespace => Some("PID namespace"),
            Reason::VolumesFrom => Some("volume"),
        }
    }
}

/// One reason for one service to come after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The service that must be there first.
    pub service: String,
    /// What to wait for.
    pub condition: Condition,
    /// `required: false` makes a failure of the dependency a warning.
    pub required: bool,
    /// `restart: true`: restart the dependent when the dependency is restarted or replaced.
    pub restart: bool,
    /// Which attribute says so.
    pub reason: Reason,
}

/// Why a set of services has no start order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A cycle, named in order; the first service is repeated at the end.
    #[error("dependency cycle detected: {}", path.join(" -> "))]
    Cycle {
        /// The services along the cycle.
        path: Vec<String>,
    },
    /// A required dependency is not in the project, or its profile is not active.
    #[error("service {service:?} depends on undefined service {dependency:?}")]
    Undefined {
        /// The dependent.
        service: String,
        /// What it needs.
        dependency: String,
    },
}

/// The services of a project and what each needs. Acyclic by construction.
#[derive(Debug, Clone)]
pub struct ServiceGraph {
    graph: DiGraph<String, Dependency>,
    nodes: IndexMap<String, NodeIndex>,
    order: Vec<String>,
}

impl ServiceGraph {
    /// Builds the graph from services with their dependencies, in file order.
    ///
    /// A dependency with `required: false` on a service that is not there is left out.
    ///
    /// # Errors
    /// [`GraphError::Undefined`] for a missing required dependency, [`GraphError::Cycle`] for a cycle.
    pub fn new<I>(services: I) -> Result<Self, GraphError>
    where
        I: IntoIterator<Item = (String, Vec<Dependency>)>,
    {
        let mut graph = DiGraph::new();
        let mut nodes = IndexMap::new();
        let mut wanted = Vec::new();
        for (name, dependencies) in services {
            let node = graph.add_node(name.clone());
            nodes.insert(name, node);
            wanted.push((node, dependencies));
        }
        for (node, dependencies) in wanted {
            for dependency in dependencies {
                match nodes.get(&dependency.service) {
                    Some(&target) => {
                        graph.add_edge(node, target, dependency);
                    }
                    None if !dependency.required => {}
                    None => {
                        return Err(GraphError::Undefined {
                            service: graph[node].clone(),
                            dependency: dependency.service,
                        });
                    }
                }
            }
        }
        let order = start_order(&graph)?;
        Ok(ServiceGraph {
            graph,
            nodes,
            order,
        })
    }

    /// A graph of no services.
    pub fn empty() -> Self {
        ServiceGraph {
            graph: DiGraph::new(),
            nodes: IndexMap::new(),
            order: Vec::new(),
        }
    }

    /// Whether the project has this service.
    pub fn contains(&self, service: &str) -> bool {
        self.nodes.contains_key(service)
    }

    /// Every service, dependencies first; otherwise in file order.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// What `service` needs, in file order. One service can be named more than once, for different reasons.
    pub fn dependencies(&self, service: &str) -> Vec<&Dependency> {
        let Some(&node) = self.nodes.get(service) else {
            return Vec::new();
        };
        let mut edges: Vec<_> = self.graph.edges(node).collect();
        edges.sort_by_key(|edge| edge.id());
        edges.into_iter().map(|edge| edge.weight()).collect()
    }

    /// Who needs `service`, with the edge that says how.
    pub fn dependents(&self, service: &str) -> Vec<(&str, &Dependency)> {
        let Some(&node) = self.nodes.get(service) else {
            return Vec::new();
        };
        let mut edges: Vec<_> = self
            .graph
            .edges_directed(node, Direction::Incoming)
            .collect();
        edges.sort_by_key(|edge| edge.id());
        edges
            .into_iter()
            .map(|edge| (self.graph[edge.source()].as_str(), edge.weight()))
            .collect()
    }

    /// `services` and everything they need, directly or not.
    pub fn with_dependencies<'a, I>(&self, services: I) -> BTreeSet<String>
    where
        I: IntoIterator<Item = &'a str>,
    {
        let mut found = BTreeSet::new();
        let mut open: Vec<NodeIndex> = services
            .into_iter()
            .filter_map(|name| self.nodes.get(name).copied())
            .collect();
        while let Some(node) = open.pop() {
            if found.insert(self.graph[node].clone()) {
                open.extend(self.graph.neighbors(node));
            }
        }
        found
    }
}

impl From<DependencyCondition> for Condition {
    fn from(condition: DependencyCondition) -> Self {
        match condition {
            DependencyCondition::Started => Condition::Started,
            DependencyCondition::Healthy => Condition::Healthy,
            DependencyCondition::CompletedSuccessfully => Condition::Completed,
        }
    }
}

/// The graph of a project's enabled services.
///
/// # Errors
/// See [`ServiceGraph::new`].
pub fn of_project(project: &Project) -> Result<ServiceGraph, GraphError> {
    ServiceGraph::new(
        project
            .services
            .iter()
            .map(|(name, service)| (name.clone(), dependencies_of(service))),
    )
}

/// The graph of all services of the files, enabled or not, for commands on containers that exist. A dependency on
/// a service that is in no file is left out.
///
/// # Errors
/// [`GraphError::Cycle`].
pub fn of_all_services(project: &Project) -> Result<ServiceGraph, GraphError> {
    let all = || project.services.iter().chain(&project.disabled_services);
    let known = |name: &String| {
        project.services.contains_key(name) || project.disabled_services.contains_key(name)
    };
    ServiceGraph::new(all().map(|(name, service)| {
        let dependencies = dependencies_of(service)
            .into_iter()
            .filter(|dependency| known(&dependency.service));
        (name.clone(), dependencies.collect())
    }))
}

/// Everything a service needs: `depends_on`, and what other attributes imply. An implied dependency that
/// `depends_on` names too has the condition written there.
fn dependencies_of(service: &Service) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let implied = implied_dependencies(service);
    for (name, how) in &service.depends_on {
        let reason = implied
            .iter()
            .find(|(implied, _)| implied == name)
            .map_or(Reason::DependsOn, |(_, reason)| *reason);
        let (condition, required, restart) = (how.condition.into(), how.required, how.restart);
        found.push(Dependency {
            service: name.clone(),
            condition,
            required,
            restart,
            reason,
        });
    }
    for (service, reason) in implied {
        if !found.iter().any(|known| known.service == service) {
            let restart = reason.shares_container();
            found.push(Dependency {
                service,
                condition: Condition::Started,
                required: true,
                restart,
                reason,
            });
        }
    }
    found
}

/// Services that are needed because an attribute refers to them; what shares a container comes first.
fn implied_dependencies(service: &Service) -> Vec<(String, Reason)> {
    let namespaces = [
        (&service.network_mode, Reason::NetworkNamespace),
        (&service.ipc, Reason::IpcNamespace),
        (&service.pid, Reason::PidNamespace),
    ];
    let namespaces = namespaces
        .into_iter()
        .filter_map(|(mode, reason)| Some((mode.as_deref()?.strip_prefix("service:")?, reason)));
    let before_colon = |text: &'_ String| text.split(':').next().unwrap_or_default().to_owned();
    let volumes = service
        .volumes_from
        .iter()
        .filter(|from| !from.starts_with("container:"));
    namespaces
        .map(|(name, reason)| (name.to_owned(), reason))
        .chain(volumes.map(|from| (before_colon(from), Reason::VolumesFrom)))
        .chain(
            service
                .links
                .iter()
                .map(|link| (before_colon(link), Reason::Link)),
        )
        .collect()
}

/// Services with nothing left to wait for, always the one that comes first in the file.
fn start_order(graph: &DiGraph<String, Dependency>) -> Result<Vec<String>, GraphError> {
    let mut missing: Vec<usize> = graph
        .node_indices()
        .map(|node| graph.neighbors(node).count())
        .collect();
    let mut ready: BTreeSet<NodeIndex> = graph
        .node_indices()
        .filter(|node| missing[node.index()] == 0)
        .collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(node) = ready.pop_first() {
        order.push(graph[node].clone());
        for dependent in graph.neighbors_directed(node, Direction::Incoming) {
            missing[dependent.index()] -= 1;
            if missing[dependent.index()] == 0 {
                ready.insert(dependent);
            }
        }
    }
    if order.len() == missing.len() {
        return Ok(order);
    }
    let left: BTreeSet<NodeIndex> = graph
        .node_indices()
        .filter(|node| missing[node.index()] > 0)
        .collect();
    Err(GraphError::Cycle {
        path: name_cycle(graph, &left),
    })
}

/// Walks along edges between services that could not be ordered. Each of them has an edge to another
/// (else it would have been ordered), so the walk must come back to a service it has seen.
fn name_cycle(graph: &DiGraph<String, Dependency>, left: &BTreeSet<NodeIndex>) -> Vec<String> {
    let mut walk: Vec<NodeIndex> = Vec::new();
    let mut next = left.first().copied();
    while let Some(node) = next {
        if let Some(start) = walk.iter().position(|&seen| seen == node) {
            walk.push(node);
            let cycle = rotate_to_first(&walk[start..]);
            return cycle.iter().map(|&node| graph[node].clone()).collect();
        }
        walk.push(node);
        next = graph
            .neighbors(node)
            .filter(|target| left.contains(target))
            .min();
    }
    Vec::new()
}

/// The same closed walk, told from the service that comes first in the file.
fn rotate_to_first(walk: &[NodeIndex]) -> Vec<NodeIndex> {
    let mut cycle = walk[..walk.len() - 1].to_vec();
    if let Some(first) = cycle
        .iter()
        .enumerate()
        .min_by_key(|(_, node)| **node)
        .map(|(at, _)| at)
    {
        cycle.rotate_left(first);
    }
    cycle.extend(cycle.first().copied());
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"web: db cache?"` lines; `?` marks `required: false`.
    fn graph(text: &str) -> Result<ServiceGraph, GraphError> {
        ServiceGraph::new(text.split(';').map(|line| {
            let (name, needs) = line.split_once(':').unwrap_or((line, ""));
            let needs = needs.split_whitespace().map(|need| Dependency {
                service: need.trim_end_matches('?').to_owned(),
                condition: Condition::Started,
                required: !need.ends_with('?'),
                restart: false,
                reason: Reason::DependsOn,
            });
            (name.trim().to_owned(), needs.collect())
        }))
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match graph(text) {
            Ok(graph) => graph.order().collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn dependencies_come_first_then_file_order() {
        check("a;b;c", "a b c");
        check("web: api;api: db cache;cache;db", "cache db api web");
        check("a: x?;b", "a b");
    }

    #[test]
    fn a_cycle_is_named_in_order() {
        check("a: b;b: a", "dependency cycle detected: a -> b -> a");
        check(
            "z: b;b: c;c: d;d: b",
            "dependency cycle detected: b -> c -> d -> b",
        );
        check(
            "z: d;b: c;c: d;d: b",
            "dependency cycle detected: b -> c -> d -> b",
        );
        check("a: a", "dependency cycle detected: a -> a");
        check(
            "ok;a: ok b;b: c ok;c: b",
            "dependency cycle detected: b -> c -> b",
        );
    }

    #[test]
    fn a_required_dependency_must_exist() {
        check(
            "a: nope",
            "service \"a\" depends on undefined service \"nope\"",
        );
    }

    #[test]
    fn closure_takes_what_is_needed_and_nothing_else() {
        let graph = graph("web: api;api: db;db;other: db").unwrap();
        let found = graph.with_dependencies(["api"]);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["api", "db"]);
        let dependents: Vec<&str> = graph
            .dependents("db")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(dependents, ["api", "other"]);
    }
}
