//! Removing containers with all that is theirs.

use std::sync::Arc;
use std::time::Duration;

use hoist_api::container::RemoveContainer;
use hoist_api::error::{ApiError, Result};
use jiff::Timestamp;

use super::{Service, internal};
use crate::containers::Container;
use crate::store;
use crate::store::container::Status;

/// How long a container that has ended stays while events are followed.
const LOOKED_AT: Duration = Duration::from_millis(100);

impl Service {
    /// Removes a container.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        key: &str,
        options: RemoveContainer,
    ) -> Result<()> {
        let container = self.containers.find(key)?;
        let _operation = container.operation.lock().await;
        let (status, name) = {
            let record = container.record();
            (record.run.status, record.name.clone())
        };
        match status {
            Status::Removing | Status::Dead => {
                // Another removal finished while this one waited for its turn.
                return Err(ApiError::not_found(format!("No such container: {key}")));
            }
            status if status.is_alive() || status == Status::Restarting => {
                if !options.force {
                    let state = status.as_str();
                    return Err(ApiError::conflict(format!(
                        "cannot remove container \"/{name}\": container is {state}: stop the container before removing or force remove"
                    )));
                }
                self.end_for_removal(&container).await?;
            }
            _ => {}
        }
        self.let_followers_look(&container).await;
        self.remove_stopped(&container, options.volumes).await
    }

    /// Who is told of a container's end asks for its state: Docker Compose 2 crashes when there is none any more, which
    /// Docker's engine is too slow for.
    async fn let_followers_look(&self, container: &Arc<Container>) {
        let finished = container.record().run.finished_at;
        if let Some(finished) = finished.filter(|_| self.events.listeners() > 0) {
            let since = Timestamp::now().duration_since(finished);
            // A clock that was set meanwhile is not waited for.
            let since = Duration::try_from(since).unwrap_or(LOOKED_AT);
            tokio::time::sleep(LOOKED_AT.saturating_sub(since)).await;
        }
    }

    async fn end_for_removal(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        {
            let mut live = container.live();
            live.stopping = true;
            if let Some(restart) = live.restart.take() {
                restart.abort();
            }
        }
        if !container.is_running() {
            return Ok(());
        }
        if container.record().run.status == Status::Paused {
            let stop = hoist_api::engine::StopOptions {
                timeout: Some(0),
                signal: None,
            };
            return self.stop_locked(container, &stop).await;
        }
        let mut phase = container.watch();
        self.end_by_force(container, &mut phase).await
    }

    async fn remove_stopped(
        self: &Arc<Self>,
        container: &Arc<Container>,
        volumes: bool,
    ) -> Result<()> {
        let before = {
            let mut record = container.record();
            std::mem::replace(&mut record.run.status, Status::Removing)
        };
        let record = container.snapshot();
        let removed = self
            .blocking(move |service| {
                let id = record.id.as_str();
                store::remove_directory(&service.config.container_state(id))
                    .map_err(|error| internal(&error))?;
                store::remove_directory(&service.config.container_root(id))
                    .map_err(|error| internal(&error))?;
                if volumes {
                    service.remove_anonymous(&record);
                }
                Ok(())
            })
            .await;
        if let Err(error) = removed {
            container.record().run.status = before;
            return Err(error);
        }
        self.containers.remove(container);
        self.forget_execs(container.id());
        self.emit(container, "destroy", []);
        container.announce(|phase| phase.removed = true);
        Ok(())
    }
}
