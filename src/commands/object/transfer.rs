//! `hoist image pull|push|save|prune`, `hoist login`, `hoist logout`: images on their way, and the passwords for that.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::Args;
use futures_util::StreamExt;
use hoist_api::build::RegistryLogin;
use hoist_api::client::Client;
use hoist_api::engine::ProgressStream;
use hoist_api::image::{PullImage, PushImage};
use hoist_api::{ApiError, Engine, Filters, ImageRef};
use hoist_registry::auth::AuthConfig;
use hoist_registry::docker_config::DockerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::container::state::agreed;
use crate::commands::values::PlatformName;
use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::human;
use crate::ui::transfer::Transfer;

/// `image pull`.
#[derive(Args, Debug, Clone)]
pub(crate) struct PullArgs {
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    pub(crate) reference: String,

    /// Pull every tag of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,

    /// Platform to take from a list, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<String>,

    /// Print nothing but the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `image push`.
#[derive(Args, Debug, Clone)]
pub(crate) struct PushArgs {
    /// The image, named for its registry
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: String,

    /// Push all tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,

    /// Only when the image is for this platform, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<PlatformName>,

    /// Print nothing but the image's name
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `image save`.
#[derive(Args, Debug, Clone)]
pub(crate) struct SaveArgs {
    /// Images
    #[arg(value_name = "IMAGE", required = true)]
    pub(crate) images: Vec<String>,

    /// Where to write the archive (default: standard output)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,

    /// Only when the images are for this platform, as os/arch[/variant]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<PlatformName>,
}

/// `image prune`.
#[derive(Args, Debug, Clone)]
pub(crate) struct PruneArgs {
    /// Every image that no container uses, not only those without a tag
    #[arg(short, long)]
    pub(crate) all: bool,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,

