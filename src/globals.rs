//! Options that every command understands, before or after the verb.
//!
//! clap's own `global` arguments cannot be used: their short forms would clash with the verbs' own
//! (`logs -f` follows, `rm -f` forces), and a repeatable one given on both sides would keep only one
//! side's values. So each subcommand gets hidden copies, without the short forms it uses itself, and
//! [`Globals::absorb`] adds what they caught to what stood before the verb.
//! Knows nothing of what the options mean to the loader or the engine.

use clap::{ArgMatches, Args, Command, ValueEnum};

/// Options accepted before and after the verb.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Global options (before or after the command)")]
pub(crate) struct Globals {
    /// Compose file; repeat it to merge several, "-" reads standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        allow_hyphen_values = true
    )]
    pub(crate) file: Vec<String>,

    /// Name of the project (default: the file's `name`, else its directory)
    #[arg(
        short = 'p',
        long = "project-name",
        value_name = "NAME",
        allow_hyphen_values = true
    )]
    pub(crate) project_name: Option<String>,

    /// Enable a profile ("*" for all); repeatable
    #[arg(long, value_name = "PROFILE", allow_hyphen_values = true)]
    pub(crate) profile: Vec<String>,

    /// Read variables from this file instead of .env; repeatable, later files win
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) env_file: Vec<String>,

    /// Directory that relative paths start from (default: that of the first file)
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) project_directory: Option<String>,

    /// Most steps carried out at the same time, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) parallel: Option<i64>,

    /// When to colour and use the cursor
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) ansi: Option<AnsiMode>,

    /// How progress is shown (on standard error)
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) progress: Option<ProgressMode>,

    /// Print what would be done, do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Keep networks and volumes that no service uses
    #[arg(long)]
    pub(crate) all_resources: bool,

    /// Name containers with "_" instead of "-"
    #[arg(long)]
    pub(crate) compatibility: bool,

    /// Deprecated name of --project-directory
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) workdir: Option<String>,

    /// Has no effect: Compose files are not fetched from registries
    #[arg(long, hide = true, value_name = "REGISTRY")]
    pub(crate) insecure_registry: Vec<String>,

    /// Deprecated: --ansi never
    #[arg(long, hide = true)]
    pub(crate) no_ansi: bool,

    /// Say more about what hoist does
    #[arg(long, hide = true)]
    pub(crate) verbose: bool,

    /// Where the engine keeps images, containers, volumes [env: HOIST_ROOT=] [default: /var/lib/hoist]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<String>,

    /// Where the engine keeps its socket and run-time state [env: HOIST_STATE=] [default: /run/hoist]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<String>,

    /// Engine to use, as unix://PATH, tcp://HOST:PORT or ssh://USER@HOST [env: HOIST_HOST=, DOCKER_HOST=]
    #[arg(short = 'H', long, value_name = "URL")]
    pub(crate) host: Option<String>,

    /// Engine to use, by the name of a docker context [env: DOCKER_CONTEXT=]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Speak TLS with a tcp:// engine
    #[arg(long)]
    pub(crate) tls: bool,

    /// Speak TLS with a tcp:// engine and check its certificate [env: DOCKER_TLS_VERIFY=]
    #[arg(long)]
    pub(crate) tlsverify: bool,

    /// Under Docker's name `--tlsverify` was given: whatever it says, it asks for TLS.
    #[arg(skip)]
    pub(crate) tls_asked: bool,

    /// Certificate of the authority to believe [default: ca.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<String>,

    /// Our certificate [default: cert.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<String>,

    /// The key of our certificate [default: key.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<String>,
}

/// When to colour output and move the cursor.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsiMode {
    // On a terminal, unless NO_COLOR is set
    Auto,
    // Not at all
    Never,
    // Also into files and pipes
    Always,
}

