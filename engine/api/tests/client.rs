//! The typed client against engines that are not what they should be, and against the list of all operations.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use hoist_api::archive::PutArchive;
use hoist_api::build::{BuildPrune, BuildRequest};
use hoist_api::client::{CheckpointCreate, ClassicBuild, Client};
use hoist_api::container::{
    AttachOptions, CommitContainer, ContainerCreate, ListContainers, LogsOptions, RemoveContainer,
    WaitCondition,
};
use hoist_api::engine::{StopOptions, TerminalSize, body_of};
use hoist_api::event::EventsOptions;
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::image::{ImportImage, PullImage, PushImage, RemoveImage, SearchImages};
use hoist_api::network::{NetworkConnect, NetworkCreate, NetworkDisconnect};
use hoist_api::ports::PortsCheck;
use hoist_api::stats::StatsMode;
use hoist_api::volume::VolumeCreate;
use hoist_api::{Engine as _, ErrorKind, Filters};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

/// What an engine says after a request's head.
#[derive(Clone, Copy)]
enum Says {
    /// These bytes, and it hangs up.
    Bytes(&'static str),
    /// Nothing, for ever.
    Nothing,
    /// These bytes, and then nothing more.
    AndStops(&'static str),
}

/// An engine of one test: the first lines of what it was asked, and how many clients have gone away.
struct Mock {
    client: Client,
    asked: Arc<Mutex<Vec<String>>>,
    gone: Arc<tokio::sync::Notify>,
    _place: tempfile::TempDir,
}

fn mock(says: Says) -> Mock {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let gone = Arc::new(tokio::sync::Notify::new());
    let listener = UnixListener::bind(&socket).unwrap();
    let (list, hung_up) = (asked.clone(), gone.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, says, list.clone(), hung_up.clone()));
        }
    });
    Mock {
        client: Client::new(socket),
        asked,
        gone,
        _place: place,
    }
}

async fn answer(
    mut stream: UnixStream,
    says: Says,
    asked: Arc<Mutex<Vec<String>>>,
    gone: Arc<tokio::sync::Notify>,
) {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(line);
    match says {
        Says::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            return;
        }
        Says::AndStops(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Says::Nothing => {}
    }
    // Until the client hangs up.
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
    gone.notify_one();
}

const REFUSED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{\"message\":\"no.\"}";

/// What no method is for, each with why.
const OTHERWISE: [(&str, &str); 2] = [
    ("HEAD /_ping", "`ping` asks by GET, which tells the same"),
    ("GET /networks/", "the same as without the slash"),
];

#[tokio::test]
async fn every_operation_has_a_method_and_every_method_an_operation() {
    let mock = mock(Says::Bytes(REFUSED));
    containers(&mock.client).await;
    images(&mock.client).await;
    the_rest(&mock.client).await;
    let operations = operations();
    let asked: BTreeSet<String> = mock
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|line| place(line))
        .collect();
    let is_of = |asked: &String, operation: &String| is_at(asked, operation);
    let without: Vec<&String> = operations
        .iter()
        .filter(|operation| !asked.iter().any(|asked| is_of(asked, operation)))
        .filter(|operation| !OTHERWISE.iter().any(|(known, _)| known == operation))
        .collect();
    assert!(without.is_empty(), "no method for {without:#?}");
    let unknown: Vec<&String> = asked
        .iter()
        .filter(|asked| !operations.iter().any(|operation| is_of(asked, operation)))
        .collect();
    assert!(unknown.is_empty(), "not in docs/openapi.yaml: {unknown:#?}");
}

/// Method and path of a request's first line, without version and query.
fn place(line: &str) -> String {
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let path = path.split('?').next().unwrap();
    let path = path.strip_prefix("/v1.51").unwrap_or(path);
    format!("{method} {path}")
}

/// `METHOD /path/{parameter}` of the OpenAPI.
fn operations() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let mut path = "";
    let mut found = Vec::new();
    for line in text.lines().skip_while(|line| *line != "paths:") {
        let word = line.trim().strip_suffix(':').unwrap_or_default();
        match line.len() - line.trim_start().len() {
            2 if word.starts_with('/') => path = word,
            2 => path = "",
            4 if !path.is_empty() && !word.is_empty() => {
                found.push(format!("{} {path}", word.to_uppercase()));
            }
            _ => {}
        }
    }
    assert!(found.len() > 70, "{found:?}");
    found
}

