//! `LLBBridge`: the calls by which a client drives its build. Which build a call belongs to is in its metadata.

use std::collections::BTreeMap;

use crate::builder::{Look, Seen, Tree};
use crate::calls;
use crate::control::{Answer, Control, unknown};
use crate::grpc::{Call, Code, Status, respond};
use crate::jobs::{Job, Made};
use crate::proto::control::{StatusResponse, VertexWarning};
use crate::proto::gateway::{
    Capability, InputsResponse, PongResponse, ReadDirRequest, ReadDirResponse, ReadFileRequest,
    ReadFileResponse, Ref, ResolveImageConfigRequest, ResolveImageConfigResponse, ResultMessage,
    ReturnRequest, SolveRequest, SolveResponse, StatFileRequest, StatFileResponse, WarnRequest,
};
use crate::proto::session::Empty;
use crate::request::{definition_of, result_of};
use crate::solve::{Wanted, status};

/// What the gateway can do, in BuildKit's names (`frontend/gateway/pb/caps.go`).
const GATEWAY: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "return",
    "returnmap",
    "readdir",
    "readfile",
    "statfile",
    "importcaches",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "gateway.solve.metadata",
    "frontend.caps",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
];

/// What may be in graphs (`solver/pb/caps.go`): as much as clients look for before they ask for a Dockerfile.
const GRAPHS: &[&str] = &[
    "source.image",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.http",
    "file.base",
    "exec.meta.base",
    "exec.mount.secret",
    "exec.mount.ssh",
    "platform",
    "exporter.multiple",
];

impl Control {
    /// Answers a call of the gateway.
    pub(crate) async fn bridge(&self, mut call: Call) -> Answer {
        let Some(method) = call
            .path
            .strip_prefix("/moby.buildkit.v1.frontend.LLBBridge/")
        else {
            return Err(unknown(&call));
        };
        let method = method.to_owned();
        if method == "Ping" {
            return Ok(respond(&self.pong()));
        }
        let job = self
            .jobs
            .get(call.header("buildkit-controlapi-buildid"))
            .await?;
        match method.as_str() {
            "Solve" => self.bridge_solve(&job, call.message().await?).await,
            "Return" => done(&job, call.message().await?),
            "Inputs" => Ok(respond(&InputsResponse {
                definitions: job.request.frontend_inputs.clone(),
            })),
            "ResolveImageConfig" => self.resolve(call.message().await?).await,
            // Everything is evaluated when it is solved.
            "Evaluate" => Ok(respond(&Empty {})),
            "ReadFile" => self.read_file(&job, call.message().await?).await,
            "ReadDir" => self.read_directory(&job, call.message().await?).await,
            "StatFile" => self.stat(&job, call.message().await?).await,
            "Warn" => {
                warn(&job, call.message().await?);
                Ok(respond(&Empty {}))
            }
            _ => Err(unknown(&call)),
        }
    }

    fn pong(&self) -> PongResponse {
        let capabilities = |names: &[&str]| {
            let capability = |name: &&str| Capability {
                id: (*name).to_owned(),
                enabled: true,
            };
            names.iter().map(capability).collect()
        };
        PongResponse {
            frontend_caps: capabilities(GATEWAY),
            llb_caps: capabilities(GRAPHS),
            workers: vec![self.worker()],
        }
    }

