//! A service's `build` section as a request to the engine.

use std::collections::BTreeMap;
use std::path::Path;

use hoist_api::build::{BuildContext, BuildRequest, CacheLocation, DockerfileSource, SecretSource};
use hoist_api::host_config::Ulimit;

use crate::model::{Build, Project, Service};

use super::{DesireError, image_name, labels};

/// What to ask the engine for, so that a service's image is built; `None` when it has no `build` section.
///
/// Only paths are given, no file is read: client and engine are on one machine.
///
/// # Errors
/// The section asks for something that does not exist.
pub fn build_request(
    project: &Project,
    name: &str,
    service: &Service,
) -> Result<Option<BuildRequest>, DesireError> {
    let Some(build) = &service.build else {
        return Ok(None);
    };
    let image = image_name(&project.name, name, service.image.as_deref());
    let context = context(build.context.as_deref().unwrap_or("."));
    let mut tags = vec![image];
    for tag in &build.tags {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    let mut entitlements = build.entitlements.clone();
    if build.privileged {
        entitlements.push("security.insecure".to_owned());
    }
    let args = build.args.iter();
    let cached = |places: &[String]| {
        let places = places.iter();
        places
            .map(|text| cache(text, &project.working_dir))
            .collect()
    };
    Ok(Some(BuildRequest {
        dockerfile: dockerfile(build, &context),
        context,
        contexts: contexts(project, name, build)?,
        tags,
        target: build.target.clone().unwrap_or_default(),
        args: args
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
            .collect(),
        labels: image_labels(project, name, build),
        platforms: match build.platforms.as_slice() {
            [] => service.platform.iter().cloned().collect(),
            platforms => platforms.to_vec(),
        },
        no_cache: build.no_cache,
        no_cache_filter: build.no_cache_filter.clone(),
        pull: build.pull,
        network: build.network.clone().unwrap_or_default(),
        extra_hosts: build.extra_hosts.clone(),
        shm_size: build.shm_size.map_or(0, |size| size.0),
        ulimits: ulimits(build),
        secrets: secrets(project, name, build)?,
        ssh: ssh(project, name, build)?,
        entitlements,
        cache_from: cached(&build.cache_from),
        cache_to: cached(&build.cache_to),
        ..BuildRequest::default()
    }))
}

/// The services whose images a service's build uses: `additional_contexts: {base: "service:base"}`.
pub fn built_before(service: &Service) -> impl Iterator<Item = &str> {
    let contexts = service
        .build
        .iter()
        .flat_map(|build| build.additional_contexts.values());
    contexts.filter_map(|context| context.strip_prefix("service:"))
}

/// A directory, or something to fetch.
fn context(text: &str) -> BuildContext {
    let remote = text.contains("://")
        || text.starts_with("git@")
        || (text.starts_with("github.com/") && !Path::new(text).is_absolute());
    if remote {
        BuildContext::Remote(text.to_owned())
    } else {
        BuildContext::Directory(text.to_owned())
    }
}

/// The Dockerfile's text or path; one outside the context is a path of this machine.
fn dockerfile(build: &Build, context: &BuildContext) -> DockerfileSource {
    if let Some(text) = &build.dockerfile_inline {
        return DockerfileSource::Text(text.clone());
    }
    let Some(path) = &build.dockerfile else {
        return DockerfileSource::default();
    };
    match context {
        BuildContext::Directory(directory) if path.starts_with('/') || path.contains("..") => {
            let joined = Path::new(directory).join(path);
            DockerfileSource::File(joined.to_string_lossy().into_owned())
        }
        _ => DockerfileSource::Context(path.clone()),
    }
}

fn contexts(
    project: &Project,
    name: &str,
    build: &Build,
) -> Result<BTreeMap<String, String>, DesireError> {
    let mut contexts = BTreeMap::new();
    for (key, value) in &build.additional_contexts {
        let value = match value.strip_prefix("service:") {
            None => layout(project, value).unwrap_or_else(|| value.clone()),
            Some(other) => {
                let undefined = || DesireError::Undefined {
                    service: name.to_owned(),
                    kind: "service",
                    name: other.to_owned(),
                };
                let service = project.services.get(other);
                let service = service.or_else(|| project.disabled_services.get(other));
                let image = service.ok_or_else(undefined)?.image.as_deref();
                format!("docker-image://{}", image_name(&project.name, other, image))
            }
        };
        contexts.insert(key.clone(), value);
    }
    Ok(contexts)
}

/// An OCI layout's directory made absolute, beside the Compose file: the engine is another process, elsewhere.
fn layout(project: &Project, context: &str) -> Option<String> {
    let place = context.strip_prefix("oci-layout://")?;
    let place = place.strip_prefix("./").unwrap_or(place);
    let absolute = project.working_dir.join(place);
    Some(format!("oci-layout://{}", absolute.display()))
}

/// The user's labels, and those by which a project's images are found.
fn image_labels(project: &Project, name: &str, build: &Build) -> BTreeMap<String, String> {
    let own = build.labels.iter();
    let mut all: BTreeMap<String, String> = own
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let ours = [
        (labels::PROJECT, project.name.as_str()),
        (labels::SERVICE, name),
        (labels::VERSION, labels::OUR_VERSION),
    ];
    all.extend(ours.map(|(key, value)| (key.to_owned(), value.to_owned())));
    all
}

fn ulimits(build: &Build) -> Vec<Ulimit> {
    let limits = build.ulimits.iter();
    limits
        .map(|(name, limit)| {
            let (soft, hard) = limit.soft_and_hard();
            Ulimit {
                name: name.clone(),
                soft,
                hard,
            }
        })
        .collect()
}

fn secrets(
    project: &Project,
    name: &str,
    build: &Build,
) -> Result<BTreeMap<String, SecretSource>, DesireError> {
    let mut secrets = BTreeMap::new();
    for reference in &build.secrets {
        let secret = project.secrets.get(&reference.source);
        let secret = secret.ok_or_else(|| DesireError::Undefined {
            service: name.to_owned(),
            kind: "secret",
            name: reference.source.clone(),
        })?;
        let source = match (&secret.file, &secret.environment) {
            (Some(file), _) => SecretSource::File(file.clone()),
            (None, Some(variable)) => {
                let value = secret.environment_value.as_ref();
                let value = value.or_else(|| project.environment.get(variable));
                let value = value.ok_or_else(|| DesireError::VariableUnset {
                    variable: variable.clone(),
                    kind: "secret",
                    name: reference.source.clone(),
                })?;
                SecretSource::Value(value.clone().into_bytes())
            }
            (None, None) => {
                return Err(DesireError::Unsupported {
                    service: name.to_owned(),
                    what: format!("the external secret {:?} in a build", reference.source),
                });
            }
        };
        // The loader's default target is a path; the build knows secrets by a word.
        let id = reference.target.as_deref().unwrap_or(&reference.source);
        let id = id.strip_prefix("/run/secrets/").unwrap_or(id);
        secrets.insert(id.to_owned(), source);
    }
    Ok(secrets)
}

fn ssh(
    project: &Project,
    name: &str,
    build: &Build,
) -> Result<BTreeMap<String, String>, DesireError> {
    let mut agents = BTreeMap::new();
    for (id, path) in &build.ssh {
        let path = match path.as_str() {
            "" => {
                let agent = project.environment.get("SSH_AUTH_SOCK");
                agent.cloned().ok_or_else(|| DesireError::Unsupported {
                    service: name.to_owned(),
                    what: format!("build.ssh {id:?} without SSH_AUTH_SOCK"),
                })?
            }
            path => path.to_owned(),
        };
        agents.insert(id.clone(), path);
    }
    Ok(agents)
}

/// `type=registry,ref=a/b`, or only the reference. Directories are relative to `base`: the engine works elsewhere.
pub fn cache(text: &str, base: &Path) -> CacheLocation {
    if !text.contains('=') {
        return CacheLocation {
            kind: "registry".to_owned(),
            attributes: BTreeMap::from([("ref".to_owned(), text.to_owned())]),
        };
    }
    let mut attributes: BTreeMap<String, String> = text
        .split(',')
        .map(|field| field.split_once('=').unwrap_or((field, "")))
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .collect();
    for key in ["src", "dest"] {
        if let Some(place) = attributes.get_mut(key) {
            *place = base.join(&*place).to_string_lossy().into_owned();
        }
    }
    CacheLocation {
        kind: attributes
            .remove("type")
            .unwrap_or_else(|| "registry".to_owned()),
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn project(value: serde_json::Value) -> Project {
        serde_json::from_value(value).unwrap()
    }

    fn request(build: serde_json::Value) -> Result<BuildRequest, DesireError> {
        let mut project = project(json!({
            "name": "p",
            "secrets": {"file": {"file": "/f"}, "variable": {"environment": "TOKEN"}, "unset": {"environment": "NONE"}},
            "services": {"web": {"build": build}, "base": {"image": "own:1", "build": {"context": "/b"}}},
        }));
        project.working_dir = "/p".into();
        for (name, value) in [("TOKEN", "hush"), ("SSH_AUTH_SOCK", "/agent")] {
            project
                .environment
                .insert(name.to_owned(), value.to_owned());
        }
        build_request(&project, "web", &project.services["web"]).map(Option::unwrap)
    }

    #[test]
    fn a_section_becomes_a_request() {
        let request = request(json!({
            "context": "/src", "dockerfile": "docker/Dockerfile", "target": "prod",
            "args": {"A": "1", "UNSET": null}, "labels": {"l": "m"}, "tags": ["other:2", "p-web"],
            "additional_contexts": {"base": "service:base", "files": "/files", "laid": "oci-layout://./lay:1"},
            "secrets": [{"source": "file"}, {"source": "variable", "target": "token"}],
            "ssh": {"default": ""}, "cache_from": ["a/b", "type=local,src=/c"],
            "shm_size": "128", "network": "none", "no_cache": true, "privileged": true,
        }))
        .unwrap();
        assert_eq!(request.context, BuildContext::Directory("/src".to_owned()));
        assert_eq!(
            request.dockerfile,
            DockerfileSource::Context("docker/Dockerfile".to_owned())
        );
        assert_eq!(request.tags, ["p-web", "other:2"]);
        assert_eq!(
            request.args,
            BTreeMap::from([("A".to_owned(), "1".to_owned())])
        );
        assert_eq!(request.labels[labels::SERVICE], "web");
        assert_eq!(request.labels["l"], "m");
        assert_eq!(request.contexts["base"], "docker-image://own:1");
        assert_eq!(request.contexts["laid"], "oci-layout:///p/lay:1");
        assert_eq!(request.secrets["file"], SecretSource::File("/f".to_owned()));
        assert_eq!(
            request.secrets["token"],
            SecretSource::Value(b"hush".to_vec())
        );
        assert_eq!(request.ssh["default"], "/agent");
        assert_eq!(request.cache_from[0].attributes["ref"], "a/b");
        assert_eq!(request.cache_from[1].kind, "local");
        assert_eq!(request.entitlements, ["security.insecure"]);
        assert_eq!(request.shm_size, 128);
    }

    #[test]
    fn dockerfiles_may_be_text_or_elsewhere() {
        let of = |build| request(build).unwrap().dockerfile;
        assert_eq!(of(json!({"context": "/s"})), DockerfileSource::default());
        assert_eq!(
            of(json!({"context": "/s", "dockerfile_inline": "FROM x"})),
            DockerfileSource::Text("FROM x".to_owned())
        );
        assert_eq!(
            of(json!({"context": "/s", "dockerfile": "../D"})),
            DockerfileSource::File("/s/../D".to_owned())
        );
        let remote = request(json!({"context": "https://h/r.git#main"})).unwrap();
        assert_eq!(
            remote.context,
            BuildContext::Remote("https://h/r.git#main".to_owned())
        );
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let why = |build| request(build).unwrap_err().to_string();
        assert_eq!(
            why(json!({"context": "/s", "secrets": [{"source": "unset"}]})),
            "environment variable \"NONE\" required by secret \"unset\" is not set"
        );
        assert_eq!(
            why(json!({"context": "/s", "additional_contexts": {"a": "service:gone"}})),
            "service \"web\" refers to undefined service \"gone\""
        );
    }
}
