//! `hoist watch`: watch the sources of services and refresh their containers when they change.
//!
//! Each rule of `develop.watch` is a directory or file and an action. Changes are collected until none comes for a
//! moment, then each rule gets those beneath its path: files are copied into the service's containers, or the
//! service is restarted or built again. What cannot be done is told, and watching goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use hoist_api::Engine;
use hoist_api::archive::PutArchive;
use hoist_api::client::Client;
use hoist_api::engine::{StopOptions, body_of};
use hoist_api::exec::{ExecCreate, ExecStart};
use hoist_compose::model::{Hook, Project, Watch};

use super::up::{self, UpArgs};
use super::watch_places::{Places, without_links};
use crate::connect;
use crate::context::{Context, check_services};
use crate::failure::{Failure, INTERRUPTED};
use crate::members::{self, Member};
use crate::patterns::Patterns;
use crate::signals;
use crate::ui::Ui;

/// How long nothing may change before what has changed is acted on.
const QUIET: Duration = Duration::from_millis(300);

/// What editors and tools leave beside the files that are meant.
const ALWAYS_IGNORED: [&str; 9] = [
    "**/.git",
    "**/*.swp",
    "**/*.swx",
    "**/*~",
    "**/.#*",
    "**/#*#",
    "**/4913",
    "**/.idea",
    "**/___jb_*___",
];

/// Watch the sources and refresh containers when they change
#[derive(Args, Debug, Clone)]
pub(crate) struct WatchArgs {
    /// Services (default: all that say what to watch)
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,

    /// Do not build and start the services before
    #[arg(long)]
    pub(crate) no_up: bool,

    /// Remove images that a rebuild has replaced
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) prune: bool,

    /// Do not show how images are built
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Watches until interrupted.
///
/// # Errors
/// The files are wrong, nothing is to be watched, a path cannot be watched, or it was interrupted.
pub(crate) async fn run(context: &Context, args: WatchArgs) -> Result<(), Failure> {
    let project = context.load(&args.services)?;
    check_services(&project, &args.services)?;
    let rules = rules_of(&context.ui, &project, &args.services)?;
    if !args.no_up {
        let up = UpArgs {
            services: args.services.clone(),
            detach: true,
            quiet_build: args.quiet,
            ..UpArgs::default()
        };
        Box::pin(up::run(context, up)).await?;
    }
    let engine = connect::engine(context).await?;
    tokio::select! {
        outcome = follow(context, &engine, (&project.name, &rules)) => outcome,
        () = signals::interrupted() => Err(Failure::exit(INTERRUPTED)),
    }
}

/// A rule with what it needs to decide about a path.
#[derive(Debug)]
pub(crate) struct Rule {
    service: String,
    watch: Watch,
    path: PathBuf,
    ignore: Patterns,
    include: Patterns,
}

/// What the project's services, or the named ones, say about watching.
///
/// # Errors
/// None says anything.
pub(crate) fn rules_of(
    ui: &Ui,
    project: &Project,
    services: &[String],
) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    for (name, service) in &project.services {
        let Some(develop) = &service.develop else {
            continue;
        };
        if !services.is_empty() && !services.contains(name) {
            continue;
        }
        for watch in &develop.watch {
            let mut watch = watch.clone();
            if let Some(value) = watch.extensions.get("x-initialSync") {
                ui.warn(
                    "x-initialSync is DEPRECATED, please use the official `initial_sync` attribute",
                );
                watch.initial_sync |= value == true;
            }
            let path = PathBuf::from(&watch.path);
            let own = std::fs::read_to_string(path.join(".dockerignore")).unwrap_or_default();
            let texts = ALWAYS_IGNORED.into_iter().chain(own.lines());
            let texts = texts.chain(watch.ignore.iter().map(String::as_str));
            rules.push(Rule {
                service: name.clone(),
                ignore: Patterns::read(texts),
                include: Patterns::read(watch.include.iter().map(String::as_str)),
                path: without_links(&path),
                watch,
            });
        }
    }
    match rules.is_empty() {
        true => Err(
            Failure::new("none of the selected services is configured for watch")
                .hint("say what to watch in the service's `develop` section"),
        ),
        false => Ok(rules),
    }
}

