//! One query → what to do with it. Pure: bytes, a directory and a view in; bytes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::Rng;
use rand::seq::SliceRandom;
use simple_dns::rdata::{A, AAAA, OPT, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE,
};

use super::records::{Directory, Found};

/// How long a client may keep an answer, in seconds. Docker says 600; a container that is made anew has another
/// address at once, and clients that cache (nginx's resolver, the JVM) would keep the dead one for ten minutes. Asking again
/// costs them a loopback round trip.
pub const TTL: u32 = 5;

/// A UDP answer without EDNS is at most this long (RFC 1035).
const PLAIN_LIMIT: usize = 512;
/// What we announce, and the most we send by UDP: fits any loopback packet.
const EDNS_LIMIT: u16 = 4096;
const HEADER: usize = 12;
/// More records than this in a query are no query.
const MAX_RECORDS: u16 = 16;

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Answers are cut to what the client takes.
    Udp,
    /// Answers are up to 65535 bytes long.
    Tcp,
}

/// What to do with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send this back.
    Reply(Vec<u8>),
    /// Not ours to know: ask an upstream server.
    Forward,
    /// Not a query: say nothing.
    Ignore,
}

/// Decides on a query. `networks` are those the client is in, in order of precedence.
pub fn answer(
    query: &[u8],
    directory: &Directory,
    networks: &[String],
    transport: Transport,
    random: &mut impl Rng,
) -> Verdict {
    let Some(header) = Header::read(query) else {
        return Verdict::Ignore;
    };
    if header.is_response {
        return Verdict::Ignore;
    }
    if header.questions != 1 || header.records > MAX_RECORDS {
        return Verdict::Reply(failure(query, RCODE::FormatError));
    }
    let Ok(packet) = Packet::parse(query) else {
        return Verdict::Reply(failure(query, RCODE::FormatError));
    };
    if packet.opcode() != OPCODE::StandardQuery {
        return Verdict::Reply(failure(query, RCODE::NotImplemented));
    }
    let Some(question) = packet.questions.first() else {
        return Verdict::Reply(failure(query, RCODE::FormatError));
    };
    if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
        return Verdict::Forward;
    }
    let name = question.qname.to_string();
    let records = match question.qtype {
        QTYPE::TYPE(TYPE::PTR) => {
            let found =
                reverse_address(&name).and_then(|address| directory.name_of(networks, address));
            match found {
                Some(found) => pointer(&question.qname, &found),
                None => return Verdict::Forward,
            }
        }
        kind => match directory.lookup(networks, &name) {
            Found::Addresses(mut addresses) => {
                addresses.shuffle(random);
                address_records(&question.qname, kind, &addresses)
            }
            Found::Nothing => return Verdict::Forward,
        },
    };
    Verdict::Reply(reply(&packet, records, transport))
}

/// An answer that says only that the query failed: the header and, if it can be read, the question.
pub fn failure(query: &[u8], code: RCODE) -> Vec<u8> {
    let Some(header) = Header::read(query) else {
        return Vec::new();
    };
    let mut packet = Packet::new_reply(header.id);
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if header.recursion_desired {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *packet.rcode_mut() = code;
    let parsed = (header.records <= MAX_RECORDS && header.questions == 1)
        .then(|| Packet::parse(query).ok())
        .flatten();
    if let Some(parsed) = &parsed {
        packet.questions.clone_from(&parsed.questions);
        if parsed.opt().is_some() {
            *packet.opt_mut() = Some(our_opt());
        }
    }
    packet.build_bytes_vec().unwrap_or_default()
}

/// The identifier of a message.
pub(super) fn identifier(message: &[u8]) -> Option<u16> {
    Header::read(message).map(|header| header.id)
}

/// The response code in a message's header.
pub(super) fn response_code(message: &[u8]) -> Option<u8> {
    message.get(3).map(|byte| byte & 0x0f)
}

/// The question section's bytes, lower-cased, for comparing an answer with its query.
pub(super) fn question_key(message: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => at += length,
            _ => return None,
        }
    }
    Some(message.get(HEADER..at + 4)?.to_ascii_lowercase())
}

