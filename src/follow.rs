//! Containers' output, followed over their ends and restarts.
//!
//! Each running container has a task that reads its log and sends lines on; events tell when a container
//! starts (read on from where its last run ended) and ends. The log and not an attachment is read, so that nothing
//! is lost between a start and its event, whoever started it. Decides nothing about what `up` does when a container ends.

use std::collections::HashMap;

use futures_util::StreamExt;
use hoist_api::container::{AttachOptions, LogsOptions};
use hoist_api::event::{Event, EventsOptions};
use hoist_api::frame::{Frame, Stream};
use hoist_api::{ApiError, Engine, ErrorKind, Filters};
use jiff::Timestamp;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::failure::Failure;
use crate::members::{self, Member};
use crate::ui::Ui;
use crate::ui::logs::{LogLines, LogStyle, Stream as Shown};
use crate::when;

/// Messages waiting to be printed.
const BUFFER: usize = 256;

/// What is shown.
#[derive(Debug, Clone)]
pub(crate) struct FollowOptions {
    /// How lines look.
    pub(crate) style: LogStyle,
    /// What is read of each log at first; `follow` is set as needed.
    pub(crate) logs: LogsOptions,
    /// Standard error of containers goes to ours (`up`); else everything goes to standard output (`logs`).
    pub(crate) split_streams: bool,
    /// Only these services; none means all.
    pub(crate) services: Vec<String>,
    /// Not these services.
    pub(crate) hidden: Vec<String>,
}

impl FollowOptions {
    fn shows(&self, service: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == service);
        (self.services.is_empty() || named(&self.services)) && !named(&self.hidden)
    }
}

/// A container's end, as a follower reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its id.
    pub(crate) id: String,
    /// Its service.
    pub(crate) service: String,
    /// Its exit code.
    pub(crate) code: i64,
}

/// What a reading task says, and of which generation of readers it is.
#[derive(Debug)]
struct Message {
    generation: u64,
    said: Said,
}

#[derive(Debug)]
enum Said {
    Output(usize, Frame),
    /// The log of one run is read to its end.
    Drained(usize),
    /// Nothing is kept of what it writes.
    Unkept(usize, ApiError),
    Failed(ApiError),
}

#[derive(Debug, Default)]
struct Followed {
    id: String,
    /// A task reads its log.
    reading: bool,
    /// It ended while its log was still being read: how.
    ended: Option<i64>,
    /// Where the next reading begins.
    since: Option<String>,
    /// When output came last: where reading goes on after an engine was lost.
    heard: Option<Timestamp>,
    /// The last so many lines are wanted only of what there is at first.
    tail: Option<u64>,
    /// It was started again while its log was still being read.
    restarted: bool,
}

/// Prints the output of a project's containers.
#[derive(Debug)]
pub(crate) struct Follower<'a, E> {
    engine: E,
    ui: &'a Ui,
    options: FollowOptions,
    lines: LogLines,
    followed: Vec<Followed>,
    by_id: HashMap<String, usize>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    /// Counts the engines that were read from: what readers of an engine that was lost still say is ignored.
    generation: u64,
}

