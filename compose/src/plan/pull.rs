//! Which images are fetched before anything else: `pull`, and the first phase of `up` and `create`.
//!
//! The rest of a plan depends on what the images are (a container is made again when its image changed), so pulling is a plan of its own,
//! carried out before the machine is looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::desire::image_name;
use crate::graph::of_project;
use crate::model::{ComposeDuration, MountType, Project, Service};
use crate::observe::Observed;

use super::PlanError;
use super::builder::{NewStep, PlanBuilder};
use super::step::{Action, Cause, Kind, Plan};

/// When an image is fetched (Compose Specification, `pull_policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullRule {
    /// Each time.
    Always,
    /// When it is not there.
    Missing,
    /// Not at all.
    Never,
    /// Not at all: it is built.
    Build,
    /// When it is not there, or was fetched longer ago than this.
    Older(Duration),
}

/// A `pull_policy` that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a pull_policy: write always, missing, never, build, daily, weekly or every_<duration>, as every_12h"
)]
pub struct InvalidPullPolicy(pub String);

impl std::str::FromStr for PullRule {
    type Err = InvalidPullPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPullPolicy> {
        const DAY: u64 = 24 * 60 * 60;
        let days = |days: u64| Ok(Self::Older(Duration::from_secs(days * DAY)));
        match text {
            "always" | "refresh" => Ok(Self::Always),
            "missing" | "if_not_present" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            "build" => Ok(Self::Build),
            "daily" => days(1),
            "weekly" => days(7),
            _ => text
                .strip_prefix("every_")
                .and_then(|text| text.parse::<ComposeDuration>().ok())
                .map(|duration| Self::Older(duration.as_std()))
                .ok_or_else(|| InvalidPullPolicy(text.to_owned())),
        }
    }
}

/// What a pull is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// Only these services, and unless `no_deps` what they depend on; all when empty.
    pub services: Vec<String>,
    /// Leave dependencies alone.
    pub no_deps: bool,
    /// Wins over what the file says of services that are not built.
    pub rule: Option<PullRule>,
    /// What counts for a service of which the file says nothing; absent: [`PullRule::Missing`].
    pub default_rule: Option<PullRule>,
    /// Leave out services that can be built.
    pub ignore_buildable: bool,
    /// How long ago images got their names, by reference; for [`PullRule::Older`]. One that is not in it counts as old.
    pub ages: BTreeMap<String, Duration>,
}

/// The images that have to be fetched, each once, independent of each other.
///
/// # Errors
/// A service is unknown, services depend on each other in a circle, or a `pull_policy` is none.
pub fn plan_pull(
    project: &Project,
    observed: &Observed,
    options: &PullOptions,
) -> Result<Plan, PlanError> {
    let graph = of_project(project)?;
    let chosen: BTreeSet<String> = match options.services.as_slice() {
        [] => project.services.keys().cloned().collect(),
        named if options.no_deps => named.iter().cloned().collect(),
        named => graph.with_dependencies(named.iter().map(String::as_str)),
    };
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !project.services.contains_key(*name))
    {
        return Err(PlanError::NoSuchService(unknown.clone()));
    }
    let mut builder = PlanBuilder::default();
    let mut seen = BTreeSet::new();
    let built: BTreeSet<&str> = project
        .services
        .values()
        .filter(|service| service.build.is_some())
        .filter_map(|service| service.image.as_deref())
        .collect();
    for (name, service) in &project.services {
        if !chosen.contains(name) || service.provider.is_some() {
            continue;
        }
        let image = image_name(&project.name, name, service.image.as_deref());
        // Another service builds it: what is in a registry under that name is not meant.
        if service.build.is_none() && service.image.as_deref().is_some_and(|i| built.contains(i)) {
            continue;
        }
        let rule = rule_of(service, options).map_err(|source| PlanError::PullPolicy {
            service: name.clone(),
            source,
        })?;
        // Who asks for a pull wants the latest, whatever is there (the reference's rule).
        let renew = options.default_rule == Some(PullRule::Always) && is_latest(&image);
        let is_there = observed.image_id(&image).is_some() && !renew;
        let Some(cause) = cause(rule, is_there, options.ages.get(&image)) else {
            continue;
        };
        if !seen.insert((image.clone(), service.platform.clone())) {
            continue;
        }
        let action = Action::PullImage {
            platform: service.platform.clone().unwrap_or_default(),
            is_needed: service.build.is_none(),
        };
        builder.add(NewStep::new(Kind::Image, &image, action).cause(cause), []);
    }
    for image in mounted_images(project, &chosen, options) {
        if observed.image_id(image).is_none() && seen.insert((image.clone(), None)) {
            let action = Action::PullImage {
                platform: String::new(),
                is_needed: true,
            };
            let step = NewStep::new(Kind::Image, image, action);
            builder.add(step.cause(Cause::Missing), []);
        }
    }
    Ok(builder.finish(&project.name))
}

/// The images that services have mounted and that no service builds: fetched for `up`, as those of the services.
fn mounted_images<'p>(
    project: &'p Project,
    chosen: &BTreeSet<String>,
    options: &PullOptions,
) -> Vec<&'p String> {
    let is_left_alone = matches!(options.rule, Some(PullRule::Never | PullRule::Build));
    if is_left_alone || options.default_rule.is_some() {
        return Vec::new();
    }
    let is_built = |image: &String| {
        let mut services = project.services.iter();
        services.any(|(name, service)| {
            let own = image_name(&project.name, name, service.image.as_deref());
            service.build.is_some() && own == *image
        })
    };
    let services = project.services.iter();
    services
        .filter(|(name, _)| chosen.contains(*name))
        .flat_map(|(_, service)| &service.volumes)
        .filter(|mount| mount.kind == MountType::Image)
        .filter_map(|mount| mount.source.as_ref())
        .filter(|image| !is_built(image))
        .collect()
}

