//! The tree of commands as clap sees it: what can be typed, and what `--help` says of it.
//!
//! Verbs and options are Docker Compose's; what each option means is written beside it in its command's file.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::build::BuildArgs;
use crate::commands::config::ConfigArgs;
use crate::commands::cp::CpArgs;
use crate::commands::create::CreateArgs;
use crate::commands::down::DownArgs;
use crate::commands::events::EventsArgs;
use crate::commands::exec::ExecArgs;
use crate::commands::lifecycle::{
    KillArgs, RestartArgs, RmArgs, ScaleArgs, ServicesArgs, StartArgs, StopArgs, WaitArgs,
};
use crate::commands::listing::{ImagesArgs, LsArgs, PortArgs, TopArgs, VersionArgs, VolumesArgs};
use crate::commands::logs::LogsArgs;
use crate::commands::object::builder::BuilderVerb;
use crate::commands::object::container::ContainerVerb;
use crate::commands::object::context::ContextVerb;
use crate::commands::object::engine::EngineVerb;
use crate::commands::object::facts::InfoArgs;
use crate::commands::object::image::ImageVerb;
use crate::commands::object::network::NetworkVerb;
use crate::commands::object::system::{AnyInspectArgs, SystemVerb};
use crate::commands::object::transfer::{LoginArgs, LogoutArgs};
use crate::commands::object::volume::VolumeVerb;
use crate::commands::plan::PlanArgs;
use crate::commands::ps::PsArgs;
use crate::commands::pull::{PullArgs, PushArgs};
use crate::commands::refused::AnyArgs;
use crate::commands::run::RunArgs;
use crate::commands::single::{AttachArgs, CommitArgs, ExportArgs, StatsArgs};
use crate::commands::up::UpArgs;
use crate::commands::watch::WatchArgs;
use crate::docker;
use crate::globals::{self, Globals};
use crate::spelling;

const ABOUT: &str = "\
Runs the applications that Compose files describe, on its own container engine.

Verbs, options, files, labels and exit codes are those of Docker Compose. Nothing
has to be installed or started first: a command that needs the engine starts it.";

const AFTER_HELP: &str = "\
Examples:
  hoist up                        start everything in ./compose.yaml and follow its output
  hoist up -d --wait web          start web and what it needs, return when it is healthy
  hoist plan                      show what up would do
  hoist build web                 build the image of web from its Dockerfile
  hoist logs -f --tail 20 api     follow one service
  hoist exec db psql -U postgres  run a command in a container
  hoist down -v                   remove everything, data too
  hoist image import rootfs.tar.gz base:1 -c 'CMD [\"sh\"]'

Exit codes:
  0    done
  1    failed; also a wrong option, file, or service name
  2    plan --exit-code: there are changes
  130  stopped by Ctrl-C or SIGTERM
  141  the reader of the output has gone away
  N    exec, wait, up --exit-code-from, up --abort-on-container-exit: the container's own
       code (126 cannot be executed, 127 not found, 128+S killed by signal S)

Environment:
  HOIST_ROOT, HOIST_STATE, HOIST_HOST  as --root, --state, --host
  DOCKER_HOST, DOCKER_CONTEXT, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH  as docker has them, without those
  COMPOSE_FILE (separated by COMPOSE_PATH_SEPARATOR, else ':'), COMPOSE_PROJECT_NAME,
  COMPOSE_PROFILES, COMPOSE_ENV_FILES, COMPOSE_DISABLE_ENV_FILE, COMPOSE_PARALLEL_LIMIT,
  COMPOSE_ANSI, COMPOSE_PROGRESS, COMPOSE_STATUS_STDOUT, COMPOSE_IGNORE_ORPHANS,
  COMPOSE_REMOVE_ORPHANS, NO_COLOR
