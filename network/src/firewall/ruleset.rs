//! Networks and published ports → the table. Pure.
//!
//! What holds for the result:
//! * a container's ports are reachable from outside its network only where published (packets to our bridges pass
//!   only when their destination was translated), and so networks do not reach each other;
//! * nothing passes into or out of an internal network; traffic inside one network always passes, also when the
//!   kernel shows bridged frames to the packet filter (`bridge-nf-call-iptables=1`);
//! * published ports answer on every address of the host or on the one named, also on 127.0.0.1 and also for
//!   containers of the same network; packets to 127.0.0.0/8 from any other machine are dropped (CVE-2020-8558);
//! * the cost of a packet does not grow with the number of published ports: they are map elements.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::Protocol;
use super::table::{
    Base, Chain, ChainKind, DataType, Datum, Element, End, Family, Hook, Link, Rule, Set, State,
    Statement, Table, Test,
};
use crate::link::bridge::Reach;

/// What the packet filter should do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The networks.
    pub networks: Vec<NetworkRules>,
    /// The published ports of all of them.
    pub published: Vec<PublishedPort>,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    /// Its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<IpNetwork>,
    /// What passes between it and the rest of the world.
    pub reach: Reach,
}

/// One published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// The host's address it is published on; none or an unspecified address for all of its family.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The container's address and port. A host address of the other family is no concern of the rules: the
    /// proxy serves it.
    pub target: SocketAddr,
}

const BRIDGES: &str = "bridges";
const INTERNAL: &str = "internal";
const FOREIGN: &str = "foreign";
const SAME: &str = "same";
const PUBLISHED_4: &str = "published4";
const PUBLISHED_4_ANY: &str = "published4_any";
const PUBLISHED_6: &str = "published6";
const PUBLISHED_6_ANY: &str = "published6_any";
const PUBLISHED: &str = "published";

impl Ruleset {
    /// The table of this name, on a machine without other container engines.
    pub fn table(&self, name: &str) -> Table {
        self.table_beside(name, &[])
    }

    /// The table of this name beside others' bridges, which our containers reach by their published ports only. Their
    /// owners' rules would see to that, but our accept rules in their hook chains come first.
    pub fn table_beside(&self, name: &str, foreign: &[String]) -> Table {
        Table {
            family: Family::Inet,
            name: name.to_owned(),
            sets: self.sets(foreign),
            chains: vec![
                published_chain(),
                loopback_guard(),
                translation(Hook::Prerouting),
                translation(Hook::Output),
                forward_chain(),
                self.postrouting_chain(),
            ],
        }
    }

    /// The bridges' names, sorted, each once.
    pub fn bridges(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self
            .networks
            .iter()
            .map(|network| &network.bridge)
            .collect();
        names.into_iter().cloned().collect()
    }

    fn sets(&self, foreign: &[String]) -> Vec<Set> {
        let bridges = |wanted: fn(Reach) -> bool| {
            self.networks
                .iter()
                .filter(move |network| wanted(network.reach))
                .map(|network| &network.bridge)
        };
        let one = |name: &String| element(vec![Datum::LinkName(name.clone())]);
        let two = |name: &String| {
            let name = Datum::LinkName(name.clone());
            element(vec![name.clone(), name])
        };
        let ports = [DataType::Protocol, DataType::Port];
        let link = [DataType::LinkName];
        vec![
            set(BRIDGES, &link, bridges(|_| true).map(one).collect()),
            set(
                INTERNAL,
                &link,
                bridges(|reach| reach == Reach::Internal).map(one).collect(),
            ),
            set(FOREIGN, &link, foreign.iter().map(one).collect()),
            set(
                SAME,
                &[DataType::LinkName, DataType::LinkName],
                bridges(|_| true).map(two).collect(),
            ),
            self.port_map(PUBLISHED_4, &[&[DataType::Ipv4], &ports[..]].concat()),
            self.port_map(PUBLISHED_4_ANY, &ports),
            self.port_map(PUBLISHED_6, &[&[DataType::Ipv6], &ports[..]].concat()),
            self.port_map(PUBLISHED_6_ANY, &ports),
        ]
    }

