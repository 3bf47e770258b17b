//! What the engine does by itself: health checks, restarts, removal, leaving when idle.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{TestEngine, exec, with_configured_engine, with_engine};
use futures_util::StreamExt as _;
use hoist_api::container::{HealthConfig, LogsOptions, RemoveContainer};
use hoist_api::engine::StopOptions;
use hoist_api::event::EventsOptions;
use hoist_api::{Engine as _, ErrorKind, Filters};

const MILLISECOND: i64 = 1_000_000;

fn quiet(line: &str) -> hoist_api::container::ContainerCreate {
    let mut create = TestEngine::shell(line);
    create.host_config.network_mode = "none".to_owned();
    create.host_config.init = Some(true);
    create
}

#[test]
fn health_follows_the_checks() {
    with_engine(|engine| async move {
        let mut create = quiet("touch /tmp/ok; sleep 1000");
        create.config.healthcheck = Some(HealthConfig {
            test: ["CMD-SHELL", "echo checked; cat /tmp/ok"]
                .map(str::to_owned)
                .to_vec(),
            interval: 50 * MILLISECOND,
            timeout: 5000 * MILLISECOND,
            retries: 2,
            ..Default::default()
        });
        let filters = Filters::new().with("event", "health_status");
        let options = EventsOptions {
            filters,
            ..Default::default()
        };
        let mut events = engine.client.events(&options).await.unwrap();
        engine.start("web", &create).await;
        assert_eq!(
            events.next().await.unwrap().unwrap().action,
            "health_status: healthy"
        );
        exec(&engine, "web", &["sh", "-c", "busybox rm /tmp/ok"]).await;
        assert_eq!(
            events.next().await.unwrap().unwrap().action,
            "health_status: unhealthy"
        );
        let health = engine
            .client
            .container_inspect("web")
            .await
            .unwrap()
            .state
            .health
            .unwrap();
        assert!(health.failing_streak >= 2 && health.log.len() <= 5);
        assert!(health.log.last().unwrap().output.starts_with("checked\n"));
    });
}

#[test]
fn a_failing_container_is_started_again_until_it_has_had_enough() {
    with_engine(|engine| async move {
        let mut create = quiet("echo run; exit 3");
        create.host_config.restart_policy.name = "on-failure".to_owned();
        create.host_config.restart_policy.maximum_retry_count = 2;
        engine.start("web", &create).await;
        engine
            .until("it has ended for good", async |engine| {
                let inspect = engine.client.container_inspect("web").await.unwrap();
                inspect.state.status == "exited" && inspect.restart_count == 2
            })
            .await;
        assert_eq!(engine.output("web").await, "run\nrun\nrun\n");
        assert_eq!(
            engine
                .client
                .container_inspect("web")
                .await
                .unwrap()
                .state
                .exit_code,
            3
        );
    });
}

#[test]
fn what_the_user_stops_stays_stopped() {
    with_engine(|engine| async move {
        let mut create = quiet("sleep 1000");
        create.host_config.restart_policy.name = "always".to_owned();
        engine.start("web", &create).await;
        let options = StopOptions {
            timeout: Some(5),
            signal: None,
        };
        engine.client.container_stop("web", &options).await.unwrap();
        let inspect = engine.client.container_inspect("web").await.unwrap();
        assert_eq!(
            (inspect.state.status.as_str(), inspect.state.restarting),
            ("exited", false)
        );
    });
}

#[test]
fn a_container_to_be_removed_at_its_end_is_gone() {
    with_engine(|engine| async move {
        let mut create = quiet("exit 0");
        create.host_config.auto_remove = true;
        engine.start("web", &create).await;
        engine
            .until("it is gone", async |engine| {
                let inspected = engine.client.container_inspect("web").await;
                inspected.is_err_and(|error| error.is(ErrorKind::NotFound))
            })
            .await;
        let mut missing = quiet("");
        missing.config.cmd = Some(vec!["/none".to_owned()]);
        missing.host_config.auto_remove = true;
        let id = engine
            .client
            .container_create("never", &missing)
            .await
            .unwrap()
            .id;
        assert!(engine.client.container_start(&id).await.is_err());
        engine
            .until("it is gone too", async |engine| {
                engine.client.container_inspect("never").await.is_err()
            })
            .await;
    });
}

#[test]
fn logs_are_followed_to_the_end() {
    with_engine(|engine| async move {
        engine
            .start(
                "web",
                &quiet("echo one; sleep 0.2; echo two; sleep 0.2; echo three"),
            )
            .await;
        let options = LogsOptions {
            follow: true,
            ..LogsOptions::default()
        };
        let mut frames = engine.client.container_logs("web", &options).await.unwrap();
        let mut text = String::new();
        while let Some(frame) = frames.next().await {
            text.push_str(std::str::from_utf8(&frame.unwrap().data).unwrap());
        }
        assert_eq!(text, "one\ntwo\nthree\n");
        let last = LogsOptions {
            tail: Some(1),
            ..LogsOptions::default()
        };
        let mut frames = engine.client.container_logs("web", &last).await.unwrap();
        assert_eq!(
            frames.next().await.unwrap().unwrap().data.as_ref(),
            b"three\n"
        );
    });
}

#[test]
fn volumes_are_filled_from_the_image_and_outlive_containers() {
    with_engine(|engine| async move {
        let client = &engine.client;
        let mut create = quiet("cat /data/first; echo more > /data/second");
        create.host_config.binds = vec!["data:/data".to_owned()];
        engine.start("one", &create).await;
        engine
            .until("it has ended", async |engine| {
                engine
                    .client
                    .container_inspect("one")
                    .await
                    .unwrap()
                    .state
                    .status
                    == "exited"
            })
            .await;
        assert_eq!(engine.output("one").await, "from the image\n");
        let error = client.volume_remove("data", false).await.unwrap_err();
        assert!(error.is(ErrorKind::Conflict), "{error:?}");
        let options = RemoveContainer {
            force: true,
            volumes: true,
        };
        client.container_remove("one", options).await.unwrap();
        let volume = client.volume_inspect("data").await.unwrap();
        let kept = std::fs::read_to_string(format!("{}/second", volume.mountpoint)).unwrap();
        assert_eq!(kept, "more\n");
        client.volume_remove("data", false).await.unwrap();
    });
}

#[test]
fn an_engine_with_nothing_to_run_leaves() {
    let configure = |config: &mut hoist_engine::EngineConfig| {
        config.idle_exit = Some(Duration::from_millis(300));
    };
    with_configured_engine(configure, |mut engine| async move {
        engine.start("web", &quiet("sleep 1")).await;
        engine.has_left().await;
        assert!(!engine.config.socket.exists());
    });
}
