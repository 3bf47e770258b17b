//! Claims on the host's ports: really bound (and, for TCP, listening) sockets, so that a conflict is found before
//! anything starts, and told with the name of who holds the port.
//!
//! IPv4 packets to a published port never reach the claim: they are translated before. The claim's socket is
//! where connections of the other kind arrive (`[::]` and `[::1]` for a container without IPv6), and those that come
//! while no rules are loaded; the [`crate::proxy`] serves them.

mod holder;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::firewall::Protocol;

pub use holder::Holder;

/// How many connections may wait on a claim until the proxy takes them.
const BACKLOG: i32 = 512;
/// How often another port is tried when one is free on IPv4 only.
const EPHEMERAL_ATTEMPTS: usize = 32;

/// Why a port could not be claimed. Texts are made for users.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody has it.
    #[error("bind for {address}/{protocol} failed: port is already allocated{holder}")]
    Allocated {
        /// Address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// By whom, as far as it can be found.
        holder: Holder,
    },
    /// No port of a range is free.
    #[error(
        "all ports of {first}-{last}/{protocol} are already allocated; {address} was tried last{holder}"
    )]
    RangeAllocated {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
        /// The protocol.
        protocol: Protocol,
        /// The last one tried.
        address: SocketAddr,
        /// Who holds that one.
        holder: Holder,
    },
    /// The host does not have this address.
    #[error("bind for {address}/{protocol} failed: this machine has no address {}", address.ip())]
    NoSuchAddress {
        /// Address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
    },
    /// Any other refusal.
    #[error("bind for {address}/{protocol} failed")]
    Bind {
        /// Address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// Why.
        source: io::Error,
    },
    /// A descriptor handed in is no claim.
    #[error("a stored descriptor is no port claim")]
    NotAClaim(#[source] io::Error),
}

/// Which host ports would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPorts {
    /// Any free one of the kernel's ephemeral range.
    Ephemeral,
    /// The first free one of a range, both ends included; one port is a range of one.
    Range {
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
}

/// A port to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRequest {
    /// On which address; none for all addresses of both families.
    pub host_ip: Option<IpAddr>,
    /// Which ports would do.
    pub ports: HostPorts,
    /// The protocol.
    pub protocol: Protocol,
}

/// A claimed port on one address. Dropping it (and every copy of its socket) gives the port back to the kernel.
#[derive(Debug)]
pub struct Claim {
    address: SocketAddr,
    socket: ClaimSocket,
}

#[derive(Debug)]
enum ClaimSocket {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// SCTP has no socket: only our own claims conflict.
    Sctp,
}

impl Claim {
    /// The address and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        match self.socket {
            ClaimSocket::Tcp(_) => Protocol::Tcp,
            ClaimSocket::Udp(_) => Protocol::Udp,
            ClaimSocket::Sctp => Protocol::Sctp,
        }
    }

    /// The socket, to be kept by another process while this one is away; none for SCTP.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.socket {
            ClaimSocket::Tcp(socket) => Some(socket.as_fd()),
            ClaimSocket::Udp(socket) => Some(socket.as_fd()),
            ClaimSocket::Sctp => None,
        }
    }

    pub(crate) fn tcp(&self) -> Option<&TcpListener> {
        match &self.socket {
            ClaimSocket::Tcp(socket) => Some(socket),
            _ => None,
        }
    }

    pub(crate) fn udp(&self) -> Option<&UdpSocket> {
        match &self.socket {
            ClaimSocket::Udp(socket) => Some(socket),
            _ => None,
        }
    }
}

/// All claims of one engine by their owner's label, so that a conflict between two of its own containers is told
/// by name.
#[derive(Debug, Default)]
pub struct Ports {
    held: BTreeMap<(Protocol, SocketAddr), String>,
}

impl Ports {
    /// No claims.
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims a port on every address of the request: the same port on all of them. `label` is worded to follow
    /// "by": `container shop-web-1`. A machine without IPv6 gives IPv4 claims only when no address is named.
    ///
    /// # Errors
    /// [`PortError`]; then nothing stays claimed.
    pub fn claim(&mut self, request: &PortRequest, label: &str) -> Result<Vec<Claim>, PortError> {
        let claims = match request.ports {
            HostPorts::Ephemeral => self.claim_ephemeral(request)?,
            HostPorts::Range { first, last } => self.claim_range(request, first, last)?,
        };
        self.note(&claims, label);
        Ok(claims)
    }

