//! Port bindings as Docker writes them, turned into claims. Pure.

use std::net::IpAddr;

use hoist_api::error::{ApiError, Result};
use hoist_api::host_config::PortMap;
use hoist_network::firewall::Protocol;
use hoist_network::ports::{HostPorts, PortRequest};

/// One container port to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) container_port: u16,
    pub(crate) request: PortRequest,
}

/// Reads bindings; with `all` the exposed ports that have none get a free one.
///
/// # Errors
/// 400 when a port, protocol or address cannot be read.
pub(crate) fn bindings<'a>(
    map: &PortMap,
    exposed: impl Iterator<Item = &'a String>,
    all: bool,
) -> Result<Vec<Binding>> {
    let mut found = Vec::new();
    for (key, hosts) in map {
        let (container_port, protocol) = parse_port(key)?;
        for host in hosts.iter().flatten() {
            let host_ip = match host.host_ip.as_str() {
                "" => None,
                text => Some(text.parse::<IpAddr>().map_err(|_| {
                    ApiError::bad_request(format!("invalid IP address in port publishing: {text}"))
                })?),
            };
            let request = PortRequest {
                host_ip,
                ports: host_ports(&host.host_port)?,
                protocol,
            };
            found.push(Binding {
                container_port,
                request,
            });
        }
    }
    for key in exposed.filter(|_| all) {
        let (container_port, protocol) = parse_port(key)?;
        let bound = found.iter().any(|binding| {
            binding.container_port == container_port && binding.request.protocol == protocol
        });
        if !bound {
            let request = PortRequest {
                host_ip: None,
                ports: HostPorts::Ephemeral,
                protocol,
            };
            found.push(Binding {
                container_port,
                request,
            });
        }
    }
    Ok(found)
}

/// Ports that a filter wants, as `80`, `80/udp`, `8000-8010/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortRange {
    first: u16,
    last: u16,
    protocol: Protocol,
}

impl PortRange {
    /// One port.
    pub(crate) fn of(port: u16, protocol: Protocol) -> Self {
        Self {
            first: port,
            last: port,
            protocol,
        }
    }

    /// Reads one; without a protocol it is TCP.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let protocol = parse_protocol(protocol)?;
        (first <= last).then_some(Self {
            first,
            last,
            protocol,
        })
    }

    /// Whether all of the other is in this.
    pub(crate) fn has(self, other: Self) -> bool {
        self.protocol == other.protocol && self.first <= other.first && other.last <= self.last
    }
}

/// Refuses ports, of the container and of the host, that are none: that shows when a container is created, not when it starts.
///
/// # Errors
/// 400 with the first such port.
pub(crate) fn check_host_ports(map: &PortMap) -> Result<()> {
    map.keys().try_for_each(|port| parse_port(port).map(drop))?;
    let mut all = map.values().flatten().flatten();
    match all.find(|host| host_ports(&host.host_port).is_err()) {
        Some(host) => Err(ApiError::bad_request(format!(
            "invalid port specification: \"{}\"",
            host.host_port
        ))),
        None => Ok(()),
    }
}

/// Reads `80/tcp`; without a protocol it is TCP.
pub(crate) fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let invalid = || ApiError::bad_request(format!("invalid port specification: \"{text}\""));
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().map_err(|_| invalid())?;
    let protocol = parse_protocol(protocol).ok_or_else(invalid)?;
    if number == 0 {
        Err(invalid())
    } else {
        Ok((number, protocol))
    }
}

/// Reads `tcp`, `udp` or `sctp`.
pub(crate) fn parse_protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Reads `8080`, `8000-8010`, or nothing for any free port.
fn host_ports(text: &str) -> Result<HostPorts> {
    let invalid = || ApiError::bad_request(format!("invalid port range: \"{text}\""));
    if text.is_empty() || text == "0" {
        return Ok(HostPorts::Ephemeral);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    if first == 0 || last < first {
        Err(invalid())
    } else {
        Ok(HostPorts::Range { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::host_config::PortBinding;

    fn check(key: &str, ip: &str, port: &str, expected: &str) {
        let binding = PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let map = PortMap::from([(key.to_owned(), Some(vec![binding]))]);
        let described = bindings(&map, std::iter::empty(), false).map(|found| {
            let Binding {
                container_port,
                request,
            } = found[0];
            format!(
                "{container_port}/{} {:?} {:?}",
                request.protocol, request.host_ip, request.ports
            )
        });
        assert_eq!(
            described.unwrap_or_else(|error| error.message),
            expected,
            "{key} {ip} {port}"
        );
    }

    #[test]
    fn bindings_are_read() {
        check(
            "80/tcp",
            "",
            "8080",
            "80/tcp None Range { first: 8080, last: 8080 }",
        );
        check(
            "53/udp",
            "127.0.0.1",
            "",
            "53/udp Some(127.0.0.1) Ephemeral",
        );
        check(
            "80",
            "",
            "8000-8010",
            "80/tcp None Range { first: 8000, last: 8010 }",
        );
        check("80/x", "", "1", "invalid port specification: \"80/x\"");
        check(
            "80/tcp",
            "host",
            "1",
            "invalid IP address in port publishing: host",
        );
        check("80/tcp", "", "9-8", "invalid port range: \"9-8\"");
    }

    #[test]
    fn all_exposed_ports_can_be_published() {
        let exposed = ["80/tcp".to_owned(), "81/tcp".to_owned()];
        let map = PortMap::from([("80/tcp".to_owned(), Some(vec![PortBinding::default()]))]);
        let ports = |all| bindings(&map, exposed.iter(), all).unwrap().len();
        assert_eq!((ports(false), ports(true)), (1, 2));
    }
}