";

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "hoist",
    version = concat!("version v", env!("CARGO_PKG_VERSION")),
    disable_version_flag = true,
    about = ABOUT,
    after_help = AFTER_HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    // As the reference: the last one counts.
    args_override_self = true,
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands",
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,

    /// Print the version
    #[arg(short = 'v', long, hide = true, action = clap::ArgAction::Version)]
    pub(crate) version: Option<bool>,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The commands. What each takes is only made when a line may name it, so what help says of it is here.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(crate) enum Verb {
    /// Create and start containers
    Up(UpArgs),
    /// Stop and remove containers and networks
    Down(DownArgs),
    /// Show the steps that `up` (or `down`) would carry out
    Plan(PlanArgs),
    /// Build or rebuild the images of services
    Build(BuildArgs),
    /// List the containers of the project
    Ps(PsArgs),
    /// Show the output of containers
    Logs(LogsArgs),
    /// Run a command in a running container of a service
    Exec(ExecArgs),
    /// Run a command in a new container of a service
    Run(Box<RunArgs>),
    /// Join our streams with a service's running container
    Attach(AttachArgs),
    /// Copy files between a service's containers and the local file system
    Cp(CpArgs),
    /// Show what happens to the containers, as it happens
    Events(EventsArgs),
    /// Show what the containers use, again each second
    Stats(StatsArgs),
    /// Make an image of a service's container
    Commit(CommitArgs),
    /// Write a container's file system as a tar archive
    Export(ExportArgs),
    /// Watch the sources and refresh containers when they change
    Watch(WatchArgs),
    #[command(hide = true)]
    Alpha(AnyArgs),
    #[command(hide = true)]
    Bridge(AnyArgs),
    #[command(hide = true)]
    Publish(AnyArgs),
    #[command(hide = true)]
    Absent(AnyArgs),
    /// Start containers that exist
    Start(StartArgs),
    /// Stop containers without removing them
    Stop(StopArgs),
    /// Restart containers as they are
    Restart(RestartArgs),
    /// Kill containers, or send them another signal
    Kill(KillArgs),
    /// Freeze the containers of services
    Pause(ServicesArgs),
    /// Let frozen containers go on
    Unpause(ServicesArgs),
    /// Remove stopped containers
    Rm(RmArgs),
    /// Create the containers of services without starting them
    Create(CreateArgs),
    /// Set the number of containers of services
    Scale(ScaleArgs),
    /// Wait until the containers of services end; leave with the last one's exit code
    Wait(WaitArgs),
    /// Show the processes in the containers
    Top(TopArgs),
    /// Print the host's address of a published port
    Port(PortArgs),
    /// List the images of the containers
    Images(ImagesArgs),
    /// List the volumes of the project
    Volumes(VolumesArgs),
    /// Check the files and print them as one, in canonical form
    #[command(alias = "convert")]
    Config(ConfigArgs),
    /// List the projects that run
    Ls(LsArgs),
    /// Print hoist's version
    Version(VersionArgs),
    /// Pull the images of services
    Pull(PullArgs),
    /// Push the images of services that are built
    Push(PushArgs),
    /// Log in to a registry
    Login(LoginArgs),
    /// Log out from a registry
    Logout(LogoutArgs),
    /// Work with the engine's images
    Image(Group<ImageVerb>),
    /// Work with the build cache
    #[command(alias = "buildx")]
    Builder(Group<BuilderVerb>),
    /// Work with the engine's volumes
    Volume(Group<VolumeVerb>),
    /// Work with the engine's networks
    Network(Group<NetworkVerb>),
    /// Work with containers of any project
    Container(Group<ContainerVerb>),
    /// Work with the engine as a whole: space, events, facts
    System(Group<SystemVerb>),
    /// Print what the engine knows of objects of any kind, as JSON
    Inspect(AnyInspectArgs),
    /// Show facts about the engine and its machine
    Info(InfoArgs),
    /// Work with Docker's contexts: names for engines
    Context(Group<ContextVerb>),
    /// Work with the engine itself
    Engine(Group<EngineVerb>),
}

/// A verb that has verbs of its own.
#[derive(Debug)]
pub(crate) struct Group<V>(pub(crate) V);

