//! Handlers of everything that speaks to registries: pull, push, login, `distribution`; and the streams of progress that they answer with.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use hoist_api::ImageRef;
use hoist_api::error::{ApiError, Result};
use hoist_api::image::{ErrorDetail, Progress, SearchImages};
use hoist_registry::Platform;
use hoist_registry::auth::AuthConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Server;
use super::errors::{Answer, Failure};
use super::hijack;
use super::query::{Query, optional_json};
use crate::service::images::image_name;
use crate::service::pull::PullRequest;
use crate::service::push::PushRequest;
use crate::service::report::Reporter;

/// Lines that wait for a client.
const LINES: usize = 64;

/// `X-Registry-Auth`. What is none is taken as no credentials, as Docker takes it: clients without any send whatever they like.
pub(super) fn auth_of(headers: &HeaderMap) -> AuthConfig {
    let value = headers.get("x-registry-auth");
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    AuthConfig::from_header(text).unwrap_or_else(|error| {
        tracing::debug!(%error, "asked without credentials");
        AuthConfig::default()
    })
}

/// `POST /images/create?fromImage=…`
pub(super) async fn pull(server: Server, query: Query, headers: &HeaderMap) -> Answer {
    let (image, tag) = (query.text("fromImage"), query.text("tag"));
    let platform = match query.text("platform") {
        "" => None,
        text => Some(
            text.parse::<Platform>()
                .map_err(|error| ApiError::bad_request(error.to_string()))?,
        ),
    };
    let all_tags = tag.is_empty() && !has_tag(image);
    let image = join(image, tag)?;
    let request = PullRequest {
        image,
        platform,
        auth: auth_of(headers),
    };
    streamed(async move |reporter| {
        let service = &server.service;
        match all_tags {
            true => service.image_pull_all(&request, &reporter).await,
            false => service.image_pull(&request, &reporter).await.map(drop),
        }
    })
    .await
}

/// Whether a name says which image of its repository is meant.
fn has_tag(name: &str) -> bool {
    let last = name.rsplit('/').next();
    last.is_some_and(|last| last.contains([':', '@']))
}

/// A name and a tag (or a digest) that came apart.
pub(super) fn join(image: &str, tag: &str) -> Result<ImageRef> {
    if tag.is_empty() {
        return image_name(image);
    }
    image_name(&with_tag(image, tag))
}

/// A name with a tag or a digest that came beside it; a tag that the name has already gives way.
pub(super) fn with_tag(name: &str, tag: &str) -> String {
    if tag.is_empty() {
        return name.to_owned();
    }
    let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = match name[path..].find([':', '@']) {
        Some(at) if name[path + at..].starts_with(':') => path + at,
        _ => name.len(),
    };
    format!("{}{separator}{tag}", &name[..end])
}

/// `POST /images/{name}/push`
pub(super) async fn push(server: Server, name: &str, query: &Query, headers: &HeaderMap) -> Answer {
    let tag = query.text("tag");
    let image = join(name, tag)?;
    let auth = auth_of(headers);
    let images = if !tag.is_empty() || has_tag(name) {
        vec![image]
    } else {
        server.service.tags_of(&image)?
    };
    streamed(async move |reporter| {
        for (index, image) in images.into_iter().enumerate() {
            let request = PushRequest {
                image,
                auth: auth.clone(),
                goes_on: index > 0,
            };
            server.service.image_push(&request, &reporter).await?;
        }
        Ok(())
    })
    .await
}

/// `POST /auth`
pub(super) async fn auth(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Answer {
    let auth: AuthConfig = optional_json(&headers, &body)?;
    Ok(Json(server.service.log_in(&auth).await?).into_response())
}

/// `GET /distribution/{name}/json`
pub(super) async fn distribution(
    State(server): State<Server>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let Some(name) = rest.strip_suffix("/json") else {
        return Err(Failure(ApiError::not_found("page not found")));
    };
    let auth = auth_of(&headers);
    Ok(Json(server.service.distribution(name, &auth).await?).into_response())
}

/// `GET /images/search`
pub(super) async fn search(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Answer {
    let query = Query::of(&uri);
    let search = SearchImages {
        term: query.text("term").to_owned(),
        limit: query.number("limit")?.filter(|limit| *limit != 0),
        filters: query.filters()?,
        auth: String::new(),
    };
    let auth = auth_of(&headers);
    Ok(Json(server.service.image_search(&search, &auth).await?).into_response())
}

/// `GET /images/get` and `GET /images/{name}/get`: an archive. What is missing is told before it begins; what fails later cuts it short.
pub(super) async fn save(server: Server, names: Vec<String>) -> Answer {
    if names.is_empty() {
        return Err(ApiError::bad_request("no image was named").into());
    }
    let pieces = server.service.images_save(names).await?;
    let body = stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-tar"),
    );
    Ok(response)
}

/// Answers with the lines of some work. A failure before the first line is an answer of its own; later it is the last line.
pub(super) async fn streamed<F, W>(work: F) -> Answer
where
    F: FnOnce(Reporter) -> W,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, mut lines) = mpsc::channel(LINES);
    let task = tokio::spawn(work(Reporter::new(sender)));
    let Some(first) = lines.recv().await else {
        ended(task).await?;
        return Ok(StatusCode::OK.into_response());
    };
    let (pieces, body) = mpsc::channel(LINES);
    tokio::spawn(relay(first, lines, task, pieces));
    let mut response = Response::new(hijack::body_of(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

async fn relay(
    first: Progress,
    mut lines: mpsc::Receiver<Progress>,
    task: JoinHandle<Result<()>>,
    pieces: mpsc::Sender<Bytes>,
) {
    let mut next = Some(first);
    while let Some(progress) = next {
        // Dropping the lines tells the work that nobody listens.
        if pieces.send(line(&progress)).await.is_err() {
            return;
        }
        next = tokio::select! {
            next = lines.recv() => next,
            () = pieces.closed() => return,
        };
    }
    if let Err(error) = ended(task).await {
        // The client may be gone by now.
        let _ = pieces.send(line(&failure(error))).await;
    }
}

async fn ended(task: JoinHandle<Result<()>>) -> Result<()> {
    task.await.map_err(|error| ApiError::internal(&error))?
}

/// A failure in the middle of a stream.
pub(super) fn failure(error: ApiError) -> Progress {
    Progress {
        error: error.message.clone(),
        error_detail: Some(ErrorDetail {
            code: None,
            message: error.message,
        }),
        ..Progress::default()
    }
}

/// A line of a stream, as Docker ends it.
pub(super) fn line(progress: &Progress) -> Bytes {
    let mut line = serde_json::to_vec(progress).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}

/// The parameter `names` of `GET /images/get`: repeated, or separated by commas.
pub(super) fn names_of(uri: &Uri) -> Vec<String> {
    let given = Query::of(uri).all("names");
    let split = given.iter().flat_map(|names| names.split(','));
    split
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_came_beside_a_name_is_the_one_that_counts() {
        for (name, tag, expected) in [
            ("a", "", "a"),
            ("a", "b", "a:b"),
            ("a:b", "", "a:b"),
            ("a:b", "c", "a:c"),
            ("host:5000/a", "b", "host:5000/a:b"),
            ("host:5000/a:b", "c", "host:5000/a:c"),
            ("a", "sha256:0", "a@sha256:0"),
            ("a:b", "sha256:0", "a@sha256:0"),
        ] {
            assert_eq!(with_tag(name, tag), expected);
        }
    }
}
