//! `hoist config`: the project as the loader understands it.

use clap::{Args, ValueEnum};

/// Check the files and print them as one, in canonical form
#[derive(Args, Debug, Clone)]
pub(crate) struct ConfigArgs {
    /// Services to print, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Only check, print nothing
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<ConfigFormat>,

    /// Write into this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,

    /// Print "SERVICE HASH" of these services (comma separated, "*" for all)
    #[arg(long, value_name = "SERVICES")]
    pub(crate) hash: Option<String>,

    /// Print the names of the services
    #[arg(long = "services")]
    pub(crate) only_services: bool,

    /// Print the names of the volumes
    #[arg(long)]
    pub(crate) volumes: bool,

    /// Print the names of the networks
    #[arg(long)]
    pub(crate) networks: bool,

    /// Print the names of the models
    #[arg(long)]
    pub(crate) models: bool,

    /// Print the names of the images
    #[arg(long)]
    pub(crate) images: bool,

    /// Print the names of the profiles
    #[arg(long)]
    pub(crate) profiles: bool,

    /// Print the variables that the files use
    #[arg(long)]
    pub(crate) variables: bool,

    /// Print the variables that interpolation sees
    #[arg(long)]
    pub(crate) environment: bool,

    /// Leave ${VARIABLES} as they are
    #[arg(long)]
    pub(crate) no_interpolate: bool,

    /// Leave out the defaults that the canonical form adds
    #[arg(long)]
    pub(crate) no_normalize: bool,

    /// Leave relative paths as they are
    #[arg(long)]
    pub(crate) no_path_resolution: bool,

    /// Do not check that what is referred to exists
    #[arg(long)]
    pub(crate) no_consistency: bool,

    /// Leave env_file as it is
    #[arg(long)]
    pub(crate) no_env_resolution: bool,

    /// Replace image tags by digests
    #[arg(long)]
    pub(crate) resolve_image_digests: bool,

    /// Print a file that pins images to digests
    #[arg(long)]
    pub(crate) lock_image_digests: bool,
}

/// Form of `config`'s output.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigFormat {
    // YAML
    Yaml,
    // JSON
    Json,
}
