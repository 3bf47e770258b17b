//! `up` without `-d`: carry the plan out, follow the containers, and stop them at the end.
//!
//! Three phases. While the plan is carried out, progress is shown until the first container starts, then output.
//! Then output is followed until nothing runs, a container's end is to end everything, or Ctrl-C. At last
//! the containers are stopped, still showing what they say; another Ctrl-C kills them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use hoist_api::Engine;
use hoist_api::client::Client;
use hoist_api::container::LogsOptions;
use hoist_compose::execute::{ProgressEvent, Status};
use hoist_compose::graph::of_project;
use hoist_compose::model::Project;
use hoist_compose::observe::observe;
use hoist_compose::plan::{
    Action, KillOptions, Live, Plan, Step, StopOptions, plan_kill, plan_stop,
};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::lifecycle;
use super::menu::Menu;
use super::up::UpArgs;
use crate::context::Context;
use crate::failure::{FAILED, Failure, INTERRUPTED};
use crate::follow::{Ended, FollowOptions, short_name};
use crate::members::{self, Member};
use crate::planned::{self, plan_failure};
use crate::session::Session;
use crate::signals::Interrupts;
use crate::ui::logs::LogStyle;
use crate::ui::progress::Progress;
use crate::when;

/// What an attached `up` works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attached<'a> {
    pub(crate) context: &'a Context,
    pub(crate) engine: &'a Client,
    pub(crate) project: &'a Project,
    pub(crate) args: &'a UpArgs,
}

/// Why following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Nothing runs any more.
    Idle,
    /// A container ended, and that is to end everything.
    Aborted(Ended),
    /// Ctrl-C.
    Interrupted,
    /// A key said to leave them running.
    Detached,
}

/// How long output and ends may still come after all containers have been stopped.
const DRAIN: Duration = Duration::from_secs(1);

/// How long dependencies may say something before it is looked whether the chosen services still run.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How many containers a plan starts.
fn starts(plan: &Plan) -> usize {
    let is_start = |step: &&Step| matches!(step.action, Action::StartContainer);
    plan.steps.iter().filter(is_start).count()
}

/// Whether a change needs no line of its own while output is shown.
fn is_told_by_output(status: Status) -> bool {
    matches!(
        status,
        Status::Starting | Status::Started | Status::Waiting | Status::Healthy | Status::Exited
    )
}

/// Shows what happens to an object; what a hook says stands among the containers' output.
fn tell(
    progress: &Progress,
    session: &mut Session<'_>,
    event: ProgressEvent,
) -> Result<(), Failure> {
    match (event.status, &event.text) {
        (Status::Said, Some(text)) => session.aside(&event.object.name, text),
        _ => {
            planned::show(progress, event);
            Ok(())
        }
    }
}

