//! Pull, push, login: against a real registry.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::http::call;
use crate::common::run::{self, Run};
use crate::common::{LONG, TestHost, can_run};
use crate::support::{RealRegistry, Settings};

#[track_caller]
fn skopeo(host: &TestHost, arguments: &[&str]) -> Run {
    let mut command = host.command("/usr/bin/skopeo");
    command.args(arguments);
    run::to_end(command, LONG)
}

/// The digest that a push has told.
fn digest_of(run: &Run) -> String {
    let line = run
        .lines()
        .into_iter()
        .find(|line| line.contains("digest: sha256:"));
    let line = line.unwrap_or_else(|| panic!("no digest\n{run}"));
    let rest = line.split("digest: ").nth(1).unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

/// `docker manifest inspect`: whether an image is there, and what.
#[track_caller]
fn check_manifests(host: &TestHost, registry: &str) {
    let inspect = |tag: &str| {
        let name = format!("{registry}/shop/web:{tag}");
        host.hoist(&["absent", "manifest", "inspect", &name])
    };
    assert_eq!(inspect("1").ok().json()["schemaVersion"], 2);
    inspect("none").exits(1).says(&["no such manifest: "]);
}

#[track_caller]
fn absent_images(host: &TestHost, registry: &str) {
    for name in ["nothing:1", "web:9"] {
        host.hoist(&["image", "pull", &format!("{registry}/shop/{name}")])
            .fails()
            .says(&["not found: manifest unknown"]);
    }
}

#[test]
fn what_is_pushed_comes_back_and_runs() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let name = format!("{}/shop/web:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &name]).ok();
    let before = host.hoist(&["image", "inspect", &name]).ok().json();
    let pushed = host.hoist(&["image", "push", &name]).ok();
    let digest = digest_of(&pushed);
    let pushed = pushed.says(&["The push refers to repository", ": Pushed"]);
    // Again: nothing is sent.
    let again = host
        .hoist(&["image", "push", &name])
        .ok()
        .says(&["Layer already exists"]);
    assert_eq!(digest_of(&again), digest, "{pushed}");
    check_manifests(&host, &registry.host);
    // Another repository of the registry takes the layer over.
    let other = format!("{}/shop/other:2", registry.host);
    host.hoist(&["image", "tag", "busybox", &other]).ok();
    let mounted = host
        .hoist(&["image", "push", &other])
        .ok()
        .says(&["Mounted from shop/web"]);
    assert_eq!(digest_of(&mounted), digest);
    skopeo(
        &host,
        &["inspect", "--tls-verify=false", &format!("docker://{name}")],
    )
    .ok()
    .says(&[&digest, "amd64"]);

    for image in [&name, &other, "busybox"] {
        host.hoist(&["image", "rm", image]).ok();
    }
    assert_eq!(host.hoist(&["image", "ls", "-q"]).ok().stdout, "");
    let pulled = host.hoist(&["image", "pull", &name]).ok();
    pulled.says(&[
        "1: Pulling from ",
        ": Extracted ",
        "waiting for the registry",
        ": Pull complete",
        &format!("Digest: {digest}"),
        &format!("Status: Downloaded newer image for {name}"),
    ]);
    let again = host.hoist(&["image", "pull", &name]).ok();
    assert!(!again.stdout.contains("Already exists"), "{again}");
    again.says(&["Image is up to date"]);
    let after = host.hoist(&["image", "inspect", &name]).ok().json();
    assert_eq!(after[0]["Id"], before[0]["Id"]);
    assert_eq!(after[0]["RootFS"], before[0]["RootFS"]);
    let by_digest = format!("{}/shop/web@{digest}", registry.host);
    assert_eq!(after[0]["RepoDigests"][0], by_digest.as_str());
    host.hoist(&["image", "pull", &by_digest]).ok();
    all_tags(&host, &format!("{}/shop/web", registry.host));
    known_by_digest_alone(&host, (&name, &by_digest));

    let project = host.project(
        "p",
        &format!("services:\n  a: {{image: '{name}', command: [echo, hi]}}\n"),
    );
    project.hoist(&["up"]).ok().says(&["hi"]);
    absent_images(&host, &registry.host);
}

/// Every tag of a repository comes with one command.
fn all_tags(host: &TestHost, repository: &str) {
    let second = format!("{repository}:second");
    host.hoist(&["image", "tag", &format!("{repository}:1"), &second])
        .ok();
    let pushed = host.hoist(&["image", "push", "-a", repository]).ok();
    assert_eq!(
        pushed.stdout.matches("The push refers to").count(),
        1,
        "{pushed}"
    );
    host.hoist(&["image", "rm", &second]).ok();
    let pulled = host.hoist(&["image", "pull", "-a", repository]).ok();
    pulled.says(&["1: Pulling from ", "second: Pulling from "]);
    host.hoist(&["image", "inspect", &second]).ok();
    host.hoist(&["image", "rm", &second]).ok();
    host.hoist(&["image", "pull", "-a", &second])
        .fails()
        .says(&["tag can't be used with --all-tags/-a"]);
    host.hoist(&["image", "pull", "-a", &format!("{repository}x")])
        .fails();
}

/// An image without a tag is listed with its repository; the one of another platform comes with a warning when there is no list to choose
/// from.
fn known_by_digest_alone(host: &TestHost, (name, by_digest): (&str, &str)) {
    host.hoist(&["image", "rm", name]).ok();
    host.hoist(&["image", "pull", by_digest]).ok();
    let format = "{{.Repository}} {{.Tag}} {{.Digest}}";
    let listed = host.hoist(&["image", "ls", "--digests", "--format", format]);
    let (repository, digest) = by_digest.split_once('@').unwrap();
    listed
        .ok()
        .says(&[&format!("{repository} <none> {digest}")]);
    host.hoist(&["image", "pull", "--platform", "linux/s390x", name])
        .ok()
        .says(&[
            "WARNING: image with reference",
            "the specified platform (linux/s390x)",
        ]);
}

#[test]
fn images_that_others_pushed_in_every_compression_are_pulled() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let archive = host.path("busybox.tar");
    let shown = archive.to_str().unwrap();
    host.hoist(&["image", "save", "-o", shown, "busybox"]).ok();
    let id = host.hoist(&["image", "inspect", "busybox"]).ok().json()[0]["Id"].clone();
    host.hoist(&["image", "rm", "busybox"]).ok();
    for (tag, options) in [
        ("gzip", &["--format", "v2s2"][..]),
        (
            "zstd",
            &["--format", "oci", "--dest-compress-format", "zstd"],
        ),
        ("oci", &["--format", "oci"]),
    ] {
        let name = format!("{}/b:{tag}", registry.host);
        let (from, to) = (
            format!("docker-archive:{shown}"),
            format!("docker://{name}"),
        );
        let mut arguments = vec!["copy", "--insecure-policy", "--dest-tls-verify=false"];
        arguments.extend(options);
        arguments.extend([from.as_str(), to.as_str()]);
        skopeo(&host, &arguments).ok();
        host.hoist(&["image", "pull", "-q", &name])
            .ok()
            .says(&[&name]);
        let found = host.hoist(&["image", "inspect", &name]).ok().json();
        if tag == "gzip" {
            assert_eq!(
                found[0]["Id"], id,
                "Docker's format keeps the configuration"
            );
        }
        host.hoist(&["image", "rm", &name]).ok();
    }
    host.hoist(&[
        "image",
        "pull",
        "--platform",
        "linux/s390x",
        &format!("{}/b:oci", registry.host),
    ]);
}