/// How progress is shown.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    // `tty` on a terminal, else `plain`
    Auto,
    // One live line per object
    Tty,
    // One line per change
    Plain,
    // One JSON object per change
    #[value(alias = "rawjson")]
    Json,
    // Errors only
    Quiet,
    // The same as quiet
    #[value(hide = true)]
    None,
}

/// The prefix of the ids of the hidden copies.
const LATE: &str = "late-";

/// The global options as the root command has them.
pub(crate) fn originals() -> Vec<clap::Arg> {
    Globals::augment_args(Command::default())
        .get_arguments()
        .cloned()
        .collect()
}

/// Adds hidden copies of the root command's global options to a command.
#[must_use]
pub(crate) fn add_late(verb: Command, originals: &[clap::Arg]) -> Command {
    let longs: Vec<String> = verb
        .get_arguments()
        .filter_map(|a| a.get_long().map(str::to_owned))
        .collect();
    let shorts: Vec<char> = verb
        .get_arguments()
        .filter_map(clap::Arg::get_short)
        .collect();
    let free = originals
        .iter()
        .filter(|a| a.get_long().is_none_or(|l| !longs.iter().any(|x| x == l)));
    let copies: Vec<clap::Arg> = free
        .map(|original| {
            let copy = original
                .clone()
                .id(format!("{LATE}{}", original.get_id()))
                .hide(true);
            match original.get_short() {
                Some(short) if shorts.contains(&short) => copy.short(None),
                _ => copy,
            }
        })
        .collect();
    verb.args(copies)
}

impl Globals {
    /// Adds what stood after the verb: lists grow, single values are replaced by the later one.
    pub(crate) fn absorb(&mut self, matches: &ArgMatches) {
        let mut level = matches;
        while let Some((_, inner)) = level.subcommand() {
            level = inner;
            self.absorb_level(level);
        }
    }

    fn absorb_level(&mut self, m: &ArgMatches) {
        extend(&mut self.file, m, "file");
        extend(&mut self.profile, m, "profile");
        extend(&mut self.env_file, m, "env_file");
        replace(&mut self.project_name, m, "project_name");
        replace(&mut self.project_directory, m, "project_directory");
        replace(&mut self.parallel, m, "parallel");
        replace(&mut self.ansi, m, "ansi");
        replace(&mut self.progress, m, "progress");
        replace(&mut self.workdir, m, "workdir");
        replace(&mut self.root, m, "root");
        replace(&mut self.state, m, "state");
        replace(&mut self.host, m, "host");
        replace(&mut self.context, m, "context");
        replace(&mut self.tlscacert, m, "tlscacert");
        replace(&mut self.tlscert, m, "tlscert");
        replace(&mut self.tlskey, m, "tlskey");
        set(&mut self.tls, m, "tls");
        set(&mut self.tlsverify, m, "tlsverify");
        set(&mut self.dry_run, m, "dry_run");
        set(&mut self.all_resources, m, "all_resources");
        set(&mut self.compatibility, m, "compatibility");
        set(&mut self.no_ansi, m, "no_ansi");
        set(&mut self.verbose, m, "verbose");
    }
}

fn late_values<T: Clone + Send + Sync + 'static>(m: &ArgMatches, id: &str) -> Vec<T> {
    match m.try_get_many::<T>(&format!("{LATE}{id}")) {
        Ok(Some(values)) => values.cloned().collect(),
        // The verb has an option of its own with this name.
        Ok(None) | Err(_) => Vec::new(),
    }
}

fn extend(list: &mut Vec<String>, m: &ArgMatches, id: &str) {
    list.extend(late_values::<String>(m, id));
}

fn replace<T: Clone + Send + Sync + 'static>(value: &mut Option<T>, m: &ArgMatches, id: &str) {
    if let Some(later) = late_values::<T>(m, id).pop() {
        *value = Some(later);
    }
}

fn set(value: &mut bool, m: &ArgMatches, id: &str) {
    *value |= late_values::<bool>(m, id).contains(&true);
}