impl<V: Subcommand> Args for Group<V> {
    fn augment_args(command: Command) -> Command {
        V::augment_subcommands(command)
            .subcommand_required(true)
            .arg_required_else_help(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        V::augment_subcommands_for_update(command)
    }
}

impl<V: FromArgMatches> FromArgMatches for Group<V> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        V::from_arg_matches(matches).map(Group)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// What makes the arguments of a verb.
fn arguments_of(verb: &str) -> Option<fn(Command) -> Command> {
    Some(match verb {
        "up" => UpArgs::augment_args,
        "down" => DownArgs::augment_args,
        "plan" => PlanArgs::augment_args,
        "build" => BuildArgs::augment_args,
        "ps" => PsArgs::augment_args,
        "logs" => LogsArgs::augment_args,
        "exec" => ExecArgs::augment_args,
        "run" => RunArgs::augment_args,
        "attach" => AttachArgs::augment_args,
        "cp" => CpArgs::augment_args,
        "events" => EventsArgs::augment_args,
        "stats" => StatsArgs::augment_args,
        "commit" => CommitArgs::augment_args,
        "export" => ExportArgs::augment_args,
        "watch" => WatchArgs::augment_args,
        "alpha" => AnyArgs::augment_args,
        "bridge" => AnyArgs::augment_args,
        "publish" => AnyArgs::augment_args,
        "absent" => AnyArgs::augment_args,
        "start" => StartArgs::augment_args,
        "stop" => StopArgs::augment_args,
        "restart" => RestartArgs::augment_args,
        "kill" => KillArgs::augment_args,
        "pause" => ServicesArgs::augment_args,
        "unpause" => ServicesArgs::augment_args,
        "rm" => RmArgs::augment_args,
        "create" => CreateArgs::augment_args,
        "scale" => ScaleArgs::augment_args,
        "wait" => WaitArgs::augment_args,
        "top" => TopArgs::augment_args,
        "port" => PortArgs::augment_args,
        "images" => ImagesArgs::augment_args,
        "volumes" => VolumesArgs::augment_args,
        "config" => ConfigArgs::augment_args,
        "ls" => LsArgs::augment_args,
        "version" => VersionArgs::augment_args,
        "pull" => PullArgs::augment_args,
        "push" => PushArgs::augment_args,
        "login" => LoginArgs::augment_args,
        "logout" => LogoutArgs::augment_args,
        "image" => Group::<ImageVerb>::augment_args,
        "builder" => Group::<BuilderVerb>::augment_args,
        "volume" => Group::<VolumeVerb>::augment_args,
        "network" => Group::<NetworkVerb>::augment_args,
        "container" => Group::<ContainerVerb>::augment_args,
        "system" => Group::<SystemVerb>::augment_args,
        "inspect" => AnyInspectArgs::augment_args,
        "info" => InfoArgs::augment_args,
        "context" => Group::<ContextVerb>::augment_args,
        "engine" => Group::<EngineVerb>::augment_args,
        _ => return None,
    })
}

/// Whether a line may name a command, by its name or another one that it has.
fn may_be(command: &Command, named: &dyn Fn(&str) -> bool) -> bool {
    named(command.get_name()) || command.get_all_aliases().any(named)
}

/// Changes a command, and those below it that a line may name.
fn changed(
    command: Command,
    named: &dyn Fn(&str) -> bool,
    change: &dyn Fn(Command) -> Command,
) -> Command {
    change(command).mut_subcommands(|inner| match may_be(&inner, named) {
        true => changed(inner, named, change),
        false => inner,
    })
}

/// Makes the arguments of a verb, and accepts the global options among them.
fn with_arguments(verb: Command, originals: &[Arg], named: &dyn Fn(&str) -> bool) -> Command {
    let Some(make) = arguments_of(verb.get_name()) else {
        return verb;
    };
    // What is said of the arguments alone is no description of the verb.
    let about = verb.get_about().cloned();
    // They are not to be made once more.
    let verb = make(verb.defer(std::convert::identity));
    let verb = match about {
        Some(about) => verb.about(about),
        None => verb,
    };
    let verb = spelling::with_refused(spelling::with_ignored(verb));
    changed(verb, named, &|command| {
        spelling::with_any_values(globals::add_late(command, originals))
    })
}

impl Cli {
    /// The tree as far as a line can name it, with the global options accepted at every depth. Making and copying all arguments of
    /// all verbs takes longer than what most commands do.
    fn tree_for(named: impl Fn(&str) -> bool) -> Command {
        let originals = globals::originals();
        Cli::command().mut_subcommands(|verb| match may_be(&verb, &named) {
            true => with_arguments(verb, &originals, &named),
            false => verb,
        })
    }

