//! Against Debian's `docker-registry`: plain, with TLS, with a password; pushed by us and read by skopeo.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use hoist_api::Digest;
use hoist_registry::manifest::{CONFIG_TYPE, Descriptor, LAYER_TYPE, MANIFEST_TYPE, Manifest};
use hoist_registry::{
    BlobFile, Client, Credentials, Platform, RegistryConfig, RegistryError, Repository,
};
use support::{RealRegistry, Settings};

fn blob(content: &[u8]) -> BlobFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    BlobFile {
        file: Arc::new(File::try_clone(&file).unwrap()),
        digest: Digest::of(content),
        size: content.len() as u64,
    }
}

fn password() -> Credentials {
    Credentials::Basic {
        username: "ann".to_owned(),
        password: "s3cret".to_owned(),
    }
}

/// More than one piece of an upload.
fn layer() -> Vec<u8> {
    let mut content = vec![0; 33 << 20];
    content[20 << 20] = 7;
    content
}

const CONFIG: &[u8] =
    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

async fn push(repository: &Repository, tag: &str) -> Digest {
    let mut descriptors = Vec::new();
    for (kind, content) in [(CONFIG_TYPE, CONFIG.to_vec()), (LAYER_TYPE, layer())] {
        let blob = blob(&content);
        if repository.blob_size(&blob.digest).await.unwrap().is_none() {
            repository.upload(&blob, &|_| {}).await.unwrap();
        }
        assert_eq!(
            repository.blob_size(&blob.digest).await.unwrap(),
            Some(blob.size)
        );
        descriptors.push(Descriptor::new(kind, blob.digest, blob.size));
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: descriptors.remove(0),
        layers: descriptors,
        annotations: None,
    };
    let text = serde_json::to_vec(&manifest).unwrap();
    repository
        .put_manifest(tag, MANIFEST_TYPE, &text)
        .await
        .unwrap()
}

async fn check_round_trip(client: &Client, registry: &RealRegistry, credentials: Credentials) {
    let name = format!("{}/shop/web:1", registry.host).parse().unwrap();
    let repository = client.repository(&name, credentials.clone());
    let digest = push(&repository, "1").await;
    let platform: Platform = "linux/amd64".parse().unwrap();
    let chosen = client
        .repository(&name, credentials.clone())
        .find(&platform)
        .await
        .unwrap();
    assert_eq!(chosen.digest, digest);
    let mut reader = chosen.source.blob(&chosen.manifest.layers[0]);
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        content.extend_from_slice(&piece);
    }
    assert!(content == layer());
    // Another repository takes the layer over.
    let other = format!("{}/shop/other:1", registry.host).parse().unwrap();
    let other = client.repository(&other, credentials);
    assert!(
        other
            .mount(&Digest::of(&layer()), "shop/web")
            .await
            .unwrap()
    );
    assert!(
        !other
            .mount(&Digest::of(b"nothing"), "shop/web")
            .await
            .unwrap()
    );
    assert!(
        other
            .blob_size(&Digest::of(&layer()))
            .await
            .unwrap()
            .is_some()
    );
    let missing = other.find(&platform).await.expect_err("no manifest");
    assert!(missing.is_missing(), "{missing}");
}

#[tokio::test]
async fn a_plain_registry_on_loopback() {
    let Some(registry) = RealRegistry::start(&Settings::default()) else {
        return;
    };
    let client = Client::new(RegistryConfig::of([]));
    check_round_trip(&client, &registry, Credentials::Anonymous).await;
    let shown = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--raw"])
        .arg(format!("docker://{}/shop/web:1", registry.host))
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains(Digest::of(CONFIG).as_str()),
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_registry_with_a_password_and_tls() {
    let settings = Settings {
        user: Some("ann:s3cret"),
        tls: true,
        ..Settings::default()
    };
    let Some(registry) = RealRegistry::start(&settings) else {
        return;
    };
    let client = Client::new(RegistryConfig::of([]));
    check_round_trip(&client, &registry, password()).await;
    client
        .log_in(&registry.host, password())
        .await
        .expect("a login");
    let wrong = Credentials::Basic {
        username: "ann".to_owned(),
        password: "guess".to_owned(),
    };
    let error = client
        .log_in(&registry.host, wrong)
        .await
        .expect_err("refused");
    assert!(
        matches!(error, RegistryError::LoginRefused { .. }),
        "{error}"
    );
    let name = format!("{}/shop/web:1", registry.host).parse().unwrap();
    let anonymous = client.repository(&name, Credentials::Anonymous);
    let error = anonymous
        .find(&"linux/amd64".parse().unwrap())
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("pull access denied"), "{error}");
}
