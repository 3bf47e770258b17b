//! Whether host ports would be free, asked before anything is started: each is claimed for a moment, all together, so
//! that two containers of one request that want the same port are found too.

use std::collections::BTreeSet;

use hoist_api::error::{Result, chain};
use hoist_api::ports::{PortConflict, WantedPorts};
use hoist_network::firewall::Protocol;
use hoist_network::ports::{Claim, HostPorts, PortRequest};

use super::Networks;
use super::ports::{self, Binding};

/// What to do about a port that is taken.
pub(super) const HINT: &str = "stop what uses the port, or publish another one";

impl Networks {
    /// Which of the wanted ports are not free when the containers with these ids have given theirs back. Ports that
    /// the kernel chooses are always free, and what a leaving container holds is.
    ///
    /// # Errors
    /// A binding cannot be read.
    pub(crate) fn check_ports(
        &self,
        wanted: &[WantedPorts],
        released: &[String],
    ) -> Result<Vec<PortConflict>> {
        let leaving: BTreeSet<(Protocol, u16)> = {
            let held = self.held();
            released
                .iter()
                .filter_map(|id| held.get(id))
                .flat_map(|held| &held.claims)
                .map(|claim| (claim.protocol(), claim.address().port()))
                .collect()
        };
        let mut table = self.ports();
        let mut claims: Vec<Claim> = Vec::new();
        let mut conflicts = Vec::new();
        for container in wanted {
            let bindings = ports::bindings(&container.port_bindings, std::iter::empty(), false)?;
            let label = format!("container {}", container.container);
            for Binding { request, .. } in bindings {
                if !can_be_refused(&request, &leaving) {
                    continue;
                }
                match table.claim(&request, &label) {
                    Ok(new) => claims.extend(new),
                    Err(error) => conflicts.push(PortConflict {
                        container: container.container.clone(),
                        message: chain(&error),
                        hint: HINT.to_owned(),
                    }),
                }
            }
        }
        table.release(claims);
        Ok(conflicts)
    }
}

/// A range that touches a port that is given back may do in the end: the start tells.
fn can_be_refused(request: &PortRequest, leaving: &BTreeSet<(Protocol, u16)>) -> bool {
    match request.ports {
        HostPorts::Ephemeral => false,
        HostPorts::Range { first, last } => {
            let (from, to) = ((request.protocol, first), (request.protocol, last));
            leaving.range(from..=to).next().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaving_containers_hold_is_free() {
        let leaving = BTreeSet::from([(Protocol::Tcp, 80)]);
        let asked = |ports, protocol| {
            let request = PortRequest {
                host_ip: None,
                ports,
                protocol,
            };
            can_be_refused(&request, &leaving)
        };
        let one = |port| HostPorts::Range {
            first: port,
            last: port,
        };
        assert!(!asked(one(80), Protocol::Tcp));
        assert!(asked(one(80), Protocol::Udp));
        assert!(asked(one(81), Protocol::Tcp));
        assert!(!asked(HostPorts::Ephemeral, Protocol::Tcp));
        let range = HostPorts::Range {
            first: 79,
            last: 90,
        };
        assert!(!asked(range, Protocol::Tcp));
    }
}
