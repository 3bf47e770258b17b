//! `hoist run`: run a command in a container of its own, beside those of the service.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use clap::Args;
use hoist_api::Engine;
use hoist_api::container::{ContainerCreate, RemoveContainer};
use hoist_compose::graph::of_project;
use hoist_compose::model::Project;
use hoist_compose::observe::{Observed, observe};
use hoist_compose::plan::{Build, RunOptions, plan_run};
use indexmap::IndexMap;

use super::build::{Wanted, before_up};
use super::exec::{exit_code, variables};
use super::object::container::body::lines_of;
use super::object::container::mount;
use super::object::container::run::{Following, follow_to_code, start_failure};
use super::object::pairs;
use super::pull;
use super::up::orphans;
use super::values::PullPolicy;
use crate::connect;
use crate::context::{Context, check_services};
use crate::failure::Failure;
use crate::planned::{self, plan_failure};
use crate::providers;
use crate::publish;
use crate::streams::{Wiring, console_size};

/// Run a command in a new container of a service
#[derive(Args, Debug, Clone)]
pub(crate) struct RunArgs {
    /// Leave it running in the background and print its id
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,

    /// Set a variable; without a value it has ours; repeatable
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,

    /// Set the variables of a file; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) env_from_file: Vec<String>,

    /// Label; repeatable
    #[arg(short, long, alias = "labels", value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,

    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Instead of the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,

    /// As this user (name or uid, with :group)
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// In this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,

    /// Mount a volume or a directory: [SOURCE:]TARGET[:OPTIONS]; repeatable
    #[arg(short, long, alias = "volumes", value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,

    /// Publish a port: [[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]; repeatable
    #[arg(short, long, value_name = "PORT")]
    pub(crate) publish: Vec<String>,

    /// Publish the service's ports
    #[arg(short = 'P', long)]
    pub(crate) service_ports: bool,

    /// Give it the service's names in its networks
    #[arg(long)]
    pub(crate) use_aliases: bool,

    /// Leave alone the services that it depends on
    #[arg(long)]
    pub(crate) no_deps: bool,

    /// Add a capability; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,

    /// Take a capability away; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,

    /// Keep standard input open (the default)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) interactive: bool,

    /// Without a terminal, even when standard input and output are one
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    pub(crate) no_tty: bool,

    /// With a terminal (the default when standard input and output are one)
    #[arg(short, long, hide = true)]
    pub(crate) tty: bool,

    /// Build the image before
    #[arg(long)]
    pub(crate) build: bool,

    /// When to fetch images
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) pull: Option<PullPolicy>,

    /// Print nothing but what the command prints
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Build images without showing progress
    #[arg(long)]
    pub(crate) quiet_build: bool,

    /// Fetch images without showing progress
    #[arg(long)]
    pub(crate) quiet_pull: bool,

    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub(crate) remove_orphans: bool,

    /// The service, then the command with its arguments
    #[arg(value_names = ["SERVICE", "COMMAND", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

/// Pulls and builds the images of the service and of what it depends on, as `pull_policy`, `--pull` and `--build` say.
async fn with_images<E: Engine>(
    context: &Context,
    engine: &E,
    project: &Project,
    observed: Observed,
    args: &RunArgs,
) -> Result<Observed, Failure> {
    let service: Vec<String> = args.command.first().cloned().into_iter().collect();
    let needed: Vec<String> = if args.no_deps {
        service
    } else {
        of_project(project)?
            .with_dependencies(service.iter().map(String::as_str))
            .into_iter()
            .collect()
    };
    let pulls = pull::Wanted {
        services: &needed,
        policy: args.pull,
        quiet: args.quiet,
    };
    let observed = pull::before_up(context, engine, project, (observed, pulls)).await?;
    let wanted = Wanted {
        services: &needed,
        which: if args.build {
            Build::All
        } else {
            Build::Missing
        },
        quiet: args.quiet_build || args.quiet,
        // There only the command speaks.
        lines_on_stdout: false,
    };
    before_up(context, engine, project, observed, wanted).await
}

/// Has the programs run that the service depends on.
async fn provide(
    context: &Context,
    project: &mut Project,
    service: &str,
    alone: bool,
) -> Result<(), Failure> {
    let own = project.services.get(service);
    if own.is_some_and(|service| service.provider.is_some()) {
        let why =
            format!("cannot run service \"{service}\": its provider's program is, not a container");
        return Err(Failure::new(why).hint(format!("hoist up {service} runs the program")));
    }
    let needed = match alone {
        true => BTreeSet::new(),
        false => of_project(project)?.with_dependencies([service]),
    };
    providers::up(context, project, (&needed, Vec::new())).await?;
    Ok(())
}

