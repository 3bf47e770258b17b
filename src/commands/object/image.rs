//! `hoist image`: the engine's images.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use hoist_api::client::Client;
use hoist_api::image::{ImagePlatform, ImageSummary, ImportImage, RemoveImage};
use hoist_api::{ApiError, Engine, ErrorKind};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::build::{self, ImageBuildArgs};
use super::history::{self, HistoryArgs};
use super::search::{self, SearchArgs};
use super::transfer::{self, PruneArgs, PullArgs, PushArgs, SaveArgs};
use super::{each, filters, inspect, tree};
use crate::commands::values::PlatformName;
use crate::connect;
use crate::context::{Context, open_input};
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::ui::human;

/// What can be done with images.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ImageVerb {
    /// Build an image from a Dockerfile
    Build(Box<ImageBuildArgs>),
    /// Make an image of a root file system in a tar archive (plain or compressed)
    Import(ImportArgs),
    /// Read images from an archive of `docker save` or an OCI layout
    Load(LoadArgs),
    /// List images
    #[command(visible_alias = "list")]
    Ls(ImageLsArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(ImageRmArgs),
    /// Print what the engine knows of images, as JSON
    Inspect(ImageInspectArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Pull an image from its registry
    Pull(PullArgs),
    /// Push an image to its registry
    Push(PushArgs),
    /// Write images as an archive that `load` and docker read
    Save(SaveArgs),
    /// Print how an image was made
    History(HistoryArgs),
    /// Remove images that nothing uses
    Prune(PruneArgs),
    /// Search a registry for repositories: Docker Hub, or the one before the first slash
    Search(SearchArgs),
}

/// `image import`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImportArgs {
    /// The archive, or an address that the engine fetches; "-" reads standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: String,

    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,

    /// Dockerfile instruction to apply (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL, HEALTHCHECK); repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,

    /// Note for the image's history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    /// Platform of the image, as os/arch
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,
}

/// `image load`.
#[derive(Args, Debug, Clone)]
pub(crate) struct LoadArgs {
    /// The archive (default: standard input)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<String>,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Platform to take from a list, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<PlatformName>,
}

/// `image inspect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImageInspectArgs {
    #[command(flatten)]
    pub(crate) inspect: InspectArgs,

    /// Only when the images are for this platform, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<PlatformName>,
}

/// `image ls`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImageLsArgs {
    /// Only images of this name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Also images that only other images are made of
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Also digests
    #[arg(long)]
    pub(crate) digests: bool,

    /// Only images of which this holds (reference=NAME, dangling=true, label=KEY[=VALUE], …); repeatable
    #[arg(short, long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,

    /// Each image with all its names, and whether containers use it
    #[arg(long, conflicts_with_all = ["quiet", "digests", "format", "no_trunc"])]
    pub(crate) tree: bool,
}

/// `image rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImageRmArgs {
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Also when a stopped container was made of it, or it has several names
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Keep parents without a name
    #[arg(long)]
    pub(crate) no_prune: bool,

    /// Only when the images are for this platform, as os/arch[/variant]; repeatable
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platform: Vec<PlatformName>,
}

/// `inspect` of any object.
#[derive(Args, Debug, Clone)]
pub(crate) struct InspectArgs {
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,

    /// json, or a Go template for each
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `image tag`.
#[derive(Args, Debug, Clone)]
pub(crate) struct TagArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) source: String,

    /// Its new name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) target: String,
}

