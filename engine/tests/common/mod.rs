//! A private engine in namespaces of the test's own, with a busybox image.

use std::fs::File;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::FutureExt as _;
use hoist_api::Engine as _;
use hoist_api::client::Client;
use hoist_api::container::{ContainerConfig, ContainerCreate, LogsOptions};
use hoist_api::engine::body_of;
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_api::image::ImportImage;
use hoist_engine::EngineConfig;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// An engine that runs in this process, and its client.
#[derive(Debug)]
#[allow(dead_code, reason = "not every test looks at all of it")]
pub(crate) struct TestEngine {
    pub(crate) client: Client,
    pub(crate) config: EngineConfig,
    pub(crate) running: Option<Running>,
}

/// Runs a test against a private engine.
pub(crate) fn with_engine<F: Future<Output = ()>>(test: impl FnOnce(TestEngine) -> F) {
    with_configured_engine(|_| {}, test);
}

/// The supervisor that was built with this test.
fn shim() -> PathBuf {
    let shim = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("hoist-shim");
    assert!(
        shim.exists(),
        "build the hoist-shim program first: {}",
        shim.display()
    );
    shim
}

/// Gives this thread, and those it starts, namespaces of their own, with a tmpfs at `directory`.
#[allow(
    deprecated,
    reason = "mount and network namespaces are the thread's own: nothing of the process is shared anew"
)]
fn enter_namespaces(directory: &Path) {
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC)
        .unwrap();
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .unwrap();
    mount(
        "tmpfs",
        directory,
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=755"),
    )
    .unwrap();
    Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .unwrap();
}

/// Runs a test against a private engine, on a runtime whose threads live in namespaces of their own.
pub(crate) fn with_configured_engine<F: Future<Output = ()>>(
    configure: impl FnOnce(&mut EngineConfig),
    test: impl FnOnce(TestEngine) -> F,
) {
    let shim = shim();
    // What the engine says belongs to a failed test's output.
    let _ = tracing_subscriber::fmt()
        .with_env_filter("debug")
        .with_test_writer()
        .try_init();
    let directory = tempfile::tempdir().unwrap();
    enter_namespaces(directory.path());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let mut config = EngineConfig::new(
            directory.path().join("root"),
            directory.path().join("state"),
        );
        config.shim = shim;
        config.idle_exit = None;
        configure(&mut config);
        let engine = TestEngine {
            client: Client::new(config.socket.clone()),
            running: Some(run(&config)),
            config,
        };
        let client = engine.client.clone();
        let whole = async {
            engine.wait_until_ready().await;
            engine.import_busybox().await;
            test(engine).await;
        };
        // A test that fails leaves containers, too: they end, and their control groups with them, before it is told.
        let outcome = AssertUnwindSafe(whole).catch_unwind().await;
        // The test may have stopped it itself.
        let _ = client.stop_engine(true).await;
        // It answers before it has left, and this process must not end first: the lock is given back last of all.
        if let Ok(lock) = File::open(directory.path().join("state/engine.lock")) {
            lock.lock().unwrap();
        }
        drop(directory);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// A running engine, to be joined.
pub(crate) type Running = std::thread::JoinHandle<Result<(), hoist_engine::RunError>>;

/// Runs an engine on a runtime of its own: nothing of it is left when it has left, as with a process.
fn run(config: &EngineConfig) -> Running {
    let config = config.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let result = runtime.block_on(hoist_engine::run(config));
        runtime.shutdown_timeout(Duration::from_secs(5));
        result
    })
}

