//! Runs a command on a terminal in a running container, with a size of its own.
//!
//! ```text
//! cargo run -p hoist-api --example exec -- web sh -c 'stty size; tty'
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use futures_util::StreamExt as _;
use hoist_api::client::Client;
use hoist_api::engine::TerminalSize;
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::{Engine, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let container = words.next().unwrap_or_else(|| "web".to_owned());
    let engine = Client::from_environment()?.negotiated().await?;
    let size = Some([30, 100]);
    let body = ExecCreate {
        attach_stdout: true,
        tty: true,
        console_size: size,
        cmd: words.collect(),
        ..ExecCreate::default()
    };
    let exec = engine.exec_create(&container, &body).await?.id;
    let start = ExecStart {
        tty: true,
        console_size: size,
        ..ExecStart::default()
    };
    let mut attached = engine.exec_start(&exec, &start).await?;
    if engine.api_version() < (1, 42) {
        // Older engines do not read `console_size`.
        let (height, width) = (30, 100);
        let size = TerminalSize { height, width };
        engine.exec_resize(&exec, size).await?;
    }
    while let Some(frame) = attached.output.next().await {
        print!("{}", String::from_utf8_lossy(&frame?.data));
    }
    let exit_code = engine.exec_inspect(&exec).await?.exit_code;
    println!("exit code {}", exit_code.unwrap_or_default());
    Ok(())
}
