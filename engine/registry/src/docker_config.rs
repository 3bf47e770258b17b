//! Where people keep the passwords of registries: `~/.docker/config.json` and credential helpers. For command lines; an engine that runs
//! for others must not read it.
//!
//! Other tools write the file, too, so what is not known here is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::auth::{AuthConfig, Credentials, split_auth};
use crate::error::RegistryError;

/// The name under which credentials of the default registry are kept, for historical reasons.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// A helper's user name for "the secret is an identity token".
const TOKEN_USER: &str = "<token>";

/// The file, read.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    content: Map<String, Value>,
}

impl DockerConfig {
    /// `$DOCKER_CONFIG/config.json`, or in the home directory; none when there is no home.
    #[must_use]
    pub fn default_path() -> Option<PathBuf> {
        let directory = std::env::var_os("DOCKER_CONFIG")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".docker")));
        directory.map(|directory| directory.join("config.json"))
    }

    /// Reads the file; a missing one is an empty one.
    ///
    /// # Errors
    /// It is unreadable, or not a JSON object.
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let unusable = |why: String| RegistryError::Config {
            path: path.display().to_string(),
            why,
        };
        let content = match fs::read(path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(unusable(error.to_string())),
        };
        Ok(Self {
            path: path.to_path_buf(),
            content,
        })
    }

    /// The credentials for a registry, by the domain of an image's name; empty ones when none are known.
    ///
    /// # Errors
    /// A credential helper fails.
    pub fn auth(&self, domain: &str) -> Result<AuthConfig, RegistryError> {
        let key = key_of(domain);
        let mut auth = match self.helper(&key) {
            Some(helper) => helper_get(&helper, &key)?,
            None => self.stored(domain),
        };
        auth.serveraddress = key;
        Ok(auth)
    }

    /// Where [`DockerConfig::store`] puts the credentials of a registry: a helper's name, or none for the file itself.
    #[must_use]
    pub fn helper_of(&self, domain: &str) -> Option<String> {
        self.helper(&key_of(domain))
    }

    /// Keeps credentials, in the helper that is configured or else in the file.
    ///
    /// # Errors
    /// The helper fails, or the file cannot be written.
    pub fn store(&mut self, domain: &str, auth: &AuthConfig) -> Result<(), RegistryError> {
        let key = key_of(domain);
        if let Some(helper) = self.helper(&key) {
            let (username, secret) = if auth.identitytoken.is_empty() {
                (auth.username.as_str(), auth.password.as_str())
            } else {
                (TOKEN_USER, auth.identitytoken.as_str())
            };
            let input = json!({"ServerURL": key, "Username": username, "Secret": secret});
            run_helper(&helper, "store", &input.to_string())?;
            // Docker, too, notes which registries the helper knows.
            self.auths().insert(key, json!({}));
            return self.write();
        }
        let mut entry = Map::new();
        let secret = if auth.identitytoken.is_empty() {
            auth.password.as_str()
        } else {
            entry.insert("identitytoken".to_owned(), json!(auth.identitytoken));
            ""
        };
        let pair = STANDARD.encode(format!("{}:{secret}", auth.username));
        entry.insert("auth".to_owned(), json!(pair));
        self.auths().insert(key, Value::Object(entry));
        self.write()
    }

    /// Forgets a registry's credentials; whether there were any.
    ///
    /// # Errors
    /// The helper fails, or the file cannot be written.
    pub fn erase(&mut self, domain: &str) -> Result<bool, RegistryError> {
        let key = key_of(domain);
        let known: Vec<String> = self
            .auths()
            .keys()
            .filter(|known| is_same(known, domain))
            .cloned()
            .collect();
        let mut erased = !known.is_empty();
        if let Some(helper) = self.helper(&key) {
            let had = !helper_get(&helper, &key)?.username.is_empty();
            if had {
                run_helper(&helper, "erase", &key)?;
            }
            erased |= had;
        }
        for known in &known {
            self.auths().remove(known);
        }
        if !known.is_empty() {
            self.write()?;
        }
        Ok(erased)
    }

    /// The context that `docker context use` has chosen: a name for an engine.
    #[must_use]
    pub fn current_context(&self) -> Option<&str> {
        let name = self.content.get("currentContext").and_then(Value::as_str);
        name.filter(|name| !name.is_empty())
    }

    /// Chooses a context; `None` chooses Docker's default one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn use_context(&mut self, name: Option<&str>) -> Result<(), RegistryError> {
        match name {
            Some(name) => drop(
                self.content
                    .insert("currentContext".to_owned(), json!(name)),
            ),
            None if self.content.remove("currentContext").is_none() => return Ok(()),
            None => {}
        }
        self.write()
    }

    /// The registries that the file and the general helper know.
    #[must_use]
    pub fn known(&self) -> Vec<String> {
        let keys = |name: &str| {
            let object = self.content.get(name).and_then(Value::as_object);
            object.into_iter().flat_map(Map::keys).cloned()
        };
        let mut known: Vec<String> = keys("auths").chain(keys("credHelpers")).collect();
        let general = self.content.get("credsStore").and_then(Value::as_str);
        if let Some(helper) = general.filter(|name| !name.is_empty()) {
            // One that cannot list can still give what is asked for by name.
            let listed = run_helper(helper, "list", "").unwrap_or_default();
            let listed: Map<String, Value> = serde_json::from_str(&listed).unwrap_or_default();
            known.extend(listed.into_iter().map(|(key, _)| key));
        }
        known
    }

    /// All credentials, by the domain of images' names, for builds: they may need any of them. Those that cannot be had are left out; a
    /// build that needs them is refused by the registry.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, AuthConfig> {
        let domains: BTreeSet<String> = self.known().iter().map(|key| domain_of(key)).collect();
        let found = domains.into_iter().filter_map(|domain| {
            let auth = self.auth(&domain).ok()?;
            (auth.credentials().ok()? != Credentials::Anonymous).then_some((domain, auth))
        });
        found.collect()
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths.as_object_mut().expect("it was made one just now")
    }

    fn helper(&self, key: &str) -> Option<String> {
        let helpers = self.content.get("credHelpers").and_then(Value::as_object);
        let own = helpers.and_then(|helpers| {
            let found = helpers.iter().find(|(name, _)| is_same(name, &bare(key)));
            found.and_then(|(_, helper)| helper.as_str())
        });
        let general = self.content.get("credsStore").and_then(Value::as_str);
        own.or(general)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    }

    fn stored(&self, domain: &str) -> AuthConfig {
        let auths = self.content.get("auths").and_then(Value::as_object);
        let found = auths.and_then(|auths| {
            let exact = auths.get(&key_of(domain)).or_else(|| auths.get(domain));
            exact.or_else(|| {
                let alike = auths.iter().find(|(name, _)| is_same(name, domain));
                alike.map(|(_, entry)| entry)
            })
        });
        let mut auth: AuthConfig = found
            .and_then(|entry| serde_json::from_value(entry.clone()).ok())
            .unwrap_or_default();
        if let Some((username, password)) = split_auth(&auth.auth) {
            (auth.username, auth.password) = (username, password);
        }
        auth.auth.clear();
        auth
    }

    /// Replaces the file; only its owner may read it.
    fn write(&self) -> Result<(), RegistryError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let failed = |error: io::Error| RegistryError::Config {
            path: self.path.display().to_string(),
            why: format!("it cannot be written: {error}"),
        };
        // The file may be a link into a repository of settings.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let staged = path.with_extension(format!("json.{}", std::process::id()));
        let text =
            serde_json::to_string_pretty(&self.content).map_err(|error| failed(error.into()))?;
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&staged)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&staged, &path));
        if written.is_err() {
            drop(fs::remove_file(&staged));
        }
        written.map_err(failed)
    }
}

