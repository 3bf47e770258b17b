//! Handlers of `/images`. Names hold slashes and colons, so what follows the name is told by its end.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hoist_api::error::{ApiError, Result};
use hoist_api::image::{ImagePlatform, ImportImage, Progress, RemoveImage};
use hoist_registry::Platform;
use tokio::sync::mpsc;

use super::Server;
use super::errors::{Answer, Failure};
use super::query::Query;
use super::registry;
use crate::service::build::download;
use crate::service::images::{Loaded, PieceReader};

/// Pieces of an archive that wait for the disk.
const QUEUE: usize = 16;

/// `GET /images/json`
pub(super) async fn list(State(server): State<Server>, uri: Uri) -> Answer {
    let query = Query::of(&uri);
    let mut listed = server
        .service
        .images(&query.filters()?, query.flag("all"))?;
    if query.flag("shared-size") {
        let (usage, _) = server.service.image_usage()?;
        for image in &mut listed {
            let known = usage.iter().find(|known| known.id == image.id);
            image.shared_size = known.map_or(image.shared_size, |known| known.shared_size);
        }
    }
    Ok(Json(listed).into_response())
}

/// `POST /images/prune`
pub(super) async fn prune(State(server): State<Server>, uri: Uri) -> Answer {
    let filters = Query::of(&uri).filters()?;
    Ok(Json(server.service.image_prune(&filters).await?).into_response())
}

/// `GET /images/get`
pub(super) async fn get(State(server): State<Server>, uri: Uri) -> Answer {
    let names = registry::names_of(&uri);
    check_platforms(&server, &names, &Query::of(&uri))?;
    registry::save(server, names).await
}

/// How long a client may go on sending an archive that nobody reads any more.
const UNREAD: Duration = Duration::from_secs(30);

/// The request's body as something that blocking code reads.
pub(super) fn archive(body: Body) -> PieceReader {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(pass_on(body, sender));
    PieceReader::new(receiver)
}

/// Passes a request's body on to who reads it.
pub(super) async fn pass_on(body: Body, reader: mpsc::Sender<std::io::Result<Bytes>>) {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(std::io::Error::other);
        if reader.send(piece).await.is_err() {
            // The reader has failed. A connection that is closed with unread data loses the answer that says why,
            // so the client may send the rest.
            let rest = async { while pieces.next().await.is_some() {} };
            let _ = tokio::time::timeout(UNREAD, rest).await;
            return;
        }
    }
}

