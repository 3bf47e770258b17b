//! Published ports of containers that change their networks while they run: the ports lead to where the container is now, and
//! nowhere while it is in internal networks only.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hoist_api::error::Result;
use hoist_shim::protocol::RequestBody;

use super::Service;
use crate::containers::Container;
use crate::networking::join::{self, STORED_PORTS};
use crate::store::container::{ContainerRecord, EndpointGiven};

impl Service {
    /// After a running container has got a place in a network or has lost one.
    pub(super) async fn ports_follow(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let record = container.snapshot();
        let host = &record.host_config;
        if host.port_bindings.is_empty() && !host.publish_all_ports {
            return Ok(());
        }
        let mut claims = self.networks.retake(record.id.as_str(), &record.ports);
        let reaches_out = self.networks.reaches_out(&record);
        if claims.is_empty() && reaches_out {
            claims = self.networks.claim(&record)?;
        }
        if !reaches_out {
            self.networks.unclaim(std::mem::take(&mut claims));
        }
        let stored = join::stored_ports(&claims)?;
        let endpoints: BTreeMap<String, EndpointGiven> = record
            .endpoints
            .iter()
            .filter_map(|(name, endpoint)| Some((name.clone(), endpoint.given.clone()?)))
            .collect();
        let targets = self.port_targets(&record, &endpoints);
        let ports = self
            .networks
            .publish(record.id.as_str(), claims, &targets)?;
        self.networks.rules.apply().await?;
        container.record().ports = ports;
        if let Some(shim) = container.shim() {
            let name = STORED_PORTS.to_owned();
            // Without, only the next engine cannot go on with them.
            if let Err(error) = shim.call(RequestBody::StoreFds { name }, stored).await {
                tracing::warn!(container = container.id(), %error, "the shim does not keep a container's ports");
            }
        }
        Ok(())
    }

    /// The addresses that a running container's published ports lead to.
    pub(super) fn port_targets(
        &self,
        record: &ContainerRecord,
        endpoints: &BTreeMap<String, EndpointGiven>,
    ) -> Vec<IpAddr> {
        let mut order: Vec<(i64, bool, &String)> = endpoints
            .keys()
            .map(|name| {
                let priority = record
                    .endpoints
                    .get(name)
                    .map_or(0, |endpoint| endpoint.asked.gw_priority);
                (
                    -priority,
                    self.networks
                        .find(name)
                        .is_ok_and(|network| network.internal),
                    name,
                )
            })
            .collect();
        order.sort();
        order
            .first()
            .and_then(|(_, _, name)| endpoints.get(*name))
            .map(join::addresses)
            .unwrap_or_default()
    }
}
