//! Waiting for containers to reach a state: by the engine's events, with a look now and then in case one was missed.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use hoist_api::event::EventsOptions;
use hoist_api::inspect::ContainerInspect;
use hoist_api::{Engine, ErrorKind, Filters};

use crate::desire::labels;
use crate::graph::Condition;
use crate::plan::{Gate, GateContainer, Kind, Object, Step, Until};

use super::steps::{ENGINE_RETURNS, Performed, TRY_AGAIN};
use super::{ExecuteError, Run, Status};

/// The engine says that something happened.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// From now on nothing is missed.
    Connected,
    /// To the container with this id.
    Container(String),
}

/// How often to look although no event came: soon at first, then ever less; rarely when events come.
const LOOK_WITHOUT_EVENTS: Duration = Duration::from_millis(15);
const LOOK_WITH_EVENTS: Duration = Duration::from_secs(1);

/// How long a container without health check gets to show that it ends at once, which explains more.
const EARLY_EXIT: Duration = Duration::from_millis(500);

/// How many of the last health check outputs an error shows.
const SHOWN_OUTPUTS: usize = 3;

/// Passes the engine's container events of a project on, for as long as it is polled.
pub(super) async fn follow_events<E: Engine>(
    engine: &E,
    project: &str,
    happenings: &broadcast::Sender<Happening>,
) -> Infallible {
    let filters = Filters::new()
        .with("type", "container")
        .label(format!("{}={project}", labels::PROJECT));
    let options = EventsOptions {
        filters,
        ..EventsOptions::default()
    };
    loop {
        if let Ok(mut events) = engine.events(&options).await {
            let _ = happenings.send(Happening::Connected);
            while let Some(Ok(event)) = events.next().await {
                let _ = happenings.send(Happening::Container(event.actor.id));
            }
        }
        // The engine is being restarted, or has no events; gates look by themselves meanwhile.
        sleep(Duration::from_millis(200)).await;
    }
}

/// What a look at a container says.
#[derive(Debug)]
enum Verdict {
    Reached(Status),
    NotYet,
    Failed(ExecuteError),
    /// Fails, unless it ends by itself first.
    FailsSoon(ExecuteError),
}

