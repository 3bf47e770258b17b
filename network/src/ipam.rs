//! Addresses: which subnet a network gets, and which address an endpoint gets. Pure; no I/O.
//!
//! Invariants: a chosen subnet overlaps no host route, other network or name server it was told of; an address is
//! always inside its subnet, is never the network or broadcast address, the gateway or an auxiliary address, and
//! is held by one holder at a time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// Why no subnet or address could be given. Texts are made for users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// A subnet the user asked for overlaps something that exists.
    #[error("subnet {subnet} overlaps {holder} ({taken}); choose another subnet")]
    Overlap {
        /// The subnet asked for.
        subnet: IpNetwork,
        /// The prefix it overlaps.
        taken: IpNetwork,
        /// Who uses that prefix, for instance `network shop_default` or `the host's route via eth0`.
        holder: String,
    },
    /// Every subnet of every pool overlaps something.
    #[error("all address pools are in use ({pools}); remove unused networks or name a subnet")]
    PoolsExhausted {
        /// The pools, comma-separated.
        pools: String,
    },
    /// An address of the subnet's definition lies outside of it.
    #[error("{what} {address} is not inside {within}")]
    Outside {
        /// What the address is for: `gateway`, `ip_range`, `aux address "x"`, `address`.
        what: String,
        /// The address or range.
        address: String,
        /// The subnet or range it has to be in.
        within: IpNetwork,
    },
    /// An address that cannot belong to a host: the subnet's own or its broadcast address.
    #[error("{what} {address} is the {kind} address of {subnet}")]
    Reserved {
        /// What the address is for.
        what: String,
        /// The address.
        address: IpAddr,
        /// `network` or `broadcast`.
        kind: &'static str,
        /// The subnet.
        subnet: IpNetwork,
    },
    /// `gateway`, `ip_range` or auxiliary addresses without a subnet.
    #[error("{what} needs a subnet")]
    NoSubnet {
        /// The option given.
        what: &'static str,
    },
    /// The subnet has host bits set.
    #[error("invalid subnet {given}: it should be {expected}")]
    HostBits {
        /// As given.
        given: IpNetwork,
        /// With host bits cleared.
        expected: IpNetwork,
    },
    /// The subnet has no room for a gateway and an endpoint.
    #[error("subnet {subnet} is too small: it has no room for a gateway and an endpoint")]
    TooSmall {
        /// The subnet.
        subnet: IpNetwork,
    },
    /// The address is in use.
    #[error("address {address} is already in use by {holder}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: String,
    },
    /// No free address is left.
    #[error("no free address is left in {range}")]
    Full {
        /// The range addresses are taken from.
        range: IpNetwork,
    },
}

/// A range that is cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// The range, for instance 192.168.0.0/16.
    pub base: Ipv4Network,
    /// Prefix length of the subnets taken from it, for instance 20. At least `base`'s own.
    pub size: u8,
}

impl AddressPool {
    /// Docker's default pools in Docker's order.
    pub fn docker_defaults() -> Vec<AddressPool> {
        crate::config::docker_pools()
    }

    /// The subnets of the pool, lowest first.
    pub fn subnets(&self) -> impl Iterator<Item = Ipv4Network> {
        let size = self.size.clamp(self.base.prefix(), 30);
        let base = u64::from(u32::from(self.base.network()));
        let count = 1_u64 << (size - self.base.prefix().min(size));
        let step = 1_u64 << (32 - u32::from(size));
        (0..count).filter_map(move |index| {
            let address = u32::try_from(base + index * step).ok()?;
            Ipv4Network::new(Ipv4Addr::from(address), size).ok()
        })
    }
}

/// A prefix that a new network must stay clear of, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// The prefix.
    pub prefix: IpNetwork,
    /// Whose it is, worded to follow "overlaps": `network shop_default`, `the host's route via eth0`.
    pub holder: String,
}

/// What the user says about a network's subnet. Empty means: take one from the pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// The subnet.
    pub subnet: Option<IpNetwork>,
    /// The gateway's address; the first address of the subnet when absent.
    pub gateway: Option<IpAddr>,
    /// The part of the subnet that automatic addresses come from.
    pub ip_range: Option<IpNetwork>,
    /// Addresses that are never given out, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A network's subnet with all questions answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The subnet.
    pub network: IpNetwork,
    /// The bridge's own address.
    pub gateway: IpAddr,
    /// Where automatic addresses come from: `network` or a part of it.
    pub range: IpNetwork,
    /// Addresses that are never given out, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// Plans the subnet of a new network: the one asked for when it is valid and clear of `occupied`, else the first
