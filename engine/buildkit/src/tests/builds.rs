//! Builds from the first call to the last.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use hoist_api::build::{
    BuildContext, BuildEvent, BuildFailure, BuildOutput, BuildPlace, BuildResult, BuildStep,
    BuildWarning, Compression, DockerfileSource,
};
use tempfile::TempDir;

use super::FakeBuilder;
use super::client::{Client, Offer};
use crate::grpc::{Code, Status};
use crate::proto::Definition;
use crate::proto::control::{
    CacheEntry, CacheOptions, DiskUsageResponse, Exporter, SolveRequest, SolveResponse,
    StatusRequest, StatusResponse,
};
use crate::proto::gateway::{self, ReturnRequest};
use crate::proto::session::{Empty, Packet, Stat};
use crate::{BuildKit, Config};

const IMAGE: &str = "sha256:0123";

fn step() -> BuildEvent {
    BuildEvent::Started {
        step: BuildStep {
            name: "[2/2] RUN false".to_owned(),
            ..BuildStep::default()
        },
        at: 1,
    }
}

fn finished() -> BuildEvent {
    BuildEvent::Finished(BuildResult {
        image: IMAGE.to_owned(),
        ..BuildResult::default()
    })
}

struct Place {
    home: TempDir,
    buildkit: BuildKit,
    builder: Arc<FakeBuilder>,
}

fn place(events: Vec<BuildEvent>) -> Place {
    let home = tempfile::tempdir().unwrap();
    let builder = FakeBuilder::playing(events);
    let config = Config {
        contexts: home.path().join("contexts"),
        host_gateway: None,
    };
    let app = home.path().join("app");
    fs::create_dir_all(app.join("src")).unwrap();
    for (name, text) in [
        (
            "Dockerfile",
            "FROM x\nRUN --mount=type=secret,id=token false\n",
        ),
        (".dockerignore", "# no\nlocal.txt\n"),
        ("local.txt", "private"),
        ("src/main", "1"),
        ("readme", "2"),
    ] {
        fs::write(app.join(name), text).unwrap();
    }
    Place {
        buildkit: BuildKit::new(config, builder.clone()),
        home,
        builder,
    }
}

impl Place {
    fn offer(&self) -> Offer {
        let app = self.home.path().join("app");
        Offer {
            directories: ["context", "dockerfile", "extra"]
                .map(|name| (name.to_owned(), app.clone()))
                .into(),
            secrets: BTreeMap::from([("token".to_owned(), b"s3cret".to_vec())]),
            ..Offer::default()
        }
    }
}

/// Builds as buildx does: `Solve` waits while the gateway is driven.
async fn build(
    client: &Client,
    (name, session): (&str, &str),
    attrs: &[(&str, &str)],
) -> Result<BTreeMap<String, String>, Status> {
    let request = SolveRequest {
        reference: name.to_owned(),
        session: session.to_owned(),
        exporters: vec![Exporter {
            kind: "moby".to_owned(),
            attrs: BTreeMap::from([(
                "name".to_owned(),
                "docker.io/library/app:latest,b:1".to_owned(),
            )]),
        }],
        cache: Some(CacheOptions {
            exports: vec![CacheEntry {
                kind: "inline".to_owned(),
                ..CacheEntry::default()
            }],
            ..CacheOptions::default()
        }),
        ..SolveRequest::default()
    };
    let solving = client.call::<SolveResponse>("/moby.buildkit.v1.Control/Solve", &request);
    let driving = async {
        let request = gateway::SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            frontend_opt: attrs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..gateway::SolveRequest::default()
        };
        let path = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
        let solved = client
            .bridge::<gateway::SolveResponse>(name, path, &request)
            .await;
        let finish = match solved {
            Ok(solved) => ReturnRequest {
                result: solved.result,
                error: None,
            },
            Err(status) => ReturnRequest {
                result: None,
                error: Some(crate::proto::RpcStatus {
                    code: status.code as i32,
                    message: status.message,
                    details: status.details,
                }),
            },
        };
        let path = "/moby.buildkit.v1.frontend.LLBBridge/Return";
        client.bridge::<Empty>(name, path, &finish).await.unwrap();
    };
    let (solved, ()) = tokio::join!(solving, driving);
    solved.map(|response| response.exporter_response)
}

