//! `hoist info` and `hoist system version`: what engine and machine are, laid out as Docker does.

use clap::Args;
use hoist_api::Engine;
use serde_json::{Value, json};

use crate::connect;
use crate::context::Context;
use crate::failure::Failure;
use crate::template::Template;
use crate::ui::human;

/// Show facts about the engine and its machine
#[derive(Args, Debug, Clone)]
pub(crate) struct InfoArgs {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// Prints a value as `--format` says; `None` when it says nothing.
fn formatted(context: &Context, args: &InfoArgs, value: &Value) -> Option<Result<(), Failure>> {
    let text = match args.format.as_deref().map(str::trim).unwrap_or_default() {
        "" => return None,
        "json" => Ok(value.to_string()),
        text => Template::parse(text).and_then(|template| template.render(value)),
    };
    Some(
        text.map_err(Failure::from)
            .and_then(|text| context.ui.line(&text)),
    )
}

/// Prints facts about the engine and its machine.
///
/// # Errors
/// The engine fails, or the template is wrong.
pub(crate) async fn info(context: &Context, args: InfoArgs) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    let mut info = engine.info_raw().await?;
    let client = client(context, engine.api_version());
    if let Some(facts) = info.as_object_mut() {
        facts.insert("ClientInfo".to_owned(), client_info(client.clone()));
    }
    if let Some(outcome) = formatted(context, &args, &info) {
        return outcome;
    }
    let current = context.globals.context.as_deref().unwrap_or("default");
    context.ui.line(&format!(
        "Client:\n Version:    {}\n Context:    {current}\n Debug Mode: false\n\nServer:",
        text(&client["Version"])
    ))?;
    let lines = facts(&info);
    lines
        .iter()
        .try_for_each(|line| context.ui.line(&format!(" {line}")))?;
    list(&info["Warnings"])
        .iter()
        .for_each(|warning| context.ui.note(warning));
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// What the engine says of itself, a line each.
fn facts(info: &Value) -> Vec<String> {
    let line = |title: &str, key: &str| format!("{title}: {}", text(&info[key]));
    let mut lines = vec![
        line("Containers", "Containers"),
        line(" Running", "ContainersRunning"),
        line(" Paused", "ContainersPaused"),
        line(" Stopped", "ContainersStopped"),
        line("Images", "Images"),
        line("Server Version", "ServerVersion"),
        line("Storage Driver", "Driver"),
    ];
    let pairs = info["DriverStatus"].as_array().into_iter().flatten();
    lines.extend(pairs.map(|pair| format!(" {}: {}", text(&pair[0]), text(&pair[1]))));
    lines.extend([
        line("Logging Driver", "LoggingDriver"),
        line("Cgroup Driver", "CgroupDriver"),
        line("Cgroup Version", "CgroupVersion"),
        "Plugins:".to_owned(),
    ]);
    for kind in ["Volume", "Network", "Log"] {
        let names = list(&info["Plugins"][kind]).join(" ");
        lines.push(format!(" {kind}: {names}"));
    }
    lines.push(format!("Swarm: {}", text(&info["Swarm"]["LocalNodeState"])));
    if let Some(runtimes) = info["Runtimes"].as_object() {
        let names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
        lines.push(format!("Runtimes: {}", names.join(" ")));
        lines.push(line("Default Runtime", "DefaultRuntime"));
    }
    lines.push(line("Init Binary", "InitBinary"));
    lines.extend(security(info));
    lines.extend(machine(info));
    lines
}

/// `name=seccomp,profile=builtin` as a name with its profile below.
fn security(info: &Value) -> Vec<String> {
    let options = list(&info["SecurityOptions"]);
    let mut lines: Vec<String> = Vec::new();
    for option in &options {
        for part in option.split(',') {
            match part.split_once('=') {
                Some(("name", name)) => lines.push(format!(" {name}")),
                Some(("profile", profile)) => lines.push(format!("  Profile: {profile}")),
                _ => {}
            }
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "Security Options:".to_owned());
    }
    lines
}

fn machine(info: &Value) -> Vec<String> {
    let line = |title: &str, key: &str| format!("{title}: {}", text(&info[key]));
    let memory = info["MemTotal"].as_u64().unwrap_or(0);
    let mut lines = vec![
        line("Kernel Version", "KernelVersion"),
        line("Operating System", "OperatingSystem"),
        line("OSType", "OSType"),
        line("Architecture", "Architecture"),
        line("CPUs", "NCPU"),
        format!("Total Memory: {}", human::binary_size(memory)),
        line("Name", "Name"),
        line("ID", "ID"),
        line("Docker Root Dir", "DockerRootDir"),
        line("Debug Mode", "Debug"),
        line("Experimental", "ExperimentalBuild"),
    ];
    let insecure = list(&info["RegistryConfig"]["InsecureRegistryCIDRs"]);
    if !insecure.is_empty() {
        lines.push("Insecure Registries:".to_owned());
        lines.extend(insecure.iter().map(|range| format!(" {range}")));
    }
    let mirrors = list(&info["RegistryConfig"]["Mirrors"]);
    if !mirrors.is_empty() {
        lines.push("Registry Mirrors:".to_owned());
        lines.extend(mirrors.iter().map(|mirror| format!(" {mirror}")));
    }
    lines.push(line("Live Restore Enabled", "LiveRestoreEnabled"));
    let pools = info["DefaultAddressPools"].as_array();
    if let Some(pools) = pools.filter(|pools| !pools.is_empty()) {
        lines.push("Default Address Pools:".to_owned());
        let shown = |pool: &Value| {
            format!(
                "  Base: {}, Size: {}",
                text(&pool["Base"]),
                text(&pool["Size"])
            )
        };
        lines.extend(pools.iter().map(shown));
    }
    lines
}

/// Prints the versions of both sides.
///
/// # Errors
/// The engine fails, or the template is wrong.
pub(super) async fn version(context: &Context, args: InfoArgs) -> Result<(), Failure> {
    let engine = connect::engine(context).await?;
    let server = serde_json::to_value(engine.version().await?)?;
    let client = client(context, engine.api_version());
    let current = text(&client["Context"]);
    let both = json!({"Client": client, "Server": server});
    if let Some(outcome) = formatted(context, &args, &both) {
        return outcome;
    }
    let platform = |side: &Value| format!("{}/{}", text(&side["Os"]), text(&side["Arch"]));
    let name = text(&server["Platform"]["Name"]);
    let lines = [
        "Client:".to_owned(),
        format!(" Version:           {}", text(&client["Version"])),
        format!(" API version:       {}", text(&client["ApiVersion"])),
        format!(" OS/Arch:           {}", platform(&client)),
        format!(" Context:           {current}"),
        String::new(),
        format!("Server: {name}").trim_end().to_owned(),
        " Engine:".to_owned(),
        format!("  Version:          {}", text(&server["Version"])),
        format!(
            "  API version:      {} (minimum version {})",
            text(&server["ApiVersion"]),
            text(&server["MinAPIVersion"])
        ),
        format!("  OS/Arch:          {}", platform(&server)),
    ];
    lines.iter().try_for_each(|line| context.ui.line(line))
}

/// What this side is. Under Docker's name, and for scripts, its version is the one of Docker that it is like.
fn client(context: &Context, (major, minor): (u16, u16)) -> Value {
    let ours = env!("CARGO_PKG_VERSION");
    let (newest_major, newest_minor) = hoist_api::API_VERSION;
    json!({
        "Version": if context.ui.as_docker { hoist_api::DOCKER_VERSION } else { ours },
        "ApiVersion": format!("{major}.{minor}"),
        "DefaultAPIVersion": format!("{newest_major}.{newest_minor}"),
        "GitCommit": format!("hoist-{ours}"),
        "GoVersion": "",
        "Os": std::env::consts::OS,
        "Arch": architecture(),
        "BuildTime": "",
        "Context": context.globals.context.as_deref().unwrap_or("default"),
    })
}

/// The part of `info` that is about this side: compose and builds need no plugins here, but scripts look for them in this list.
fn client_info(mut client: Value) -> Value {
    let Some(facts) = client.as_object_mut() else {
        return client;
    };
    facts.shift_insert(0, "Debug".to_owned(), false.into());
    facts.shift_remove("ApiVersion");
    facts.insert("Plugins".to_owned(), json!([]));
    facts.insert("Warnings".to_owned(), Value::Null);
    client
}

/// This machine's in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
