//! Steps that create, replace and remove containers.

use indexmap::IndexMap;

use crate::desire::{DesiredService, ImageSource, InstanceFacts};
use crate::observe::{ContainerState, ObservedContainer};
use crate::plan::PlanError;
use crate::plan::builder::{Draft, NewStep};
use crate::plan::error::MissingImage;
use crate::plan::start::{Instance, InstanceState};
use crate::plan::step::{Action, Cause, Kind};

use super::fate::{Fate, ServiceFate, temporary_name};
use super::{Planner, REQUIRED};

/// A container to create.
#[derive(Debug)]
struct NewContainer<'a> {
    service: &'a DesiredService,
    number: u32,
    cause: Cause,
    /// The container it replaces.
    replaces: Option<&'a ObservedContainer>,
}

impl Planner<'_> {
    /// Adds the steps of all services, dependencies first.
    pub(super) fn add_containers(
        &mut self,
        fates: &IndexMap<String, ServiceFate<'_>>,
    ) -> Result<(), PlanError> {
        self.check_images(fates)?;
        let context = self.context;
        for (name, fate) in fates {
            let Some(service) = context.desired.services.get(name) else {
                continue;
            };
            for (container, cause) in &fate.removed {
                if !self.removals.contains_key(&container.id) {
                    self.remove(container, cause);
                }
            }
            let mut instances = Vec::new();
            for (container, what) in &fate.containers {
                instances.push(match what {
                    Fate::Keep => self.keep(service, container, fate.interrupted_by.as_deref()),
                    Fate::Rename => self.rename(service, container),
                    Fate::Replace(cause) => self.replace(service, container, cause)?,
                });
            }
            for &number in &fate.created {
                instances.push(self.create(&NewContainer {
                    service,
                    number,
                    cause: Cause::Missing,
                    replaces: None,
                })?);
            }
            self.instances.insert(name.clone(), instances);
        }
        Ok(())
    }

    /// Every image that a new container needs must be there; all missing ones are told at once.
    fn check_images(&self, fates: &IndexMap<String, ServiceFate<'_>>) -> Result<(), PlanError> {
        let context = self.context;
        let new = fates
            .iter()
            .filter(|(_, fate)| fate.replaces_any() || !fate.created.is_empty());
        let services = new.filter_map(|(name, _)| context.desired.services.get(name));
        let missing: Vec<MissingImage> = services
            .filter(|service| context.observed.image_id(&service.image).is_none())
            .map(|service| MissingImage {
                service: service.name.clone(),
                image: service.image.clone(),
                advice: advice(service),
            })
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(PlanError::ImagesMissing { images: missing })
        }
    }

    /// A container that was never started may lack its files: an interrupted run had not come so far.
    fn keep(
        &mut self,
        service: &DesiredService,
        container: &ObservedContainer,
        interrupted_by: Option<&str>,
    ) -> Instance {
        let mut ready = self.reconnect(service, container);
        let mut instance = Instance::existing(container);
        if container.state == ContainerState::Created && self.context.options.start {
            ready.extend(self.write_files(service, &container.name, &container.id, None));
        }
        if let Some(&stop) = self.stops.get(&container.id) {
            let recreated = || {
                container
                    .networks
                    .keys()
                    .find(|name| self.context.resources.is_recreated_network(name))
            };
            let cause = match (interrupted_by, recreated()) {
                (Some(other), _) => Cause::Follows(format!("service {other}")),
                (None, Some(network)) => Cause::Reconnected(format!("network {network}")),
                (None, None) => Cause::NotRunning("stopped".to_owned()),
            };
            instance.state = InstanceState::Interrupted(cause);
            instance.ready.push(stop);
        }
        instance.ready.extend(ready);
        if matches!(instance.state, InstanceState::Running(_)) {
            self.builder.leave(&instance.name);
        }
        instance
    }

    fn rename(&mut self, service: &DesiredService, container: &ObservedContainer) -> Instance {
        let name = service.container_name(&self.context.desired.project, container.number());
        let mut instance = self.keep(service, container, None);
        let step =
            NewStep::new(Kind::Container, &name, Action::RenameContainer).target(&container.name);
        let draft = self
            .builder
            .add(step.cause(Cause::Leftover), instance.ready.iter().copied());
        instance.ready.push(draft);
        instance.name = name;
        instance
    }

    /// Creates the new one under a temporary name, so that the old one is there until nothing can fail any more;
    /// then stops and removes the old one, and gives the new one its name.
    fn replace(
        &mut self,
        service: &DesiredService,
        old: &ObservedContainer,
        cause: &Cause,
    ) -> Result<Instance, PlanError> {
        let new = NewContainer {
            service,
            number: old.number().max(1),
            cause: cause.clone(),
            replaces: Some(old),
        };
        if let Some(&removal) = self.removals.get(&old.id) {
            let instance = self.create(&new)?;
            if let Some(&create) = instance.ready.first() {
                self.builder.order(create, removal, REQUIRED);
            }
            return Ok(instance);
        }
        let name = service.container_name(&self.context.desired.project, new.number);
        let temporary = temporary_name(old, &name);
        let created = self.create_as(&new, &name, &temporary)?;
        let complete = self
            .write_files(service, &name, &temporary, Some(created))
            .unwrap_or(created);
        let mut before_removal = vec![complete];
        if old.state.is_alive() {
            let fresh = !self.stops.contains_key(&old.id);
            let stop = self.stop(old, None, true);
            if fresh {
                self.builder.order(stop, complete, REQUIRED);
            }
            for dependent in self.stops_before(&service.name) {
                self.builder.order(stop, dependent, REQUIRED);
            }
            before_removal.push(stop);
        }
        let remove = NewStep::new(
            Kind::Container,
            &name,
            Action::RemoveContainer { volumes: false },
        );
        let removed = self
            .builder
            .add(remove.target(&old.id).replacing(), before_removal);
        self.removals.insert(old.id.clone(), removed);
        let rename = NewStep::new(Kind::Container, &name, Action::RenameContainer)
            .target(&temporary)
            .replacing();
        let renamed = self.builder.add(rename, [removed]);
        Ok(Instance {
            target: name.clone(),
            name,
            state: InstanceState::New,
            ready: vec![renamed],
        })
    }

    fn create(&mut self, new: &NewContainer<'_>) -> Result<Instance, PlanError> {
        let name = new
            .service
            .container_name(&self.context.desired.project, new.number);
        let created = self.create_as(new, &name, &name)?;
        let mut ready = vec![created];
        ready.extend(self.write_files(new.service, &name, &name, Some(created)));
        Ok(Instance {
            target: name.clone(),
            name,
            state: InstanceState::New,
            ready,
        })
    }

    /// Adds the creation under `target`, after the networks, volumes and containers it refers to.
    fn create_as(
        &mut self,
        new: &NewContainer<'_>,
        name: &str,
        target: &str,
    ) -> Result<Draft, PlanError> {
        let context = self.context;
        let service = new.service;
        let (shared, mut after) = self.shared_containers(service)?;
        if service.is_linked_by_engine() {
            let linked = service.links.iter();
            let linked = linked.filter_map(|(linked, _)| self.instances.get(linked));
            after.extend(
                linked
                    .flatten()
                    .flat_map(|instance| instance.ready.iter().copied()),
            );
        }
        let networks = service
            .networks
            .iter()
            .filter_map(|key| context.desired.networks.get(key));
        let volumes = service
            .volumes
            .iter()
            .filter_map(|key| context.desired.volumes.get(key));
        after
            .extend(networks.filter_map(|network| self.ready_networks.get(&network.name).copied()));
        after.extend(volumes.filter_map(|volume| self.ready_volumes.get(&volume.name).copied()));
        let inherited = match new.replaces {
            Some(old) if !context.options.renew_anonymous_volumes => old.anonymous_volumes(),
            _ => Vec::new(),
        };
        let facts = InstanceFacts {
            number: new.number,
            image_id: context
                .observed
                .image_id(&service.image)
                .unwrap_or_default(),
            shared: &shared,
            links: &self.links(service),
            inherited: &inherited,
            replaces: new.replaces.map(|old| old.name.as_str()),
        };
        let request = service.instance(&context.desired.project, &facts);
        let mut step = NewStep::new(
            Kind::Container,
            name,
            Action::CreateContainer(Box::new(request)),
        );
        step.replacing = name != target;
        Ok(self
            .builder
            .add(step.target(target).cause(new.cause.clone()), after))
    }

    fn write_files(
        &mut self,
        service: &DesiredService,
        name: &str,
        target: &str,
        after: Option<Draft>,
    ) -> Option<Draft> {
        if service.files.is_empty() {
            return None;
        }
        let mut step = NewStep::new(
            Kind::Container,
            name,
            Action::WriteFiles(service.files.clone()),
        )
        .target(target);
        step.replacing = name != target;
        Some(self.builder.add(step, after))
    }

    /// Names of the containers that a service's containers refer to, and the steps after which they exist.
    fn shared_containers(
        &self,
        service: &DesiredService,
    ) -> Result<(Vec<String>, Vec<Draft>), PlanError> {
        let (mut names, mut after) = (Vec::new(), Vec::new());
        for shared in &service.shared {
            let planned = self
                .instances
                .get(&shared.service)
                .and_then(|instances| instances.first());
            let existing = || self.context.observed.of_service(&shared.service).next();
            if let Some(instance) = planned {
                names.push(instance.name.clone());
                after.extend(instance.ready.iter().copied());
            } else if let Some(container) = existing() {
                names.push(container.name.clone());
            } else {
                let thing = shared
                    .reason
                    .shared_thing()
                    .unwrap_or("anything")
                    .to_owned();
                return Err(PlanError::SharedContainerMissing {
                    thing,
                    service: shared.service.clone(),
                });
            }
        }
        Ok((names, after))
    }

    /// `container:alias` for every container of every linked service.
    fn links(&self, service: &DesiredService) -> Vec<String> {
        let links = service.links.iter().flat_map(|(linked, alias)| {
            let instances = self.instances.get(linked).into_iter().flatten();
            instances.map(move |instance| format!("{}:{alias}", instance.name))
        });
        links.collect()
    }
}

fn advice(service: &DesiredService) -> String {
    let image = &service.image;
    match service.image_source {
        ImageSource::Registry => format!(
            "fetch it with `hoist image pull {image}`, import it with `hoist image import FILE {image}`, or load it with `hoist image load -i FILE`"
        ),
        ImageSource::Local => format!(
            "its pull_policy is \"never\"; import it with `hoist image import FILE {image}`, or load it with `hoist image load -i FILE`"
        ),
        ImageSource::Build => format!("build it with `hoist build {}`", service.name),
    }
}
