//! Building images: a request becomes a graph ([`prepare`]), the graph's steps are done ([`steps`]), their result becomes an image
//! ([`result`]). What steps are made of is in [`crate::build`].

mod allowed;
mod cache_image;
mod copy;
mod download;
mod fetch;
mod keys;
mod layout;
mod logins;
mod network;
mod place;
mod plan;
mod prepare;
mod result;
mod run;
mod run_mounts;
mod steps;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hoist_api::build::{
    BuildCall, BuildEvent, BuildFailure, BuildPrune, BuildPruned, BuildRequest, BuildResult,
};
use hoist_api::error::{ApiError, Result};
use hoist_api::system::BuildCacheRecord;
use hoist_api::{Digest, ImageRef};
use hoist_buildkit::Session;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::images::PieceReader;
use super::pull::PullRequest;
use super::{Service, image_error, internal};
use crate::build::error::BuildError;
use crate::build::report::Reporter;
use logins::Logins;
use network::Sandboxes;
pub(crate) use plan::{Plan, PlanLine};
use prepare::{Prepared, prepare, refusal};
use steps::Build;

/// Events that wait for a slow client.
const QUEUE: usize = 256;

/// Events of a build; dropping it ends the build.
pub(crate) type BuildEvents = mpsc::Receiver<BuildEvent>;

impl Service {
    /// Starts a build. What is wrong with the names that are asked for is an error; everything later is an event.
    pub(crate) async fn image_build(
        self: &Arc<Self>,
        request: BuildRequest,
        body: PieceReader,
        (plan, session): (Plan, Option<Arc<Session>>),
    ) -> Result<BuildEvents> {
        result::names(&request.tags).map_err(|error| ApiError::bad_request(error.to_string()))?;
        let (sender, events) = mpsc::channel(QUEUE);
        let (running, leaving) = self.builder.begin().await;
        let (reporter, cancel) = Reporter::new(sender, leaving);
        let service = self.clone();
        let logins = Logins::new(request.registries.clone(), session);
        tokio::spawn(async move {
            let ended = service
                .build(request, (body, plan, logins), (reporter.clone(), cancel))
                .await;
            let last = match ended {
                Ok(result) => BuildEvent::Finished(result),
                Err(failure) => BuildEvent::Failed(*failure),
            };
            reporter.tell(last).await;
            drop(running);
        });
        Ok(events)
    }

    async fn build(
        self: &Arc<Self>,
        request: BuildRequest,
        (body, plan, logins): (PieceReader, Plan, Logins),
        (reporter, cancel): (Reporter, watch::Sender<bool>),
    ) -> Result<BuildResult, Box<BuildFailure>> {
        let prepared = prepare(self, &request, (body, &reporter, &logins)).await?;
        let Prepared {
            graph,
            dockerfile,
            contexts,
            images,
            scratch,
            lines,
            imported,
        } = prepared;
        // Nobody else sets it.
        let _ = plan.set(lines);
        for warning in &graph.warnings {
            let warning = dockerfile.warning(warning);
            reporter.tell(BuildEvent::Warning(warning)).await;
        }
        if request.call == BuildCall::Check {
            return Ok(BuildResult::default());
        }
        let build = Arc::new(Build {
            service: self.clone(),
            request,
            graph,
            dockerfile,
            contexts,
            images,
            reporter,
            cancel,
            sandboxes: Sandboxes::default(),
            scratch,
            done: Mutex::default(),
            imported,
            logins,
            touched: Mutex::default(),
            fresh: Mutex::default(),
        });
        let executed = build.execute().await;
        build.sandboxes.leave(self).await;
        let result = match executed {
            Ok(output) => {
                let delivering = build.clone();
                let delivered =
                    tokio::task::spawn_blocking(move || delivering.deliver(&output)).await;
                delivered
                    .map_err(|error| {
                        BuildError::io("make", "the image", std::io::Error::other(error))
                    })
                    .and_then(|result| result)
                    .map_err(|error| refusal(&error))
            }
            Err(failure) => Err(Box::new(build.explain(failure))),
        };
        self.remember().await;
        if let Ok(result) = &result {
            self.tell_built(result);
        }
        result
    }

