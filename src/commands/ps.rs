//! `hoist ps`: the project's containers.

use std::collections::BTreeSet;

use clap::Args;
use hoist_api::container::ContainerSummary;
use hoist_api::inspect::MountPoint;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::members::{self, Member};
use crate::ports;
use crate::ui::human;

/// List the containers of the project
#[derive(Args, Debug, Clone)]
pub(crate) struct PsArgs {
    /// Services to list (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Only the names of the services
    #[arg(long = "services")]
    pub(crate) only_services: bool,

    /// Only containers in this state; repeatable
    #[arg(long, value_name = "STATUS", value_parser = ["paused", "restarting", "removing", "running", "dead", "created", "exited"])]
    pub(crate) status: Vec<String>,

    /// Only containers of which this holds (status=STATUS)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,

    /// table, json (one object a line), or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Do not shorten commands
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Also containers of services that the file no longer has
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) orphans: bool,
}

/// Prints the project's containers.
///
/// # Errors
/// The files are wrong, a service is unknown, or the engine cannot be asked.
pub(crate) async fn run(context: &Context, args: PsArgs) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let wanted = wanted_states(&args)?;
    let target = context.target(&args.services)?;
    // Without an engine nothing of the project can exist.
    let members = match connect::existing_engine(context).await? {
        Some(engine) => members::with_runs(&engine, &target, &args.services).await?,
        None => Vec::new(),
    };
    let in_files = |member: &Member| {
        args.orphans
            || target
                .project
                .as_ref()
                .is_none_or(|project| project.services.contains_key(&member.service))
    };
    let all = args.all || !wanted.is_empty();
    let mut shown: Vec<Member> = members
        .into_iter()
        .filter(|member| {
            all || matches!(
                member.summary.state.as_str(),
                "running" | "paused" | "restarting"
            )
        })
        .filter(|member| wanted.is_empty() || wanted.contains(&member.summary.state))
        .filter(|member| in_files(member) && (args.all || !member.one_off))
        .collect();
    shown.sort_by(|a, b| a.name().cmp(b.name()));
    print(context, &shown, &args, &format)
}

fn wanted_states(args: &PsArgs) -> Result<Vec<String>, Failure> {
    let mut wanted = args.status.clone();
    if let Some(filter) = &args.filter {
        match filter.split_once('=') {
            Some(("status", status)) => wanted.push(status.to_owned()),
            _ => {
                return Err(Failure::new(format!("cannot filter by \"{filter}\""))
                    .hint("--filter takes status=STATUS"));
            }
        }
    }
    Ok(wanted)
}