struct Header {
    id: u16,
    is_response: bool,
    recursion_desired: bool,
    questions: u16,
    records: u16,
}

impl Header {
    fn read(message: &[u8]) -> Option<Self> {
        let header = message.get(..HEADER)?;
        let word = |at: usize| -> u16 {
            u16::from_be_bytes([
                header.get(at).copied().unwrap_or_default(),
                header.get(at + 1).copied().unwrap_or_default(),
            ])
        };
        Some(Self {
            id: word(0),
            is_response: word(2) & 0x8000 != 0,
            recursion_desired: word(2) & 0x0100 != 0,
            questions: word(4),
            records: word(6).saturating_add(word(8)).saturating_add(word(10)),
        })
    }
}

/// Records for the addresses of the family asked for. A name of ours has no records of other types: no error, no
/// answer.
fn address_records<'a>(
    name: &Name<'a>,
    kind: QTYPE,
    addresses: &[IpAddr],
) -> Vec<ResourceRecord<'a>> {
    let wanted = |address: &IpAddr| match kind {
        QTYPE::TYPE(TYPE::A) => address.is_ipv4(),
        QTYPE::TYPE(TYPE::AAAA) => address.is_ipv6(),
        QTYPE::ANY => true,
        _ => false,
    };
    addresses
        .iter()
        .filter(|address| wanted(address))
        .map(|address| {
            let data = match address {
                IpAddr::V4(address) => RData::A(A {
                    address: u32::from(*address),
                }),
                IpAddr::V6(address) => RData::AAAA(AAAA {
                    address: u128::from(*address),
                }),
            };
            ResourceRecord::new(name.clone(), CLASS::IN, TTL, data)
        })
        .collect()
}

fn pointer<'a>(name: &Name<'a>, target: &str) -> Vec<ResourceRecord<'a>> {
    Name::new(target)
        .map(|target| {
            let data = RData::PTR(PTR(target.into_owned()));
            vec![ResourceRecord::new(name.clone(), CLASS::IN, TTL, data)]
        })
        .unwrap_or_default()
}

fn reply(query: &Packet<'_>, records: Vec<ResourceRecord<'_>>, transport: Transport) -> Vec<u8> {
    let mut packet = Packet::new_reply(query.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    packet.questions.clone_from(&query.questions);
    packet.answers = records;
    if query.opt().is_some() {
        *packet.opt_mut() = Some(our_opt());
    }
    let limit = match (transport, query.opt()) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => PLAIN_LIMIT,
        (Transport::Udp, Some(opt)) => {
            usize::from(opt.udp_packet_size.min(EDNS_LIMIT)).max(PLAIN_LIMIT)
        }
    };
    let bytes = packet.build_bytes_vec_compressed().unwrap_or_default();
    if bytes.len() <= limit {
        return bytes;
    }
    // As many as fit, and the mark that there are more: the client asks again by TCP.
    packet.set_flags(PacketFlag::TRUNCATION);
    let kept = packet.answers.len() * limit / bytes.len();
    packet.answers.truncate(kept);
    loop {
        let bytes = packet.build_bytes_vec_compressed().unwrap_or_default();
        if bytes.len() <= limit || packet.answers.pop().is_none() {
            return bytes;
        }
    }
}

fn our_opt() -> OPT<'static> {
    OPT {
        opt_codes: Vec::new(),
        udp_packet_size: EDNS_LIMIT,
        version: 0,
    }
}

/// The address of `2.0.18.172.in-addr.arpa` or of its IPv6 counterpart.
fn reverse_address(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0_u8; 4];
        let mut parts = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = parts.next()?.parse().ok()?;
        }
        return parts
            .next()
            .is_none()
            .then(|| Ipv4Addr::from(octets).into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let mut address = 0_u128;
    let mut count = 0;
    for label in labels.rsplit('.') {
        let digit = (label.len() == 1).then(|| u128::from_str_radix(label, 16).ok())??;
        address = address.checked_mul(16)? | digit;
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(address).into())
}

#[cfg(test)]
mod tests;
