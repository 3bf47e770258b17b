//! Attaches to a container before it starts, writes to its standard input, and reads what it makes of that.
//!
//! ```text
//! cargo run -p hoist-api --example attach -- busybox sort
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::client::Client;
use hoist_api::container::{AttachOptions, ContainerConfig, ContainerCreate, RemoveContainer};
use hoist_api::{Engine, ErrorKind, Result};
use tokio::io::AsyncWriteExt as _;

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let image = words.next().unwrap_or_else(|| "busybox".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let config = ContainerConfig {
        image,
        cmd: Some(words.collect()),
        open_stdin: true,
        // The first who leaves closes it: the command sees the end of its input.
        stdin_once: true,
        ..ContainerConfig::default()
    };
    let body = ContainerCreate {
        config,
        ..ContainerCreate::default()
    };
    let container = engine.container_create("", &body).await?.id;
    let options = AttachOptions {
        stdin: true,
        ..AttachOptions::default()
    };
    let mut attached = engine.container_attach(&container, options).await?;
    engine.container_start(&container).await?;
    let sent = async {
        attached.input.write_all(b"pear\napple\nplum\n").await?;
        attached.input.shutdown().await
    };
    if let Err(error) = sent.await {
        return Err(hoist_api::ApiError::new(
            ErrorKind::Unreachable,
            error.to_string(),
        ));
    }
    while let Some(frame) = attached.output.next().await {
        print!("{}", String::from_utf8_lossy(&frame?.data));
    }
    engine
        .container_remove(
            &container,
            RemoveContainer {
                force: true,
                ..RemoveContainer::default()
            },
        )
        .await
}