    /// Only some, as until=24h or label=key=value; repeatable
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// Log in to a registry
#[derive(Args, Debug, Clone)]
pub(crate) struct LoginArgs {
    /// The registry (default: docker.io)
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,

    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// Password; better give it with --password-stdin
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub(crate) password: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// Log out from a registry
#[derive(Args, Debug, Clone)]
pub(crate) struct LogoutArgs {
    /// The registry (default: docker.io)
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

const HUB: &str = "docker.io";

/// The stored credentials for an image's registry, as the engine takes them; empty when there are none.
///
/// # Errors
/// The file of passwords is unreadable, or a credential helper fails.
pub(crate) fn stored_auth(reference: &str) -> Result<String, Failure> {
    let name: ImageRef = reference
        .parse()
        .map_err(|error| Failure::new(format!("{reference:?} is not an image's name: {error}")))?;
    auth_for(name.domain())
}

/// The stored credentials for a registry, as the engine takes them; empty when there are none.
///
/// # Errors
/// As [`stored_auth`].
pub(crate) fn auth_for(domain: &str) -> Result<String, Failure> {
    let Some(path) = DockerConfig::default_path() else {
        return Ok(String::new());
    };
    let auth = DockerConfig::read(&path).and_then(|config| config.auth(domain));
    let auth = auth.map_err(|error| Failure::new(error.to_string()))?;
    let is_empty =
        auth.username.is_empty() && auth.identitytoken.is_empty() && auth.registrytoken.is_empty();
    Ok(if is_empty {
        String::new()
    } else {
        auth.to_header()
    })
}

/// All stored credentials, for builds: only the engine learns which of them it needs.
pub(crate) fn stored_logins() -> BTreeMap<String, RegistryLogin> {
    let config = DockerConfig::default_path().and_then(|path| DockerConfig::read(&path).ok());
    let all = config.map(|config| config.all()).unwrap_or_default();
    let logins = all.into_iter();
    logins
        .map(|(domain, auth)| (domain, RegistryLogin(auth.to_header())))
        .collect()
}

/// Pulls an image.
pub(crate) async fn pull(
    context: &Context,
    engine: &Client,
    args: PullArgs,
) -> Result<(), Failure> {
    let request = PullImage {
        auth: stored_auth(&args.reference)?,
        reference: args.reference.clone(),
        platform: args.platform.unwrap_or_default(),
    };
    let cannot =
        |error: ApiError| Failure::from(error).context(format!("cannot pull {}", args.reference));
    let bare = is_tag_left_out(&args.reference);
    if args.all_tags && !bare {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !args.quiet && bare && !args.all_tags {
        context.ui.line("Using default tag: latest")?;
    }
    let lines = match args.all_tags {
        true => engine.image_pull_all(&request).await,
        false => engine.image_pull(&request).await,
    };
    show(lines.map_err(cannot)?, args.quiet, cannot).await?;
    let name: ImageRef = args
        .reference
        .parse()
        .map_err(|_| Failure::new("the engine pulled a name that is none"))?;
    let full = name.full();
    context.ui.line(match args.all_tags {
        true => full.strip_suffix(":latest").unwrap_or(&full),
        false => &full,
    })
}

fn is_tag_left_out(reference: &str) -> bool {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    !last.contains([':', '@'])
}

/// Pushes an image.
pub(crate) async fn push(
    context: &Context,
    engine: &Client,
    args: PushArgs,
) -> Result<(), Failure> {
    let mut reference = args.reference.clone();
    if is_tag_left_out(&reference) && !args.all_tags {
        if !args.quiet {
            context.ui.line("Using default tag: latest")?;
        }
        reference.push_str(":latest");
    }
    if args.all_tags && !is_tag_left_out(&reference) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    let request = PushImage {
        auth: stored_auth(&reference)?,
        reference,
    };
    let cannot =
        |error: ApiError| Failure::from(error).context(format!("cannot push {}", args.reference));
    let platform = args.platform.as_ref().map(|platform| &platform.0);
    let lines = engine
        .image_push_of(&request, platform)
        .await
        .map_err(cannot)?;
    show(lines, args.quiet, cannot).await?;
    if args.quiet {
        context.ui.line(&request.reference)?;
    }
    Ok(())
}

async fn show(
    mut lines: ProgressStream,
    quiet: bool,
    cannot: impl Fn(ApiError) -> Failure,
) -> Result<(), Failure> {
    let mut transfer = Transfer::new();
    while let Some(line) = lines.next().await {
        let line = line.map_err(&cannot)?;
        if !quiet {
            transfer.show(&line)?;
        }
    }
    Ok(())
}

/// Writes images as an archive.
pub(crate) async fn save(
    context: &Context,
    engine: &Client,
    args: SaveArgs,
) -> Result<(), Failure> {
    let path = args.output.filter(|path| path != "-");
    if path.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::new("cannot write an archive to a terminal")
            .hint("name a file with -o, or redirect the output"));
    }
    let mut pieces = engine
        .image_save_of(&args.images, args.platform.as_ref().map(|one| &one.0))
        .await?;
    let Some(path) = path else {
        while let Some(piece) = pieces.next().await {
            context.ui.bytes(&piece?)?;
        }
        return Ok(());
    };
    // Beside its place first: a cut archive must not look like one.
    let staged = format!("{path}.{}", std::process::id());
    let cannot =
        |error: std::io::Error| Failure::from(error).context(format!("cannot write {path}"));
    let written = async {
        let mut file = tokio::fs::File::create(&staged).await.map_err(cannot)?;
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?).await.map_err(cannot)?;
        }
        file.flush().await.map_err(cannot)?;
        tokio::fs::rename(&staged, &path).await.map_err(cannot)
    };
    let outcome = written.await;
    if outcome.is_err() {
        // There may be none.
        let _ = tokio::fs::remove_file(&staged).await;
    }
    outcome
}

/// Removes images that nothing uses.
pub(crate) async fn prune(
    context: &Context,
    engine: &Client,
    args: PruneArgs,
) -> Result<(), Failure> {
    let mut filters = Filters::new();
    if args.all {
        filters = filters.with("dangling", "false");
    }
    for filter in &args.filter {
        let (key, value) = filter
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("{filter:?} is not a filter: give NAME=VALUE")))?;
        let value = if key == "until" {
            until(value)?
        } else {
            value.to_owned()
        };
        filters = filters.with(key, value);
    }
    let what = if args.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    if !args.force && !agreed(context, &format!("This will remove {what}.")).await? {
        return Ok(());
    }
    let pruned = engine.images_prune(&filters).await?;
    let deleted = pruned.images_deleted;
    if !deleted.is_empty() {
        context.ui.line("Deleted Images:")?;
        for step in deleted {
            let line = if step.untagged.is_empty() {
                format!("deleted: {}", step.deleted)
            } else {
                format!("untagged: {}", step.untagged)
            };
            context.ui.line(&line)?;
        }
        context.ui.line("")?;
    }
    let space = human::size(u64::try_from(pruned.space_reclaimed).unwrap_or(0));
    context.ui.line(&format!("Total reclaimed space: {space}"))
}

