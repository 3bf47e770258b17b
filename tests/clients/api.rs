//! The programs of `engine/api/examples`: our typed client with our engine, and the same with Docker's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::load::ask;
use crate::common::run::Run;
use crate::common::{LONG, Reference, TestHost, can_run, reference, run, wait_until};
use crate::tool;

/// An engine of either kind that has a busybox image.
trait Place {
    fn command(&self, program: &Path) -> Command;
    /// Its own command line.
    fn cli(&self, arguments: &[&str]) -> Run;
}

impl Place for TestHost {
    fn command(&self, program: &Path) -> Command {
        TestHost::command(self, program)
    }

    fn cli(&self, arguments: &[&str]) -> Run {
        self.hoist(&[&["container"], arguments].concat())
    }
}

impl Place for Reference {
    fn command(&self, program: &Path) -> Command {
        let mut command = Reference::command(self, &program.to_string_lossy());
        command
            .env_remove("HOIST_HOST")
            .env("DOCKER_HOST", self.address());
        command
    }

    fn cli(&self, arguments: &[&str]) -> Run {
        self.docker().run(arguments)
    }
}

struct Programs<'p> {
    place: &'p dyn Place,
    dir: PathBuf,
}

impl Programs<'_> {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.place.command(&self.dir.join(program));
        command.args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> Run {
        run::to_end(self.command(program, arguments), 2 * LONG).ok()
    }

    #[track_caller]
    fn prints(&self, line: &[&str], expected: &str) {
        let ran = self.run(line[0], &line[1..]);
        assert_eq!(ran.stdout.replace('\r', ""), expected, "{ran}");
    }

    /// All that work with either engine.
    fn check(&self) {
        let web = [
            "run", "-d", "--init", "--name", "web", "busybox", "sleep", "1000",
        ];
        self.place.cli(&web).ok();
        let script = "echo out; sleep 0.3; echo oh >&2; exit 3";
        let said = "Stdout: out\nStderr: oh\nexit code 3\n";
        self.prints(&["run", "busybox", "sh", "-c", script], said);
        let sized = "until stty size | grep '30 100'; do sleep 0.1; done 2>/dev/null; exit 4";
        let said = "30 100\nexit code 4\n";
        self.prints(&["exec", "web", "timeout", "30", "sh", "-c", sized], said);
        self.prints(&["attach", "busybox", "sort"], "apple\npear\nplum\n");
        let said = "note has 5 bytes\nhello\n";
        self.prints(&["copy", "web", "/tmp", "hello"], said);
        let said = "ping ended with 0\n1 container on it\n";
        self.prints(&["network", "backend"], said);
        self.prints(&["volume", "notes"], "local\nkept\n");
        let stats = self.run("stats", &["web"]);
        assert!(stats.stdout.starts_with("memory "), "{stats}");
        assert!(!stats.stdout.contains("processes 0"), "{stats}");
        self.follows_events();
    }

    fn follows_events(&self) {
        let out = self.dir.join(format!("events-{}", std::process::id()));
        let file = std::fs::File::create(&out).expect("the target directory is writable");
        let mut follower = self
            .command("events", &["job"])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .expect("it was built");
        let said = || std::fs::read_to_string(&out).unwrap_or_default();
        wait_until(LONG, "events are listened to", || {
            said().contains("listening")
        });
        let job = [
            "run", "--rm", "--name", "job", "busybox", "sh", "-c", "exit 7",
        ];
        self.place.cli(&job).exits(7);
        wait_until(LONG, "the program has seen the end", || {
            follower.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let lines = said();
        std::fs::remove_file(&out).expect("it was made here");
        for line in ["create ", "start ", "die 7", "destroy "] {
            assert!(lines.lines().any(|said| said == line), "{line:?}: {lines}");
        }
    }
}

fn programs(place: &dyn Place) -> Programs<'_> {
    let dir = tool("api-examples.sh");
    Programs { place, dir }
}

#[test]
fn examples_run_with_our_engine() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let programs = programs(&host);
    programs.check();
    let built = programs.run("build", &["greeting"]);
    built.says(&["RUN echo hello > /greeting", "made greeting:latest"]);
    programs.prints(
        &["run", "greeting", "cat", "/greeting"],
        "Stdout: hello\nexit code 0\n",
    );
    let refused = programs.command("run", &["no-such-image", "true"]);
    run::to_end(refused, LONG).fails().says(&["no-such-image"]);
}

#[test]
fn examples_run_with_dockers_engine() {
    if !can_run() {
        return;
    }
    let Some(bin) = reference::programs() else {
        return;
    };
    let reference = Reference::start(bin);
    reference.import("busybox");
    programs(&reference).check();
}

/// bollard's own tests ask for it: Docker tells lists that the client left out as null, and so that nothing differs from the image.
#[test]
fn lists_that_were_left_out_are_null() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    host.hoist(&["container", "create", "--name", "plain", "busybox", "true"])
        .ok();
    let body = r#"{"Image": "busybox", "Cmd": ["true"]}"#;
    let socket = host.socket();
    let said = |method: &str, path: &str, body: &str| -> serde_json::Value {
        let (_, answer) = ask(&socket, method, path, body).expect("it answers");
        serde_json::from_slice(&answer).expect("it is JSON")
    };
    said("POST", "/containers/create?name=bare", body);
    let host_config = &said("GET", "/containers/bare/json", "")["HostConfig"];
    for list in [
        "Binds",
        "CapAdd",
        "CapDrop",
        "ExtraHosts",
        "GroupAdd",
        "SecurityOpt",
    ] {
        let value = host_config.as_object().and_then(|fields| fields.get(list));
        assert_eq!(value, Some(&serde_json::Value::Null), "{list}");
    }
    let changes = said("GET", "/containers/bare/changes", "");
    assert_eq!(changes, serde_json::Value::Null);
    host.hoist(&["container", "diff", "bare"]).ok();
}
