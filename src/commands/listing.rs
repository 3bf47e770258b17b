//! `ls`, `images`, `volumes`, `port`, `top`, `version`: short questions about what exists.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use hoist_api::container::{ContainerSummary, ListContainers, PortSummary};
use hoist_api::image::ImageInspect;
use hoist_api::{Engine, Filters};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::image::split_reference;
use super::object::volume;
use super::values::ListFormat;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::members::{self, Member};
use crate::ports;
use crate::ui::human;
use crate::ui::table::Table;

/// List the projects that run
#[derive(Args, Debug, Clone)]
pub(crate) struct LsArgs {
    /// Also projects of which nothing runs
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only projects of which this holds (name=REGEX)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// List the images of the containers
#[derive(Args, Debug, Clone)]
pub(crate) struct ImagesArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// List the volumes of the project
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumesArgs {
    /// Services that use them (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Print the host's address of a published port
#[derive(Args, Debug, Clone)]
pub(crate) struct PortArgs {
    /// Service that publishes it
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Port in the container
    #[arg(value_name = "PRIVATE_PORT")]
    pub(crate) private_port: u16,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// tcp or udp
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    pub(crate) protocol: String,
}

/// Show the processes in the containers
#[derive(Args, Debug, Clone)]
pub(crate) struct TopArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Print hoist's version
#[derive(Args, Debug, Clone)]
pub(crate) struct VersionArgs {
    /// pretty or json
    #[arg(short, long, value_name = "FORMAT", value_parser = ["pretty", "json"], default_value = "pretty")]
    pub(crate) format: String,

    /// Only the number
    #[arg(long)]
    pub(crate) short: bool,
}

/// Prints the projects of the engine's containers.
///
/// # Errors
/// A filter is wrong, or the engine cannot be asked.
pub(crate) async fn ls(context: &Context, args: LsArgs) -> Result<(), Failure> {
    let names = name_filters(&args.filter)?;
    let filters = Filters::new()
        .label(members::PROJECT)
        .label(members::CONFIG_HASH);
    let options = ListContainers {
        all: args.all,
        filters,
        ..ListContainers::default()
    };
    let containers = match connect::existing_engine(context).await? {
        Some(engine) => engine.containers(&options).await?,
        None => Vec::new(),
    };
    let mut projects: BTreeMap<String, Vec<ContainerSummary>> = BTreeMap::new();
    for container in containers {
        if let Some(project) = container.labels.get(members::PROJECT).cloned() {
            projects.entry(project).or_default().push(container);
        }
    }
    projects.retain(|name, _| {
        names.is_empty() || names.iter().any(|text| name.contains(text.as_str()))
    });
    print_projects(context, &projects, &args)
}

fn name_filters(filters: &[String]) -> Result<Vec<String>, Failure> {
    let read =
        |text: &String| match text.split_once('=') {
            Some(("name", value)) => Ok(value.trim_matches(['^', '$']).to_owned()),
            _ => Err(Failure::new(format!("cannot filter by \"{text}\""))
                .hint("--filter takes name=TEXT")),
        };
    filters.iter().map(read).collect()
}

fn print_projects(
    context: &Context,
    projects: &BTreeMap<String, Vec<ContainerSummary>>,
    args: &LsArgs,
) -> Result<(), Failure> {
    if args.quiet {
        return projects.keys().try_for_each(|name| context.ui.line(name));
    }
    let files = |containers: &[ContainerSummary]| {
        let sets: BTreeSet<&str> = containers
            .iter()
            .filter_map(|c| c.labels.get(members::CONFIG_FILES))
            .map(String::as_str)
            .collect();
        sets.into_iter().collect::<Vec<_>>().join(",")
    };
    if args.format == ListFormat::Json {
        let list = projects.iter().map(|(name, containers)| {
            json!({"Name": name, "Status": combined_status(containers), "ConfigFiles": files(containers)})
        });
        return context.ui.line(&Value::Array(list.collect()).to_string());
    }
    let mut table = Table::wide(&["NAME", "STATUS", "CONFIG FILES"]);
    for (name, containers) in projects {
        table.row(vec![
            name.clone(),
            combined_status(containers),
            files(containers),
        ]);
    }
    context.ui.line(&table.render())
}

/// "exited(1), running(2)".
fn combined_status(containers: &[ContainerSummary]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *counts.entry(container.state.as_str()).or_default() += 1;
    }
    let texts: Vec<String> = counts
        .into_iter()
        .map(|(state, count)| format!("{state}({count})"))
        .collect();
    texts.join(", ")
}

/// Prints the images of the project's containers.
///
/// # Errors
/// The files are wrong, a service is unknown, or the engine cannot be asked.
pub(crate) async fn images(context: &Context, args: ImagesArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return print_images(context, &[], &args);
    };
    let mut used = Vec::new();
    for member in members::of_services(&engine, &target, &args.services).await? {
        let image = engine.image_inspect(&member.summary.image_id).await?;
        used.push((member, image));
    }
    print_images(context, &used, &args)
}

