//! Which engine is meant when it is not our own: options, HOIST_HOST, and Docker's variables and contexts.
//!
//! The order is Docker's: `--host`, `--context`, then the environment. A root or state of one's own means our
//! engine there, whatever DOCKER_HOST says.

use std::path::PathBuf;

use hoist_api::client::{Endpoint, TlsConfig};
use indexmap::IndexMap;

use crate::contexts::{self, Contexts};
use crate::failure::Failure;
use crate::globals::Globals;

/// Decides which engine is meant; `None` for our own.
///
/// # Errors
/// An address is wrong, or a context does not exist or cannot be read.
pub(crate) fn endpoint(
    globals: &Globals,
    environment: &IndexMap<String, String>,
    as_docker: bool,
) -> Result<Option<Endpoint>, Failure> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let config = tls(globals, environment).filter(|_| globals.tls_asked);
    if config.is_some_and(|config| config.ca.is_none()) {
        let missing = certificates(environment).join("ca.pem");
        return Err(Failure::new(format!(
            "unable to resolve docker endpoint: open {}: no such file or directory",
            missing.display()
        )));
    }
    if let Some(host) = globals.host.as_ref() {
        return read(host, globals, environment).map(Some);
    }
    if let Some(context) = &globals.context {
        return of_context(context, globals, environment);
    }
    if let Some(host) = variable("HOIST_HOST") {
        return read(host, globals, environment).map(Some);
    }
    let own = globals.root.is_some() || globals.state.is_some();
    if own || variable("HOIST_ROOT").is_some() || variable("HOIST_STATE").is_some() {
        return Ok(None);
    }
    if let Some(host) = variable("DOCKER_HOST") {
        return read(host, globals, environment).map(Some);
    }
    if let Some(context) = variable("DOCKER_CONTEXT") {
        return of_context(context, globals, environment);
    }
    let current = || Contexts::of(environment).current();
    match as_docker.then(current).flatten() {
        Some(context) => of_context(&context, globals, environment),
        None => Ok(None),
    }
}

/// An address with TLS where it is asked for.
fn read(
    host: &str,
    globals: &Globals,
    environment: &IndexMap<String, String>,
) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::parse(host).map_err(|error| {
        Failure::from(error)
            .hint("write it as unix:///path/of/the.sock, tcp://HOST:PORT or ssh://USER@HOST")
    })?;
    Ok(match tls(globals, environment) {
        Some(config) => endpoint.with_tls(config),
        None => endpoint,
    })
}

/// The certificates, when TLS is asked for.
fn tls(globals: &Globals, environment: &IndexMap<String, String>) -> Option<TlsConfig> {
    let set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    let verify = globals.tlsverify || set("DOCKER_TLS_VERIFY");
    if !(verify || globals.tls || globals.tls_asked || set("DOCKER_TLS")) {
        return None;
    }
    let directory = certificates(environment);
    let found = TlsConfig::in_directory(&directory);
    let given = |option: &Option<String>, found| option.as_ref().map(PathBuf::from).or(found);
    Some(TlsConfig {
        ca: given(&globals.tlscacert, found.ca),
        cert: given(&globals.tlscert, found.cert),
        key: given(&globals.tlskey, found.key),
        insecure: !verify,
    })
}

/// Where certificates are looked for.
fn certificates(environment: &IndexMap<String, String>) -> PathBuf {
    let named = environment.get("DOCKER_CERT_PATH");
    match named.filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => contexts::docker_directory(environment),
    }
}

/// The engine of a context; `None` for our own, which the context "default" stands for.
fn of_context(
    name: &str,
    globals: &Globals,
    environment: &IndexMap<String, String>,
) -> Result<Option<Endpoint>, Failure> {
    if name == contexts::DEFAULT {
        return Ok(None);
    }
    let cannot = |error: Failure| error.context(format!("cannot use the context \"{name}\""));
    let contexts = Contexts::of(environment);
    let meta = contexts.read(name).map_err(cannot)?;
    let Some(docker) = meta.endpoints.get(contexts::DOCKER) else {
        return Err(cannot(Failure::new("it names no engine")));
    };
    let endpoint = read(&docker.host, globals, environment)?;
    let certificates = contexts.certificates(name);
    if !certificates.exists() && !docker.skip_tls_verify {
        return Ok(Some(endpoint));
    }
    Ok(Some(endpoint.with_tls(TlsConfig {
        insecure: docker.skip_tls_verify,
        ..TlsConfig::in_directory(&certificates)
    })))
}

/// The address that the context "default" stands for; `None` for our own engine's.
///
/// # Errors
/// As [`endpoint`].
pub(crate) fn default_endpoint(
    globals: &Globals,
    environment: &IndexMap<String, String>,
) -> Result<Option<Endpoint>, Failure> {
    let globals = Globals {
        context: None,
        ..globals.clone()
    };
    let mut environment = environment.clone();
    environment.shift_remove("DOCKER_CONTEXT");
    endpoint(&globals, &environment, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(globals: &Globals, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment = variables.iter().map(own).collect();
        let found = endpoint(globals, &environment, false);
        found
            .map(|endpoint| endpoint.map(|endpoint| endpoint.to_string()))
            .map_err(|failure| failure.report.map(|r| r.to_string()).unwrap_or_default())
    }

    #[test]
    fn the_order_of_what_is_meant() {
        let none = Globals::default();
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(decide(&none, &[]), Ok(None));
        assert_eq!(
            decide(&none, &[("DOCKER_HOST", "tcp://d:1")]),
            some("tcp://d:1")
        );
        assert_eq!(
            decide(&none, &[("DOCKER_HOST", "tcp://d:1"), ("HOIST_ROOT", "/r")]),
            Ok(None)
        );
        let both = [("DOCKER_HOST", "tcp://d:1"), ("HOIST_HOST", "unix:///h")];
        assert_eq!(decide(&none, &both), some("/h"));
        let given = Globals {
            host: Some("ssh://me@box".to_owned()),
            ..Globals::default()
        };
        assert_eq!(decide(&given, &both), some("ssh://me@box"));
        assert!(decide(&none, &[("HOIST_HOST", "ftp://x")]).is_err());
        assert!(decide(&none, &[("DOCKER_CONTEXT", "none"), ("HOME", "/nowhere")]).is_err());
        assert_eq!(decide(&none, &[("DOCKER_CONTEXT", "default")]), Ok(None));
    }

    #[test]
    fn contexts_are_docker_files() {
        let home = tempfile::tempdir().unwrap();
        // printf far | sha256sum
        let id = "512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868";
        let meta = home.path().join(".docker/contexts/meta").join(id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":true}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let home = home.path().display().to_string();
        let found = decide(
            &Globals::default(),
            &[("DOCKER_CONTEXT", "far"), ("HOME", &home)],
        );
        assert_eq!(found, Ok(Some("tcp://far:2376".to_owned())));
    }
}
