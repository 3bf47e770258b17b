//! From a request to the graph of a build: contexts, the Dockerfile, what its base images say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::build::{BuildContext, BuildFailure, BuildRequest, DockerfileSource};
use hoist_dockerfile::{
    Base, BaseImage, Bases, BuildGraph, Diagnostic, Dockerfile, Ignore, NamedContext, Network,
    NoCache, Options, Platform,
};
use rustix::fs::{Mode, OFlags};

use super::super::Service;
use super::super::images::PieceReader;
use super::copy::is_archive;
use super::logins::Logins;
use super::place::DockerfileText;
use super::plan::PlanLines;
use super::{allowed, cache_image, download, fetch, layout, plan};
use crate::build::Scratch;
use crate::build::error::BuildError;
use crate::build::exchange::Imported;
use crate::build::report::Reporter;
use crate::build::select::Origin;
use crate::build::tree;
use crate::image::{RootFilesystem, Unpacking};

/// The largest Dockerfile or ignore file.
const MAX_TEXT: u64 = 16 << 20;
/// How often base images may bring triggers that name further images.
const ROUNDS: usize = 16;

/// Digits of an id as lists of images show it.
const SHORT_ID: usize = 12;

/// Why nothing could be begun.
pub(super) type Refusal = Box<BuildFailure>;

/// What is known before the first step.
pub(super) struct Prepared {
    pub(super) graph: BuildGraph,
    pub(super) dockerfile: DockerfileText,
    pub(super) contexts: BTreeMap<Option<String>, Arc<Origin>>,
    pub(super) images: BTreeMap<String, String>,
    pub(super) scratch: Scratch,
    pub(super) lines: PlanLines,
    pub(super) imported: Imported,
}

/// The contexts and the text, before anything of the text is understood.
struct Found {
    dockerfile: DockerfileText,
    ignore: Ignore,
    contexts: BTreeMap<Option<String>, Arc<Origin>>,
    named: BTreeMap<String, NamedContext>,
    scratch: Scratch,
    imported: Imported,
}

/// Prepares a build.
pub(super) async fn prepare(
    service: &Arc<Service>,
    request: &BuildRequest,
    (body, reporter, logins): (PieceReader, &Reporter, &Logins),
    trail: bool,
) -> Result<Prepared, Refusal> {
    allowed::request(request)?;
    let found = {
        let (request, reporter, logins) = (request.clone(), reporter.clone(), logins.clone());
        let whole = service.clone();
        service
            .for_client(move |_| Ok(find(&whole, &request, (body, &reporter, &logins))))
            .await
            .map_err(|error| {
                refusal(&BuildError::io(
                    "read",
                    "the context",
                    std::io::Error::other(error),
                ))
            })?
            .map_err(|error| refusal(&error))?
    };
    let text = &found.dockerfile;
    let parsed =
        hoist_dockerfile::parse(&text.text).map_err(|findings| refused(text, &findings))?;
    let options = Options {
        trail,
        ..options(request, &found).map_err(|error| refusal(&error))?
    };
    let mut bases = Bases::default();
    let mut images = BTreeMap::new();
    look_at_bases(
        service,
        (request, reporter, logins),
        (&parsed, &options),
        (&mut bases, &mut images),
        text,
    )
    .await?;
    let graph = parsed
        .lower(&options, &bases)
        .map_err(|findings| refused(text, &findings))?;
    allowed::graph(request, &graph, text)?;
    Ok(Prepared {
        lines: plan::lines(&parsed, &graph, (request, &images)),
        graph,
        dockerfile: found.dockerfile,
        contexts: found.contexts,
        images,
        scratch: found.scratch,
        imported: found.imported,
    })
}

