//! Endpoints: a veth pair from a network's bridge into a namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use hoist_kernel::netns;
use ipnetwork::IpNetwork;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoPortData, InfoPortKind, InfoVeth, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::bridge::{add_address, delete_by_name, set_alias};
use super::route_socket::alias;
use super::{LinkError, MacAddress, Request, RouteSocket};
use crate::netlink::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use crate::sysctl;

/// One link of a namespace, as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPlan {
    /// Name of the host's end, at most 15 bytes: `veth` and seven hexadecimal digits.
    pub host_name: String,
    /// The host end's alias (`NetworkConfig::alias`): marks it as ours.
    pub alias: String,
    /// The network's link group: see [`super::bridge::group_of`].
    pub group: u32,
    /// The network's bridge.
    pub bridge: String,
    /// Name inside the namespace: `eth0`, ...
    pub name: String,
    /// Hardware address inside: [`MacAddress::derived_from`] unless the user names one.
    pub mac: MacAddress,
    /// Addresses inside, each with the subnet's prefix length; at most one of each family is usual.
    pub addresses: Vec<IpNetwork>,
    /// Largest packet; the kernel's default when absent.
    pub mtu: Option<u32>,
    /// Settings of the link: names below `/proc/sys/net`, and values.
    pub sysctls: Vec<(String, String)>,
    /// It reaches the bridge and what is beyond, but no other isolated link of the bridge.
    pub isolated: bool,
}

/// Where packets for the rest of the world go. Absent: nowhere (internal networks only).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gateways {
    /// Default route of IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// Default route of IPv6.
    pub ipv6: Option<Ipv6Addr>,
}

/// Adds a link to a namespace in use (`network connect`), then sets its default routes.
///
/// # Errors
/// The failed step; the pair is removed again.
pub fn connect(
    netns: BorrowedFd<'_>,
    plan: &EndpointPlan,
    gateways: Gateways,
) -> Result<(), LinkError> {
    let mut host = RouteSocket::open()?;
    plug(&mut host, netns, plan)?;
    let inside = netns::run_in(netns, || {
        let mut socket = RouteSocket::open()?;
        configure(&mut socket, plan)?;
        replace_default_routes(&mut socket, gateways)
    });
    let result = inside.map_err(LinkError::from).and_then(|result| result);
    if result.is_err() {
        let _ = delete_by_name(&mut host, &plan.host_name);
    }
    result
}

/// Removes an endpoint's pair by the host end's name (`network disconnect`), then sets the default routes that
/// remain. Removing one that does not exist is fine. Takes about ten milliseconds; when the namespace ends, its
/// links go by themselves.
///
/// # Errors
/// [`LinkError::Foreign`] when the link is not ours; else the failed request.
pub fn disconnect(
    netns: BorrowedFd<'_>,
    (host_name, alias): (&str, &str),
    gateways: Gateways,
) -> Result<(), LinkError> {
    remove(host_name, alias)?;
    netns::run_in(netns, || {
        replace_default_routes(&mut RouteSocket::open()?, gateways)
    })?
}

/// Removes the host end of a pair, and so the pair. Removing one that does not exist is fine.
///
/// # Errors
/// [`LinkError::Foreign`] when the link is not ours; else the failed request.
pub fn remove(host_name: &str, alias_of_endpoint: &str) -> Result<(), LinkError> {
    let mut socket = RouteSocket::open()?;
    match socket.link(host_name)? {
        None => Ok(()),
        Some(link) if alias(&link) != alias_of_endpoint => Err(LinkError::Foreign {
            name: host_name.to_owned(),
        }),
        Some(_) => delete_by_name(&mut socket, host_name),
    }
}

/// Makes the pair with one message: the host end up and on its bridge, the other end inside the namespace.
pub(crate) fn plug(
    host: &mut RouteSocket,
    netns: BorrowedFd<'_>,
    plan: &EndpointPlan,
) -> Result<(), LinkError> {
    let bridge = host.index(&plan.bridge)?;
    let mut inner = LinkUnspec::new_with_name(&plan.name)
        .address(plan.mac.0.to_vec())
        .setns_by_fd(netns.as_raw_fd());
    let mut outer = LinkVeth::new(&plan.host_name, &plan.name)
        .controller(bridge)
        .link_group(plan.group)
        .up();
    if let Some(mtu) = plan.mtu {
        inner = inner.mtu(mtu);
        outer = outer.mtu(mtu);
    }
    let outer = outer
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner.build())))
        .build();
    host.apply(vec![Request {
        message: RouteNetlinkMessage::NewLink(outer),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        what: format!(
            "create link {} on bridge {} with {} in the container",
            plan.host_name, plan.bridge, plan.name
        ),
    }])?;
    let index = host.index(&plan.host_name)?;
    let mut requests = vec![
        set_alias(index, &plan.host_name, &plan.alias),
        set_forwarding(index, plan),
    ];
    if sysctl::read("bridge/bridge-nf-call-iptables").as_deref() == Some("1") {
        requests.push(set_hairpin(index, &plan.host_name));
    }
    if plan.isolated {
        let what = format!("isolate link {}", plan.host_name);
        requests.push(set_port(index, InfoBridgePort::Isolated(true), what));
    }
    host.apply(requests)
}

