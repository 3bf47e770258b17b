//! What becomes of a finished build: an image with its names, files, an archive. And of a failed one: an image to look into.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use hoist_api::build::{BuildFailure, BuildOutput, BuildResult, ImageArchive};
use hoist_api::error::ApiError;
use hoist_api::{Digest, ImageRef};
use hoist_dockerfile::{History, Ignore, Mark, NodeId, RunOp};
use jiff::Timestamp;

use super::super::Service;
use super::steps::{Build, Output, StepFailure};
use super::{cache_image, copy, keys};
use crate::build::cache::Record;
use crate::build::copy::{Copier, Target};
use crate::build::error::BuildError;
use crate::build::select::select;
use crate::build::{exchange, tree};
use crate::image::config::RootFs;
use crate::image::pack::{Marks, Packing, pack};
use crate::image::{
    ContainerDefaults, Exported, HistoryEntry, ImageConfig, ImageId, NewContent, StagedLayer,
};

/// What BuildKit writes beside each line of the history.
const COMMENT: &str = "buildkit.dockerfile.v0";

impl Build {
    /// Hands the result over as it was asked for. Blocks.
    pub(super) fn deliver(&self, output: &Output) -> Result<BuildResult, BuildError> {
        let outputs = match self.request.outputs.as_slice() {
            [] => &[BuildOutput::Image],
            outputs => outputs,
        };
        let mut result = BuildResult::default();
        for wanted in outputs {
            match wanted {
                BuildOutput::Image => result = self.image_of(output)?,
                BuildOutput::Cache => {}
                BuildOutput::Directory(path) => self.write_directory(output, Path::new(path))?,
                BuildOutput::Tar(path) => self.write_tar(output, Path::new(path))?,
                BuildOutput::Archive(wanted) => {
                    let (image, digest) = self.write_archive(output, wanted)?;
                    // What is in the store says more.
                    if result.image.is_empty() {
                        result.image = image.to_string();
                        result.digest = digest.to_string();
                    }
                }
            }
        }
        let layers = output.layers.iter();
        result.layers = layers.map(|layer| layer.diff_id().to_string()).collect();
        self.leave_cache(output)?;
        Ok(result)
    }

    /// Leaves the steps where others find them.
    fn leave_cache(&self, output: &Output) -> Result<(), BuildError> {
        for place in &self.request.cache_to {
            let attribute = |name: &str| place.attributes.get(name);
            let mut steps = self.steps();
            // As BuildKit has it: all steps only when it is said.
            if attribute("mode").is_none_or(|mode| mode != "max") {
                steps.retain(|(_, record)| cache_image::is_in_image(record, &output.layers));
            }
            match (place.kind.as_str(), attribute("dest"), attribute("ref")) {
                ("local", Some(dest), _) => {
                    exchange::export(Path::new(dest), &self.service.images, steps)?;
                }
                ("registry", _, Some(name)) => {
                    let written = cache_image::write(&self.service, name, (&self.logins, steps));
                    let written = tokio::runtime::Handle::current().block_on(written);
                    written.map_err(|error| ApiError {
                        message: format!("cannot leave the cache at {name}: {}", error.message),
                        ..error
                    })?;
                }
                // Written with the image.
                ("inline", ..) => {}
                (kind, ..) => self.reporter.warn(format!(
                    "cache_to of type {kind} is not written: this engine writes type=local,dest=DIRECTORY, type=registry,ref=IMAGE and type=inline"
                )),
            }
        }
        Ok(())
    }

    /// What the steps of this build have made, or were found to have made.
    fn steps(&self) -> Vec<(String, Record)> {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        self.service.builder.cache.records(&touched)
    }

    /// Notes for builds elsewhere, when the image is to carry them.
    fn notes(&self, output: &Output) -> Result<Option<serde_json::Value>, BuildError> {
        if !self
            .request
            .cache_to
            .iter()
            .any(|place| place.kind == "inline")
        {
            return Ok(None);
        }
        let notes = cache_image::inline(self.steps(), &output.layers);
        notes.map(Some).map_err(|error| {
            BuildError::io(
                "write",
                "the notes of the cache",
                std::io::Error::from(error),
            )
        })
    }

