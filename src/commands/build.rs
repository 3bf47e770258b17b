//! `hoist build`: build the images of services from their `build` sections.

use std::collections::BTreeMap;

use clap::Args;
use hoist_api::Engine;
use hoist_api::build::{BuildCall, BuildRequest, SecretSource};
use hoist_api::container::{ContainerCreate, RemoveContainer};
use hoist_api::image::RemoveImage;
use hoist_compose::graph::of_project;
use hoist_compose::model::Project;
use hoist_compose::observe::{Observed, observe};
use hoist_compose::plan::{Build, plan_build};

use super::exec;
use super::object::build::{attestations, given};
use super::pull::{self, PushArgs};
use crate::building::{self, Built, Job, Shown};
use crate::connect;
use crate::context::{Context, check_services};
use crate::failure::Failure;
use crate::globals::ProgressMode;
use crate::planned::{self, plan_failure};

/// Build or rebuild the images of services
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct BuildArgs {
    /// Services to build (default: all that have a build section)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Value of a build argument, over the file's; without a value that of the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) build_arg: Vec<String>,

    /// Name of a builder (accepted; there is but one)
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) builder: Option<String>,

    /// Only check the Dockerfiles: run nothing
    #[arg(long)]
    pub(crate) check: bool,

    /// Compress the context (accepted; nothing is sent)
    #[arg(long, hide = true)]
    pub(crate) compress: bool,

    /// Memory of each RUN
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,

    /// Run every step, although it has been run
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Remove intermediate containers (accepted; none are left)
    #[arg(long, hide = true)]
    pub(crate) no_rm: bool,

    /// Build in parallel (accepted; always)
    #[arg(long = "parallel-builds", hide = true)]
    pub(crate) parallel_builds: bool,

    /// Print what would be asked of the engine, as JSON
    #[arg(long)]
    pub(crate) print: bool,

    /// Attest where the image comes from (accepted)
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) provenance: Option<String>,

    /// Pull base images although they are here
    #[arg(long)]
    pub(crate) pull: bool,

    /// Push the images after building
    #[arg(long)]
    pub(crate) push: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Attest what is in the image (accepted)
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) sbom: Option<String>,

    /// Open a shell where a RUN has failed
    #[arg(long)]
    pub(crate) shell_on_fail: bool,

    /// SSH agent for the builds: "default", or ID=SOCKET; repeatable
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,

    /// Build also what the services depend on
    #[arg(long)]
    pub(crate) with_dependencies: bool,
}

/// Builds images of services.
///
/// # Errors
/// The files or options are wrong, or a build failed.
pub(crate) async fn run(context: &Context, args: BuildArgs) -> Result<(), Failure> {
    let project = context.load(&args.services)?;
    check_services(&project, &args.services)?;
    let services: Vec<String> = match (args.services.as_slice(), args.with_dependencies) {
        ([], _) => Vec::new(),
        (named, false) => named.to_vec(),
        (named, true) => of_project(&project)?
            .with_dependencies(named.iter().map(String::as_str))
            .into_iter()
            .collect(),
    };
    let plan =
        plan_build(&project, &Observed::default(), &services, Build::All).map_err(plan_failure)?;
    if plan.is_empty() {
        context.ui.warn("no service to build");
        return Ok(());
    }
    if context.globals.dry_run {
        return planned::print(context, &plan);
    }
    let overrides = Overrides::of(context, &args)?;
    let mut jobs = building::jobs(&plan);
    tell_attestations(context, &args, &project, &jobs);
    for job in &mut jobs {
        overrides.apply(&mut job.request);
    }
    if args.print {
        return context.ui.json(&requests(&jobs)?);
    }
    let engine = connect::engine(context).await?;
    let mode = if args.quiet {
        ProgressMode::Quiet
    } else {
        context.ui.progress
    };
    let shown = Shown {
        mode,
        lines_on_stdout: true,
    };
    let built = building::run(context, &engine, &jobs, shown).await?;
    if args.shell_on_fail {
        shell(context, &engine, &built).await?;
    }
    if !args.check {
        building::told(context, &jobs, &built, mode);
    }
    building::conclude(context, &built, !args.shell_on_fail)?;
    if !args.push || args.check {
        return Ok(());
    }
    let push = PushArgs {
        services,
        quiet: args.quiet,
        ..PushArgs::default()
    };
    pull::push(context, push).await
}

