//! `hoist events`: what happens to the project's containers, as it happens.

use clap::Args;
use futures_util::StreamExt;
use hoist_api::event::{Event, EventsOptions};
use hoist_api::{Engine, Filters};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::connect;
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::members;
use crate::signals;
use crate::when;

/// Show what happens to the containers, as it happens
#[derive(Args, Debug, Clone)]
pub(crate) struct EventsArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// Also what has happened since a time, or for so long back (42m)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Only what happens before a time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// Prints events until `--until`, an interrupt, or the engine's end.
///
/// # Errors
/// A service or time is wrong, the engine was lost, or it was interrupted.
pub(crate) async fn run(context: &Context, args: EventsArgs) -> Result<(), Failure> {
    let target = context.target(&args.services)?;
    let options = EventsOptions {
        since: when::optional(args.since.as_deref(), "--since")?,
        until: when::optional(args.until.as_deref(), "--until")?,
        filters: Filters::new().with("type", "container").label(format!(
            "{}={}",
            members::PROJECT,
            target.name
        )),
    };
    let engine = connect::engine(context).await?;
    let mut events = engine.events(&options).await?;
    let following = async {
        while let Some(event) = events.next().await {
            print(context, &args, &event?)?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = following => outcome,
        () = signals::interrupted() => Err(Failure::exit(INTERRUPTED)),
    }
}

fn print(context: &Context, args: &EventsArgs, event: &Event) -> Result<(), Failure> {
    let attributes = &event.actor.attributes;
    let service = attributes.get(members::SERVICE).map_or("", String::as_str);
    let one_off = attributes
        .get(members::ONE_OFF)
        .is_some_and(|text| text == "True");
    let wanted = args.services.is_empty() || args.services.iter().any(|name| name == service);
    if one_off || !wanted {
        return Ok(());
    }
    let time = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or_default();
    let own = attributes
        .iter()
        .filter(|(key, _)| !key.starts_with("com.docker.compose."));
    if args.json {
        let attributes: Map<String, Value> = own
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let line = json!({
            "action": event.action, "attributes": attributes, "id": event.actor.id, "service": service,
            "time": time.to_string(), "type": "container",
        });
        return context.ui.line(&line.to_string());
    }
    let texts: Vec<String> = own.map(|(key, value)| format!("{key}={value}")).collect();
    context.ui.line(&format!(
        "{} container {} {} ({})",
        time.strftime("%Y-%m-%d %H:%M:%S.%6f"),
        event.action,
        event.actor.id,
        texts.join(", ")
    ))
}
