//! Forgetting connections: after a published port or a container's address changed hands, the kernel would send the
//! packets of a known flow (a DNS client's, a UDP stream's) to where it sent them before.

use std::io;
use std::net::IpAddr;

use crate::firewall::batch::{nfnetlink_header, set_length};
use crate::firewall::{Protocol, PublishedPort};
use crate::netlink::{self, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Netlink};

const CTNETLINK: u16 = 1 << 8;
const GET: u16 = CTNETLINK | 1;
const DELETE: u16 = CTNETLINK | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// Why connections could not be forgotten.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConntrackError {
    what: &'static str,
    source: io::Error,
}

/// What no known connection may go to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// A published port that was added or removed.
    Port(PublishedPort),
    /// A container's address that was given out or given back.
    Address(IpAddr),
}

/// Forgets all connections of the calling thread's namespace that match, and says how many. The cost grows with
/// the number of known connections; an empty list costs nothing.
///
/// # Errors
/// The failed dump. A connection that ended by itself meanwhile is no error.
pub fn forget(stale: &[Stale]) -> Result<usize, ConntrackError> {
    if stale.is_empty() {
        return Ok(0);
    }
    let failed = |what| move |source| ConntrackError { what, source };
    let mut netlink = Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)
        .map_err(failed("open a netfilter socket"))?;
    let mut request = nfnetlink_header(GET, NLM_F_REQUEST | NLM_F_DUMP, 1, [0; 4]);
    set_length(&mut request);
    let mut found = Vec::new();
    netlink
        .dump(&request, |_, payload| {
            found.extend(matching(payload, stale))
        })
        .map_err(failed("list connections"))?;
    let forgotten = found.len();
    for chunk in found.chunks(64) {
        let mut batch = Vec::new();
        let mut last = 0;
        for (family, attributes) in chunk {
            let sequence = netlink.next_sequence();
            last = sequence;
            let flags = NLM_F_REQUEST | NLM_F_ACK;
            let mut message = nfnetlink_header(DELETE, flags, sequence, [*family, 0, 0, 0]);
            message.extend(attributes);
            set_length(&mut message);
            batch.extend(message);
        }
        // Answers are only "done" and "gone already".
        netlink
            .exchange(&batch, last)
            .map_err(failed("forget connections"))?;
    }
    Ok(forgotten)
}

/// The attributes that name a connection to be forgotten.
fn matching(payload: &[u8], stale: &[Stale]) -> Option<(u8, Vec<u8>)> {
    let family = *payload.first()?;
    let attributes = payload.get(4..)?;
    let original = tuple(netlink::attribute(attributes, CTA_TUPLE_ORIG)?)?;
    let reply = tuple(netlink::attribute(attributes, CTA_TUPLE_REPLY)?)?;
    stale
        .iter()
        .any(|stale| is_stale(stale, &original, &reply))
        .then_some(())?;
    let mut kept = Vec::new();
    for wanted in [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE] {
        if let Some(value) = netlink::attribute(attributes, wanted) {
            append(&mut kept, wanted, value);
        }
    }
    Some((family, kept))
}

fn is_stale(stale: &Stale, original: &Tuple, reply: &Tuple) -> bool {
    match stale {
        Stale::Address(address) => {
            original.source == *address
                || original.destination == *address
                || reply.source == *address
        }
        Stale::Port(port) => {
            let same_host = port
                .host_ip
                .is_none_or(|host| host.is_unspecified() || host == original.destination);
            let to_host = original.destination_port == port.host_port && same_host;
            let to_target =
                reply.source == port.target.ip() && reply.source_port == port.target.port();
            original.protocol == port.protocol.number() && (to_host || to_target)
        }
    }
}

/// One direction of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let addresses = netlink::attribute(bytes, 1)?;
    let protocol = netlink::attribute(bytes, 2)?;
    let address = |ipv4: u16, ipv6: u16| -> Option<IpAddr> {
        if let Some(value) = netlink::attribute(addresses, ipv4) {
            return Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?));
        }
        let value = netlink::attribute(addresses, ipv6)?;
        Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?))
    };
    let port = |kind: u16| -> u16 {
        netlink::attribute(protocol, kind)
            .and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?)))
            .unwrap_or_default()
    };
    Some(Tuple {
        source: address(1, 3)?,
        destination: address(2, 4)?,
        protocol: *netlink::attribute(protocol, 1)?.first()?,
        source_port: port(2),
        destination_port: port(3),
    })
}

fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    const NLA_F_NESTED: u16 = 0x8000;
    let nested = if kind == CTA_TUPLE_ORIG {
        NLA_F_NESTED
    } else {
        0
    };
    let length = u16::try_from(4 + value.len()).expect("the value came in an attribute");
    bytes.extend(length.to_ne_bytes());
    bytes.extend((kind | nested).to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

impl Stale {
    /// The published ports that differ between two rule sets and whose flows may stick: those of UDP.
    pub fn between(old: &[PublishedPort], new: &[PublishedPort]) -> Vec<Stale> {
        let missing_in = |from: &[PublishedPort], of: &[PublishedPort]| -> Vec<Stale> {
            of.iter()
                .filter(|port| port.protocol == Protocol::Udp && !from.contains(port))
                .map(|port| Stale::Port(*port))
                .collect()
        };
        let mut stale = missing_in(new, old);
        stale.extend(missing_in(old, new));
        stale
    }
}