async fn status(client: &Client, name: &str) -> Vec<StatusResponse> {
    let request = StatusRequest {
        reference: name.to_owned(),
    };
    let path = "/moby.buildkit.v1.Control/Status";
    let mut messages = client.stream(path, &request).await;
    let mut all = Vec::new();
    while let Some(response) = messages.next().await.unwrap() {
        all.push(response);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_gets_its_files_and_gives_its_image() {
    let place = place(vec![step(), finished()]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let attrs = [
        ("build-arg:A", "1"),
        ("target", "t"),
        ("context:more", "local:extra"),
        ("context:image", "docker-image://busybox"),
    ];
    let response = build(&client, ("b1", "s1"), &attrs).await.unwrap();
    assert_eq!(response["containerimage.digest"], IMAGE);
    assert_eq!(
        response["image.name"],
        "docker.io/library/app:latest,docker.io/library/b:1"
    );
    let (request, files) = place.builder.asked.lock().unwrap().remove(0);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, [".dockerignore", "Dockerfile", "readme", "src/main"]);
    assert_eq!(request.args["A"], "1");
    assert_eq!(request.target, "t");
    assert_eq!(request.tags, ["docker.io/library/app:latest", "b:1"]);
    assert_eq!(request.cache_to[0].kind, "inline");
    assert_eq!(request.contexts["image"], "docker-image://busybox");
    assert!(request.contexts["more"].starts_with('/'));
    let DockerfileSource::File(dockerfile) = &request.dockerfile else {
        panic!("{:?}", request.dockerfile);
    };
    assert!(dockerfile.ends_with("/Dockerfile"));
    let said = status(&client, "b1").await;
    let vertexes = said.iter().flat_map(|response| &response.vertexes);
    let names: Vec<_> = vertexes.map(|vertex| vertex.name.as_str()).collect();
    for name in [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load build context",
        "[2/2] RUN false",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_build_moves_only_what_changed() {
    let place = place(vec![finished()]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    build(&client, ("b1", "s1"), &[]).await.unwrap();
    fs::write(place.home.path().join("app/src/main"), "changed").unwrap();
    fs::remove_file(place.home.path().join("app/readme")).unwrap();
    let client = Client::connect(&place.buildkit, "s2", place.offer()).await;
    build(&client, ("b2", "s2"), &[]).await.unwrap();
    assert_eq!(*client.offer.sent.lock().unwrap(), ["src/main"]);
    let asked = place.builder.asked.lock().unwrap();
    assert_eq!(asked[1].1["src/main"], "changed");
    assert!(!asked[1].1.contains_key("readme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_told_with_its_line() {
    let failure = BuildFailure {
        message: "the command failed".to_owned(),
        step: Some(0),
        exit_code: Some(3),
        command: ["/bin/sh", "-c", "false"].map(str::to_owned).into(),
        place: Some(BuildPlace {
            line: 2,
            ..BuildPlace::default()
        }),
        ..BuildFailure::default()
    };
    let place = place(vec![step(), BuildEvent::Failed(failure)]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let error = build(&client, ("b1", "s1"), &[]).await.unwrap_err();
    let expected = "process \"/bin/sh -c false\" did not complete successfully: exit code: 3";
    assert_eq!(error.message, expected);
    let source: serde_json::Value = serde_json::from_slice(&error.details[0].value).unwrap();
    assert_eq!(source["info"]["filename"], "Dockerfile");
    assert_eq!(source["ranges"][0]["start"]["line"], 2);
    let said = status(&client, "b1").await;
    let failed = said.iter().flat_map(|response| &response.vertexes);
    assert!(failed.into_iter().any(|vertex| vertex.error == expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_the_context_of_another_build() {
    let place = place(vec![finished()]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let inputs: BTreeMap<String, Definition> =
        [("base".to_owned(), crate::request::definition_of(IMAGE))].into();
    let request = SolveRequest {
        reference: "b1".to_owned(),
        session: "s1".to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: [("context:base".to_owned(), "input:base".to_owned())].into(),
        frontend_inputs: inputs,
        ..SolveRequest::default()
    };
    let path = "/moby.buildkit.v1.Control/Solve";
    client.call::<SolveResponse>(path, &request).await.unwrap();
    let asked = place.builder.asked.lock().unwrap();
    assert_eq!(
        asked[0].0.contexts["base"],
        format!("docker-image://{IMAGE}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_back_to_the_client() {
    let place = place(vec![finished()]);
    let into = tempfile::tempdir().unwrap();
    let offer = Offer {
        trees: BTreeMap::from([("1".to_owned(), into.path().to_owned())]),
        ..place.offer()
    };
    let client = Client::connect(&place.buildkit, "s1", offer).await;
    let exporter = |kind: &str, attrs: &[(&str, &str)]| Exporter {
        kind: kind.to_owned(),
        attrs: attrs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let request = |name: &str, exporters: Vec<Exporter>| SolveRequest {
        reference: name.to_owned(),
        session: "s1".to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        exporters,
        ..SolveRequest::default()
    };
    let path = "/moby.buildkit.v1.Control/Solve";
    let all = vec![
        exporter("tar", &[]),
        exporter("local", &[("dest", "/only/the/client/knows")]),
        exporter("oci", &[("name", "a:1"), ("compression", "zstd")]),
    ];
    let asked = request("b1", all);
    client.call::<SolveResponse>(path, &asked).await.unwrap();
    let taken = client.offer.taken.lock().unwrap().clone();
    assert_eq!(taken["0"], b"the tar");
    assert_eq!(taken["2"], b"image");
    assert_eq!(fs::read(into.path().join("bin/app")).unwrap(), b"program");
    let (request_made, _) = place.builder.asked.lock().unwrap().remove(0);
    let BuildOutput::Archive(archive) = &request_made.outputs[2] else {
        panic!("{:?}", request_made.outputs);
    };
    assert_eq!(archive.names, ["a:1"]);
    assert_eq!(archive.compression, Compression::Zstd);
    let said = status(&client, "b1").await;
    let ids = said.iter().flat_map(|response| &response.statuses);
    let ids: Vec<_> = ids.map(|status| status.id.as_str()).collect();
    assert!(
        ids.contains(&"sending tarball") && ids.contains(&"copying files"),
        "{ids:?}"
    );
    // What is not carried out is told before anything is built.
    for (number, (kind, attrs)) in [
        ("oci", ("tar", "false")),
        ("image", ("push", "true")),
        ("oci", ("colour", "red")),
        ("what", ("a", "b")),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = request(&format!("r{number}"), vec![exporter(kind, &[attrs])]);
        let refused = client.call::<SolveResponse>(path, &asked).await;
        assert!(refused.is_err(), "{kind} {attrs:?}");
    }
    assert!(place.builder.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_when_it_is_built() {
    let place = place(vec![finished()]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let path = "/moby.buildkit.v1.Control/Solve";
    let request = |reference: &str, name: &str| SolveRequest {
        reference: reference.to_owned(),
        session: "s1".to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        exporters: vec![Exporter {
            kind: "image".to_owned(),
            attrs: [("name", name), ("push", "true")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        }],
        ..SolveRequest::default()
    };
    let asked = request("b1", "host:5000/a:1");
    client.call::<SolveResponse>(path, &asked).await.unwrap();
    assert_eq!(*place.builder.pushed.lock().unwrap(), ["host:5000/a:1"]);
    let said = status(&client, "b1").await;
    let mut steps = said.iter().flat_map(|response| &response.vertexes);
    assert!(steps.any(|step| step.name == "pushing host:5000/a:1"));
    let refused = client
        .call::<SolveResponse>(path, &request("b2", "denied:1"))
        .await;
    let refused = refused.unwrap_err();
    assert!(
        refused.message.contains("push access denied"),
        "{refused:?}"
    );
}

/// Nothing is to be done, and no gateway client comes for it: it must not wait for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_graph_without_steps_is_done_at_once() {
    let place = place(Vec::new());
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let asked = SolveRequest {
        reference: "b1".to_owned(),
        session: "s1".to_owned(),
        definition: Some(Definition::default()),
        ..SolveRequest::default()
    };
    let path = "/moby.buildkit.v1.Control/Solve";
    let answer = client.call::<SolveResponse>(path, &asked);
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, answer).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_may_be_uploaded() {
    let place = place(vec![finished()]);
    let archive = b"the archive of the context".to_vec();
    let offer = Offer {
        uploads: BTreeMap::from([("/up1".to_owned(), archive)]),
        ..Offer::default()
    };
    let client = Client::connect(&place.buildkit, "s1", offer).await;
    let attrs = [
        ("context", "http://buildkit-session/up1"),
        ("filename", "sub/D"),
    ];
    build(&client, ("b1", "s1"), &attrs).await.unwrap();
    let (request, files) = place.builder.asked.lock().unwrap().remove(0);
    assert_eq!(request.context, BuildContext::Archive);
    assert_eq!(
        request.dockerfile,
        DockerfileSource::Context("sub/D".to_owned())
    );
    assert_eq!(files["(archive)"], "the archive of the context");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_result_can_be_looked_at() {
    let layers = vec!["sha256:aa".to_owned()];
    let place = place(vec![BuildEvent::Finished(BuildResult {
        layers,
        ..BuildResult::default()
    })]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let request = SolveRequest {
        reference: "b1".to_owned(),
        session: "s1".to_owned(),
        ..SolveRequest::default()
    };
    let solving = client.call::<SolveResponse>("/moby.buildkit.v1.Control/Solve", &request);
    let looking = async {
        let bridge = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
        let asked = gateway::SolveRequest {
            frontend: "dockerfile.v0".to_owned(),
            ..gateway::SolveRequest::default()
        };
        let solved: gateway::SolveResponse = client.bridge("b1", bridge, &asked).await.unwrap();
        let read = gateway::ReadFileRequest {
            reference: solved.reference.clone(),
            path: "/etc/x".to_owned(),
            range: Some(gateway::FileRange {
                offset: 2,
                length: 3,
            }),
        };
        let path = "/moby.buildkit.v1.frontend.LLBBridge/ReadFile";
        let read: gateway::ReadFileResponse = client.bridge("b1", path, &read).await.unwrap();
        let said = String::from_utf8(read.data).unwrap();
        let expected = "Layers([\"sha256:aa\"]) /etc/x Read { offset: 2, length: Some(3) }";
        assert_eq!(said, expected);
        let stat = gateway::StatFileRequest {
            reference: "nothing".to_owned(),
            path: "/".to_owned(),
        };
        let path = "/moby.buildkit.v1.frontend.LLBBridge/StatFile";
        let unknown = client.bridge::<Empty>("b1", path, &stat).await.unwrap_err();
        assert_eq!(unknown.code, Code::NotFound);
        let path = "/moby.buildkit.v1.frontend.LLBBridge/Return";
        let done = ReturnRequest {
            result: solved.result,
            error: None,
        };
        client.bridge::<Empty>("b1", path, &done).await.unwrap();
    };
    let (solved, ()) = tokio::join!(solving, looking);
    solved.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_not_done_is_said() {
    let place = place(vec![finished()]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let check = async |name: &str, attrs: &[(&str, &str)]| {
        let error = build(&client, (name, "s1"), attrs).await.unwrap_err();
        (error.code, error.message)
    };
    let (_, message) = check("b1", &[("filename", "Other")]).await;
    let expected = "failed to read dockerfile: open Other: no such file or directory";
    assert_eq!(message, expected);
    let (code, _) = check("b2", &[("requestid", "frontend.unheard")]).await;
    assert_eq!(code, Code::Unimplemented);
    let (_, message) = check("b3", &[("context:a", "local:nowhere")]).await;
    assert!(message.contains("no access allowed"), "{message}");
    let unknown = client.call::<Empty>("/moby.buildkit.v1.Control/Nothing", &Empty {});
    assert_eq!(unknown.await.unwrap_err().code, Code::Unimplemented);
    let health = client
        .call::<crate::proto::session::HealthResponse>("/grpc.health.v1.Health/Check", &Empty {});
    assert_eq!(health.await.unwrap().status, 1);
}

/// `docker build --check`, `--call=outline`, `docker buildx du`.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_build_nothing_are_answered() {
    let warning = BuildEvent::Warning(BuildWarning {
        rule: "StageNameCasing".to_owned(),
        message: "a stage".to_owned(),
        place: Some(BuildPlace {
            line: 2,
            ..BuildPlace::default()
        }),
        ..BuildWarning::default()
    });
    let place = place(vec![warning, BuildEvent::Finished(BuildResult::default())]);
    let client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let ask = async |name: &str, call: &str| -> BTreeMap<String, String> {
        let request = SolveRequest {
            reference: name.to_owned(),
            session: "s1".to_owned(),
            ..SolveRequest::default()
        };
        let solving = client.call::<SolveResponse>("/moby.buildkit.v1.Control/Solve", &request);
        let driving = async {
            let options = [("requestid", call), ("target", "t")];
            let asked = gateway::SolveRequest {
                frontend: "dockerfile.v0".to_owned(),
                frontend_opt: options
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                ..gateway::SolveRequest::default()
            };
            let bridge = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
            let solved: gateway::SolveResponse = client.bridge(name, bridge, &asked).await.unwrap();
            let done = ReturnRequest {
                result: solved.result.clone(),
                error: None,
            };
            let path = "/moby.buildkit.v1.frontend.LLBBridge/Return";
            client.bridge::<Empty>(name, path, &done).await.unwrap();
            let metadata = solved.result.unwrap().metadata.into_iter();
            metadata
                .map(|(key, value)| (key, String::from_utf8(value).unwrap()))
                .collect()
        };
        let (solved, metadata) = tokio::join!(solving, driving);
        solved.unwrap();
        metadata
    };
    let lint = ask("b1", "frontend.lint").await;
    assert_eq!(lint["result.statuscode"], "1");
    let found: serde_json::Value = serde_json::from_str(&lint["result.json"]).unwrap();
    assert_eq!(found["warnings"][0]["ruleName"], "StageNameCasing");
    let line = &found["warnings"][0]["location"]["ranges"][0]["start"]["line"];
    assert_eq!(*line, 2);
    assert_eq!(found["sources"][0]["filename"], "Dockerfile");
    // The context is no part of it.
    let (request, files) = place.builder.asked.lock().unwrap().remove(0);
    assert_eq!((request.context, files.len()), (BuildContext::Empty, 0));
    let outline = ask("b2", "frontend.outline").await;
    assert!(
        outline["result.json"].contains("Outline FROM x"),
        "{outline:?}"
    );
    let calls = ask("b3", "frontend.subrequests.describe").await;
    assert!(calls["result.json"].contains("frontend.targets"));
    let usage = client.call::<DiskUsageResponse>("/moby.buildkit.v1.Control/DiskUsage", &Empty {});
    let records = usage.await.unwrap().record;
    let step = records.iter().find(|record| record.id == "step").unwrap();
    assert_eq!((step.size, step.created_at.is_some()), (7, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_session_is_refused() {
    let place = place(vec![finished()]);
    let evil = |path: &str| Packet {
        stat: Some(Stat {
            path: path.to_owned(),
            mode: 0o644,
            ..Stat::default()
        }),
        ..Packet::default()
    };
    for (number, path) in ["../../evil", "/etc/evil", "a/../../evil"]
        .into_iter()
        .enumerate()
    {
        let offer = Offer {
            hostile: Some(vec![evil(path), Packet::default()]),
            ..place.offer()
        };
        let session = format!("s{number}");
        let client = Client::connect(&place.buildkit, &session, offer).await;
        let name = format!("b{number}");
        let error = build(&client, (&name, &session), &[]).await.unwrap_err();
        assert!(error.message.contains("not a clean path"), "{error}");
    }
    assert!(place.builder.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_says_nothing_more_ends_the_build() {
    let place = place(vec![finished()]);
    let offer = Offer {
        hostile: Some(Vec::new()),
        ..place.offer()
    };
    let client = Client::connect(&place.buildkit, "s1", offer).await;
    let error = build(&client, ("b1", "s1"), &[]).await.unwrap_err();
    assert!(error.message.contains("went away"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_by_the_other_call_gets_its_files_from_the_session() {
    let place = place(vec![]);
    let _client = Client::connect(&place.buildkit, "s1", place.offer()).await;
    let request = hoist_api::build::BuildRequest {
        target: "t".to_owned(),
        ..Default::default()
    };
    let gathered = place.buildkit.gather("s1", "Dockerfile", request).await;
    let gathered = gathered.unwrap();
    assert_eq!(gathered.request.target, "t");
    let files = super::files(&gathered.request);
    assert!(files.contains_key("src/main") && !files.contains_key("local.txt"));
    let missing = place
        .buildkit
        .gather("none", "Dockerfile", Default::default());
    assert_eq!(missing.await.unwrap_err().code, Code::NotFound);
}
