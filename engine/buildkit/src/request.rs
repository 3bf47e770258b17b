//! What a client asks of the frontend `dockerfile.v0`, as a build request.

use std::collections::BTreeMap;

use hoist_api::build::{BuildContext, BuildRequest, CacheLocation};
use hoist_api::host_config::Ulimit;
use serde_json::Value;

use crate::grpc::{Code, Status};
use crate::proto::control::CacheEntry;
use crate::proto::{Definition, Input, Operation, OperationMetadata, SourceOperation};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// How our own results are called in graphs that clients pass on.
const RESULT: &str = "hoist-image://";

/// Where the files of a context come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory of the client, by its name in the session.
    Local(String),
    /// Anything that the builder gets by itself.
    Elsewhere(String),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Everything but files.
    pub(crate) request: BuildRequest,
    /// The Dockerfile's path in its directory.
    pub(crate) filename: String,
    /// The client's directory that the Dockerfile is in; none: in the context.
    pub(crate) dockerfile: Option<String>,
    /// The main context.
    pub(crate) context: Source,
    /// Further contexts.
    pub(crate) contexts: BTreeMap<String, Source>,
    /// Sessions of directories that are not the build's own.
    pub(crate) sessions: BTreeMap<String, String>,
    /// What is asked for and has no effect here.
    pub(crate) passed_over: Vec<String>,
}

/// What is read here, and what clients tell about themselves, which changes no image.
const KNOWN: [&str; 28] = [
    "add-hosts",
    "cache-from",
    "cache-imports",
    "cgroup-parent",
    "cmdline",
    "context",
    "contextkey",
    "cpuperiod",
    "cpuquota",
    "cpusetcpus",
    "cpusetmems",
    "cpushares",
    "dockerfilekey",
    "filename",
    "force-network-mode",
    "frontend.caps",
    "image-resolve-mode",
    "memory",
    "memswap",
    "multi-platform",
    "no-cache",
    "platform",
    "policy",
    "requestid",
    "shm-size",
    "source",
    "target",
    "ulimit",
];

/// Groups of them.
const KNOWN_PREFIXES: [&str; 7] = [
    "build-arg:",
    "context:",
    "input:",
    "input-metadata:",
    "label:",
    "local-sessionid:",
    "vcs:",
];

type Attrs = BTreeMap<String, String>;

/// Reads what is asked for.
///
/// # Errors
/// What is malformed, or not done here.
pub(crate) fn read(attrs: &Attrs, inputs: &BTreeMap<String, Definition>) -> Result<Asked, Status> {
    let text = |key: &str| attrs.get(key).map(String::as_str).unwrap_or_default();
    if let Some(call) = attrs.get("requestid").filter(|call| !call.is_empty()) {
        let message = format!("the call {call} is not answered by this builder; only builds are");
        return Err(Status::new(Code::Unimplemented, message));
    }
    let context = match text(key_or(attrs, "contextkey", "context")) {
        _ if inputs.contains_key("context") => {
            let message =
                "a graph as the main context is not built here: give a directory or a URL";
            return Err(Status::new(Code::Unimplemented, message));
        }
        "" => Source::Local(key_or(attrs, "contextkey", "context").to_owned()),
        url => Source::Elsewhere(url.to_owned()),
    };
    let remote = matches!(context, Source::Elsewhere(_));
    let dockerfile = match attrs.get("dockerfilekey") {
        Some(key) => Some(key.clone()),
        None => (!remote).then(|| "dockerfile".to_owned()),
    };
    Ok(Asked {
        request: BuildRequest {
            context: match &context {
                Source::Elsewhere(url) => BuildContext::Remote(url.clone()),
                Source::Local(_) => BuildContext::Empty,
            },
            ..options(attrs)?
        },
        filename: match text("filename") {
            "" => "Dockerfile".to_owned(),
            name => name.to_owned(),
        },
        dockerfile,
        context,
        contexts: contexts(attrs, inputs)?,
        sessions: with_prefix(attrs, "local-sessionid:"),
        passed_over: passed_over(attrs)?,
    })
}

/// What the build goes on without, in words for the user.
///
/// # Errors
/// What it cannot go on without.
fn passed_over(attrs: &Attrs) -> Result<Vec<String>, Status> {
    let mut told = Vec::new();
    for (name, value) in attrs {
        let is_known = KNOWN.contains(&name.as_str())
            || KNOWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if is_known || value.is_empty() {
            continue;
        }
        if name == "contextsubdir" && value != "." {
            let message = format!("contextsubdir={value} is not carried out by this engine");
            return Err(Status::new(Code::Unimplemented, message));
        }
        told.push(match name.strip_prefix("attest:") {
            Some(kind) => format!("{kind} is not attested: this engine makes no attestations"),
            None => format!("{name}={value} has no effect: this engine does not know it"),
        });
    }
    Ok(told)
}