const COLUMNS: &Columns = &[
    ("Name", "NAME"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("Service", "SERVICE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
];

fn print(
    context: &Context,
    members: &[Member],
    args: &PsArgs,
    format: &Format,
) -> Result<(), Failure> {
    let ui = &context.ui;
    if args.quiet {
        return members
            .iter()
            .try_for_each(|member| ui.line(&member.summary.id));
    }
    if args.only_services {
        let services: BTreeSet<&str> = members
            .iter()
            .map(|member| member.service.as_str())
            .collect();
        return services
            .into_iter()
            .try_for_each(|service| ui.line(service));
    }
    let rows: Vec<Value> = members
        .iter()
        .map(|member| Row::of(&member.summary, args.no_trunc).json())
        .collect();
    listing::print(ui, format, COLUMNS, &rows)
}

/// A container as lists show it, in Docker's words and with Docker's JSON keys.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: String,
    pub(crate) service: String,
    pub(crate) running_for: String,
    pub(crate) status: String,
    pub(crate) ports: String,
    summary: ContainerSummary,
}

impl Row {
    /// What is shown of a container; ids and commands are shortened unless they are wanted whole.
    pub(crate) fn of(summary: &ContainerSummary, whole: bool) -> Row {
        let command = if whole {
            summary.command.clone()
        } else {
            human::ellipsis(&summary.command, 20)
        };
        let id = if whole {
            summary.id.clone()
        } else {
            human::short_id(&summary.id).to_owned()
        };
        Row {
            id,
            name: members::container_name(summary).to_owned(),
            image: summary.image.clone(),
            command: human::quoted(&command),
            service: summary
                .labels
                .get(members::SERVICE)
                .cloned()
                .unwrap_or_default(),
            running_for: human::ago(summary.created, Timestamp::now().as_second()),
            status: summary.status.clone(),
            ports: ports::summary(&summary.ports),
            summary: summary.clone(),
        }
    }

    /// The object of `ps --format json`.
    pub(crate) fn json(&self) -> Value {
        let s = &self.summary;
        let joined = |texts: Vec<String>| texts.join(",");
        let publishers: Vec<Value> = s
            .ports
            .iter()
            .map(|port| {
                json!({
                    "URL": port.ip, "TargetPort": port.private_port,
                    "PublishedPort": port.public_port.unwrap_or(0), "Protocol": port.protocol,
                })
            })
            .collect();
        let mount = |m: &MountPoint| {
            if m.name.is_empty() {
                m.source.clone()
            } else {
                m.name.clone()
            }
        };
        let local_volumes = s
            .mounts
            .iter()
            .filter(|m| m.kind == "volume" && m.driver == "local")
            .count();
        json!({
            "Command": self.command,
            "CreatedAt": created_at(s.created),
            "ExitCode": members::exit_code(&s.status),
            "Health": health(&s.status),
            "ID": self.id,
            "Image": s.image,
            "Labels": joined(s.labels.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            "LocalVolumes": local_volumes.to_string(),
            "Mounts": joined(s.mounts.iter().map(mount).collect()),
            "Name": self.name,
            "Names": self.name,
            "Networks": joined(s.network_settings.networks.keys().cloned().collect()),
            "Ports": self.ports,
            "Project": s.labels.get(members::PROJECT).cloned().unwrap_or_default(),
            "Publishers": publishers,
            "RunningFor": self.running_for,
            "Service": self.service,
            "Size": human::size(s.size_rw.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)),
            "State": s.state,
            "Status": s.status,
        })
    }
}

/// As Go prints a time: "2026-11-21 12:00:00 +0000 UTC".
fn created_at(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// The word in "Up 3 seconds (healthy)", else nothing.
fn health(status: &str) -> &'static str {
    match status {
        s if s.ends_with("(healthy)") => "healthy",
        s if s.ends_with("(unhealthy)") => "unhealthy",
        s if s.ends_with("(health: starting)") => "starting",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_health() {
        assert_eq!(health("Up 3 seconds (healthy)"), "healthy");
        assert_eq!(health("Up 3 seconds (health: starting)"), "starting");
        assert_eq!(health("Up 3 seconds (Paused)"), "");
    }

    #[test]
    fn json_has_the_references_keys() {
        let summary = ContainerSummary {
            id: "0123456789abcdef".into(),
            names: vec!["/shop-web-1".into()],
            command: "nginx -g 'daemon off;'".into(),
            created: 1_767_360_217,
            status: "Up 3 seconds (healthy)".into(),
            state: "running".into(),
            ..ContainerSummary::default()
        };
        let json = Row::of(&summary, false).json();
        let object = json.as_object().expect("a row is an object");
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        let expected = "Command CreatedAt ExitCode Health ID Image Labels LocalVolumes Mounts Name Names Networks Ports Project \
            Publishers RunningFor Service Size State Status";
        assert_eq!(keys.join(" "), expected);
        assert_eq!(json["CreatedAt"], "2026-01-02 13:23:37 +0000 UTC");
        assert_eq!(json["Command"], "\"nginx -g 'daemon of…\"");
        assert_eq!(json["ID"], "0123456789ab");
        assert_eq!(json["Name"], "shop-web-1");
    }
}
