//! The typed client: [`crate::Engine`] over HTTP on a unix socket, on TCP with or without TLS, or through `ssh`.
//!
//! ```no_run
//! # async fn example() -> hoist_api::Result<()> {
//! use hoist_api::Engine as _;
//! use hoist_api::client::{Client, Endpoint};
//! use hoist_api::container::ListContainers;
//!
//! let engine = Client::connect(Endpoint::parse("unix:///run/hoist/hoist.sock")?).negotiated().await?;
//! for container in engine.containers(&ListContainers::default()).await? {
//!     println!("{} {}", container.id, container.status);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Programs that do one thing each are in `engine/api/examples`: run a command, `exec` on a terminal, attach with input, copy, build,
//! follow events, read statistics, networks, volumes. `cargo run -p hoist-api --example run -- busybox echo hello` runs one.
//!
//! It speaks only Docker's Engine API (and, for [`Client::status`] and [`Client::stop_engine`], our own paths under
//! `/hoist/`), so that it drives Docker's engine as well. It keeps connections open between calls and never
//! starts an engine: when nothing answers, the error's kind is [`crate::ErrorKind::Unreachable`].

mod connection;
mod containers;
mod engine;
mod images;
mod objects;
mod request;
mod streams;
pub mod tls;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::system::{EngineStatus, Ping};
use connection::Pool;
use request::Call;

pub use containers::{BodyStream, StatsStream};
pub use tls::TlsConfig;
pub use transport::{Connection, Endpoint, ParseEndpointError};

/// Where an engine of ours listens when nothing else is said.
const USUAL_SOCKET: &str = "/run/hoist/hoist.sock";

/// A client of one engine. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    version: (u16, u16),
}

impl Client {
    /// A client of the engine at a socket; connects on the first call.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::connect(Endpoint::Unix(socket.into()))
    }

    /// A client of the engine at an endpoint; connects on the first call.
    #[must_use]
    pub fn connect(endpoint: Endpoint) -> Self {
        Self {
            pool: Arc::new(Pool::new(endpoint)),
            version: crate::API_VERSION,
        }
    }

    /// A client of the engine that the environment names: the address in `HOIST_HOST`, else in `DOCKER_HOST`, else an engine
    /// of ours at its usual place. Certificates and contexts are the command line's business.
    ///
    /// # Errors
    /// The address is none.
    pub fn from_environment() -> Result<Self> {
        let named = ["HOIST_HOST", "DOCKER_HOST"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok());
        match named.into_iter().find(|address| !address.is_empty()) {
            Some(address) => Ok(Self::connect(Endpoint::parse(&address)?)),
            None => Ok(Self::new(USUAL_SOCKET)),
        }
    }

    /// Where the engine is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.pool.endpoint()
    }

    /// The API version it asks for.
    #[must_use]
    pub fn api_version(&self) -> (u16, u16) {
        self.version
    }

    /// The same client speaking the newest version that the engine speaks too. Not needed with an engine of ours.
    ///
    /// # Errors
    /// When no engine answers.
    pub async fn negotiated(self) -> Result<Self> {
        let ping: Ping = crate::Engine::ping(&self).await?;
        let server = request::parse_version(&ping.api_version).unwrap_or(crate::MIN_API_VERSION);
        Ok(Self {
            version: self.version.min(server),
            ..self
        })
    }

    /// Facts about an engine of ours.
    ///
    /// # Errors
    /// When no engine answers, or one that is not ours.
    pub async fn status(&self) -> Result<EngineStatus> {
        self.json(Call::get("/hoist/status").unversioned()).await
    }

    /// Asks an engine of ours to leave; with `containers` it stops everything it runs before.
    /// The answer comes when that is done, just before the engine leaves.
    ///
    /// # Errors
    /// When no engine answers, or one that is not ours.
    pub async fn stop_engine(&self, containers: bool) -> Result<()> {
        let call = Call::post("/hoist/engine/stop")
            .unversioned()
            .flag("containers", containers);
        self.empty(call).await
    }
}
