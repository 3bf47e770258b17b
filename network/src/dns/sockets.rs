//! The embedded DNS's sockets inside a container's namespace.
//!
//! They listen on random ports of 127.0.0.11, and translation rules in that namespace bring port 53 there: so the
//! container may itself listen on port 53 of all addresses. The sockets can be kept by another process (the
//! container's shim) while the engine is away: queries wait in them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnetwork::IpNetwork;

use super::ADDRESS;
use crate::firewall::nft::Nft;
use crate::firewall::table::{
    Base, Chain, ChainKind, End, Family, Hook, Link, Rule, Statement, Table, Test,
};
use crate::firewall::{FirewallError, Protocol};
use crate::sandbox::EmbeddedDns;

/// Name of the table in the container's namespace.
const TABLE: &str = "hoist_dns";
const DNS_PORT: u16 = 53;

/// Why the embedded DNS could not be set up in a namespace.
#[derive(Debug, thiserror::Error)]
pub enum DnsSocketsError {
    /// A socket.
    #[error("bind a DNS socket on 127.0.0.11")]
    Bind(#[source] io::Error),
    /// The translation rules.
    #[error("add the DNS rules")]
    Rules(#[source] FirewallError),
}

/// One container's DNS sockets.
#[derive(Debug)]
pub struct DnsSockets {
    /// Queries by UDP.
    pub udp: UdpSocket,
    /// Queries by TCP.
    pub tcp: TcpListener,
}

impl DnsSockets {
    /// Makes the sockets and the rules in the calling thread's namespace, where `lo` need not be up yet.
    ///
    /// # Errors
    /// [`DnsSocketsError`].
    pub fn open_in_this_namespace(tracking: EmbeddedDns) -> Result<Self, DnsSocketsError> {
        let any = SocketAddr::new(IpAddr::V4(ADDRESS), 0);
        let sockets = Self {
            udp: UdpSocket::bind(any).map_err(DnsSocketsError::Bind)?,
            tcp: TcpListener::bind(any).map_err(DnsSocketsError::Bind)?,
        };
        let udp = sockets.udp.local_addr().map_err(DnsSocketsError::Bind)?;
        let tcp = sockets.tcp.local_addr().map_err(DnsSocketsError::Bind)?;
        Nft::open()
            .and_then(|mut nft| nft.create(&table(udp, tcp, tracking)))
            .map_err(DnsSocketsError::Rules)?;
        Ok(sockets)
    }

    /// Takes sockets back that were kept elsewhere ([`Self::descriptors`]); `udp` and `tcp` in this order.
    pub fn adopt(udp: OwnedFd, tcp: OwnedFd) -> Self {
        Self {
            udp: UdpSocket::from(udp),
            tcp: TcpListener::from(tcp),
        }
    }

    /// The descriptors to be kept by another process: UDP, then TCP.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.udp.as_fd(), self.tcp.as_fd()]
    }

    /// Another handle of the same sockets.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            udp: self.udp.try_clone()?,
            tcp: self.tcp.try_clone()?,
        })
    }
}

/// The table of a container's namespace. Answers find their way back by connection tracking.
fn table(udp: SocketAddr, tcp: SocketAddr, tracking: EmbeddedDns) -> Table {
    let mut chains = vec![chain(
        "output",
        ChainKind::Nat,
        (Hook::Output, -100),
        vec![to_socket(Protocol::Udp, udp), to_socket(Protocol::Tcp, tcp)],
    )];
    if tracking == EmbeddedDns::LoopbackTracked {
        let untracked = |link| {
            vec![Rule {
                statements: vec![
                    Statement::LinkIs(link, Test::IsNot, "lo".to_owned()),
                    Statement::NoTrack,
                ],
                comment: "",
            }]
        };
        let raw = ChainKind::Filter;
        chains.push(chain(
            "raw_in",
            raw,
            (Hook::Prerouting, -300),
            untracked(Link::In),
        ));
        chains.push(chain(
            "raw_out",
            raw,
            (Hook::Output, -300),
            untracked(Link::Out),
        ));
    }
    Table {
        family: Family::Ip,
        name: TABLE.to_owned(),
        sets: Vec::new(),
        chains,
    }
}

fn to_socket(protocol: Protocol, socket: SocketAddr) -> Rule {
    Rule {
        statements: vec![
            Statement::Address(
                End::Destination,
                Test::Is,
                IpNetwork::from(IpAddr::V4(ADDRESS)),
            ),
            Statement::Transport(protocol, End::Destination, DNS_PORT),
            Statement::TranslateDestination(socket),
        ],
        comment: "",
    }
}

fn chain(name: &str, kind: ChainKind, at: (Hook, i32), rules: Vec<Rule>) -> Chain {
    let (hook, priority) = at;
    Chain {
        name: name.to_owned(),
        base: Some(Base {
            kind,
            hook,
            priority,
        }),
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_read_as_nft_prints_them() {
        let udp = "127.0.0.11:40001".parse().unwrap();
        let tcp = "127.0.0.11:40002".parse().unwrap();
        let expected = "table ip hoist_dns {\n\
            \tchain output {\n\
            \t\ttype nat hook output priority -100; policy accept;\n\
            \t\tip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:40001\n\
            \t\tip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:40002\n\
            \t}\n}\n";
        assert_eq!(
            table(udp, tcp, EmbeddedDns::AllTracked).to_string(),
            expected
        );
        let lean = table(udp, tcp, EmbeddedDns::LoopbackTracked).to_string();
        assert!(lean.contains("oifname != \"lo\" notrack"), "{lean}");
    }
}
