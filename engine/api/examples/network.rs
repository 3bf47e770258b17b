//! A network, a container on it under a second name, another one that asks for it by that name; then all of it gone.
//!
//! ```text
//! cargo run -p hoist-api --example network -- backend
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::collections::BTreeMap;

use hoist_api::client::Client;
use hoist_api::container::{
    ContainerConfig, ContainerCreate, NetworkingConfig, RemoveContainer, WaitCondition,
};
use hoist_api::network::{EndpointSettings, NetworkCreate};
use hoist_api::{Engine, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let name = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "backend".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let network = NetworkCreate {
        name: name.clone(),
        ..NetworkCreate::default()
    };
    engine.network_create(&network).await?;
    let server = start(&engine, &name, &["store"], "sleep 1000").await?;
    let client = start(&engine, &name, &[], "ping -c 1 -w 10 store").await?;
    let ended = engine
        .container_wait(&client, WaitCondition::NotRunning)
        .await?;
    println!("ping ended with {}", ended.status_code);

    let on_it = engine.network_inspect(&name).await?.containers;
    println!("{} container on it", on_it.len());
    for container in [&server, &client] {
        let force = RemoveContainer {
            force: true,
            ..RemoveContainer::default()
        };
        engine.container_remove(container, force).await?;
    }
    engine.network_remove(&name).await
}

async fn start(engine: &Client, network: &str, aliases: &[&str], line: &str) -> Result<String> {
    let endpoint = EndpointSettings {
        aliases: Some(aliases.iter().map(|alias| (*alias).to_owned()).collect()),
        ..EndpointSettings::default()
    };
    let mut body = ContainerCreate {
        config: ContainerConfig {
            image: "busybox".to_owned(),
            cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
            ..ContainerConfig::default()
        },
        networking_config: NetworkingConfig {
            endpoints_config: BTreeMap::from([(network.to_owned(), endpoint)]),
        },
        ..ContainerCreate::default()
    };
    network.clone_into(&mut body.host_config.network_mode);
    let container = engine.container_create("", &body).await?.id;
    engine.container_start(&container).await?;
    Ok(container)
}
