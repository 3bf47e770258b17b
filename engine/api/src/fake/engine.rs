//! The fake engine's answers to each call.

use futures_util::{StreamExt as _, stream};
use tokio::sync::broadcast;

use super::{FakeEngine, objects};
use crate::Filters;
use crate::build::{BuildEvent, BuildPrune, BuildPruned, BuildRequest, BuildResult, BuildStream};
use crate::container::{
    AttachOptions, ContainerCreate, ContainerCreated, ContainerSummary, ListContainers,
    LogsOptions, RemoveContainer, TopResponse, WaitCondition, WaitResponse,
};
use crate::engine::{
    Attached, ByteStream, Engine, EventStream, FrameStream, PieceStream, ProgressStream,
    StopOptions, TerminalSize,
};
use crate::error::{ApiError, Result};
use crate::event::EventsOptions;
use crate::exec::{ExecCreate, ExecCreated, ExecInspect, ExecStart};
use crate::image::{
    AuthOutcome, Descriptor, DistributionInspect, ImageDelete, ImageHistory, ImageInspect,
    ImageSearchResult, ImageSummary, ImportImage, PullImage, PushImage, RemoveImage, SearchImages,
};
use crate::inspect::ContainerInspect;
use crate::network::{
    NetworkConnect, NetworkContainer, NetworkCreate, NetworkCreated, NetworkDisconnect,
    NetworkInspect,
};
use crate::system::{Info, Ping, Version};
use crate::volume::{Volume, VolumeCreate, VolumeList};

fn attached() -> Attached {
    Attached {
        output: stream::empty().boxed(),
        input: Box::pin(tokio::io::sink()),
    }
}

impl FakeEngine {
    /// Changes a container, then tells of it.
    fn change(
        &self,
        key: &str,
        action: &str,
        change: impl FnOnce(&mut ContainerInspect) -> Result<()>,
    ) -> Result<()> {
        let container = {
            let mut state = self.lock();
            let container = state.container(key)?;
            change(container)?;
            container.clone()
        };
        self.emit(&container, action);
        Ok(())
    }

    fn stop(&self, key: &str, code: i64) -> Result<()> {
        self.change(key, "die", |container| {
            if !container.state.running {
                return Err(ApiError::not_modified());
            }
            objects::end(container, code);
            Ok(())
        })
    }
}

