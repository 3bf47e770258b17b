//! Docker's `/build` query as a build request.

use std::collections::BTreeMap;

use hoist_api::build::{
    BuildContext, BuildOutput, BuildPrune, BuildRequest, CacheLocation, DockerfileSource,
};
use hoist_api::error::{ApiError, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::serve::query::Query;

/// One entry of `outputs`. Names are Docker's or, from bollard, in small letters.
#[derive(Debug, Deserialize)]
pub(super) struct Output {
    /// `moby`, `image`, `tar`, `local`, `oci`, `docker`, `cacheonly`
    #[serde(default, alias = "Type", rename = "type")]
    pub(super) kind: String,
    /// About it.
    #[serde(default, alias = "Attrs")]
    pub(super) attrs: BTreeMap<String, String>,
}

impl Output {
    /// Whether it is to be pushed.
    pub(super) fn is_pushed(&self) -> bool {
        let push = self.attrs.get("push").map(String::as_str);
        push.is_some_and(|push| !matches!(push, "false" | "0" | "f" | "F" | "False" | "FALSE"))
    }

    /// Whether nothing of it goes back to the client.
    pub(super) fn stays(&self) -> bool {
        matches!(self.kind.as_str(), "image" | "moby" | "cacheonly" | "")
    }
}

/// Reads the query of `POST /build`.
///
/// # Errors
/// 400 for a value that cannot be read.
pub(super) fn build_request(query: &Query) -> Result<BuildRequest> {
    let remote = query.text("remote");
    let dockerfile = query.text("dockerfile");
    let args: BTreeMap<String, Option<String>> = json(query, "buildargs")?.unwrap_or_default();
    let platform = query.text("platform");
    check_build(platform, query.text("isolation"))?;
    let cache_from: Vec<String> = json(query, "cachefrom")?.unwrap_or_default();
    Ok(BuildRequest {
        context: match remote {
            "" => BuildContext::Archive,
            "client-session" if query.text("version") != "2" => {
                return Err(ApiError::bad_request(
                    "the context of a session needs version=2 and a session",
                ));
            }
            url => BuildContext::Remote(url.to_owned()),
        },
        dockerfile: match dockerfile {
            "" => DockerfileSource::default(),
            name => DockerfileSource::Context(name.to_owned()),
        },
        tags: query
            .all("t")
            .into_iter()
            .filter(|tag| !tag.is_empty())
            .collect(),
        target: query.text("target").to_owned(),
        // A null value means "as the client's environment has it", and it has none.
        args: args
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        labels: json(query, "labels")?.unwrap_or_default(),
        platforms: platform
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        network: query.text("networkmode").to_owned(),
        extra_hosts: query
            .all("extrahosts")
            .into_iter()
            .filter(|host| !host.is_empty())
            .collect(),
        shm_size: query.number("shmsize")?.unwrap_or_default(),
        ulimits: json(query, "ulimits")?.unwrap_or_default(),
        memory: query.number("memory")?.unwrap_or_default(),
        memory_swap: query.number("memswap")?.unwrap_or_default(),
        cpu_shares: query.number("cpushares")?.unwrap_or_default(),
        cpu_quota: query.number("cpuquota")?.unwrap_or_default(),
        cpu_period: query.number("cpuperiod")?.unwrap_or_default(),
        cpuset_cpus: query.text("cpusetcpus").to_owned(),
        cpuset_mems: query.text("cpusetmems").to_owned(),
        cgroup_parent: query.text("cgroupparent").to_owned(),
        cache_from: cache_from
            .into_iter()
            .map(|image| cache_image(image, query))
            .collect(),
        outputs: kept(query)?,
        squash: query.flag("squash"),
        ..BuildRequest::default()
    })
}

/// Refuses what no build here can be, in Docker's words, and before anything of the context is read.
fn check_build(platform: &str, isolation: &str) -> Result<()> {
    for one in platform.split(',').filter(|name| !name.is_empty()) {
        one.parse::<hoist_registry::Platform>()
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    if matches!(isolation, "" | "default") {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "Unsupported isolation: {isolation:?}: here there is only default"
    )))
}

/// Reads the query of `POST /build/prune`.
///
/// # Errors
/// 400 for a value that cannot be read.
pub(super) fn prune(query: &Query) -> Result<BuildPrune> {
    let given = query.filters()?;
    let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut ages = Vec::new();
    for (key, values) in given.iter() {
        match key {
            "until" | "unused-for" => ages.extend(values.iter().map(|text| age(text))),
            key => {
                filters.insert(key.to_owned(), values.to_vec());
            }
        }
    }
    let ages = ages.into_iter().collect::<Result<Vec<i64>>>()?;
    if ages.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(ApiError::bad_request(
            "conflicting filters: until and unused-for differ",
        ));
    }
    let bytes = |key: &str| Ok::<i64, ApiError>(query.number(key)?.unwrap_or_default());
    Ok(BuildPrune {
        all: query.flag("all"),
        keep_storage: bytes("reserved-space")?.max(bytes("keep-storage")?),
        max_used_space: bytes("max-used-space")?,
        min_free_space: bytes("min-free-space")?,
        unused_for: ages.first().copied().unwrap_or_default(),
        filters,
    })
}