#[test]
fn a_registry_with_tls_and_a_password_wants_a_login() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let settings = Settings {
        user: Some("ann:s3cret"),
        tls: true,
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    let name = format!("{}/shop/web:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &name]).ok();
    host.hoist(&["image", "push", &name])
        .fails()
        .says(&["denied"]);
    let login = |password: &str| {
        let mut command = host.hoist_command();
        command.args(["login", "-u", "ann", "--password-stdin", &registry.host]);
        run::with_input(command, password.as_bytes(), LONG)
    };
    login("wrong\n")
        .fails()
        .says(&["login attempt to", "failed"]);
    login("s3cret\n").ok().says(&["Login Succeeded"]);
    host.hoist(&["image", "push", &name]).ok();
    let config = host.path("tmp/.docker/config.json");
    let stored = fs::read_to_string(&config).unwrap();
    assert!(
        stored.contains(&registry.host) && !stored.contains("s3cret"),
        "{stored}"
    );
    host.hoist(&["logout", &registry.host])
        .ok()
        .says(&["Removing login credentials"]);
    host.hoist(&["image", "push", &name])
        .fails()
        .says(&["denied"]);

    // A helper: a script on the PATH.
    let bin = host.path("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-test");
    let script = "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"ann\",\"Secret\":\"s3cret\"}'\n";
    fs::write(&helper, script).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&helper, mode).unwrap();
    fs::write(&config, r#"{"credsStore":"test"}"#).unwrap();
    let mut command = host.hoist_command();
    let path = std::env::var("PATH").unwrap();
    command
        .args(["image", "push", &name])
        .env("PATH", format!("{}:{path}", bin.display()));
    run::to_end(command, LONG).ok();
}

#[test]
fn a_project_builds_and_pushes_in_one() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let image = format!("{}/shop/app:3", registry.host);
    let build = "build: { context: ., provenance: true }";
    let compose = format!("services:\n  app:\n    image: {image}\n    {build}\n");
    let project = host.project("p", &compose);
    project.write("Dockerfile", "FROM busybox\nRUN echo made >/made\n");
    project
        .hoist(&["build", "--push"])
        .ok()
        .says(&["Pushed", "no provenance attestation is made"]);
    host.hoist(&["image", "rm", &image]).ok();
    project.hoist(&["pull"]).ok();
    let run = project.hoist(&["run", "--rm", "app", "cat", "/made"]);
    assert_eq!(run.ok().stdout, "made\n");
    project.down(&[]);

    // `POST /build?version=2` pushes by itself.
    let mut context = tar::Builder::new(Vec::new());
    let text = b"FROM busybox\nENV A=1\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    context
        .append_data(&mut header, "Dockerfile", &text[..])
        .unwrap();
    let context = String::from_utf8(context.into_inner().unwrap()).unwrap();
    let named = format!("{}%2Fby%2Fcall%3A1", registry.host);
    let build = |port: &str| {
        let outputs = format!(
            "%5B%7B%22Type%22:%22image%22,%22Attrs%22:%7B%22name%22:%22{port}%22,%22push%22:%22true%22%7D%7D%5D"
        );
        let path = format!("/build?version=2&outputs={outputs}");
        call(&host, "POST", &path, &context).1
    };
    let told = build(&named);
    assert!(told.contains("moby.image.id"), "{told}");
    let name = format!("{}/by/call:1", registry.host);
    host.hoist(&["image", "rm", &name]).ok();
    host.hoist(&["image", "pull", &name]).ok();
    let told = build("127.0.0.1:9%2Fx");
    assert!(told.contains("cannot push 127.0.0.1:9/x"), "{told}");
}

