//! `hoist pull` and `hoist push`: the images of a project; and the pulls that `up` and `create` begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hoist_api::image::PushImage;
use hoist_api::{Engine, engine};
use hoist_compose::desire::image_name;
use hoist_compose::graph::of_project;
use hoist_compose::model::{Project, Service};
use hoist_compose::observe::{Observed, ObservedImage, observe};
use hoist_compose::plan::{Action, Plan, PullOptions, PullRule, images_by_age, plan_pull};

use super::object::transfer::stored_auth;
use super::values::PullPolicy;
use crate::connect;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::planned::{self, plan_failure};
use crate::ui::progress::{Change, Phase, Progress};

/// Pull the images of services
#[derive(Args, Debug, Clone)]
pub(crate) struct PullArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Leave out services that can be built
    #[arg(long)]
    pub(crate) ignore_buildable: bool,

    /// Pull what can be pulled, and ignore what cannot
    #[arg(long)]
    pub(crate) ignore_pull_failures: bool,

    /// Pull for the services that the named ones depend on, too
    #[arg(long)]
    pub(crate) include_deps: bool,

    /// When to pull
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) policy: Option<WhenToPull>,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `pull --policy`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenToPull {
    // What is not there
    Missing,
    // Everything
    Always,
}

/// Push the images of services that are built
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct PushArgs {
    /// Services (default: all)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Push what can be pushed, and ignore what cannot
    #[arg(long)]
    pub(crate) ignore_push_failures: bool,

    /// Push for the services that the named ones depend on, too
    #[arg(long)]
    pub(crate) include_deps: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Pulls the images of services.
///
/// # Errors
/// The files are wrong, or an image cannot be pulled.
pub(crate) async fn run(context: &Context, args: PullArgs) -> Result<(), Failure> {
    let project = context.load(&args.services)?;
    let engine = connect::engine(context).await?;
    let observed = observe(&engine, &project.name).await?;
    let options = PullOptions {
        services: args.services,
        no_deps: !args.include_deps,
        rule: args.policy.map(|policy| match policy {
            WhenToPull::Missing => PullRule::Missing,
            WhenToPull::Always => PullRule::Always,
        }),
        default_rule: Some(PullRule::Always),
        ignore_buildable: args.ignore_buildable,
        ages: ages(&engine, &project).await,
    };
    let mut plan = plan_pull(&project, &observed, &options).map_err(plan_failure)?;
    if args.ignore_pull_failures {
        for step in &mut plan.steps {
            if let Action::PullImage { is_needed, .. } = &mut step.action {
                *is_needed = false;
            }
        }
    }
    let skipped = skipped(&project, &plan, &options);
    let pulled = pull(context, &engine, (&project, &plan), (args.quiet, skipped)).await;
    if !context.globals.dry_run {
        tell_to_build(context, &engine, (&project, &plan)).await;
    }
    pulled
}

/// Which services' images could not be fetched, but can be built.
async fn tell_to_build<E: Engine>(
    context: &Context,
    engine: &E,
    (project, plan): (&Project, &Plan),
) {
    let mut missing = Vec::new();
    for (object, name) in names(project, plan) {
        let is_built = project
            .services
            .get(&name)
            .is_some_and(|one| one.build.is_some());
        let image = object.trim_start_matches("Image ");
        if is_built && engine.image_inspect(image).await.is_err() {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        let command = match context.ui.as_docker {
            true => "docker compose",
            false => "hoist",
        };
        context.ui.warn(&format!(
            "Some service image(s) must be built from source by running:\n    {command} build {}",
            missing.join(" ")
        ));
    }
}

/// The services for which nothing is fetched, with why, in the reference's words.
fn skipped(project: &Project, plan: &Plan, options: &PullOptions) -> Vec<(String, String)> {
    let mut skipped = Vec::new();
    let by_image = names(project, plan);
    for (name, service) in &project.services {
        let chosen = options.services.is_empty() || options.services.contains(name);
        if !chosen || service.provider.is_some() {
            continue;
        }
        let image = image_name(&project.name, name, service.image.as_deref());
        let why = match by_image.get(&format!("Image {image}")) {
            Some(first) if first == name => continue,
            Some(first) => format!("Skipped - Image is already being pulled by {first}"),
            None if service.image.is_none() => "Skipped - No image to be pulled".to_owned(),
            None => match service.pull_policy.as_deref() {
                Some("never" | "build") => "Skipped".to_owned(),
                _ if service.build.is_some() => "Skipped - Image can be built".to_owned(),
                _ => "Skipped - Image is already present locally".to_owned(),
            },
        };
        skipped.push((name.clone(), why));
    }
    skipped
}

/// The first service of each image that is fetched, by what progress calls the image.
fn names(project: &Project, plan: &Plan) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for step in &plan.steps {
        let of = |(name, service): &(&String, &Service)| {
            image_name(&project.name, name, service.image.as_deref()) == step.target
        };
        if let Some((name, _)) = project.services.iter().find(of) {
            names.insert(format!("Image {}", step.object.name), name.clone());
        }
    }
    names
}

/// Pulls what `up` needs first, and looks at the machine again.
///
/// # Errors
/// A `pull_policy` is unknown, or an image cannot be pulled.
pub(crate) async fn before_up<E: Engine>(
    context: &Context,
    engine: &E,
    project: &Project,
    (observed, wanted): (Observed, Wanted<'_>),
) -> Result<Observed, Failure> {
    let options = PullOptions {
        services: wanted.services.to_vec(),
        no_deps: true,
        rule: match wanted.policy {
            Some(PullPolicy::Always) => Some(PullRule::Always),
            Some(PullPolicy::Missing) => Some(PullRule::Missing),
            Some(PullPolicy::Never) => Some(PullRule::Never),
            Some(PullPolicy::Build) => Some(PullRule::Build),
            Some(PullPolicy::Policy) | None => None,
        },
        ages: ages(engine, project).await,
        ..PullOptions::default()
    };
    let plan = plan_pull(project, &observed, &options).map_err(plan_failure)?;
    if plan.is_empty() {
        return Ok(observed);
    }
    pull(
        context,
        engine,
        (project, &plan),
        (wanted.quiet, Vec::new()),
    )
    .await?;
    Ok(observe(engine, &project.name).await?)
}

/// What `up` says about pulling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) services: &'a [String],
    pub(crate) policy: Option<PullPolicy>,
    pub(crate) quiet: bool,
}

/// The pulls of images that are not there, for showing: what is fetched each time is no change.
///
/// # Errors
/// A `pull_policy` is unknown.
pub(crate) fn missing(
    project: &Project,
    observed: &Observed,
    services: &[String],
) -> Result<Plan, Failure> {
    let options = PullOptions {
        services: services.to_vec(),
        no_deps: true,
        ..PullOptions::default()
    };
    let mut plan = plan_pull(project, observed, &options).map_err(plan_failure)?;
    plan.retain_missing();
    Ok(plan)
}

/// The machine as it is when the images that are missing have been pulled; those that are only to be renewed stay what they are.
pub(crate) fn assume(mut observed: Observed, plan: &Plan) -> Observed {
    for step in &plan.steps {
        if observed.image_id(&step.target).is_none() {
            observed.images.push(ObservedImage {
                id: format!("sha256:{:064x}", step.id.index()),
                references: vec![step.target.clone()],
            });
        }
    }
    observed
}

async fn pull<E: Engine>(
    context: &Context,
    engine: &E,
    (project, plan): (&Project, &Plan),
    (quiet, skipped): (bool, Vec<(String, String)>),
) -> Result<(), Failure> {
    // Whoever has no registry within reach is told of the other way.
    const HINT: &str = "without a registry, bring the image in with `hoist image load` or `hoist image import FILE NAME`";
    let pulled = if context.globals.dry_run {
        planned::print(context, plan)
    } else if quiet {
        let never = std::future::pending();
        let outcome = planned::run(context, engine, plan, (never, |_| {})).await?;
        planned::conclude(context, outcome)
    } else {
        plan.warnings
            .iter()
            .for_each(|warning| context.ui.warn(warning));
        let progress = Progress::start(&context.ui, "Pulling").naming(names(project, plan));
        for (object, text) in skipped {
            progress.change(Change {
                object,
                phase: Phase::Done,
                text,
                detail: None,
            });
        }
        planned::carry_out_showing(context, engine, plan, progress).await
    };
    pulled.map_err(|failure| failure.hint(HINT))
}

/// How long ago the images got their names of which that decides.
async fn ages<E: Engine>(engine: &E, project: &Project) -> BTreeMap<String, Duration> {
    let mut ages = BTreeMap::new();
    for image in images_by_age(project) {
        // One that is not there has no age.
        let Ok(found) = engine.image_inspect(&image).await else {
            continue;
        };
        if let Ok(tagged) = found.metadata.last_tag_time.parse::<jiff::Timestamp>() {
            let age = jiff::Timestamp::now().duration_since(tagged);
            ages.insert(image, Duration::try_from(age).unwrap_or_default());
        }
    }
    ages
}

/// Pushes the images of services that are built.
///
/// # Errors
/// The files are wrong, or an image cannot be pushed.
pub(crate) async fn push(context: &Context, args: PushArgs) -> Result<(), Failure> {
    let project = context.load(&args.services)?;
    let engine = connect::engine(context).await?;
    let chosen: BTreeSet<String> = match args.services.as_slice() {
        [] => project.services.keys().cloned().collect(),
        named if !args.include_deps => named.iter().cloned().collect(),
        named => of_project(&project)
            .map_err(|error| Failure::new(error.to_string()))?
            .with_dependencies(named.iter().map(String::as_str)),
    };
    let progress = Progress::start(&context.ui, "Pushing");
    let mut failed = Vec::new();
    for (name, service) in &project.services {
        let Some(image) = service.image.as_ref().filter(|_| chosen.contains(name)) else {
            continue;
        };
        if service.build.is_none() {
            continue;
        }
        let tell = |phase, text: &str| {
            if !args.quiet {
                progress.change(Change {
                    object: name.clone(),
                    phase,
                    text: text.to_owned(),
                    detail: None,
                });
            }
        };
        tell(Phase::Working, "Pushing");
        match push_one(&engine, image).await {
            Ok(()) => tell(Phase::Done, "Pushed"),
            Err(failure) => {
                tell(Phase::Failed, "Error");
                failed.push(failure.context(format!("cannot push {image}")));
            }
        }
    }
    progress.finish();
    let Some(last) = failed.pop().filter(|_| !args.ignore_push_failures) else {
        return Ok(());
    };
    for failure in &failed {
        failure
            .report
            .iter()
            .for_each(|report| context.ui.report(report));
    }
    Err(last.with_exit(FAILED))
}

async fn push_one<E: Engine>(engine: &E, image: &str) -> Result<(), Failure> {
    let has_tag = image
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    let request = PushImage {
        reference: if has_tag {
            image.to_owned()
        } else {
            format!("{image}:latest")
        },
        auth: stored_auth(image)?,
    };
    engine::finish(engine.image_push(&request).await?).await?;
    Ok(())
}