/// Inside the namespace: addresses, then up. A network without IPv6 has none on its link either (CVE-2024-32473).
pub(crate) fn configure(socket: &mut RouteSocket, plan: &EndpointPlan) -> Result<(), LinkError> {
    let name = &plan.name;
    let index = socket.index(name)?;
    if !plan.addresses.iter().any(IpNetwork::is_ipv6) {
        sysctl::set_if_present(&format!("ipv6/conf/{name}/disable_ipv6"), "1")?;
    }
    sysctl::set_if_present(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    for (name, value) in &plan.sysctls {
        sysctl::write(name, value)?;
    }
    let has_ipv6 = has_ipv6();
    let mut requests: Vec<Request> = plan
        .addresses
        .iter()
        .filter(|address| has_ipv6 || address.is_ipv4())
        .map(|address| add_address(index, name, *address))
        .collect();
    requests.push(set_up(index, name));
    socket.apply(requests)
}

/// Whether the calling thread's namespace takes addresses of IPv6: a container's settings may have turned them off.
fn has_ipv6() -> bool {
    sysctl::read("ipv6/conf/all/disable_ipv6").as_deref() != Some("1")
}

/// Brings the namespace's loopback link up. Its index is 1 in every namespace.
pub(crate) fn loopback_up() -> Request {
    set_up(1, "lo")
}

/// Sets the default routes of the calling thread's namespace, or removes those that should not be.
pub(crate) fn replace_default_routes(
    socket: &mut RouteSocket,
    gateways: Gateways,
) -> Result<(), LinkError> {
    let wanted = [
        (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            gateways.ipv4.map(IpAddr::V4),
        ),
        (
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            gateways.ipv6.filter(|_| has_ipv6()).map(IpAddr::V6),
        ),
    ];
    for (family, gateway) in wanted {
        match gateway {
            Some(gateway) => socket.apply(vec![default_route(gateway)])?,
            None => remove_default_route(socket, family)?,
        }
    }
    Ok(())
}

/// Adds the default routes of a fresh namespace.
pub(crate) fn default_routes(gateways: Gateways) -> Vec<Request> {
    let ipv4 = gateways.ipv4.map(IpAddr::V4);
    let ipv6 = gateways.ipv6.filter(|_| has_ipv6()).map(IpAddr::V6);
    ipv4.into_iter().chain(ipv6).map(default_route).collect()
}

fn default_route(gateway: IpAddr) -> Request {
    let message = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(gateway)
            .build(),
    };
    Request {
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what: format!("set the default route via {gateway}"),
    }
}

fn remove_default_route(socket: &mut RouteSocket, family: IpAddr) -> Result<(), LinkError> {
    let mut message: RouteMessage = match family {
        IpAddr::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpAddr::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    message.header.scope = netlink_packet_route::route::RouteScope::NoWhere;
    message.header.protocol = netlink_packet_route::route::RouteProtocol::Unspec;
    let result = socket.apply(vec![Request {
        message: RouteNetlinkMessage::DelRoute(message),
        flags: 0,
        what: "remove the default route".to_owned(),
    }]);
    match result {
        // There was none: IPv4 says ESRCH, IPv6 ESRCH or ENOENT, and without IPv6 it is EOPNOTSUPP or EAFNOSUPPORT.
        Err(LinkError::Request { source, .. }) if is_absent(&source) => Ok(()),
        other => other,
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    let text = error.to_string();
    [
        "No such process",
        "No such file",
        "Operation not supported",
        "Address family not supported",
    ]
    .iter()
    .any(|absent| text.starts_with(absent))
}

fn set_up(index: u32, link: &str) -> Request {
    let message: LinkMessage = LinkUnspec::new_with_index(index).up().build();
    Request {
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
        what: format!("set link {link} up"),
    }
}

/// Tells the bridge that the endpoint's hardware address is behind this port. Without, it would go on sending to the
/// port of an earlier endpoint with this address until that is gone: namespaces end a little after their processes.
fn set_forwarding(index: u32, plan: &EndpointPlan) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    // A static entry: the only kind that a port takes before its link is up. It goes with the port.
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(plan.mac.0.to_vec()));
    Request {
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        what: format!("tell bridge {} where {} is", plan.bridge, plan.mac),
    }
}

/// With `bridge-nf-call-iptables=1` the bridge itself sends a translated packet to its new target, without a
/// detour through the host's routing: a container that reaches its own published port gets the packet back
/// through the port it came from, which a bridge refuses unless told otherwise.
fn set_hairpin(index: u32, link: &str) -> Request {
    let what = format!("set hairpin mode of link {link}");
    set_port(index, InfoBridgePort::HairpinMode(true), what)
}

fn set_port(index: u32, setting: InfoBridgePort, what: String) -> Request {
    Request {
        message: RouteNetlinkMessage::NewLink(
            LinkUnspec::new_with_index(index)
                .set_port_kind(InfoPortKind::Bridge)
                .set_port_data(InfoPortData::BridgePort(vec![setting]))
                .build(),
        ),
        flags: 0,
        what,
    }
}