#[test]
fn a_certificate_is_verified_by_the_configured_authority() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let settings = Settings {
        tls: true,
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    own_etc(&host);
    // This host's own name for the loopback address, which is no loopback name: nothing allows it to be insecure.
    let hosts = host.path("hosts");
    fs::write(&hosts, "127.0.0.1 registry.test\n").unwrap();
    bind(&hosts, "/etc/hosts");
    let port = registry.host.rsplit_once(':').unwrap().1;
    let server = format!("registry.test:{port}");
    let name = format!("{server}/web:1");
    host.hoist(&["image", "tag", "busybox", &name]).ok();
    host.hoist(&["image", "push", &name])
        .fails()
        .says(&["cannot reach the registry", "certificate"]);
    let authority = registry.place.path().join("cert.pem");
    let text = format!(r#"{{"registries":{{"{server}":{{"ca":[{authority:?}]}}}}}}"#);
    let configured = host.path("etc/registries.json");
    place_configuration(&host, &text);
    host.hoist(&["image", "push", &name]).ok();
    fs::write(&configured, "{").unwrap();
    host.hoist(&["image", "push", &name])
        .fails()
        .says(&["registries.json"]);
}

/// Gives this host a `registries.json` of its own.
fn configure(host: &TestHost, text: &str) {
    own_etc(host);
    place_configuration(host, text);
}

/// The same where /etc is the host's own already.
fn place_configuration(host: &TestHost, text: &str) {
    fs::create_dir_all(host.path("etc")).unwrap();
    fs::write(host.path("etc/registries.json"), text).unwrap();
    fs::create_dir_all("/etc/hoist").unwrap();
    bind(&host.path("etc"), "/etc/hoist");
    host.hoist(&["engine", "stop"]).ok();
}

#[test]
fn a_registry_that_wants_a_certificate_is_shown_one() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let settings = Settings {
        tls: true,
        clients: true,
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    let name = format!("{}/web:1", registry.host);
    host.hoist(&["image", "tag", "busybox", &name]).ok();
    host.hoist(&["image", "push", &name]).fails();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|file| registry.place.path().join(file));
    let text = format!(
        r#"{{"registries":{{"{}":{{"ca":[{certificate:?}],"certificate":{certificate:?},"key":{key:?}}}}}}}"#,
        registry.host
    );
    configure(&host, &text);
    host.hoist(&["image", "push", &name]).ok();
    host.hoist(&["image", "rm", &name]).ok();
    host.hoist(&["image", "pull", &name]).ok();
}

