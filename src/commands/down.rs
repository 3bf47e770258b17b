//! `hoist down`: stop and remove what `up` made.

use clap::{Args, ValueEnum};

/// Stop and remove containers and networks
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct DownArgs {
    /// Services to remove (default: the whole project)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// Remove the images of the services, too
    #[arg(long, value_name = "WHICH", value_enum)]
    pub(crate) rmi: Option<RemoveImages>,

    /// Seconds that a container gets to stop before it is killed
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) timeout: Option<i64>,

    /// Remove the project's named volumes and its containers' anonymous volumes: their data is lost
    #[arg(short, long)]
    pub(crate) volumes: bool,
}

/// Which images `down --rmi` removes.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoveImages {
    // Only those without a name of their own in the file
    Local,
    // Every image that a service uses
    All,
}
