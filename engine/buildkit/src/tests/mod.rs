//! The whole protocol: a client and a builder of the test's own, real connections between.
#![allow(clippy::unwrap_used, reason = "tests")]

mod builds;
mod client;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use hoist_api::build::{
    BuildContext, BuildEvent, BuildOutput, BuildPrune, BuildPruned, BuildRequest,
};
use hoist_api::error::Result;
use hoist_api::system::BuildCacheRecord;
use serde_json::{Value, json};

use crate::builder::{Builder, Describe, Events, ImageConfig, Look, Seen, Tree};
use crate::proto::session::Stat;
use crate::session::Session;

/// Notes what it was asked for and the files it found, and plays given events.
#[derive(Debug, Default)]
pub(super) struct FakeBuilder {
    pub(super) events: Mutex<Vec<BuildEvent>>,
    pub(super) asked: Mutex<Vec<(BuildRequest, BTreeMap<String, String>)>>,
    pub(super) pushed: Mutex<Vec<String>>,
}

impl FakeBuilder {
    pub(super) fn playing(events: Vec<BuildEvent>) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::new(events),
            ..Self::default()
        })
    }
}

fn files(request: &BuildRequest) -> BTreeMap<String, String> {
    let BuildContext::Directory(root) = &request.context else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    let mut ahead = vec![PathBuf::from(root)];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                ahead.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

impl Builder for FakeBuilder {
    fn build(
        &self,
        request: BuildRequest,
        context: Option<std::fs::File>,
        _: Arc<Session>,
    ) -> BoxFuture<'_, Result<Events>> {
        let mut found = files(&request);
        if let Some(context) = context {
            let text = std::io::read_to_string(context).unwrap();
            found.insert("(archive)".to_owned(), text);
        }
        for output in &request.outputs {
            match output {
                BuildOutput::Tar(path) => std::fs::write(path, "the tar").unwrap(),
                BuildOutput::Archive(archive) => std::fs::write(&archive.path, "image").unwrap(),
                BuildOutput::Directory(path) => {
                    std::fs::create_dir_all(format!("{path}/bin")).unwrap();
                    std::fs::write(format!("{path}/bin/app"), "program").unwrap();
                }
                BuildOutput::Image | BuildOutput::Cache => {}
            }
        }
        self.asked.lock().unwrap().push((request, found));
        let events = self.events.lock().unwrap().clone();
        Box::pin(async { Ok(futures_util::stream::iter(events).boxed()) })
    }

    fn describe(&self, what: Describe, text: &[u8], request: &BuildRequest) -> Result<Value> {
        let text = String::from_utf8_lossy(text);
        Ok(json!({ "said": format!("{what:?} {text} {}", request.target) }))
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<BuildCacheRecord>>> {
        let record = BuildCacheRecord {
            id: "step".to_owned(),
            kind: "regular".to_owned(),
            size: 7,
            created_at: "2026-01-02T03:04:05Z".to_owned(),
            ..BuildCacheRecord::default()
        };
        Box::pin(async { Ok(vec![record]) })
    }

    fn look(&self, tree: Tree, path: String, look: Look) -> BoxFuture<'_, Result<Seen>> {
        let said = format!("{tree:?} {path} {look:?}");
        Box::pin(async move {
            Ok(match look {
                Look::Read { .. } => Seen::Bytes(said.into_bytes()),
                Look::List(_) => Seen::Entries(Vec::new()),
                Look::Stat => Seen::Entry(Stat::default()),
            })
        })
    }

    fn image_config(&self, reference: String) -> BoxFuture<'_, Result<ImageConfig>> {
        Box::pin(async {
            Ok(ImageConfig {
                reference,
                config: b"{}".to_vec(),
                ..ImageConfig::default()
            })
        })
    }

    fn push(&self, name: String, _: Arc<Session>) -> BoxFuture<'_, Result<()>> {
        self.pushed.lock().unwrap().push(name.clone());
        Box::pin(async move {
            match name.as_str() {
                "denied:1" => Err(hoist_api::error::ApiError::not_found("push access denied")),
                _ => Ok(()),
            }
        })
    }

    fn prune(&self, _: BuildPrune) -> BoxFuture<'_, Result<BuildPruned>> {
        Box::pin(async { Ok(BuildPruned::default()) })
    }
}