    fn port_map(&self, name: &str, key: &[DataType]) -> Set {
        let address = if name == PUBLISHED_4 || name == PUBLISHED_4_ANY {
            DataType::Ipv4
        } else {
            DataType::Ipv6
        };
        let mut keys = BTreeSet::new();
        let elements = self
            .published
            .iter()
            .filter(|port| map_of(port) == Some(name))
            .map(port_element)
            // Two values for one key would be refused as a whole: the first holder keeps it.
            .filter(|element| keys.insert(element.key.clone()))
            .collect();
        Set {
            data: vec![address, DataType::Port],
            ..set(name, key, elements)
        }
    }

    /// Source translation. Rules per network: only the first packet of a connection sees them.
    fn postrouting_chain(&self) -> Chain {
        let mut rules = vec![rule(
            "from the host's 127.0.0.1 to a published port",
            vec![
                Statement::LinkIn(Link::Out, Test::Is, BRIDGES),
                Statement::Version(Family::Ip),
                Statement::Address(End::Source, Test::Is, loopback_network()),
                Statement::Masquerade,
            ],
        )];
        for network in &self.networks {
            let Reach::Open { masquerade } = network.reach else {
                continue;
            };
            for subnet in &network.subnets {
                if masquerade {
                    rules.push(way_out(&network.bridge, *subnet));
                }
                rules.push(back_in(&network.bridge, *subnet));
            }
        }
        base_chain("postrouting", ChainKind::Nat, Hook::Postrouting, 100, rules)
    }
}

/// The map a port belongs to; none when address families differ or it cannot be published by translation.
fn map_of(port: &PublishedPort) -> Option<&'static str> {
    let any = port.host_ip.is_none_or(|host| host.is_unspecified());
    match (port.host_ip, port.target.is_ipv4()) {
        (Some(IpAddr::V6(_)), true) | (Some(IpAddr::V4(_)), false) => None,
        (_, true) if any => Some(PUBLISHED_4_ANY),
        (_, true) => Some(PUBLISHED_4),
        // A packet to ::1 never leaves the machine, whatever its new destination: the proxy serves those.
        (Some(host), false) if host.is_loopback() => None,
        (_, false) if any => Some(PUBLISHED_6_ANY),
        (_, false) => Some(PUBLISHED_6),
    }
}

fn port_element(port: &PublishedPort) -> Element {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => Datum::Ipv4(address),
        IpAddr::V6(address) => Datum::Ipv6(address),
    };
    let mut key = Vec::new();
    if let Some(host) = port.host_ip.filter(|host| !host.is_unspecified()) {
        key.push(address(host));
    }
    key.push(Datum::Protocol(port.protocol));
    key.push(Datum::Port(port.host_port));
    Element {
        key,
        data: vec![address(port.target.ip()), Datum::Port(port.target.port())],
    }
}

/// Where a packet to one of the host's addresses finds its container. A named address is tried before all.
fn published_chain() -> Chain {
    let by_map = |family, with_address, map| {
        rule(
            "",
            vec![
                Statement::Version(family),
                Statement::TranslateByMap {
                    family,
                    with_address,
                    map,
                },
            ],
        )
    };
    let loopback = IpNetwork::from(IpAddr::V6(Ipv6Addr::LOCALHOST));
    Chain {
        name: PUBLISHED.to_owned(),
        base: None,
        rules: vec![
            by_map(Family::Ip, true, PUBLISHED_4),
            by_map(Family::Ip, false, PUBLISHED_4_ANY),
            rule(
                "served by the proxy",
                vec![
                    Statement::Version(Family::Ip6),
                    Statement::Address(End::Destination, Test::Is, loopback),
                    Statement::Return,
                ],
            ),
            by_map(Family::Ip6, true, PUBLISHED_6),
            by_map(Family::Ip6, false, PUBLISHED_6_ANY),
        ],
    }
}

