//! A volume that one container writes to and the next one reads.
//!
//! ```text
//! cargo run -p hoist-api --example volume -- notes
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::client::Client;
use hoist_api::container::{
    ContainerConfig, ContainerCreate, LogsOptions, RemoveContainer, WaitCondition,
};
use hoist_api::volume::VolumeCreate;
use hoist_api::{Engine, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let name = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "notes".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let volume = VolumeCreate {
        name: name.clone(),
        ..VolumeCreate::default()
    };
    println!("{}", engine.volume_create(&volume).await?.driver);
    run(&engine, &name, "echo kept > /data/note").await?;
    print!("{}", run(&engine, &name, "cat /data/note").await?);
    engine.volume_remove(&name, false).await
}

/// What a shell says that has the volume at `/data`.
async fn run(engine: &Client, volume: &str, line: &str) -> Result<String> {
    let mut body = ContainerCreate {
        config: ContainerConfig {
            image: "busybox".to_owned(),
            cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
            ..ContainerConfig::default()
        },
        ..ContainerCreate::default()
    };
    body.host_config.binds = vec![format!("{volume}:/data")];
    let container = engine.container_create("", &body).await?.id;
    engine.container_start(&container).await?;
    engine
        .container_wait(&container, WaitCondition::NotRunning)
        .await?;
    let mut output = engine
        .container_logs(&container, &LogsOptions::default())
        .await?;
    let mut said = String::new();
    while let Some(frame) = output.next().await {
        said += &String::from_utf8_lossy(&frame?.data);
    }
    engine
        .container_remove(&container, RemoveContainer::default())
        .await?;
    Ok(said)
}
