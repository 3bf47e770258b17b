//! Following a project over the end of an engine: its events and its containers' output.
//!
//! The engine may be killed at any moment and a new one comes by itself as long as containers run. A session waits
//! for it and goes on where it was; it never starts an engine, because somebody may have stopped it on purpose.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hoist_api::client::Client;
use hoist_api::engine::EventStream;
use hoist_api::{ApiError, Engine, ErrorKind};
use jiff::Timestamp;

use crate::failure::Failure;
use crate::follow::{Ended, FollowOptions, Follower, short_name};
use crate::members::{self, Member};
use crate::ui::Ui;

/// How long a new engine may take to answer.
const NEW_ENGINE: Duration = Duration::from_secs(15);

/// How long nothing may be heard before the caller should look whether anything still runs.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// The following of one project.
pub(crate) struct Session<'a> {
    engine: Client,
    project: String,
    follower: Follower<'a, Client>,
    events: EventStream,
    /// Events up to here have been seen.
    seen: Timestamp,
}

impl<'a> Session<'a> {
    /// Begins to listen to the project's events from `since` on.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub(crate) async fn open(
        (engine, ui): (&Client, &'a Ui),
        project: &str,
        options: FollowOptions,
        since: Timestamp,
    ) -> Result<Self, Failure> {
        let events = engine
            .events(&Follower::<Client>::events(project, since))
            .await?;
        let follower = Follower::new(engine.clone(), ui, options);
        Ok(Session {
            engine: engine.clone(),
            project: project.to_owned(),
            follower,
            events,
            seen: since,
        })
    }

    /// Begins to read the output of these containers: of running ones until they end, else what there is.
    pub(crate) fn read(&mut self, members: &[Member], ended_too: bool) {
        self.follower.register(members);
        for member in members
            .iter()
            .filter(|member| ended_too || member.is_active())
        {
            self.follower
                .read_log(&member.summary.id, member.is_active());
        }
    }

    /// Makes names known before their containers exist: each with its service.
    pub(crate) fn expect<'n>(&mut self, names: impl IntoIterator<Item = (&'n str, &'n str)>) {
        self.follower.expect(names);
    }

    /// The names of the containers known so far, as they stand before their lines.
    pub(crate) fn names(&self) -> &[String] {
        self.follower.names()
    }

    /// As [`Follower::aside`].
    ///
    /// # Errors
    /// The output cannot be written.
    pub(crate) fn aside(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.follower.aside(short_name(&self.project, name), text)
    }

    /// Whether output is still to come.
    pub(crate) fn is_reading(&self) -> bool {
        self.follower.is_reading()
    }

    /// Prints what comes next; gives the end of a container. Comes back soon when no output is to come, so
    /// that the caller can look whether anything still runs.
    ///
    /// # Errors
    /// The engine was lost and no new one came, or the output cannot be written.
    pub(crate) async fn next(&mut self) -> Result<Option<Ended>, Failure> {
        let idle = !self.follower.is_reading();
        let lost = tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN), if idle => return Ok(None),
            outcome = self.follower.print_next() => match outcome? {
                None => return Ok(None),
                Some(error) => error,
            },
            event = self.events.next() => match event {
                Some(Ok(event)) => {
                    self.seen = Timestamp::from_nanosecond(event.time_nano.into()).unwrap_or(self.seen);
                    return self.follower.event(&event);
                }
                Some(Err(error)) => error,
                None => ApiError::new(ErrorKind::Unreachable, "the engine has left"),
            },
        };
        self.reconnect(lost).await?;
        Ok(None)
    }

    /// The project's containers as they are now.
    ///
    /// # Errors
    /// The engine was lost and no new one came.
    pub(crate) async fn members(&mut self) -> Result<Vec<Member>, Failure> {
        loop {
            match members::all(&self.engine, &self.project).await {
                Ok(members) => return Ok(members),
                Err(lost) => self.reconnect(lost).await?,
            }
        }
    }

    async fn reconnect(&mut self, lost: ApiError) -> Result<(), Failure> {
        if !matches!(lost.kind, ErrorKind::Unreachable | ErrorKind::Protocol) {
            return Err(Failure::from(lost).context("cannot follow the containers"));
        }
        let deadline = Instant::now() + NEW_ENGINE;
        loop {
            match self.listen_again().await {
                Ok(()) => return Ok(()),
                Err(failure) if Instant::now() > deadline => {
                    let failure =
                        failure.context("cannot follow the containers: the engine has gone away");
                    return Err(failure
                        .hint("the containers go on running: hoist logs -f follows them again"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn listen_again(&mut self) -> Result<(), Failure> {
        // What is seen twice would be shown twice.
        let since = self
            .seen
            .checked_add(Duration::from_nanos(1))
            .unwrap_or(self.seen);
        let events = self
            .engine
            .events(&Follower::<Client>::events(&self.project, since))
            .await?;
        let members = members::all(&self.engine, &self.project).await?;
        self.events = events;
        self.follower.resume(&members)
    }
}