/// Says of the attestations that the command line or else the files ask for that nobody makes them.
fn tell_attestations(context: &Context, args: &BuildArgs, project: &Project, jobs: &[Job]) {
    let of_files = |read: fn(&hoist_compose::model::Build) -> &Option<String>| {
        let builds = jobs.iter().filter_map(|job| {
            let service = project.services.get(job.name.as_str())?;
            service.build.as_deref()
        });
        builds
            .filter_map(|build| read(build).clone())
            .find(|value| value != "false")
    };
    let provenance = args
        .provenance
        .clone()
        .or_else(|| of_files(|build| &build.provenance));
    let sbom = args.sbom.clone().or_else(|| of_files(|build| &build.sbom));
    attestations(context, [("provenance", &provenance), ("sbom", &sbom)]);
}

/// What the engine would be asked for, by service. Whoever reads it must not learn what only the builds may know.
fn requests(jobs: &[Job]) -> Result<serde_json::Value, Failure> {
    let requests: BTreeMap<&str, &BuildRequest> = jobs
        .iter()
        .map(|job| (job.name.as_str(), &job.request))
        .collect();
    let mut requests = serde_json::to_value(requests)?;
    for job in jobs {
        for (id, source) in &job.request.secrets {
            if matches!(source, SecretSource::Value(_)) {
                requests[&job.name]["secrets"][id] = "(withheld)".into();
            }
        }
    }
    Ok(requests)
}

/// What options say over the files.
struct Overrides {
    args: BTreeMap<String, String>,
    ssh: BTreeMap<String, String>,
    memory: i64,
    no_cache: bool,
    pull: bool,
    keep_failed: bool,
    call: BuildCall,
}

impl Overrides {
    fn of(context: &Context, args: &BuildArgs) -> Result<Self, Failure> {
        let memory = args.memory.as_deref().map(bytes).transpose()?;
        Ok(Self {
            args: given(context, &args.build_arg),
            ssh: ssh_agents(context, &args.ssh)?,
            memory: memory.unwrap_or_default(),
            no_cache: args.no_cache,
            pull: args.pull,
            keep_failed: args.shell_on_fail,
            call: if args.check {
                BuildCall::Check
            } else {
                BuildCall::Build
            },
        })
    }

    fn apply(&self, request: &mut BuildRequest) {
        request.args.extend(self.args.clone());
        request.ssh.extend(self.ssh.clone());
        if self.memory > 0 {
            request.memory = self.memory;
        }
        request.no_cache |= self.no_cache;
        request.pull |= self.pull;
        request.keep_failed = self.keep_failed;
        request.call = self.call;
    }
}

/// `default` or `ID`, with the agent of the environment, or `ID=SOCKET`.
///
/// # Errors
/// There is no agent.
pub(crate) fn ssh_agents(
    context: &Context,
    texts: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut agents = BTreeMap::new();
    for text in texts {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, socket),
            None => {
                let agent = context.variable("SSH_AUTH_SOCK").ok_or_else(|| {
                    Failure::new(format!("--ssh {text}: SSH_AUTH_SOCK is not set"))
                        .hint("start an agent, or name its socket: --ssh ID=SOCKET")
                })?;
                (text.as_str(), agent)
            }
        };
        agents.insert(id.to_owned(), socket.to_owned());
    }
    Ok(agents)
}

/// A number of bytes, perhaps with b, k, m or g.
///
/// # Errors
/// It is none.
pub(crate) fn bytes(text: &str) -> Result<i64, Failure> {
    let lower = text.to_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 10),
        Some('m') => (&lower[..lower.len() - 1], 20),
        Some('g') => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    let number: Option<i64> = digits.parse().ok().filter(|number| *number >= 0);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| Failure::new(format!("\"{text}\" is not a number of bytes, as 512m")))
}

