//! Building images: a request becomes a graph ([`prepare`]), the graph's steps are done ([`steps`]), their result becomes an image
//! ([`result`]). What steps are made of is in [`crate::build`].

mod allowed;
mod cache_image;
mod copy;
mod download;
mod fetch;
mod kept;
mod keys;
mod layout;
mod logins;
pub(crate) mod look;
mod network;
mod of_session;
mod place;
mod plan;
mod prepare;
mod result;
mod run;
mod run_mounts;
mod steps;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use hoist_api::build::{
    BuildCall, BuildEvent, BuildFailure, BuildPrune, BuildPruned, BuildRequest, BuildResult,
};
use hoist_api::error::{ApiError, Result};
use hoist_api::system::BuildCacheRecord;
use hoist_api::{Digest, ImageRef};
use hoist_buildkit::Session;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::images::PieceReader;
use super::pull::PullRequest;
use super::push::PushRequest;
use super::{Service, image_error, internal};
use crate::build::error::BuildError;
use crate::build::prune::{self, Candidate};
use crate::build::report::Reporter;
pub(crate) use download::stream as download;
pub(crate) use kept::{Ended, Keeping};
pub(crate) use logins::Logins;
use network::Sandboxes;
pub(crate) use plan::{LineBase, Plan, PlanLine, PlanLines};
use prepare::{Prepared, prepare, refusal};
use steps::Build;

/// Events that wait for a slow client.
const QUEUE: usize = 256;
/// Docker's word for directories that `RUN --mount=type=cache` keeps.
const CACHE_MOUNT: &str = "exec.cachemount";

/// Events of a build; dropping it ends the build.
pub(crate) type BuildEvents = mpsc::Receiver<BuildEvent>;

impl Service {
    /// A plan to be filled by a build that is told instruction by instruction.
    pub(crate) fn plan(self: &Arc<Self>, keeping: Keeping) -> Plan {
        Plan::new(self.builder.chains.clone(), Some((self.clone(), keeping)))
    }

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
        mut request: BuildRequest,
        (body, plan, logins): (PieceReader, Plan, Logins),
        (reporter, cancel): (Reporter, watch::Sender<bool>),
    ) -> Result<BuildResult, Box<BuildFailure>> {
        let trail = plan.is_told();
        let prepared = prepare(self, &request, (body, &reporter, &logins), trail).await?;
        let Prepared {
            graph,
            dockerfile,
            contexts,
            images,
            scratch,
            lines,
            imported,
        } = prepared;
        if trail && lines.is_nothing() {
            let nothing = "No image was generated. Is your Dockerfile empty?".to_owned();
            return Err(refusal(&BuildError::Refused(nothing)));
        }
        plan.set(lines);
        for warning in &graph.warnings {
            let warning = dockerfile.warning(warning);
            reporter.tell(BuildEvent::Warning(warning)).await;
        }
        if request.call == BuildCall::Check {
            return Ok(BuildResult::default());
        }
        let of_session = of_session::complete(&mut request, logins.session(), (&graph, &scratch));
        // They answer until the build is over.
        let _agents = of_session.await.map_err(|error| refusal(&error))?;
        let build = Arc::new(Build {
            service: self.clone(),
            request,
            graph,
            plan,
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
        if !result.image.is_empty() {
            self.emit_image("create", &result.image, &result.image);
        }
        for tag in &result.tags {
            self.emit_image("tag", &result.image, tag);
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

    /// Pushes an image that a build has made, with the build's credentials.
    pub(crate) async fn push_built(self: &Arc<Self>, name: &str, logins: &Logins) -> Result<()> {
        let image = super::images::image_name(name)?;
        let request = PushRequest {
            auth: logins.of(image.domain()).await?,
            image,
            goes_on: false,
        };
        let (lines, mut told) = mpsc::channel(QUEUE);
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        let pushing = super::report::Reporter::new(lines);
        self.image_push(&request, &pushing)
            .await
            .map_err(|error| ApiError {
                message: format!("cannot push {name}: {}", error.message),
                ..error
            })
    }

    /// What the build cache holds: steps' layers, each counted once, and cache mounts.
    pub(crate) async fn build_usage(self: &Arc<Self>) -> Result<Vec<BuildCacheRecord>> {
        self.blocking(|service| {
            let candidates = service.build_records().into_iter();
            Ok(candidates.map(|candidate| candidate.record).collect())
        })
        .await
    }

    /// The records of the build cache. Blocks.
    fn build_records(&self) -> Vec<Candidate> {
        let images = self.images.list();
        let in_images: HashSet<Digest> = images
            .iter()
            .flat_map(|image| image.config.rootfs.diff_ids.iter().cloned())
            .collect();
        let mut counted = HashSet::new();
        let mut listed = Vec::new();
        for (key, record) in self.builder.cache.all() {
            let layer = record.layer.as_ref();
            let is_first = layer.is_some_and(|layer| counted.insert(layer.clone()));
            let size = if is_first { record.size } else { 0 };
            listed.push(Candidate {
                record: BuildCacheRecord {
                    id: key,
                    kind: "regular".to_owned(),
                    description: record.name,
                    in_use: false,
                    shared: layer.is_some_and(|layer| in_images.contains(layer)),
                    size: bytes(size),
                    created_at: record.made.to_string(),
                    last_used_at: Some(record.used.to_string()),
                    usage_count: 1,
                },
                used: record.used,
                size,
            });
        }
        let mounts = self.builder.mounts.usage().into_iter();
        listed.extend(mounts.map(|mount| Candidate {
            used: mount.used,
            size: mount.bytes,
            record: BuildCacheRecord {
                id: mount.name,
                kind: CACHE_MOUNT.to_owned(),
                description: "cached mount".to_owned(),
                in_use: mount.in_use,
                size: bytes(mount.bytes),
                // When it was made is not known, and clients refuse a record without a time.
                created_at: mount.used.to_string(),
                last_used_at: Some(mount.used.to_string()),
                usage_count: 1,
                ..BuildCacheRecord::default()
            },
        }));
        listed
    }

    /// Removes records of the build cache, and the space that only they hold.
    pub(crate) async fn build_prune(self: &Arc<Self>, options: BuildPrune) -> Result<BuildPruned> {
        let pruned = self.blocking(move |service| {
            let records = service.build_records();
            let kinds: HashMap<String, String> = records
                .iter()
                .map(|candidate| (candidate.record.id.clone(), candidate.record.kind.clone()))
                .collect();
            let now = (Timestamp::now(), service.free_bytes());
            let doomed = prune::doomed(records, &options, now)?;
            let (mounts, steps): (Vec<String>, Vec<String>) = doomed
                .into_iter()
                .partition(|id| kinds.get(id).is_some_and(|kind| kind == CACHE_MOUNT));
            service.builder.cache.remove(&steps).map_err(image_error)?;
            let mut reclaimed = service.images.reclaim();
            let mut caches_deleted = steps;
            for name in mounts {
                let removed = service.builder.mounts.remove(&name);
                if let Some(bytes) = removed.map_err(|error| internal(&error))? {
                    reclaimed += bytes;
                    caches_deleted.push(name);
                }
            }
            if options.all {
                service.builder.files.clear();
                service.builder.chains.clear();
            }
            Ok(BuildPruned {
                caches_deleted,
                space_reclaimed: bytes(reclaimed),
            })
        });
        let pruned = pruned.await?;
        self.emit_prune("builder", pruned.space_reclaimed);
        Ok(pruned)
    }

    /// What is free on the disk of the images; nothing when it cannot be told.
    fn free_bytes(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.config.root);
        disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
