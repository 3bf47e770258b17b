//! bollard, also as a client of BuildKit, and testcontainers with PostgreSQL and Redis: started, waited for, spoken to, copied to and
//! from, gone. Prints
//! «all is well» at the end.

mod build;

use std::collections::HashMap;
use std::error::Error;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkConnectRequest, NetworkCreateRequest,
    PortBinding, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder,
    InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder, UploadToContainerOptionsBuilder,
    WaitContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt};
use testcontainers::core::{ExecCommand, IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Done = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done {
    let docker = Docker::connect_with_defaults()?.negotiate_version().await?;
    life(&docker).await?;
    files_and_networks(&docker).await?;
    build::all(&docker).await?;
    redis().await?;
    postgres(&docker).await?;
    let all = ListContainersOptionsBuilder::default().all(true).build();
    assert_eq!(docker.list_containers(Some(all)).await?.len(), 0);
    println!("all is well");
    Ok(())
}

async fn create(
    docker: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, Box<dyn Error>> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    Ok(docker.create_container(Some(options), body).await?.id)
}

fn busybox(command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        ..ContainerCreateBody::default()
    }
}

/// bollard: a container's life, with its events, logs, statistics and execs.
async fn life(docker: &Docker) -> Done {
    assert_eq!(docker.ping().await?, "OK");
    let filters = HashMap::from([("event", vec!["die"]), ("container", vec!["life"])]);
    let mut events = docker.events(Some(
        EventsOptionsBuilder::default()
            .since("1")
            .filters(&filters)
            .build(),
    ));
    let body = ContainerCreateBody {
        labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
        exposed_ports: Some(vec!["80/tcp".to_owned()]),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            port_bindings: Some(HashMap::from([(
                "80/tcp".to_owned(),
                Some(vec![PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: None,
                }]),
            )])),
            ..HostConfig::default()
        }),
        ..busybox(&["sh", "-c", "echo out; echo err >&2; read line; exit 5"])
    };
    let body = ContainerCreateBody {
        open_stdin: Some(true),
        ..body
    };
    let id = create(docker, "life", body).await?;
    docker.start_container("life", None).await?;
    let state = docker
        .inspect_container("life", None::<InspectContainerOptions>)
        .await?;
    assert_eq!(state.id.as_deref(), Some(id.as_str()));
    assert_eq!(
        state.host_config.and_then(|host| host.memory),
        Some(64 << 20)
    );

    let mut logs = docker.logs(
        "life",
        Some(
            LogsOptionsBuilder::default()
                .follow(true)
                .stdout(true)
                .stderr(true)
                .build(),
        ),
    );
    let mut said = Vec::new();
    while said.len() < 2 {
        said.push(logs.next().await.ok_or("the log ended")??.to_string());
    }
    said.sort();
    assert_eq!(said, ["err\n", "out\n"]);

    let stats = StatsOptionsBuilder::default().stream(false).build();
    let stats = docker
        .stats("life", Some(stats))
        .next()
        .await
        .ok_or("no statistics")??;
    assert_eq!(
        stats.memory_stats.and_then(|memory| memory.limit),
        Some(64 << 20)
    );

    let exec = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(vec!["cat"]),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec("life", exec).await?.id;
    let StartExecResults::Attached {
        mut output,
        mut input,
    } = docker.start_exec(&exec, None::<StartExecOptions>).await?
    else {
        return Err("detached".into());
    };
    input.write_all(b"through\n").await?;
    input.shutdown().await?;
    drop(input);
    let mut answer = Vec::new();
    while let Some(piece) = output.try_next().await? {
        assert!(matches!(piece, LogOutput::StdOut { .. }), "{piece}");
        answer.extend_from_slice(&piece.into_bytes());
    }
    assert_eq!(answer, b"through\n");
    assert_eq!(docker.inspect_exec(&exec).await?.exit_code, Some(0));

    docker.pause_container("life").await?;
    docker.unpause_container("life").await?;
    let mut waiting = docker.wait_container("life", None::<WaitContainerOptions>);
    docker.kill_container("life", None).await?;
    // bollard tells a code other than 0 as an error.
    match waiting.next().await.ok_or("no end")? {
        Err(bollard::errors::Error::DockerContainerWaitError { code: 137, .. }) => {}
        other => return Err(format!("{other:?}").into()),
    }
    let died = events.next().await.ok_or("no event")??;
    assert_eq!(died.actor.and_then(|actor| actor.id), Some(id));
    remove(docker, "life").await
}

async fn remove(docker: &Docker, name: &str) -> Done {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    docker.remove_container(name, Some(options)).await?;
    Ok(())
}

