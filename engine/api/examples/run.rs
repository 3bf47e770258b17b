//! Runs a command in a new container, shows what it writes as it writes it, and tells its exit code.
//!
//! ```text
//! cargo run -p hoist-api --example run -- busybox sh -c 'echo hello; echo oh >&2; exit 3'
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::client::Client;
use hoist_api::container::{
    ContainerConfig, ContainerCreate, LogsOptions, RemoveContainer, WaitCondition,
};
use hoist_api::{Engine, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let image = words.next().unwrap_or_else(|| "busybox".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let config = ContainerConfig {
        image,
        cmd: Some(words.collect()),
        ..ContainerConfig::default()
    };
    let body = ContainerCreate {
        config,
        ..ContainerCreate::default()
    };
    let container = engine.container_create("", &body).await?.id;
    engine.container_start(&container).await?;

    let follow = LogsOptions {
        follow: true,
        ..LogsOptions::default()
    };
    let mut output = engine.container_logs(&container, &follow).await?;
    while let Some(frame) = output.next().await {
        let frame = frame?;
        print!(
            "{:?}: {}",
            frame.stream,
            String::from_utf8_lossy(&frame.data)
        );
    }
    let ended = engine
        .container_wait(&container, WaitCondition::NotRunning)
        .await?;
    engine
        .container_remove(&container, RemoveContainer::default())
        .await?;
    println!("exit code {}", ended.status_code);
    Ok(())
}
