//! `ls`, `images`, `volumes`, `port`, `top`, `version`: short questions about what exists.

use clap::Args;

use super::values::ListFormat;

/// List the projects that run
#[derive(Args, Debug, Clone)]
pub(crate) struct LsArgs {
    /// Also projects of which nothing runs
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Only projects of which this holds (name=REGEX)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// List the images of the containers
#[derive(Args, Debug, Clone)]
pub(crate) struct ImagesArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only the ids
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// List the volumes of the project
#[derive(Args, Debug, Clone)]
pub(crate) struct VolumesArgs {
    /// Services that use them (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) format: ListFormat,

    /// Only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Print the host's address of a published port
#[derive(Args, Debug, Clone)]
pub(crate) struct PortArgs {
    /// Service that publishes it
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,

    /// Port in the container
    #[arg(value_name = "PRIVATE_PORT")]
    pub(crate) private_port: u16,

    /// Which of the service's containers, counted from 1
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) index: u32,

    /// tcp or udp
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    pub(crate) protocol: String,
}

/// Show the processes in the containers
#[derive(Args, Debug, Clone)]
pub(crate) struct TopArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Print hoist's version
#[derive(Args, Debug, Clone)]
pub(crate) struct VersionArgs {
    /// pretty or json
    #[arg(short, long, value_name = "FORMAT", value_parser = ["pretty", "json"], default_value = "pretty")]
    pub(crate) format: String,

    /// Only the number
    #[arg(long)]
    pub(crate) short: bool,
}
