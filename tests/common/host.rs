//! The test host: namespaces, places, one engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use super::leftovers::{self, Leftovers};
use super::project::Project;
use super::run::{self, Run};
use super::{LONG, images};

/// How much the root file system of an ordinary test host holds.
const ROOM: &str = "size=2g,mode=755";

/// A machine of the test's own, as far as a container engine can tell.
#[derive(Debug)]
pub struct TestHost {
    dir: PathBuf,
    warden: Child,
}

impl TestHost {
    /// Moves the calling thread into a new host with room for the images of a real stack.
    pub fn new() -> TestHost {
        TestHost::with_room(ROOM)
    }

    /// Like [`TestHost::new`], with tmpfs options that say how much the engine's root can hold.
    pub fn with_room(options: &str) -> TestHost {
        let dir = enter("mode=755");
        for place in ["root", "state", "projects", "tmp"] {
            fs::create_dir(dir.join(place)).expect("the tmpfs is writable");
        }
        tmpfs(&dir.join("root"), options);
        let warden = warden(&dir);
        TestHost { dir, warden }
    }

    /// Imports example images by name; what was not made yet is made.
    pub fn with_images(self, names: &[&str]) -> TestHost {
        images::import(&self, names);
        self
    }

    /// Loads the images of `examples/shop`.
    pub fn with_shop(self) -> TestHost {
        images::load_shop(&self);
        self
    }

    /// A host with the busybox image: what most tests need.
    pub fn with_busybox() -> TestHost {
        TestHost::new().with_images(&["busybox"])
    }

    /// Where this host's places are. The path exists only inside the host.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// `HOIST_ROOT` of this host.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("state/hoist.sock")
    }

    /// A command with this host's places in its environment and nothing of the developer's own settings.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().into_owned();
            if ["COMPOSE_", "HOIST_", "DOCKER_", "BUILDKIT_"]
                .iter()
                .any(|own| text.starts_with(own))
            {
                command.env_remove(name);
            }
        }
        command
            .env("HOIST_ROOT", self.root())
            .env("HOIST_STATE", self.path("state"))
            .env("HOIST_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("tmp"))
            .current_dir(&self.dir);
        command
    }

    /// The `hoist` command.
    pub fn hoist_command(&self) -> Command {
        self.command(binary())
    }

    /// Runs `hoist ARGUMENTS` to its end.
    pub fn hoist(&self, arguments: &[&str]) -> Run {
        let mut command = self.hoist_command();
        command.args(arguments);
        run::to_end(command, LONG)
    }

    /// Makes the directory `name` with a `compose.yaml` of this text.
    pub fn project(&self, name: &str, compose: &str) -> Project<'_> {
        let dir = self.path("projects").join(name);
        fs::create_dir_all(&dir).expect("the tmpfs is writable");
        fs::write(dir.join("compose.yaml"), compose).expect("the tmpfs is writable");
        Project::new(self, dir)
    }

    /// The running engine's process id.
    pub fn engine_pid(&self) -> Option<u32> {
        leftovers::processes(&self.dir)
            .into_iter()
            .find(|process| {
                process.command.contains(" engine run")
                    && !process.command.starts_with("hoist-shim")
            })
            .map(|process| process.pid)
    }

    /// Kills the engine with SIGKILL and waits until it is gone.
    pub fn kill_engine(&self) {
        let pid = self.engine_pid().expect("an engine runs");
        kill(pid);
        wait_until(Duration::from_secs(5), "the killed engine is gone", || {
            self.engine_pid() != Some(pid)
        });
    }

    /// Everything of the engine's that exists now. A host that has just been made has nothing.
    pub fn leftovers(&self) -> Leftovers {
        Leftovers::of(&self.dir)
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!(
                "---- the engine's log ----\n{}",
                tail(&self.hoist(&["engine", "logs"]).stdout, 60)
            );
        }
        let stop = self.hoist(&["engine", "stop", "--containers", "-t", "2"]);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut left = self.leftovers();
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = self.leftovers();
        }
        // The warden sweeps when its input ends, whatever the state of things.
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
        if !failed {
            assert!(
                stop.code == 0 && left.is_empty(),
                "`engine stop --containers` (code {}) left:\n{left}\n{}",
                stop.code,
                stop.stderr
            );
        }
    }
}

/// Waits for a condition, looking often. The one way to wait in these tests.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills one process that belongs to this host.
pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().expect("a pid fits"))
        .expect("a pid is not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .expect("the process is there");
}

/// The command under test: `hoist`, or what stands in for it (`tests/tools/reference.sh`).
pub fn binary() -> PathBuf {
    std::env::var_os("HOIST_TEST_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hoist")), PathBuf::from)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Moves the calling thread into new network and mount namespaces, and makes a directory there that only they see.
#[allow(
    deprecated,
    reason = "its unsafe successor differs only for CLONE_FILES, which is not asked for here"
)]
pub fn enter(options: &str) -> PathBuf {
    let dir = tempfile::Builder::new()
        .prefix("hoist-test-")
        .tempdir()
        .expect("a temporary directory can be made");
    rustix::thread::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).expect("root may unshare");
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .expect("/ is a mount");
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("iproute2 is installed").success(), "lo comes up");
    let dir = dir.keep();
    tmpfs(&dir, options);
    dir
}

/// Removes what [`enter`] made outside.
pub fn leave(dir: &Path) {
    let _ = rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH);
    let _ = fs::remove_dir(dir);
}

fn tmpfs(at: &Path, options: &str) {
    let options = std::ffi::CString::new(options).expect("no NUL in options");
    mount(
        "tmpfs",
        at,
        "tmpfs",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .expect("root may mount a tmpfs");
}

/// Starts the process that cleans up after this host, also when the test is killed.
pub(super) fn warden(dir: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    Command::new("sh")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/common/warden.sh"
        ))
        .arg(leftovers::cgroup_name(dir))
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh is there")
}
