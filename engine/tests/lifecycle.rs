//! A container's life through the API: created, started, looked at, entered, stopped, removed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{TestEngine, exec, with_engine};
use hoist_api::Engine as _;
use hoist_api::container::{ListContainers, RemoveContainer, WaitCondition};
use hoist_api::engine::StopOptions;
use hoist_api::{ErrorKind, Filters};

#[test]
fn a_container_lives_and_ends() {
    with_engine(|engine| async move {
        let client = &engine.client;
        let mut create = TestEngine::shell(
            "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.05; done",
        );
        create.host_config.network_mode = "none".to_owned();
        let id = engine.start("web", &create).await;
        let inspect = client.container_inspect("web").await.unwrap();
        assert_eq!(
            (inspect.id.as_str(), inspect.state.status.as_str()),
            (id.as_str(), "running")
        );
        assert!(inspect.state.pid > 0);

        let error = client.container_create("web", &create).await.unwrap_err();
        assert!(
            error.message.starts_with(
                "Conflict. The container name \"/web\" is already in use by container"
            )
        );
        assert!(
            client
                .container_start("web")
                .await
                .unwrap_err()
                .is(ErrorKind::NotModified)
        );

        let listed = client.containers(&ListContainers::default()).await.unwrap();
        assert!(listed[0].status.starts_with("Up "), "{}", listed[0].status);

        assert_eq!(
            exec(&engine, "web", &["sh", "-c", "echo inside; exit 5"]).await,
            ("inside\n".to_owned(), Some(5))
        );

        let (said, code) = exec(&engine, "web", &["nothing"]).await;
        assert!(said.contains("executable file not found"), "{said}");
        assert_eq!(code, Some(127));

        let options = StopOptions {
            timeout: Some(5),
            signal: None,
        };
        client.container_stop("web", &options).await.unwrap();
        assert!(
            client
                .container_stop("web", &options)
                .await
                .unwrap_err()
                .is(ErrorKind::NotModified)
        );
        let inspect = client.container_inspect(&id[..12]).await.unwrap();
        assert_eq!(
            (inspect.state.status.as_str(), inspect.state.exit_code),
            ("exited", 7)
        );
        let mut output: Vec<String> = engine
            .output("web")
            .await
            .lines()
            .map(str::to_owned)
            .collect();
        output.sort();
        assert_eq!(output, ["err", "out"]);

        client
            .container_remove("web", RemoveContainer::default())
            .await
            .unwrap();
        let error = client.container_inspect("web").await.unwrap_err();
        assert_eq!(error.message, "No such container: web");
    });
}

#[test]
fn exit_codes_are_exact() {
    with_engine(|engine| async move {
        let client = &engine.client;
        for (line, expected) in [("exit 3", 3), ("kill -9 $$", 137), ("true", 0)] {
            let mut create = TestEngine::shell(line);
            create.host_config.network_mode = "none".to_owned();
            // The first process of a namespace cannot kill itself.
            create.host_config.init = Some(true);
            let id = client.container_create("", &create).await.unwrap().id;
            let waiting = client.container_wait(&id, WaitCondition::NextExit);
            let started = async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                client.container_start(&id).await.unwrap();
            };
            let limit = std::time::Duration::from_secs(10);
            let waited =
                tokio::time::timeout(limit, async { tokio::join!(waiting, started).0 }).await;
            if waited.is_err() {
                panic!("{line}: {:?}", client.container_inspect(&id).await);
            }
            assert_eq!(waited.unwrap().unwrap().status_code, expected, "{line}");
        }
        let mut create = TestEngine::shell("");
        create.host_config.network_mode = "none".to_owned();
        create.config.cmd = Some(vec!["/bin/nothing".to_owned()]);
        let id = client
            .container_create("missing", &create)
            .await
            .unwrap()
            .id;
        let error = client.container_start(&id).await.unwrap_err();
        assert!(error.is(ErrorKind::BadRequest), "{error:?}");
        assert!(error.message.contains("/bin/nothing"), "{}", error.message);
        assert_eq!(
            client.container_inspect(&id).await.unwrap().state.exit_code,
            127
        );
    });
}

#[test]
fn lists_are_filtered() {
    with_engine(|engine| async move {
        let client = &engine.client;
        for (name, label) in [("a1", "shop"), ("a2", "shop"), ("b1", "other")] {
            let mut create = TestEngine::shell("true");
            create
                .config
                .labels
                .insert("project".to_owned(), label.to_owned());
            client.container_create(name, &create).await.unwrap();
        }
        let names = async |filters: Filters| -> Vec<String> {
            let options = ListContainers {
                all: true,
                filters,
                ..Default::default()
            };
            let listed = client.containers(&options).await.unwrap();
            listed
                .into_iter()
                .map(|container| container.names[0].clone())
                .collect()
        };
        assert_eq!(
            names(Filters::new().label("project=shop")).await,
            ["/a2", "/a1"]
        );
        assert_eq!(
            names(Filters::new().with("name", "1")).await,
            ["/b1", "/a1"]
        );
        assert!(
            client
                .containers(&ListContainers::default())
                .await
                .unwrap()
                .is_empty()
        );
    });
}
