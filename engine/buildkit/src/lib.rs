//! BuildKit's protocol, as much of it as Docker's clients speak to build a Dockerfile.
//!
//! A client opens two HTTP/2 connections through the engine's socket. On `POST /grpc` it calls us ([`BuildKit::serve_grpc`]): it
//! asks for a build and follows its progress. On `POST /session` the roles are reversed ([`BuildKit::serve_session`]): we call the
//! client for the files of the build, for secrets, credentials and its SSH agent, and send results back.
//!
//! Nothing is built here. What a client asks for becomes a [`hoist_api::build::BuildRequest`], its files are brought into
//! directories that are kept between builds, and a [`Builder`] does the rest; its events go back in BuildKit's shape. Graphs of
//! BuildKit's own (LLB) are not carried out: the frontend `dockerfile.v0` is the only one.
#![forbid(unsafe_code)]

mod agents;
mod bridge;
mod builder;
mod calls;
mod contexts;
mod control;
mod export;
mod files;
mod grpc;
mod ignore;
mod jobs;
mod progress;
pub mod proto;
mod request;
mod session;
mod solve;
mod steps;
#[cfg(test)]
mod tests;
pub mod transfer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hoist_api::build::BuildRequest;
use hyper::rt::{Read, Write};

pub use agents::listen_for_agent;
pub use builder::{Builder, Describe, Events, ImageConfig, Look, Seen, Tree};
pub use contexts::{Context, Contexts, Usage};
pub use export::Exports;
pub use grpc::{Channel, ChannelError, Code, Messages, Status};
pub use ignore::patterns as ignore_patterns;
pub use progress::{Progress, Translator, failure_message, trace_line};
pub use session::{FilesWanted, Session, SessionError, SessionInfo, Sessions};
pub use solve::{Gathered, Kept};

use control::Control;
use jobs::Jobs;
use proto::control::Exporter;
use solve::Solver;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where contexts are kept between builds; belongs to this alone.
    pub contexts: PathBuf,
    /// The address that containers find the host by.
    pub host_gateway: Option<String>,
}

/// Sessions, builds, and who carries them out.
#[derive(Debug, Clone)]
pub struct BuildKit {
    control: Arc<Control>,
}

impl BuildKit {
    /// With a builder.
    #[must_use]
    pub fn new(config: Config, builder: Arc<dyn Builder>) -> Self {
        let solver = Solver {
            sessions: Sessions::default(),
            contexts: Contexts::new(config.contexts),
            builder,
        };
        Self {
            control: Arc::new(Control {
                solver: Arc::new(solver),
                jobs: Jobs::default(),
                host_gateway: config.host_gateway,
            }),
        }
    }

    /// Answers a client on its connection until it leaves.
    pub async fn serve_grpc<I>(&self, io: I)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        if let Err(error) = grpc::serve(io, self.control.clone()).await {
            // A client that goes away in the middle is no failure of ours.
            tracing::debug!(%error, "a client of the builder left early");
        }
    }

    /// Keeps a client's session open until its connection ends.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn serve_session<I>(&self, info: SessionInfo, io: I) -> Result<(), SessionError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        self.control.solver.sessions.serve(info, io).await
    }

    /// Brings what a build that comes by `POST /build` needs from its session: the context, the Dockerfile, secrets, agents.
    ///
    /// # Errors
    /// When the session does not come, or does not give what is needed.
    pub async fn gather(
        &self,
        session: &str,
        filename: &str,
        request: BuildRequest,
    ) -> Result<Gathered, Status> {
        self.control.solver.gather(session, filename, request).await
    }

    /// A session that is open, or comes within seconds.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn session(&self, id: &str) -> Result<Arc<Session>, Status> {
        self.control.solver.sessions.get(id).await
    }

    /// What a session that is open is to be sent of the result: `kind` and attributes of each, as in BuildKit's exporters. What is
    /// written lies in the directory, which goes with it.
    ///
    /// # Errors
    /// For what cannot be sent, and when there is no space for it.
    pub fn exports(
        &self,
        outputs: Vec<(String, BTreeMap<String, String>)>,
    ) -> Result<(Exports, Context), Status> {
        let place = self.control.solver.contexts.take("", "exports");
        let place = place.map_err(|error| {
            Status::new(Code::Internal, format!("no place for the exports: {error}"))
        })?;
        let exporters: Vec<Exporter> = outputs
            .into_iter()
            .map(|(kind, attrs)| Exporter { kind, attrs })
            .collect();
        Ok((Exports::read(&exporters, place.path())?, place))
    }

    /// What is kept between builds.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        self.control.solver.contexts.usage()
    }

    /// Removes what was kept between builds and not used for so long.
    #[must_use]
    pub fn prune(&self, unused: Duration) -> Vec<Usage> {
        self.control.solver.contexts.prune(unused)
    }
}
