//! What a container uses, once and at once.
//!
//! ```text
//! cargo run -p hoist-api --example stats -- web
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::Result;
use hoist_api::client::Client;
use hoist_api::stats::StatsMode;

#[tokio::main]
async fn main() -> Result<()> {
    let container = std::env::args().nth(1).unwrap_or_else(|| "web".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let mut moments = engine
        .container_stats(&container, StatsMode::OneShot)
        .await?;
    while let Some(moment) = moments.next().await {
        let moment = moment?;
        let (used, limit) = (moment.memory_stats.usage, moment.memory_stats.limit);
        println!("memory {used} of {limit}");
        println!("processes {}", moment.pids_stats.current);
    }
    Ok(())
}