impl<'a, E: Engine + Clone + 'static> Follower<'a, E> {
    /// A follower of no containers so far.
    pub(crate) fn new(engine: E, ui: &'a Ui, options: FollowOptions) -> Self {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let lines = LogLines::new(options.style);
        Follower {
            engine,
            ui,
            options,
            lines,
            followed: Vec::new(),
            by_id: HashMap::new(),
            sender,
            receiver,
            generation: 0,
        }
    }

    /// The events of the project's containers that the follower needs.
    pub(crate) fn events(project: &str, since: Timestamp) -> EventsOptions {
        let filters = Filters::new()
            .with("type", "container")
            .with("event", "start")
            .with("event", "die")
            .label(format!("{}={project}", members::PROJECT));
        EventsOptions {
            since: Some(when::unix(since)),
            until: None,
            filters,
        }
    }

    /// Makes names known in this order although their containers may not exist yet: each with its service.
    pub(crate) fn expect<'n>(&mut self, names: impl IntoIterator<Item = (&'n str, &'n str)>) {
        for (service, log_name) in names {
            if self.options.shows(service) {
                self.lines.register(log_name);
            }
        }
    }

    /// Makes containers known in this order, which gives them their colours and the common width.
    pub(crate) fn register(&mut self, members: &[Member]) {
        for member in members {
            if self.options.shows(&member.service) {
                self.index_of(&member.summary.id, member.log_name());
            }
        }
    }

    /// Reads the log of a registered container; with `follow` until its run ends.
    pub(crate) fn read_log(&mut self, id: &str, follow: bool) {
        if let Some(&container) = self.by_id.get(id) {
            self.read(container, follow);
        }
    }

    /// The names of the containers known so far, as they stand before their lines.
    pub(crate) fn names(&self) -> &[String] {
        self.lines.names()
    }

    /// Whether a log is still being read.
    pub(crate) fn is_reading(&self) -> bool {
        self.followed.iter().any(|followed| followed.reading)
    }

    fn index_of(&mut self, id: &str, log_name: &str) -> usize {
        if let Some(&known) = self.by_id.get(id) {
            return known;
        }
        // A recreated container has its predecessor's name and colour, but is another one.
        let index = self.lines.register(log_name);
        let since = self.options.logs.since.clone();
        let fresh = Followed {
            id: id.to_owned(),
            reading: false,
            ended: None,
            since,
            heard: None,
            tail: self.options.logs.tail,
            restarted: false,
        };
        while self.followed.len() <= index {
            self.followed.push(Followed::default());
        }
        self.by_id.retain(|_, known| *known != index);
        self.followed[index] = fresh;
        self.by_id.insert(id.to_owned(), index);
        index
    }

    fn read(&mut self, container: usize, follow: bool) {
        let followed = &mut self.followed[container];
        if followed.reading {
            followed.restarted = true;
            return;
        }
        followed.reading = true;
        let options = LogsOptions {
            follow,
            since: followed.since.clone(),
            tail: followed.tail.take(),
            ..self.options.logs.clone()
        };
        let reader = Reader {
            engine: self.engine.clone(),
            id: followed.id.clone(),
            container,
            generation: self.generation,
            sender: self.sender.clone(),
        };
        tokio::spawn(reader.read(options));
    }

    /// Prints what comes next. Gives what went wrong when a log could not be read.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) async fn print_next(&mut self) -> Result<Option<ApiError>, Failure> {
        // A sender of our own is alive: the channel never closes.
        let Some(message) = self.receiver.recv().await else {
            return Ok(None);
        };
        match message.said {
            _ if message.generation != self.generation => {}
            Said::Output(container, frame) => {
                self.followed[container].heard = Some(Timestamp::now());
                let split = self.options.split_streams && frame.stream == Stream::Stderr;
                let shown = if split { Shown::Stderr } else { Shown::Stdout };
                let lines = self.lines.feed(container, shown, &frame.data);
                self.ui.log(shown, &lines)?;
            }
            Said::Drained(container) => self.drained(container)?,
            Said::Unkept(container, error) => {
                let name = &self.lines.names()[container];
                self.ui
                    .warn(&format!("cannot read the output of {name}: {error}"));
                self.drained(container)?;
            }
            Said::Failed(error) => return Ok(Some(error)),
        }
        Ok(None)
    }

    /// Prints what was said beside a container's own output, as by a hook.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) fn aside(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let lines = self.lines.aside(name, text);
        self.ui.log(Shown::Stdout, &lines)
    }

    /// Goes on with another engine than the one that was lost, given the containers as they are now.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) fn resume(&mut self, members: &[Member]) -> Result<(), Failure> {
        self.generation += 1;
        for container in 0..self.followed.len() {
            let followed = &mut self.followed[container];
            if !std::mem::take(&mut followed.reading) {
                continue;
            }
            if let Some(heard) = followed.heard.take() {
                followed.since = Some(when::unix(heard));
                followed.tail = None;
            }
            match members
                .iter()
                .find(|member| member.summary.id == followed.id)
            {
                Some(member) if member.is_active() => self.read(container, true),
                Some(member) => {
                    followed.ended = followed.ended.or(Some(member.exit_code()));
                    self.read(container, false);
                }
                None => self.drained(container)?,
            }
        }
        for member in members.iter().filter(|member| member.is_active()) {
            let known = self.by_id.contains_key(&member.summary.id);
            if !known && self.options.shows(&member.service) {
                let container = self.index_of(&member.summary.id, member.log_name());
                self.read(container, true);
            }
        }
        Ok(())
    }

    fn drained(&mut self, container: usize) -> Result<(), Failure> {
        let rest = self.lines.finish(container);
        self.ui.log(Shown::Stdout, &rest)?;
        let followed = &mut self.followed[container];
        followed.reading = false;
        if let Some(code) = followed.ended.take() {
            self.ui.line(&self.lines.exited(container, code))?;
        }
        if std::mem::take(&mut self.followed[container].restarted) {
            self.read(container, true);
        }
        Ok(())
    }

    /// Takes an event of the project: reads the log of what started, tells the end of what ended.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) fn event(&mut self, event: &Event) -> Result<Option<Ended>, Failure> {
        let attributes = &event.actor.attributes;
        let Some(service) = attributes.get(members::SERVICE) else {
            return Ok(None);
        };
        if attributes
            .get(members::ONE_OFF)
            .is_some_and(|text| text == "True")
        {
            return Ok(None);
        }
        let shown = self.options.shows(service);
        match event.action.as_str() {
            "start" if shown => {
                let container = self.index_of(&event.actor.id, &log_name(event));
                self.read(container, true);
                Ok(None)
            }
            "die" => {
                let code = attributes
                    .get("exitCode")
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(0);
                if shown {
                    self.died(event, code)?;
                }
                Ok(Some(Ended {
                    id: event.actor.id.clone(),
                    service: service.clone(),
                    code,
                }))
            }
            _ => Ok(None),
        }
    }

    fn died(&mut self, event: &Event, code: i64) -> Result<(), Failure> {
        let container = self.index_of(&event.actor.id, &log_name(event));
        let followed = &mut self.followed[container];
        followed.since = Timestamp::from_nanosecond(event.time_nano.into())
            .ok()
            .map(when::unix);
        if followed.reading {
            followed.ended = Some(code);
            return Ok(());
        }
        self.ui.line(&self.lines.exited(container, code))
    }
}