/// bollard: archives both ways, volumes, networks.
async fn files_and_networks(docker: &Docker) -> Done {
    let volume = VolumeCreateRequest {
        name: Some("data".to_owned()),
        ..VolumeCreateRequest::default()
    };
    assert_eq!(docker.create_volume(volume).await?.name, "data");
    let network = NetworkCreateRequest {
        name: "net".to_owned(),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(network).await?;
    let body = ContainerCreateBody {
        host_config: Some(HostConfig {
            binds: Some(vec!["data:/data".to_owned()]),
            ..HostConfig::default()
        }),
        ..busybox(&["sleep", "1000"])
    };
    create(docker, "box", body).await?;
    docker.start_container("box", None).await?;
    let connect = NetworkConnectRequest {
        container: "box".to_owned(),
        endpoint_config: Some(EndpointSettings {
            aliases: Some(vec!["alias".to_owned()]),
            ..EndpointSettings::default()
        }),
    };
    docker.connect_network("net", connect).await?;
    let state = docker
        .inspect_container("box", None::<InspectContainerOptions>)
        .await?;
    let networks = state
        .network_settings
        .and_then(|settings| settings.networks)
        .unwrap_or_default();
    assert!(
        networks["net"]
            .ip_address
            .as_ref()
            .is_some_and(|address| !address.is_empty())
    );

    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o640);
    archive.append_data(&mut header, "side", &b"word\n"[..])?;
    let options = UploadToContainerOptionsBuilder::default()
        .path("/data")
        .build();
    let archive = archive.into_inner()?;
    docker
        .upload_to_container("box", Some(options), bollard::body_full(archive.into()))
        .await?;
    let options = DownloadFromContainerOptionsBuilder::default()
        .path("/data/side")
        .build();
    let mut pieces = docker.download_from_container("box", Some(options));
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut entry = archive.entries()?.next().ok_or("an empty archive")??;
    assert_eq!(entry.path()?.to_str(), Some("side"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut entry, &mut text)?;
    assert_eq!(text, "word\n");
    remove(docker, "box").await?;
    docker.remove_network("net").await?;
    docker
        .remove_volume(
            "data",
            None::<bollard::query_parameters::RemoveVolumeOptions>,
        )
        .await?;
    assert!(docker.inspect_volume("data").await.is_err());
    Ok(())
}

/// testcontainers: waits for a line of the log.
async fn redis() -> Done {
    let cache = GenericImage::new("shop-cache", "latest")
        .with_exposed_port(6379.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
        .with_network("cache-net")
        .with_copy_to("/tmp/copied", b"copied in".to_vec())
        .start()
        .await?;
    let port = cache.get_host_port_ipv4(6379).await?;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"SET key value\r\nGET key\r\n").await?;
    let mut answer = vec![0; 16];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, b"+OK\r\n$5\r\nvalue\r\n");
    let mut ran = cache.exec(ExecCommand::new(["cat", "/tmp/copied"])).await?;
    assert_eq!(ran.stdout_to_vec().await?, b"copied in");
    assert_eq!(ran.exit_code().await?, Some(0));
    let copied: Vec<u8> = cache.copy_file_from("/tmp/copied", Vec::new()).await?;
    assert_eq!(copied, b"copied in");
    cache.pause().await?;
    cache.unpause().await?;
    assert!(cache.is_running().await?);
    cache.stop().await?;
    cache.rm().await?;
    Ok(())
}

/// testcontainers: waits for health, then speaks SQL over the published port.
async fn postgres(docker: &Docker) -> Done {
    let check =
        testcontainers::core::Healthcheck::cmd_shell("pg_isready -q -h 127.0.0.1 -U shop -d shop")
            .with_interval(std::time::Duration::from_millis(300))
            .with_retries(200);
    let store = GenericImage::new("shop-db", "latest")
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::healthcheck())
        .with_env_var("POSTGRES_USER", "shop")
        .with_env_var("POSTGRES_DB", "shop")
        .with_env_var("POSTGRES_PASSWORD", "secret")
        .with_shm_size(128 << 20)
        .with_health_check(check)
        .start()
        .await?;
    let port = store.get_host_port_ipv4(5432).await?;
    let address = format!("host=127.0.0.1 port={port} user=shop password=secret dbname=shop");
    let (client, connection) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await?;
    let speaking = tokio::spawn(connection);
    client
        .batch_execute("create table t (n int); insert into t select generate_series(1, 100)")
        .await?;
    let sum: i64 = client.query_one("select sum(n) from t", &[]).await?.get(0);
    assert_eq!(sum, 5050);
    drop(client);
    speaking.await??;
    assert!(String::from_utf8(store.stderr_to_vec().await?)?.contains("database system is ready"));
    let id = store.id().to_owned();
    // Dropped, it is removed.
    drop(store);
    let gone = async {
        while docker
            .inspect_container(&id, None::<InspectContainerOptions>)
            .await
            .is_ok()
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone).await?;
    Ok(())
}
