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
//! # What can go wrong
//! Every failure is an [`crate::ApiError`]; its kind is what a program decides by ([`crate::ErrorKind::NotFound`],
//! [`crate::ErrorKind::Conflict`], …), its message what a person reads. An engine that closes the connection, that does not answer, or
//! whose answer breaks off is [`crate::ErrorKind::Unreachable`]; an answer that is none of the API's is
//! [`crate::ErrorKind::Protocol`]. A stream tells a failure in its middle as its last item. A call is given up by dropping its future or
//! stream: the connection is closed, and the engine ends what it does for nobody else (a build, a pull). [`Client::with_timeout`] limits
//! how long a silent engine is waited for.
//!
//! # Versions
//! A client asks for API 1.51. [`Client::negotiated`] asks for less when the engine speaks less, down to 1.24; older engines leave out
//! what they do not know.
//!
//! It speaks only Docker's Engine API (and, for [`Client::status`] and [`Client::stop_engine`], our own paths under
//! `/hoist/`), so that it drives Docker's engine as well. It keeps connections open between calls and never
//! starts an engine: when nothing answers, the error's kind is [`crate::ErrorKind::Unreachable`].

mod connection;
mod containers;
mod engine;
mod further;
mod images;
mod objects;
mod request;
mod streams;
pub mod tls;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::system::{EngineStatus, Ping};
use connection::Pool;
use request::Call;

pub use containers::{BodyStream, StatsStream};
pub use further::{Checkpoint, CheckpointCreate, ClassicBuild};
pub use tls::TlsConfig;
pub use transport::{Connection, Endpoint, ParseEndpointError};

/// Where an engine of ours listens when nothing else is said.
const USUAL_SOCKET: &str = "/run/hoist/hoist.sock";

/// A client of one engine. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
    version: (u16, u16),
    timeout: Option<Duration>,
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
            timeout: None,
        }
    }

    /// The same client, which waits no longer for an engine that says nothing: until it accepts the connection and begins to answer,
    /// and for the rest of an answer that is read as a whole. Streams may take as long as they like once they have begun, and so may
    /// the answer to a body that is streamed. A stop, restart or wait answers when it is done: without a limit, or a longer one. What
    /// takes too long is [`crate::ErrorKind::Unreachable`]. Without this call there is no limit; dropping a future gives its call up at
    /// any time.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use hoist_api::client::Client;
    ///
    /// let patient = Client::new("/run/hoist/hoist.sock");
    /// let hasty = patient.clone().with_timeout(Duration::from_secs(5));
    /// # let _ = hasty;
    /// ```
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
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

    /// Asks an engine of ours to stay when it has nothing to run, until it is told to leave.
    ///
    /// # Errors
    /// When no engine answers, or one that is not ours.
    pub async fn keep_engine(&self) -> Result<()> {
        self.empty(Call::post("/hoist/engine/stay").unversioned())
            .await
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