/// Acts on changes whenever it is switched on; never ends by itself.
///
/// # Errors
/// A path cannot be watched.
pub(crate) async fn follow_while(
    context: &Context,
    engine: &Client,
    (project, rules): (&str, &[Rule]),
    mut switch: tokio::sync::watch::Receiver<bool>,
) -> Result<(), Failure> {
    loop {
        if switch.wait_for(|on| *on).await.is_err() {
            // Whoever switches has ended, and so ends this.
            return std::future::pending().await;
        }
        tokio::select! {
            outcome = follow(context, engine, (project, rules)) => return outcome,
            _ = switch.wait_for(|on| !*on) => {}
        }
    }
}

/// Acts on changes; never ends by itself.
///
/// # Errors
/// A path cannot be watched.
async fn follow(
    context: &Context,
    engine: &Client,
    (project, rules): (&str, &[Rule]),
) -> Result<(), Failure> {
    let paths = rules.iter().map(|rule| rule.path.clone());
    let (mut places, mut changed) = Places::watch(paths.collect())?;
    for path in places.absent() {
        let what = format!("{} is not there: it is watched once it is", path.display());
        context.ui.warn(&what);
    }
    let work = Work {
        context,
        engine,
        project,
    };
    for rule in rules.iter().filter(|rule| rule.watch.initial_sync) {
        let mut files = files_below(&rule.path);
        files.retain(|path| path.exists() && rule.wants(path));
        if !files.is_empty() {
            work.act_or_tell(rule, &files).await;
        }
    }
    context.ui.note("Watch enabled");
    while let Some(first) = changed.recv().await {
        let mut paths: BTreeSet<PathBuf> = first.into_iter().collect();
        while let Ok(Some(more)) = tokio::time::timeout(QUIET, changed.recv()).await {
            paths.extend(more);
        }
        // What was put into a new directory before it was watched is told by nobody.
        let mut new = places.follow(&paths)?;
        new.extend(paths.iter().filter(|path| path.is_dir()).cloned());
        paths.extend(new.iter().flat_map(|directory| files_below(directory)));
        let begun = std::time::Instant::now();
        let mut handled = 0;
        for rule in rules {
            let mine: Vec<PathBuf> = paths
                .iter()
                .filter(|path| rule.wants(path))
                .cloned()
                .collect();
            if !mine.is_empty() {
                handled += mine.len();
                work.act_or_tell(rule, &mine).await;
            }
        }
        if handled > 0 && context.globals.verbose {
            let took = begun.elapsed();
            context.ui.note(&format!(
                "batch complete: duration[{took:?}] count[{handled}]"
            ));
        }
    }
    Ok(())
}

/// All files beneath a path, or the path itself when it is one.
fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![path.to_owned()];
    while let Some(path) = ahead.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => ahead.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => found.push(path),
        }
    }
    found
}

impl Rule {
    fn wants(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.path) else {
            return false;
        };
        // The watched directory itself is nothing that has come or gone.
        if below.as_os_str().is_empty() && path.is_dir() {
            return false;
        }
        let below = below.to_string_lossy();
        !self.ignore.matches(&below) && (self.include.is_empty() || self.include.matches(&below))
    }

    /// Where a file goes in the containers, without the leading slash.
    fn target_of(&self, path: &Path) -> Option<String> {
        let target = self.watch.target.as_deref()?;
        let below = path.strip_prefix(&self.path).ok()?;
        let full = match below.as_os_str().is_empty() {
            true => PathBuf::from(target),
            false => Path::new(target).join(below),
        };
        Some(full.to_string_lossy().trim_start_matches('/').to_owned())
    }
}

struct Work<'a> {
    context: &'a Context,
    engine: &'a Client,
    project: &'a str,
}

