//! Links: bridges, veth pairs, addresses and routes, by rtnetlink.
//!
//! Every link of an engine carries an alias that begins with the engine's tag (`NetworkConfig::alias`); nothing
//! without it is ever changed or removed.

pub mod bridge;
pub mod endpoint;
pub mod host;
mod removal;
mod route_socket;

use std::fmt;
use std::io;
use std::str::FromStr;

pub(crate) use route_socket::{Request, RouteSocket};

use hoist_kernel::error::KernelError;
use ipnetwork::IpNetwork;

use crate::sysctl::SysctlError;

/// Why a link, address or route could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A netlink socket could not be opened.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel refused a request.
    #[error("{what}")]
    Request {
        /// What was being done to which link.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A link with this name exists and is not ours.
    #[error("link {name} exists already and does not belong to this engine")]
    Foreign {
        /// Its name.
        name: String,
    },
    /// No link of this name.
    #[error("link {name} does not exist")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A kernel setting.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The other namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] KernelError),
}

impl LinkError {
    /// The kernel's error kind, when the kernel refused a request.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Open(source) | Self::Request { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address that belongs to an endpoint's addresses: `02:42` and the four bytes of the IPv4 address (as Docker
    /// until 27), else `02:42` and the last four bytes of the IPv6 address.
    ///
    /// Take this one for endpoints. Addresses are given out again as soon as they are free, and whoever talked to
    /// the last holder keeps sending to its hardware address for half a minute: with a random one the
    /// new holder would not be reached for so long.
    pub fn derived_from(addresses: &[IpNetwork]) -> Self {
        let ipv4 = addresses.iter().find_map(|address| match address {
            IpNetwork::V4(address) => Some(address.ip().octets()),
            IpNetwork::V6(_) => None,
        });
        let last_of_ipv6 = addresses.iter().find_map(|address| match address {
            IpNetwork::V6(address) => address.ip().octets().last_chunk::<4>().copied(),
            IpNetwork::V4(_) => None,
        });
        match ipv4.or(last_of_ipv6) {
            Some([a, b, c, d]) => Self([0x02, 0x42, a, b, c, d]),
            None => Self::random(),
        }
    }

    /// A random, locally administered, unicast address: for bridges.
    pub(crate) fn random() -> Self {
        let mut bytes: [u8; 6] = rand::random();
        bytes[0] = (bytes[0] & 0b1111_1100) | 0b10;
        Self(bytes)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not a hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid MAC address {given:?}: it should be six pairs of hexadecimal digits, as 02:42:ac:11:00:02"
)]
pub struct InvalidMac {
    /// As given.
    pub given: String,
}

impl FromStr for MacAddress {
    type Err = InvalidMac;

    /// Reads `02:42:ac:11:00:02` or `02-42-ac-11-00-02`.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMac {
            given: given.to_owned(),
        };
        let mut bytes = [0_u8; 6];
        let mut parts = given.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            *byte = part
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(invalid)?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_read_back_as_written() {
        let mac = MacAddress([0x02, 0x42, 0xac, 0x11, 0x00, 0x02]);
        assert_eq!("02:42:ac:11:00:02".parse(), Ok(mac));
        assert_eq!("02-42-AC-11-00-02".parse(), Ok(mac));
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for wrong in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "zz:42:ac:11:00:02",
            "+2:42:ac:11:00:2",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoints_address_follows_from_its_addresses() {
        let check = |addresses: &[&str], expected: &str| {
            let addresses: Vec<IpNetwork> =
                addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(MacAddress::derived_from(&addresses).to_string(), expected);
        };
        check(&["172.18.0.2/16"], "02:42:ac:12:00:02");
        check(&["fd00::5/64", "172.18.0.2/16"], "02:42:ac:12:00:02");
        check(&["fd00::1:5/64"], "02:42:00:01:00:05");
        assert_eq!(MacAddress::derived_from(&[]).0[0] & 0b11, 0b10);
    }

    #[test]
    fn random_addresses_are_local_unicast() {
        for _ in 0..64 {
            assert_eq!(MacAddress::random().0[0] & 0b11, 0b10);
        }
    }
}
