//! An nftables table as a value: printable as `nft list` prints it, comparable, encodable.
//!
//! Only what this engine's rule sets use exists here. A rule reads left to right as the kernel evaluates it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;

use super::Protocol;

/// The address families of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
    /// Both.
    Inet,
}

/// A table: sets first, then chains, then the chains' rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its chains; a chain that is jumped to comes before the jump.
    pub chains: Vec<Chain>,
}

/// A set, or a map when it has a data type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The parts of a key.
    pub key: Vec<DataType>,
    /// The parts of a value; empty for a plain set.
    pub data: Vec<DataType>,
    /// What it holds.
    pub elements: BTreeSet<Element>,
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// One value for each part of the key.
    pub key: Vec<Datum>,
    /// One value for each part of the data; empty in a plain set.
    pub data: Vec<Datum>,
}

/// The type of a part of a key or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `ipv4_addr`
    Ipv4,
    /// `ipv6_addr`
    Ipv6,
    /// `inet_proto`
    Protocol,
    /// `inet_service`
    Port,
    /// `ifname`
    LinkName,
}

/// A value of a [`DataType`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Datum {
    /// An address.
    Ipv4(Ipv4Addr),
    /// An address.
    Ipv6(Ipv6Addr),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A link's name.
    LinkName(String),
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where the kernel calls it; none for a chain that is only jumped to. The policy is always accept.
    pub base: Option<Base>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// What it may do.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Order among the chains of the hook; lower is earlier.
    pub priority: i32,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of a connection.
    Nat,
}

/// The kernel's packet hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Every packet that comes in.
    Prerouting,
    /// Packets that pass through.
    Forward,
    /// Packets made here.
    Output,
    /// Every packet that goes out.
    Postrouting,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Matches and actions, in order.
    pub statements: Vec<Statement>,
    /// Words for people; empty for none.
    pub comment: &'static str,
}

/// Which link of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The link it came in by.
    In,
    /// The link it goes out by.
    Out,
}

/// Which end of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// Equal or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// `==`
    Is,
    /// `!=`
    IsNot,
}

/// States of connection tracking, as the kernel's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Belongs to a known connection, or is an error about one.
    EstablishedOrRelated,
    /// Fits no connection.
    Invalid,
}

