//! `hoist image build`: build an image from a Dockerfile, with the options of `docker build`.

mod outputs;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, absolute};

use clap::Args;
use hoist_api::build::{
    BuildCall, BuildContext, BuildRequest, BuildResult, DockerfileSource, SecretSource,
};
use hoist_api::client::Client;
use hoist_api::host_config::Ulimit;
use hoist_compose::desire::cache_location;
use serde_json::json;

use super::transfer::{self, PushArgs};
use crate::building::{self, Job, Shown};
use crate::commands::build::{bytes, shell, ssh_agents};
use crate::context::Context;
use crate::failure::Failure;
use crate::globals::ProgressMode;
use outputs::Outputs;

/// `image build`.
#[derive(Args, Debug, Clone)]
pub(crate) struct ImageBuildArgs {
    /// Directory or URL of the files to copy from; "-" reads a Dockerfile or a tar archive from standard input
    #[arg(value_name = "PATH|URL|-")]
    pub(crate) context: String,

    /// The Dockerfile (default: PATH/Dockerfile); "-" reads standard input
    #[arg(short, long, value_name = "FILE|-")]
    pub(crate) file: Option<String>,

    /// Name of the image; repeatable
    #[arg(short, long, value_name = "NAME[:TAG]")]
    pub(crate) tag: Vec<String>,

    /// The stage to build (default: the last)
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,

    /// Value of a build argument; without a value that of the environment; repeatable
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,

    /// A further context for COPY --from and FROM: a directory, URL or docker-image://NAME; repeatable
    #[arg(long, value_name = "NAME=PATH")]
    pub(crate) build_context: Vec<String>,

    /// Label of the image; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,

    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,

    /// Run every step, although it has been run
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Run every step of this stage, although it has been run; repeatable
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,

    /// Pull base images although they are here
    #[arg(long)]
    pub(crate) pull: bool,

    /// Network of RUN: default, none, host
    #[arg(long, value_name = "MODE")]
    pub(crate) network: Option<String>,

    /// A line of /etc/hosts for RUN; repeatable
    #[arg(long, value_name = "HOST:ADDRESS")]
    pub(crate) add_host: Vec<String>,

    /// A secret for RUN --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]; repeatable
    #[arg(long, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,

    /// SSH agent for RUN --mount=type=ssh: "default", or ID=SOCKET; repeatable
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,

    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,

    /// Memory of each RUN
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,

    /// Limit of processes: NAME=SOFT[:HARD]; repeatable
    #[arg(long, value_name = "LIMIT")]
    pub(crate) ulimit: Vec<String>,

    /// Allow more: network.host, security.insecure; repeatable
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,

    /// Where finished steps may be taken from; repeatable
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<String>,

    /// Where finished steps are left; repeatable
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<String>,

    /// What becomes of the result: DIRECTORY, "-" (a tar archive on standard output), or
    /// type=local|tar|oci|docker|image|registry|cacheonly,dest=PATH|-[,compression=uncompressed|gzip|zstd,…]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Vec<String>,

    /// Annotation of the image's manifest, with type=oci or type=docker; repeatable
    #[arg(long, value_name = "[manifest:]NAME=VALUE")]
    pub(crate) annotation: Vec<String>,

    /// Push the image's names after building
    #[arg(long)]
    pub(crate) push: bool,

    /// Write what was made to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<String>,

    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<String>,

    /// Only check the Dockerfile: run nothing
    #[arg(long)]
    pub(crate) check: bool,

    /// build, or check
    #[arg(long, value_name = "CALL", value_parser = ["build", "check", "lint"])]
    pub(crate) call: Option<String>,

    /// Memory and swap of each RUN; -1 for swap without a limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,