/// Carries out an `image` command.
///
/// # Errors
/// What the engine or the files say.
pub(crate) async fn run(context: &Context, verb: ImageVerb) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    match verb {
        ImageVerb::Build(args) => build::run(context, &engine, &args).await,
        ImageVerb::Import(args) => import(context, &engine, args).await,
        ImageVerb::Load(args) => load(context, &engine, args).await,
        ImageVerb::Ls(args) => list(context, &engine, args).await,
        ImageVerb::Rm(args) => remove(context, &engine, args).await,
        ImageVerb::Tag(args) => Ok(engine.image_tag(&args.source, &args.target).await?),
        ImageVerb::Pull(args) => transfer::pull(context, &engine, args).await,
        ImageVerb::Push(args) => transfer::push(context, &engine, args).await,
        ImageVerb::Save(args) => transfer::save(context, &engine, args).await,
        ImageVerb::History(args) => history::run(context, &engine, args).await,
        ImageVerb::Prune(args) => transfer::prune(context, &engine, args).await,
        ImageVerb::Search(args) => search::run(context, &engine, args).await,
        ImageVerb::Inspect(args) => {
            inspect(
                context,
                (&args.inspect.names, args.inspect.format.as_deref()),
                async |name: &str| {
                    let platform = args.platform.as_ref().map(|platform| &platform.0);
                    Ok(engine.image_inspect_of(name, platform).await?)
                },
            )
            .await
        }
    }
}

async fn import(context: &Context, engine: &Client, args: ImportArgs) -> Result<(), Failure> {
    let mut changes = args.change;
    changes.retain(|change| !change.trim().is_empty());
    let options = ImportImage {
        reference: args.reference.unwrap_or_default(),
        changes,
        message: args.message.unwrap_or_default(),
        platform: args.platform.unwrap_or_default(),
    };
    let cannot =
        |error: ApiError| Failure::from(error).context(format!("cannot import {}", args.file));
    if ["http://", "https://"]
        .iter()
        .any(|scheme| args.file.starts_with(scheme))
    {
        // The engine's way there is not always ours.
        let progress = engine.image_import_from(&args.file, &options).await;
        let mut progress = progress.map_err(cannot)?;
        let mut last = String::new();
        while let Some(step) = progress.next().await {
            last = step.map_err(cannot)?.status;
        }
        return context.ui.line(&last);
    }
    let input = open_input(&args.file).await?;
    let body = Box::pin(ReaderStream::with_capacity(input, CHUNK));
    let id = engine.image_import(&options, body).await.map_err(cannot)?;
    context.ui.line(&id)
}

/// Bytes read and sent at a time.
const CHUNK: usize = 1 << 18;

async fn load(context: &Context, engine: &Client, args: LoadArgs) -> Result<(), Failure> {
    let path = args.input.unwrap_or_else(|| "-".to_owned());
    if path == "-" && std::io::stdin().is_terminal() {
        return Err(Failure::new("cannot load an image from a terminal")
            .hint("name the archive with -i, or pipe it in"));
    }
    let input = open_input(&path).await?;
    let cannot = |error: ApiError| Failure::from(error).context(format!("cannot load {path}"));
    let body = Box::pin(ReaderStream::with_capacity(input, CHUNK));
    let mut progress = engine
        .image_load_of(body, args.platform.as_ref().map(|platform| &platform.0))
        .await
        .map_err(cannot)?;
    while let Some(step) = progress.next().await {
        let step = step.map_err(cannot)?;
        if !args.quiet && !step.stream.is_empty() {
            context.ui.bytes(step.stream.as_bytes())?;
        }
    }
    Ok(())
}

const COLUMNS: &Columns = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
];

const COLUMNS_WITH_DIGESTS: &Columns = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
];

async fn list(context: &Context, engine: &Client, args: ImageLsArgs) -> Result<(), Failure> {
    let format = Format::read(args.format.as_deref())?;
    let mut filters = filters(&args.filter)?;
    if let Some(reference) = &args.reference {
        filters = filters.with("reference", reference);
    }
    let images = engine.images_all(&filters, args.all).await?;
    if args.tree {
        return tree::print(context, &images);
    }
    if args.quiet && args.format.is_none() {
        let mut ids: Vec<String> = images
            .iter()
            .map(|image| shown_id(image, args.no_trunc))
            .collect();
        ids.dedup();
        return ids.iter().try_for_each(|id| context.ui.line(id));
    }
    let rows: Vec<Value> = images
        .iter()
        .flat_map(|image| rows(image, args.no_trunc))
        .collect();
    let columns = if args.digests {
        COLUMNS_WITH_DIGESTS
    } else {
        COLUMNS
    };
    listing::print(&context.ui, &format, columns, &rows)
}