/// Learns the configurations of all images that the build begins with; their triggers may name more.
async fn look_at_bases(
    service: &Arc<Service>,
    (request, reporter, logins): (&BuildRequest, &Reporter, &Logins),
    (parsed, options): (&Dockerfile, &Options),
    (bases, images): (&mut Bases, &mut BTreeMap<String, String>),
    text: &DockerfileText,
) -> Result<(), Refusal> {
    for _ in 0..ROUNDS {
        let wanted: Vec<BaseImage> = parsed
            .bases(options, bases)
            .map_err(|findings| refused(text, &findings))?
            .into_iter()
            .filter(|image| !images.contains_key(&image.reference))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for image in wanted {
            let found = look_at(service, (request, reporter, logins), &image).await;
            let (id, base) = found.map_err(|error| BuildFailure {
                place: Some(text.place(image.span)),
                ..*refusal(&error)
            })?;
            bases.insert(&image, base);
            images.insert(image.reference.clone(), id);
        }
    }
    Err(refusal(&BuildError::Refused(
        "the ONBUILD triggers of the base images name further images without end".to_owned(),
    )))
}

async fn look_at(
    service: &Arc<Service>,
    (request, reporter, logins): (&BuildRequest, &Reporter, &Logins),
    image: &BaseImage,
) -> Result<(String, Base), BuildError> {
    let asking = (reporter, logins);
    let name = unmistakable(&image.reference);
    let resolved = if request.pull {
        service.pull_for_build(&name, asking).await?;
        service.images.resolve(&name)
    } else {
        match service.images.resolve(&name) {
            Err(crate::image::ImageError::NotFound(_)) => {
                service.pull_for_build(&name, asking).await?;
                service.images.resolve(&name)
            }
            found => found,
        }
    };
    let found = resolved?;
    let json = serde_json::to_value(&found.config.config)
        .and_then(serde_json::from_value)
        .map_err(|error| {
            BuildError::io(
                "read",
                "an image's configuration",
                std::io::Error::from(error),
            )
        })?;
    let platform = Platform {
        os: found.config.os.clone(),
        architecture: found.config.architecture.clone(),
        variant: found.config.variant.clone(),
    };
    let base = Base {
        config: json,
        platform: Some(platform),
    };
    Ok((found.id.to_string(), base))
}

/// A short word of hexadecimal digits is a name, `FROM cafe`, never the beginning of whatever image's id fits.
fn unmistakable(reference: &str) -> String {
    let may_be_id = reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    if may_be_id && reference.len() < SHORT_ID {
        format!("{reference}:latest")
    } else {
        reference.to_owned()
    }
}

fn options(request: &BuildRequest, found: &Found) -> Result<Options, BuildError> {
    let host = Platform::host();
    let platform = match request.platforms.as_slice() {
        [] => host.clone(),
        [one] => Platform::parse(one).map_err(BuildError::Refused)?,
        _ => {
            return Err(BuildError::Refused(
                "several platforms at a time cannot be built: this engine stores one platform an image".to_owned(),
            ));
        }
    };
    if !runs_here(&platform) {
        return Err(BuildError::Refused(format!(
            "cannot build for {platform}: this machine is {host} and has no binfmt_misc handler for it"
        )));
    }
    let stages = request
        .no_cache_filter
        .iter()
        .map(|name| name.to_lowercase());
    Ok(Options {
        target: Some(request.target.clone()).filter(|target| !target.is_empty()),
        build_args: request.args.clone(),
        target_platform: platform,
        build_platform: host,
        contexts: found.named.clone(),
        labels: request.labels.clone(),
        network: match request.network.as_str() {
            "none" => Network::None,
            "host" => Network::Host,
            _ => Network::Default,
        },
        no_cache: match (request.no_cache, request.no_cache_filter.is_empty()) {
            (true, _) => NoCache::All,
            (false, true) => NoCache::None,
            (false, false) => NoCache::Stages(stages.collect()),
        },
        ignore: Some(found.ignore.clone()).filter(|ignore| !ignore.is_empty()),
        trail: false,
    })
}

/// Whether programs of a platform run on this machine, by itself or by an interpreter that the kernel knows.
fn runs_here(platform: &Platform) -> bool {
    let host = Platform::host();
    if platform.os == host.os && platform.architecture == host.architecture {
        return true;
    }
    let interpreter = match platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "i386",
        other => other,
    };
    let path = format!("/proc/sys/fs/binfmt_misc/qemu-{interpreter}");
    platform.os == "linux"
        && std::fs::read_to_string(path).is_ok_and(|text| text.starts_with("enabled"))
}