/// How many seconds ago: a duration, or a time.
fn age(text: &str) -> Result<i64> {
    seconds(text).or_else(|error| {
        let time: jiff::Timestamp = text.parse().map_err(|_| error)?;
        Ok((jiff::Timestamp::now().as_second() - time.as_second()).max(0))
    })
}

/// `24h`, `90m30s`, or plain seconds.
///
/// # Errors
/// 400 for anything else.
pub(super) fn seconds(text: &str) -> Result<i64> {
    let invalid =
        || ApiError::bad_request(format!("invalid duration {text:?}: expected 24h, 10m, 30s"));
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|character: char| !character.is_ascii_digit())
            .ok_or_else(invalid)?;
        let number: i64 = rest[..end].parse().map_err(|_| invalid())?;
        let unit = rest[end..].chars().next().ok_or_else(invalid)?;
        let factor = match unit {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(invalid()),
        };
        total = number
            .checked_mul(factor)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(invalid)?;
        rest = &rest[end + 1..];
    }
    Ok(total)
}

/// The classic builder only looks into images that are here; BuildKit asks registries.
fn cache_image(reference: String, query: &Query) -> CacheLocation {
    let kind = if query.text("version") == "2" {
        "registry"
    } else {
        "image"
    };
    CacheLocation {
        kind: kind.to_owned(),
        attributes: BTreeMap::from([("ref".to_owned(), reference)]),
    }
}

/// What becomes of the result.
///
/// # Errors
/// 400 for what cannot be read.
pub(super) fn outputs(query: &Query) -> Result<Vec<Output>> {
    Ok(json(query, "outputs")?.unwrap_or_default())
}

/// What stays in the engine; the rest goes over a session, where there is one.
fn kept(query: &Query) -> Result<Vec<BuildOutput>> {
    let read = |output: Output| match output.kind.as_str() {
        "cacheonly" => Ok(BuildOutput::Cache),
        _ if output.is_pushed() && query.text("version") != "2" => Err(ApiError::bad_request(
            "an output with push=true needs BuildKit (version=2), or POST /images/NAME/push afterwards",
        )),
        _ if output.stays() => Ok(BuildOutput::Image),
        _ if query.text("version") == "2" => Ok(BuildOutput::Cache),
        // The client would have to be handed the files, which this call has no way to do.
        other => Err(ApiError::bad_request(format!(
            "output of type {other} needs BuildKit (version=2 and a session), or `hoist build`"
        ))),
    };
    outputs(query)?.into_iter().map(read).collect()
}

fn json<T: DeserializeOwned>(query: &Query, key: &str) -> Result<Option<T>> {
    let text = query.text(key);
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("invalid value for {key}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str) -> Result<BuildRequest> {
        build_request(&Query::of(
            &format!("/build?{query}").parse().expect("a URI"),
        ))
    }

    #[test]
    fn dockers_query_is_read() {
        let request = check(
            "t=a&t=b:1&buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D&labels=%7B%22x%22%3A%22y%22%7D&nocache=1&dockerfile=d%2FD\
             &cachefrom=%5B%22r%2Fi%22%5D&extrahosts=h%3A1.2.3.4&shmsize=1024&ulimits=null&target=t&networkmode=host&version=1",
        )
        .unwrap();
        assert_eq!(request.tags, ["a", "b:1"]);
        assert_eq!(
            request.args,
            BTreeMap::from([("A".to_owned(), "1".to_owned())])
        );
        assert_eq!(
            request.dockerfile,
            DockerfileSource::Context("d/D".to_owned())
        );
        assert_eq!(request.cache_from[0].attributes["ref"], "r/i");
        assert_eq!(request.extra_hosts, ["h:1.2.3.4"]);
        assert!(request.no_cache && request.context == BuildContext::Archive);
        assert!(check("buildargs=%7B").is_err());
        let wrong = check("platform=foobar").unwrap_err().message;
        assert!(
            wrong.contains("unknown operating system or architecture"),
            "{wrong}"
        );
        assert!(check("platform=linux/amd64,linux/arm64/v8").is_ok());
        assert!(check("shmsize=x").is_err());
        let wrong = check("isolation=hyperv").unwrap_err().message;
        assert!(wrong.contains("Unsupported isolation"), "{wrong}");
        assert!(check("isolation=default").is_ok());
        let pushed =
            "outputs=%5B%7B%22Type%22:%22image%22,%22Attrs%22:%7B%22push%22:%22true%22%7D%7D%5D";
        assert!(check(pushed).is_err() && check(&format!("{pushed}&version=2")).is_ok());
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(seconds("24h").unwrap(), 86400);
        assert_eq!(seconds("1m30s").unwrap(), 90);
        assert_eq!(seconds("7").unwrap(), 7);
        for bad in ["h", "1d", "1h2", "9999999999999999h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
