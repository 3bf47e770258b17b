//! nfnetlink bytes: attributes, and the kernel's form of tables, sets, chains and rules.
//!
//! The numbers are kernel ABI, from `linux/netfilter/nf_tables.h`; each expression is checked against a live kernel
//! by the crate's tests.

use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;

use super::table::{
    Base, ChainKind, DataType, Datum, Element, End, Family, Hook, Link, Rule, Set, State,
    Statement, Test,
};

const NLA_F_NESTED: u16 = 0x8000;

/// Registers of 4 bytes: a key's parts lie side by side from here on.
const FIRST_REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const LINK_NAME_BYTES: usize = 16;

/// Attributes under construction.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A value as it is.
    pub(crate) fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("callers keep attributes under 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// A 32-bit number in network byte order, as nf_tables wants all its numbers.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.raw(kind, &value.to_be_bytes())
    }

    /// A string with its final NUL.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, &bytes)
    }

    /// Attributes in an attribute.
    pub(crate) fn nest(self, kind: u16, inner: Attributes) -> Self {
        self.raw(kind | NLA_F_NESTED, &inner.bytes)
    }
}

/// `NFPROTO_*`: the family byte of a message.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

pub(crate) fn chain_hook(base: Base) -> Attributes {
    let hook = match base.hook {
        Hook::Prerouting => 0,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    Attributes::new()
        .number(1, hook)
        .number(2, base.priority.cast_unsigned())
}

pub(crate) fn chain_kind(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}

/// Attributes of `NFT_MSG_NEWSET`, but for the table's name.
pub(crate) fn set_definition(attributes: Attributes, set: &Set, id: u32) -> Attributes {
    const MAP: u32 = 8;
    let attributes = attributes
        .text(2, &set.name)
        .number(3, if set.data.is_empty() { 0 } else { MAP })
        .number(4, type_number(&set.key))
        .number(5, width(&set.key))
        .number(10, id);
    // For `nft list` only: the names of links are in the machine's byte order (type 0, 4 bytes, 1).
    let attributes = if set.key == [DataType::LinkName] {
        let mut order = vec![0, 4];
        order.extend(1_u32.to_ne_bytes());
        attributes.raw(13, &order)
    } else {
        attributes
    };
    if set.data.is_empty() {
        attributes
    } else {
        attributes
            .number(6, type_number(&set.data))
            .number(7, width(&set.data))
    }
}

pub(crate) fn element(element: &Element) -> Attributes {
    let attributes = Attributes::new().nest(1, Attributes::new().raw(1, &bytes_of(&element.key)));
    if element.data.is_empty() {
        attributes
    } else {
        attributes.nest(2, Attributes::new().raw(1, &bytes_of(&element.data)))
    }
}

/// A rule's expressions, as the content of `NFTA_RULE_EXPRESSIONS`.
pub(crate) fn expressions(rule: &Rule) -> Attributes {
    let mut list = Expressions(Attributes::new());
    for statement in &rule.statements {
        list.statement(statement);
    }
    list.0
}

/// User data that `nft list` shows as a comment: type 0, length, text with NUL.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    let kept = text.get(..text.len().min(120)).unwrap_or_default();
    let length = u8::try_from(kept.len() + 1).expect("at most 121");
    let mut bytes = vec![0, length];
    bytes.extend(kept.as_bytes());
    bytes.push(0);
    bytes
}

/// nft's number of a type; parts are joined six bits each. The kernel only hands it back to `nft list`.
fn type_number(parts: &[DataType]) -> u32 {
    parts.iter().fold(0, |number, part| {
        let part = match part {
            DataType::Ipv4 => 7,
            DataType::Ipv6 => 8,
            DataType::Protocol => 12,
            DataType::Port => 13,
            DataType::LinkName => 41,
        };
        (number << 6) | part
    })
}

fn width(parts: &[DataType]) -> u32 {
    parts
        .iter()
        .map(|part| match part {
            DataType::Ipv4 | DataType::Protocol | DataType::Port => 4,
            DataType::Ipv6 | DataType::LinkName => 16,
        })
        .sum()
}

