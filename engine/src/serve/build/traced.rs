//! `POST /build?version=2`: the build is told in BuildKit's words, and its files may come from a session.

use bytes::Bytes;
use futures_util::StreamExt as _;
use hoist_api::build::{BuildContext, BuildEvent, BuildFailure, BuildRequest};
use hoist_api::error::ApiError;
use hoist_buildkit::{Context, Exports, Gathered, Session, Translator, trace_line};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

use super::classic::Writer;
use super::lines;
use super::query::Output;
use crate::serve::Server;
use crate::serve::errors::Answer;
use crate::serve::query::Query;
use crate::service::build::{BuildEvents, Logins, Plan};
use crate::service::images::PieceReader;

/// The context that is a session's.
const CLIENT_SESSION: &str = "client-session";

/// Whether the query asks for this.
pub(super) fn is_wanted(query: &Query) -> bool {
    query.text("version") == "2"
}

/// Builds, with the context from the session or from the body.
pub(super) async fn build(
    server: &Server,
    query: &Query,
    (mut build, body): (BuildRequest, PieceReader),
) -> Answer {
    let session = query.text("session");
    let exports = exports(server, query)?;
    let mut pushed = Vec::new();
    if let Some((exports, _)) = &exports {
        build.outputs = exports.outputs();
        let (names, to_push) = exports.names();
        build.tags.extend_from_slice(names);
        pushed = to_push.to_vec();
    }
    let mut told = Vec::new();
    let (build, mut translator, files) = if is_of_session(&build) {
        let gathered = gather(server, query, build).await?;
        let mut progress = std::pin::pin!(gathered.progress.follow());
        while let Some(response) = progress.next().await {
            told.push(Bytes::from(trace_line(&response)));
        }
        (gathered.request, gathered.translator, Some(gathered.files))
    } else {
        (build, Translator::new(session), None)
    };
    let plan = Plan::default();
    let mut writer = Writer::new(query, plan.clone());
    // Clients that have one answer for their registries there, too.
    let asked = match session {
        "" => None,
        id => server.buildkit.session(id).await.ok(),
    };
    let receiver = asked.clone();
    let logins = Logins::new(build.registries.clone(), asked.clone());
    let events = server
        .service
        .image_build(build, body, (plan, asked))
        .await?;
    let events = match (exports, receiver) {
        (Some(exports), Some(session)) if exports.0.is_sent() => sending(events, exports, session),
        _ => events,
    };
    let events = if pushed.is_empty() {
        events
    } else {
        pushing(server, events, (pushed, logins))
    };
    let write = move |event: BuildEvent| {
        // The files stay as long as there are events.
        let _ = &files;
        let mut written = std::mem::take(&mut told);
        let traced = translator.translate(&event);
        written.extend(traced.map(|response| Bytes::from(trace_line(&response))));
        written.extend(writer.lines(event));
        written
    };
    Ok(lines((None, events), write))
}

fn is_of_session(build: &BuildRequest) -> bool {
    build.context == BuildContext::Remote(CLIENT_SESSION.to_owned())
}

async fn gather(server: &Server, query: &Query, build: BuildRequest) -> Result<Gathered, ApiError> {
    let filename = match query.text("dockerfile") {
        "" => "Dockerfile",
        name => name,
    };
    let gathered = server
        .buildkit
        .gather(query.text("session"), filename, build);
    gathered
        .await
        .map_err(|status| ApiError::bad_request(status.message))
}

/// What is to be sent back; nothing when the result stays in the engine.
fn exports(server: &Server, query: &Query) -> Result<Option<(Exports, Context)>, ApiError> {
    let outputs = super::query::outputs(query)?;
    if outputs.is_empty() {
        return Ok(None);
    }
    if query.text("session").is_empty() && !outputs.iter().all(Output::stays) {
        return Err(ApiError::bad_request(
            "an output that goes back to the client needs a session",
        ));
    }
    let wanted = outputs
        .into_iter()
        .map(|output| match output.kind.as_str() {
            // As without outputs.
            "" => ("moby".to_owned(), output.attrs),
            _ => (output.kind, output.attrs),
        });
    let exports = server.buildkit.exports(wanted.collect());
    let exports = exports.map_err(|status| ApiError::bad_request(status.message))?;
    Ok(Some(exports))
}

/// Sends the result to the client before the build is said to be done.
fn sending(
    mut events: BuildEvents,
    (exports, place): (Exports, Context),
    session: Arc<Session>,
) -> BuildEvents {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let BuildEvent::Finished(result) = event else {
                if sender.send(event).await.is_err() {
                    return;
                }
                continue;
            };
            let mut told = Vec::new();
            let nothing = BTreeMap::new();
            let sent = exports.send(&session, &nothing, |event| told.push(event));
            let last = match sent.await {
                Ok(()) => BuildEvent::Finished(result),
                Err(status) => BuildEvent::Failed(BuildFailure {
                    message: format!("cannot send the result to the client: {}", status.message),
                    ..BuildFailure::default()
                }),
            };
            for event in told.into_iter().chain([last]) {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        }
        // What was written goes when it is sent.
        drop(place);
    });
    receiver
}

/// Pushes the image before the build is said to be done.
fn pushing(
    server: &Server,
    mut events: BuildEvents,
    (names, logins): (Vec<String>, Logins),
) -> BuildEvents {
    let (sender, receiver) = mpsc::channel(8);
    let service = server.service.clone();
    tokio::spawn(async move {
        while let Some(mut event) = events.recv().await {
            if let BuildEvent::Finished(_) = event {
                for name in &names {
                    if let Err(error) = service.push_built(name, &logins).await {
                        event = BuildEvent::Failed(BuildFailure {
                            message: error.message,
                            hint: error.hint.unwrap_or_default(),
                            ..BuildFailure::default()
                        });
                        break;
                    }
                }
            }
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    receiver
}