/// Whether a request is one of an operation.
fn is_at(asked: &str, operation: &str) -> bool {
    let (mut asked, mut wanted) = (asked.split(['/', ' ']), operation.split(['/', ' ']));
    loop {
        match (asked.next(), wanted.next()) {
            (None, None) => return true,
            (Some(_), Some("{rest}")) => return true,
            (Some(asked), Some(wanted)) if asked == wanted => {}
            (Some("one"), Some(wanted)) if wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

async fn containers(client: &Client) {
    let (stop, size) = (StopOptions::default(), TerminalSize::default());
    let _ = client.containers(&ListContainers::default()).await;
    let _ = client
        .container_create("", &ContainerCreate::default())
        .await;
    let _ = client
        .container_create_of("", "linux/arm64", &ContainerCreate::default())
        .await;
    let _ = client.container_inspect("one").await;
    let _ = client.container_inspect_with_size("one").await;
    let _ = client.container_start("one").await;
    let _ = client.container_stop("one", &stop).await;
    let _ = client.container_restart("one", &stop).await;
    let _ = client.container_kill("one", "").await;
    let _ = client.container_pause("one").await;
    let _ = client.container_unpause("one").await;
    let _ = client
        .container_remove("one", RemoveContainer::default())
        .await;
    let _ = client.container_remove_link("one", "one").await;
    let _ = client
        .container_wait("one", WaitCondition::NotRunning)
        .await;
    let _ = client.container_rename("one", "two").await;
    let _ = client.container_logs("one", &LogsOptions::default()).await;
    let _ = client
        .container_attach("one", AttachOptions::default())
        .await;
    let _ = client.container_attach_websocket("one").await;
    let _ = client.container_resize("one", size).await;
    let _ = client.container_top("one").await;
    let _ = client.container_stats("one", StatsMode::Once).await;
    let _ = client.container_changes("one").await;
    let _ = client.container_export("one").await;
    let _ = client.container_path_stat("one", "/").await;
    let _ = client.container_get_archive("one", "/").await;
    let _ = client.container_put_archive("one", "/", body_of("")).await;
    let put = PutArchive::default();
    let _ = client
        .container_put_archive_with("one", &put, body_of(""))
        .await;
    let _ = client.container_update("one", &json!({})).await;
    let _ = client
        .container_commit("one", &CommitContainer::default())
        .await;
    let _ = client.containers_prune(&Filters::new()).await;
    let _ = client.container_checkpoints("one", "").await;
    let create = CheckpointCreate::default();
    let _ = client.container_checkpoint_create("one", &create).await;
    let _ = client.container_checkpoint_remove("one", "one").await;
    let _ = client.exec_create("one", &ExecCreate::default()).await;
    let _ = client.exec_start("one", &ExecStart::default()).await;
    let _ = client.exec_start_detached("one").await;
    let _ = client.exec_inspect("one").await;
    let _ = client.exec_resize("one", size).await;
}

async fn images(client: &Client) {
    let named = |reference: &str| reference.to_owned();
    let _ = client.images(&Filters::new()).await;
    let _ = client.image_inspect("one").await;
    let _ = client.image_remove("one", RemoveImage::default()).await;
    let _ = client.image_tag("one", "two").await;
    let import = ImportImage::default();
    let _ = client.image_import(&import, body_of("")).await;
    let _ = client.image_import_from("http://x/y.tar", &import).await;
    let _ = client.image_load(body_of("")).await;
    let _ = client.image_get("one").await;
    let _ = client.image_save(&[named("one")]).await;
    let _ = client.image_history("one").await;
    let _ = client.images_prune(&Filters::new()).await;
    let _ = client.image_search(&SearchImages::default()).await;
    let pull = PullImage {
        reference: named("one"),
        ..PullImage::default()
    };
    let _ = client.image_pull(&pull).await;
    let push = PushImage {
        reference: named("one"),
        ..PushImage::default()
    };
    let _ = client.image_push(&push).await;
    let _ = client.image_build(&BuildRequest::default(), None).await;
    let classic = ClassicBuild::default();
    let _ = client
        .image_build_classic(&classic, Some(body_of("")))
        .await;
    let _ = client.build_prune(&BuildPrune::default()).await;
    let _ = client.buildkit().await;
    let _ = client
        .buildkit_session(&[("x-docker-expose-session-uuid", "1")])
        .await;
    let _ = client.registry_login(&json!({})).await;
    let _ = client.distribution_inspect("one", "").await;
}

async fn the_rest(client: &Client) {
    let _ = client.ping().await;
    let _ = client.version().await;
    let _ = client.info().await;
    let _ = client.data_usage().await;
    let _ = client.events(&EventsOptions::default()).await;
    let _ = client.networks(&Filters::new()).await;
    let _ = client.network_inspect("one").await;
    let _ = client.network_create(&NetworkCreate::default()).await;
    let _ = client.network_remove("one").await;
    let _ = client
        .network_connect("one", &NetworkConnect::default())
        .await;
    let _ = client
        .network_disconnect("one", &NetworkDisconnect::default())
        .await;
    let _ = client.networks_prune(&Filters::new()).await;
    let _ = client.volumes(&Filters::new()).await;
    let _ = client.volume_inspect("one").await;
    let _ = client.volume_create(&VolumeCreate::default()).await;
    let _ = client.volume_update("one", 1, &json!({})).await;
    let _ = client.volume_remove("one", false).await;
    let _ = client.volumes_prune(&Filters::new()).await;
    let _ = client.plugins(&Filters::new()).await;
    let _ = client.plugin_privileges("one").await;
    let _ = client.plugin_pull(("one", "two"), &[], "").await;
    let _ = client.plugin_create("one", body_of("")).await;
    let _ = client.swarm_init(&json!({})).await;
    let _ = client.swarm_join(&json!({})).await;
    let _ = client.swarm_leave(false).await;
    let _ = client.status().await;
    let _ = client.keep_engine().await;
    let _ = client.stop_engine(false).await;
    let _ = client.ports_check(&PortsCheck::default()).await;
}

#[track_caller]
fn check(error: hoist_api::ApiError, kind: ErrorKind, says: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(says), "{error}");
}

/// What an engine that is none, or that breaks, comes to: an error that says so, never a panic and never a call that hangs.
#[tokio::test]
async fn answers_that_are_none() {
    let cases = [
        ("", ErrorKind::Unreachable, "cannot reach the engine"),
        (
            "garbage\r\n\r\n",
            ErrorKind::Unreachable,
            "cannot reach the engine",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 20\r\n\r\n<html>\n no upstream\n",
            ErrorKind::Internal,
            "the engine answered 502 Bad Gateway: <html>",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
            ErrorKind::NotFound,
            "the engine answered 404",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Version\":",
            ErrorKind::Unreachable,
            "broke off",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"Version",
            ErrorKind::Protocol,
            "cannot read the engine's answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ErrorKind::Unreachable,
            "broke off",
        ),
    ];
    for (bytes, kind, says) in cases {
        let mock = mock(Says::Bytes(bytes));
        check(mock.client.version().await.unwrap_err(), kind, says);
    }
}

#[tokio::test]
async fn a_stream_tells_its_failure_last() {
    let lines = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"status\":\"one\"}\r\n2\r\n\n{\r\n";
    let engine = mock(Says::Bytes(lines));
    let pull = PullImage {
        reference: "one".to_owned(),
        ..PullImage::default()
    };
    let mut progress = engine.client.image_pull(&pull).await.unwrap();
    assert_eq!(progress.next().await.unwrap().unwrap().status, "one");
    let error = progress.next().await.unwrap().unwrap_err();
    check(error, ErrorKind::Unreachable, "broke off");
}

#[tokio::test]
async fn a_silent_engine_is_given_up() {
    let limit = Duration::from_millis(100);
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    for says in [Says::Nothing, Says::AndStops(half)] {
        let mock = mock(says);
        let hasty = mock.client.clone().with_timeout(limit);
        let error = hasty.version().await.unwrap_err();
        check(
            error,
            ErrorKind::Unreachable,
            "has not answered within 100 ms",
        );
        // It is not left waiting for us either.
        let gone = tokio::time::timeout(Duration::from_secs(20), mock.gone.notified());
        gone.await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn a_dropped_call_is_given_up() {
    let mock = mock(Says::Nothing);
    let call = mock.client.version();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call)
            .await
            .is_err()
    );
    let gone = tokio::time::timeout(Duration::from_secs(20), mock.gone.notified());
    gone.await.expect("the connection is closed");
}

#[tokio::test]
async fn an_older_engine_is_asked_for_what_it_speaks() {
    let ping =
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";
    let mock = mock(Says::Bytes(ping));
    let client = mock.client.clone().negotiated().await.unwrap();
    assert_eq!(client.api_version(), (1, 41));
    let _ = client.info().await;
    let asked = mock.asked.lock().unwrap().clone();
    assert!(asked[1].starts_with("GET /v1.41/info "), "{asked:?}");
}