    /// The whole tree.
    #[cfg(test)]
    pub(crate) fn tree() -> Command {
        Cli::tree_for(|_| true)
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// What clap has to say: a mistake in the line, or the help that was asked for.
    pub(crate) fn read<I, T>(line: I) -> Result<Cli, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let tree = Cli::tree_for(|name| line.iter().any(|word| word == name));
        let mut tree = match spelling::is_spelled_out(&line) {
            true => spelling::with_values(tree),
            false => tree,
        };
        let read = tree.try_get_matches_from_mut(&line);
        let matches: ArgMatches = match read {
            // What is said to be off contradicts nothing.
            Err(error) if error.kind() == clap::error::ErrorKind::ArgumentConflict => {
                match spelling::without_what_is_off(&tree, &line) {
                    Some(line) => tree.try_get_matches_from(line)?,
                    None => return Err(error),
                }
            }
            read => read?,
        };
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.globals.absorb(&matches);
        let before_verb = line.iter().filter_map(|word| word.to_str());
        let mut before_verb = before_verb.take_while(|word| arguments_of(word).is_none());
        cli.globals.tls_asked =
            docker::is_docker(&line) && before_verb.any(|word| word.starts_with("--tlsverify"));
        Ok(cli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Cli {
        Cli::read(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn refused(line: &str) -> String {
        match Cli::read(line.split_whitespace()) {
            Ok(cli) => panic!("{line} was accepted: {cli:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_tree_is_consistent() {
        Cli::tree().debug_assert();
    }

    #[test]
    fn every_verb_has_its_arguments() {
        let names = Cli::command();
        let names = names.get_subcommands().map(Command::get_name);
        let without: Vec<&str> = names.filter(|name| arguments_of(name).is_none()).collect();
        assert_eq!(without, [""; 0]);
    }

    #[test]
    fn global_options_are_accepted_on_both_sides_of_the_verb() {
        let cli =
            read("hoist -f a.yaml --profile x up -f b.yaml -d --profile y -p shop --parallel -1");
        assert_eq!(cli.globals.file, ["a.yaml", "b.yaml"]);
        assert_eq!(cli.globals.profile, ["x", "y"]);
        assert_eq!(cli.globals.project_name.as_deref(), Some("shop"));
        assert_eq!(cli.globals.parallel, Some(-1));
        let Verb::Up(up) = cli.verb else {
            panic!("not up: {:?}", cli.verb)
        };
        assert!(up.detach);
    }

    #[test]
    fn a_switch_that_is_off_contradicts_nothing() {
        let cli = read("hoist up --build=false --no-build=true --wait=0 web");
        let Verb::Up(up) = cli.verb else {
            panic!("not up: {:?}", cli.verb)
        };
        assert!(up.no_build && !up.build && !up.wait);
        assert_eq!(up.services, ["web"]);
        let why = refused("hoist up --build=true --no-build=true --menu=false");
        assert!(why.contains("cannot be used with"), "{why}");
    }

    #[test]
    fn a_verbs_own_short_option_wins() {
        let cli = read("hoist -f a.yaml logs -f web --file b.yaml");
        assert_eq!(cli.globals.file, ["a.yaml", "b.yaml"]);
        let Verb::Logs(logs) = cli.verb else {
            panic!("not logs: {:?}", cli.verb)
        };
        assert!(logs.follow);
        assert_eq!(logs.services, ["web"]);
    }

    #[test]
    fn switches_take_yes_and_no() {
        let run = |line: &str| match read(line).verb {
            Verb::Container(Group(ContainerVerb::Run(args))) => (
                args.create.rm,
                args.create.process.tty,
                args.create.process.interactive,
                args.words,
            ),
            verb => panic!("not run: {verb:?}"),
        };
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            run("hoist container run --rm=true -it=false x a --b=true"),
            (true, false, true, words("x a --b=true"))
        );
        assert_eq!(
            run("hoist container run --rm=0 -ti x"),
            (false, true, true, words("x"))
        );
        let Verb::Up(up) = read("hoist up -d=T --build=false --no-color=true").verb else {
            panic!("not up")
        };
        assert!(up.detach && up.no_color && !up.build);
        assert!(refused("hoist up -d=maybe").contains("give true or false"));
    }

    #[test]
    fn options_without_effect_are_taken() {
        read("hoist container run --disable-content-trust=false --kernel-memory 4m x");
        read("hoist image pull --disable-content-trust x");
        read("hoist image build --isolation=default .");
        // What only Windows has is told, as Docker's command line does.
        for line in [
            "hoist container run --io-maxiops=3 x",
            "hoist container create --cpu-count=2 x",
            "hoist image build --isolation=hyperv .",
        ] {
            assert!(Cli::read(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[test]
    fn exec_stops_reading_options_at_the_service() {
        let cli = read("hoist exec -T -u root -e A=1 web ls -la --help -f x");
        let Verb::Exec(exec) = cli.verb else {
            panic!("not exec: {:?}", cli.verb)
        };
        assert!(exec.no_tty);
        assert_eq!(exec.user.as_deref(), Some("root"));
        assert_eq!(exec.command, ["web", "ls", "-la", "--help", "-f", "x"]);
        assert!(cli.globals.file.is_empty());
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for line in [
            "hoist up -d --abort-on-container-exit",
            "hoist up -d --attach web",
            "hoist up --wait --attach-dependencies",
            "hoist up --build --no-build",
            "hoist up --no-recreate --force-recreate",
            "hoist up --no-recreate -V",
            "hoist up --no-recreate --always-recreate-deps",
            "hoist up --abort-on-container-exit --abort-on-container-failure",
            "hoist up --attach a --attach-dependencies",
            "hoist create --no-recreate --force-recreate",
        ] {
            let said = refused(line);
            assert!(said.contains("cannot be used with"), "{line}: {said}");
        }
    }

    #[test]
    fn plan_takes_ups_options_and_down() {
        let cli = read("hoist plan --exit-code --force-recreate web");
        let Verb::Plan(plan) = cli.verb else {
            panic!("not plan: {:?}", cli.verb)
        };
        assert!(plan.exit_code && plan.up.force_recreate && plan.verb.is_none());
        let cli = read("hoist plan --exit-code down -v");
        let Verb::Plan(plan) = cli.verb else {
            panic!("not plan: {:?}", cli.verb)
        };
        assert!(plan.exit_code && plan.verb.is_some());
    }

    #[test]
    fn scale_wants_a_number() {
        let said = refused("hoist up --scale web");
        assert!(said.contains("SERVICE=NUM"), "{said}");
    }
}
