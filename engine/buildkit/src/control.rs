//! The calls that come in on `POST /grpc`, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hoist_api::build::BuildPrune;
use hoist_api::system::BuildCacheRecord;
use hyper::Response;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::grpc::{self, Body, Call, Code, Service, Status, frame, respond};
use crate::jobs::Jobs;
use crate::progress::Progress;
use crate::proto::control::{
    BytesMessage, DiskUsageResponse, InfoResponse, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, UsageRecord,
};
use crate::proto::session::HealthResponse;
use crate::proto::{BuildkitVersion, Platform, Timestamp, WorkerRecord};
use crate::session::SessionInfo;
use crate::solve::{Solver, Wanted, status};

/// The BuildKit that Docker's clients of today expect to meet.
const SPEAKS_LIKE: &str = "v0.25.1";
/// What `/session` tunnels at a time.
const TUNNEL: usize = 64 << 10;

/// Answers calls.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) solver: Arc<Solver>,
    pub(crate) jobs: Jobs,
    /// What a container finds the host by.
    pub(crate) host_gateway: Option<String>,
}

pub(crate) type Answer = Result<Response<Body>, Status>;

impl Service for Control {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Answer> {
        async move {
            match call.path.strip_prefix("/moby.buildkit.v1.Control/") {
                Some("Solve") => self.solve(call).await,
                Some("Status") => self.status(call).await,
                Some("ListWorkers") => Ok(respond(&ListWorkersResponse {
                    record: vec![self.worker()],
                })),
                Some("Info") => Ok(respond(&InfoResponse {
                    version: Some(version()),
                })),
                Some("DiskUsage") => self.usage().await,
                Some("Prune") => self.prune(call).await,
                Some("Session") => Ok(self.session(call)),
                Some(_) => Err(unknown(&call)),
                None if call.path.starts_with("/grpc.health.v1.Health/") => Ok(health()),
                None => self.bridge(call).await,
            }
        }
        .boxed()
    }
}

/// A call that is not answered; clients take that as "this BuildKit is older".
pub(crate) fn unknown(call: &Call) -> Status {
    let message = format!("unknown method {}", call.path);
    Status::new(Code::Unimplemented, message)
}

fn health() -> Response<Body> {
    respond(&HealthResponse { status: 1 })
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "github.com/moby/buildkit".to_owned(),
        version: SPEAKS_LIKE.to_owned(),
        revision: String::new(),
    }
}

/// `type==regular`, `id~=abc`, `inuse`: BuildKit's way to write filters.
fn filters(texts: &[String]) -> BTreeMap<String, Vec<String>> {
    let parts = texts.iter().flat_map(|text| text.split(','));
    let pair = |text: &str| match text.split_once(['=', '~']) {
        Some((key, value)) => (
            key.to_owned(),
            vec![value.trim_start_matches('=').to_owned()],
        ),
        None => (text.to_owned(), Vec::new()),
    };
    parts.filter(|text| !text.is_empty()).map(pair).collect()
}

fn moment(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let micros = i64::try_from(since.as_micros()).ok()?;
    Some(Timestamp::from_micros(micros))
}

/// A time of RFC 3339.
fn time(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// This machine, in Go's words.
pub(crate) fn platform() -> Platform {
    let (architecture, variant) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", ""),
        "aarch64" => ("arm64", ""),
        "arm" => ("arm", "v7"),
        other => (other, ""),
    };
    Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        variant: variant.to_owned(),
    }
}

impl Control {
    /// The one worker. Without the label of a snapshotter clients know that results go into the engine's own store.
    pub(crate) fn worker(&self) -> WorkerRecord {
        let gateway = self.host_gateway.clone().map(|address| {
            let label = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";
            (label.to_owned(), address)
        });
        WorkerRecord {
            id: "hoist".to_owned(),
            labels: BTreeMap::from_iter(gateway),
            platforms: vec![platform()],
            version: Some(version()),
        }
    }

    async fn solve(&self, mut call: Call) -> Answer {
        let request: SolveRequest = call.message().await?;
        if request
            .definition
            .as_ref()
            .is_some_and(|graph| !graph.operations.is_empty())
        {
            let message = "graphs are not carried out by this engine: it builds Dockerfiles";
            return Err(Status::new(Code::Unimplemented, message));
        }
        let direct = !request.frontend.is_empty();
        if !direct && request.definition.is_some() && request.exporters.is_empty() {
            // A graph without steps has nothing to be done or handed over, and no gateway client comes for it.
            return Ok(respond(&SolveResponse::default()));
        }
        let mut running = self.jobs.begin(request)?;
        let job = running.job.clone();
        let made = if direct {
            let wanted = Wanted {
                frontend: &job.request.frontend,
                attrs: &job.request.frontend_attrs,
                inputs: &job.request.frontend_inputs,
            };
            Some(Arc::new(self.solver.solve(&job, wanted).await?))
        } else {
            // The client drives the build through the gateway and says at the end what is to be exported.
            let gone = |_| Status::new(Code::Canceled, "the build was given up");
            (&mut running.returned).await.map_err(gone)??
        };
        let exporter_response = match made {
            Some(made) => self.solver.export(&job, &made).await?,
            None => BTreeMap::new(),
        };
        Ok(respond(&SolveResponse { exporter_response }))
    }