/// Each part padded to whole registers.
fn bytes_of(parts: &[Datum]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Datum::Ipv4(address) => bytes.extend(address.octets()),
            Datum::Ipv6(address) => bytes.extend(address.octets()),
            Datum::Protocol(protocol) => bytes.push(protocol.number()),
            Datum::Port(port) => bytes.extend(port.to_be_bytes()),
            Datum::LinkName(name) => bytes.extend(link_name(name)),
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn link_name(name: &str) -> [u8; LINK_NAME_BYTES] {
    let mut bytes = [0; LINK_NAME_BYTES];
    for (place, byte) in bytes.iter_mut().take(LINK_NAME_BYTES - 1).zip(name.bytes()) {
        *place = byte;
    }
    bytes
}

/// A list of expressions under construction.
struct Expressions(Attributes);

impl Expressions {
    fn push(&mut self, name: &str, data: Attributes) {
        let expression = Attributes::new().text(1, name).nest(2, data);
        let list = std::mem::take(&mut self.0);
        self.0 = list.nest(1, expression);
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Version(family) => self.version(*family),
            Statement::LinkIs(link, test, name) => {
                self.load_link(*link, FIRST_REGISTER);
                self.compare(*test, &link_name(name));
            }
            Statement::LinkIn(link, test, set) => {
                self.load_link(*link, FIRST_REGISTER);
                self.lookup(set, *test);
            }
            Statement::LinkPairIn(set) => {
                self.load_link(Link::In, FIRST_REGISTER);
                self.load_link(Link::Out, FIRST_REGISTER + 4);
                self.lookup(set, Test::Is);
            }
            Statement::Address(end, test, network) => self.address(*end, *test, network),
            Statement::Transport(protocol, end, port) => {
                self.load_meta(META_L4PROTO, FIRST_REGISTER);
                self.compare(Test::Is, &[protocol.number()]);
                let offset = match end {
                    End::Source => 0,
                    End::Destination => 2,
                };
                self.load_payload(TRANSPORT_HEADER, offset, 2, FIRST_REGISTER);
                self.compare(Test::Is, &port.to_be_bytes());
            }
            Statement::DestinationIsLocal => self.destination_is_local(),
            Statement::State(State::EstablishedOrRelated) => self.connection_bit(0, 2 | 4),
            Statement::State(State::Invalid) => self.connection_bit(0, 1),
            Statement::DestinationTranslated => self.connection_bit(2, 1 << 5),
            action => self.action(action),
        }
    }

    fn action(&mut self, action: &Statement) {
        match action {
            Statement::Counter => {
                let zero = 0_u64.to_be_bytes();
                self.push("counter", Attributes::new().raw(1, &zero).raw(2, &zero));
            }
            Statement::Accept => self.verdict(1, None),
            Statement::Drop => self.verdict(0, None),
            Statement::Return => self.verdict(-5, None),
            Statement::Jump(chain) => self.verdict(-3, Some(chain)),
            Statement::NoTrack => self.push("notrack", Attributes::new()),
            Statement::Masquerade => self.push("masq", Attributes::new()),
            Statement::TranslateDestination(to) => self.translate(to),
            Statement::TranslateByMap {
                family,
                with_address,
                map,
            } => self.translate_by_map(*family, *with_address, map),
            _matches => {}
        }
    }

    fn version(&mut self, family: Family) {
        self.load_meta(META_NFPROTO, FIRST_REGISTER);
        self.compare(Test::Is, &[family_number(family)]);
    }

    fn load_link(&mut self, link: Link, register: u32) {
        let key = match link {
            Link::In => META_IIFNAME,
            Link::Out => META_OIFNAME,
        };
        self.load_meta(key, register);
    }

    fn load_meta(&mut self, key: u32, register: u32) {
        self.push("meta", Attributes::new().number(1, register).number(2, key));
    }

    fn load_payload(&mut self, header: u32, offset: u32, length: u32, register: u32) {
        self.push(
            "payload",
            Attributes::new()
                .number(1, register)
                .number(2, header)
                .number(3, offset)
                .number(4, length),
        );
    }

    fn compare(&mut self, test: Test, value: &[u8]) {
        let operation = match test {
            Test::Is => 0,
            Test::IsNot => 1,
        };
        self.push(
            "cmp",
            Attributes::new()
                .number(1, FIRST_REGISTER)
                .number(2, operation)
                .nest(3, Attributes::new().raw(1, value)),
        );
    }

    fn lookup(&mut self, set: &str, test: Test) {
        const INVERT: u32 = 1;
        let attributes = Attributes::new().text(1, set).number(2, FIRST_REGISTER);
        let attributes = match test {
            Test::Is => attributes,
            Test::IsNot => attributes.number(5, INVERT),
        };
        self.push("lookup", attributes);
    }

    /// Whole bytes of a prefix are compared directly; other lengths need a mask.
    fn address(&mut self, end: End, test: Test, network: &IpNetwork) {
        let (octets, prefix) = match network {
            IpNetwork::V4(network) => (network.network().octets().to_vec(), network.prefix()),
            IpNetwork::V6(network) => (network.network().octets().to_vec(), network.prefix()),
        };
        let offset = match (network, end) {
            (IpNetwork::V4(_), End::Source) => 12,
            (IpNetwork::V4(_), End::Destination) => 16,
            (IpNetwork::V6(_), End::Source) => 8,
            (IpNetwork::V6(_), End::Destination) => 24,
        };
        let whole_bytes = usize::from(prefix / 8);
        if prefix.is_multiple_of(8) && whole_bytes > 0 {
            let length = u32::from(prefix / 8);
            self.load_payload(NETWORK_HEADER, offset, length, FIRST_REGISTER);
            self.compare(test, octets.get(..whole_bytes).unwrap_or_default());
            return;
        }
        let mask: Vec<u8> = match network {
            IpNetwork::V4(network) => network.mask().octets().to_vec(),
            IpNetwork::V6(network) => network.mask().octets().to_vec(),
        };
        let length = u32::try_from(octets.len()).expect("4 or 16");
        self.load_payload(NETWORK_HEADER, offset, length, FIRST_REGISTER);
        self.mask(&mask);
        self.compare(test, &octets);
    }

    fn mask(&mut self, mask: &[u8]) {
        let zero = vec![0; mask.len()];
        let length = u32::try_from(mask.len()).expect("at most 16");
        self.push(
            "bitwise",
            Attributes::new()
                .number(1, FIRST_REGISTER)
                .number(2, FIRST_REGISTER)
                .number(3, length)
                .nest(4, Attributes::new().raw(1, mask))
                .nest(5, Attributes::new().raw(1, &zero)),
        );
    }

    fn destination_is_local(&mut self) {
        const ADDRESS_TYPE: u32 = 3;
        const OF_DESTINATION: u32 = 2;
        const RTN_LOCAL: u32 = 2;
        self.push(
            "fib",
            Attributes::new()
                .number(1, FIRST_REGISTER)
                .number(2, ADDRESS_TYPE)
                .number(3, OF_DESTINATION),
        );
        self.compare(Test::Is, &RTN_LOCAL.to_ne_bytes());
    }

    /// Whether any of `bits` is set in a connection tracking key: 0 is the state, 2 the status.
    fn connection_bit(&mut self, key: u32, bits: u32) {
        self.push(
            "ct",
            Attributes::new().number(1, FIRST_REGISTER).number(2, key),
        );
        self.mask(&bits.to_ne_bytes());
        self.compare(Test::IsNot, &0_u32.to_ne_bytes());
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        let mut verdict = Attributes::new().number(1, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict = verdict.text(2, chain);
        }
        self.push(
            "immediate",
            Attributes::new()
                .number(1, VERDICT_REGISTER)
                .nest(2, Attributes::new().nest(2, verdict)),
        );
    }

    fn load_value(&mut self, value: &[u8], register: u32) {
        self.push(
            "immediate",
            Attributes::new()
                .number(1, register)
                .nest(2, Attributes::new().raw(1, value)),
        );
    }

    fn translate(&mut self, to: &SocketAddr) {
        let (family, address) = match to.ip() {
            IpAddr::V4(address) => (Family::Ip, address.octets().to_vec()),
            IpAddr::V6(address) => (Family::Ip6, address.octets().to_vec()),
        };
        let port_register = FIRST_REGISTER + 4;
        self.load_value(&address, FIRST_REGISTER);
        self.load_value(&to.port().to_be_bytes(), port_register);
        self.destination_nat(family, port_register);
    }

    fn translate_by_map(&mut self, family: Family, with_address: bool, map: &str) {
        let (offset, registers) = match family {
            Family::Ip6 => (24, 4),
            Family::Ip | Family::Inet => (16, 1),
        };
        let mut register = FIRST_REGISTER;
        if with_address {
            self.load_payload(NETWORK_HEADER, offset, registers * 4, register);
            register += registers;
        }
        self.load_meta(META_L4PROTO, register);
        self.load_payload(TRANSPORT_HEADER, 2, 2, register + 1);
        self.push(
            "lookup",
            Attributes::new()
                .text(1, map)
                .number(2, FIRST_REGISTER)
                .number(3, FIRST_REGISTER),
        );
        self.destination_nat(family, FIRST_REGISTER + registers);
    }

    fn destination_nat(&mut self, family: Family, port_register: u32) {
        const DESTINATION: u32 = 1;
        self.push(
            "nat",
            Attributes::new()
                .number(1, DESTINATION)
                .number(2, u32::from(family_number(family)))
                .number(3, FIRST_REGISTER)
                .number(5, port_register),
        );
    }
}

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