#[allow(dead_code, reason = "not every test needs all of it")]
impl TestEngine {
    /// Waits until the engine answers.
    pub(crate) async fn wait_until_ready(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while let Err(error) = self.client.ping().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the engine does not answer: {error}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn import_busybox(&self) {
        let options = ImportImage {
            reference: "busybox".to_owned(),
            changes: vec!["CMD [\"sh\"]".to_owned(), "ENV PATH=/bin".to_owned()],
            ..ImportImage::default()
        };
        self.client
            .image_import(&options, body_of(busybox_archive()))
            .await
            .unwrap();
    }

    /// Runs an engine again after the last one has left.
    pub(crate) async fn run_again(&mut self) {
        self.has_left().await;
        self.running = Some(run(&self.config));
        self.wait_until_ready().await;
    }

    /// Runs an engine after another process's one was killed.
    pub(crate) async fn start_again(&mut self) {
        self.running = Some(run(&self.config));
        self.wait_until_ready().await;
    }

    /// Waits until the engine has left.
    pub(crate) async fn has_left(&mut self) {
        let running = self.running.take().unwrap();
        let joined = tokio::task::spawn_blocking(move || running.join().unwrap());
        let left = tokio::time::timeout(Duration::from_secs(20), joined).await;
        left.expect("it leaves").unwrap().unwrap();
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !holds(self).await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "not in time: {what}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a shell line in a busybox container is.
    pub(crate) fn shell(line: &str) -> ContainerCreate {
        ContainerCreate {
            config: ContainerConfig {
                image: "busybox".to_owned(),
                cmd: Some(["sh", "-c", line].map(str::to_owned).to_vec()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    /// Creates and starts; returns the id.
    pub(crate) async fn start(&self, name: &str, create: &ContainerCreate) -> String {
        let id = self.client.container_create(name, create).await.unwrap().id;
        self.client.container_start(&id).await.unwrap();
        id
    }

    /// All of a container's output.
    pub(crate) async fn output(&self, container: &str) -> String {
        use futures_util::StreamExt as _;
        let mut frames = self
            .client
            .container_logs(container, &LogsOptions::default())
            .await
            .unwrap();
        let mut text = Vec::new();
        while let Some(frame) = frames.next().await {
            text.extend_from_slice(&frame.unwrap().data);
        }
        String::from_utf8(text).unwrap()
    }
}

/// Runs a command in a container; its output and exit code.
#[allow(dead_code, reason = "not every test looks inside")]
pub(crate) async fn exec(
    engine: &TestEngine,
    container: &str,
    command: &[&str],
) -> (String, Option<i64>) {
    use futures_util::StreamExt as _;
    let create = ExecCreate {
        attach_stdout: true,
        attach_stderr: true,
        cmd: command.iter().map(|word| (*word).to_owned()).collect(),
        ..Default::default()
    };
    let exec = engine
        .client
        .exec_create(container, &create)
        .await
        .unwrap()
        .id;
    let mut attached = engine
        .client
        .exec_start(&exec, &ExecStart::default())
        .await
        .unwrap();
    let mut output = String::new();
    while let Some(frame) = attached.output.next().await {
        output.push_str(std::str::from_utf8(&frame.unwrap().data).unwrap());
    }
    (
        output,
        engine.client.exec_inspect(&exec).await.unwrap().exit_code,
    )
}

/// The body of `http://ADDRESS/`, tried once.
#[allow(dead_code, reason = "not every test has a server")]
pub(crate) async fn fetch(address: &str) -> Result<String, String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let text = |error: std::io::Error| error.to_string();
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address)
            .await
            .map_err(text)?;
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .await
            .map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(text)?;
        let body = answer.split_once("\r\n\r\n").ok_or("no answer")?.1;
        Ok(body.to_owned())
    };
    tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .map_err(|error| error.to_string())?
}

/// A root file system with nothing but busybox.
fn busybox_archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut directory = tar::Header::new_gnu();
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_mode(0o755);
    directory.set_size(0);
    for name in ["bin/", "etc/", "tmp/", "data/"] {
        archive
            .append_data(&mut directory.clone(), name, std::io::empty())
            .unwrap();
    }
    archive
        .append_file("bin/busybox", &mut File::open(busybox()).unwrap())
        .unwrap();
    for applet in [
        "sh", "sleep", "cat", "echo", "true", "false", "kill", "wget", "httpd", "nslookup", "ls",
        "id", "hostname", "nc", "ps",
    ] {
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        archive
            .append_link(&mut link, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    let mut file = tar::Header::new_gnu();
    file.set_mode(0o644);
    for (name, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("data/first", "from the image\n"),
    ] {
        file.set_size(text.len() as u64);
        archive
            .append_data(&mut file.clone(), name, text.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

fn busybox() -> PathBuf {
    ["/usr/bin/busybox", "/bin/busybox"]
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .expect("busybox is installed")
        .to_owned()
}