impl<E: Engine> Run<'_, E> {
    /// Waits for all containers of a gate.
    pub(super) async fn wait(&self, step: &Step, gate: &Gate) -> Result<Performed, ExecuteError> {
        let service = &step.object.name;
        let all = try_join_all(
            gate.containers
                .iter()
                .map(|container| self.wait_for(service, gate, container)),
        );
        let mut stopped = self.stopped.clone();
        let result = tokio::select! {
            result = all => result,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(Performed::Abandoned),
        };
        match result {
            Ok(_) => Ok(Performed::Done),
            Err(error) if gate.required => Err(error),
            Err(error) => {
                let text = error.to_string();
                let reason = text
                    .strip_prefix("dependency failed to start: ")
                    .unwrap_or(&text);
                Ok(Performed::Warned(format!(
                    "optional dependency {service:?} failed to start: {reason}"
                )))
            }
        }
    }

    async fn wait_for(
        &self,
        service: &str,
        gate: &Gate,
        container: &GateContainer,
    ) -> Result<(), ExecuteError> {
        let object = Object {
            kind: Kind::Container,
            name: container.name.clone(),
        };
        self.tell(&object, Status::Waiting, None);
        let reached = self.until_reached(service, gate, container);
        let result = match gate.timeout {
            None => reached.await,
            Some(limit) => timeout(limit, reached).await.unwrap_or_else(|_| {
                Err(ExecuteError::Timeout {
                    timeout: limit,
                    container: container.name.clone(),
                })
            }),
        };
        match &result {
            Ok(status) => self.tell(&object, *status, None),
            Err(error) if gate.required => {
                self.tell(&object, Status::Error, Some(error.to_string()))
            }
            Err(error) => self.tell(&object, Status::Warning, Some(error.to_string())),
        }
        result.map(drop)
    }

    async fn until_reached(
        &self,
        service: &str,
        gate: &Gate,
        container: &GateContainer,
    ) -> Result<Status, ExecuteError> {
        let mut happenings = self.happenings.subscribe();
        let mut look_again = LOOK_WITHOUT_EVENTS;
        let patience = Instant::now() + EARLY_EXIT;
        loop {
            let inspect = self.inspect(container).await?;
            match judge(service, gate.until, &container.name, &inspect) {
                Verdict::Reached(status) => return Ok(status),
                Verdict::Failed(error) => return Err(error),
                Verdict::FailsSoon(error) if Instant::now() >= patience => return Err(error),
                Verdict::FailsSoon(_) => look_again = LOOK_WITHOUT_EVENTS,
                Verdict::NotYet => {}
            }
            let heard = self
                .next_happening(&mut happenings, &inspect.id, look_again)
                .await;
            look_again = if heard {
                LOOK_WITH_EVENTS
            } else {
                LOOK_WITH_EVENTS.min(look_again * 2)
            };
        }
    }

    /// Looks at a container; an engine that is away for a moment is waited for.
    async fn inspect(&self, container: &GateContainer) -> Result<ContainerInspect, ExecuteError> {
        let deadline = Instant::now() + ENGINE_RETURNS;
        loop {
            match self.engine.container_inspect(&container.target).await {
                Ok(inspect) => return Ok(inspect),
                Err(error) if error.is(ErrorKind::Unreachable) && Instant::now() < deadline => {
                    sleep(TRY_AGAIN).await
                }
                Err(source) => {
                    let object = Object {
                        kind: Kind::Container,
                        name: container.name.clone(),
                    };
                    return Err(ExecuteError::Engine {
                        action: "inspect",
                        object,
                        source,
                    });
                }
            }
        }
    }

    /// Returns when it is time to look again: something happened to the container, or some time passed. True when
    /// events come.
    async fn next_happening(
        &self,
        happenings: &mut broadcast::Receiver<Happening>,
        id: &str,
        look_again: Duration,
    ) -> bool {
        let deadline = Instant::now() + look_again;
        let mut connected = false;
        loop {
            tokio::select! {
                () = sleep_until(deadline) => return connected,
                happening = happenings.recv() => match happening {
                    Ok(Happening::Container(other)) if other != id => connected = true,
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => {
                        sleep_until(deadline).await;
                        return false;
                    }
                }
            }
        }
    }
}

/// What the state of a container means for a gate.
fn judge(service: &str, until: Until, container: &str, inspect: &ContainerInspect) -> Verdict {
    let state = &inspect.state;
    let container = container.to_owned();
    let ended = matches!(state.status.as_str(), "exited" | "dead");
    let dependency = matches!(until, Until::Met(_));
    match until {
        Until::Met(Condition::Completed) => match (ended, state.exit_code) {
            (false, _) => Verdict::NotYet,
            (true, 0) => Verdict::Reached(Status::Exited),
            (true, code) => Verdict::Failed(ExecuteError::NotCompleted {
                service: service.to_owned(),
                code,
            }),
        },
        Until::Ready { may_complete: true } if ended && state.exit_code == 0 => {
            Verdict::Reached(Status::Exited)
        }
        _ if ended => Verdict::Failed(ExecuteError::Exited {
            container,
            code: state.exit_code,
            dependency,
        }),
        _ => match state.health.as_ref().map(|health| health.status.as_str()) {
            _ if state.status != "running" => Verdict::NotYet,
            Some("healthy") => Verdict::Reached(Status::Healthy),
            _ if until == Until::Met(Condition::Started) => Verdict::Reached(Status::Running),
            Some("unhealthy") => Verdict::Failed(ExecuteError::Unhealthy {
                container,
                dependency,
                log: last_outputs(inspect),
            }),
            Some("" | "none") | None if until == Until::Met(Condition::Healthy) => {
                Verdict::FailsSoon(ExecuteError::NoHealthcheck { container })
            }
            Some("" | "none") | None => Verdict::Reached(Status::Running),
            Some(_) => Verdict::NotYet,
        },
    }
}

fn last_outputs(inspect: &ContainerInspect) -> Vec<String> {
    let log = inspect
        .state
        .health
        .as_ref()
        .map_or(&[][..], |health| health.log.as_slice());
    let failed: Vec<String> = log
        .iter()
        .filter(|entry| entry.exit_code != 0)
        .map(|entry| entry.output.clone())
        .collect();
    failed[failed.len().saturating_sub(SHOWN_OUTPUTS)..].to_vec()
}