impl Engine for FakeEngine {
    async fn ping(&self) -> Result<Ping> {
        Ok(Ping {
            api_version: "1.47".into(),
            os_type: "linux".into(),
            server: "Fake".into(),
        })
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version {
            version: "0.0.0".into(),
            api_version: "1.47".into(),
            os: "linux".into(),
            ..Default::default()
        })
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info {
            os_type: "linux".into(),
            ..Default::default()
        })
    }

    async fn containers(&self, options: &ListContainers) -> Result<Vec<ContainerSummary>> {
        let state = self.lock();
        let mut found: Vec<&ContainerInspect> = state
            .containers
            .values()
            .filter(|container| options.all || options.limit.is_some() || container.state.running)
            .filter(|container| options.filters.accepts_labels(&container.config.labels))
            .filter(|container| objects::name_matches(&options.filters, &container.name))
            .filter(|container| {
                options
                    .filters
                    .accepts("status", |wanted| *wanted == container.state.status)
            })
            .collect();
        found.sort_by(|one, other| other.created.cmp(&one.created));
        Ok(found
            .into_iter()
            .map(objects::summary)
            .take(options.limit.unwrap_or(usize::MAX))
            .collect())
    }

    async fn container_create(
        &self,
        name: &str,
        body: &ContainerCreate,
    ) -> Result<ContainerCreated> {
        self.record(format!("container create {name}"))?;
        let container = self.lock().create_container(name, body)?;
        self.emit(&container, "create");
        self.is_interrupted(&format!("container create {name}"))?;
        Ok(ContainerCreated {
            id: container.id,
            warnings: Vec::new(),
        })
    }

    async fn container_inspect(&self, container: &str) -> Result<ContainerInspect> {
        self.lock().container(container).cloned()
    }

    async fn container_start(&self, container: &str) -> Result<()> {
        let name = self
            .lock()
            .container(container)?
            .name
            .trim_start_matches('/')
            .to_owned();
        self.record(format!("container start {name}"))?;
        let (ended, inspect) = {
            let mut state = self.lock();
            (
                state.start_container(container)?,
                state.container(container)?.clone(),
            )
        };
        self.emit(&inspect, "start");
        if ended.is_some() {
            self.emit(&inspect, "die");
        } else if let Some(health) = &inspect.state.health {
            self.emit(&inspect, &format!("health_status: {}", health.status));
        }
        self.is_interrupted(&format!("container start {name}"))
    }

    async fn container_stop(&self, container: &str, _options: &StopOptions) -> Result<()> {
        let name = self
            .lock()
            .container(container)?
            .name
            .trim_start_matches('/')
            .to_owned();
        self.record(format!("container stop {name}"))?;
        self.stop(container, 0)
    }

    async fn container_restart(&self, container: &str, _options: &StopOptions) -> Result<()> {
        let name = self
            .lock()
            .container(container)?
            .name
            .trim_start_matches('/')
            .to_owned();
        self.record(format!("container restart {name}"))?;
        let _ = self.stop(container, 0);
        self.lock().start_container(container)?;
        self.change(container, "start", |_| Ok(()))
    }

    async fn container_kill(&self, container: &str, signal: &str) -> Result<()> {
        let name = self
            .lock()
            .container(container)?
            .name
            .trim_start_matches('/')
            .to_owned();
        self.record(format!("container kill {name} {signal}"))?;
        self.stop(container, 137)
            .map_err(|_| ApiError::conflict(format!("Container {container} is not running")))
    }

    async fn container_pause(&self, container: &str) -> Result<()> {
        self.record(format!("container pause {container}"))?;
        self.change(container, "pause", |found| {
            found.state.status = "paused".into();
            found.state.paused = true;
            Ok(())
        })
    }

    async fn container_unpause(&self, container: &str) -> Result<()> {
        self.record(format!("container unpause {container}"))?;
        self.change(container, "unpause", |found| {
            found.state.status = "running".into();
            found.state.paused = false;
            Ok(())
        })
    }

    async fn container_remove(&self, container: &str, options: RemoveContainer) -> Result<()> {
        let found = self.lock().container(container)?.clone();
        self.record(format!(
            "container remove {}",
            found.name.trim_start_matches('/')
        ))?;
        if found.state.running && !options.force {
            return Err(ApiError::conflict(format!(
                "cannot remove container \"{}\": container is running",
                found.name
            )));
        }
        self.lock().containers.remove(&found.id);
        self.emit(&found, "destroy");
        self.is_interrupted(&format!("container remove {}", found.name))
    }

    async fn container_wait(
        &self,
        container: &str,
        condition: WaitCondition,
    ) -> Result<WaitResponse> {
        let mut events = self.events.subscribe();
        let id = self.lock().container(container)?.id.clone();
        loop {
            let now = self
                .lock()
                .containers
                .get(&id)
                .map(|found| (found.state.running, found.state.exit_code));
            let done = match (now, condition) {
                (None, _) => Some(0),
                (Some((false, code)), WaitCondition::NotRunning) => Some(code),
                _ => None,
            };
            if let Some(status_code) = done {
                return Ok(WaitResponse {
                    status_code,
                    error: None,
                });
            }
            let Ok(event) = events.recv().await else {
                continue;
            };
            if event.actor.id == id && event.action == "die" && condition == WaitCondition::NextExit
            {
                let code = event
                    .actor
                    .attributes
                    .get("exitCode")
                    .and_then(|code| code.parse().ok());
                return Ok(WaitResponse {
                    status_code: code.unwrap_or_default(),
                    error: None,
                });
            }
        }
    }

    async fn container_rename(&self, container: &str, name: &str) -> Result<()> {
        let old = self
            .lock()
            .container(container)?
            .name
            .trim_start_matches('/')
            .to_owned();
        self.record(format!("container rename {old} {name}"))?;
        self.change(container, "rename", |found| {
            found.name = format!("/{name}");
            Ok(())
        })?;
        self.is_interrupted(&format!("container rename {old} {name}"))
    }

    async fn container_logs(&self, container: &str, _options: &LogsOptions) -> Result<FrameStream> {
        self.lock().container(container)?;
        Ok(stream::empty().boxed())
    }

    async fn container_attach(&self, container: &str, _options: AttachOptions) -> Result<Attached> {
        self.lock().container(container)?;
        Ok(attached())
    }

    async fn container_resize(&self, container: &str, _size: TerminalSize) -> Result<()> {
        self.lock().container(container).map(drop)
    }

    async fn container_top(&self, container: &str) -> Result<TopResponse> {
        self.lock().container(container)?;
        Ok(TopResponse::default())
    }

    async fn container_put_archive(
        &self,
        container: &str,
        path: &str,
        mut body: ByteStream,
    ) -> Result<()> {
        self.record(format!("container put {container} {path}"))?;
        while let Some(piece) = body.next().await {
            piece.map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
        Ok(())
    }

    async fn exec_create(&self, container: &str, body: &ExecCreate) -> Result<ExecCreated> {
        self.record(format!("exec create {container} {}", body.cmd.join(" ")))?;
        let mut state = self.lock();
        state.container(container)?;
        Ok(ExecCreated {
            id: state.next_id("exec"),
        })
    }

    async fn exec_start(&self, _exec: &str, _body: &ExecStart) -> Result<Attached> {
        Ok(attached())
    }

    async fn exec_start_detached(&self, _exec: &str) -> Result<()> {
        Ok(())
    }

    async fn exec_inspect(&self, exec: &str) -> Result<ExecInspect> {
        Ok(ExecInspect {
            id: exec.into(),
            exit_code: Some(0),
            ..Default::default()
        })
    }

    async fn exec_resize(&self, _exec: &str, _size: TerminalSize) -> Result<()> {
        Ok(())
    }

    async fn images(&self, filters: &Filters) -> Result<Vec<ImageSummary>> {
        let state = self.lock();
        let images = state.images.values().filter(|image| {
            filters.accepts("reference", |wanted| {
                image
                    .repo_tags
                    .iter()
                    .any(|tag| tag.starts_with(wanted.as_str()))
            })
        });
        Ok(images
            .map(|image| ImageSummary {
                id: image.id.clone(),
                repo_tags: image.repo_tags.clone(),
                ..Default::default()
            })
            .collect())
    }

    async fn image_inspect(&self, image: &str) -> Result<ImageInspect> {
        let state = self.lock();
        let id = state.image_id(image)?;
        let found = state.images.values().find(|found| found.id == id).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("No such image: {image}")))
    }

    async fn image_remove(&self, image: &str, _options: RemoveImage) -> Result<Vec<ImageDelete>> {
        self.record(format!("image remove {image}"))?;
        let mut state = self.lock();
        let id = state.image_id(image)?;
        state.images.retain(|_, found| found.id != id);
        Ok(vec![ImageDelete {
            deleted: id,
            ..Default::default()
        }])
    }

    async fn image_tag(&self, image: &str, reference: &str) -> Result<()> {
        self.record(format!("image tag {image} {reference}"))?;
        let mut state = self.lock();
        let id = state.image_id(image)?;
        if let Some(found) = state.images.values_mut().find(|found| found.id == id) {
            found.repo_tags.push(reference.to_owned());
        }
        Ok(())
    }

    async fn image_import(&self, options: &ImportImage, _body: ByteStream) -> Result<String> {
        self.record(format!("image import {}", options.reference))?;
        self.add_image(&options.reference);
        self.lock().image_id(&options.reference)
    }

    /// As if the registry had what is here.
    async fn distribution_inspect(&self, image: &str, _auth: &str) -> Result<DistributionInspect> {
        let id = self.lock().image_id(image)?;
        Ok(DistributionInspect {
            descriptor: Descriptor {
                digest: id,
                ..Default::default()
            },
            ..Default::default()
        })
    }

    async fn image_load(&self, _body: ByteStream) -> Result<ProgressStream> {
        self.record("image load".into())?;
        Ok(stream::empty().boxed())
    }

    async fn image_build(
        &self,
        request: &BuildRequest,
        _body: Option<ByteStream>,
    ) -> Result<BuildStream> {
        self.record(format!("image build {}", request.tags.join(" ")))?;
        for tag in &request.tags {
            self.add_image(tag);
        }
        let image = match request.tags.first() {
            Some(tag) => self.lock().image_id(tag)?,
            None => String::new(),
        };
        let finished = BuildEvent::Finished(BuildResult {
            image,
            tags: request.tags.clone(),
            ..Default::default()
        });
        Ok(stream::iter([Ok(finished)]).boxed())
    }

    async fn build_prune(&self, _options: &BuildPrune) -> Result<BuildPruned> {
        self.record("build prune".into())?;
        Ok(BuildPruned::default())
    }

    async fn image_pull(&self, pull: &PullImage) -> Result<ProgressStream> {
        self.record(format!("image pull {}", pull.reference))?;
        self.add_image(&pull.reference);
        Ok(stream::empty().boxed())
    }

    async fn image_push(&self, push: &PushImage) -> Result<ProgressStream> {
        self.record(format!("image push {}", push.reference))?;
        Ok(stream::empty().boxed())
    }

    async fn image_save(&self, images: &[String]) -> Result<PieceStream> {
        self.record(format!("image save {}", images.join(" ")))?;
        Ok(stream::empty().boxed())
    }

    async fn image_history(&self, image: &str) -> Result<Vec<ImageHistory>> {
        self.lock().image_id(image)?;
        Ok(Vec::new())
    }

    async fn image_search(&self, _search: &SearchImages) -> Result<Vec<ImageSearchResult>> {
        Ok(Vec::new())
    }

    async fn registry_login(&self, _auth: &serde_json::Value) -> Result<AuthOutcome> {
        Ok(AuthOutcome::default())
    }

    async fn networks(&self, filters: &Filters) -> Result<Vec<NetworkInspect>> {
        let state = self.lock();
        let matching = state.networks.values().filter(|network| {
            filters.accepts_labels(&network.labels) && objects::name_matches(filters, &network.name)
        });
        Ok(matching.cloned().collect())
    }

    async fn network_inspect(&self, network: &str) -> Result<NetworkInspect> {
        let state = self.lock();
        let name = state.network_name(network)?;
        let mut inspect = state.networks[&name].clone();
        for container in state
            .containers
            .values()
            .filter(|found| found.state.running)
        {
            if container.network_settings.networks.contains_key(&name) {
                let name = container.name.trim_start_matches('/').to_owned();
                inspect.containers.insert(
                    container.id.clone(),
                    NetworkContainer {
                        name,
                        ..Default::default()
                    },
                );
            }
        }
        Ok(inspect)
    }

    async fn network_create(&self, body: &NetworkCreate) -> Result<NetworkCreated> {
        self.record(format!("network create {}", body.name))?;
        let mut state = self.lock();
        if state.networks.contains_key(&body.name) {
            return Err(ApiError::conflict(format!(
                "network with name {} already exists",
                body.name
            )));
        }
        let id = state.next_id(&body.name);
        let mut network = NetworkInspect {
            name: body.name.clone(),
            id: id.clone(),
            created: objects::now(),
            scope: "local".into(),
            driver: if body.driver.is_empty() {
                "bridge".into()
            } else {
                body.driver.clone()
            },
            internal: body.internal,
            enable_ipv4: body.enable_ipv4.unwrap_or(true),
            enable_ipv6: body.enable_ipv6.unwrap_or(false),
            ipam: body.ipam.clone().unwrap_or_default(),
            options: body.options.clone(),
            ..Default::default()
        };
        objects::merge(&mut network.labels, &body.labels);
        state.networks.insert(body.name.clone(), network);
        Ok(NetworkCreated {
            id,
            warning: String::new(),
        })
    }

    async fn network_remove(&self, network: &str) -> Result<()> {
        let name = self.lock().network_name(network)?;
        self.record(format!("network remove {name}"))?;
        let used = self.network_inspect(&name).await?;
        if !used.containers.is_empty() {
            return Err(ApiError::forbidden(format!(
                "error while removing network: network {name} has active endpoints"
            )));
        }
        self.lock().networks.remove(&name);
        Ok(())
    }

    async fn network_connect(&self, network: &str, body: &NetworkConnect) -> Result<()> {
        let mut state = self.lock();
        let name = state.network_name(network)?;
        let mut endpoint = body.endpoint_config.clone().unwrap_or_default();
        endpoint.network_id.clone_from(&state.networks[&name].id);
        state
            .container(&body.container)?
            .network_settings
            .networks
            .insert(name.clone(), endpoint);
        drop(state);
        self.record(format!("network connect {name} {}", body.container))
    }

    async fn network_disconnect(&self, network: &str, body: &NetworkDisconnect) -> Result<()> {
        let mut state = self.lock();
        let name = state.network_name(network)?;
        state
            .container(&body.container)?
            .network_settings
            .networks
            .remove(&name);
        drop(state);
        self.record(format!("network disconnect {name} {}", body.container))
    }

    async fn volumes(&self, filters: &Filters) -> Result<VolumeList> {
        let state = self.lock();
        let matching = state.volumes.values().filter(|volume| {
            filters.accepts_labels(&volume.labels) && objects::name_matches(filters, &volume.name)
        });
        Ok(VolumeList {
            volumes: matching.cloned().collect(),
            warnings: None,
        })
    }

    async fn volume_inspect(&self, volume: &str) -> Result<Volume> {
        let found = self.lock().volumes.get(volume).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("get {volume}: no such volume")))
    }

    async fn volume_create(&self, body: &VolumeCreate) -> Result<Volume> {
        self.record(format!("volume create {}", body.name))?;
        let mut state = self.lock();
        let volume = state
            .volumes
            .entry(body.name.clone())
            .or_insert_with(|| Volume {
                name: body.name.clone(),
                driver: "local".into(),
                scope: "local".into(),
                created_at: objects::now(),
                labels: body.labels.clone(),
                options: Some(body.driver_opts.clone()),
                ..Default::default()
            });
        Ok(volume.clone())
    }

    async fn volume_remove(&self, volume: &str, force: bool) -> Result<()> {
        self.record(format!("volume remove {volume}"))?;
        let mut state = self.lock();
        let used = state.containers.values().any(|container| {
            container
                .mounts
                .iter()
                .any(|mount| mount.kind == "volume" && mount.name == volume)
        });
        if used {
            return Err(ApiError::conflict(format!(
                "remove {volume}: volume is in use"
            )));
        }
        match state.volumes.remove(volume) {
            None if !force => Err(ApiError::not_found(format!("get {volume}: no such volume"))),
            _ => Ok(()),
        }
    }

    async fn events(&self, options: &EventsOptions) -> Result<EventStream> {
        let filters = options.filters.clone();
        let events = stream::unfold(self.events.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let wanted = move |event: &crate::event::Event| {
            filters.accepts("type", |kind| *kind == event.kind)
                && filters.accepts("event", |action| event.action.starts_with(action.as_str()))
                && filters.accepts_labels(&event.actor.attributes)
        };
        Ok(events
            .filter(move |event| std::future::ready(wanted(event)))
            .map(Ok)
            .boxed())
    }
}
