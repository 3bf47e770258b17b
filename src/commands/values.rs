//! Values that several verbs' options take.

use std::str::FromStr;

use clap::ValueEnum;
use hoist_api::image::ImagePlatform;

/// Form of a list.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ListFormat {
    // Aligned columns
    #[default]
    Table,
    // JSON
    Json,
}

/// When images are fetched, over what the file says.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    // Each time
    Always,
    // When there is none
    Missing,
    // Not at all
    Never,
    // Build instead
    Build,
    // As the file says
    Policy,
}

/// `SERVICE=NUM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    /// The service's name.
    pub(crate) service: String,
    /// How many containers it shall have.
    pub(crate) replicas: u32,
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Scale, String> {
        let (service, number) = text
            .split_once('=')
            .filter(|(service, _)| !service.is_empty())
            .ok_or_else(|| "write it as SERVICE=NUM, for example web=3".to_owned())?;
        let replicas = number
            .parse()
            .map_err(|_| format!("\"{number}\" is not a number of containers"))?;
        Ok(Scale {
            service: service.to_owned(),
            replicas,
        })
    }
}

/// A platform of images as options name it: `linux/arm64`, `arm64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlatformName(pub(crate) ImagePlatform);

impl FromStr for PlatformName {
    type Err = hoist_registry::platform::InvalidPlatform;

    fn from_str(text: &str) -> Result<PlatformName, Self::Err> {
        let hoist_registry::Platform {
            os,
            architecture,
            variant,
        } = text.parse()?;
        Ok(PlatformName(ImagePlatform {
            architecture,
            os,
            variant,
        }))
    }
}
