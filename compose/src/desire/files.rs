//! Secrets and configs whose content is not a file of the host: they are written into the created container.

use crate::model::{Config, FileReference, Project, Secret, Service};

use super::DesireError;

/// A file to write into a container before it starts.
#[derive(Clone, PartialEq, Eq)]
pub struct InjectedFile {
    /// Absolute path in the container.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Permission bits.
    pub mode: u32,
}

/// The content may be a secret: never shown.
impl std::fmt::Debug for InjectedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let InjectedFile {
            path,
            content,
            uid,
            gid,
            mode,
        } = self;
        write!(
            formatter,
            "InjectedFile({path}, {} bytes, {uid}:{gid}, {mode:04o})",
            content.len()
        )
    }
}

/// Permission bits when the file gives none (compose-spec, secrets and configs).
const DEFAULT_MODE: u32 = 0o444;

/// Where a secret or config comes from.
pub(crate) enum Source<'a> {
    /// A file of the host, to be mounted.
    File(&'a str),
    /// Bytes to be written.
    Content(&'a str),
}

/// The path a secret is seen at.
pub(crate) fn secret_path(reference: &FileReference) -> String {
    path_below("/run/secrets", reference)
}

/// The path a config is seen at.
pub(crate) fn config_path(reference: &FileReference) -> String {
    path_below("", reference)
}

fn path_below(directory: &str, reference: &FileReference) -> String {
    match reference.target.as_deref().unwrap_or(&reference.source) {
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("{directory}/{relative}"),
    }
}

/// All contents to write into the containers of a service.
pub(crate) fn contents(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<Vec<InjectedFile>, DesireError> {
    let mut files = Vec::new();
    for reference in &service.secrets {
        if let Source::Content(content) = secret(project, name, reference)? {
            files.push(file(name, secret_path(reference), content, reference)?);
        }
    }
    for reference in &service.configs {
        if let Source::Content(content) = config(project, name, reference)? {
            files.push(file(name, config_path(reference), content, reference)?);
        }
    }
    Ok(files)
}

fn file(
    service: &str,
    path: String,
    content: &str,
    reference: &FileReference,
) -> Result<InjectedFile, DesireError> {
    let number = |text: &Option<String>, what: &str| match text.as_deref() {
        None | Some("") => Ok(0),
        Some(text) => text.parse().map_err(|_| DesireError::Unsupported {
            service: service.to_owned(),
            what: format!("{what} {text:?} of {path} (a number is needed)"),
        }),
    };
    let (uid, gid) = (
        number(&reference.uid, "uid")?,
        number(&reference.gid, "gid")?,
    );
    let mode = reference.mode_bits().unwrap_or(DEFAULT_MODE);
    Ok(InjectedFile {
        path,
        content: content.as_bytes().to_vec(),
        uid,
        gid,
        mode,
    })
}

/// Where a service's secret comes from.
pub(crate) fn secret<'a>(
    project: &'a Project,
    service: &str,
    reference: &FileReference,
) -> Result<Source<'a>, DesireError> {
    let Some(secret) = project.secrets.get(&reference.source) else {
        return Err(undefined(service, "secret", &reference.source));
    };
    let Secret {
        name,
        file,
        environment,
        environment_value,
        ..
    } = secret;
    match (file, environment, environment_value) {
        (Some(path), _, _) => Ok(Source::File(path)),
        (None, Some(_), Some(value)) => Ok(Source::Content(value)),
        (None, Some(variable), None) => Err(DesireError::VariableUnset {
            variable: variable.clone(),
            kind: "secret",
            name: name.clone(),
        }),
        (None, None, _) => Err(unsupported(service, "secret", &reference.source)),
    }
}

/// Where a service's config comes from.
pub(crate) fn config<'a>(
    project: &'a Project,
    service: &str,
    reference: &FileReference,
) -> Result<Source<'a>, DesireError> {
    let Some(config) = project.configs.get(&reference.source) else {
        return Err(undefined(service, "config", &reference.source));
    };
    let Config {
        name,
        file,
        environment,
        content,
        ..
    } = config;
    match (file, content, environment) {
        (Some(path), _, _) => Ok(Source::File(path)),
        (None, Some(content), _) => Ok(Source::Content(content)),
        (None, None, Some(variable)) => match project.environment.get(variable) {
            Some(value) => Ok(Source::Content(value)),
            None => Err(DesireError::VariableUnset {
                variable: variable.clone(),
                kind: "config",
                name: name.clone(),
            }),
        },
        (None, None, None) => Err(unsupported(service, "config", &reference.source)),
    }
}

fn undefined(service: &str, kind: &'static str, name: &str) -> DesireError {
    DesireError::Undefined {
        service: service.to_owned(),
        kind,
        name: name.to_owned(),
    }
}

fn unsupported(service: &str, kind: &str, name: &str) -> DesireError {
    let what = format!(
        "{kind} {name:?}, which is kept outside of the project (only file, environment and content are)"
    );
    DesireError::Unsupported {
        service: service.to_owned(),
        what,
    }
}
