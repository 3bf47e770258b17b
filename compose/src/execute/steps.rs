//! Performing one step: the call, and which answers mean that it is done already.
//!
//! Every step can be run again after an interruption: creating what exists with the same configuration,
//! starting what runs, stopping what has stopped and removing what is gone are all well.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use hoist_api::build::BuildRequest;
use hoist_api::container::{ContainerCreate, RemoveContainer};
use hoist_api::engine::{StopOptions, body_of, finish};
use hoist_api::image::{PullImage, RemoveImage};
use hoist_api::network::{EndpointSettings, NetworkConnect, NetworkCreate, NetworkDisconnect};
use hoist_api::{ApiError, Engine, ErrorKind};

use crate::desire::{InjectedFile, labels};
use crate::plan::{Action, Step, StepId};

use super::progress::of_step;
use super::{ExecuteError, Run};

/// How long the engine may be away.
pub(super) const ENGINE_RETURNS: Duration = Duration::from_secs(5);
/// How often it is tried again meanwhile.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);

// Answers that mean that nothing was left to do.
const NOTHING: &[ErrorKind] = &[];
const DONE: &[ErrorKind] = &[ErrorKind::NotModified];
const GONE: &[ErrorKind] = &[ErrorKind::NotFound];
const DONE_OR_GONE: &[ErrorKind] = &[ErrorKind::NotModified, ErrorKind::NotFound];
const NOT_RUNNING_OR_GONE: &[ErrorKind] = &[ErrorKind::Conflict, ErrorKind::NotFound];

/// How a step ended when it did not fail.
#[derive(Debug)]
pub(super) enum Performed {
    /// Well.
    Done,
    /// Well enough, but the user should know this.
    Warned(String),
    /// Given up, because the run was cancelled.
    Abandoned,
}