fn key_or<'a>(attrs: &'a Attrs, key: &str, default: &'a str) -> &'a str {
    attrs.get(key).map_or(default, String::as_str)
}

fn options(attrs: &Attrs) -> Result<BuildRequest, Status> {
    let text = |key: &str| attrs.get(key).map(String::as_str).unwrap_or_default();
    let no_cache = attrs.get("no-cache").map(String::as_str);
    Ok(BuildRequest {
        target: text("target").to_owned(),
        args: with_prefix(attrs, "build-arg:"),
        labels: with_prefix(attrs, "label:"),
        platforms: list(text("platform")),
        no_cache: no_cache == Some(""),
        no_cache_filter: list(no_cache.unwrap_or_default()),
        pull: text("image-resolve-mode") == "pull",
        network: text("force-network-mode").to_owned(),
        extra_hosts: list(text("add-hosts")),
        shm_size: number(attrs, "shm-size")?,
        ulimits: list(text("ulimit"))
            .iter()
            .map(|limit| ulimit(limit))
            .collect::<Result<_, _>>()?,
        memory: number(attrs, "memory")?,
        memory_swap: number(attrs, "memswap")?,
        cpu_shares: number(attrs, "cpushares")?,
        cpu_quota: number(attrs, "cpuquota")?,
        cpu_period: number(attrs, "cpuperiod")?,
        cpuset_cpus: text("cpusetcpus").to_owned(),
        cpuset_mems: text("cpusetmems").to_owned(),
        cgroup_parent: text("cgroup-parent").to_owned(),
        cache_from: cache_imports(attrs)?,
        ..BuildRequest::default()
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn with_prefix(attrs: &Attrs, prefix: &str) -> BTreeMap<String, String> {
    attrs
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())))
        .collect()
}

fn invalid(key: &str, value: &str) -> Status {
    let message = format!("invalid value {value:?} for {key}");
    Status::new(Code::InvalidArgument, message)
}

fn number(attrs: &Attrs, key: &str) -> Result<i64, Status> {
    match attrs.get(key).filter(|value| !value.is_empty()) {
        Some(value) => value.parse().map_err(|_| invalid(key, value)),
        None => Ok(0),
    }
}

/// `nofile=1024:2048`, `nproc=64`
fn ulimit(text: &str) -> Result<Ulimit, Status> {
    let wrong = || invalid("ulimit", text);
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ok(Ulimit {
        name: name.to_owned(),
        soft: soft.parse().map_err(|_| wrong())?,
        hard: hard.parse().map_err(|_| wrong())?,
    })
}

fn cache_imports(attrs: &Attrs) -> Result<Vec<CacheLocation>, Status> {
    let mut found = Vec::new();
    if let Some(text) = attrs.get("cache-imports").filter(|text| !text.is_empty()) {
        let wrong = || invalid("cache-imports", text);
        let entries: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
        for entry in entries {
            let attributes = entry["Attrs"].as_object().into_iter().flatten();
            found.push(CacheLocation {
                kind: entry["Type"].as_str().ok_or_else(wrong)?.to_owned(),
                attributes: attributes
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect(),
            });
        }
    }
    let references = attrs.get("cache-from").map(String::as_str);
    found.extend(
        list(references.unwrap_or_default())
            .into_iter()
            .map(|reference| CacheLocation {
                kind: "registry".to_owned(),
                attributes: BTreeMap::from([("ref".to_owned(), reference)]),
            }),
    );
    Ok(found)
}

/// A cache as the wire has it.
pub(crate) fn cache(entry: &CacheEntry) -> CacheLocation {
    CacheLocation {
        kind: entry.kind.clone(),
        attributes: entry.attrs.clone(),
    }
}

fn contexts(
    attrs: &Attrs,
    inputs: &BTreeMap<String, Definition>,
) -> Result<BTreeMap<String, Source>, Status> {
    let mut found = BTreeMap::new();
    for (name, value) in with_prefix(attrs, "context:") {
        // `name::linux/amd64` is the context for one platform.
        let name = name.split("::").next().unwrap_or(&name).to_owned();
        let source = if let Some(local) = value.strip_prefix("local:") {
            Source::Local(local.trim_start_matches('/').to_owned())
        } else if let Some(input) = value.strip_prefix("input:") {
            let image = inputs.get(input).and_then(result_of);
            let image = image.ok_or_else(|| {
                let message = format!("context {name} is no result of a build of this engine");
                Status::new(Code::Unimplemented, message)
            })?;
            Source::Elsewhere(format!("docker-image://{image}"))
        } else {
            Source::Elsewhere(value)
        };
        found.insert(name, source);
    }
    Ok(found)
}