/// A match or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The packet is IPv4 or IPv6.
    Version(Family),
    /// The link's name.
    LinkIs(Link, Test, String),
    /// The link's name is in a set.
    LinkIn(Link, Test, &'static str),
    /// The pair of links is in a set.
    LinkPairIn(&'static str),
    /// An address.
    Address(End, Test, IpNetwork),
    /// Transport protocol and port.
    Transport(Protocol, End, u16),
    /// The destination is an address of this machine.
    DestinationIsLocal,
    /// Connection tracking state.
    State(State),
    /// The connection's destination was translated.
    DestinationTranslated,
    /// Count packets and bytes.
    Counter,
    /// Stop: the packet may pass this table.
    Accept,
    /// Stop: the packet is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Call a chain.
    Jump(&'static str),
    /// Do not track the connection.
    NoTrack,
    /// Replace the source by the address of the link the packet leaves by.
    Masquerade,
    /// Replace the destination.
    TranslateDestination(SocketAddr),
    /// Replace the destination by the map's value, if it has one for the packet.
    TranslateByMap {
        /// The map's address family.
        family: Family,
        /// Whether the destination address is the first part of the key.
        with_address: bool,
        /// The map's name.
        map: &'static str,
    },
}

impl Table {
    /// The set of this name.
    pub fn set(&self, name: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.name == name)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {} {{", self.family, self.name)?;
        for set in &self.sets {
            writeln!(f, "{set}")?;
        }
        for (index, chain) in self.chains.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{chain}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.data.is_empty() { "set" } else { "map" };
        writeln!(f, "\t{kind} {} {{", self.name)?;
        write!(f, "\t\ttype {}", Joined(&self.key, " . "))?;
        if !self.data.is_empty() {
            write!(f, " : {}", Joined(&self.data, " . "))?;
        }
        writeln!(f)?;
        if !self.elements.is_empty() {
            let elements: Vec<&Element> = self.elements.iter().collect();
            writeln!(
                f,
                "\t\telements = {{ {} }}",
                Joined(&elements, ",\n\t\t\t     ")
            )?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Joined(&self.key, " . "))?;
        if !self.data.is_empty() {
            write!(f, " : {}", Joined(&self.data, " . "))?;
        }
        Ok(())
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::LinkName => "ifname",
        })
    }
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::LinkName(name) => write!(f, "\"{name}\""),
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(base) = self.base {
            writeln!(f, "\t\t{base}; policy accept;")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        write!(f, "type {kind} hook {hook} priority ")?;
        match (self.priority, self.hook) {
            (-300, _) => f.write_str("raw"),
            (-100, Hook::Prerouting) => f.write_str("dstnat"),
            (0, _) => f.write_str("filter"),
            (100, Hook::Postrouting) => f.write_str("srcnat"),
            (other, _) => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (index, statement) in self.statements.iter().enumerate() {
            // nft leaves the version out where the next match implies it.
            let next = self.statements.get(index + 1);
            if matches!(statement, Statement::Version(_)) && next.is_some_and(implies_version) {
                continue;
            }
            if !first {
                f.write_str(" ")?;
            }
            first = false;
            write!(f, "{statement}")?;
        }
        if !self.comment.is_empty() {
            write!(f, " comment \"{}\"", self.comment)?;
        }
        Ok(())
    }
}

fn implies_version(statement: &Statement) -> bool {
    match statement {
        Statement::Address(..) => true,
        Statement::TranslateByMap { with_address, .. } => *with_address,
        _ => false,
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(Family::Ip) => f.write_str("meta nfproto ipv4"),
            Self::Version(Family::Ip6) => f.write_str("meta nfproto ipv6"),
            Self::Version(Family::Inet) => Ok(()),
            Self::LinkIs(link, test, name) => write!(f, "{link} {test}\"{name}\""),
            Self::LinkIn(link, test, set) => write!(f, "{link} {test}@{set}"),
            Self::LinkPairIn(set) => write!(f, "iifname . oifname @{set}"),
            Self::Address(end, test, network) => write!(f, "{}", AddressText(*end, *test, network)),
            Self::Transport(protocol, end, port) => match end {
                End::Source => write!(f, "{protocol} sport {port}"),
                End::Destination => write!(f, "{protocol} dport {port}"),
            },
            Self::DestinationIsLocal => f.write_str("fib daddr type local"),
            Self::State(State::EstablishedOrRelated) => f.write_str("ct state established,related"),
            Self::State(State::Invalid) => f.write_str("ct state invalid"),
            Self::DestinationTranslated => f.write_str("ct status dnat"),
            Self::Counter => f.write_str("counter"),
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::NoTrack => f.write_str("notrack"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::TranslateDestination(to) => write!(f, "dnat to {to}"),
            Self::TranslateByMap {
                family,
                with_address,
                map,
            } => {
                write!(f, "dnat {family} to ")?;
                if *with_address {
                    write!(f, "{family} daddr . ")?;
                }
                write!(f, "meta l4proto . th dport map @{map}")
            }
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "iifname",
            Self::Out => "oifname",
        })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Is => "",
            Self::IsNot => "!= ",
        })
    }
}

struct AddressText<'a>(End, Test, &'a IpNetwork);

impl fmt::Display for AddressText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(end, test, network) = self;
        let (family, single) = match network {
            IpNetwork::V4(network) => ("ip", network.prefix() == 32),
            IpNetwork::V6(network) => ("ip6", network.prefix() == 128),
        };
        let end = match end {
            End::Source => "saddr",
            End::Destination => "daddr",
        };
        write!(f, "{family} {end} {test}")?;
        if single {
            write!(f, "{}", network.ip())
        } else {
            write!(f, "{network}")
        }
    }
}

struct Joined<'a, T>(&'a [T], &'static str);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}