#[test]
fn a_registry_behind_a_proxy_is_reached_through_it() {
    if !can_run() {
        return;
    }
    let host = TestHost::with_busybox();
    let settings = Settings {
        tls: true,
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    let port = registry.host.rsplit_once(':').unwrap().1.to_owned();
    // Nobody else knows this name.
    let server = format!("registry.test:{port}");
    let (proxy, asked) = tunnels(registry.host.clone());
    let authority = registry.place.path().join("cert.pem");
    configure(
        &host,
        &format!(r#"{{"registries":{{"{server}":{{"ca":[{authority:?}]}}}}}}"#),
    );
    let name = format!("{server}/web:1");
    let through = |arguments: &[&str]| {
        let mut command = host.hoist_command();
        command
            .args(arguments)
            .env("HTTPS_PROXY", format!("http://{proxy}"));
        run::to_end(command, LONG)
    };
    // The engine is started by the first of these and has its environment.
    through(&["image", "tag", "busybox", &name]).ok();
    through(&["image", "push", &name]).ok();
    through(&["image", "rm", &name]).ok();
    through(&["image", "pull", &name]).ok();
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty());
    let expected = format!("CONNECT {server} HTTP/1.1");
    assert!(asked.iter().all(|line| *line == expected), "{asked:?}");
}

/// A proxy that joins every `CONNECT` to one place, and what it was asked.
fn tunnels(to: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1)
            {
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head);
            log.lock()
                .unwrap()
                .push(line.lines().next().unwrap_or_default().to_owned());
            let mut server = TcpStream::connect(&to).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let (mut client_too, mut server_too) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client_too, &mut server_too));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
    });
    (address, asked)
}

/// Lets this host write to its `/etc` without the machine's being touched.
fn own_etc(host: &TestHost) {
    let [upper, work] = ["etc-upper", "etc-work"].map(|name| host.path(name));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let layers = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    let status = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &layers, "/etc"])
        .status();
    assert!(status.unwrap().success(), "mount an overlay on /etc");
}

/// Shows a file or directory of the test at a place of the machine, in this host only.
fn bind(from: &std::path::Path, to: &str) {
    let status = Command::new("mount")
        .arg("--bind")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}