    /// Relative weight of the processor for each RUN
    #[arg(
        short,
        long,
        value_name = "WEIGHT",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) cpu_shares: i64,

    /// Microseconds of processor time of each RUN in a period
    #[arg(
        long,
        value_name = "MICROSECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) cpu_quota: i64,

    /// The period, in microseconds
    #[arg(
        long,
        value_name = "MICROSECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) cpu_period: i64,

    /// Processors for each RUN: 0-2,4
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) cpuset_cpus: String,

    /// Memory nodes for each RUN
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) cpuset_mems: String,

    /// Parent control group of each RUN
    #[arg(
        long,
        value_name = "GROUP",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) cgroup_parent: String,

    /// Compress the context (accepted; nothing is sent)
    #[arg(long, hide = true)]
    pub(crate) compress: bool,

    /// Always remove intermediate containers (accepted; none are left)
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,

    /// Make one layer of all that the build adds (refused: each step keeps its layer)
    #[arg(long, hide = true)]
    pub(crate) squash: bool,

    /// Print only the image's id
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Open a shell where a RUN has failed
    #[arg(long)]
    pub(crate) shell_on_fail: bool,

    /// Put the image into the engine (accepted; it always is)
    #[arg(long, hide = true)]
    pub(crate) load: bool,

    /// Name of a builder (accepted; there is but one)
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) builder: Option<String>,

    /// Remove intermediate containers (accepted; none are left)
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) rm: Option<bool>,

    /// Attest where the image comes from (accepted)
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) provenance: Option<String>,

    /// Attest what is in the image (accepted)
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) sbom: Option<String>,
}

/// Builds an image.
///
/// # Errors
/// The options are wrong, or the build failed.
pub(super) async fn run(
    context: &Context,
    engine: &Client,
    args: &ImageBuildArgs,
) -> Result<(), Failure> {
    let mut stdin = Vec::new();
    if args.context == "-" || args.file.as_deref() == Some("-") {
        io::stdin()
            .lock()
            .read_to_end(&mut stdin)
            .map_err(|error| Failure::from(error).context("cannot read standard input"))?;
    }
    let outputs = Outputs::of(args)?;
    let (mut request, body) = request(context, args, stdin)?;
    outputs.apply(&mut request);
    attestations(
        context,
        [("provenance", &args.provenance), ("sbom", &args.sbom)],
    );
    let mode = if args.quiet {
        ProgressMode::Quiet
    } else {
        context.ui.progress
    };
    let job = Job {
        name: String::new(),
        request,
        body,
        after: Vec::new(),
    };
    let shown = Shown {
        mode,
        lines_on_stdout: false,
    };
    let built = building::run(context, engine, &[job], shown).await?;
    if args.shell_on_fail {
        shell(context, engine, &built).await?;
    }
    building::conclude(context, &built, !args.shell_on_fail)?;
    if let Some(result) = built.results.values().next() {
        told(context, args, result)?;
    }
    outputs.print(context)?;
    for name in outputs.pushed {
        let push = PushArgs {
            reference: name,
            all_tags: false,
            platform: None,
            quiet: args.quiet,
        };
        transfer::push(context, engine, push).await?;
    }
    Ok(())
}

/// Says what was made, where it is asked for.
fn told(context: &Context, args: &ImageBuildArgs, result: &BuildResult) -> Result<(), Failure> {
    let write = |file: &String, text: String| {
        fs::write(file, text)
            .map_err(|error| Failure::from(error).context(format!("cannot write {file}")))
    };
    if let Some(file) = &args.iidfile {
        write(file, result.image.clone())?;
    }
    if let Some(file) = &args.metadata_file {
        let told = json!({
            "containerimage.config.digest": result.image,
            "containerimage.digest": result.digest,
            "image.name": result.tags.join(","),
        });
        write(file, format!("{told:#}\n"))?;
    }
    if args.quiet && !result.image.is_empty() {
        context.ui.line(&result.image)?;
    }
    Ok(())
}