/// Opens a shell in the state that the first failed `RUN` has left.
///
/// # Errors
/// It cannot be opened.
pub(crate) async fn shell<E: Engine>(
    context: &Context,
    engine: &E,
    built: &Built,
) -> Result<(), Failure> {
    let kept = built
        .failed
        .iter()
        .find(|failed| !failed.failure.image.is_empty());
    let Some(failed) = kept else {
        return Ok(());
    };
    context.ui.note(&format!(
        "A shell where the step has failed; it was: {}",
        failed.failure.command.join(" ")
    ));
    let mut request = ContainerCreate::default();
    request.config.image.clone_from(&failed.failure.image);
    // The first process only waits; the shell is a second one with our terminal.
    request.config.entrypoint = Some(vec!["/bin/sh".to_owned()]);
    request.config.cmd = Some(Vec::new());
    request.config.tty = true;
    request.config.open_stdin = true;
    let created = engine.container_create("", &request).await?;
    let outcome = match engine.container_start(&created.id).await {
        Ok(()) => exec::shell(context, engine, &created.id).await,
        Err(error) => Err(Failure::from(error).context("cannot open a shell where it failed")),
    };
    let remove = RemoveContainer {
        force: true,
        volumes: true,
    };
    let removed = engine.container_remove(&created.id, remove).await;
    // What was kept for the shell goes with it.
    let mut forgotten = Ok(());
    let kept = built.failed.iter().map(|failed| &failed.failure.image);
    for image in kept.filter(|image| !image.is_empty()) {
        let gone = engine.image_remove(image, RemoveImage::default()).await;
        forgotten = forgotten.and(gone.map(drop));
    }
    outcome?;
    removed?;
    forgotten.map_err(Failure::from)
}

/// What `up`'s options say of building.
pub(crate) fn which(args: &super::up::UpArgs) -> Build {
    match (args.build, args.no_build) {
        (true, _) => Build::All,
        (_, true) => Build::Never,
        _ => Build::Missing,
    }
}

/// The builds that come before the containers.
///
/// # Errors
/// A section cannot be carried out.
pub(crate) fn planned(
    project: &Project,
    observed: &Observed,
    services: &[String],
    which: Build,
) -> Result<hoist_compose::plan::Plan, Failure> {
    plan_build(project, observed, services, which).map_err(plan_failure)
}

/// What is to be built before containers are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Of which services.
    pub(crate) services: &'a [String],
    /// Which of their images.
    pub(crate) which: Build,
    /// Without showing progress.
    pub(crate) quiet: bool,
    /// As [`Shown::lines_on_stdout`].
    pub(crate) lines_on_stdout: bool,
}

/// Builds what must be there before containers are made, and looks again. With `--dry-run` it is only assumed.
///
/// # Errors
/// A build failed.
pub(crate) async fn before_up<E: Engine>(
    context: &Context,
    engine: &E,
    project: &Project,
    observed: Observed,
    wanted: Wanted<'_>,
) -> Result<Observed, Failure> {
    let plan = planned(project, &observed, wanted.services, wanted.which)?;
    if plan.is_empty() {
        return Ok(observed);
    }
    if context.globals.dry_run {
        return Ok(hoist_compose::plan::with_built(&observed, &plan));
    }
    let mode = if wanted.quiet {
        ProgressMode::Quiet
    } else {
        context.ui.progress
    };
    let shown = Shown {
        mode,
        lines_on_stdout: wanted.lines_on_stdout,
    };
    building::carry_out(context, engine, &plan, shown).await?;
    Ok(observe(engine, &project.name).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_docker_does() {
        for (text, expected) in [
            ("512m", 512 << 20),
            ("1G", 1 << 30),
            ("4kb", 4096),
            ("7", 7),
        ] {
            assert_eq!(bytes(text).ok(), Some(expected), "{text}");
        }
        assert!(bytes("x").is_err() && bytes("-1").is_err() && bytes("9999999999g").is_err());
    }
}
