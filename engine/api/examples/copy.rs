//! Copies a file into a container and out of it again, as tar archives. The container need not run.
//!
//! ```text
//! cargo run -p hoist-api --example copy -- web /tmp 'hello'
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::io::Read as _;

use futures_util::TryStreamExt as _;
use hoist_api::client::Client;
use hoist_api::engine::body_of;
use hoist_api::{ApiError, Engine, ErrorKind, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let container = words.next().unwrap_or_else(|| "web".to_owned());
    let directory = words.next().unwrap_or_else(|| "/tmp".to_owned());
    let text = words.next().unwrap_or_default();
    let engine = Client::from_environment()?.negotiated().await?;

    let archive = archive_of("note", &text).map_err(wrong)?;
    engine
        .container_put_archive(&container, &directory, body_of(archive))
        .await?;

    let path = format!("{directory}/note");
    let (stat, body) = engine.container_get_archive(&container, &path).await?;
    let pieces: Vec<_> = body.try_collect().await?;
    println!("{} has {} bytes", stat.name, stat.size);
    println!("{}", content_of(&pieces.concat()).map_err(wrong)?);
    Ok(())
}

fn archive_of(name: &str, text: &str) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, text.as_bytes())?;
    archive.into_inner()
}

/// The text of an archive's first file.
fn content_of(archive: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    if let Some(entry) = tar::Archive::new(archive).entries()?.next() {
        entry?.read_to_string(&mut text)?;
    }
    Ok(text)
}

fn wrong(error: std::io::Error) -> ApiError {
    ApiError::new(ErrorKind::Protocol, error.to_string())
}
