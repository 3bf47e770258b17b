//! Builds on a private engine: a context of files, and what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use hoist_api::Engine as _;
use hoist_api::build::{
    BuildContext, BuildEvent, BuildFailure, BuildRequest, BuildResult, BuildStep,
};

use super::TestEngine;

/// A directory of files to build from.
#[derive(Debug)]
pub(crate) struct Context(tempfile::TempDir);

/// All that a build told.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) steps: BTreeMap<u32, BuildStep>,
    pub(crate) cached: Vec<String>,
    pub(crate) fresh: Vec<String>,
    pub(crate) output: String,
    pub(crate) result: Option<BuildResult>,
    pub(crate) failure: Option<BuildFailure>,
}

impl Context {
    /// A context with a Dockerfile and files.
    pub(crate) fn new(dockerfile: &str, files: &[(&str, &str)]) -> Self {
        let context = Self(tempfile::tempdir().unwrap());
        context.write("Dockerfile", dockerfile);
        for (name, content) in files {
            context.write(name, content);
        }
        context
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The request that builds it, named `built`.
    pub(crate) fn request(&self) -> BuildRequest {
        BuildRequest {
            context: BuildContext::Directory(self.0.path().display().to_string()),
            tags: vec!["built".to_owned()],
            ..BuildRequest::default()
        }
    }
}

impl Built {
    /// The image's id; the build must have gone well.
    #[track_caller]
    pub(crate) fn image(&self) -> String {
        match &self.result {
            Some(result) => result.image.clone(),
            None => panic!("the build failed: {:?}\n{}", self.failure, self.output),
        }
    }

    /// Why it failed.
    #[track_caller]
    pub(crate) fn failed(&self) -> &BuildFailure {
        self.failure.as_ref().expect("the build must fail")
    }
}

/// Builds, and gathers all that is told.
pub(crate) async fn build(engine: &TestEngine, request: &BuildRequest) -> Built {
    let mut events = engine.client.image_build(request, None).await.unwrap();
    let mut built = Built::default();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            BuildEvent::Started { step, .. } => drop(built.steps.insert(step.id, step)),
            BuildEvent::Output { text, .. } => built.output.push_str(&text),
            BuildEvent::Done {
                step,
                cached,
                error,
                ..
            } => {
                let name = built.steps[&step].instruction.clone();
                if cached {
                    built.cached.push(name);
                } else if error.is_empty() {
                    built.fresh.push(name);
                }
            }
            BuildEvent::Finished(result) => built.result = Some(result),
            BuildEvent::Failed(failure) => built.failure = Some(failure),
            BuildEvent::Progress { .. } | BuildEvent::Warning(_) => {}
        }
    }
    built
}

/// What a shell line prints in a container of an image.
pub(crate) async fn output_of(engine: &TestEngine, image: &str, line: &str) -> String {
    let mut create = TestEngine::shell(line);
    create.config.image = image.to_owned();
    let id = engine.start("", &create).await;
    engine
        .client
        .container_wait(&id, hoist_api::container::WaitCondition::NotRunning)
        .await
        .unwrap();
    let output = engine.output(&id).await;
    let options = hoist_api::container::RemoveContainer {
        force: true,
        volumes: false,
    };
    engine.client.container_remove(&id, options).await.unwrap();
    output
}

/// Control groups of the engine that are still there.
pub(crate) fn control_groups(engine: &TestEngine) -> Vec<PathBuf> {
    let parent = &engine.config.cgroup_parent;
    let mut found = Vec::new();
    let mut places = vec![Path::new("/sys/fs/cgroup").join(parent)];
    places.extend(
        std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join(parent)),
    );
    for place in places {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                found.push(entry.path());
            }
        }
    }
    found
}
