//! What the host already uses: its routes and name servers, which new networks have to avoid.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::route_socket::name;
use super::{LinkError, RouteSocket};
use crate::ipam::Occupied;

/// The addresses of the host itself (`RT_TABLE_LOCAL`): part of the links' prefixes, which the main table has.
const LOCAL_TABLE: u32 = 255;

/// The prefixes the host has routes to, default routes and links in `ignore` left out. `ignore` are the engine's
/// own bridges: their networks are told by name instead.
///
/// # Errors
/// The failed dump.
pub fn routes(ignore: &[String]) -> Result<Vec<Occupied>, LinkError> {
    let mut socket = RouteSocket::open()?;
    let links: HashMap<u32, String> = dump_links(&mut socket)?
        .iter()
        .filter_map(|link| Some((link.header.index, name(link)?.to_owned())))
        .collect();
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        let message = RouteNetlinkMessage::GetRoute(wanted);
        for answer in socket.dump(message, "list the host's routes")? {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                found.extend(occupied(&route, &links, ignore));
            }
        }
    }
    Ok(found)
}

/// The bridges that bear Docker's names (`docker0`, `br-` and twelve hexadecimal digits) and are not in `own`, sorted.
///
/// # Errors
/// The failed dump.
pub(crate) fn dockers_bridges(own: &[String]) -> Result<Vec<String>, LinkError> {
    let mut socket = RouteSocket::open()?;
    let mut found: Vec<String> = dump_links(&mut socket)?
        .iter()
        .filter(|link| is_bridge(link))
        .filter_map(|link| name(link))
        .filter(|name| is_dockers_name(name) && !own.iter().any(|own| own == name))
        .map(str::to_owned)
        .collect();
    found.sort();
    Ok(found)
}

fn is_dockers_name(name: &str) -> bool {
    let is_id = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    name == "docker0" || name.strip_prefix("br-").is_some_and(is_id)
}

fn is_bridge(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Bridge)),
        _ => false,
    })
}

/// The name servers of a resolv.conf file, each as an occupied single address. A missing file has none.
pub fn name_servers(resolv_conf: &Path) -> Vec<Occupied> {
    let text = fs::read_to_string(resolv_conf).unwrap_or_default();
    crate::dns::resolv_conf::name_servers(&text)
        .into_iter()
        .filter(|server| !server.is_loopback())
        .map(|server| Occupied {
            prefix: IpNetwork::from(server),
            holder: format!("the host's name server {server}"),
        })
        .collect()
}

pub(super) fn dump_links(socket: &mut RouteSocket) -> Result<Vec<LinkMessage>, LinkError> {
    let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
    Ok(socket
        .dump(message, "list links")?
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .collect())
}

fn occupied(
    route: &RouteMessage,
    links: &HashMap<u32, String>,
    ignore: &[String],
) -> Option<Occupied> {
    let unicast = route.header.kind == RouteType::Unicast;
    let prefix_length = route.header.destination_prefix_length;
    if !unicast || prefix_length == 0 || table(route) == LOCAL_TABLE {
        return None;
    }
    let destination = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
            _ => None,
        })?;
    let via = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => links.get(index),
            _ => None,
        });
    if via.is_some_and(|link| ignore.contains(link)) {
        return None;
    }
    let prefix = IpNetwork::new(destination, prefix_length).ok()?;
    if is_link_local(prefix) {
        return None;
    }
    Some(Occupied {
        prefix,
        holder: match via {
            Some(link) => format!("the host's route via {link}"),
            None => "a route of the host".to_owned(),
        },
    })
}

fn table(route: &RouteMessage) -> u32 {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or_else(|| u32::from(route.header.table))
}

/// fe80::/10 and ff00::/8 are on every link; they take no address space.
fn is_link_local(prefix: IpNetwork) -> bool {
    match prefix {
        IpNetwork::V4(_) => false,
        IpNetwork::V6(prefix) => prefix.ip().is_unicast_link_local() || prefix.ip().is_multicast(),
    }
}
