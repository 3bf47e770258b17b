//! Registries that lie, break off, limit, or send elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use hoist_api::Digest;
use hoist_registry::manifest::{Descriptor, MANIFEST_TYPE};
use hoist_registry::{Client, Credentials, Platform, RegistryConfig, RegistryError, Repository};
use support::{Asked, FakeRegistry, say};

fn repository(host: &str, credentials: Credentials) -> Repository {
    let client = Client::new(RegistryConfig::of([]));
    client.repository(&format!("{host}/a/b:1").parse().unwrap(), credentials)
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// A manifest whose layer is `layer`.
fn manifest(layer: &[u8]) -> Vec<u8> {
    let descriptor = |content: &[u8]| {
        format!(
            r#"{{"mediaType":"x","digest":"{}","size":{}}}"#,
            Digest::of(content),
            content.len()
        )
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{},"layers":[{}]}}"#,
        descriptor(b"{}"),
        descriptor(layer)
    )
    .into_bytes()
}

async fn find(registry: &FakeRegistry) -> Result<String, RegistryError> {
    let found = repository(&registry.host, Credentials::Anonymous)
        .find(&platform())
        .await;
    found.map(|chosen| chosen.digest.to_string())
}

/// The message for a manifest that is answered so.
async fn refused_manifest(
    answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static,
) -> String {
    let registry = FakeRegistry::start(answer);
    find(&registry).await.expect_err("refused").to_string()
}

/// Reads a blob of this content from a server that answers so.
async fn read_blob(
    content: &'static [u8],
    answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static,
) -> Result<Vec<u8>, String> {
    let registry = FakeRegistry::start(answer);
    let repository = repository(&registry.host, Credentials::Anonymous);
    let source = repository.sources().next().unwrap();
    let descriptor = Descriptor::new("", Digest::of(content), content.len() as u64);
    let mut reader = source.blob(&descriptor);
    let mut found = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(piece)) => found.extend_from_slice(&piece),
            Ok(None) => return Ok(found),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[tokio::test]
async fn wrong_manifests_are_refused_and_named() {
    let page = |_: &Asked, stream: &mut TcpStream| {
        say(
            stream,
            "200 OK",
            "",
            b"<html><body>Please log in to the hotel's WiFi</body></html>",
        );
    };
    assert!(
        refused_manifest(page).await.contains("is a web page"),
        "html"
    );
    let old = |_: &Asked, stream: &mut TcpStream| {
        say(
            stream,
            "200 OK",
            "",
            br#"{"schemaVersion":1,"fsLayers":[]}"#,
        );
    };
    assert!(refused_manifest(old).await.contains("schema 1"), "schema 1");
    let promised = |_: &Asked, stream: &mut TcpStream| {
        let header = format!("Docker-Content-Digest: {}\r\n", Digest::of(b"else"));
        say(stream, "200 OK", &header, &manifest(b"x"));
    };
    assert!(
        refused_manifest(promised)
            .await
            .contains("the registry says sha256:")
    );
    let endless = |_: &Asked, stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream
            .write_all(&[b"10000\r\n", &vec![b' '; 0x10000][..], b"\r\n"].concat())
            .is_ok()
        {}
    };
    assert!(
        refused_manifest(endless)
            .await
            .contains("more than 4194304 bytes")
    );
    let list = |asked: &Asked, stream: &mut TcpStream| {
        let entry = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}","size":0,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            Digest::of(b"promised")
        );
        if asked.path.ends_with("/1") {
            say(stream, "200 OK", "", entry.as_bytes());
        } else {
            say(stream, "200 OK", "", &manifest(b"x"));
        }
    };
    assert!(
        refused_manifest(list)
            .await
            .contains("manifest verification failed")
    );
    let other = |_: &Asked, stream: &mut TcpStream| {
        let list = br#"{"schemaVersion":2,"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","platform":{"os":"linux","architecture":"s390x"}}]}"#;
        say(stream, "200 OK", "", list);
    };
    let said = refused_manifest(other).await;
    assert!(
        said.contains("no matching manifest for linux/amd64") && said.contains("linux/s390x"),
        "{said}"
    );
}

#[tokio::test]
async fn missing_and_forbidden_images_are_worded_as_docker_does() {
    let missing = |_: &Asked, stream: &mut TcpStream| {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        say(stream, "404 Not Found", "", body);
    };
    let said = refused_manifest(missing).await;
    assert!(said.contains("not found: manifest unknown"), "{said}");
    let denied = |_: &Asked, stream: &mut TcpStream| {
        let body = br#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
        say(stream, "403 Forbidden", "", body);
    };
    let said = refused_manifest(denied).await;
    assert!(
        said.starts_with("pull access denied for 127.0.0.1:") && said.contains("requested access"),
        "{said}"
    );
}

