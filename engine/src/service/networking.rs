//! Containers joining and leaving their networks: the order of things, and how they are undone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_api::error::{ApiError, Result, chain};
use hoist_network::ports::Claim;
use hoist_network::sandbox::{self, EmbeddedDns, Sandbox, SandboxError, SandboxPlan};

use super::start::open_network_namespace;
use super::{Service, internal};
use crate::containers::Container;
use crate::networking::files::{self, Resolver};
use crate::networking::join::{self, Planned};
use crate::runtime::spec::NetworkNamespace;
use crate::store;
use crate::store::container::{ContainerRecord, EndpointGiven};

pub(crate) use crate::networking::Networks;
pub(crate) use crate::networking::join::Joined;

/// Turns IPv6 off in all of a network namespace.
const NO_IPV6: &str = "net.ipv6.conf.all.disable_ipv6";
const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTNAME: &str = "/etc/hostname";

impl Service {
    /// Gives a container its network.
    pub(super) async fn join(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: &ContainerRecord,
    ) -> Result<Joined> {
        let mode = record.host_config.network_mode.clone();
        let (users, empty) = match self.user_namespace(record).await? {
            Some(users) => (Some((users.ids, users.namespace)), Some(users.network)),
            None => (None, None),
        };
        let joined = match mode.as_str() {
            "host" => {
                self.join_without_links(record, NetworkNamespace::Host)
                    .await
            }
            mode if mode == "none"
                || (record.config.network_disabled && !mode.starts_with("container:")) =>
            {
                self.join_nothing(record, empty).await
            }
            _ => match mode.strip_prefix("container:") {
                Some(id) => self.join_container(record, id),
                None => self.join_networks(container, record, empty).await,
            },
        };
        joined.map(|joined| Joined { users, ..joined })
    }

    /// A namespace with nothing but `lo`, which is up.
    async fn join_nothing(
        self: &Arc<Self>,
        record: &ContainerRecord,
        empty: Option<OwnedFd>,
    ) -> Result<Joined> {
        let plan = SandboxPlan {
            dns: EmbeddedDns::Off,
            ..join::sandbox_plan(record, &[])
        };
        let made = self
            .blocking(move |_| set_up(empty, &plan).map_err(|error| internal(&error)))
            .await?;
        let joined = self
            .join_without_links(record, NetworkNamespace::Passed)
            .await?;
        Ok(Joined {
            descriptor: Some(made.netns),
            ..joined
        })
    }

    pub(super) fn own_hostname(&self, record: &ContainerRecord) -> String {
        if record.host_config.uts_mode == "host"
            || (record.config.hostname.is_empty() && record.host_config.network_mode == "host")
        {
            return rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned();
        }
        if record.config.hostname.is_empty() {
            record.id.short().to_owned()
        } else {
            record.config.hostname.clone()
        }
    }