impl<E: Engine> Run<'_, E> {
    pub(super) async fn perform(&self, id: StepId) -> Result<Performed, ExecuteError> {
        let step = self.plan.step(id);
        let (begin, end) = of_step(step);
        if let Some(status) = begin {
            self.tell(&step.object, status, None);
        }
        let performed = self.act_until_answered(step).await?;
        if let (Some(status), Performed::Done) = (end, &performed) {
            self.tell(&step.object, status, None);
        }
        Ok(performed)
    }

    /// An engine that was killed is back within a moment while containers run, and every step can be repeated.
    async fn act_until_answered(&self, step: &Step) -> Result<Performed, ExecuteError> {
        let mut deadline = None;
        loop {
            let result = self.act(step).await;
            if !result.as_ref().is_err_and(ExecuteError::is_unreachable) {
                return result;
            }
            let patience = *deadline.get_or_insert_with(|| Instant::now() + ENGINE_RETURNS);
            // A wait has been patient itself.
            let is_wait = matches!(step.action, Action::Wait(_));
            if is_wait || Instant::now() >= patience || *self.stopped.borrow() {
                return result;
            }
            sleep(TRY_AGAIN).await;
        }
    }

    async fn act(&self, step: &Step) -> Result<Performed, ExecuteError> {
        let (engine, target) = (self.engine, step.target.as_str());
        match &step.action {
            Action::BuildImage(request) => self.build(step, request).await,
            Action::CreateNetwork(request) => self.create_network(step, request).await,
            Action::CreateContainer(request) => self.create_container(step, request).await,
            Action::WriteFiles(files) => self.write_files(step, files).await,
            Action::Wait(gate) => self.wait(step, gate).await,
            Action::RemoveNetwork => still_in_use(step, engine.network_remove(target).await),
            Action::RemoveVolume => still_in_use(step, engine.volume_remove(target, true).await),
            Action::PullImage { .. } => self.pull_image(step).await,
            Action::RemoveImage => {
                let removed = engine.image_remove(target, RemoveImage::default()).await;
                still_in_use(step, removed.map(drop))
            }
            Action::CreateVolume(request) => {
                let created = engine.volume_create(request).await.map(drop);
                created
                    .map(|()| Performed::Done)
                    .map_err(|source| failure(step, "create", source))
            }
            _ => self.act_on_container(step, target).await,
        }
    }

    /// Builds an image; commands that show the build's own progress do it themselves.
    async fn build(&self, step: &Step, request: &BuildRequest) -> Result<Performed, ExecuteError> {
        let built = match self.engine.image_build(request, None).await {
            Ok(events) => hoist_api::build::finish(events).await.map(drop),
            Err(error) => Err(error),
        };
        built
            .map(|()| Performed::Done)
            .map_err(|source| failure(step, "build", source))
    }

    /// Fetches an image. One that can be built instead may be missing.
    async fn pull_image(&self, step: &Step) -> Result<Performed, ExecuteError> {
        let Action::PullImage {
            platform,
            is_needed,
        } = &step.action
        else {
            return Ok(Performed::Done);
        };
        let pulled = async {
            let auth = self
                .registry_auth
                .of(&step.target)
                .map_err(ApiError::bad_request)?;
            let request = PullImage {
                reference: step.target.clone(),
                platform: platform.clone(),
                auth,
            };
            finish(self.engine.image_pull(&request).await?).await
        };
        match pulled.await {
            Ok(_) => Ok(Performed::Done),
            Err(error) if !is_needed && !error.is(ErrorKind::Unreachable) => {
                Ok(Performed::Warned(format!("{}: {error}", step.target)))
            }
            Err(error) => Err(failure(step, "pull", error)),
        }
    }

    /// Actions on a container that exists, each one call.
    async fn act_on_container(&self, step: &Step, target: &str) -> Result<Performed, ExecuteError> {
        let engine = self.engine;
        self.before_stop(step).await?;
        let (word, result, harmless) = match &step.action {
            Action::RenameContainer => ("rename", self.rename(step).await, NOTHING),
            Action::StartContainer => ("start", engine.container_start(target).await, DONE),
            Action::UnpauseContainer => {
                ("unpause", engine.container_unpause(target).await, NOTHING)
            }
            Action::StopContainer { timeout } => (
                "stop",
                engine.container_stop(target, &stop_options(*timeout)).await,
                DONE_OR_GONE,
            ),
            Action::RestartContainer { timeout } => (
                "restart",
                engine
                    .container_restart(target, &stop_options(*timeout))
                    .await,
                NOTHING,
            ),
            Action::KillContainer { signal } => (
                "kill",
                engine.container_kill(target, signal).await,
                NOT_RUNNING_OR_GONE,
            ),
            Action::RemoveContainer { volumes } => {
                let options = RemoveContainer {
                    force: true,
                    volumes: *volumes,
                };
                (
                    "remove",
                    engine.container_remove(target, options).await,
                    GONE,
                )
            }
            Action::Disconnect { network } => {
                let body = NetworkDisconnect {
                    container: target.to_owned(),
                    force: true,
                };
                (
                    "disconnect",
                    engine.network_disconnect(network, &body).await,
                    GONE,
                )
            }
            Action::Connect { network, endpoint } => (
                "connect",
                self.connect(target, network, endpoint).await,
                NOTHING,
            ),
            // `act` has performed all others.
            _ => return Ok(Performed::Done),
        };
        match result {
            Err(error) if !harmless.contains(&error.kind) => Err(failure(step, word, error)),
            // What ran already has had its hooks.
            Err(_) => Ok(Performed::Done),
            Ok(()) => self.after_start(step).await.map(|()| Performed::Done),
        }
    }

    /// Nothing to rename is well when it has its final name already.
    async fn rename(&self, step: &Step) -> hoist_api::Result<()> {
        let renamed = self
            .engine
            .container_rename(&step.target, &step.object.name)
            .await;
        match renamed {
            Err(error) if error.is(ErrorKind::NotFound) => {
                let found = self.engine.container_inspect(&step.object.name).await;
                found.map_err(|_| error).map(drop)
            }
            other => other,
        }
    }

    async fn connect(
        &self,
        target: &str,
        network: &str,
        endpoint: &EndpointSettings,
    ) -> hoist_api::Result<()> {
        let body = NetworkConnect {
            container: target.to_owned(),
            endpoint_config: Some(endpoint.clone()),
        };
        self.engine.network_connect(network, &body).await
    }

    /// A network of this name with the same configuration is as good as a new one.
    async fn create_network(
        &self,
        step: &Step,
        request: &NetworkCreate,
    ) -> Result<Performed, ExecuteError> {
        let Err(error) = self.engine.network_create(request).await else {
            return Ok(Performed::Done);
        };
        if error.is(ErrorKind::Conflict)
            && let Ok(existing) = self.engine.network_inspect(&request.name).await
        {
            let same = [labels::PROJECT, labels::NETWORK, labels::CONFIG_HASH];
            if same
                .iter()
                .all(|label| existing.labels.get(*label) == request.labels.get(*label))
            {
                return Ok(Performed::Done);
            }
        }
        Err(failure(step, "create", error))
    }

    /// A container of this name that was made from the same configuration is as good as a new one.
    async fn create_container(
        &self,
        step: &Step,
        request: &ContainerCreate,
    ) -> Result<Performed, ExecuteError> {
        let error = match self.engine.container_create(&step.target, request).await {
            Ok(created) if created.warnings.is_empty() => return Ok(Performed::Done),
            Ok(created) => {
                return Ok(Performed::Warned(format!(
                    "{}: {}",
                    step.object,
                    created.warnings.join("; ")
                )));
            }
            Err(error) => error,
        };
        if !error.is(ErrorKind::Conflict) {
            return Err(failure(step, "create", error));
        }
        let Ok(existing) = self.engine.container_inspect(&step.target).await else {
            return Err(failure(step, "create", error));
        };
        let (have, want) = (&existing.config.labels, &request.config.labels);
        // Two runs of one service differ in their slugs.
        let same = [
            labels::PROJECT,
            labels::SERVICE,
            labels::CONTAINER_NUMBER,
            labels::ONE_OFF,
            labels::SLUG,
            labels::CONFIG_HASH,
            labels::IMAGE,
        ];
        if same
            .iter()
            .all(|label| have.get(*label) == want.get(*label))
        {
            return Ok(Performed::Done);
        }
        let owner = match (have.get(labels::PROJECT), have.get(labels::SERVICE)) {
            (Some(project), Some(service)) => format!("service {service:?} of project {project:?}"),
            _ => format!(
                "container {}",
                existing.id.get(..12).unwrap_or(&existing.id)
            ),
        };
        Err(ExecuteError::NameTaken {
            object: step.object.clone(),
            owner,
        })
    }

    async fn write_files(
        &self,
        step: &Step,
        files: &[InjectedFile],
    ) -> Result<Performed, ExecuteError> {
        let archive = pack(files).map_err(|source| ExecuteError::Pack {
            object: step.object.clone(),
            source,
        })?;
        let written = self
            .engine
            .container_put_archive(&step.target, "/", body_of(archive))
            .await;
        written
            .map(|()| Performed::Done)
            .map_err(|source| failure(step, "write secrets and configs into", source))
    }
}

fn failure(step: &Step, action: &'static str, source: ApiError) -> ExecuteError {
    ExecuteError::Engine {
        action,
        object: step.object.clone(),
        source,
    }
}

/// What others still use stays, with a warning.
fn still_in_use(step: &Step, result: hoist_api::Result<()>) -> Result<Performed, ExecuteError> {
    match result {
        Ok(()) => Ok(Performed::Done),
        Err(error) if error.is(ErrorKind::NotFound) => Ok(Performed::Done),
        Err(error) if error.is(ErrorKind::Conflict) || error.is(ErrorKind::Forbidden) => Ok(
            Performed::Warned(format!("{}: Resource is still in use", step.object)),
        ),
        Err(error) => Err(failure(step, "remove", error)),
    }
}

fn stop_options(timeout: Option<i64>) -> StopOptions {
    StopOptions {
        timeout,
        signal: None,
    }
}

/// A tar archive with the files at their paths from `/`.
fn pack(files: &[InjectedFile]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(file.uid);
        header.set_gid(file.gid);
        archive.append_data(
            &mut header,
            file.path.trim_start_matches('/'),
            file.content.as_slice(),
        )?;
    }
    archive.into_inner()
}