#[tokio::test]
async fn redirects_end_and_do_not_carry_credentials() {
    let said = refused_manifest(|asked, stream| {
        if asked.path == "/v2/" {
            return say(stream, "200 OK", "", b"");
        }
        say(
            stream,
            "307 Temporary Redirect",
            "Location: /again\r\n",
            b"",
        );
    })
    .await;
    assert!(said.contains("redirects more than 10 times"), "{said}");

    let store = FakeRegistry::start(|_, stream| say(stream, "200 OK", "", &manifest(b"x")));
    let target = store.host.clone();
    let registry = FakeRegistry::start(move |asked, stream| {
        if asked.header("authorization").is_empty() {
            return say(
                stream,
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=x\r\n",
                b"",
            );
        }
        say(
            stream,
            "302 Found",
            &format!("Location: http://{target}/m\r\n"),
            b"",
        );
    });
    let credentials = Credentials::Basic {
        username: "u".to_owned(),
        password: "p".to_owned(),
    };
    let found = repository(&registry.host, credentials)
        .find(&platform())
        .await;
    assert_eq!(found.unwrap().digest, Digest::of(&manifest(b"x")));
    assert!(
        store
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|asked| asked.header("authorization").is_empty())
    );
}

#[tokio::test]
async fn tokens_are_asked_for_once_with_the_password() {
    let registry = FakeRegistry::start(|asked, stream| {
        let host = asked.header("host").to_owned();
        if asked.path.starts_with("/token") {
            assert_eq!(asked.header("authorization"), "Basic dTpw");
            assert!(
                asked.path.contains("scope=repository%3Aa%2Fb%3Apull"),
                "{}",
                asked.path
            );
            return say(stream, "200 OK", "", br#"{"token":"abc","expires_in":300}"#);
        }
        if asked.header("authorization") == "Bearer abc" {
            return say(stream, "200 OK", "", &manifest(b"x"));
        }
        let challenge =
            format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n");
        say(stream, "401 Unauthorized", &challenge, b"");
    });
    let credentials = Credentials::Basic {
        username: "u".to_owned(),
        password: "p".to_owned(),
    };
    let repository = repository(&registry.host, credentials);
    for _ in 0..2 {
        repository.find(&platform()).await.unwrap();
    }
    let asked = registry
        .lines()
        .iter()
        .filter(|line| line.contains("/token"))
        .count();
    assert_eq!(asked, 1, "{:?}", registry.lines());
}

#[tokio::test]
async fn limits_and_failures_that_pass_are_waited_for() {
    let count = AtomicUsize::new(0);
    let registry = FakeRegistry::start(move |asked, stream| {
        if asked.path == "/v2/" {
            return say(stream, "200 OK", "", b"");
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => say(
                stream,
                "429 Too Many Requests",
                "Retry-After: 0\r\n",
                b"slow down",
            ),
            1 => say(stream, "503 Service Unavailable", "Retry-After: 0\r\n", b""),
            // Nothing at all: the connection just ends.
            2 => {}
            _ => say(stream, "200 OK", "", &manifest(b"x")),
        }
    });
    find(&registry).await.expect("in the end");
    let limited = |_: &Asked, stream: &mut TcpStream| {
        say(
            stream,
            "429 Too Many Requests",
            "Retry-After: 0\r\n",
            br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"rate exceeded"}]}"#,
        );
    };
    let said = refused_manifest(limited).await;
    assert!(
        said.contains("toomanyrequests") && said.contains("rate exceeded"),
        "{said}"
    );
}

const CONTENT: &[u8] = b"0123456789abcdefghij";