/// The domain of images' names that a key of the file is about: `https://index.docker.io/v1/` is `docker.io`.
#[must_use]
pub fn domain_of(key: &str) -> String {
    let host = bare(key);
    if HUB.contains(&host.as_str()) {
        "docker.io".to_owned()
    } else {
        host
    }
}

fn key_of(domain: &str) -> String {
    if HUB.contains(&domain) {
        HUB_KEY.to_owned()
    } else {
        domain.to_owned()
    }
}

/// Keys may be addresses, `https://r.test/v1/`.
fn bare(key: &str) -> String {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    rest.split('/').next().unwrap_or(rest).to_owned()
}

fn is_same(key: &str, domain: &str) -> bool {
    key_of(&bare(key)) == key_of(&bare(domain))
}

fn helper_get(helper: &str, key: &str) -> Result<AuthConfig, RegistryError> {
    let text = match run_helper(helper, "get", key) {
        Ok(text) => text,
        // The protocol has no code for it, only these words.
        Err(RegistryError::Credentials(said)) if said.contains("credentials not found") => {
            return Ok(AuthConfig::default());
        }
        Err(error) => return Err(error),
    };
    let answer: Value = serde_json::from_str(&text).map_err(|error| {
        RegistryError::Credentials(format!(
            "the credential helper docker-credential-{helper} answered something else than JSON: {error}"
        ))
    })?;
    let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let (username, secret) = (field("Username"), field("Secret"));
    Ok(if username == TOKEN_USER {
        AuthConfig {
            identitytoken: secret,
            ..AuthConfig::default()
        }
    } else {
        AuthConfig {
            username,
            password: secret,
            ..AuthConfig::default()
        }
    })
}

