//! A transaction of nf_tables as bytes, with words for each of its operations.

use std::collections::HashMap;

use super::encode::{self, Attributes};
use super::table::{Chain, Element, Family, Set, Table};
use crate::netlink::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, Netlink};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
pub(super) const NEWTABLE: u16 = 0;
pub(super) const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
pub(super) const GETCHAIN: u16 = 4;
pub(super) const NEWRULE: u16 = 6;
pub(super) const GETRULE: u16 = 7;
pub(super) const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
pub(super) const NEWSETELEM: u16 = 12;
pub(super) const GETSETELEM: u16 = 13;
pub(super) const DELSETELEM: u16 = 14;

/// Elements per message: their list is one attribute, and an attribute is shorter than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// What a message is: its number, its flags besides "request", its family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind(pub(super) u16, pub(super) u16, pub(super) u8);

/// A transaction under construction.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// What each operation does, by its number.
    pub(super) operations: HashMap<u32, String>,
    /// Number of the message that opens the batch.
    pub(super) begin: u32,
    next: u32,
    /// Where the last operation begins, and its number.
    last: Option<usize>,
    pub(super) last_operation: u32,
}

impl Batch {
    pub(super) fn new(netlink: &mut Netlink) -> Self {
        let begin = netlink.next_sequence();
        Self {
            bytes: boundary(NFNL_MSG_BATCH_BEGIN, begin),
            operations: HashMap::new(),
            begin,
            next: begin,
            last: None,
            last_operation: begin,
        }
    }

    pub(super) fn push(&mut self, kind: Kind, body: Attributes, what: String) {
        self.next = self.next.wrapping_add(1).max(1);
        self.last = Some(self.bytes.len());
        self.last_operation = self.next;
        self.bytes.extend(message(kind, self.next, body));
        self.operations.insert(self.next, what);
    }

    /// Everything that adds a table with all it holds.
    pub(super) fn whole(&mut self, table: &Table) {
        self.table(NEWTABLE, table.family, &table.name);
        for (id, set) in (1..).zip(&table.sets) {
            self.set(table, set, id);
            self.elements(table, set, NEWSETELEM, set.elements.iter());
        }
        for chain in &table.chains {
            self.chain(table, chain);
        }
        for chain in &table.chains {
            self.rules(table, chain);
        }
    }

    pub(super) fn table(&mut self, kind: u16, family: Family, name: &str) {
        let verb = if kind == NEWTABLE { "add" } else { "delete" };
        let flags = if kind == NEWTABLE { NLM_F_CREATE } else { 0 };
        let body = Attributes::new().text(1, name);
        let what = format!("{verb} table {family} {name}");
        self.push(Kind(kind, flags, encode::family_number(family)), body, what);
    }

    pub(super) fn set(&mut self, table: &Table, set: &Set, id: u32) {
        let body = encode::set_definition(Attributes::new().text(1, &table.name), set, id);
        let what = format!("add set {} {} {}", table.family, table.name, set.name);
        self.push(
            Kind(NEWSET, NLM_F_CREATE, encode::family_number(table.family)),
            body,
            what,
        );
    }

    pub(super) fn elements<'a>(
        &mut self,
        table: &Table,
        set: &Set,
        kind: u16,
        elements: impl Iterator<Item = &'a Element>,
    ) {
        let flags = if kind == NEWSETELEM {
            NLM_F_CREATE | NLM_F_EXCL
        } else {
            0
        };
        let elements: Vec<_> = elements.collect();
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let list = chunk.iter().fold(Attributes::new(), |list, element| {
                list.nest(1, encode::element(element))
            });
            debug_assert!(list.len() < 60_000, "an attribute is shorter than 64 KiB");
            let body = Attributes::new()
                .text(1, &table.name)
                .text(2, &set.name)
                .nest(3, list);
            let what = format!("change elements of set {} {}", table.name, set.name);
            self.push(
                Kind(kind, flags, encode::family_number(table.family)),
                body,
                what,
            );
        }
    }

    pub(super) fn chain(&mut self, table: &Table, chain: &Chain) {
        const ACCEPT: u32 = 1;
        let mut body = Attributes::new().text(1, &table.name).text(3, &chain.name);
        if let Some(base) = chain.base {
            body = body
                .nest(4, encode::chain_hook(base))
                .number(5, ACCEPT)
                .text(7, encode::chain_kind(base.kind));
        }
        let what = format!("add chain {} {} {}", table.family, table.name, chain.name);
        self.push(
            Kind(NEWCHAIN, NLM_F_CREATE, encode::family_number(table.family)),
            body,
            what,
        );
    }

    pub(super) fn flush(&mut self, table: &Table, chain: &Chain) {
        let body = Attributes::new().text(1, &table.name).text(2, &chain.name);
        let what = format!("flush chain {} {} {}", table.family, table.name, chain.name);
        self.push(
            Kind(DELRULE, 0, encode::family_number(table.family)),
            body,
            what,
        );
    }

    pub(super) fn rules(&mut self, table: &Table, chain: &Chain) {
        for rule in &chain.rules {
            let mut body = Attributes::new()
                .text(1, &table.name)
                .text(2, &chain.name)
                .nest(4, encode::expressions(rule));
            if !rule.comment.is_empty() {
                body = body.raw(7, &encode::comment(rule.comment));
            }
            let what = format!(
                "add rule {} {} {}: {rule}",
                table.family, table.name, chain.name
            );
            let flags = NLM_F_CREATE | NLM_F_APPEND;
            self.push(
                Kind(NEWRULE, flags, encode::family_number(table.family)),
                body,
                what,
            );
        }
    }

    /// Asks for an acknowledgement of the last operation and closes the batch.
    pub(super) fn finish(mut self, netlink: &mut Netlink) -> Self {
        if let Some(flags) = self
            .last
            .and_then(|last| self.bytes.get_mut(last + 6..last + 8))
        {
            let asked = flags
                .iter()
                .zip(NLM_F_ACK.to_ne_bytes())
                .map(|(old, new)| old | new)
                .collect::<Vec<u8>>();
            flags.copy_from_slice(&asked);
        }
        self.next = self.next.wrapping_add(1).max(1);
        self.bytes.extend(boundary(NFNL_MSG_BATCH_END, self.next));
        while netlink.next_sequence() < self.next {}
        self
    }
}

/// `struct nlmsghdr` and `struct nfgenmsg`, with the length still to be set.
pub(super) fn header(kind: Kind, sequence: u32) -> Vec<u8> {
    let Kind(message, flags, family) = kind;
    let message = (NFNL_SUBSYS_NFTABLES << 8) | message;
    nfnetlink_header(message, NLM_F_REQUEST | flags, sequence, [family, 0, 0, 0])
}

/// The same for any subsystem: `generic` is `struct nfgenmsg`.
pub(crate) fn nfnetlink_header(kind: u16, flags: u16, sequence: u32, generic: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(generic);
    bytes
}

pub(crate) fn set_length(message: &mut [u8]) {
    let length = u32::try_from(message.len()).expect("a message is far shorter than 4 GiB");
    if let Some(place) = message.get_mut(..4) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}

fn message(kind: Kind, sequence: u32, body: Attributes) -> Vec<u8> {
    let mut bytes = header(kind, sequence);
    bytes.extend(body.into_bytes());
    set_length(&mut bytes);
    bytes
}

fn boundary(kind: u16, sequence: u32) -> Vec<u8> {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    let mut bytes = nfnetlink_header(kind, NLM_F_REQUEST, sequence, [0, 0, high, low]);
    set_length(&mut bytes);
    bytes
}
