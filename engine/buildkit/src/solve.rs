//! A build from what a client asks for to what it gets back.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use hoist_api::ImageRef;
use hoist_api::build::{BuildEvent, BuildRequest, BuildResult};
use hoist_api::error::{ApiError, ErrorKind};

use crate::builder::Builder;
use crate::contexts::Contexts;
use crate::export::Exports;
use crate::files::{Files, Gather};
use crate::grpc::{Code, Status};
use crate::jobs::{Job, Made};
use crate::progress::{Progress, Translator};
use crate::proto::Definition;
use crate::proto::control::{Exporter, SolveRequest};
use crate::request::{self, Asked, Source};
use crate::session::Sessions;
use crate::steps::Steps;

/// What builds need.
#[derive(Debug)]
pub(crate) struct Solver {
    pub(crate) sessions: Sessions,
    pub(crate) contexts: Contexts,
    pub(crate) builder: Arc<dyn Builder>,
}

/// A build whose files are here.
#[derive(Debug)]
pub struct Gathered {
    /// What is to be built.
    pub request: BuildRequest,
    /// What bringing the files told.
    pub progress: Progress,
    /// For the events of the build.
    pub translator: Translator,
    /// The files go with this.
    pub files: Kept,
}

/// Keeps the files of a build where they are.
#[derive(Debug)]
pub struct Kept {
    _files: Files,
}

/// What is asked of the frontend.
#[derive(Debug)]
pub(crate) struct Wanted<'call> {
    pub(crate) frontend: &'call str,
    pub(crate) attrs: &'call BTreeMap<String, String>,
    pub(crate) inputs: &'call BTreeMap<String, Definition>,
}

impl Solver {
    /// Builds.
    pub(crate) async fn solve(&self, job: &Job, wanted: Wanted<'_>) -> Result<Made, Status> {
        check_frontend(&wanted)?;
        let mut asked = request::read(wanted.attrs, wanted.inputs)?;
        let session = self.sessions.get(&job.request.session).await?;
        let steps = Steps::new(job.progress.clone(), job.request.reference.clone());
        let gather = Gather {
            sessions: &self.sessions,
            contexts: &self.contexts,
            session,
            steps: &steps,
            text_only: false,
        };
        let mut files = gather.run(&mut asked).await?;
        let exports = Exports::read(&exporters(&job.request), files.own.path())?;
        complete(&mut asked, &job.request, &exports);
        let passed_over = [&asked.passed_over[..], &exports.passed_over[..]].concat();
        steps.warn("[internal] read options", &passed_over);
        let full = |name: &String| match name.parse::<ImageRef>() {
            Ok(name) => name.full(),
            Err(_) => name.clone(),
        };
        let names: Vec<String> = asked.request.tags.iter().map(full).collect();
        let names = names.join(",");
        let kept = exports.has_image();
        let result = self.build(job, (asked, kept), (&mut files, &steps)).await?;
        files.release();
        Ok(Made {
            image: if kept {
                result.image.clone()
            } else {
                String::new()
            },
            names,
            result,
            exports,
            _files: Some(files),
        })
    }

    pub(crate) async fn gather(
        &self,
        session: &str,
        filename: &str,
        request: BuildRequest,
    ) -> Result<Gathered, Status> {
        let mut asked = Asked {
            request,
            filename: filename.to_owned(),
            dockerfile: Some("dockerfile".to_owned()),
            context: Source::Local("context".to_owned()),
            contexts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            passed_over: Vec::new(),
        };
        let session = self.sessions.get(session).await?;
        let build = session.info().id.clone();
        let progress = Progress::default();
        let steps = Steps::new(progress.clone(), build.clone());
        let gather = Gather {
            sessions: &self.sessions,
            contexts: &self.contexts,
            session,
            steps: &steps,
            text_only: false,
        };
        let files = gather.run(&mut asked).await?;
        progress.end();
        let mut translator = Translator::new(build).without(steps.names());
        if let Some((name, text)) = &files.dockerfile {
            translator = translator.with_dockerfile(name.clone(), text.clone());
        }
        Ok(Gathered {
            request: asked.request,
            progress,
            translator,
            files: Kept { _files: files },
        })
    }

