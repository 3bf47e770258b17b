//! `LLBBridge`: the calls by which a client drives its build. Which build a call belongs to is in its metadata.

use std::collections::BTreeMap;

use crate::control::{Answer, Control, unknown};
use crate::grpc::{Call, Code, Status, respond};
use crate::jobs::{Job, Made};
use crate::proto::control::{StatusResponse, VertexWarning};
use crate::proto::gateway::{
    Capability, InputsResponse, PongResponse, Ref, ResolveImageConfigRequest,
    ResolveImageConfigResponse, ResultMessage, ReturnRequest, SolveRequest, SolveResponse,
    StatFileRequest, StatFileResponse, WarnRequest,
};
use crate::proto::session::{Empty, Stat};
use crate::request::{definition_of, result_of};
use crate::solve::{Wanted, status};
use crate::transfer::mode;

/// What the gateway can do, in BuildKit's names (`frontend/gateway/pb/caps.go`).
const GATEWAY: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "return",
    "returnmap",
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
            "StatFile" => stat(&job, &call.message().await?),
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
        let graph = request.definition.as_ref();
        let graph = graph.filter(|graph| !graph.operations.is_empty());
        let made = match graph {
            Some(graph) => Made {
                image: result_of(graph).ok_or_else(|| {
                    let message =
                        "graphs are not carried out by this engine: it builds Dockerfiles";
                    Status::new(Code::Unimplemented, message)
                })?,
                names: String::new(),
                files: None,
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

/// Clients without another way to have a result evaluated ask for its root.
fn stat(job: &Job, request: &StatFileRequest) -> Answer {
    job.result(&request.reference)?;
    if !matches!(request.path.as_str(), "" | "." | "/") {
        let message = "files of results cannot be read before they are exported";
        return Err(Status::new(Code::Unimplemented, message));
    }
    Ok(respond(&StatFileResponse {
        stat: Some(Stat {
            path: ".".to_owned(),
            mode: mode::DIRECTORY | 0o755,
            ..Stat::default()
        }),
    }))
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