/// A time, or how long ago: the engine takes only times.
fn until(text: &str) -> Result<String, Failure> {
    match text.parse::<jiff::Span>() {
        Ok(ago) => jiff::Timestamp::now()
            .checked_sub(
                jiff::SignedDuration::try_from(ago)
                    .map_err(|error| Failure::new(error.to_string()))?,
            )
            .map(|time| time.to_string())
            .map_err(|error| Failure::new(format!("until={text}: {error}"))),
        Err(_) => Ok(text.to_owned()),
    }
}

/// Checks a password and keeps it.
///
/// # Errors
/// It is refused, or cannot be kept.
pub(crate) async fn login(context: &Context, args: LoginArgs) -> Result<(), Failure> {
    let server = server_of(args.server.as_deref());
    let path = DockerConfig::default_path()
        .ok_or_else(|| Failure::new("cannot keep a password: HOME is not set"))?;
    let mut config = DockerConfig::read(&path).map_err(|error| Failure::new(error.to_string()))?;
    let stored = config
        .auth(&server)
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut auth = asked_for(context, args, stored).await?;
    auth.serveraddress.clone_from(&server);
    let engine = connect::engine(context).await?;
    let body = serde_json::to_value(&auth)?;
    let outcome = engine.registry_login(&body).await?;
    auth.identitytoken = outcome.identity_token;
    config
        .store(&server, &auth)
        .map_err(|error| Failure::new(error.to_string()))?;
    if config.helper_of(&server).is_none() && auth.identitytoken.is_empty() {
        context.ui.warn(&format!(
            "the password is stored unencrypted in {}; a credential helper (credsStore) keeps it better",
            path.display()
        ));
    }
    context.ui.line(&outcome.status)
}

/// The name and the password, from options, standard input, the terminal, or what is known.
async fn asked_for(
    context: &Context,
    args: LoginArgs,
    stored: AuthConfig,
) -> Result<AuthConfig, Failure> {
    let with = |username: String, password: String| AuthConfig {
        username,
        password,
        ..AuthConfig::default()
    };
    if args.password_stdin {
        let username = args
            .username
            .ok_or_else(|| Failure::new("must provide --username with --password-stdin"))?;
        let mut password = String::new();
        tokio::io::stdin()
            .read_to_string(&mut password)
            .await
            .map_err(|error| Failure::from(error).context("cannot read the password"))?;
        let password = password.trim_end_matches(['\n', '\r']).to_owned();
        return Ok(with(username, password));
    }
    if let (Some(username), Some(password)) = (&args.username, &args.password) {
        context
            .ui
            .warn("a password on the command line can be seen by others; use --password-stdin");
        return Ok(with(username.clone(), password.clone()));
    }
    if args.username.is_none() && args.password.is_none() && !stored.username.is_empty() {
        context
            .ui
            .note("Authenticating with existing credentials...");
        return Ok(stored);
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::new("cannot perform an interactive login from a non TTY device")
                .hint("give --username and --password-stdin"),
        );
    }
    let username = match args.username {
        Some(username) => username,
        None => crate::ui::terminal::ask("Username: ")?,
    };
    let password = match args.password {
        Some(password) => password,
        None => crate::ui::terminal::ask_secret("Password: ")?,
    };
    Ok(with(username, password))
}

/// Forgets a password.
///
/// # Errors
/// The file of passwords or the helper fails.
pub(crate) fn logout(context: &Context, args: &LogoutArgs) -> Result<(), Failure> {
    let server = server_of(args.server.as_deref());
    let erased = match DockerConfig::default_path() {
        None => Ok(false),
        Some(path) => DockerConfig::read(&path).and_then(|mut config| config.erase(&server)),
    };
    let text = match erased.map_err(|error| Failure::new(error.to_string()))? {
        // `docker` says so whatever there is.
        removed if removed || context.ui.as_docker => {
            format!("Removing login credentials for {server}")
        }
        _ => format!("Not logged in to {server}"),
    };
    context.ui.line(&text)
}

fn server_of(given: Option<&str>) -> String {
    let bare = given.unwrap_or(HUB);
    let bare = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
        .unwrap_or(bare);
    match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => HUB.to_owned(),
        host => host.to_owned(),
    }
}