#[tokio::test]
async fn a_blob_that_breaks_off_is_resumed() {
    // With ranges.
    let found = read_blob(CONTENT, |asked, stream| match asked.header("range") {
        "" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567");
        }
        "bytes=8-" => {
            let _ = stream.write_all(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 8-19/20\r\nContent-Length: 12\r\n\r\n89ab");
        }
        "bytes=12-" => say(stream, "206 Partial Content", "Content-Range: bytes 12-19/20\r\n", &CONTENT[12..]),
        other => panic!("{other}"),
    })
    .await;
    assert_eq!(found.as_deref(), Ok(CONTENT));
    // Without.
    let first = AtomicUsize::new(0);
    let found = read_blob(CONTENT, move |asked, stream| {
        if asked.path == "/v2/" || first.fetch_add(1, Ordering::SeqCst) > 0 {
            return say(stream, "200 OK", "", CONTENT);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567");
    })
    .await;
    assert_eq!(found.as_deref(), Ok(CONTENT));
}

#[tokio::test]
async fn blobs_that_are_not_what_they_should_be_are_refused() {
    let said = read_blob(CONTENT, |_, stream| {
        say(stream, "200 OK", "", b"0123456789ABCDEFGHIJ")
    })
    .await;
    assert!(said.unwrap_err().contains("has content with the digest"));
    let said = read_blob(CONTENT, |_, stream| say(stream, "200 OK", "", b"too short")).await;
    assert!(
        said.unwrap_err()
            .contains("has 9 bytes, its manifest says 20")
    );
    let said = read_blob(CONTENT, |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream
            .write_all(b"20\r\n0123456789abcdefghij0123456789ab\r\n")
            .is_ok()
        {}
    })
    .await;
    assert!(said.unwrap_err().contains("is longer than the 20 bytes"));
    let said = read_blob(CONTENT, |asked, stream| {
        if asked.header("range").is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567");
        } else {
            say(
                stream,
                "206 Partial Content",
                "Content-Range: bytes 0-19/20\r\n",
                CONTENT,
            );
        }
    })
    .await;
    assert!(said.unwrap_err().contains("another part of the blob"));
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_without_the_password() {
    let mirror = FakeRegistry::start(|asked, stream| {
        assert_eq!(asked.header("authorization"), "");
        if asked.path.contains("/blobs/") {
            return say(stream, "200 OK", "", CONTENT);
        }
        say(stream, "200 OK", "", &manifest(b"x"));
    });
    let broken = FakeRegistry::start(|_, stream| say(stream, "404 Not Found", "", b""));
    let host = hoist_registry::config::HostConfig {
        mirrors: vec![
            format!("http://{}", broken.host),
            format!("http://{}", mirror.host),
        ],
        ..Default::default()
    };
    let client = Client::new(RegistryConfig::of([("origin.invalid".to_owned(), host)]));
    let credentials = Credentials::Basic {
        username: "u".to_owned(),
        password: "p".to_owned(),
    };
    let repository = client.repository(&"origin.invalid/a/b:1".parse().unwrap(), credentials);
    let chosen = repository.find(&platform()).await.unwrap();
    let descriptor = Descriptor::new("", Digest::of(CONTENT), CONTENT.len() as u64);
    assert_eq!(
        chosen.source.small_blob(&descriptor).await.unwrap(),
        CONTENT
    );
}

#[tokio::test]
async fn what_a_mirror_does_not_have_comes_from_the_next_place() {
    let with_blob = |answer: fn(&mut TcpStream)| {
        FakeRegistry::start(move |asked, stream| {
            if asked.path.contains("/blobs/") {
                return answer(stream);
            }
            say(stream, "200 OK", "", &manifest(b"x"));
        })
    };
    let without = with_blob(|stream| say(stream, "404 Not Found", "", b""));
    let lying = with_blob(|stream| say(stream, "200 OK", "", b"01234567890123456789"));
    let good = with_blob(|stream| say(stream, "200 OK", "", CONTENT));
    let host = hoist_registry::config::HostConfig {
        mirrors: [&without, &lying, &good]
            .map(|mirror| format!("http://{}", mirror.host))
            .to_vec(),
        ..Default::default()
    };
    let client = Client::new(RegistryConfig::of([("origin.invalid".to_owned(), host)]));
    let image = "origin.invalid/a/b:1".parse().unwrap();
    let repository = client.repository(&image, Credentials::Anonymous);
    let chosen = repository.find(&platform()).await.unwrap();
    let descriptor = Descriptor::new("", Digest::of(CONTENT), CONTENT.len() as u64);
    assert_eq!(chosen.small_blob(&descriptor).await.unwrap(), CONTENT);
    assert_eq!(
        chosen.sources().count(),
        4,
        "three mirrors and the registry"
    );
}

#[tokio::test]
async fn an_upload_that_breaks_off_goes_on_where_it_was() {
    let patches = AtomicUsize::new(0);
    let registry = FakeRegistry::start(move |asked, stream| match asked.method.as_str() {
        "POST" => say(
            stream,
            "202 Accepted",
            "Location: /v2/a/b/blobs/uploads/1\r\n",
            b"",
        ),
        // The first piece arrives by half, and the connection ends without an answer.
        "PATCH" if patches.fetch_add(1, Ordering::SeqCst) == 0 => {}
        "PATCH" => say(
            stream,
            "202 Accepted",
            "Location: /v2/a/b/blobs/uploads/1\r\nRange: 0-19\r\n",
            b"",
        ),
        "GET" => say(
            stream,
            "204 No Content",
            "Location: /v2/a/b/blobs/uploads/1\r\nRange: 0-9\r\n",
            b"",
        ),
        "PUT" => say(stream, "201 Created", "", b""),
        _ => say(stream, "404 Not Found", "", b""),
    });
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, CONTENT, 0).unwrap();
    let blob = hoist_registry::BlobFile {
        file: std::sync::Arc::new(file),
        digest: Digest::of(CONTENT),
        size: CONTENT.len() as u64,
    };
    let repository = repository(&registry.host, Credentials::Anonymous);
    repository.upload(&blob, &|_| {}).await.unwrap();
    let asked = registry.asked.lock().unwrap();
    let sent: Vec<(&str, &[u8])> = asked
        .iter()
        .filter(|asked| asked.method == "PATCH")
        .map(|asked| (asked.header("content-range"), asked.body.as_slice()))
        .collect();
    assert_eq!(sent, [("0-19", CONTENT), ("10-19", &CONTENT[10..])]);
}
