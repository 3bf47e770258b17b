//! `hoist context`: Docker's contexts, which name engines. They are the same files, so that `docker` and SDKs go on with them.

mod archive;

use std::fs;

use clap::{Args, Subcommand};
use hoist_api::client::Endpoint;
use serde_json::{Map, Value, json};

use super::each;
use super::image::InspectArgs;
use crate::connect;
use crate::context::Context;
use crate::contexts::{CERTIFICATES, Contexts, DEFAULT, DOCKER, Meta, MetaEndpoint};
use crate::failure::Failure;
use crate::listing::{self, Columns, Format};
use crate::remote;

/// What can be done with contexts.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ContextVerb {
    /// Give an engine a name
    Create(CreateArgs),
    /// Write a context with its certificates as an archive
    Export(archive::ExportArgs),
    /// Make a context of an archive that `context export` wrote
    Import(archive::ImportArgs),
    /// Print what contexts are, as JSON (default: the current one)
    Inspect(InspectContextArgs),
    /// List contexts
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove contexts
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Print the current context's name
    Show,
    /// Change a context
    Update(UpdateArgs),
    /// Make a context the current one of `docker`
    Use(UseArgs),
}

/// `context create`.
#[derive(Args, Debug, Clone)]
pub(crate) struct CreateArgs {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    pub(crate) name: String,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,

    /// The engine: host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=BOOL, from=CONTEXT
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub(crate) docker: Vec<String>,

    /// Copy this context
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) from: Option<String>,
}

/// `context inspect`.
#[derive(Args, Debug, Clone)]
pub(crate) struct InspectContextArgs {
    /// Contexts
    #[arg(value_name = "CONTEXT")]
    pub(crate) names: Vec<String>,

    /// json, or a Go template for each
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// `context ls`.
#[derive(Args, Debug, Clone)]
pub(crate) struct LsArgs {
    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,

    /// Only the names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `context rm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct RmArgs {
    /// Contexts
    #[arg(value_name = "CONTEXT", required = true)]
    pub(crate) names: Vec<String>,

    /// Also the current one; it is no error when one does not exist
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `context update`.
#[derive(Args, Debug, Clone)]
pub(crate) struct UpdateArgs {
    /// The context
    #[arg(value_name = "CONTEXT")]
    pub(crate) name: String,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,