    async fn bridge_solve(&self, job: &Job, request: SolveRequest) -> Answer {
        if let Some(call) = calls::of(&request.frontend_opt) {
            let wanted = Wanted {
                frontend: &request.frontend,
                attrs: &request.frontend_opt,
                inputs: &request.frontend_inputs,
            };
            let result = ResultMessage {
                metadata: self.solver.answer(job, call, wanted).await?,
                ..ResultMessage::default()
            };
            return Ok(respond(&SolveResponse {
                result: Some(result),
                ..SolveResponse::default()
            }));
        }
        let graph = request.definition.as_ref();
        let graph = graph.filter(|graph| !graph.operations.is_empty());
        let made = match graph {
            Some(graph) => Made {
                image: result_of(graph).ok_or_else(|| {
                    let message =
                        "graphs are not carried out by this engine: it builds Dockerfiles";
                    Status::new(Code::Unimplemented, message)
                })?,
                ..Made::default()
            },
            None => {
                let wanted = Wanted {
                    frontend: &request.frontend,
                    attrs: &request.frontend_opt,
                    inputs: &request.frontend_inputs,
                };
                self.solver.solve(job, wanted).await?
            }
        };
        let mut metadata = BTreeMap::new();
        if !made.image.is_empty() {
            let image = self.solver.builder.image_config(made.image.clone()).await;
            let image = image.map_err(|error| status(&error))?;
            metadata.insert("containerimage.config".to_owned(), image.config);
        }
        let definition = definition_of(&made.image);
        let id = job.keep(made);
        let result = ResultMessage {
            reference: Some(Ref {
                id: id.clone(),
                definition: Some(definition),
            }),
            metadata,
            ..ResultMessage::default()
        };
        Ok(respond(&SolveResponse {
            reference: id,
            result: Some(result),
        }))
    }

    /// Looks at a path of a result.
    async fn look(
        &self,
        job: &Job,
        (reference, path): (&str, String),
        look: Look,
    ) -> Result<Seen, Status> {
        let made = job.result(reference)?;
        let tree = match made.image.as_str() {
            "" => Tree::Layers(made.result.layers.clone()),
            image => Tree::Image(image.to_owned()),
        };
        let seen = self.solver.builder.look(tree, path, look).await;
        seen.map_err(|error| status(&error))
    }

    async fn read_file(&self, job: &Job, request: ReadFileRequest) -> Answer {
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        let look = Look::Read {
            offset: request.range.map_or(0, |range| positive(range.offset)),
            length: request.range.map(|range| positive(range.length)),
        };
        let of = (request.reference.as_str(), request.path);
        match self.look(job, of, look).await? {
            Seen::Bytes(data) => Ok(respond(&ReadFileResponse { data })),
            _ => Err(astray()),
        }
    }

    async fn read_directory(&self, job: &Job, request: ReadDirRequest) -> Answer {
        let look = Look::List(request.include_pattern);
        let of = (request.reference.as_str(), request.path);
        match self.look(job, of, look).await? {
            Seen::Entries(entries) => Ok(respond(&ReadDirResponse { entries })),
            _ => Err(astray()),
        }
    }

    async fn stat(&self, job: &Job, request: StatFileRequest) -> Answer {
        let of = (request.reference.as_str(), request.path);
        match self.look(job, of, Look::Stat).await? {
            Seen::Entry(stat) => Ok(respond(&StatFileResponse { stat: Some(stat) })),
            _ => Err(astray()),
        }
    }

    async fn resolve(&self, request: ResolveImageConfigRequest) -> Answer {
        let image = self.solver.builder.image_config(request.reference).await;
        let image = image.map_err(|error| status(&error))?;
        Ok(respond(&ResolveImageConfigResponse {
            digest: image.digest,
            config: image.config,
            reference: image.reference,
        }))
    }
}

/// The client says what is to be exported, or why it gives up.
fn done(job: &Job, request: ReturnRequest) -> Answer {
    if let Some(error) = request.error.filter(|error| error.code != 0) {
        job.finish(Err(Status::from_message(error)));
        return Ok(respond(&Empty {}));
    }
    let result = request.result.unwrap_or_default();
    let named = result.reference.map(|reference| reference.id);
    let several = result.references.map(|map| map.references);
    let several = several.and_then(|map| Some(map.into_values().next()?.id));
    let id = named.or(result.reference_deprecated).or(several);
    let made = match id.filter(|id| !id.is_empty()) {
        Some(id) => Some(job.result(&id)?),
        None => None,
    };
    job.finish(Ok(made));
    Ok(respond(&Empty {}))
}

/// The builder answered something else than it was asked.
fn astray() -> Status {
    Status::new(Code::Internal, "the builder answered another question")
}

fn warn(job: &Job, request: WarnRequest) {
    job.progress.tell(StatusResponse {
        warnings: vec![VertexWarning {
            vertex: request.digest,
            level: request.level,
            short: request.short,
            detail: request.detail,
            url: request.url,
            info: request.info,
            ranges: request.ranges,
        }],
        ..StatusResponse::default()
    });
}