    async fn status(&self, mut call: Call) -> Answer {
        let request: StatusRequest = call.message().await?;
        let job = self.jobs.get(&request.reference).await?;
        let progress: Progress = job.progress.clone();
        let frames = progress.follow().map(|response| Ok(frame(&response)));
        Ok(grpc::stream(frames))
    }

    async fn usage(&self) -> Answer {
        let context = |usage: crate::contexts::Usage| UsageRecord {
            created_at: moment(usage.used),
            last_used_at: moment(usage.used),
            id: usage.id,
            size: i64::try_from(usage.bytes).unwrap_or(i64::MAX),
            description: "local source for context".to_owned(),
            record_type: "source.local".to_owned(),
            ..UsageRecord::default()
        };
        let step = |record: BuildCacheRecord| UsageRecord {
            id: record.id,
            in_use: record.in_use,
            size: record.size,
            created_at: time(&record.created_at),
            last_used_at: record.last_used_at.as_deref().and_then(time),
            usage_count: record.usage_count,
            description: record.description,
            record_type: record.kind,
            shared: record.shared,
        };
        let kept = self.solver.contexts.usage().into_iter().map(context);
        let steps = self.solver.builder.usage().await;
        let steps = steps.map_err(|error| status(&error))?;
        Ok(respond(&DiskUsageResponse {
            record: kept.chain(steps.into_iter().map(step)).collect(),
        }))
    }

    async fn prune(&self, mut call: Call) -> Answer {
        let request: PruneRequest = call.message().await?;
        let unused = std::time::Duration::from_nanos(
            u64::try_from(request.keep_duration).unwrap_or_default(),
        );
        let mut removed: Vec<UsageRecord> = Vec::new();
        for usage in self.solver.contexts.prune(unused) {
            removed.push(UsageRecord {
                id: usage.id,
                size: i64::try_from(usage.bytes).unwrap_or(i64::MAX),
                record_type: "source.local".to_owned(),
                ..UsageRecord::default()
            });
        }
        let options = BuildPrune {
            all: request.all,
            keep_storage: request.reserved_space,
            max_used_space: request.max_used_space,
            min_free_space: request.min_free_space,
            unused_for: i64::try_from(unused.as_secs()).unwrap_or(i64::MAX),
            filters: filters(&request.filter),
        };
        let pruned = self.solver.builder.prune(options).await;
        let pruned = pruned.map_err(|error| status(&error))?;
        let mut left = pruned.space_reclaimed;
        for id in pruned.caches_deleted {
            // Only the sum is known: it goes with the first.
            let size = std::mem::take(&mut left);
            removed.push(UsageRecord {
                id,
                size,
                record_type: "regular".to_owned(),
                ..UsageRecord::default()
            });
        }
        let frames = removed.into_iter().map(|record| Ok(frame(&record)));
        Ok(grpc::stream(stream::iter(frames.collect::<Vec<_>>())))
    }

    /// A session inside a call: what `POST /session` is for clients that have only this connection.
    fn session(self: &Arc<Self>, mut call: Call) -> Response<Body> {
        let info = SessionInfo::from_headers(&call.metadata);
        let (ours, theirs) = tokio::io::duplex(TUNNEL);
        let (mut read, mut write) = tokio::io::split(theirs);
        tokio::spawn(async move {
            while let Ok(Some(BytesMessage { data })) = call.messages.next().await {
                if write.write_all(&data).await.is_err() {
                    break;
                }
            }
            // The other end sees that nothing more comes.
            let _ = write.shutdown().await;
        });
        let (sender, receiver) = mpsc::channel::<Result<Bytes, Status>>(8);
        tokio::spawn(async move {
            let mut buffer = vec![0; TUNNEL];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                let data = Bytes::copy_from_slice(&buffer[..length]);
                if sender
                    .send(Ok(frame(&BytesMessage { data })))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        });
        let control = self.clone();
        tokio::spawn(async move {
            let served = control.solver.sessions.serve(info, TokioIo::new(ours));
            if let Err(error) = served.await {
                tracing::debug!(%error, "a session was refused");
            }
        });
        grpc::stream(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        }))
    }
}
