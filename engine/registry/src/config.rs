//! Which registries are reached how.
//!
//! One file, `/etc/hoist/registries.json`, read when the engine starts; a missing one means the defaults:
//!
//! ```json
//! {
//!   "registries": {
//!     "docker.io":          { "mirrors": ["https://mirror.example:5000", "http://10.0.0.7:5000"] },
//!     "registry.lab:5000":  { "insecure": true },
//!     "registry.corp":      { "ca": ["/etc/ssl/corp.pem"], "certificate": "/etc/ssl/me.pem", "key": "/etc/ssl/me.key" }
//!   }
//! }
//! ```
//!
//! Keys are hosts as image names have them, with their port. `insecure` allows certificates that nobody vouches for, and plain HTTP.
//! Mirrors are asked first, in their order, for pulls only, and never get credentials; a mirror of `http://` is reached without TLS.
//! What one of them does not give, a manifest as well as a layer, comes from the next place.
//! Hosts on the loopback network are always allowed to be insecure, as in Docker. Certificates in Docker's places,
//! `/etc/docker/certs.d/<host[:port]>/{*.crt, *.cert, *.key}` and the same beneath `/etc/hoist`, count as well.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::RegistryError;
use crate::proxy::Proxies;

/// Where the file is.
pub const DEFAULT_FILE: &str = "/etc/hoist/registries.json";
const CERTIFICATES: [&str; 2] = ["/etc/hoist/certs.d", "/etc/docker/certs.d"];
/// The registry of names without one, and the host that serves it.
pub(crate) const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";
/// The host that searches it.
const HUB_INDEX: &str = "index.docker.io";

/// All registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    hosts: BTreeMap<String, HostConfig>,
    pub(crate) proxies: Proxies,
}

/// One registry, as the file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostConfig {
    /// Addresses that are asked before the registry itself.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Whether TLS may be unverified or missing.
    #[serde(default)]
    pub insecure: bool,
    /// Files of certificates that vouch for the host, beside the system's.
    #[serde(default)]
    pub ca: Vec<PathBuf>,
    /// A file with the certificate to show.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// A file with its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContent {
    #[serde(default)]
    registries: BTreeMap<String, HostConfig>,
}

/// One place that serves a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) schemes: &'static [&'static str],
    pub(crate) is_mirror: bool,
}

impl RegistryConfig {
    /// Reads the file (a missing one is an empty one) and takes proxies from the environment.
    ///
    /// # Errors
    /// It is unreadable, is not JSON, or has unknown keys.
    pub fn load(path: &Path) -> Result<Self, RegistryError> {
        let unusable = |why: String| RegistryError::Config {
            path: path.display().to_string(),
            why,
        };
        let content = match fs::read(path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileContent {
                registries: BTreeMap::new(),
            },
            Err(error) => return Err(unusable(error.to_string())),
        };
        for mirror in content.registries.values().flat_map(|host| &host.mirrors) {
            if split_mirror(mirror).is_none() {
                return Err(unusable(format!(
                    "the mirror {mirror:?} is not of the form https://host[:port]"
                )));
            }
        }
        Ok(Self {
            hosts: content.registries,
            proxies: Proxies::from_environment(),
        })
    }