/// `docker-credential-<helper> <verb>`: the input on stdin, the answer on stdout.
fn run_helper(helper: &str, verb: &str, input: &str) -> Result<String, RegistryError> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| {
        RegistryError::Credentials(format!("cannot use the credential helper {program}: {why}"))
    };
    if helper.contains('/') {
        return Err(failed("its name holds a slash".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that needs no input may be gone already.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(
        format!("{} {}", text.trim(), errors.trim())
            .trim()
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("config.json");
        fs::write(&path, text).expect("write");
        let config = DockerConfig::read(&path).expect("a configuration");
        (place, config)
    }

    #[test]
    fn credentials_are_found_under_all_names_of_a_registry() {
        let (_place, config) = config(&format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"https://r.test:5000/v1/":{{"identitytoken":"t","auth":"{}"}}}}}}"#,
            STANDARD.encode("u:p"),
            STANDARD.encode("v:")
        ));
        let auth = config.auth("docker.io").expect("auth");
        assert_eq!((auth.username.as_str(), auth.password.as_str()), ("u", "p"));
        let auth = config.auth("r.test:5000").expect("auth");
        assert_eq!(auth.identitytoken, "t");
        assert_eq!(config.auth("r.test").expect("auth").username, "");
        let all = config.all();
        let domains: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(domains, ["docker.io", "r.test:5000"]);
        assert_eq!(all["docker.io"].password, "p");
    }

    #[test]
    fn what_is_stored_is_private_and_keeps_the_rest() {
        use std::os::unix::fs::PermissionsExt as _;
        let (place, mut config) = config(r#"{"psFormat":"table","auths":{"a.test":{}}}"#);
        let auth = AuthConfig {
            username: "u".to_owned(),
            password: "p:q".to_owned(),
            ..AuthConfig::default()
        };
        config.store("r.test", &auth).expect("stored");
        let path = place.path().join("config.json");
        assert_eq!(
            fs::metadata(&path).expect("file").permissions().mode() & 0o777,
            0o600
        );
        let mut again = DockerConfig::read(&path).expect("again");
        assert_eq!(again.auth("r.test").expect("auth").password, "p:q");
        assert_eq!(again.content["psFormat"], "table");
        assert!(again.erase("r.test").expect("erased"));
        assert!(!again.erase("r.test").expect("erased"));
        assert_eq!(again.known(), ["a.test"]);
    }
}
