//! `docker search` and `hoist image search`, against a server that answers as Docker Hub does.

use std::path::PathBuf;

use crate::common::run;
use crate::common::{LONG, TestHost, can_run};
use crate::support::{Asked, FakeRegistry, say};

const ANSWER: &str = r#"{"results":[
    {"name":"lab/db","description":"A very long description of a database that nobody reads","star_count":7},
    {"name":"db","description":"Official","star_count":70,"is_official":true}]}"#;

#[test]
fn repositories_are_found() {
    if !can_run() {
        return;
    }
    let host = TestHost::new();
    let registry = FakeRegistry::start(|asked: &Asked, stream| match asked.path.as_str() {
        "/v2/" => say(stream, "200 OK", "", b"{}"),
        path if path.starts_with("/v1/search?q=db&") => {
            say(stream, "200 OK", "", ANSWER.as_bytes())
        }
        _ => say(stream, "404 Not Found", "", b"no page"),
    });
    let term = format!("{}/db", registry.host);
    let table = host.hoist(&["image", "search", &term]).ok().stdout;
    assert_eq!(
        table,
        "NAME      DESCRIPTION                                     STARS     OFFICIAL\n\
         db        Official                                        70        [OK]\n\
         lab/db    A very long description of a database that n…   7\n"
    );
    let found = |arguments: &[&str]| {
        let line = [
            &["image", "search", "--format", "{{.Name}}"],
            arguments,
            &[&term],
        ]
        .concat();
        host.hoist(&line).ok().stdout
    };
    assert_eq!(found(&["--filter", "is-official=true"]), "db\n");
    assert_eq!(found(&["--filter", "stars=10"]), "db\n");
    assert_eq!(
        found(&["--filter", "is-official=false", "--limit", "3"]),
        "lab/db\n"
    );
    let json = host
        .hoist(&["image", "search", "--format", "json", &term])
        .ok()
        .stdout;
    assert!(json.starts_with(r#"{"Description":"Official","IsAutomated":"false","IsOfficial":"true","Name":"db","StarCount":"70"}"#), "{json}");
    let asked = registry.lines().join("\n");
    assert!(asked.contains("n=25") && asked.contains("n=3"), "{asked}");

    let refused = |arguments: &[&str], says: &str| {
        host.hoist(&[&["image", "search"], arguments].concat())
            .fails()
            .says(&[says]);
    };
    refused(
        &["--limit", "101", &term],
        "limit 101 is outside the range of [1, 100]",
    );
    refused(&["--filter", "odd=1", &term], "invalid filter 'odd'");
    refused(
        &["--filter", "stars=x", &term],
        "invalid filter 'stars=[x]'",
    );
    refused(&["127.0.0.1:1/db"], "cannot reach the registry 127.0.0.1:1");
    refused(&[&format!("{}/absent", registry.host)], "404");

    let find = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tools/docker-cli.sh");
    let docker = run::to_end(std::process::Command::new(find), 5 * LONG)
        .ok()
        .stdout;
    let mut docker = host.command(docker.trim());
    docker.args(["search", "--no-trunc", "--filter", "stars=1", &term]);
    run::to_end(docker, LONG)
        .ok()
        .says(&["that nobody reads", "[OK]"]);
}
