//! Networks through the API: names, published ports, connecting while running, an engine that leaves and comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::{TestEngine, exec, fetch, with_engine};
use hoist_api::container::{ContainerCreate, RemoveContainer};
use hoist_api::host_config::PortBinding;
use hoist_api::network::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamPool, NetworkConnect, NetworkCreate,
    NetworkDisconnect,
};
use hoist_api::{Engine as _, ErrorKind};

fn server(network: &str, port: &str) -> ContainerCreate {
    let mut create = TestEngine::shell("echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp");
    create.host_config.network_mode = network.to_owned();
    let binding = PortBinding {
        host_ip: String::new(),
        host_port: port.to_owned(),
    };
    create
        .host_config
        .port_bindings
        .insert("80/tcp".to_owned(), Some(vec![binding]));
    create
}

fn sleeper(network: &str) -> ContainerCreate {
    let mut create = TestEngine::shell("sleep 1000");
    create.host_config.network_mode = network.to_owned();
    create.host_config.init = Some(true);
    create
}

async fn create_network(engine: &TestEngine, name: &str, subnet: &str) {
    let pool = IpamPool {
        subnet: subnet.to_owned(),
        ..Default::default()
    };
    let body = NetworkCreate {
        name: name.to_owned(),
        ipam: Some(Ipam {
            config: vec![pool],
            ..Default::default()
        }),
        ..Default::default()
    };
    engine.client.network_create(&body).await.unwrap();
}

const READ: &[&str] = &["wget", "-q", "-O", "-", "http://web/"];

#[test]
fn containers_find_each_other_and_the_machine_finds_them() {
    with_engine(|engine| async move {
        let client = &engine.client;
        create_network(&engine, "shop", "10.77.0.0/24").await;
        engine.start("web", &server("shop", "8080")).await;
        engine.start("client", &sleeper("shop")).await;
        assert_eq!(exec(&engine, "client", READ).await.0, "hello\n");
        for address in ["127.0.0.1:8080", "[::1]:8080", "10.77.0.1:8080"] {
            assert_eq!(fetch(address).await.as_deref(), Ok("hello\n"), "{address}");
        }

        let second = client
            .container_create("second", &server("shop", "8080"))
            .await
            .unwrap();
        let error = client.container_start(&second.id).await.unwrap_err();
        assert!(
            error
                .message
                .contains("port is already allocated by container web"),
            "{}",
            error.message
        );

        let error = client.network_remove("shop").await.unwrap_err();
        assert!(error.is(ErrorKind::Forbidden) && error.message.contains("has active endpoints"));
        for name in ["web", "client", "second"] {
            let options = RemoveContainer {
                force: true,
                volumes: true,
            };
            client.container_remove(name, options).await.unwrap();
        }
        assert!(fetch("127.0.0.1:8080").await.is_err());
        client.network_remove("shop").await.unwrap();
    });
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    with_engine(|engine| async move {
        let client = &engine.client;
        create_network(&engine, "one", "10.78.0.0/24").await;
        create_network(&engine, "two", "10.79.0.0/24").await;
        engine.start("web", &server("one", "")).await;
        engine.start("client", &sleeper("two")).await;
        assert_ne!(exec(&engine, "client", READ).await.1, Some(0));

        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: "10.79.0.99".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let connect = NetworkConnect {
            container: "web".to_owned(),
            endpoint_config: Some(endpoint),
        };
        client.network_connect("two", &connect).await.unwrap();
        assert_eq!(exec(&engine, "client", READ).await.0, "hello\n");
        let inspect = client.container_inspect("web").await.unwrap();
        let networks = inspect.network_settings.networks;
        assert_eq!(networks["two"].ip_address, "10.79.0.99");

        let disconnect = NetworkDisconnect {
            container: "web".to_owned(),
            force: false,
        };
        client.network_disconnect("two", &disconnect).await.unwrap();
        assert_ne!(exec(&engine, "client", READ).await.1, Some(0));
        assert_eq!(
            exec(&engine, "web", &["cat", "/etc/hosts"])
                .await
                .0
                .matches("10.79")
                .count(),
            0
        );
    });
}

#[test]
fn what_runs_goes_on_under_the_next_engine() {
    with_engine(|mut engine| async move {
        create_network(&engine, "shop", "10.80.0.0/24").await;
        let mut create = server("shop", "8090");
        create.host_config.restart_policy.name = "always".to_owned();
        engine.start("web", &create).await;
        engine.start("client", &sleeper("shop")).await;
        let before = engine.client.container_inspect("web").await.unwrap();

        engine.client.stop_engine(false).await.unwrap();
        engine.run_again().await;
        let after = engine.client.container_inspect("web").await.unwrap();
        assert_eq!(after.state, before.state);
        assert_eq!(after.network_settings, before.network_settings);
        assert_eq!(fetch("127.0.0.1:8090").await.as_deref(), Ok("hello\n"));
        assert_eq!(fetch("[::1]:8090").await.as_deref(), Ok("hello\n"));
        assert_eq!(exec(&engine, "client", READ).await.0, "hello\n");

        // Its end is seen by the new engine, and its policy followed.
        let pid = i32::try_from(after.state.pid).unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        engine
            .until("web runs again", async |engine| {
                let inspect = engine.client.container_inspect("web").await.unwrap();
                inspect.state.running
                    && inspect.restart_count == 1
                    && fetch("127.0.0.1:8090").await.is_ok()
            })
            .await;
    });
}

#[test]
fn the_modes_without_a_network_of_their_own() {
    with_engine(|engine| async move {
        let mut alone = sleeper("none");
        alone.config.hostname = "alone".to_owned();
        let id = engine.start("alone", &alone).await;
        let links = exec(&engine, "alone", &["ls", "/sys/class/net"]).await.0;
        assert_eq!(links, "lo\n");
        assert_eq!(exec(&engine, "alone", &["hostname"]).await.0, "alone\n");
        assert_eq!(
            exec(
                &engine,
                "alone",
                &["nc", "-l", "-p", "1", "-w", "1", "-s", "127.0.0.1"]
            )
            .await
            .1
            .map(|code| code < 126),
            Some(true)
        );

        engine
            .start("guest", &sleeper(&format!("container:{id}")))
            .await;
        assert_eq!(exec(&engine, "guest", &["hostname"]).await.0, "alone\n");
        let host = sleeper("host");
        engine.start("host", &host).await;
        assert_eq!(
            engine
                .client
                .container_inspect("host")
                .await
                .unwrap()
                .network_settings
                .networks
                .len(),
            1
        );
    });
}