/// Says that attestations are not made, to who asked for them.
pub(crate) fn attestations(context: &Context, asked: [(&str, &Option<String>); 2]) {
    for (name, value) in asked {
        let value = value.as_deref().unwrap_or("false");
        if !matches!(value, "false" | "0" | "disabled=true") {
            context.ui.warn(&format!(
                "no {name} attestation is made: this engine's images have one manifest and nothing beside it"
            ));
        }
    }
}

/// What is asked of the engine, and the context's archive when standard input is one.
fn request(
    context: &Context,
    args: &ImageBuildArgs,
    stdin: Vec<u8>,
) -> Result<(BuildRequest, Vec<u8>), Failure> {
    let (files, dockerfile, body) = files(args, stdin)?;
    let size = |text: &Option<String>| text.as_deref().map(bytes).transpose();
    let here = absolute(".").map_err(|error| Failure::from(error).context("."))?;
    let request = BuildRequest {
        context: files,
        dockerfile,
        contexts: pairs(&args.build_context, "--build-context")?
            .into_iter()
            .map(|(name, place)| Ok((name, local(&place)?)))
            .collect::<Result<_, Failure>>()?,
        tags: args.tag.clone(),
        target: args.target.clone().unwrap_or_default(),
        args: given(context, &args.build_arg),
        labels: pairs(&args.label, "--label")?,
        platforms: args.platform.clone(),
        no_cache: args.no_cache,
        no_cache_filter: args.no_cache_filter.clone(),
        pull: args.pull,
        network: args.network.clone().unwrap_or_default(),
        extra_hosts: args.add_host.clone(),
        shm_size: size(&args.shm_size)?.unwrap_or_default(),
        memory: size(&args.memory)?.unwrap_or_default(),
        ulimits: args
            .ulimit
            .iter()
            .map(|text| ulimit(text))
            .collect::<Result<_, _>>()?,
        secrets: args
            .secret
            .iter()
            .map(|text| secret(context, text))
            .collect::<Result<_, _>>()?,
        ssh: ssh_agents(context, &args.ssh)?,
        entitlements: args.allow.clone(),
        cache_from: args
            .cache_from
            .iter()
            .map(|text| cache_location(text, &here))
            .collect(),
        cache_to: args
            .cache_to
            .iter()
            .map(|text| cache_location(text, &here))
            .collect(),
        memory_swap: swap(args.memory_swap.as_deref())?,
        cpu_shares: args.cpu_shares,
        cpu_quota: args.cpu_quota,
        cpu_period: args.cpu_period,
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        cgroup_parent: args.cgroup_parent.clone(),
        squash: args.squash,
        keep_failed: args.shell_on_fail,
        call: if args.check || args.call.as_deref().is_some_and(|call| call != "build") {
            BuildCall::Check
        } else {
            BuildCall::Build
        },
        ..BuildRequest::default()
    };
    Ok((request, body))
}