impl Work<'_> {
    /// A failure is told, and the next change is another chance.
    async fn act_or_tell(&self, rule: &Rule, paths: &[PathBuf]) {
        if let Err(failure) = self.act(rule, paths).await
            && let Some(report) = failure.report
        {
            self.context.ui.report(&report);
        }
    }

    async fn act(&self, rule: &Rule, paths: &[PathBuf]) -> Result<(), Failure> {
        let service = &rule.service;
        let ui = &self.context.ui;
        match rule.watch.action.as_str() {
            "rebuild" => {
                ui.note(&format!(
                    "Rebuilding service \"{service}\" after changes were detected..."
                ));
                self.rebuild(service).await?;
                ui.note(&format!("service \"{service}\" successfully built"));
            }
            "restart" => self.restart(service).await?,
            action => {
                ui.note(&format!(
                    "Syncing service \"{service}\" after {} changes were detected",
                    paths.len()
                ));
                self.sync(rule, paths).await?;
                match action {
                    "sync+restart" => self.restart(service).await?,
                    "sync+exec" => self.execute(service, &rule.watch.exec).await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn members(&self, service: &str) -> Result<Vec<Member>, Failure> {
        let mut found = members::all(self.engine, self.project).await?;
        found.retain(|member| member.service == service && !member.one_off && member.is_running());
        Ok(found)
    }

    async fn rebuild(&self, service: &str) -> Result<(), Failure> {
        let up = UpArgs {
            services: vec![service.to_owned()],
            build: true,
            detach: true,
            no_deps: true,
            ..UpArgs::default()
        };
        Box::pin(up::run(self.context, up)).await
    }

    async fn restart(&self, service: &str) -> Result<(), Failure> {
        for member in self.members(service).await? {
            self.engine
                .container_restart(&member.summary.id, &StopOptions::default())
                .await?;
        }
        self.context
            .ui
            .note(&format!("service(s) [\"{service}\"] restarted"));
        Ok(())
    }

    /// Copies what there is into each container, and removes what there is no more.
    async fn sync(&self, rule: &Rule, paths: &[PathBuf]) -> Result<(), Failure> {
        let mut present: BTreeMap<String, &Path> = BTreeMap::new();
        let mut gone = Vec::new();
        for path in paths {
            let Some(target) = rule.target_of(path) else {
                continue;
            };
            match std::fs::symlink_metadata(path) {
                Ok(_) => drop(present.insert(target, path)),
                Err(_) => gone.push(format!("/{target}")),
            }
        }
        let archive = pack(&present)
            .map_err(|error| Failure::from(error).context("cannot read what has changed"))?;
        let put = PutArchive {
            path: "/".to_owned(),
            no_overwrite_dir_non_dir: false,
            copy_uid_gid: true,
        };
        for member in self.members(&rule.service).await? {
            let id = &member.summary.id;
            if !present.is_empty() {
                self.engine
                    .container_put_archive_with(id, &put, body_of(archive.clone()))
                    .await?;
            }
            if !gone.is_empty() {
                let command = ["rm", "-rf", "--"].map(str::to_owned);
                let hook = ExecCreate {
                    cmd: command.into_iter().chain(gone.iter().cloned()).collect(),
                    ..ExecCreate::default()
                };
                self.exec(id, hook).await?;
            }
        }
        Ok(())
    }

    async fn execute(&self, service: &str, hook: &Hook) -> Result<(), Failure> {
        let environment = hook.environment.iter();
        let env = environment.filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        let body = ExecCreate {
            cmd: hook.command.clone().unwrap_or_default(),
            env: env.collect(),
            privileged: hook.privileged,
            user: hook.user.clone().unwrap_or_default(),
            working_dir: hook.working_dir.clone().unwrap_or_default(),
            ..ExecCreate::default()
        };
        for member in self.members(service).await? {
            self.exec(&member.summary.id, body.clone()).await?;
        }
        Ok(())
    }

    /// Runs a command to its end; what it says is shown.
    async fn exec(&self, container: &str, mut body: ExecCreate) -> Result<(), Failure> {
        body.attach_stdout = true;
        body.attach_stderr = true;
        let created = self.engine.exec_create(container, &body).await?;
        let mut attached = self
            .engine
            .exec_start(&created.id, &ExecStart::default())
            .await?;
        while let Some(frame) = attached.output.next().await {
            self.context.ui.bytes(&frame?.data)?;
        }
        match self.engine.exec_inspect(&created.id).await?.exit_code {
            Some(0) | None => Ok(()),
            Some(code) => Err(Failure::new(format!(
                "{} exited with code {code}",
                body.cmd.join(" ")
            ))),
        }
    }
}

/// Files as an archive under the names they have in the containers.
fn pack(files: &BTreeMap<String, &Path>) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    for (name, path) in files {
        match builder.append_path_with_name(path, name) {
            // Gone again in between.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    builder.into_inner()
}
