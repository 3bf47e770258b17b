//! Which images to build, and in which order: before `up`, and for `build`.
//!
//! Building comes before planning the rest, since whether a container is out of date depends on what a build makes.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use hoist_api::build::BuildRequest;

use crate::desire::{build_request, built_before, image_name};
use crate::graph::of_project;
use crate::model::{Project, Service};
use crate::observe::{Observed, ObservedImage};

use super::PlanError;
use super::builder::{Draft, NewStep, PlanBuilder};
use super::step::{Action, After, Cause, Kind, Need, Plan, StepId};

/// Which of the services with a `build` section are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Build {
    /// Those whose image is not there, and those whose `pull_policy` is `build`.
    #[default]
    Missing,
    /// All: `--build`, `build`.
    All,
    /// None: `--no-build`.
    Never,
}

/// Plans the builds of some services (all when none is named), with those whose images they use.
///
/// # Errors
/// A service does not exist, or its section cannot be carried out.
pub fn plan_build(
    project: &Project,
    observed: &Observed,
    services: &[String],
    which: Build,
) -> Result<Plan, PlanError> {
    let mut planner = Planner {
        project,
        observed,
        which,
        builder: PlanBuilder::default(),
        known: IndexMap::new(),
    };
    if which != Build::Never {
        let graph = of_project(project)?;
        if let Some(unknown) = services.iter().find(|name| !graph.contains(name)) {
            return Err(PlanError::NoSuchService(unknown.clone()));
        }
        for name in graph.order() {
            if services.is_empty() || services.iter().any(|service| service == name) {
                planner.add(name)?;
            }
        }
    }
    Ok(planner.builder.finish(&project.name))
}

struct Planner<'a> {
    project: &'a Project,
    observed: &'a Observed,
    which: Build,
    builder: PlanBuilder,
    /// Services gone through, with their steps. One that is under way has none: the loader has refused cycles.
    known: IndexMap<String, Option<Draft>>,
}

impl Planner<'_> {
    fn add(&mut self, name: &str) -> Result<Option<Draft>, PlanError> {
        if let Some(draft) = self.known.get(name) {
            return Ok(*draft);
        }
        self.known.insert(name.to_owned(), None);
        let services = &self.project.services;
        let found = services
            .get(name)
            .or_else(|| self.project.disabled_services.get(name));
        let Some(service) = found else {
            return Ok(None);
        };
        let mut before = Vec::new();
        for other in built_before(service) {
            before.extend(self.add(other)?);
        }
        // An image that has a name of its own may be what this one is built from: as the reference's classic builder.
        for other in service.depends_on.keys() {
            let named = services
                .get(other)
                .is_some_and(|other| other.image.is_some());
            if let (true, Some(Some(draft))) = (named, self.known.get(other)) {
                before.push(*draft);
            }
        }
        let image = image_name(&self.project.name, name, service.image.as_deref());
        let Some(cause) = self.cause(service, &image) else {
            return Ok(None);
        };
        let Some(request) = build_request(self.project, name, service)? else {
            return Ok(None);
        };
        let step = NewStep::new(Kind::Image, &image, Action::BuildImage(Box::new(request)));
        let draft = self.builder.add(step.cause(cause), before);
        self.known.insert(name.to_owned(), Some(draft));
        Ok(Some(draft))
    }

    /// Why a service's image is built, if it is.
    fn cause(&self, service: &Service, image: &str) -> Option<Cause> {
        let missing = self.observed.image_id(image).is_none();
        match (self.which, service.pull_policy.as_deref()) {
            (Build::Never, _) => None,
            (_, _) if missing && self.which == Build::All => Some(Cause::Missing),
            (Build::All, _) => Some(Cause::Forced),
            (Build::Missing, Some("build")) => Some(Cause::Forced),
            (Build::Missing, Some("never" | "always")) => None,
            (Build::Missing, _) => missing.then_some(Cause::Missing),
        }
    }
}