/// free one of `pools`.
///
/// # Errors
/// [`IpamError`]; an overlap names its holder.
pub fn plan_subnet(
    request: &SubnetRequest,
    pools: &[AddressPool],
    occupied: &[Occupied],
) -> Result<Subnet, IpamError> {
    let network = match request.subnet {
        Some(subnet) => check_subnet(subnet, occupied)?,
        None => {
            refuse_details_without_subnet(request)?;
            choose_subnet(pools, occupied)?
        }
    };
    let gateway = match request.gateway {
        Some(gateway) => check_host_address("gateway", gateway, network)?,
        None => first_host(network, &request.aux_addresses)?,
    };
    let range = match request.ip_range {
        Some(range) => check_range(range, network)?,
        None => network,
    };
    for (name, address) in &request.aux_addresses {
        let what = format!("aux address {name:?}");
        check_inside(&what, *address, network)?;
        if *address == gateway {
            return Err(IpamError::InUse {
                address: *address,
                holder: "the gateway".to_owned(),
            });
        }
    }
    Ok(Subnet {
        network,
        gateway,
        range,
        aux_addresses: request.aux_addresses.clone(),
    })
}

/// The first subnet of the pools that overlaps nothing of `occupied`.
///
/// # Errors
/// [`IpamError::PoolsExhausted`].
pub fn choose_subnet(pools: &[AddressPool], occupied: &[Occupied]) -> Result<IpNetwork, IpamError> {
    pools
        .iter()
        .flat_map(AddressPool::subnets)
        .map(IpNetwork::V4)
        .find(|subnet| first_overlap(*subnet, occupied).is_none())
        .ok_or_else(|| IpamError::PoolsExhausted {
            pools: pools
                .iter()
                .map(|pool| pool.base.to_string())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// A /64 of the unique local prefix that belongs to `seed` (RFC 4193: fd + 40 random bits + 16 bits of subnet).
/// The same seed gives the same subnet; `occupied` moves it to the next one.
///
/// # Errors
/// [`IpamError::PoolsExhausted`] when all 65536 subnets are taken.
pub fn choose_ipv6_subnet(seed: u64, occupied: &[Occupied]) -> Result<IpNetwork, IpamError> {
    let global = (u128::from(seed) & 0xff_ffff_ffff) << 80;
    let base = (0xfd_u128 << 120) | global;
    (0..=u128::from(u16::MAX))
        .filter_map(|index| Ipv6Network::new(Ipv6Addr::from(base | (index << 64)), 64).ok())
        .map(IpNetwork::V6)
        .find(|subnet| first_overlap(*subnet, occupied).is_none())
        .ok_or_else(|| IpamError::PoolsExhausted {
            pools: format!("{}/48", Ipv6Addr::from(base)),
        })
}

/// Whether two prefixes share an address.
pub fn overlaps(left: IpNetwork, right: IpNetwork) -> bool {
    match (left, right) {
        (IpNetwork::V4(left), IpNetwork::V4(right)) => left.overlaps(right),
        (IpNetwork::V6(left), IpNetwork::V6(right)) => left.overlaps(right),
        _ => false,
    }
}

/// The addresses in use in one subnet, each with its holder. Rebuilt by the caller from its own records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    held: BTreeMap<IpAddr, String>,
}

impl Leases {
    /// No address in use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an address as held, without any check: for rebuilding from records. Gives the previous holder.
    pub fn restore(&mut self, address: IpAddr, holder: &str) -> Option<String> {
        self.held.insert(address, holder.to_owned())
    }

    /// Takes the lowest free address of the subnet's range for `holder`.
    ///
    /// # Errors
    /// [`IpamError::Full`].
    pub fn take_lowest(&mut self, subnet: &Subnet, holder: &str) -> Result<IpAddr, IpamError> {
        let (first, last) = bounds(subnet.range);
        let first = first.max(to_number(subnet.network.network()));
        // Never more candidates than there are addresses in the way, plus one: the loop is short even in a /64.
        let mut candidate = first;
        while candidate <= last {
            let address = from_number(candidate, subnet.network);
            if self.obstacle(subnet, address).is_none() {
                self.held.insert(address, holder.to_owned());
                return Ok(address);
            }
            let Some(next) = candidate.checked_add(1) else {
                break;
            };
            candidate = next;
        }
        Err(IpamError::Full {
            range: subnet.range,
        })
    }

    /// Takes one given address of the subnet (it may lie outside of the range for automatic ones).
    ///
    /// # Errors
    /// [`IpamError::Outside`], [`IpamError::Reserved`], [`IpamError::InUse`] with the holder's name.
    pub fn take(
        &mut self,
        subnet: &Subnet,
        address: IpAddr,
        holder: &str,
    ) -> Result<IpAddr, IpamError> {
        check_host_address("address", address, subnet.network)?;
        if let Some(by) = self.obstacle(subnet, address) {
            return Err(IpamError::InUse {
                address,
                holder: by,
            });
        }
        self.held.insert(address, holder.to_owned());
        Ok(address)
    }

    /// Gives an address back. False when nobody held it.
    pub fn release(&mut self, address: IpAddr) -> bool {
        self.held.remove(&address).is_some()
    }

    /// Who holds an address.
    pub fn holder(&self, address: IpAddr) -> Option<&str> {
        self.held.get(&address).map(String::as_str)
    }

    /// All addresses in use with their holders, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.held
            .iter()
            .map(|(address, holder)| (*address, holder.as_str()))
    }

    fn obstacle(&self, subnet: &Subnet, address: IpAddr) -> Option<String> {
        if address == subnet.gateway {
            return Some("the gateway".to_owned());
        }
        if let Some(kind) = reserved_kind(address, subnet.network) {
            return Some(format!("the subnet itself ({kind} address)"));
        }
        if let Some((name, _)) = subnet
            .aux_addresses
            .iter()
            .find(|(_, aux)| **aux == address)
        {
            return Some(format!("aux address {name:?}"));
        }
        self.held.get(&address).cloned()
    }
}

fn refuse_details_without_subnet(request: &SubnetRequest) -> Result<(), IpamError> {
    let what = if request.gateway.is_some() {
        "gateway"
    } else if request.ip_range.is_some() {
        "ip_range"
    } else if !request.aux_addresses.is_empty() {
        "aux_addresses"
    } else {
        return Ok(());
    };
    Err(IpamError::NoSubnet { what })
}

fn check_subnet(subnet: IpNetwork, occupied: &[Occupied]) -> Result<IpNetwork, IpamError> {
    let expected = IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet);
    if expected.ip() != subnet.ip() {
        return Err(IpamError::HostBits {
            given: subnet,
            expected,
        });
    }
    match first_overlap(subnet, occupied) {
        Some(taken) => Err(IpamError::Overlap {
            subnet,
            taken: taken.prefix,
            holder: taken.holder.clone(),
        }),
        None => Ok(subnet),
    }
}