    /// Takes over a claim whose socket was kept elsewhere ([`Claim::descriptor`]).
    ///
    /// # Errors
    /// [`PortError::NotAClaim`] when the descriptor is not a bound TCP or UDP socket.
    pub fn adopt(&mut self, descriptor: OwnedFd, label: &str) -> Result<Claim, PortError> {
        let kind = sockopt::socket_type(&descriptor)
            .map_err(|errno| PortError::NotAClaim(errno.into()))?;
        let claim = if kind == SocketType::STREAM {
            let socket = TcpListener::from(descriptor);
            Claim {
                address: socket.local_addr().map_err(PortError::NotAClaim)?,
                socket: ClaimSocket::Tcp(socket),
            }
        } else {
            let socket = UdpSocket::from(descriptor);
            Claim {
                address: socket.local_addr().map_err(PortError::NotAClaim)?,
                socket: ClaimSocket::Udp(socket),
            }
        };
        self.note(std::slice::from_ref(&claim), label);
        Ok(claim)
    }

    /// Gives claims back.
    pub fn release(&mut self, claims: Vec<Claim>) {
        for claim in &claims {
            self.held.remove(&(claim.protocol(), claim.address));
        }
    }

    fn note(&mut self, claims: &[Claim], label: &str) {
        for claim in claims {
            self.held
                .insert((claim.protocol(), claim.address), label.to_owned());
        }
    }

    fn claim_range(
        &self,
        request: &PortRequest,
        first: u16,
        last: u16,
    ) -> Result<Vec<Claim>, PortError> {
        let mut result = self.claim_port(request, first);
        for port in first.saturating_add(1)..=last {
            if !matches!(result, Err(PortError::Allocated { .. })) {
                break;
            }
            result = self.claim_port(request, port);
        }
        match result {
            Err(PortError::Allocated {
                address,
                protocol,
                holder,
            }) if first != last => Err(PortError::RangeAllocated {
                first,
                last,
                protocol,
                address,
                holder,
            }),
            other => other,
        }
    }

    fn claim_ephemeral(&self, request: &PortRequest) -> Result<Vec<Claim>, PortError> {
        let mut result = self.claim_port(request, 0);
        for _ in 1..EPHEMERAL_ATTEMPTS {
            if !matches!(result, Err(PortError::Allocated { .. })) {
                break;
            }
            result = self.claim_port(request, 0);
        }
        result
    }

    /// Claims one port number on all addresses; with 0 the first address's choice is used for the others.
    fn claim_port(&self, request: &PortRequest, port: u16) -> Result<Vec<Claim>, PortError> {
        let addresses: &[IpAddr] = match &request.host_ip {
            Some(address) => std::slice::from_ref(address),
            None => &[
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ],
        };
        let mut claims: Vec<Claim> = Vec::new();
        for address in addresses {
            let port = claims.first().map_or(port, |claim| claim.address.port());
            let wanted = SocketAddr::new(*address, port);
            match self.claim_address(wanted, request.protocol) {
                Ok(claim) => claims.push(claim),
                Err(PortError::Bind { source, .. })
                    if !claims.is_empty() && is_family_missing(&source) => {}
                Err(PortError::NoSuchAddress { .. }) if !claims.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(claims)
    }

    fn claim_address(&self, address: SocketAddr, protocol: Protocol) -> Result<Claim, PortError> {
        if let Some(label) = self.own_holder(address, protocol) {
            return Err(PortError::Allocated {
                address,
                protocol,
                holder: Holder::Label(label.to_owned()),
            });
        }
        bind(address, protocol).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => PortError::Allocated {
                address,
                protocol,
                holder: holder::find(address, protocol),
            },
            io::ErrorKind::AddrNotAvailable => PortError::NoSuchAddress { address, protocol },
            _ => PortError::Bind {
                address,
                protocol,
                source,
            },
        })
    }

    /// The label of a claim of ours that conflicts.
    fn own_holder(&self, wanted: SocketAddr, protocol: Protocol) -> Option<&str> {
        self.held
            .iter()
            .filter(|((held, _), _)| *held == protocol)
            .find(|((_, held), _)| wanted.port() != 0 && conflict(*held, wanted))
            .map(|(_, label)| label.as_str())
    }
}

fn conflict(held: SocketAddr, wanted: SocketAddr) -> bool {
    held.port() == wanted.port()
        && held.is_ipv4() == wanted.is_ipv4()
        && (held.ip() == wanted.ip() || held.ip().is_unspecified() || wanted.ip().is_unspecified())
}

fn is_family_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<Claim> {
    if protocol == Protocol::Sctp {
        return Ok(Claim {
            address,
            socket: ClaimSocket::Sctp,
        });
    }
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let kind = if protocol == Protocol::Tcp {
        SocketType::STREAM
    } else {
        SocketType::DGRAM
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that ended a moment ago do not hold the port; a listener does.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    let socket = if protocol == Protocol::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
        ClaimSocket::Tcp(TcpListener::from(socket))
    } else {
        ClaimSocket::Udp(UdpSocket::from(socket))
    };
    let address = match &socket {
        ClaimSocket::Tcp(socket) => socket.local_addr()?,
        ClaimSocket::Udp(socket) => socket.local_addr()?,
        ClaimSocket::Sctp => address,
    };
    Ok(Claim { address, socket })
}