    /// A configuration with these hosts and no proxies.
    #[must_use]
    pub fn of(hosts: impl IntoIterator<Item = (String, HostConfig)>) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            proxies: Proxies::default(),
        }
    }

    /// Hosts that were allowed to be insecure by the file, sorted.
    pub fn insecure_hosts(&self) -> impl Iterator<Item = &str> {
        let insecure = self.hosts.iter().filter(|(_, host)| host.insecure);
        insecure.map(|(name, _)| name.as_str())
    }

    /// The mirrors of the default registry.
    #[must_use]
    pub fn mirrors(&self) -> &[String] {
        self.hosts.get(HUB).map_or(&[], |host| &host.mirrors)
    }

    /// Where a registry's content can be had: mirrors, then the registry.
    pub(crate) fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let mirrors = self.hosts.get(domain).map_or(&[][..], |host| &host.mirrors);
        let mirror = |address: &String| {
            let (schemes, host) = split_mirror(address)?;
            Some(Endpoint {
                host: host.to_owned(),
                schemes,
                is_mirror: true,
            })
        };
        let own = self.origin(domain);
        mirrors.iter().filter_map(mirror).chain([own]).collect()
    }

    /// The registry itself.
    pub(crate) fn origin(&self, domain: &str) -> Endpoint {
        let host = if domain == HUB { HUB_HOST } else { domain };
        Endpoint {
            host: host.to_owned(),
            schemes: if self.is_insecure(domain) {
                &["https", "http"]
            } else {
                &["https"]
            },
            is_mirror: false,
        }
    }

    /// The place that searches a registry.
    pub(crate) fn index(&self, domain: &str) -> Endpoint {
        let mut place = self.origin(domain);
        if domain == HUB {
            HUB_INDEX.clone_into(&mut place.host);
        }
        place
    }

    /// Whether TLS towards `host[:port]` may be unverified or missing.
    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        is_loopback(host) || self.hosts.get(host).is_some_and(|config| config.insecure)
    }

    /// Certificates for `host[:port]`: of the file, and of the well-known directories.
    pub(crate) fn certificates(&self, host: &str) -> Certificates {
        let configured = self.hosts.get(host);
        let mut found = Certificates {
            authorities: configured.map(|host| host.ca.clone()).unwrap_or_default(),
            client: configured
                .and_then(|host| Some((host.certificate.clone()?, host.key.clone()?))),
        };
        for directory in CERTIFICATES {
            found.add_directory(&Path::new(directory).join(host));
        }
        found
    }
}

/// Files with certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) authorities: Vec<PathBuf>,
    /// Certificate and key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

impl Certificates {
    fn add_directory(&mut self, directory: &Path) {
        let mut paths: Vec<PathBuf> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.push(path),
                Some("cert") if self.client.is_none() => {
                    let key = path.with_extension("key");
                    self.client = Some((path, key));
                }
                _ => {}
            }
        }
    }
}

fn split_mirror(address: &str) -> Option<(&'static [&'static str], &str)> {
    let (schemes, rest): (&[&str], &str) = if let Some(rest) = address.strip_prefix("https://") {
        (&["https"], rest)
    } else {
        (&["http"], address.strip_prefix("http://")?)
    };
    let host = rest.trim_end_matches('/');
    (!host.is_empty() && !host.contains(['/', '@', '?', ' '])).then_some((schemes, host))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<RegistryConfig, String> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("registries.json");
        fs::write(&path, text).expect("write");
        RegistryConfig::load(&path).map_err(|error| error.to_string())
    }

    fn shown(config: &RegistryConfig, domain: &str) -> Vec<String> {
        let show =
            |endpoint: &Endpoint| format!("{}:{}", endpoint.schemes.join("+"), endpoint.host);
        config.endpoints(domain).iter().map(show).collect()
    }

    #[test]
    fn mirrors_come_first_and_the_registry_last() {
        let config = load(
            r#"{"registries":{"docker.io":{"mirrors":["https://m:5000/","http://n"]},"lab:5000":{"insecure":true}}}"#,
        )
        .expect("a configuration");
        assert_eq!(
            shown(&config, "docker.io"),
            ["https:m:5000", "http:n", "https:registry-1.docker.io"]
        );
        assert_eq!(shown(&config, "lab:5000"), ["https+http:lab:5000"]);
        assert_eq!(shown(&config, "lab"), ["https:lab"]);
        for local in [
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert_eq!(shown(&config, local), [format!("https+http:{local}")]);
        }
    }

    #[test]
    fn mistakes_in_the_file_are_told() {
        for (text, expected) in [
            ("{", "EOF"),
            (r#"{"registrys":{}}"#, "unknown field `registrys`"),
            (
                r#"{"registries":{"a":{"mirors":[]}}}"#,
                "unknown field `mirors`",
            ),
            (
                r#"{"registries":{"a":{"mirrors":["m:5000"]}}}"#,
                "not of the form",
            ),
        ] {
            let said = load(text).expect_err(text);
            assert!(
                said.contains(expected) && said.contains("registries.json"),
                "{said}"
            );
        }
        let none = RegistryConfig::load(Path::new("/nonexistent/registries.json"));
        assert_eq!(shown(&none.expect("defaults"), "a.b"), ["https:a.b"]);
    }
}