fn print_images(
    context: &Context,
    used: &[(Member, ImageInspect)],
    args: &ImagesArgs,
) -> Result<(), Failure> {
    if args.quiet {
        let ids: BTreeSet<&str> = used.iter().map(|(_, image)| image.id.as_str()).collect();
        return ids.into_iter().try_for_each(|id| {
            context
                .ui
                .line(id.split_once(':').map_or(id, |(_, hex)| hex))
        });
    }
    let now = Timestamp::now().as_second();
    let mut table = Table::wide(&[
        "CONTAINER",
        "REPOSITORY",
        "TAG",
        "PLATFORM",
        "IMAGE ID",
        "SIZE",
        "CREATED",
    ]);
    let mut list = Vec::new();
    for (member, image) in used {
        let named = image
            .repo_tags
            .iter()
            .find(|tag| **tag == member.summary.image)
            .or(image.repo_tags.first());
        let (repository, tag) = split_reference(named.map_or("<none>", String::as_str));
        let platform = format!("{}/{}", image.os, image.architecture);
        let size = u64::try_from(image.size).unwrap_or(0);
        list.push(json!({
            "ID": image.id, "ContainerName": member.name(), "Repository": repository, "Tag": tag, "Platform": platform,
            "Size": size, "Created": image.created, "LastTagTime": image.metadata.last_tag_time,
        }));
        let created = image
            .created
            .parse::<Timestamp>()
            .map_or_else(|_| "N/A".to_owned(), |t| human::ago(t.as_second(), now));
        let id = human::short_id(&image.id).to_owned();
        table.row(vec![
            member.name().to_owned(),
            repository,
            tag,
            platform,
            id,
            human::size(size),
            created,
        ]);
    }
    match args.format {
        ListFormat::Json => context.ui.line(&Value::Array(list).to_string()),
        ListFormat::Table => context.ui.line(&table.render()),
    }
}

/// Prints the project's volumes.
///
/// # Errors
/// The files are wrong, a service is unknown, or the engine cannot be asked.
pub(crate) async fn volumes(context: &Context, args: VolumesArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return volume::print(context, &[], args.quiet, args.format.as_deref());
    };
    let filters = Filters::new().label(format!("{}={}", members::PROJECT, target.name));
    let mut found = engine.volumes(&filters).await?.volumes;
    if !args.services.is_empty() {
        let used = members::of_services(&engine, &target, &args.services).await?;
        found.retain(|volume| {
            used.iter()
                .flat_map(|member| &member.summary.mounts)
                .any(|m| m.name == volume.name)
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    volume::print(context, &found, args.quiet, args.format.as_deref())
}

/// Prints the host's address of a published port.
///
/// # Errors
/// There is no such container, or it does not publish the port.
pub(crate) async fn port(context: &Context, args: PortArgs) -> Result<(), Failure> {
    let services = [args.service.clone()];
    let target = context.target(&services)?;
    let engine = connect::engine(context).await?;
    let found = members::of_services(&engine, &target, &services).await?;
    let member = members::pick(found, &args.service, args.index)?;
    let wanted = |port: &&PortSummary| {
        port.private_port == args.private_port
            && port.protocol == args.protocol
            && port.public_port.is_some()
    };
    match member.summary.ports.iter().find(wanted) {
        Some(port) => context.ui.line(&format!(
            "{}:{}",
            ports::host(&port.ip),
            port.public_port.unwrap_or(0)
        )),
        None => {
            let wanted = format!("{}/{}", args.private_port, args.protocol);
            let published = ports::summary(&member.summary.ports);
            let failure = Failure::new(format!("no port {wanted} for container {}", member.name()));
            Err(if published.is_empty() {
                failure
            } else {
                failure.hint(format!("its ports are: {published}"))
            })
        }
    }
}

/// Prints the processes of the project's running containers.
///
/// # Errors
/// The files are wrong, a service is unknown, or the engine cannot be asked.
pub(crate) async fn top(context: &Context, args: TopArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    let Some(engine) = connect::existing_engine(context).await? else {
        return Ok(());
    };
    let mut tables: Vec<Table> = Vec::new();
    let mut titles: Vec<String> = Vec::new();
    for member in members::of_services(&engine, &target, &args.services).await? {
        if !matches!(&*member.summary.state, "running" | "paused") {
            continue;
        }
        let top = engine.container_top(&member.summary.id).await?;
        if top.titles != titles || tables.is_empty() {
            let heading: Vec<&str> = ["SERVICE", "#"]
                .into_iter()
                .chain(top.titles.iter().map(String::as_str))
                .collect();
            tables.push(Table::tight(&heading));
            titles.clone_from(&top.titles);
        }
        if let Some(table) = tables.last_mut() {
            for process in top.processes {
                let mut row = vec![member.service.clone(), member.number.to_string()];
                row.extend(process);
                table.row(row);
            }
        }
    }
    tables
        .iter()
        .try_for_each(|table| context.ui.line(&table.render()))
}

/// The release of Docker Compose whose command line ours is; `docker compose version` says it, because scripts want a second one at least.
const COMPOSE_VERSION: &str = "2.40.3";

/// Prints hoist's version; needs no engine.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn version(context: &Context, args: &VersionArgs) -> Result<(), Failure> {
    let (name, version) = match context.ui.as_docker {
        true => ("Docker Compose", COMPOSE_VERSION),
        false => ("hoist", env!("CARGO_PKG_VERSION")),
    };
    if args.short {
        return context.ui.line(version);
    }
    match args.format.as_str() {
        "json" => context
            .ui
            .line(&json!({"version": format!("v{version}")}).to_string()),
        _ => context.ui.line(&format!("{name} version v{version}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_counted() {
        let container = |state: &str| ContainerSummary {
            state: state.into(),
            ..ContainerSummary::default()
        };
        let containers = [
            container("running"),
            container("exited"),
            container("running"),
        ];
        assert_eq!(combined_status(&containers), "exited(1), running(2)");
    }
}
