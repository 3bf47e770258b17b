//! Follows what happens to one container from now on, until it is removed.
//!
//! ```text
//! cargo run -p hoist-api --example events -- job
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::client::Client;
use hoist_api::event::EventsOptions;
use hoist_api::{Engine, Filters, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let container = std::env::args().nth(1).unwrap_or_else(|| "job".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let options = EventsOptions {
        filters: Filters::new()
            .with("type", "container")
            .with("container", &container),
        ..EventsOptions::default()
    };
    let mut events = engine.events(&options).await?;
    println!("listening");
    while let Some(event) = events.next().await {
        let event = event?;
        let exit_code = event.actor.attributes.get("exitCode");
        println!("{} {}", event.action, exit_code.map_or("", String::as_str));
        if event.action == "destroy" {
            break;
        }
    }
    Ok(())
}