/// A graph that stands for an image that was built here; clients pass it on to the next build.
pub(crate) fn definition_of(image: &str) -> Definition {
    let source = Operation {
        source: Some(SourceOperation {
            identifier: format!("{RESULT}{image}"),
        }),
        ..Operation::default()
    };
    let source = source.encode_to_vec();
    let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    let end = Operation {
        inputs: vec![Input {
            digest: digest(&source),
            index: 0,
        }],
        ..Operation::default()
    };
    let end = end.encode_to_vec();
    let metadata = [&source, &end].map(|bytes| (digest(bytes), OperationMetadata::default()));
    Definition {
        metadata: metadata.into(),
        operations: vec![source, end],
    }
}

/// The image that such a graph stands for.
pub(crate) fn result_of(definition: &Definition) -> Option<String> {
    let operations = definition.operations.iter();
    operations
        .filter_map(|bytes| Operation::decode(bytes.as_slice()).ok()?.source)
        .find_map(|source| source.identifier.strip_prefix(RESULT).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(pairs: &[(&str, &str)]) -> Attrs {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn attributes_are_read() {
        let inputs = BTreeMap::from([("base".to_owned(), definition_of("sha256:ab"))]);
        let asked = read(
            &attrs(&[
                ("filename", "D"),
                ("target", "t"),
                ("build-arg:A", "1"),
                ("label:l", "2"),
                ("no-cache", "a,b"),
                ("platform", "linux/amd64"),
                ("add-hosts", "h=1.2.3.4,i=::1"),
                ("force-network-mode", "host"),
                ("image-resolve-mode", "pull"),
                ("shm-size", "1024"),
                ("ulimit", "nofile=1:2,nproc=3"),
                (
                    "cache-imports",
                    r#"[{"Type":"registry","Attrs":{"ref":"r"}}]"#,
                ),
                ("context:x", "local:x"),
                ("context:y", "docker-image://busybox"),
                ("context:z", "input:base"),
                ("local-sessionid:context", "s"),
            ]),
            &inputs,
        )
        .unwrap();
        let request = &asked.request;
        assert_eq!(asked.filename, "D");
        assert_eq!(asked.context, Source::Local("context".to_owned()));
        assert_eq!(asked.dockerfile.as_deref(), Some("dockerfile"));
        assert_eq!(asked.sessions["context"], "s");
        assert_eq!(asked.contexts["x"], Source::Local("x".to_owned()));
        let image = "docker-image://sha256:ab".to_owned();
        assert_eq!(asked.contexts["z"], Source::Elsewhere(image));
        assert_eq!(request.args["A"], "1");
        assert_eq!(request.no_cache_filter, ["a", "b"]);
        assert!(request.pull && !request.no_cache);
        assert_eq!(request.extra_hosts, ["h=1.2.3.4", "i=::1"]);
        assert_eq!((request.ulimits[0].soft, request.ulimits[0].hard), (1, 2));
        assert_eq!(request.ulimits[1].hard, 3);
        assert_eq!(request.cache_from[0].attributes["ref"], "r");
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let told = |pairs: &[(&str, &str)]| {
            let asked = read(&attrs(pairs), &BTreeMap::new()).unwrap();
            asked.passed_over.join(" | ")
        };
        assert_eq!(told(&[("vcs:source", "x"), ("multi-platform", "true")]), "");
        let told = told(&[("attest:sbom", "generator=x"), ("hostname", "h")]);
        assert!(told.contains("sbom is not attested"), "{told}");
        assert!(told.contains("hostname=h has no effect"), "{told}");
        let refused = read(&attrs(&[("contextsubdir", "a")]), &BTreeMap::new()).unwrap_err();
        assert!(
            refused.message.contains("contextsubdir=a"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_url_is_the_context() {
        let url = "https://example.com/a.git";
        let asked = read(&attrs(&[("context", url)]), &BTreeMap::new()).unwrap();
        assert_eq!(asked.context, Source::Elsewhere(url.to_owned()));
        assert_eq!(asked.dockerfile, None);
    }

    #[test]
    fn nonsense_is_refused() {
        for pair in [
            ("shm-size", "x"),
            ("ulimit", "nofile"),
            ("cache-imports", "{"),
            ("context:a", "input:none"),
            ("requestid", "frontend.outline"),
        ] {
            assert!(read(&attrs(&[pair]), &BTreeMap::new()).is_err(), "{pair:?}");
        }
    }
}