/// Whether the tag of a name is `latest`, also when none is written.
fn is_latest(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn rule_of(service: &Service, options: &PullOptions) -> Result<PullRule, InvalidPullPolicy> {
    let written = service
        .pull_policy
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(str::parse::<PullRule>)
        .transpose()?;
    if service.build.is_some() {
        // What can be built is fetched only when the file or the user says so.
        let named = service.image.is_some();
        return Ok(match (written, options.default_rule) {
            (Some(rule), _) if !options.ignore_buildable => rule,
            (None, Some(rule)) if !options.ignore_buildable && named => rule,
            _ => PullRule::Build,
        });
    }
    // An image that the file wants left alone is left alone.
    if written == Some(PullRule::Never) && options.rule != Some(PullRule::Always) {
        return Ok(PullRule::Never);
    }
    Ok(options
        .rule
        .or(written)
        .or(options.default_rule)
        .unwrap_or(PullRule::Missing))
}

fn cause(rule: PullRule, is_there: bool, age: Option<&Duration>) -> Option<Cause> {
    match rule {
        PullRule::Never | PullRule::Build => None,
        _ if !is_there => Some(Cause::Missing),
        PullRule::Missing => None,
        PullRule::Always => Some(Cause::Forced),
        PullRule::Older(limit) => age.is_none_or(|age| *age > limit).then_some(Cause::Forced),
    }
}

/// The images of services that are fetched by their age: their ages are needed for [`PullOptions::ages`].
pub fn images_by_age(project: &Project) -> Vec<String> {
    let by_age = |service: &Service| {
        let rule = service.pull_policy.as_deref().map(str::parse);
        matches!(rule, Some(Ok(PullRule::Older(_))))
    };
    project
        .services
        .iter()
        .filter(|(_, service)| by_age(service))
        .map(|(name, service)| image_name(&project.name, name, service.image.as_deref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::ObservedImage;

    const HOUR: Duration = Duration::from_secs(3600);

    #[track_caller]
    fn check(policy: &str, is_there: bool, expected: &str) {
        let services = serde_json::json!({"a": {"image": "x", "pull_policy": policy}});
        check_service(services, is_there, (&PullOptions::default(), expected));
    }

    #[track_caller]
    fn check_service(
        services: serde_json::Value,
        is_there: bool,
        (options, expected): (&PullOptions, &str),
    ) {
        let text = serde_json::json!({"name": "p", "services": services});
        let project: Project = serde_json::from_value(text.clone()).expect("a project");
        let mut observed = Observed::default();
        if is_there {
            observed.images.push(ObservedImage {
                id: "sha256:1".to_owned(),
                references: vec!["x:latest".to_owned()],
            });
        }
        let found = match plan_pull(&project, &observed, options) {
            Ok(plan) => plan.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found.trim(), expected, "{text}");
    }

    #[test]
    fn every_policy_decides() {
        let missing = "#1 image x: pull (missing)";
        for policy in [
            "",
            "missing",
            "if_not_present",
            "always",
            "daily",
            "weekly",
            "every_12h",
        ] {
            check(policy, false, missing);
        }
        for policy in ["never", "build"] {
            check(policy, false, "");
            check(policy, true, "");
        }
        check("missing", true, "");
        check("always", true, "#1 image x: pull (forced)");
        check("daily", true, "#1 image x: pull (forced)");
        let wrong = PullRule::from_str_for_test("sometimes");
        assert!(wrong.contains("is not a pull_policy"), "{wrong}");
    }

    impl PullRule {
        fn from_str_for_test(text: &str) -> String {
            text.parse::<PullRule>()
                .map_or_else(|error| error.to_string(), |rule| format!("{rule:?}"))
        }
    }

    #[test]
    fn age_options_and_builds_count() {
        let service =
            |policy: &str| serde_json::json!({"a": {"image": "x", "pull_policy": policy}});
        let aged = |hours: u32| PullOptions {
            ages: BTreeMap::from([("x".to_owned(), HOUR * hours)]),
            ..PullOptions::default()
        };
        check_service(service("daily"), true, (&aged(23), ""));
        check_service(
            service("daily"),
            true,
            (&aged(25), "#1 image x: pull (forced)"),
        );
        check_service(service("every_1h30m"), true, (&aged(1), ""));
        let always = PullOptions {
            rule: Some(PullRule::Always),
            ..PullOptions::default()
        };
        check_service(
            service("missing"),
            true,
            (&always, "#1 image x: pull (forced)"),
        );
        let built = serde_json::json!({"a": {"image": "x", "build": {"context": "."}}});
        check_service(built, false, (&always, ""));
        let mounted = serde_json::json!({
            "a": {"image": "x", "volumes": [{"type": "image", "source": "y", "target": "/y"},
                {"type": "image", "source": "z", "target": "/z"}]},
            "z": {"image": "z", "build": {"context": "."}}});
        let default = PullOptions::default();
        check_service(mounted, true, (&default, "#1 image y: pull (missing)"));
        let two = serde_json::json!({"a": {"image": "x"}, "b": {"image": "x"}});
        check_service(
            two,
            false,
            (&PullOptions::default(), "#1 image x: pull (missing)"),
        );
    }
}