    fn write_archive(
        &self,
        output: &Output,
        wanted: &ImageArchive,
    ) -> Result<(ImageId, Digest), BuildError> {
        let mut tags = self.request.tags.clone();
        tags.extend(wanted.names.clone());
        let mut names = names(&tags)?;
        names.sort();
        names.dedup();
        let config = self.config_with_notes(output)?;
        let exported = Exported::of(config, output.layers.clone(), names)
            .map_err(|error| BuildError::io("describe", &wanted.path, error))?;
        let digest = self.service.images.write_archive(&exported, wanted)?;
        Ok((exported.id().clone(), digest))
    }

    fn config_with_notes(&self, output: &Output) -> Result<ImageConfig, BuildError> {
        Ok(ImageConfig {
            build_cache: self.notes(output)?,
            ..self.config()?
        })
    }

    fn image_of(&self, output: &Output) -> Result<BuildResult, BuildError> {
        let names = names(&self.request.tags)?;
        let tags = names.iter().map(ImageRef::familiar).collect();
        let content = NewContent {
            config: self.config_with_notes(output)?,
            layers: output.layers.clone(),
            names,
        };
        let id = self.service.images.create_image(content)?;
        let image = self.service.images.resolve(id.as_str())?;
        Ok(BuildResult {
            image: id.to_string(),
            digest: image.manifest.to_string(),
            tags,
            ..BuildResult::default()
        })
    }

    fn config(&self) -> Result<ImageConfig, BuildError> {
        let graph = &self.graph;
        self.config_by(
            (&graph.config, &graph.author),
            &graph.history,
            graph.base_image,
        )
        .map(|config| ImageConfig {
            architecture: graph.platform.architecture.clone(),
            variant: graph.platform.variant.clone(),
            os: graph.platform.os.clone(),
            ..config
        })
    }

    /// That of the image that an instruction leaves.
    pub(super) fn config_of(&self, mark: &Mark) -> Result<ImageConfig, BuildError> {
        self.config_by((&mark.config, &mark.author), &mark.history, mark.base_image)
            .map(|config| ImageConfig {
                architecture: mark.platform.architecture.clone(),
                variant: mark.platform.variant.clone(),
                os: mark.platform.os.clone(),
                ..config
            })
    }

    fn config_by(
        &self,
        (config, author): (&hoist_dockerfile::ImageConfig, &Option<String>),
        lines: &[History],
        base_image: Option<NodeId>,
    ) -> Result<ImageConfig, BuildError> {
        let mut created = self.begun(base_image)?;
        let config: ContainerDefaults = convert(config)?;
        let mut history = Vec::new();
        if let Some(base) = base_image
            && let hoist_dockerfile::Op::Image { reference, .. } = &self.graph.node(base).op
        {
            let name = self.images.get(reference).unwrap_or(reference);
            history = self.service.images.resolve(name)?.config.history.clone();
        }
        for line in lines {
            let empty_layer = match line.node {
                Some(node) => {
                    created = self.time(self.output(node)?.at);
                    !self.has_layer(node)?
                }
                None => true,
            };
            history.push(HistoryEntry {
                created: Some(created.clone()),
                created_by: line.created_by.clone(),
                comment: COMMENT.to_owned(),
                empty_layer,
                ..HistoryEntry::default()
            });
        }
        Ok(ImageConfig {
            created: Some(created),
            author: author.clone().unwrap_or_default(),
            config,
            rootfs: RootFs::default(),
            history,
            ..ImageConfig::default()
        })
    }

    /// Whether a step has added a layer to what it builds on.
    fn has_layer(&self, node: hoist_dockerfile::NodeId) -> Result<bool, BuildError> {
        let below = match self.graph.node(node).op.base() {
            Some(base) => self.output(base)?.layers.len(),
            None => 0,
        };
        Ok(self.output(node)?.layers.len() > below)
    }

    /// When the image below was made: what changes nothing but the configuration takes no time of its own, so that the same build gives
    /// the same image.
    fn begun(&self, base_image: Option<NodeId>) -> Result<String, BuildError> {
        let base = match base_image {
            Some(base) => self.output(base)?.at,
            None => Timestamp::UNIX_EPOCH,
        };
        Ok(self.time(base))
    }

