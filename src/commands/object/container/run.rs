//! `container run`, `create`, `start -a`, `attach`, `exec`: containers that our streams are joined with.

use std::io::IsTerminal;

use clap::Args;
use futures_util::StreamExt;
use hoist_api::client::Client;
use hoist_api::container::{AttachOptions, ContainerCreate, WaitCondition};
use hoist_api::engine::Attached;
use hoist_api::image::PullImage;
use hoist_api::{ApiError, Engine, ErrorKind};

use super::body;
use super::flags::CreateFlags;
use crate::commands::exec::{exit_code, left, not_started};
use crate::commands::object::transfer::stored_auth;
use crate::context::Context;
use crate::failure::Failure;
use crate::streams::{DetachKeys, Parted, Signals, Wiring};

/// The exit code of `docker run` when the engine refuses.
const REFUSED: u8 = 125;

/// Create a container and run a command in it
#[derive(Args, Debug, Clone)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerRunArgs {
    #[command(flatten)]
    pub(crate) create: CreateFlags,

    /// Leave it running in the background and print its id
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Keys that leave it running and come back
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,

    /// Send it the signals that we get
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,

    /// The image, then the command with its arguments
    #[arg(value_names = ["IMAGE", "COMMAND", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true, allow_hyphen_values = false)]
    pub(crate) words: Vec<String>,
}

/// Create a container without starting it
#[derive(Args, Debug, Clone)]
#[command(disable_help_flag = true)]
pub(crate) struct ContainerCreateArgs {
    #[command(flatten)]
    pub(crate) create: CreateFlags,

    /// The image, then the command with its arguments
    #[arg(value_names = ["IMAGE", "COMMAND", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    pub(crate) words: Vec<String>,
}

/// Join our streams with a running container's
#[derive(Args, Debug, Clone)]
pub(crate) struct ContainerAttachArgs {
    /// Keys that leave it running and come back
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,

    /// Do not send it our input
    #[arg(long)]
    pub(crate) no_stdin: bool,

    /// Send it the signals that we get
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) name: String,
}

/// How a container is followed after its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Following {
    /// How streams are joined.
    pub(crate) wiring: Wiring,
    /// Which streams; input as the wiring says.
    pub(crate) output: (bool, bool),
    /// Our signals go to it.
    pub(crate) signals: bool,
    /// The engine removes it when it ends.
    pub(crate) removed: bool,
}

/// Makes a container and prints its id.
///
/// # Errors
/// An option is wrong, or the engine refuses.
pub(super) async fn create(
    context: &Context,
    engine: &Client,
    args: ContainerCreateArgs,
) -> Result<(), Failure> {
    let request = body::request(context, &args.create, &args.words)
        .map_err(|failure| failure.with_exit(REFUSED))?;
    let id = make(context, engine, &args.create, &request).await?;
    context.ui.line(&id)
}

