//! `docker manifest inspect`: what a registry has for a name, in the registry's own words. Scripts ask by it whether an image exists.
//!
//! The registry is asked by this side, as Docker's command line does it: no engine is needed.

use hoist_api::ImageRef;
use hoist_engine::EngineConfig;
use hoist_registry::config::HostConfig;
use hoist_registry::docker_config::DockerConfig;
use hoist_registry::{Client, RegistryConfig, RegistryError};
use serde_json::Value;

use crate::commands::refused::AnyArgs;
use crate::context::Context;
use crate::failure::Failure;

/// Whether these words of `docker` are of this command.
pub(crate) fn is_asked(args: &AnyArgs) -> bool {
    matches!(args.words.as_slice(), [group, verb, ..] if group == "manifest" && verb == "inspect")
}

/// Prints the manifest or the list of manifests that a name stands for.
///
/// # Errors
/// The registry has none, or cannot be reached.
pub(crate) async fn inspect(context: &Context, args: &AnyArgs) -> Result<(), Failure> {
    let wrong =
        |text: String| Failure::new(text).hint("docker manifest inspect [--insecure] IMAGE");
    let mut insecure = false;
    let mut names = Vec::new();
    for word in args.words.iter().skip(2) {
        match word.as_str() {
            "--insecure" | "--insecure=true" => insecure = true,
            option if option.starts_with('-') => {
                return Err(wrong(format!("unknown flag: {option}")).with_exit(125));
            }
            name => names.push(name),
        }
    }
    let [name] = names.as_slice() else {
        return Err(wrong(
            "docker: 'docker manifest inspect' requires 1 argument".to_owned(),
        ));
    };
    let image: ImageRef = name.parse()?;
    let text = fetched(context, &image, insecure).await?;
    let found: Value = serde_json::from_slice(&text)?;
    context.ui.line(&format!("{found:#}"))
}

async fn fetched(context: &Context, image: &ImageRef, insecure: bool) -> Result<Vec<u8>, Failure> {
    let config = match insecure {
        true => {
            let host = HostConfig {
                insecure,
                ..HostConfig::default()
            };
            RegistryConfig::of([(image.domain().to_owned(), host)])
        }
        false => {
            let places = &context.places;
            RegistryConfig::load(&EngineConfig::new(&places.root, &places.state).registries)?
        }
    };
    let auth = match DockerConfig::default_path() {
        Some(path) => DockerConfig::read(&path)
            .and_then(|config| config.auth(image.domain()))
            .map_err(|error| Failure::new(error.to_string()))?,
        None => Default::default(),
    };
    let repository = Client::new(config).repository(image, auth.credentials()?);
    match repository.manifest().await {
        Ok(found) => Ok(found.text),
        Err(RegistryError::UnknownManifest { .. }) => {
            Err(Failure::new(format!("no such manifest: {}", image.full())))
        }
        Err(error) => Err(error.into()),
    }
}