    async fn join_without_links(
        self: &Arc<Self>,
        record: &ContainerRecord,
        network: NetworkNamespace,
    ) -> Result<Joined> {
        let hostname = self.own_hostname(record);
        let names = files::own_names(&hostname, &record.config.domainname);
        let extra = files::extra_hosts(
            &record.host_config.extra_hosts,
            &[IpAddr::from([127, 0, 0, 1])],
        );
        let machine = network == NetworkNamespace::Host;
        let hosts = if machine {
            let mut text = std::fs::read_to_string(HOSTS).unwrap_or_default();
            for (name, address) in &extra {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            text
        } else {
            files::hosts(&extra, &[], &names)
        };
        let resolver = if machine {
            Resolver::Machine
        } else {
            Resolver::Servers
        };
        let text = files::machine_resolver(&self.config.resolv_conf, resolver);
        let resolv_conf = files::resolv_conf(&text, &record.host_config, resolver);
        let files = self
            .write_files(record, [hosts, resolv_conf, format!("{hostname}\n")])
            .await?;
        Ok(Joined {
            network,
            descriptor: None,
            users: None,
            endpoints: BTreeMap::new(),
            ports: Vec::new(),
            hostname,
            files,
            stored: Vec::new(),
        })
    }

    /// Shares another container's namespace, files and name.
    fn join_container(&self, record: &ContainerRecord, id: &str) -> Result<Joined> {
        let mut other = self.container_named(id)?.snapshot();
        if !other.run.status.is_alive() {
            return Err(ApiError::conflict(format!(
                "cannot join network of a non running container: {id}"
            )));
        }
        let pid = other.run.pid;
        // The one whose network it is has the files, when the other has joined it as well. Each was made before the next.
        while let Some(id) = other.host_config.network_mode.strip_prefix("container:") {
            match self.containers.find(id) {
                Ok(next) => other = next.snapshot(),
                Err(_) => break,
            }
        }
        let state = self.config.container_state(other.id.as_str());
        store::make_directory(&self.config.container_state(record.id.as_str()))
            .map_err(|error| internal(&error))?;
        Ok(Joined {
            network: NetworkNamespace::Passed,
            descriptor: Some(open_network_namespace(pid)?),
            users: None,
            endpoints: BTreeMap::new(),
            ports: Vec::new(),
            hostname: if record.config.hostname.is_empty() {
                self.own_hostname(&other)
            } else {
                record.config.hostname.clone()
            },
            files: managed(&state),
            stored: Vec::new(),
        })
    }

    async fn join_networks(
        self: &Arc<Self>,
        container: &Arc<Container>,
        record: &ContainerRecord,
        empty: Option<OwnedFd>,
    ) -> Result<Joined> {
        self.check_links(record)?;
        if record.endpoints.contains_key("bridge") {
            self.ensure_default_network().await?;
        }
        for name in record.endpoints.keys() {
            let network = self.networks.find(name)?;
            self.networks.ensure_bridge(&network).await?;
        }
        let planned = self.networks.plan_endpoints(record)?;
        let result = self.join_planned(record, &planned, empty).await;
        if result.is_err() {
            self.networks.release_planned(&planned);
            self.unjoin(container.id()).await;
        }
        result
    }

    async fn join_planned(
        self: &Arc<Self>,
        record: &ContainerRecord,
        planned: &[Planned],
        empty: Option<OwnedFd>,
    ) -> Result<Joined> {
        let plan = join::sandbox_plan(record, planned);
        let copy = record.clone();
        let (made, claims) = self
            .blocking(move |service| {
                let claims = service.networks.claim(&copy)?;
                match set_up(empty, &plan) {
                    Ok(made) => Ok((made, claims)),
                    Err(error) => {
                        service.networks.unclaim(claims);
                        let message = format!(
                            "cannot make the network of container {}: {}",
                            copy.name,
                            chain(&error)
                        );
                        Err(ApiError::new(hoist_api::ErrorKind::Internal, message))
                    }
                }
            })
            .await?;
        let stored = join::stored(&made, &claims)?;
        let ports = self
            .publish(record, claims, &join::targets(planned))
            .await?;
        let endpoints: BTreeMap<String, EndpointGiven> = planned
            .iter()
            .map(|endpoint| (endpoint.network.name.clone(), endpoint.given.clone()))
            .collect();
        self.networks.announce(record, &endpoints);
        self.announce_links(record);
        if let Some(dns) = made.dns {
            let view = self.networks.view(record, &self.config.dns);
            self.networks
                .dns
                .serve(record.id.as_str(), dns, view)
                .map_err(|error| internal(&error))?;
        }
        let hostname = self.own_hostname(record);
        let files = self
            .write_network_files(record, &endpoints, &hostname)
            .await?;
        Ok(Joined {
            network: NetworkNamespace::Passed,
            descriptor: Some(made.netns),
            users: None,
            endpoints,
            ports,
            hostname,
            files,
            stored,
        })
    }

    async fn publish(
        self: &Arc<Self>,
        record: &ContainerRecord,
        claims: Vec<(u16, Claim)>,
        targets: &[IpAddr],
    ) -> Result<Vec<crate::store::container::PublishedPort>> {
        let any = !claims.is_empty();
        let published = self.networks.publish(record.id.as_str(), claims, targets)?;
        if any {
            self.networks.rules.apply().await?;
        }
        Ok(published)
    }

    /// Writes the container's files anew, in place, for its present networks.
    pub(super) async fn write_network_files(
        self: &Arc<Self>,
        record: &ContainerRecord,
        endpoints: &BTreeMap<String, EndpointGiven>,
        hostname: &str,
    ) -> Result<Vec<(&'static str, PathBuf)>> {
        let own: Vec<IpAddr> = endpoints.values().flat_map(join::addresses).collect();
        let mut gateways: Vec<IpAddr> = Vec::new();
        for name in endpoints.keys() {
            if let Ok(network) = self.networks.find(name) {
                gateways.extend(network.subnets.iter().map(|subnet| subnet.gateway));
            }
        }
        gateways.truncate(1);
        let names = files::own_names(hostname, &record.config.domainname);
        let mut extra = files::extra_hosts(&record.host_config.extra_hosts, &gateways);
        extra.extend(self.link_hosts(record));
        let mut hosts = files::hosts(&extra, &own, &names);
        let switch = record.host_config.sysctls.get(NO_IPV6);
        if switch.is_some_and(|value| value == "1") {
            hosts = files::without_ipv6(&hosts);
        }
        // The default network has no names, as with Docker.
        let resolver = match endpoints.keys().all(|name| name == "bridge") {
            true => Resolver::Servers,
            false => Resolver::Embedded,
        };
        let text = files::machine_resolver(&self.config.resolv_conf, resolver);
        let resolv_conf = files::resolv_conf(&text, &record.host_config, resolver);
        self.write_files(record, [hosts, resolv_conf, format!("{hostname}\n")])
            .await
    }

    async fn write_files(
        self: &Arc<Self>,
        record: &ContainerRecord,
        contents: [String; 3],
    ) -> Result<Vec<(&'static str, PathBuf)>> {
        let state = self.config.container_state(record.id.as_str());
        let files = managed(&state);
        let written = files.clone();
        self.blocking(move |_| {
            store::make_directory(&state).map_err(|error| internal(&error))?;
            for ((_, path), content) in written.iter().zip(contents) {
                store::write_in_place(path, content.as_bytes())
                    .map_err(|error| internal(&error))?;
            }
            Ok(())
        })
        .await?;
        Ok(files)
    }

    /// Takes back all that a container has from its networks.
    pub(super) async fn leave(self: &Arc<Self>, container: &Container) {
        let (record, endpoints) = {
            let record = container.snapshot();
            let endpoints: BTreeMap<String, EndpointGiven> = record
                .endpoints
                .iter()
                .filter_map(|(name, endpoint)| Some((name.clone(), endpoint.given.clone()?)))
                .collect();
            (record, endpoints)
        };
        self.networks.withdraw(&record, &endpoints);
        self.emit_networks("disconnect", container, endpoints.keys());
        for endpoint in container.record().endpoints.values_mut() {
            endpoint.given = None;
        }
        self.unjoin(container.id()).await;
    }

    async fn unjoin(self: &Arc<Self>, id: &str) {
        self.networks.dns.stop(id);
        self.networks.dns.remove_network(&join::links_of(id));
        if self.networks.unpublish(id)
            && let Err(error) = self.networks.rules.apply().await
        {
            tracing::warn!(container = id, %error, "cannot take published ports out of the packet filter");
        }
    }

    /// The embedded DNS learns a container's new name.
    pub(super) async fn renamed_in_networks(self: &Arc<Self>, container: &Container) {
        let record = container.snapshot();
        let endpoints = record
            .endpoints
            .iter()
            .filter_map(|(name, endpoint)| Some((name.clone(), endpoint.given.clone()?)))
            .collect();
        self.networks.announce(&record, &endpoints);
    }
}

/// In a new network namespace, or in one that a user namespace owns.
fn set_up(
    empty: Option<OwnedFd>,
    plan: &SandboxPlan,
) -> std::result::Result<Sandbox, SandboxError> {
    match empty {
        Some(namespace) => sandbox::create_in(namespace, plan),
        None => sandbox::create(plan),
    }
}

fn managed(state: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        (HOSTS, state.join("hosts")),
        (RESOLV_CONF, state.join("resolv.conf")),
        (HOSTNAME, state.join("hostname")),
    ]
}