/// Makes a container, starts it, and follows it to its end unless told otherwise; leaves with its code.
///
/// # Errors
/// Code 125 when the engine refuses, 126 and 127 when the command cannot be executed, else the container's own.
pub(super) async fn run(
    context: &Context,
    engine: &Client,
    args: ContainerRunArgs,
) -> Result<(), Failure> {
    let refused = |failure: Failure| failure.with_exit(REFUSED);
    let mut request = body::request(context, &args.create, &args.words).map_err(refused)?;
    let process = &args.create.process;
    if args.detach && (!process.attach.is_empty() || args.create.rm && args.detach_keys.is_some()) {
        return Err(Failure::new(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    if process.tty && process.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY").hint("leave out -t"));
    }
    let named = |stream: &str| {
        process
            .attach
            .iter()
            .any(|s| s.eq_ignore_ascii_case(stream))
    };
    let all = process.attach.is_empty();
    let input = !args.detach && process.interactive && (all || named("stdin"));
    let config = &mut request.config;
    config.attach_stdin = input;
    config.stdin_once = input;
    config.attach_stdout = !args.detach && (all || named("stdout"));
    config.attach_stderr = !args.detach && (all || named("stderr"));
    let following = Following {
        wiring: Wiring {
            terminal: process.tty,
            input,
            keys: args.detach_keys.clone().unwrap_or_default(),
            silent: false,
        },
        output: (config.attach_stdout, config.attach_stderr),
        signals: args.sig_proxy,
        removed: args.create.rm,
    };
    let id = make(context, engine, &args.create, &request)
        .await
        .map_err(refused)?;
    if args.detach {
        engine.container_start(&id).await.map_err(start_failure)?;
        return context.ui.line(&id);
    }
    follow(context, engine, &id, &following).await
}

/// Creates the container; fetches the image when it is missing or always wanted.
async fn make(
    context: &Context,
    engine: &Client,
    flags: &CreateFlags,
    request: &ContainerCreate,
) -> Result<String, Failure> {
    let id_file = flags.cidfile.as_deref().map(IdFile::create).transpose()?;
    let image = &request.config.image;
    let platform = flags.platform.as_deref().unwrap_or_default();
    if flags.pull == "always" {
        fetch(context, engine, (image, platform), flags.quiet).await?;
    }
    let name = flags.name.as_deref().unwrap_or_default();
    let created = match engine.container_create_of(name, platform, request).await {
        Err(error) if is_missing_image(&error) && flags.pull == "missing" => {
            let last = image.rsplit('/').next().unwrap_or(image);
            let tag = if last.contains([':', '@']) {
                ""
            } else {
                ":latest"
            };
            context
                .ui
                .note(&format!("Unable to find image '{image}{tag}' locally"));
            fetch(context, engine, (image, platform), flags.quiet).await?;
            engine.container_create_of(name, platform, request).await?
        }
        outcome => outcome?,
    };
    created
        .warnings
        .iter()
        .for_each(|warning| context.ui.warn(warning));
    if let Some(file) = id_file {
        file.write(&created.id)?;
    }
    Ok(created.id)
}

fn is_missing_image(error: &ApiError) -> bool {
    error.is(ErrorKind::NotFound) && error.message.to_lowercase().contains("no such image")
}

async fn fetch(
    context: &Context,
    engine: &Client,
    (image, platform): (&str, &str),
    quiet: bool,
) -> Result<(), Failure> {
    let cannot = |error: ApiError| Failure::from(error).context(format!("cannot fetch {image}"));
    let pull = PullImage {
        reference: image.to_owned(),
        platform: platform.to_owned(),
        auth: stored_auth(image)?,
    };
    let mut progress = engine.image_pull(&pull).await.map_err(cannot)?;
    while let Some(step) = progress.next().await {
        let step = step.map_err(cannot)?;
        let done = step
            .progress_detail
            .is_none_or(|detail| detail.current.is_none());
        if !quiet && done && !step.status.is_empty() {
            let line = match step.id.is_empty() {
                true => step.status,
                false => format!("{}: {}", step.id, step.status),
            };
            context.ui.note(&line);
        }
    }
    Ok(())
}

/// A file for the container's id, which did not exist before; removed again when nothing comes of the container.
struct IdFile<'a> {
    path: &'a str,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn create(path: &'a str) -> Result<Self, Failure> {
        let mut options = std::fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| {
                Failure::from(error)
                    .context(format!("cannot create the container ID file {path}"))
                    .hint("it must not exist: another container may have written it")
            })?;
        Ok(IdFile {
            path,
            written: false,
        })
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        self.written = true;
        std::fs::write(self.path, id)
            .map_err(|error| Failure::from(error).context(format!("cannot write {}", self.path)))
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // An empty file would only be in the way.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

/// Why a start failed, with the code that `docker run` leaves.
pub(crate) fn start_failure(error: ApiError) -> Failure {
    let failure = not_started(error);
    match failure.exit {
        code @ (126 | 127) => failure.with_exit(code),
        _ => failure.with_exit(REFUSED),
    }
}

/// Attaches to a container that was made, starts it, and stays until it ends; leaves with its code.
///
/// # Errors
/// As [`run`].
pub(crate) async fn follow(
    context: &Context,
    engine: &Client,
    id: &str,
    following: &Following,
) -> Result<(), Failure> {
    let code = follow_to_code(context, engine, id, following).await?;
    match code {
        0 => Ok(()),
        code => Err(Failure::exit(exit_code(code))),
    }
}

/// As [`follow`]; the code is 0 when it was left running.
///
/// # Errors
/// It cannot be started, or the engine was lost.
pub(crate) async fn follow_to_code(
    context: &Context,
    engine: &Client,
    id: &str,
    following: &Following,
) -> Result<i64, Failure> {
    let mut signals = following.signals.then(Signals::catch);
    let refused = |error: ApiError| Failure::from(error).with_exit(REFUSED);
    let attached = attach(engine, id, following).await.map_err(refused)?;
    let condition = match following.removed {
        true => WaitCondition::Removed,
        false => WaitCondition::NextExit,
    };
    let end = engine
        .container_wait_begin(id, condition)
        .await
        .map_err(refused)?;
    if let Err(error) = engine.container_start(id).await {
        if following.removed {
            // Docker's engine removes it by itself; whoever is second finds nothing.
            let _ = engine
                .container_remove(
                    id,
                    hoist_api::container::RemoveContainer {
                        force: true,
                        volumes: true,
                    },
                )
                .await;
        }
        return Err(start_failure(error));
    }
    let resize = async |size| {
        // A container that has just ended has no terminal.
        let _ = engine.container_resize(id, size).await;
    };
    let stay = async {
        if following.wiring.join(context, attached, resize).await? == Parted::Detached {
            return Ok(0);
        }
        Ok::<i64, Failure>(end.await?.status_code)
    };
    let forward = async {
        match &mut signals {
            Some(signals) => match signals.forward(engine, id).await {},
            None => std::future::pending::<()>().await,
        }
    };
    tokio::select! {
        code = stay => code,
        () = forward => Ok(0),
    }
}

async fn attach(engine: &Client, id: &str, following: &Following) -> hoist_api::Result<Attached> {
    let options = AttachOptions {
        stdin: following.wiring.input,
        stdout: following.output.0,
        stderr: following.output.1,
        ..AttachOptions::default()
    };
    if !(options.stdin || options.stdout || options.stderr) {
        return Ok(Attached {
            // Nothing to follow: what is left is to wait for its end.
            output: futures_util::stream::empty().boxed(),
            input: Box::pin(tokio::io::sink()),
        });
    }
    engine.container_attach(id, options).await
}

/// Joins our streams with a running container's; leaves with its code when it ends.
///
/// # Errors
/// It does not run, or the engine was lost.
pub(crate) async fn attach_running(
    context: &Context,
    engine: &Client,
    args: &ContainerAttachArgs,
) -> Result<(), Failure> {
    let inspect = engine.container_inspect(&args.name).await?;
    if !inspect.state.running {
        return Err(Failure::new(
            "cannot attach to a stopped container, start it first",
        ));
    }
    if inspect.state.paused {
        return Err(Failure::new(
            "cannot attach to a paused container, unpause it first",
        ));
    }
    let terminal = inspect.config.tty;
    let input = !args.no_stdin && inspect.config.open_stdin;
    if terminal && input && !std::io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY").hint("add --no-stdin"));
    }
    let options = AttachOptions {
        stdin: input,
        ..AttachOptions::default()
    };
    let mut signals = (args.sig_proxy && !terminal).then(Signals::catch);
    let end = engine
        .container_wait_begin(&inspect.id, WaitCondition::NotRunning)
        .await?;
    let attached = engine.container_attach(&inspect.id, options).await?;
    let wiring = Wiring {
        terminal,
        input,
        keys: args.detach_keys.clone().unwrap_or_default(),
        silent: false,
    };
    let id = inspect.id.as_str();
    let resize = async |size| {
        let _ = engine.container_resize(id, size).await;
    };
    let stay = async {
        if wiring.join(context, attached, resize).await? == Parted::Detached {
            return left(context);
        }
        Ok::<i64, Failure>(end.await?.status_code)
    };
    let forward = async {
        match &mut signals {
            Some(signals) => match signals.forward(engine, id).await {},
            None => std::future::pending::<()>().await,
        }
    };
    let code = tokio::select! {
        code = stay => code?,
        () = forward => 0,
    };
    match code {
        0 => Ok(()),
        code => Err(Failure::exit(exit_code(code))),
    }
}