/// Finds contexts and text. Blocks.
fn find(
    service: &Service,
    request: &BuildRequest,
    (mut body, reporter, logins): (PieceReader, &Reporter, &Logins),
) -> Result<Found, BuildError> {
    let scratch = service.builder.scratch()?;
    let mut remote_text = None;
    let place = match &request.context {
        BuildContext::Empty => scratch.directory("context")?,
        BuildContext::Directory(path) => PathBuf::from(path),
        BuildContext::Archive => {
            let place = scratch.directory("context")?;
            unpack(&place, &mut body)?;
            place
        }
        BuildContext::Remote(address) => remote(&scratch, reporter, (address, &mut remote_text))?,
    };
    let main = tree::open(&place)?;
    let (dockerfile, ignore) = match remote_text {
        Some(text) => (named_text("Dockerfile", text), Ignore::default()),
        None => texts(&main, &request.dockerfile)?,
    };
    let mut contexts = BTreeMap::from([(
        None,
        Arc::new(Origin {
            root: main,
            ignore: ignore.clone(),
            is_context: true,
        }),
    )]);
    let mut named = BTreeMap::new();
    for (name, place) in &request.contexts {
        let name = name.to_lowercase();
        if let Some(reference) = image_context(service, place)? {
            named.insert(name, NamedContext::Image(reference));
            continue;
        }
        let directory = match fetch::repository(place)? {
            Some(source) => fetch::clone(&scratch, reporter, &source)?,
            None if place.contains("://") => remote(&scratch, reporter, (place, &mut None))?,
            None => PathBuf::from(place),
        };
        let root = tree::open(&directory)?;
        let ignore = ignore_file(&root, ".dockerignore")?.unwrap_or_default();
        let origin = Origin {
            root,
            ignore,
            is_context: true,
        };
        contexts.insert(Some(name.clone()), Arc::new(origin));
        named.insert(name, NamedContext::Files);
    }
    Ok(Found {
        dockerfile,
        ignore,
        contexts,
        named,
        scratch,
        imported: imported(service, request, (reporter, logins)),
    })
}

/// What earlier builds left for this one. A place that cannot be used only costs time.
fn imported(
    service: &Service,
    request: &BuildRequest,
    (reporter, logins): (&Reporter, &Logins),
) -> Imported {
    let mut imported = Imported::default();
    if request.no_cache {
        return imported;
    }
    for place in &request.cache_from {
        let attribute = |name: &str| place.attributes.get(name);
        let added = match (place.kind.as_str(), attribute("src"), attribute("ref")) {
            ("local", Some(source), _) => imported
                .add_directory(Path::new(source))
                .map_err(|error| hoist_api::error::chain(&error)),
            ("registry", _, Some(name)) => tokio::runtime::Handle::current()
                .block_on(cache_image::read(service, name, logins))
                .map(|(steps, layers)| imported.add(steps, &layers))
                .map_err(|error| error.message),
            ("image", _, Some(name)) => {
                if let Some((steps, layers)) = cache_image::of_image(service, name) {
                    imported.add(steps, &layers);
                }
                Ok(())
            }
            (kind, ..) => Err(format!(
                "type {kind} is not known to this engine: it reads type=local,src=DIRECTORY and type=registry,ref=IMAGE"
            )),
        };
        if let Err(why) = added {
            reporter.warn(format!("cache_from is not used: {why}"));
        }
    }
    imported
}

/// A named context that is an image.
fn image_context(service: &Service, place: &str) -> Result<Option<String>, BuildError> {
    if let Some(reference) = place.strip_prefix("docker-image://") {
        return Ok(Some(reference.to_owned()));
    }
    if let Some(layout) = place.strip_prefix("oci-layout://") {
        return layout::load(service, layout).map(Some);
    }
    if place.starts_with("target:") || place.starts_with("service:") {
        return Err(BuildError::Refused(format!(
            "the context {place} is the result of another build: build that one first and give it as docker-image://name"
        )));
    }
    Ok(None)
}

