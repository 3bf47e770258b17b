//! The search of registries that have one, and what is said of those that have none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use hoist_registry::config::HostConfig;
use hoist_registry::{Client, Credentials, Found, RegistryConfig, RegistryError, Search};
use support::{Asked, FakeRegistry, say};

const ANSWER: &str = r#"{"num_results":2,"query":"db","results":[
    {"name":"lab/db","description":"A database","star_count":7,"is_official":false,"is_automated":false},
    {"name":"db","star_count":70,"is_official":true}]}"#;

fn with_search() -> FakeRegistry {
    FakeRegistry::start(|asked: &Asked, stream| match asked.path.split('?').next() {
        Some("/v1/search") => say(stream, "200 OK", "", ANSWER.as_bytes()),
        Some("/v2/") => say(stream, "200 OK", "", b"{}"),
        _ => say(stream, "404 Not Found", "", b"404 page not found"),
    })
}

async fn search(config: RegistryConfig, term: &str) -> Result<Vec<Found>, RegistryError> {
    let search = Search::of(term, 30);
    Client::new(config)
        .search(&search, Credentials::Anonymous)
        .await
}

#[tokio::test]
async fn a_registry_is_asked_for_words() {
    let registry = with_search();
    let found = search(
        RegistryConfig::default(),
        &format!("{}/a db", registry.host),
    )
    .await;
    let found = found.unwrap();
    let names: Vec<&str> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["lab/db", "db"]);
    assert_eq!((found[0].star_count, found[1].is_official), (7, true));
    assert_eq!(registry.lines(), ["GET /v1/search?q=a%20db&n=30"]);
}

#[tokio::test]
async fn mirrors_are_asked_when_the_registry_is_away() {
    let mirror = with_search();
    let host = HostConfig {
        mirrors: vec![
            "http://127.0.0.1:1".to_owned(),
            format!("http://{}", mirror.host),
        ],
        ..HostConfig::default()
    };
    let config = RegistryConfig::of([("localhost:1".to_owned(), host)]);
    assert_eq!(search(config, "localhost:1/db").await.unwrap().len(), 2);
    let alone = search(RegistryConfig::default(), "localhost:1/db").await;
    assert!(
        matches!(&alone, Err(RegistryError::Unreachable { host, .. }) if host == "localhost:1"),
        "{alone:?}"
    );
}

#[tokio::test]
async fn a_registry_without_a_search_says_so() {
    let none = FakeRegistry::start(|asked: &Asked, stream| match asked.path.as_str() {
        "/v2/" => say(stream, "200 OK", "", b"{}"),
        _ => say(stream, "404 Not Found", "", b"404 page not found"),
    });
    let error = search(RegistryConfig::default(), &format!("{}/db", none.host)).await;
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains("404") && said.contains("the search for \"db\""),
        "{said}"
    );
    let page = FakeRegistry::start(|_: &Asked, stream| say(stream, "200 OK", "", b"<html>"));
    let error = search(RegistryConfig::default(), &format!("{}/db", page.host)).await;
    let said = error.unwrap_err().to_string();
    assert!(said.contains("unusable"), "{said}");
}
