//! Bridges: one per network.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkBridge, LinkUnspec};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::route_socket::{alias, group, name};
use super::{LinkError, MacAddress, Request, RouteSocket};
use crate::netlink::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use crate::sysctl;

/// A network's bridge, as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgePlan {
    /// Name of the link, at most 15 bytes: `br-` and the first 12 digits of the network's id.
    pub name: String,
    /// The link's alias (`NetworkConfig::alias`): marks it as ours.
    pub alias: String,
    /// The link group all links of the network share: see [`group_of`].
    pub group: u32,
    /// The host's addresses in the network, each with the subnet's prefix length: the gateways.
    pub addresses: Vec<IpNetwork>,
    /// Largest packet; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// Whether packets pass between the network and the rest of the world.
    pub reach: Reach,
}

/// Whether packets pass between a network and the rest of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// Outgoing connections and published ports; outgoing packets get the host's address when `masquerade`.
    Open {
        /// Replace the source address of packets that leave the network by the host's.
        masquerade: bool,
    },
    /// `internal: true`: nothing passes but traffic with the host itself.
    Internal,
}

/// The link group of a network: stable, and far from the small numbers people use by hand.
pub fn group_of(alias: &str) -> u32 {
    // FNV-1a. Not a safety measure: a group is only deleted after every member's alias was checked.
    let hash = alias.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    0x4000_0000 | (hash >> 2)
}

/// Makes the bridge, or brings one that exists and is ours to the planned state. Turns on forwarding where the
/// plan needs it.
///
/// # Errors
/// [`LinkError::Foreign`] when the name is taken by a link that is not ours; else the failed request.
pub fn ensure(plan: &BridgePlan) -> Result<BridgeChanges, LinkError> {
    let mut socket = RouteSocket::open()?;
    let existing = socket.link(&plan.name)?;
    let created = existing.is_none();
    match existing {
        Some(link) if !is_owned(&link, &plan.alias) => {
            return Err(LinkError::Foreign {
                name: plan.name.clone(),
            });
        }
        Some(_) => {}
        None => socket.apply(vec![create_request(plan)])?,
    }
    let result = finish(&mut socket, plan);
    if created && result.is_err() {
        // Nothing half-made stays behind; the first error is the one worth telling.
        let _ = delete_by_name(&mut socket, &plan.name);
    }
    result.map(|forwarding| BridgeChanges {
        created,
        forwarding_enabled: forwarding == sysctl::Change::Written,
    })
}

/// Whether the bridge is the one with this alias. The kernel takes no alias when it makes a link, but a group: one whose
/// maker was killed before it gave the alias is known by that.
fn is_owned(bridge: &LinkMessage, expected: &str) -> bool {
    let found = alias(bridge);
    found == expected || (found.is_empty() && group(bridge) == group_of(expected))
}

/// What [`ensure`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeChanges {
    /// The bridge did not exist.
    pub created: bool,
    /// Forwarding between links was off on this machine and is on now: worth telling the user.
    pub forwarding_enabled: bool,
}

/// Removes the bridge and every other link of its group (veth ends still plugged in) in one request. Removing a
/// bridge that does not exist is fine. Returns when the links are gone; the kernel cleans up behind them for some tens of
/// milliseconds more.
///
/// # Errors
/// [`LinkError::Foreign`] when the link of this name is not ours; else the failed request.
pub fn remove(name_of_bridge: &str, alias_of_bridge: &str) -> Result<(), LinkError> {
    let mut socket = RouteSocket::open()?;
    let Some(bridge) = socket.link(name_of_bridge)? else {
        return Ok(());
    };
    if !is_owned(&bridge, alias_of_bridge) {
        return Err(LinkError::Foreign {
            name: name_of_bridge.to_owned(),
        });
    }
    let mut message = LinkMessage::default();
    let members = our_group(&mut socket, &bridge, engine_prefix(alias_of_bridge))?;
    let (indexes, attribute) = match members {
        Some(members) => (members, LinkAttribute::Group(group(&bridge))),
        None => (
            BTreeSet::from([bridge.header.index]),
            LinkAttribute::IfName(name_of_bridge.to_owned()),
        ),
    };
    message.attributes.push(attribute);
    let request = Request {
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
        what: format!("delete bridge {name_of_bridge} and its ports"),
    };
    super::removal::remove(socket, request, indexes)
}

/// The indexes of the links of the bridge's group, when the group is more than the default one and every link in it is ours.
fn our_group(
    socket: &mut RouteSocket,
    bridge: &LinkMessage,
    prefix: &str,
) -> Result<Option<BTreeSet<u32>>, LinkError> {
    let number = group(bridge);
    if number == 0 {
        return Ok(None);
    }
    let links = super::host::dump_links(socket)?;
    let mut members = links.iter().filter(|link| group(link) == number);
    Ok(members
        .clone()
        .all(|link| alias(link).starts_with(prefix))
        .then(|| members.by_ref().map(|link| link.header.index).collect()))
}