    /// With `SOURCE_DATE_EPOCH` that time.
    fn time(&self, at: Timestamp) -> String {
        let fixed = self
            .graph
            .source_date_epoch
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        fixed.unwrap_or(at).to_string()
    }

    fn write_directory(&self, output: &Output, path: &Path) -> Result<(), BuildError> {
        std::fs::create_dir_all(path).map_err(|error| BuildError::io("create", path, error))?;
        let root = tree::open(path)?;
        let target = Target {
            root: &root,
            dest: "/".to_owned(),
            owner: None,
            mode: None,
            time: None,
        };
        let origin = keys::read(self, output)?;
        let mut copier = Copier::new(&target);
        for item in select(&origin, "/", &Ignore::default())? {
            copier.item(&origin, &item, None)?;
        }
        Ok(())
    }

    /// Without a directory above, as BuildKit's: `usr/bin/app`.
    fn write_tar(&self, output: &Output, path: &Path) -> Result<(), BuildError> {
        let root = output.read(&self.service)?;
        let packing = Packing {
            root: &root,
            from: PathBuf::from("/"),
            name: PathBuf::new(),
            marks: Marks::Plain,
            skip: &|_| false,
        };
        crate::image::replace(path, &mut |file| pack(&packing, file))
            .map_err(|error| BuildError::io("write", path, error))
    }

    /// Keeps what a failed command has left, as an image without a name. What cannot be kept is only a warning.
    pub(super) async fn keep_failed(
        self: &Arc<Self>,
        op: &RunOp,
        base: &Output,
        staged: StagedLayer,
    ) -> String {
        let (service, op, base) = (self.service.clone(), op.clone(), base.clone());
        let kept = tokio::task::spawn_blocking(move || failed_image(&service, &op, base, staged));
        match kept.await {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the state of a failed step is not kept");
                String::new()
            }
            Err(_) => String::new(),
        }
    }

    /// A failed step for users: what it printed last, where it stands.
    pub(super) fn explain(&self, failure: StepFailure) -> BuildFailure {
        let node = self.graph.node(failure.node);
        let exit_code = match &failure.error {
            BuildError::Exit { code, .. } => Some(*code),
            _ => None,
        };
        let command = match &node.op {
            hoist_dockerfile::Op::Run(op) => op.argv.clone(),
            _ => Vec::new(),
        };
        let hint = match &failure.error {
            BuildError::Engine(error) => error.hint.clone().unwrap_or_default(),
            _ => String::new(),
        };
        BuildFailure {
            message: hoist_api::error::chain(&failure.error),
            hint,
            step: Some(Self::step_of(failure.node)),
            exit_code,
            output: failure.output,
            place: Some(self.dockerfile.place(node.span)),
            image: failure.image,
            command,
            ..BuildFailure::default()
        }
    }
}

fn failed_image(
    service: &Service,
    op: &RunOp,
    base: Output,
    staged: StagedLayer,
) -> Result<String, BuildError> {
    let made = copy::commit(service, staged, None)?;
    let mut layers = base.layers;
    layers.extend(made.layer);
    let variables = op.env.iter();
    let platform = crate::image::Platform::host();
    let config = ImageConfig {
        created: Some(Timestamp::now().to_string()),
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        config: ContainerDefaults {
            user: op.user.clone(),
            env: variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            working_dir: op.workdir.clone(),
            cmd: Some(op.argv.clone()),
            ..ContainerDefaults::default()
        },
        ..ImageConfig::default()
    };
    let content = NewContent {
        config,
        layers,
        names: Vec::new(),
    };
    Ok(service.images.create_image(content)?.to_string())
}

/// The names that were asked for.
pub(super) fn names(tags: &[String]) -> Result<Vec<ImageRef>, BuildError> {
    let read = |tag: &String| {
        tag.parse::<ImageRef>().map_err(|error| {
            BuildError::Refused(format!("invalid reference format: {tag:?}: {error}"))
        })
    };
    tags.iter().map(read).collect()
}

fn convert<T: serde::de::DeserializeOwned>(value: &impl serde::Serialize) -> Result<T, BuildError> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|error| {
            BuildError::io(
                "write",
                "the image's configuration",
                std::io::Error::from(error),
            )
        })
}
