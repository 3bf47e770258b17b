//! Builds an image from a Dockerfile in memory and shows the steps as they begin and end. Builds of this form are an
//! engine's of ours; Docker's engine builds for clients of BuildKit's protocol.
//!
//! ```text
//! cargo run -p hoist-api --example build -- greeting
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::build::{BuildEvent, BuildRequest, DockerfileSource};
use hoist_api::client::Client;
use hoist_api::{Engine, Result};

const DOCKERFILE: &str = "FROM busybox
RUN echo hello > /greeting
CMD cat /greeting
";

#[tokio::main]
async fn main() -> Result<()> {
    let tag = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "greeting".to_owned());
    let engine = Client::from_environment()?;
    let request = BuildRequest {
        dockerfile: DockerfileSource::Text(DOCKERFILE.to_owned()),
        tags: vec![tag],
        ..BuildRequest::default()
    };
    let mut events = engine.image_build(&request, None).await?;
    while let Some(event) = events.next().await {
        match event? {
            BuildEvent::Started { step, .. } => println!("{}: {}", step.id, step.name),
            BuildEvent::Output { step, text, .. } => print!("{step}: {text}"),
            BuildEvent::Done { step, cached, .. } => {
                println!("{step}: {}", if cached { "known already" } else { "done" });
            }
            BuildEvent::Failed(failure) => println!("failed: {}", failure.message),
            BuildEvent::Finished(result) => println!("made {}", result.tags.join(", ")),
            BuildEvent::Progress { .. } | BuildEvent::Warning(_) => {}
        }
    }
    Ok(())
}
