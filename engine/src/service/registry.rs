//! What the engine asks registries for: the client, logins, descriptions of what is there. Pulls and pushes are beside this file.

use hoist_api::ImageRef;
use hoist_api::error::{ApiError, ErrorKind, Result, chain};
use hoist_api::image::{
    AuthOutcome, Descriptor, DistributionInspect, ImagePlatform, ImageSearchResult, SearchImages,
};
use hoist_registry::auth::AuthConfig;
use hoist_registry::manifest::{DescribedPlatform, Document, Manifest};
use hoist_registry::{Client, Credentials, RegistryConfig, RegistryError, Repository, Search};

use super::Service;

/// Results of a search that names no number, and the most that one may ask for.
const SEARCH_LIMIT: u32 = 25;
const MAX_SEARCH: u32 = 100;

impl Service {
    /// A client with the configuration as it is now, so that a change of the file needs no restart.
    pub(crate) fn registries(&self) -> Result<Client> {
        let config = RegistryConfig::load(&self.config.registries).map_err(registry_error)?;
        Ok(Client::new(config))
    }

    /// Checks a login.
    pub(crate) async fn log_in(&self, auth: &AuthConfig) -> Result<AuthOutcome> {
        let server = server_of(&auth.serveraddress);
        let credentials = auth.credentials().map_err(registry_error)?;
        if credentials == Credentials::Anonymous {
            return Err(ApiError::bad_request(
                "a login needs a user name and a password",
            ));
        }
        let login = self
            .registries()?
            .log_in(&server, credentials)
            .await
            .map_err(registry_error)?;
        Ok(AuthOutcome {
            status: "Login Succeeded".to_owned(),
            identity_token: login.identity_token,
        })
    }

    /// What a registry has under a name.
    pub(crate) async fn distribution(
        &self,
        name: &str,
        auth: &AuthConfig,
    ) -> Result<DistributionInspect> {
        let image: ImageRef = super::images::image_name(name)?;
        let repository = self.repository(&image, auth)?;
        let fetched = repository.manifest().await.map_err(registry_error)?;
        let platforms = match &fetched.document {
            Document::Index(index) => index
                .manifests
                .iter()
                .filter(|entry| entry.is_image())
                .filter_map(|entry| entry.platform.clone())
                .collect(),
            Document::Manifest(manifest) => vec![platform_of(&repository, manifest).await?],
        };
        Ok(DistributionInspect {
            descriptor: Descriptor {
                media_type: fetched.media_type,
                digest: fetched.digest.to_string(),
                size: i64::try_from(fetched.text.len()).unwrap_or(0),
            },
            platforms: platforms
                .into_iter()
                .map(|platform: DescribedPlatform| ImagePlatform {
                    architecture: platform.architecture,
                    os: platform.os,
                    variant: platform.variant,
                })
                .collect(),
        })
    }

    /// The repositories of a registry that fit some words, most liked first.
    pub(crate) async fn image_search(
        &self,
        asked: &SearchImages,
        auth: &AuthConfig,
    ) -> Result<Vec<ImageSearchResult>> {
        let limit = asked.limit.unwrap_or(SEARCH_LIMIT);
        if !(1..=MAX_SEARCH).contains(&limit) {
            let message = format!("limit {limit} is outside the range of [1, {MAX_SEARCH}]");
            return Err(ApiError::bad_request(message));
        }
        let filters = &asked.filters;
        filters.allow_only(&["is-automated", "is-official", "stars"])?;
        filters.check_flag("is-automated")?;
        filters.check_flag("is-official")?;
        filters.check_values("stars", |value| value.parse::<u32>().is_ok())?;
        let search = Search::of(&asked.term, limit);
        if search.words.is_empty() {
            return Err(ApiError::bad_request(
                "a search needs words: the parameter term is empty",
            ));
        }
        let credentials = auth.credentials().map_err(registry_error)?;
        let found = self.registries()?.search(&search, credentials).await;
        let is =
            |wanted: &String, has: bool| ["1", "true", "True"].contains(&wanted.as_str()) == has;
        let mut found: Vec<ImageSearchResult> = found
            .map_err(registry_error)?
            .into_iter()
            .filter(|found| {
                let stars = |wanted: &String| {
                    wanted
                        .parse()
                        .is_ok_and(|least: i64| found.star_count >= least)
                };
                filters.accepts("is-official", |wanted| is(wanted, found.is_official))
                    && filters.accepts("is-automated", |wanted| is(wanted, found.is_automated))
                    && filters.get("stars").iter().all(stars)
            })
            .map(|found| ImageSearchResult {
                description: found.description,
                is_official: found.is_official,
                is_automated: found.is_automated,
                name: found.name,
                star_count: found.star_count,
            })
            .collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.star_count));
        Ok(found)
    }

    /// The repository of an image, for somebody.
    pub(crate) fn repository(&self, image: &ImageRef, auth: &AuthConfig) -> Result<Repository> {
        let credentials = auth.credentials().map_err(registry_error)?;
        Ok(self.registries()?.repository(image, credentials))
    }
}

/// A single manifest says nothing of its platform; its configuration does.
async fn platform_of(repository: &Repository, manifest: &Manifest) -> Result<DescribedPlatform> {
    let Some(source) = repository.sources().last() else {
        return Ok(DescribedPlatform::default());
    };
    let text = source
        .small_blob(&manifest.config)
        .await
        .map_err(registry_error)?;
    Ok(serde_json::from_slice(&text).unwrap_or_default())
}

/// The registry that an address means; old clients send `https://index.docker.io/v1/`.
fn server_of(address: &str) -> String {
    let bare = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// By what went wrong, as Docker's clients expect it.
pub(crate) fn registry_error(error: RegistryError) -> ApiError {
    let kind = match &error {
        RegistryError::Denied { .. }
        | RegistryError::UnknownManifest { .. }
        | RegistryError::Platform { .. } => ErrorKind::NotFound,
        RegistryError::LoginRefused { .. } => ErrorKind::Unauthorized,
        RegistryError::Credentials(_) => ErrorKind::BadRequest,
        RegistryError::Status { status: 404, .. } => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    let hint = match &error {
        RegistryError::Denied { .. } => Some("`hoist login REGISTRY` stores a password"),
        RegistryError::Unreachable { .. } => Some(
            "mirrors, proxies, certificates and insecure registries are configured in /etc/hoist/registries.json",
        ),
        _ => None,
    };
    let told = ApiError::new(kind, chain(&error));
    match hint {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}
