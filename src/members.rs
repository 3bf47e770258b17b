//! The containers of a project, found by the labels that Docker Compose puts on them.

use std::collections::BTreeMap;

use hoist_api::container::{ContainerSummary, ListContainers};
use hoist_api::{Engine, Filters};

use crate::context::{Target, no_such_service};
use crate::failure::Failure;
use crate::follow::short_name;

/// Label with the project's name.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
/// Label with the service's name.
pub(crate) const SERVICE: &str = "com.docker.compose.service";
/// Label with the container's number within the service.
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
/// Label of containers made by `run`: "True".
pub(crate) const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Label with the hash of the service's configuration; a container without it is not Compose's.
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Label with the project's files.
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";

/// A container of a project.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// As the engine lists it.
    pub(crate) summary: ContainerSummary,
    /// Its service.
    pub(crate) service: String,
    /// Its number within the service.
    pub(crate) number: u32,
    /// Made by `run`.
    pub(crate) one_off: bool,
}

impl Member {
    /// Reads the labels; `None` for a container of no project.
    pub(crate) fn of(summary: ContainerSummary) -> Option<Member> {
        let label = |key: &str| summary.labels.get(key).cloned();
        Some(Member {
            service: label(SERVICE)?,
            number: label(NUMBER)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            one_off: label(ONE_OFF).is_some_and(|text| text == "True"),
            summary,
        })
    }

    /// Its name without the leading slash.
    pub(crate) fn name(&self) -> &str {
        container_name(&self.summary)
    }

    /// Its name in logs: the project's name and the separator cut off.
    pub(crate) fn log_name(&self) -> &str {
        let name = self.name();
        let project = self.summary.labels.get(PROJECT).map_or("", String::as_str);
        short_name(project, name)
    }

    /// Whether it runs, or is about to be started again.
    pub(crate) fn is_active(&self) -> bool {
        matches!(
            self.summary.state.as_str(),
            "running" | "restarting" | "paused"
        )
    }

    /// The exit code that its status tells, 0 without one.
    pub(crate) fn exit_code(&self) -> i64 {
        exit_code(&self.summary.status)
    }

    /// Whether its state is `running`.
    pub(crate) fn is_running(&self) -> bool {
        self.summary.state == "running"
    }
}

/// The first name without its slash, or the id of a container without a name.
pub(crate) fn container_name(summary: &ContainerSummary) -> &str {
    let name = summary.names.first().unwrap_or(&summary.id);
    name.strip_prefix('/').unwrap_or(name)
}