    /// The engine, as for `context create`
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub(crate) docker: Vec<String>,
}

/// `context use`.
#[derive(Args, Debug, Clone)]
pub(crate) struct UseArgs {
    /// The context
    #[arg(value_name = "CONTEXT")]
    pub(crate) name: String,
}

const COLUMNS: &Columns = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
];

/// Where Docker says that the default context is.
const OVERRIDDEN: &str = "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.";
const NOWHERE: &str = "<IN MEMORY>";
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

/// A file of a context: its name and its content.
type Certificate = (&'static str, Vec<u8>);

/// Contexts, and what says which is current.
struct Store<'c> {
    context: &'c Context,
    contexts: Contexts,
    as_docker: bool,
}

/// Carries out a `context` command. No engine is asked.
///
/// # Errors
/// A context does not exist, a value is wrong, a file cannot be read or written.
pub(crate) fn run(context: &Context, verb: ContextVerb, as_docker: bool) -> Result<(), Failure> {
    let store = Store {
        context,
        contexts: Contexts::of(&context.environment),
        as_docker,
    };
    match verb {
        ContextVerb::Create(args) => store.create(args),
        ContextVerb::Export(args) => store.export(&args),
        ContextVerb::Import(args) => store.import(&args),
        ContextVerb::Inspect(args) => store.inspect(args),
        ContextVerb::Ls(args) => store.list(&args),
        ContextVerb::Rm(args) => store.remove(&args),
        ContextVerb::Show => context.ui.line(&store.current()),
        ContextVerb::Update(args) => store.update(args),
        ContextVerb::Use(args) => store.choose(&args.name),
    }
}

impl Store<'_> {
    /// The context that a command without `--context` means. An address in the environment stands before the chosen one.
    fn current(&self) -> String {
        let context = self.context;
        if context.globals.host.is_some() {
            return DEFAULT.to_owned();
        }
        if let Some(given) = &context.globals.context {
            return given.clone();
        }
        if context.variable("HOIST_HOST").is_some() || context.variable("DOCKER_HOST").is_some() {
            return DEFAULT.to_owned();
        }
        if let Some(given) = context.variable("DOCKER_CONTEXT") {
            return given.to_owned();
        }
        let chosen = self.as_docker.then(|| self.contexts.current()).flatten();
        chosen.unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// What the default context is now.
    fn default(&self) -> Result<Meta, Failure> {
        let context = self.context;
        let given = remote::default_endpoint(&context.globals, &context.environment)?;
        let endpoint = given.unwrap_or_else(|| context.places.endpoint.clone());
        let host = match &endpoint {
            Endpoint::Unix(path) => format!("unix://{}", path.display()),
            other => other.to_string(),
        };
        Ok(Meta {
            name: DEFAULT.to_owned(),
            metadata: Map::new(),
            endpoints: [(
                DOCKER.to_owned(),
                MetaEndpoint {
                    host,
                    skip_tls_verify: false,
                },
            )]
            .into(),
        })
    }

    fn read(&self, name: &str) -> Result<Meta, Failure> {
        match name {
            DEFAULT => self.default(),
            name => self.contexts.read(name),
        }
    }

    fn list(&self, args: &LsArgs) -> Result<(), Failure> {
        let overridden = self
            .context
            .variable("DOCKER_HOST")
            .is_some_and(|host| !host.is_empty());
        if self.as_docker && overridden {
            self.context.ui.note(OVERRIDDEN);
        }
        let format = Format::read(args.format.as_deref())?;
        let current = self.current();
        let mut all = self.contexts.all()?;
        all.push(self.default()?);
        let mut rows: Vec<(String, Value)> = all.iter().map(|meta| row(meta, &current)).collect();
        if !all.iter().any(|meta| meta.name == current) {
            let error = self.read(&current).err().and_then(|failure| failure.report);
            let error = error.map(|report| report.headline).unwrap_or_default();
            let (name, mut missing) = row(
                &Meta {
                    name: current.clone(),
                    ..Meta::default()
                },
                &current,
            );
            missing["Error"] = error.into();
            rows.push((name, missing));
        }
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        if args.quiet {
            return rows
                .iter()
                .try_for_each(|(name, _)| self.context.ui.line(name));
        }
        let mark = |(name, mut row): (String, Value)| {
            // Only the table marks it in the name.
            if matches!(format, Format::Table) && name == current {
                row["Name"] = format!("{name} *").into();
            }
            row
        };
        let rows: Vec<Value> = rows.into_iter().map(mark).collect();
        listing::print(&self.context.ui, &format, COLUMNS, &rows)
    }

    fn inspect(&self, args: InspectContextArgs) -> Result<(), Failure> {
        let names = match args.names.is_empty() {
            true => vec![self.current()],
            false => args.names,
        };
        let args = InspectArgs {
            names,
            format: args.format,
        };
        let mut found = Vec::new();
        let mut failed = None;
        for name in &args.names {
            match self.describe(name) {
                Ok(value) => found.push(value),
                Err(failure) => failed = Some(failure),
            }
        }
        listing::inspect(&self.context.ui, args.format.as_deref(), &found)?;
        failed.map_or(Ok(()), Err)
    }

    fn describe(&self, name: &str) -> Result<Value, Failure> {
        let meta = self.read(name)?;
        let mut value = serde_json::to_value(&meta)?;
        let (metadata, tls) = match name {
            DEFAULT => (NOWHERE.to_owned(), NOWHERE.to_owned()),
            name => (
                self.contexts.metadata(name).display().to_string(),
                self.contexts.tls(name).display().to_string(),
            ),
        };
        let certificates = self.contexts.certificates(name);
        let files: Vec<&str> = CERTIFICATES
            .into_iter()
            .filter(|file| name != DEFAULT && certificates.join(file).exists())
            .collect();
        value["TLSMaterial"] = match files.is_empty() {
            true => json!({}),
            false => json!({ DOCKER: files }),
        };
        value["Storage"] = json!({ "MetadataPath": metadata, "TLSPath": tls });
        Ok(value)
    }

    fn create(&self, args: CreateArgs) -> Result<(), Failure> {
        check_name(&args.name)?;
        if self.contexts.has(&args.name) {
            return Err(
                Failure::new(format!("context \"{}\" already exists", args.name))
                    .hint("`context update` changes it"),
            );
        }
        let source = args.from.unwrap_or_else(|| self.current());
        let (mut meta, mut certificates) = self.copied(&source)?;
        if !args.docker.is_empty() {
            (meta.endpoints, certificates) = self.endpoints(&args.docker)?;
        }
        meta.name.clone_from(&args.name);
        self.write(meta, args.description, Some(&certificates))?;
        self.context.ui.line(&args.name)?;
        self.say(&format!("Successfully created context \"{}\"", args.name))
    }

    fn update(&self, args: UpdateArgs) -> Result<(), Failure> {
        check_name(&args.name)?;
        let mut meta = self.contexts.read(&args.name)?;
        let mut certificates = None;
        if !args.docker.is_empty() {
            let (endpoints, files) = self.endpoints(&args.docker)?;
            meta.endpoints = endpoints;
            certificates = Some(files);
        }
        self.write(meta, args.description, certificates.as_deref())?;
        self.context.ui.line(&args.name)?;
        self.say(&format!("Successfully updated context \"{}\"", args.name))
    }

    fn write(
        &self,
        mut meta: Meta,
        description: Option<String>,
        certificates: Option<&[Certificate]>,
    ) -> Result<(), Failure> {
        if let Some(description) = description {
            meta.metadata
                .insert("Description".to_owned(), description.into());
        }
        self.contexts.write(&meta, certificates)
    }

    /// A context and its certificates.
    fn copied(&self, name: &str) -> Result<(Meta, Vec<Certificate>), Failure> {
        let meta = self.read(name)?;
        if name == DEFAULT {
            return Ok((meta, Vec::new()));
        }
        let place = self.contexts.certificates(name);
        let read = |file| Some((file, fs::read(place.join(file)).ok()?));
        Ok((meta, CERTIFICATES.into_iter().filter_map(read).collect()))
    }

    /// What `--docker` says.
    fn endpoints(
        &self,
        options: &[String],
    ) -> Result<(indexmap::IndexMap<String, MetaEndpoint>, Vec<Certificate>), Failure> {
        let mut endpoint = MetaEndpoint::default();
        let mut certificates: Vec<Certificate> = Vec::new();
        for option in options {
            let (key, value) = option.split_once('=').ok_or_else(|| {
                Failure::new(format!("cannot use --docker {option}"))
                    .hint("write it as KEY=VALUE, for example host=tcp://box:2376")
            })?;
            let mut keep = |name| -> Result<(), Failure> {
                let path = self.context.absolute(value);
                let content = fs::read(&path).map_err(|error| {
                    Failure::from(error).context(format!("cannot read {}", path.display()))
                })?;
                certificates.push((name, content));
                Ok(())
            };
            match key {
                "host" => value.clone_into(&mut endpoint.host),
                "skip-tls-verify" => {
                    endpoint.skip_tls_verify = value
                        .parse()
                        .map_err(|_| Failure::new(format!("{option}: give true or false")))?;
                }
                "ca" => keep("ca.pem")?,
                "cert" => keep("cert.pem")?,
                "key" => keep("key.pem")?,
                "from" => {
                    let (meta, files) = self.copied(value)?;
                    endpoint = meta.endpoints.get(DOCKER).cloned().unwrap_or_default();
                    certificates = files;
                }
                _ => {
                    return Err(Failure::new(format!("{key}: unrecognized config key"))
                        .hint("--docker knows host, ca, cert, key, skip-tls-verify, from"));
                }
            }
        }
        if endpoint.host.is_empty() {
            endpoint.host = self.default()?.host().to_owned();
        }
        Endpoint::parse(&endpoint.host).map_err(|_| {
            Failure::new(format!("unable to parse docker host `{}`", endpoint.host))
                .hint("write it as unix:///path/of/the.sock, tcp://HOST:PORT or ssh://USER@HOST")
        })?;
        Ok(([(DOCKER.to_owned(), endpoint)].into(), certificates))
    }

    fn remove(&self, args: &RmArgs) -> Result<(), Failure> {
        let current = self.contexts.current();
        let remove = async |name: &str| {
            if name == DEFAULT {
                return Err(Failure::new("context \"default\" cannot be removed"));
            }
            if !self.contexts.has(name) && !args.force {
                return Err(Failure::new(format!("context \"{name}\" does not exist")));
            }
            if current.as_deref() == Some(name) {
                if !args.force {
                    return Err(Failure::new(format!(
                        "context \"{name}\" is in use, set -f flag to force remove"
                    )));
                }
                self.contexts.choose(DEFAULT)?;
            }
            self.contexts.remove(name)?;
            self.context.ui.line(name)
        };
        connect::wait_for(each(self.context, &args.names, remove))
    }

    fn choose(&self, name: &str) -> Result<(), Failure> {
        if name != DEFAULT {
            self.contexts.read(name)?;
        }
        self.contexts.choose(name)?;
        self.context.ui.line(name)?;
        self.say(&format!("Current context is now \"{name}\""))?;
        if self.context.variable("DOCKER_HOST").is_some() && name != DEFAULT {
            self.context.ui.warn(&format!(
                "DOCKER_HOST environment variable overrides the active context. To use \"{name}\", either set the global --context flag, or unset DOCKER_HOST environment variable."
            ));
        } else if !self.as_docker {
            self.context.ui.warn(
                "hoist goes on with its own engine: what is chosen here is for `docker`, or for hoist started as docker; --context or DOCKER_CONTEXT chooses for hoist",
            );
        }
        Ok(())
    }

    /// What is for people, not for scripts.
    fn say(&self, text: &str) -> Result<(), Failure> {
        self.context.ui.error_bytes(format!("{text}\n").as_bytes())
    }
}

fn row(meta: &Meta, current: &str) -> (String, Value) {
    let is_default = meta.name == DEFAULT;
    let row = json!({
        "Current": meta.name == current,
        "Description": if is_default { DEFAULT_DESCRIPTION } else { meta.description() },
        "DockerEndpoint": meta.host(),
        "Error": "",
        "Name": meta.name,
    });
    (meta.name.clone(), row)
}

/// Docker's rule: a letter or digit, then at least one of those or `_.+-`.
fn check_name(name: &str) -> Result<(), Failure> {
    if name == DEFAULT {
        return Err(Failure::new("\"default\" is a reserved context name"));
    }
    let is_first = |c: char| c.is_ascii_alphanumeric();
    let mut letters = name.chars();
    let is_valid = letters.next().is_some_and(is_first)
        && name.len() > 1
        && letters.all(|c| is_first(c) || "_.+-".contains(c));
    if is_valid {
        return Ok(());
    }
    Err(Failure::new(format!(
        "context name \"{name}\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )))
}