/// A machine on which a plan's images are built, for showing what would come after.
pub fn with_built(observed: &Observed, builds: &Plan) -> Observed {
    let mut assumed = observed.clone();
    for (request, step) in builds
        .steps
        .iter()
        .filter_map(|step| Some((request(&step.action)?, step)))
    {
        if observed.image_id(&step.target).is_none() {
            assumed.images.push(ObservedImage {
                id: format!("sha256:{:064x}", step.id.index()),
                references: request.tags.clone(),
            });
        }
    }
    assumed
}

/// The builds and then the rest as one plan: containers are created after their images.
#[must_use]
pub fn joined(builds: Plan, rest: Plan) -> Plan {
    if builds.is_empty() {
        return rest;
    }
    let count = builds.steps.len();
    let shift = |id: StepId| StepId::from_index(id.index() + count);
    let images: BTreeMap<String, StepId> = builds
        .steps
        .iter()
        .map(|step| (step.target.clone(), step.id))
        .collect();
    let mut plan = builds;
    for mut step in rest.steps {
        step.id = shift(step.id);
        for after in &mut step.after {
            after.step = shift(after.step);
        }
        if let Action::CreateContainer(request) = &step.action
            && let Some(image) = images.get(&request.config.image)
        {
            let built = After {
                step: *image,
                need: Need::Success,
            };
            step.after.insert(0, built);
        }
        plan.steps.push(step);
    }
    plan.unchanged.extend(rest.unchanged);
    plan.warnings.extend(rest.warnings);
    plan
}

/// What a building step asks the engine for.
fn request(action: &Action) -> Option<&BuildRequest> {
    match action {
        Action::BuildImage(request) => Some(request),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project() -> Project {
        serde_json::from_value(json!({
            "name": "p",
            "services": {
                "app": {"build": {"context": "/app", "additional_contexts": {"base": "service:base"}}},
                "base": {"image": "own", "build": {"context": "/base"}},
                "always": {"pull_policy": "build", "build": {"context": "/a"}},
                "never": {"pull_policy": "never", "build": {"context": "/n"}},
                "db": {"image": "postgres"},
            },
        }))
        .unwrap()
    }

    fn observed(images: &[&str]) -> Observed {
        Observed {
            images: images
                .iter()
                .enumerate()
                .map(|(number, name)| ObservedImage {
                    id: format!("sha256:{number:064x}"),
                    references: vec![(*name).to_owned()],
                })
                .collect(),
            ..Observed::default()
        }
    }

    fn text(images: &[&str], services: &[&str], which: Build) -> Vec<String> {
        let services: Vec<String> = services.iter().map(|name| (*name).to_owned()).collect();
        let plan = plan_build(&project(), &observed(images), &services, which).unwrap();
        plan.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn missing_images_are_built_after_what_they_use() {
        assert_eq!(
            text(&[], &["app"], Build::Missing),
            [
                "#1 image own: build (missing)",
                "#2 image p-app: build (missing) after #1"
            ]
        );
        assert_eq!(
            text(&["own", "p-app", "p-always"], &[], Build::Missing),
            ["#1 image p-always: build (forced)"]
        );
        assert!(text(&[], &[], Build::Never).is_empty());
    }

    #[test]
    fn all_are_built_when_asked_for() {
        let lines = text(&["own"], &[], Build::All);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("image own: build (forced)"))
        );
        assert!(plan_build(&project(), &observed(&[]), &["x".to_owned()], Build::All).is_err());
    }

    #[test]
    fn a_joined_plan_creates_after_building() {
        let project: Project = serde_json::from_value(json!({
            "name": "p",
            "services": {"web": {"build": {"context": "/w"}}},
        }))
        .unwrap();
        let builds = plan_build(&project, &observed(&[]), &[], Build::Missing).unwrap();
        let assumed = with_built(&observed(&[]), &builds);
        let rest =
            crate::plan::plan_up(&project, &assumed, &crate::plan::UpOptions::default()).unwrap();
        let text = joined(builds, rest).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#1 image p-web: build (missing)");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("p-web-1: create (missing) after #1")),
            "{text}"
        );
    }
}