/// A task that reads one container's log.
#[derive(Debug)]
struct Reader<E> {
    engine: E,
    id: String,
    container: usize,
    generation: u64,
    sender: Sender<Message>,
}

impl<E: Engine> Reader<E> {
    async fn read(self, options: LogsOptions) {
        let end = match self.forward(&options).await {
            Ok(()) => Said::Drained(self.container),
            // Removed in between: its end is told by an event.
            Err(error) if error.is(ErrorKind::NotFound) => Said::Drained(self.container),
            Err(error) if error.is(ErrorKind::NotImplemented) => {
                Said::Unkept(self.container, error)
            }
            Err(error) => Said::Failed(error),
        };
        // When nobody receives any more, nothing is left to be done.
        let _ = self.say(end).await;
    }

    async fn forward(&self, options: &LogsOptions) -> hoist_api::Result<()> {
        let mut frames = match self.engine.container_logs(&self.id, options).await {
            // With the driver `none`, what it writes from now on can be had, and nothing else.
            Err(error) if options.follow && error.is(ErrorKind::NotImplemented) => {
                let attach = AttachOptions {
                    stdout: true,
                    stderr: true,
                    stream: true,
                    ..AttachOptions::default()
                };
                self.engine.container_attach(&self.id, attach).await?.output
            }
            frames => frames?,
        };
        while let Some(frame) = frames.next().await {
            if self
                .say(Said::Output(self.container, frame?))
                .await
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }

    async fn say(&self, said: Said) -> Result<(), mpsc::error::SendError<Message>> {
        let message = Message {
            generation: self.generation,
            said,
        };
        self.sender.send(message).await
    }
}

/// A container's name as it stands before its lines: without its project's name and the separator.
pub(crate) fn short_name<'n>(project: &str, name: &'n str) -> &'n str {
    let short = name
        .strip_prefix(project)
        .and_then(|rest| rest.strip_prefix(['-', '_']));
    short.filter(|short| !short.is_empty()).unwrap_or(name)
}

/// The container's short name, from an event's attributes.
fn log_name(event: &Event) -> String {
    let attributes = &event.actor.attributes;
    let name = attributes
        .get("name")
        .map_or(event.actor.id.as_str(), String::as_str);
    let project = attributes.get(members::PROJECT).map_or("", String::as_str);
    short_name(project, name).to_owned()
}