/// Answers with the lines of what is done, when it is: a failure has a status of its own. What has begun is finished although the client
/// goes away.
async fn progress(work: impl Future<Output = Result<Vec<Progress>>> + Send + 'static) -> Answer {
    let lines = super::containers::detached(work).await?;
    let text: Vec<u8> = lines.iter().flat_map(registry::line).collect();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// `POST /images/create`: a pull, or an import.
pub(super) async fn create(State(server): State<Server>, request: Request) -> Answer {
    let query = Query::of(request.uri());
    let source = query.text("fromSrc");
    if source.is_empty() {
        return registry::pull(server, query, request.headers()).await;
    }
    let (repo, tag) = (query.text("repo"), query.text("tag"));
    let message = match query.text("message") {
        "" => format!("Imported from {source}"),
        message => message.to_owned(),
    };
    let options = ImportImage {
        reference: registry::with_tag(repo, tag),
        changes: query.all("changes"),
        message,
        platform: query.text("platform").to_owned(),
    };
    if source != "-" {
        let url = match source.contains("://") {
            true => source.to_owned(),
            // As Docker reads a bare host.
            false => format!("http://{source}"),
        };
        return import_from(server, options, url).await;
    }
    let body = archive(request.into_body());
    progress(async move {
        let id = server.service.image_import(options, body).await?;
        Ok(vec![Progress {
            status: id,
            ..Progress::default()
        }])
    })
    .await
}

/// An import of what is at an address. What the server says to the request itself has a status of its own.
async fn import_from(server: Server, options: ImportImage, url: String) -> Answer {
    let (length, mut pieces) = download(&url).await?;
    registry::streamed(async move |reporter| {
        reporter.say("", format!("Downloading from {url}")).await;
        let counter = reporter.count("", "Importing", length.unwrap_or_default());
        let (sender, counted) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(piece) = pieces.recv().await {
                counter.add(piece.as_ref().map_or(0, |piece| piece.len() as u64));
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        let imported = server
            .service
            .image_import(options, PieceReader::new(counted));
        reporter.say("", imported.await?).await;
        Ok(())
    })
    .await
}

/// `POST /images/load`
pub(super) async fn load(State(server): State<Server>, request: Request) -> Answer {
    let platform = platform_of(&Query::of(request.uri()))?;
    let platform = platform.map(|text| text.parse::<Platform>());
    let platform = platform
        .transpose()
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let body = archive(request.into_body());
    progress(async move {
        // What is wrong is said in a 200, as Docker has it.
        let loaded = match server.service.image_load(body, platform).await {
            Ok(loaded) => loaded,
            Err(error) => return Ok(vec![registry::failure(error)]),
        };
        let tell = |loaded: Loaded| {
            let text = match loaded {
                Loaded::Name(name) => format!("Loaded image: {name}\n"),
                Loaded::Id(id) => format!("Loaded image ID: {id}\n"),
            };
            Progress {
                stream: text,
                ..Progress::default()
            }
        };
        Ok(loaded.into_iter().map(tell).collect())
    })
    .await
}

/// Everything with an image's name in the path.
pub(super) async fn by_name(
    State(server): State<Server>,
    Path(rest): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let service = &server.service;
    let query = Query::of(&uri);
    if method == Method::DELETE {
        let platforms = platforms_of(&query.all("platforms"))?;
        platforms
            .iter()
            .try_for_each(|platform| service.check_platform(&rest, platform))?;
        let options = RemoveImage {
            force: query.flag("force"),
            no_prune: query.flag("noprune"),
        };
        return Ok(Json(service.image_remove(&rest, options).await?).into_response());
    }
    let Some((name, action)) = rest.rsplit_once('/') else {
        return Err(page_not_found());
    };
    match (&method, action) {
        (&Method::GET, "json") => {
            if query.flag("manifests") && !query.text("platform").is_empty() {
                return Err(ApiError::bad_request(
                    "conflicting options: manifests and platform options cannot both be set",
                )
                .into());
            }
            check_platforms(&server, &[name.to_owned()], &query)?;
            Ok(Json(service.image_inspect(name)?).into_response())
        }
        (&Method::GET, "get") => {
            let names = vec![name.to_owned()];
            check_platforms(&server, &names, &query)?;
            registry::save(server.clone(), names).await
        }
        (&Method::POST, "push") => {
            check_platforms(&server, &[name.to_owned()], &query)?;
            registry::push(server.clone(), name, &query, &headers).await
        }
        (&Method::GET, "history") => {
            check_platforms(&server, &[name.to_owned()], &query)?;
            Ok(Json(service.image_history(name)?).into_response())
        }
        (&Method::POST, "tag") => {
            let (repo, tag) = (query.text("repo"), query.text("tag"));
            service
                .image_tag(name, &registry::with_tag(repo, tag))
                .await?;
            Ok(StatusCode::CREATED.into_response())
        }
        _ => Err(page_not_found()),
    }
}

/// The parameter `platform` of calls that read: JSON of a platform. An image here is of one platform, which must be that one.
fn check_platforms(server: &Server, names: &[String], query: &Query) -> Result<(), ApiError> {
    let Some(platform) = platform_of(query)? else {
        return Ok(());
    };
    let check = |name: &String| server.service.check_platform(name, &platform);
    names.iter().try_for_each(check)
}

/// The parameter `platform`, if it is there: `os/architecture[/variant]`.
fn platform_of(query: &Query) -> Result<Option<String>> {
    let mut asked = platforms_of(&query.all("platform"))?;
    match asked.len() {
        0 | 1 => Ok(asked.pop()),
        _ => Err(ApiError::bad_request(
            "multiple platform parameters not supported",
        )),
    }
}

/// Platforms in JSON as `os/architecture[/variant]`.
fn platforms_of(texts: &[String]) -> Result<Vec<String>> {
    let written = |text: &String| {
        let platform: ImagePlatform = serde_json::from_str(text)
            .map_err(|error| ApiError::bad_request(format!("invalid platform: {error}")))?;
        let parts = [platform.os, platform.architecture, platform.variant];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        Ok(parts.collect::<Vec<_>>().join("/"))
    };
    texts.iter().map(written).collect()
}

fn page_not_found() -> Failure {
    Failure(ApiError::not_found("page not found"))
}