/// The names of this engine's bridges and veth ends that exist, with their aliases.
///
/// # Errors
/// The failed dump.
pub fn list(alias_prefix: &str) -> Result<Vec<(String, String)>, LinkError> {
    let mut socket = RouteSocket::open()?;
    Ok(super::host::dump_links(&mut socket)?
        .iter()
        .filter(|link| alias(link).starts_with(alias_prefix))
        .filter_map(|link| Some((name(link)?.to_owned(), alias(link).to_owned())))
        .collect())
}

/// `hoist:tag:` of `hoist:tag:object`.
fn engine_prefix(alias: &str) -> &str {
    match alias.match_indices(':').nth(1) {
        Some((at, _)) => alias.get(..=at).unwrap_or(alias),
        None => alias,
    }
}

pub(super) fn delete_by_name(socket: &mut RouteSocket, link: &str) -> Result<(), LinkError> {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(link.to_owned()));
    socket.apply(vec![Request {
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
        what: format!("delete link {link}"),
    }])
}

fn create_request(plan: &BridgePlan) -> Request {
    // A hardware address of its own: else the bridge takes its lowest port's and changes it when that port goes.
    let mut builder = LinkBridge::new(&plan.name)
        .address(MacAddress::random().0.to_vec())
        .link_group(plan.group);
    if let Some(mtu) = plan.mtu {
        builder = builder.mtu(mtu);
    }
    Request {
        message: RouteNetlinkMessage::NewLink(builder.build()),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        what: format!("create bridge {}", plan.name),
    }
}

/// Everything after creation. The alias comes first: from then on a clean-up knows the bridge as ours. The kernel
/// settings come before the link is up: no router advertisement is ever accepted (CVE-2020-13401).
fn finish(socket: &mut RouteSocket, plan: &BridgePlan) -> Result<sysctl::Change, LinkError> {
    let index = socket.index(&plan.name)?;
    socket.apply(vec![set_alias(index, &plan.name, &plan.alias)])?;
    write_settings(plan)?;
    let up = LinkUnspec::new_with_index(index).up().build();
    let mut requests = vec![Request {
        message: RouteNetlinkMessage::SetLink(up),
        flags: 0,
        what: format!("set bridge {} up", plan.name),
    }];
    requests.extend(
        plan.addresses
            .iter()
            .map(|address| add_address(index, &plan.name, *address)),
    );
    socket.apply(requests)?;
    enable_forwarding(plan)
}

fn write_settings(plan: &BridgePlan) -> Result<(), LinkError> {
    let bridge = &plan.name;
    let has_ipv6 = plan.addresses.iter().any(IpNetwork::is_ipv6);
    sysctl::write_if_present(&format!("ipv6/conf/{bridge}/accept_ra"), "0")?;
    let disable = if has_ipv6 { "0" } else { "1" };
    sysctl::write_if_present(&format!("ipv6/conf/{bridge}/disable_ipv6"), disable)?;
    if matches!(plan.reach, Reach::Open { .. }) {
        // 127.0.0.1:port reaches a container without a proxy: its answers come back to 127.0.0.1 through this link.
        // The rule set drops packets to 127/8 that any other link brings in (CVE-2020-8558).
        sysctl::write(&format!("ipv4/conf/{bridge}/route_localnet"), "1")?;
    }
    Ok(())
}

fn enable_forwarding(plan: &BridgePlan) -> Result<sysctl::Change, LinkError> {
    if plan.reach == Reach::Internal {
        return Ok(sysctl::Change::None);
    }
    let ipv4 = sysctl::enable_ipv4_forwarding()?;
    if plan.addresses.iter().any(IpNetwork::is_ipv6) {
        sysctl::enable_ipv6_forwarding()?;
    }
    Ok(ipv4)
}

pub(super) fn set_alias(index: u32, link: &str, alias: &str) -> Request {
    Request {
        message: RouteNetlinkMessage::SetLink(
            LinkUnspec::new_with_index(index).alias(alias).build(),
        ),
        flags: 0,
        what: format!("set the alias of link {link}"),
    }
}

pub(super) fn add_address(index: u32, link: &str, address: IpNetwork) -> Request {
    Request {
        message: RouteNetlinkMessage::NewAddress(address_message(index, address)),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what: format!("add address {address} to link {link}"),
    }
}

fn address_message(index: u32, address: IpNetwork) -> AddressMessage {
    match address {
        IpNetwork::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address.ip(), address.prefix())
            .build(),
        IpNetwork::V6(address) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new()
                .index(index)
                .address(address.ip(), address.prefix())
                .build();
            // We gave the address out: waiting a second for duplicate detection would only delay the start.
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            message
        }
    }
}