impl Attached<'_> {
    /// Carries the plan out and follows the project.
    ///
    /// # Errors
    /// A step failed, the engine was lost, or the code that a container or Ctrl-C leaves.
    pub(crate) async fn run(
        self,
        plan: &Plan,
        progress: Progress,
        menu: &mut Menu,
    ) -> Result<(), Failure> {
        let since = Timestamp::now();
        let options = self.follow_options(since)?;
        let printer = (self.engine, &self.context.ui);
        let mut session = Session::open(printer, &self.project.name, options, since).await?;
        self.expect(&mut session, plan).await?;
        let mut interrupts = Interrupts::catch();
        let mut ended = Vec::new();
        let end = match self
            .bring_up(plan, progress, (&mut session, &mut ended))
            .await?
        {
            Some(end) => end,
            None => match ended.iter().find(|end| self.ends_all(end)) {
                Some(end) => End::Aborted(end.clone()),
                None => {
                    let to_end = starts(plan).saturating_sub(ended.len());
                    menu.tell();
                    let ending = (menu, &mut interrupts);
                    self.follow(&mut session, ending, to_end).await?
                }
            },
        };
        match &end {
            End::Idle => return self.code_of_selected(&mut session, 0).await,
            End::Detached => return Ok(()),
            End::Aborted(_) => self.context.ui.note("Aborting on container exit..."),
            End::Interrupted => self
                .context
                .ui
                .note("Gracefully Stopping... press Ctrl+C again to force"),
        }
        self.stop(&mut session, &mut interrupts).await?;
        match end {
            End::Aborted(ended) => self.code_of_selected(&mut session, ended.code).await,
            End::Idle | End::Detached | End::Interrupted => Err(Failure::exit(INTERRUPTED)),
        }
    }

    fn follow_options(self, since: Timestamp) -> Result<FollowOptions, Failure> {
        let args = self.args;
        let quiet = self
            .project
            .services
            .values()
            .filter(|service| service.attach == Some(false));
        let style = LogStyle {
            prefix: !args.no_log_prefix,
            color: self.context.ui.color_out && !args.no_color,
        };
        let logs = LogsOptions {
            timestamps: args.timestamps,
            since: Some(when::unix(since)),
            ..LogsOptions::default()
        };
        let mut services = if args.attach.is_empty() {
            args.services.clone()
        } else {
            args.attach.clone()
        };
        if args.attach_dependencies && !services.is_empty() {
            let graph = of_project(self.project)?;
            services = graph
                .with_dependencies(services.iter().map(String::as_str))
                .into_iter()
                .collect();
        }
        // What is named by --attach is shown although the file says no.
        let quiet = quiet
            .map(|service| service.name.clone())
            .filter(|name| !args.attach.contains(name));
        let hidden = args.no_attach.iter().cloned().chain(quiet).collect();
        Ok(FollowOptions {
            style,
            logs,
            split_streams: true,
            services,
            hidden,
        })
    }

    /// Carries the plan out. Gives an end when it was interrupted; what ended meanwhile is kept.
    async fn bring_up(
        self,
        plan: &Plan,
        progress: Progress,
        (session, ended): (&mut Session<'_>, &mut Vec<Ended>),
    ) -> Result<Option<End>, Failure> {
        let (events, mut received) = mpsc::unbounded_channel::<ProgressEvent>();
        let mut cancel = Interrupts::catch();
        let show = |event| drop(events.send(event));
        let mut run = pin!(planned::run(
            self.context,
            self.engine,
            plan,
            (async { cancel.next().await }, show)
        ));
        let mut shown = progress;
        let mut attached = false;
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = received.recv() => {
                    if event.status == Status::Starting && !attached {
                        // What was live stays as it is: output comes below it.
                        shown = Progress::lines(&self.context.ui);
                        attached = true;
                        self.attach(session).await?;
                    }
                    if !(attached && is_told_by_output(event.status)) {
                        tell(&shown, session, event)?;
                    }
                }
                outcome = &mut run => break outcome?,
                end = session.next() => ended.extend(end?),
            }
        };
        while let Ok(event) = received.try_recv() {
            if !(attached && is_told_by_output(event.status)) {
                tell(&shown, session, event)?;
            }
        }
        drop(shown);
        let interrupted = outcome.cancelled;
        if interrupted && outcome.failed.is_empty() {
            return Ok(Some(End::Interrupted));
        }
        planned::conclude(self.context, outcome)?;
        if !attached {
            self.attach(session).await?;
        }
        Ok(None)
    }

    /// Every container that the plan leaves there gives its lines a colour and a width, before any of them is printed.
    async fn expect(self, session: &mut Session<'_>, plan: &Plan) -> Result<(), Failure> {
        let mut names: BTreeMap<(String, u32), String> = BTreeMap::new();
        for member in self.members(session).await? {
            let name = member.log_name().to_owned();
            names.insert((member.service, member.number), name);
        }
        for step in &plan.steps {
            let Action::CreateContainer(body) = &step.action else {
                continue;
            };
            let label = |key: &str| body.config.labels.get(key).cloned().unwrap_or_default();
            let number = label(members::NUMBER).parse().unwrap_or(0);
            let name = short_name(&self.project.name, &step.object.name).to_owned();
            names.insert((label(members::SERVICE), number), name);
        }
        session.expect(
            names
                .iter()
                .map(|((service, _), name)| (service.as_str(), name.as_str())),
        );
        Ok(())
    }

    /// Begins to read the output of what runs; what starts later is told by events.
    async fn attach(self, session: &mut Session<'_>) -> Result<(), Failure> {
        let found = self.members(session).await?;
        session.read(&found, false);
        let names = session.names();
        if !names.is_empty() {
            let text = format!("Attaching to {}", names.join(", "));
            self.context.ui.line(&text)?;
        }
        Ok(())
    }

    /// The containers of the project's services.
    async fn members(self, session: &mut Session<'_>) -> Result<Vec<Member>, Failure> {
        let mut found = session.members().await?;
        found.retain(|member| {
            !member.one_off && self.project.services.contains_key(&member.service)
        });
        Ok(found)
    }

    /// Whether anything that this `up` is about runs, or is about to be started again.
    async fn any_active(self, session: &mut Session<'_>) -> Result<bool, Failure> {
        let found = self.members(session).await?;
        let chosen = &self.args.services;
        let wanted = |member: &Member| chosen.is_empty() || chosen.contains(&member.service);
        Ok(found
            .iter()
            .any(|member| wanted(member) && member.is_active()))
    }

    /// Follows until there is a reason to end. `to_end` containers were started: their ends are told by events,
    /// which may come a little later than the list of containers shows them.
    async fn follow(
        self,
        session: &mut Session<'_>,
        (menu, interrupts): (&mut Menu, &mut Interrupts),
        mut to_end: usize,
    ) -> Result<End, Failure> {
        let mut idle_since: Option<Instant> = None;
        // The output of dependencies goes on; who asked for a service is done when that ends.
        let only_chosen = self.args.attach_dependencies && !self.args.services.is_empty();
        loop {
            // Who watches waits for the next change, too.
            let reading = session.is_reading() && !only_chosen;
            if menu.is_watching() || reading || self.any_active(session).await? {
                idle_since = None;
            } else {
                let since = *idle_since.get_or_insert_with(Instant::now);
                let told = to_end == 0 && !only_chosen;
                if told || since.elapsed() > DRAIN {
                    return Ok(End::Idle);
                }
            }
            loop {
                let end = tokio::select! {
                    end = session.next() => end?,
                    () = interrupts.next() => return Ok(End::Interrupted),
                    () = menu.detached() => return Ok(End::Detached),
                    () = tokio::time::sleep(LOOK_AGAIN), if only_chosen => break,
                };
                match end {
                    Some(end) if self.ends_all(&end) => return Ok(End::Aborted(end)),
                    Some(_) => to_end = to_end.saturating_sub(1),
                    None => {}
                }
                if !session.is_reading() {
                    break;
                }
            }
        }
    }

    fn ends_all(self, end: &Ended) -> bool {
        let args = self.args;
        let on_exit = args.abort_on_container_exit || args.exit_code_from.is_some();
        on_exit || (args.abort_on_container_failure && end.code != 0)
    }

    /// Stops what runs, showing its output; kills it at an interrupt.
    async fn stop(
        self,
        session: &mut Session<'_>,
        interrupts: &mut Interrupts,
    ) -> Result<(), Failure> {
        let observed = observe(self.engine, &self.project.name).await?;
        let live = Live::from_project(self.project, &observed).map_err(plan_failure)?;
        let options = StopOptions {
            // What the named services depend on goes on.
            services: self.args.services.clone(),
            timeout: self.args.timeout,
            no_deps: false,
        };
        let plan = plan_stop(&live, &observed, &options).map_err(plan_failure)?;
        let progress = Progress::lines(&self.context.ui);
        let chosen: Vec<String> = live.services.keys().cloned().collect();
        let chosen = match self.args.services.as_slice() {
            [] => chosen,
            named => named.to_vec(),
        };
        let ended = lifecycle::ended(&observed, &chosen);
        planned::show_stopped(&progress, &plan, ended.into_iter());
        let (events, mut received) = mpsc::unbounded_channel::<ProgressEvent>();
        let shown = |event| drop(events.send(event));
        let mut run = pin!(planned::run(
            self.context,
            self.engine,
            &plan,
            (std::future::pending(), shown)
        ));
        let mut killed = false;
        let mut to_end = plan.steps.len();
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = received.recv() => tell(&progress, session, event)?,
                outcome = &mut run => break outcome?,
                end = session.next() => to_end -= end?.map_or(0, |_| to_end.min(1)),
                () = interrupts.next(), if !killed => {
                    killed = true;
                    self.kill(&live).await?;
                }
            }
        };
        while let Ok(event) = received.try_recv() {
            tell(&progress, session, event)?;
        }
        let since = Instant::now();
        // The last words of what was stopped; there may be many.
        while session.is_reading() || to_end > 0 {
            let Ok(end) = tokio::time::timeout(DRAIN, session.next()).await else {
                break;
            };
            match end? {
                Some(_) => to_end = to_end.saturating_sub(1),
                None if !session.is_reading() && since.elapsed() > DRAIN => break,
                None => {}
            }
        }
        planned::conclude(self.context, outcome)
    }

    async fn kill(self, live: &Live) -> Result<(), Failure> {
        let observed = observe(self.engine, &self.project.name).await?;
        let options = KillOptions {
            services: self.args.services.clone(),
            ..KillOptions::default()
        };
        let plan = plan_kill(live, &observed, &options).map_err(plan_failure)?;
        let progress = Progress::lines(&self.context.ui);
        // What has ended in the meantime cannot be killed, and need not be.
        planned::run(
            self.context,
            self.engine,
            &plan,
            (std::future::pending(), |event| {
                planned::show(&progress, event)
            }),
        )
        .await?;
        Ok(())
    }

    /// The code to leave with: that of `--exit-code-from`, else the given one.
    async fn code_of_selected(
        self,
        session: &mut Session<'_>,
        otherwise: i64,
    ) -> Result<(), Failure> {
        let mut code = otherwise;
        if let Some(service) = &self.args.exit_code_from {
            let found = self.members(session).await?;
            let member = found.into_iter().find(|member| &member.service == service);
            let member = member
                .ok_or_else(|| Failure::new(format!("service \"{service}\" has no container")))?;
            code = self
                .engine
                .container_inspect(&member.summary.id)
                .await?
                .state
                .exit_code;
        }
        if code == 0 {
            Ok(())
        } else {
            Err(Failure::exit(u8::try_from(code).unwrap_or(FAILED)))
        }
    }
}