/// The code in "Exited (137) 2 minutes ago", else 0.
pub(crate) fn exit_code(status: &str) -> i64 {
    let code = status
        .strip_prefix("Exited (")
        .and_then(|rest| rest.split_once(')'));
    code.and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

/// All containers of a project, by service, then by number; those of `run` are included.
///
/// # Errors
/// The engine cannot list them.
pub(crate) async fn all<E: Engine>(engine: &E, project: &str) -> hoist_api::Result<Vec<Member>> {
    let filters = Filters::new()
        .label(format!("{PROJECT}={project}"))
        .label(CONFIG_HASH);
    let options = ListContainers {
        all: true,
        filters,
        ..ListContainers::default()
    };
    let mut members: Vec<Member> = engine
        .containers(&options)
        .await?
        .into_iter()
        .filter_map(Member::of)
        .collect();
    members.sort_by(|a, b| (&a.service, a.number, a.name()).cmp(&(&b.service, b.number, b.name())));
    Ok(members)
}

/// The project's containers without those of `run`, of the named services or of all.
///
/// # Errors
/// As [`all`], or nothing is known of a named service.
pub(crate) async fn of_services<E: Engine>(
    engine: &E,
    target: &Target,
    services: &[String],
) -> Result<Vec<Member>, Failure> {
    let members = with_runs(engine, target, services).await?;
    Ok(members.into_iter().filter(|m| !m.one_off).collect())
}

/// The project's containers of the named services or of all, with those of `run`.
///
/// # Errors
/// As [`all`], or nothing is known of a named service.
pub(crate) async fn with_runs<E: Engine>(
    engine: &E,
    target: &Target,
    services: &[String],
) -> Result<Vec<Member>, Failure> {
    select(all(engine, &target.name).await?, target, services)
}

/// Those of the named services, or all.
///
/// # Errors
/// Without files, a named service has no container.
fn select(
    members: Vec<Member>,
    target: &Target,
    services: &[String],
) -> Result<Vec<Member>, Failure> {
    if target.project.is_none() {
        let known: BTreeMap<&str, ()> = members.iter().map(|m| (m.service.as_str(), ())).collect();
        if let Some(unknown) = services
            .iter()
            .find(|service| !known.contains_key(service.as_str()))
        {
            return Err(no_such_service(unknown, known.into_keys()));
        }
    }
    let wanted = |member: &Member| services.is_empty() || services.contains(&member.service);
    Ok(members.into_iter().filter(wanted).collect())
}

/// The one container of a service that `--index` names, the first running one when it is 0.
///
/// # Errors
/// There is none, or none of that number.
pub(crate) fn pick(members: Vec<Member>, service: &str, index: u32) -> Result<Member, Failure> {
    let mut found: Vec<Member> = members
        .into_iter()
        .filter(|m| m.service == service && !m.one_off)
        .collect();
    let position = match index {
        0 => found
            .iter()
            .position(Member::is_running)
            .or((!found.is_empty()).then_some(0)),
        _ => found.iter().position(|member| member.number == index),
    };
    match position {
        Some(position) => Ok(found.swap_remove(position)),
        None if index == 0 => Err(not_running(service)),
        None => Err(Failure::new(format!(
            "service \"{service}\" is not running container #{index}"
        ))),
    }
}

/// As [`pick`]; where none of the service's own containers runs, one of `run` that does.
///
/// # Errors
/// As [`pick`].
pub(crate) fn pick_with_runs(
    members: Vec<Member>,
    service: &str,
    index: u32,
) -> Result<Member, Failure> {
    let is_run = |m: &&Member| m.one_off && m.service == service && m.is_running() && index == 0;
    let run = members.iter().find(is_run).cloned();
    match (pick(members, service, index), run) {
        (Ok(own), _) if own.is_running() => Ok(own),
        (_, Some(run)) => Ok(run),
        (own, None) => own,
    }
}

/// The error of a command for the processes of a container that does not run.
pub(crate) fn not_active(member: &Member) -> Failure {
    let service = &member.service;
    match member.summary.state.as_str() {
        "paused" => Failure::new(format!("service \"{service}\" is paused"))
            .hint(format!("let it go on with: hoist unpause {service}")),
        "restarting" => Failure::new(format!("service \"{service}\" is restarting"))
            .hint(format!("see why it ends with: hoist logs {service}")),
        _ => not_running(service),
    }
}

/// The error of commands that need a running container.
pub(crate) fn not_running(service: &str) -> Failure {
    Failure::new(format!("service \"{service}\" is not running"))
        .hint(format!("start it with: hoist up -d {service}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(service: &str, number: u32, state: &str) -> Member {
        let labels = BTreeMap::from([
            (PROJECT.to_owned(), "shop".to_owned()),
            (SERVICE.to_owned(), service.to_owned()),
            (NUMBER.to_owned(), number.to_string()),
        ]);
        let names = vec![format!("/shop-{service}-{number}")];
        let state = state.to_owned();
        let summary = ContainerSummary {
            names,
            state,
            labels,
            ..ContainerSummary::default()
        };
        Member::of(summary).expect("it has the labels")
    }

    #[test]
    fn names_in_logs_are_without_the_project() {
        assert_eq!(member("web", 1, "running").log_name(), "web-1");
    }

    #[test]
    fn the_status_tells_the_code() {
        assert_eq!(exit_code("Exited (137) 2 minutes ago"), 137);
        assert_eq!(exit_code("Up 2 minutes"), 0);
    }

    #[test]
    fn index_picks_a_replica() {
        let members = || {
            vec![
                member("web", 1, "exited"),
                member("web", 2, "running"),
                member("db", 1, "running"),
            ]
        };
        let number = |index| pick(members(), "web", index).map(|m| m.number).ok();
        assert_eq!(number(0), Some(2));
        assert_eq!(number(1), Some(1));
        assert_eq!(number(3), None);
        assert!(pick(members(), "cache", 0).is_err());
        let mut with_run = members();
        let mut run = member("db", 0, "running");
        run.one_off = true;
        with_run.push(run.clone());
        let own = pick_with_runs(with_run, "db", 0).map(|m| m.one_off);
        assert_eq!(own.ok(), Some(false));
        let only = |index| pick_with_runs(vec![run.clone()], "db", index);
        assert_eq!(only(0).map(|m| m.one_off).ok(), Some(true));
        assert!(only(1).is_err());
    }
}
