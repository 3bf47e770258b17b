//! The engine as the builder behind BuildKit's protocol.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use hoist_api::build::{BuildPrune, BuildPruned, BuildRequest};
use hoist_api::error::{ApiError, Result};
use hoist_api::system::BuildCacheRecord;
use hoist_buildkit::{Builder, Describe, Events, ImageConfig, Look, Seen, Session, Tree};
use hoist_dockerfile::Diagnostic;
use serde_json::Value;
use tokio::sync::mpsc;

use super::build::{Logins, Plan, look};
use super::images::PieceReader;
use super::{Service, image_error};

/// Bytes of an archive that are read at a time.
const PIECE: usize = 256 << 10;
/// Pieces that wait for whoever unpacks them.
const QUEUE: usize = 4;

/// Builds with this engine.
#[derive(Debug)]
pub(crate) struct EngineBuilder(pub(crate) Arc<Service>);

impl Builder for EngineBuilder {
    fn build(
        &self,
        request: BuildRequest,
        context: Option<File>,
        session: Arc<Session>,
    ) -> BoxFuture<'_, Result<Events>> {
        Box::pin(async move {
            let asking = (Plan::default(), Some(session));
            let events = self.0.image_build(request, pieces(context), asking).await?;
            let events = stream::unfold(events, |mut events| async move {
                events.recv().await.map(|event| (event, events))
            });
            Ok(events.boxed())
        })
    }

    fn describe(&self, what: Describe, text: &[u8], request: &BuildRequest) -> Result<Value> {
        let text = String::from_utf8_lossy(text);
        let file = hoist_dockerfile::parse(&text).map_err(|findings| {
            let first = findings.first();
            let line = |finding: &Diagnostic| {
                format!(
                    "dockerfile parse error on line {}: {}",
                    finding.span.line, finding.message
                )
            };
            ApiError::bad_request(first.map_or_else(String::new, line))
        })?;
        match what {
            Describe::Targets => Ok(file.targets()),
            Describe::Outline => {
                let outline = file.outline(&request.target, &request.args);
                outline.ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "target stage \"{}\" could not be found",
                        request.target
                    ))
                })
            }
        }
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<BuildCacheRecord>>> {
        Box::pin(self.0.build_usage())
    }

    fn look(&self, tree: Tree, path: String, look: Look) -> BoxFuture<'_, Result<Seen>> {
        Box::pin(self.0.blocking(move |service| {
            look::look(service, &tree, (&path, &look)).map_err(|error| {
                let message = hoist_api::error::chain(&error);
                match error {
                    crate::build::error::BuildError::NotFound(_) => ApiError::not_found(message),
                    _ => ApiError::bad_request(message),
                }
            })
        }))
    }

    fn image_config(&self, reference: String) -> BoxFuture<'_, Result<ImageConfig>> {
        Box::pin(async move {
            let image = self.0.images.resolve(&reference).map_err(image_error)?;
            let config = serde_json::to_vec(&image.config);
            Ok(ImageConfig {
                reference,
                digest: image.manifest.to_string(),
                config: config.map_err(|error| ApiError::internal(&error))?,
            })
        })
    }

    fn push(&self, name: String, session: Arc<Session>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let logins = Logins::new(BTreeMap::new(), Some(session));
            self.0.push_built(&name, &logins).await
        })
    }

    fn prune(&self, options: BuildPrune) -> BoxFuture<'_, Result<BuildPruned>> {
        Box::pin(self.0.build_prune(options))
    }
}

/// A file as an archive that comes in pieces; without one there is nothing.
fn pieces(file: Option<File>) -> PieceReader {
    let (sender, receiver) = mpsc::channel(QUEUE);
    if let Some(mut file) = file {
        tokio::task::spawn_blocking(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece).map(|length| {
                    piece.truncate(length);
                    Bytes::from(piece)
                });
                if matches!(&read, Ok(piece) if piece.is_empty()) {
                    return;
                }
                let is_broken = read.is_err();
                if sender.blocking_send(read).is_err() || is_broken {
                    return;
                }
            }
        });
    }
    PieceReader::new(receiver)
}