    async fn build(
        &self,
        job: &Job,
        (asked, is_kept): (Asked, bool),
        (files, steps): (&mut Files, &Steps),
    ) -> Result<BuildResult, Status> {
        let mut translator = Translator::new(&job.request.reference).without(steps.names());
        if is_kept {
            translator = translator.with_image();
        }
        if let Some((name, text)) = &files.dockerfile {
            translator = translator.with_dockerfile(name.clone(), text.clone());
        }
        let session = self.sessions.get(&job.request.session).await?;
        let mut events = self
            .builder
            .build(asked.request, files.archive.take(), session)
            .await
            .map_err(|error| status(&error))?;
        while let Some(event) = events.next().await {
            if let Some(response) = translator.translate(&event) {
                job.progress.tell(response);
            }
            match event {
                BuildEvent::Finished(result) => return Ok(result),
                BuildEvent::Failed(failure) => return Err(translator.failure(&failure)),
                _ => {}
            }
        }
        Err(Status::new(
            Code::Internal,
            "the builder ended without a result",
        ))
    }

    /// Hands a result to where the client wants it; says what it became.
    pub(crate) async fn export(
        &self,
        job: &Job,
        made: &Made,
    ) -> Result<BTreeMap<String, String>, Status> {
        let mut response = BTreeMap::new();
        // Docker's own exporter gives the image's id for both.
        let (digest, config) = match made.image.as_str() {
            "" => (&made.result.digest, &made.result.image),
            image => (&made.image, &image.to_owned()),
        };
        for (key, value) in [
            ("containerimage.digest", digest),
            ("containerimage.config.digest", config),
            ("image.name", &made.names),
        ] {
            if !value.is_empty() {
                response.insert(key.to_owned(), value.clone());
            }
        }
        let is_pushed = !made.exports.pushed.is_empty();
        if !made.exports.is_sent() && !is_pushed {
            return Ok(response);
        }
        let session = self.sessions.get(&job.request.session).await?;
        let mut translator = Translator::new(format!("{}\nexport", job.request.reference));
        let mut tell = |event: BuildEvent| {
            if let Some(told) = translator.translate(&event) {
                job.progress.tell(told);
            }
        };
        made.exports.send(&session, &response, &mut tell).await?;
        let builder = self.builder.as_ref();
        made.exports.push(builder, &session, tell).await?;
        Ok(response)
    }
}

/// Only Dockerfiles are built, whichever version of their language is asked for.
pub(crate) fn check_frontend(wanted: &Wanted<'_>) -> Result<(), Status> {
    let source = wanted.attrs.get("source").map(String::as_str);
    let dockerfiles = |source: &str| {
        let name = source.trim_start_matches("docker.io/");
        name.starts_with("docker/dockerfile")
    };
    match wanted.frontend {
        "dockerfile.v0" => Ok(()),
        "gateway.v0" if source.is_some_and(dockerfiles) => Ok(()),
        frontend => {
            let message = format!(
                "frontend {:?} is not run by this engine: it builds Dockerfiles",
                source.unwrap_or(frontend)
            );
            Err(Status::new(Code::Unimplemented, message))
        }
    }
}

/// What becomes of the result, whichever way the client says it.
pub(crate) fn exporters(request: &SolveRequest) -> Vec<Exporter> {
    if !request.exporters.is_empty() || request.exporter.is_empty() {
        return request.exporters.clone();
    }
    vec![Exporter {
        kind: request.exporter.clone(),
        attrs: request.exporter_attrs.clone(),
    }]
}

/// Adds what the build as a whole says.
fn complete(asked: &mut Asked, request: &SolveRequest, exports: &Exports) {
    let build = &mut asked.request;
    build.entitlements.clone_from(&request.entitlements);
    let cache = request.cache.iter();
    let caches = cache.flat_map(|cache| &cache.exports);
    build.cache_to = caches.map(request::cache).collect();
    build.tags.extend(exports.names.clone());
    build.outputs = exports.outputs();
}

/// An error of the builder.
pub(crate) fn status(error: &ApiError) -> Status {
    let code = match error.kind {
        ErrorKind::BadRequest => Code::InvalidArgument,
        ErrorKind::Unauthorized => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::NotImplemented => Code::Unimplemented,
        _ => Code::Unknown,
    };
    let message = match &error.hint {
        Some(hint) => format!("{}: {hint}", error.message),
        None => error.message.clone(),
    };
    Status::new(code, message)
}