/// Packets that name 127.0.0.0/8 must be this machine's own. Before translation, or a neighbour could reach what
/// is published on 127.0.0.1 only.
fn loopback_guard() -> Chain {
    base_chain(
        "guard",
        ChainKind::Filter,
        Hook::Prerouting,
        -300,
        vec![rule(
            "CVE-2020-8558",
            vec![
                Statement::LinkIs(Link::In, Test::IsNot, "lo".to_owned()),
                Statement::Version(Family::Ip),
                Statement::Address(End::Destination, Test::Is, loopback_network()),
                Statement::Drop,
            ],
        )],
    )
}

fn translation(hook: Hook) -> Chain {
    let name = match hook {
        Hook::Output => "output",
        _ => "prerouting",
    };
    base_chain(
        name,
        ChainKind::Nat,
        hook,
        -100,
        vec![rule(
            "",
            vec![Statement::DestinationIsLocal, Statement::Jump(PUBLISHED)],
        )],
    )
}

fn forward_chain() -> Chain {
    let to = |links| {
        vec![
            Statement::LinkIn(Link::Out, Test::Is, links),
            Statement::Drop,
        ]
    };
    let rules = vec![
        rule(
            "nothing of ours",
            vec![
                Statement::LinkIn(Link::In, Test::IsNot, BRIDGES),
                Statement::LinkIn(Link::Out, Test::IsNot, BRIDGES),
                Statement::Accept,
            ],
        ),
        rule(
            "",
            vec![
                Statement::State(State::EstablishedOrRelated),
                Statement::Accept,
            ],
        ),
        rule(
            "inside one network",
            vec![Statement::LinkPairIn(SAME), Statement::Accept],
        ),
        rule(
            "internal networks",
            vec![
                Statement::LinkIn(Link::In, Test::Is, INTERNAL),
                Statement::Drop,
            ],
        ),
        rule(
            "internal networks",
            vec![
                Statement::LinkIn(Link::Out, Test::Is, INTERNAL),
                Statement::Drop,
            ],
        ),
        rule(
            "would leave with an address of ours",
            vec![Statement::State(State::Invalid), Statement::Drop],
        ),
        rule(
            "published ports",
            vec![Statement::DestinationTranslated, Statement::Accept],
        ),
        rule("isolation", to(BRIDGES)),
        rule("isolation of others' networks", to(FOREIGN)),
    ];
    base_chain("forward", ChainKind::Filter, Hook::Forward, 0, rules)
}

/// Outgoing packets get the host's address.
fn way_out(bridge: &str, subnet: IpNetwork) -> Rule {
    rule(
        "",
        vec![
            version_of(subnet),
            Statement::Address(End::Source, Test::Is, subnet),
            Statement::LinkIs(Link::Out, Test::IsNot, bridge.to_owned()),
            Statement::Masquerade,
        ],
    )
}

/// A container that reaches a published port of its own network: the answer has to come back through the host.
fn back_in(bridge: &str, subnet: IpNetwork) -> Rule {
    rule(
        "",
        vec![
            version_of(subnet),
            Statement::Address(End::Source, Test::Is, subnet),
            Statement::LinkIs(Link::Out, Test::Is, bridge.to_owned()),
            Statement::DestinationTranslated,
            Statement::Masquerade,
        ],
    )
}

fn version_of(network: IpNetwork) -> Statement {
    Statement::Version(match network {
        IpNetwork::V4(_) => Family::Ip,
        IpNetwork::V6(_) => Family::Ip6,
    })
}

/// 127.0.0.0/8.
fn loopback_network() -> IpNetwork {
    let network = Ipv4Network::new(Ipv4Addr::new(127, 0, 0, 0), 8);
    IpNetwork::V4(network.expect("8 is a prefix length of IPv4"))
}

fn base_chain(name: &str, kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
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

fn rule(comment: &'static str, statements: Vec<Statement>) -> Rule {
    Rule {
        statements,
        comment,
    }
}

fn set(name: &str, key: &[DataType], elements: BTreeSet<Element>) -> Set {
    Set {
        name: name.to_owned(),
        key: key.to_vec(),
        data: Vec::new(),
        elements,
    }
}

fn element(key: Vec<Datum>) -> Element {
    Element {
        key,
        data: Vec::new(),
    }
}