fn first_overlap(subnet: IpNetwork, occupied: &[Occupied]) -> Option<&Occupied> {
    occupied.iter().find(|taken| overlaps(subnet, taken.prefix))
}

fn check_range(range: IpNetwork, network: IpNetwork) -> Result<IpNetwork, IpamError> {
    let inside = range.prefix() >= network.prefix() && overlaps(range, network);
    if inside {
        return Ok(IpNetwork::new(range.network(), range.prefix()).unwrap_or(range));
    }
    Err(IpamError::Outside {
        what: "ip_range".to_owned(),
        address: range.to_string(),
        within: network,
    })
}

fn check_inside(what: &str, address: IpAddr, network: IpNetwork) -> Result<(), IpamError> {
    if network.contains(address) {
        return Ok(());
    }
    Err(IpamError::Outside {
        what: what.to_owned(),
        address: address.to_string(),
        within: network,
    })
}

fn check_host_address(
    what: &str,
    address: IpAddr,
    network: IpNetwork,
) -> Result<IpAddr, IpamError> {
    check_inside(what, address, network)?;
    match reserved_kind(address, network) {
        Some(kind) => Err(IpamError::Reserved {
            what: what.to_owned(),
            address,
            kind,
            subnet: network,
        }),
        None => Ok(address),
    }
}

fn first_host(
    network: IpNetwork,
    aux_addresses: &BTreeMap<String, IpAddr>,
) -> Result<IpAddr, IpamError> {
    let (first, last) = bounds(network);
    (first..=last)
        .take(aux_addresses.len() + 3)
        .map(|number| from_number(number, network))
        .find(|address| {
            reserved_kind(*address, network).is_none()
                && !aux_addresses.values().any(|aux| aux == address)
        })
        .ok_or(IpamError::TooSmall { subnet: network })
}

/// `network` or `broadcast` for an address that no host can have. A /31 (RFC 3021) and longer reserve none.
fn reserved_kind(address: IpAddr, network: IpNetwork) -> Option<&'static str> {
    let (first, last) = bounds(network);
    let number = to_number(address);
    let small = match network {
        IpNetwork::V4(network) => network.prefix() >= 31,
        IpNetwork::V6(network) => network.prefix() >= 127,
    };
    if small {
        None
    } else if number == first {
        Some("network")
    } else if number == last && network.is_ipv4() {
        Some("broadcast")
    } else {
        None
    }
}

/// First and last address of a prefix, as numbers.
fn bounds(network: IpNetwork) -> (u128, u128) {
    (to_number(network.network()), to_number(network.broadcast()))
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The address with this number, in the family of `like`.
fn from_number(number: u128, like: IpNetwork) -> IpAddr {
    match (like, u32::try_from(number)) {
        (IpNetwork::V4(_), Ok(number)) => IpAddr::V4(Ipv4Addr::from(number)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests;