    /// Writes what was learnt; a failure only means that it is learnt again.
    async fn remember(self: &Arc<Self>) {
        let saved = self.blocking(|service| {
            service
                .builder
                .files
                .save()
                .map_err(|error| internal(&error))?;
            service.builder.cache.keep().map_err(image_error)
        });
        if let Err(error) = saved.await {
            tracing::warn!(%error, "the build cache is not remembered");
        }
    }

    fn tell_built(&self, result: &BuildResult) {
        for tag in &result.tags {
            let actor =
                crate::events::actor(&result.image, &Default::default(), [("name", tag.clone())]);
            self.events.publish("image", "tag", actor);
        }
    }

    /// Pulls an image that a build begins with.
    async fn pull_for_build(
        self: &Arc<Self>,
        reference: &str,
        (build, logins): (&Reporter, &Logins),
    ) -> Result<()> {
        let image: ImageRef = reference
            .parse()
            .map_err(|_| ApiError::not_found(format!("No such image: {reference}")))?;
        let (lines, mut told) = mpsc::channel(QUEUE);
        let pulling = super::report::Reporter::new(lines);
        let request = PullRequest {
            auth: logins.of(image.domain()).await?,
            image,
            platform: None,
        };
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        tokio::select! {
            pulled = self.image_pull(&request, &pulling) => pulled.map(drop).map_err(|error| ApiError {
                message: format!("cannot pull {reference}: {}", error.message),
                ..error
            }),
            () = build.cancelled() => Err(internal(&BuildError::Cancelled)),
        }
    }

    /// What the build cache holds: steps' layers, each counted once, and cache mounts.
    pub(crate) async fn build_usage(self: &Arc<Self>) -> Result<Vec<BuildCacheRecord>> {
        self.blocking(|service| {
            let images = service.images.list();
            let in_images: HashSet<Digest> = images
                .iter()
                .flat_map(|image| image.config.rootfs.diff_ids.iter().cloned())
                .collect();
            let mut counted = HashSet::new();
            let mut listed = Vec::new();
            for (key, record) in service.builder.cache.all() {
                let layer = record.layer.as_ref();
                let is_first = layer.is_some_and(|layer| counted.insert(layer.clone()));
                listed.push(BuildCacheRecord {
                    id: key,
                    kind: "regular".to_owned(),
                    description: record.name,
                    in_use: false,
                    shared: layer.is_some_and(|layer| in_images.contains(layer)),
                    size: if is_first { bytes(record.size) } else { 0 },
                    created_at: record.made.to_string(),
                    last_used_at: Some(record.used.to_string()),
                    usage_count: 1,
                });
            }
            let mounts = service.builder.mounts.usage().into_iter();
            listed.extend(mounts.map(|(id, size, in_use)| BuildCacheRecord {
                id,
                kind: "exec.cachemount".to_owned(),
                description: "cached mount".to_owned(),
                in_use,
                size: bytes(size),
                usage_count: 1,
                ..BuildCacheRecord::default()
            }));
            Ok(listed)
        })
        .await
    }

    /// Removes records of the build cache, and the space that only they hold.
    pub(crate) async fn build_prune(self: &Arc<Self>, options: BuildPrune) -> Result<BuildPruned> {
        self.blocking(move |service| {
            let before = Timestamp::now()
                .checked_sub(SignedDuration::from_secs(options.unused_for))
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            let keep = u64::try_from(options.keep_storage).unwrap_or(0);
            let mut caches_deleted = service
                .builder
                .cache
                .prune(before, keep)
                .map_err(image_error)?;
            let mut reclaimed = service.images.reclaim();
            if options.unused_for == 0 && keep == 0 {
                service.builder.files.clear();
                let (number, bytes) = service
                    .builder
                    .mounts
                    .prune()
                    .map_err(|error| internal(&error))?;
                reclaimed += bytes;
                caches_deleted.extend((0..number).map(|index| format!("mount-{index}")));
            }
            Ok(BuildPruned {
                caches_deleted,
                space_reclaimed: i64::try_from(reclaimed).unwrap_or(i64::MAX),
            })
        })
        .await
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