/// The context, the Dockerfile, and the archive that is the context.
fn files(
    args: &ImageBuildArgs,
    stdin: Vec<u8>,
) -> Result<(BuildContext, DockerfileSource, Vec<u8>), Failure> {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .map(DockerfileSource::Text)
            .map_err(|_| Failure::new("the Dockerfile on standard input is not UTF-8"))
    };
    let file = args.file.as_deref();
    if args.context == "-" {
        if is_archive(&stdin) {
            let dockerfile = file.map_or_else(DockerfileSource::default, |file| {
                DockerfileSource::Context(file.to_owned())
            });
            return Ok((BuildContext::Archive, dockerfile, stdin));
        }
        if file.is_some() {
            return Err(Failure::new(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        return Ok((BuildContext::Empty, text(stdin)?, Vec::new()));
    }
    let remote = args.context.contains("://")
        || args.context.starts_with("git@")
        || (args.context.starts_with("github.com/") && !Path::new(&args.context).exists());
    let context = if remote {
        BuildContext::Remote(args.context.clone())
    } else {
        BuildContext::Directory(local(&args.context)?)
    };
    let dockerfile = match file {
        None => DockerfileSource::default(),
        Some("-") => text(stdin)?,
        Some(file) if remote => DockerfileSource::Context(file.to_owned()),
        Some(file) => DockerfileSource::File(local(file)?),
    };
    Ok((context, dockerfile, Vec::new()))
}

/// A tar archive, plain or compressed, by its first bytes.
fn is_archive(bytes: &[u8]) -> bool {
    let compressed: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        b"BZh",
        &[0xfd, b'7', b'z', b'X', b'Z'],
        &[0x28, 0xb5, 0x2f, 0xfd],
    ];
    compressed.iter().any(|magic| bytes.starts_with(magic)) || bytes.get(257..262) == Some(b"ustar")
}

/// A path of this machine made absolute; what is no path stays.
fn local(place: &str) -> Result<String, Failure> {
    if let Some(layout) = place.strip_prefix("oci-layout://") {
        return Ok(format!("oci-layout://{}", local(layout)?));
    }
    if place.contains("://") || place.starts_with("git@") {
        return Ok(place.to_owned());
    }
    let path = absolute(place).map_err(|error| Failure::from(error).context(place.to_owned()))?;
    Ok(path.to_string_lossy().into_owned())
}

fn pairs(texts: &[String], option: &str) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None if option == "--label" => Ok((text.clone(), String::new())),
        None => Err(Failure::new(format!(
            "{option} {text}: write it as NAME=VALUE"
        ))),
    };
    texts.iter().map(pair).collect()
}

/// Build arguments; those without a value have the environment's, or none.
pub(crate) fn given(context: &Context, texts: &[String]) -> BTreeMap<String, String> {
    let one = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.clone(), context.environment.get(text)?.clone())),
    };
    texts.iter().filter_map(one).collect()
}

/// `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`, `id=NAME`: then a variable or a file of that name.
fn secret(context: &Context, text: &str) -> Result<(String, SecretSource), Failure> {
    let wrong = |why: &str| Failure::new(format!("--secret {text}: {why}"));
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, "");
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", value)) => file = Some(value),
            Some(("env", value)) => variable = Some(value),
            Some(("type", value @ ("file" | "env"))) => kind = value,
            _ => return Err(wrong("write it as id=NAME[,src=FILE|,env=VARIABLE]")),
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| wrong("it has no id"))?;
    if kind == "env" {
        variable = variable.or(file.take());
    }
    let named = |name: &str| context.environment.get(name).cloned();
    let value = match (file, variable) {
        (Some(file), _) => return Ok((id.to_owned(), SecretSource::File(local(file)?))),
        (None, Some(variable)) => {
            named(variable).ok_or_else(|| wrong(&format!("{variable} is not set")))?
        }
        (None, None) => match named(id) {
            Some(value) => value,
            None => return Ok((id.to_owned(), SecretSource::File(local(id)?))),
        },
    };
    Ok((id.to_owned(), SecretSource::Value(value.into_bytes())))
}

fn ulimit(text: &str) -> Result<Ulimit, Failure> {
    let wrong = || Failure::new(format!("--ulimit {text}: write it as NAME=SOFT[:HARD]"));
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ok(Ulimit {
        name: name.to_owned(),
        soft: soft.parse().map_err(|_| wrong())?,
        hard: hard.parse().map_err(|_| wrong())?,
    })
}

fn swap(text: Option<&str>) -> Result<i64, Failure> {
    match text {
        None => Ok(0),
        Some("-1") => Ok(-1),
        Some(text) => bytes(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_beginning() {
        assert!(is_archive(&[0x1f, 0x8b, 8]));
        assert!(!is_archive(b"FROM scratch\n"));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar));
    }

    #[test]
    fn limits_are_read() {
        let limit = ulimit("nofile=1024:2048").unwrap_or_else(|_| panic!("a limit"));
        assert_eq!((limit.soft, limit.hard), (1024, 2048));
        assert!(ulimit("nofile").is_err() && ulimit("nofile=x").is_err());
    }
}