/// Runs a command in a container of its own; leaves with its exit code.
///
/// # Errors
/// The files are wrong, a step failed, or the command's code is not 0.
pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<(), Failure> {
    let Some((service, command)) = args.command.split_first() else {
        return Err(Failure::new("name a service"));
    };
    let services = [service.clone()];
    let mut project = context.load(&services)?;
    check_services(&project, &services)?;
    provide(context, &mut project, service, args.no_deps).await?;
    let engine = connect::engine(context).await?;
    let observed = observe(&engine, &project.name).await?;
    let observed = with_images(context, &engine, &project, observed, &args).await?;
    let slug = slug();
    let name = args.name.clone();
    let name = name.unwrap_or_else(|| {
        let parts = [&project.name, service, "run", &slug[..12]];
        parts.join(if context.compatible_names() { "_" } else { "-" })
    });
    let options = RunOptions {
        service: service.clone(),
        name: name.clone(),
        slug,
        no_deps: args.no_deps,
        service_ports: args.service_ports,
        use_aliases: args.use_aliases,
        orphans: orphans(&project, args.remove_orphans)?,
    };
    let mut run = plan_run(&project, &observed, &options).map_err(plan_failure)?;
    let wiring = wiring(&args)?;
    let mut terminal = false;
    if let Some(request) = run.request() {
        change(
            (context, &project.environment),
            request,
            (&args, command),
            &wiring,
        )?;
        terminal = request.config.tty;
    }
    if context.globals.dry_run {
        return planned::print(context, &run.plan);
    }
    planned::carry_out(context, &engine, &run.plan, "Creating").await?;
    if args.detach {
        engine.container_start(&name).await.map_err(start_failure)?;
        return context.ui.line(&engine.container_inspect(&name).await?.id);
    }
    let following = Following {
        output: (true, true),
        signals: !terminal,
        removed: false,
        wiring,
    };
    let outcome = follow_to_code(context, &engine, &name, &following).await;
    if args.rm {
        let options = RemoveContainer {
            force: true,
            volumes: true,
        };
        // What the command left counts more than this.
        if let Err(error) = engine.container_remove(&name, options).await {
            context.ui.warn(&format!("cannot remove {name}: {error}"));
        }
    }
    match outcome? {
        0 => Ok(()),
        code => Err(Failure::exit(exit_code(code))),
    }
}

/// A terminal when standard input and output are one, unless -T says no.
fn wiring(args: &RunArgs) -> Result<Wiring, Failure> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.tty && !args.no_tty && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "cannot give the command a terminal: the input device is not a TTY",
        )
        .hint("leave out -t, or add -T"));
    }
    Ok(Wiring {
        terminal: !args.no_tty && (args.tty || is_terminal),
        input: args.interactive && !args.detach,
        ..Wiring::default()
    })
}

/// Changes what the service's containers are like as the options ask.
fn change(
    (context, environment): (&Context, &IndexMap<String, String>),
    request: &mut ContainerCreate,
    (args, command): (&RunArgs, &[String]),
    wiring: &Wiring,
) -> Result<(), Failure> {
    let config = &mut request.config;
    let ours = std::mem::take(&mut config.labels);
    // The user's labels never hide ours.
    config.labels = pairs(&args.label);
    config.labels.extend(ours);
    for file in &args.env_from_file {
        config.env.extend(variables(environment, &lines_of(file)?));
    }
    config.env.extend(variables(environment, &args.env));
    if let Some(entrypoint) = &args.entrypoint {
        config.entrypoint = Some(match entrypoint.as_str() {
            "" => vec![String::new()],
            text => text.split_whitespace().map(str::to_owned).collect(),
        });
        config.cmd = Some(Vec::new());
    }
    if !command.is_empty() {
        config.cmd = Some(command.to_vec());
    }
    for (given, value) in [
        (&args.user, &mut config.user),
        (&args.workdir, &mut config.working_dir),
    ] {
        if let Some(given) = given {
            value.clone_from(given);
        }
    }
    config.tty = wiring.terminal;
    config.open_stdin = args.interactive;
    config.attach_stdin = wiring.input;
    config.stdin_once = wiring.input;
    let host = &mut request.host_config;
    host.console_size = console_size(wiring.terminal).unwrap_or_default();
    host.cap_add.extend(args.cap_add.iter().cloned());
    host.cap_drop.extend(args.cap_drop.iter().cloned());
    if args.rm {
        host.restart_policy = Default::default();
        host.auto_remove = args.detach;
    }
    publish::add(request, &args.publish)?;
    mount::volumes(context, request, &args.volume)
}

/// 64 hexadecimal digits that no other container has.
fn slug() -> String {
    let mut bytes = [0_u8; 32];
    // The kernel's generator is ready long before anybody has a shell.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