fn shown_id(image: &ImageSummary, whole: bool) -> String {
    match whole {
        true => image.id.clone(),
        false => human::short_id(&image.id).to_owned(),
    }
}

/// One row for each name of an image, as `docker image ls --format json` has it.
pub(super) fn rows(image: &ImageSummary, whole: bool) -> Vec<Value> {
    let now = jiff::Timestamp::now().as_second();
    let created = jiff::Timestamp::from_second(image.created).unwrap_or_default();
    let size = |bytes: i64| match u64::try_from(bytes) {
        Ok(bytes) => human::size(bytes),
        Err(_) => "N/A".to_owned(),
    };
    let digest = |repository: &str| {
        let of = |digest: &String| {
            let (name, digest) = digest.split_once('@')?;
            (name == repository).then(|| digest.to_owned())
        };
        image
            .repo_digests
            .iter()
            .find_map(of)
            .unwrap_or_else(|| "<none>".to_owned())
    };
    let row = |(repository, tag): (String, String)| {
        json!({
            "Containers": if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() },
            "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
            "CreatedSince": human::ago(image.created, now),
            "Digest": digest(&repository),
            "ID": shown_id(image, whole),
            "Repository": repository,
            "SharedSize": size(image.shared_size),
            "Size": size(image.size),
            "Tag": tag,
            "UniqueSize": if image.shared_size < 0 { "N/A".to_owned() } else { size(image.size - image.shared_size) },
            "VirtualSize": human::long_size(u64::try_from(image.size).unwrap_or(0)),
        })
    };
    names_of(image).into_iter().map(row).collect()
}

/// The image's repositories and tags; where only a digest is known of a repository, `<none>` for the tag, and for both when it has no name.
pub(crate) fn names_of(image: &ImageSummary) -> Vec<(String, String)> {
    let none = || "<none>".to_owned();
    let mut names: Vec<(String, String)> = image
        .repo_tags
        .iter()
        .map(|name| split_reference(name))
        .collect();
    for digest in &image.repo_digests {
        let repository = digest.split('@').next().unwrap_or(digest);
        if !names.iter().any(|(known, _)| known == repository) {
            names.push((repository.to_owned(), none()));
        }
    }
    if names.is_empty() {
        names.push((none(), none()));
    }
    names
}

/// Repository and tag of `repo:tag`.
pub(crate) fn split_reference(reference: &str) -> (String, String) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (reference.to_owned(), "<none>".to_owned()),
    }
}

async fn remove(context: &Context, engine: &Client, args: ImageRmArgs) -> Result<(), Failure> {
    let options = RemoveImage {
        force: args.force,
        no_prune: args.no_prune,
    };
    let platforms: Vec<ImagePlatform> = args.platform.into_iter().map(|name| name.0).collect();
    each(context, &args.images, async |name: &str| {
        let steps = match engine.image_remove_of(name, options, &platforms).await {
            // As with `docker rmi -f`: what is not there is told, and no failure.
            Err(error) if args.force && error.is(ErrorKind::NotFound) => {
                if let Some(report) = &Failure::from(error).report {
                    context.ui.report(report);
                }
                return Ok(());
            }
            steps => steps?,
        };
        for step in steps {
            if !step.untagged.is_empty() {
                context.ui.line(&format!("Untagged: {}", step.untagged))?;
            }
            if !step.deleted.is_empty() {
                context.ui.line(&format!("Deleted: {}", step.deleted))?;
            }
        }
        Ok(())
    })
    .await
}
