//! Docker's contexts on the disk: names for engines, which `docker` and SDKs read and write, too.
//!
//! `contexts/meta/<id>/meta.json` describes one, `contexts/tls/<id>/docker/` has its certificates; the id is the name's SHA-256. Which one
//! is current is in `config.json`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hoist_api::Digest;
use hoist_registry::docker_config::DockerConfig;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The context that is always there: what options and the environment say.
pub(crate) const DEFAULT: &str = "default";
/// The endpoint of a context that is an engine.
pub(crate) const DOCKER: &str = "docker";
/// What a context's certificates are called in its directory.
pub(crate) const CERTIFICATES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// Docker's directory of settings.
#[derive(Debug, Clone)]
pub(crate) struct Contexts {
    directory: PathBuf,
}

/// A context.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Meta {
    /// Its name.
    pub(crate) name: String,
    /// `Description`, and whatever else tools keep there.
    pub(crate) metadata: Map<String, Value>,
    /// By kind; `docker` is the engine.
    pub(crate) endpoints: IndexMap<String, MetaEndpoint>,
}

/// Where something of a context is.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct MetaEndpoint {
    /// Its address.
    pub(crate) host: String,
    /// Whether any certificate will do.
    #[serde(rename = "SkipTLSVerify")]
    pub(crate) skip_tls_verify: bool,
}

impl Meta {
    /// What its owner says of it.
    pub(crate) fn description(&self) -> &str {
        let text = self.metadata.get("Description").and_then(Value::as_str);
        text.unwrap_or_default()
    }

    /// The engine's address.
    pub(crate) fn host(&self) -> &str {
        self.endpoints
            .get(DOCKER)
            .map_or("", |endpoint| &endpoint.host)
    }
}

/// Docker's directory of settings: `$DOCKER_CONFIG`, or `.docker` in the home directory.
pub(crate) fn docker_directory(environment: &IndexMap<String, String>) -> PathBuf {
    let given = environment.get("DOCKER_CONFIG");
    match given.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => Path::new(environment.get("HOME").map_or("/", String::as_str)).join(".docker"),
    }
}

impl Contexts {
    /// Those of a user with this environment.
    pub(crate) fn of(environment: &IndexMap<String, String>) -> Contexts {
        Contexts {
            directory: docker_directory(environment),
        }
    }

    fn settings(&self) -> Result<DockerConfig, Failure> {
        Ok(DockerConfig::read(&self.directory.join("config.json"))?)
    }

    /// The one that was chosen with [`Contexts::choose`]; none when nothing was, or the file is unreadable.
    pub(crate) fn current(&self) -> Option<String> {
        let settings = self.settings().ok()?;
        settings.current_context().map(str::to_owned)
    }

    /// Makes a context the current one.
    ///
    /// # Errors
    /// The file of settings cannot be read or written.
    pub(crate) fn choose(&self, name: &str) -> Result<(), Failure> {
        let chosen = Some(name).filter(|name| *name != DEFAULT);
        Ok(self.settings()?.use_context(chosen)?)
    }

    /// All that are on the disk, by name. What cannot be read is left out.
    ///
    /// # Errors
    /// Their directory cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<Meta>, Failure> {
        let place = self.directory.join("contexts/meta");
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(
                    Failure::from(error).context(format!("cannot read {}", place.display()))
                );
            }
        };
        let read = |entry: io::Result<fs::DirEntry>| {
            let text = fs::read_to_string(entry.ok()?.path().join("meta.json")).ok()?;
            serde_json::from_str(&text).ok()
        };
        let mut found: Vec<Meta> = entries.filter_map(read).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// One by name.
    ///
    /// # Errors
    /// There is none, or its file cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Meta, Failure> {
        let path = self.metadata(name).join("meta.json");
        let text = fs::read_to_string(&path).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "context not found",
                _ => "context is unreadable",
            };
            Failure::new(format!(
                "context \"{name}\": {why}: open {}: {error}",
                path.display()
            ))
            .hint("`context ls` shows those that are there")
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::from(error).context(format!("cannot use {}", path.display())))
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.metadata(name).join("meta.json").exists()
    }

    /// Writes one; `certificates` is each file's name and content, and replaces what was there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(
        &self,
        meta: &Meta,
        certificates: Option<&[(&str, Vec<u8>)]>,
    ) -> Result<(), Failure> {
        let directory = self.metadata(&meta.name);
        write_file(
            &directory.join("meta.json"),
            &serde_json::to_vec(meta)?,
            0o644,
        )?;
        let Some(certificates) = certificates else {
            return Ok(());
        };
        let place = self.certificates(&meta.name);
        remove_all(&self.tls(&meta.name))?;
        certificates
            .iter()
            .try_for_each(|(name, content)| write_file(&place.join(name), content, 0o600))
    }

    /// All certificates and keys of one: endpoint, file, content, by name.
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) fn tls_files(&self, name: &str) -> Result<Vec<(String, String, Vec<u8>)>, Failure> {
        let mut found = Vec::new();
        for endpoint in names_in(&self.tls(name))? {
            let place = self.tls(name).join(&endpoint);
            for file in names_in(&place)? {
                let path = place.join(&file);
                let content = fs::read(&path).map_err(|error| {
                    Failure::from(error).context(format!("cannot read {}", path.display()))
                })?;
                found.push((endpoint.clone(), file, content));
            }
        }
        Ok(found)
    }

    /// Writes a certificate or key of an endpoint.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(
        &self,
        name: &str,
        (endpoint, file): (&str, &str),
        content: &[u8],
    ) -> Result<(), Failure> {
        write_file(&self.tls(name).join(endpoint).join(file), content, 0o600)
    }

    /// Removes one.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        remove_all(&self.metadata(name))?;
        remove_all(&self.tls(name))
    }

    /// The directory of one's description.
    pub(crate) fn metadata(&self, name: &str) -> PathBuf {
        self.directory.join("contexts/meta").join(id_of(name))
    }

    /// The directory of one's certificates, of all kinds of endpoints.
    pub(crate) fn tls(&self, name: &str) -> PathBuf {
        self.directory.join("contexts/tls").join(id_of(name))
    }

    /// The directory of the certificates for one's engine. It may not be there.
    pub(crate) fn certificates(&self, name: &str) -> PathBuf {
        self.tls(name).join(DOCKER)
    }
}

fn id_of(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().to_owned()
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let staged = path.with_extension(format!("{}.new", std::process::id()));
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&staged)?
            .write_all(content)?;
        fs::rename(&staged, path)
    };
    write()
        .map_err(|error| Failure::from(error).context(format!("cannot write {}", path.display())))
}

/// What a directory has, sorted; nothing when there is none.
fn names_in(directory: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        outcome => outcome.map_err(|error| {
            Failure::from(error).context(format!("cannot read {}", directory.display()))
        })?,
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn remove_all(directory: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::from(error).context(format!("cannot remove {}", directory.display())))
        }
        _ => Ok(()),
    }
}
