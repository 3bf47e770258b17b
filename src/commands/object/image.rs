//! `hoist image`: the engine's images.

use clap::{Args, Subcommand};

use crate::commands::values::ListFormat;

/// What can be done with images.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ImageVerb {
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
    Inspect(InspectArgs),
    /// Give an image another name
    Tag(TagArgs),
}

/// `image import`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImportArgs {
    /// The archive; "-" reads standard input
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

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Do not shorten ids
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// `image rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImageRmArgs {
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Also when a stopped container was made of it, or it has several names
    #[arg(long)]
    pub(crate) force: bool,
}

/// `inspect` of any object.
#[derive(Args, Debug, Clone)]
pub(crate) struct InspectArgs {
    /// Names or ids
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
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