/// A context from elsewhere: a repository, an archive, or only the text of a Dockerfile.
fn remote(
    scratch: &Scratch,
    reporter: &Reporter,
    (address, text): (&str, &mut Option<String>),
) -> Result<PathBuf, BuildError> {
    if let Some(source) = fetch::repository(address)? {
        return fetch::clone(scratch, reporter, &source);
    }
    let (content, _) = tokio::runtime::Handle::current().block_on(download::get(address))?;
    let place = scratch.unique()?;
    let file = scratch.file(&content)?;
    let mut opened =
        std::fs::File::open(&file).map_err(|error| BuildError::io("open", &file, error))?;
    if is_archive(&mut opened)? {
        unpack(&place, &mut opened)?;
    } else {
        *text = Some(String::from_utf8_lossy(&content).into_owned());
    }
    Ok(place)
}

fn unpack(place: &Path, archive: &mut (dyn std::io::Read + Send)) -> Result<(), BuildError> {
    RootFilesystem::new(tree::open(place)?, place)
        .put_archive(Path::new("/"), archive, Unpacking::default())
        .map_err(|error| match error {
            crate::image::RootError::Archive(error) => BuildError::Image(error),
            other => BuildError::Refused(hoist_api::error::chain(&other)),
        })
}

/// The Dockerfile and the ignore file that belongs to it.
fn texts(
    main: &hoist_kernel::path::Root,
    source: &DockerfileSource,
) -> Result<(DockerfileText, Ignore), BuildError> {
    let of_context = || ignore_file(main, ".dockerignore").map(Option::unwrap_or_default);
    match source {
        DockerfileSource::Text(text) => Ok((named_text("Dockerfile", text.clone()), of_context()?)),
        DockerfileSource::Context(name) => {
            let text = read(main, name)?.ok_or_else(|| {
                BuildError::Refused(format!("Cannot locate specified Dockerfile: {name}"))
            })?;
            let ignore = match ignore_file(main, &format!("{name}.dockerignore"))? {
                Some(own) => own,
                None => of_context()?,
            };
            Ok((named_text(name, text), ignore))
        }
        DockerfileSource::File(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| BuildError::io("read the Dockerfile", path, error))?;
            let beside = format!("{path}.dockerignore");
            let ignore = match std::fs::read_to_string(&beside) {
                Ok(text) => parse_ignore(&beside, &text)?,
                Err(_) => of_context()?,
            };
            Ok((named_text(path, text), ignore))
        }
    }
}

fn named_text(name: &str, text: String) -> DockerfileText {
    DockerfileText {
        name: name.to_owned(),
        text,
    }
}

fn ignore_file(root: &hoist_kernel::path::Root, name: &str) -> Result<Option<Ignore>, BuildError> {
    match read(root, name)? {
        Some(text) => parse_ignore(name, &text).map(Some),
        None => Ok(None),
    }
}

fn parse_ignore(name: &str, text: &str) -> Result<Ignore, BuildError> {
    Ignore::parse(text).map_err(|error| BuildError::Refused(format!("cannot read {name}: {error}")))
}

/// Reads a text of a context; `None` when it is not there.
fn read(root: &hoist_kernel::path::Root, name: &str) -> Result<Option<String>, BuildError> {
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match root.open_beneath(Path::new(name), flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(error)
            if matches!(
                error.errno,
                rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(BuildError::kernel("open", name, &error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_TEXT)
        .read_to_end(&mut bytes)
        .map_err(|error| BuildError::io("read", name, error))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A failure without a place.
pub(super) fn refusal(error: &BuildError) -> Refusal {
    let hint = match error {
        BuildError::Engine(error) => error.hint.clone().unwrap_or_default(),
        _ => String::new(),
    };
    Box::new(BuildFailure {
        message: hoist_api::error::chain(error),
        hint,
        ..BuildFailure::default()
    })
}

/// A Dockerfile that is wrong: all findings with their places, and each a line of the message for clients that know no places.
fn refused(text: &DockerfileText, findings: &[Diagnostic]) -> Refusal {
    let lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "dockerfile parse error on line {}: {}",
                finding.span.line, finding.message
            )
        })
        .collect();
    let first = findings.first();
    Box::new(BuildFailure {
        message: lines.join("\n"),
        hint: first
            .and_then(|finding| finding.help.clone())
            .unwrap_or_default(),
        place: first.map(|finding| text.place(finding.span)),
        findings: findings.iter().map(|one| text.finding(one)).collect(),
        ..BuildFailure::default()
    })
}
