//! Sends tables to the kernel. A batch takes effect as a whole or not at all.

use std::io;

use super::FirewallError;
use super::batch::{
    Batch, DELRULE, DELSETELEM, DELTABLE, GETCHAIN, GETRULE, GETSETELEM, Kind, NEWRULE, NEWSETELEM,
    NEWTABLE, header, set_length,
};
use super::encode::{self, Attributes};
use super::table::{Family, Rule, Table};
use crate::netlink::{self, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, Netlink};

/// A blocking nfnetlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Nft {
    netlink: Netlink,
}

/// A chain as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedChain {
    pub(super) family: u8,
    pub(super) table: String,
    pub(super) name: String,
    /// Hook number, for a base chain.
    pub(super) hook: Option<u32>,
    /// Whether its policy is drop.
    pub(super) drops: bool,
}

/// A rule as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedRule {
    pub(super) handle: u64,
    pub(super) expressions: Vec<u8>,
    pub(super) user_data: Vec<u8>,
}

/// A rule of ours in a chain that is not.
#[derive(Debug)]
pub(super) struct ForeignRule<'a> {
    pub(super) family: Family,
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
    pub(super) rule: &'a Rule,
    pub(super) comment: &'a str,
    /// The rule it goes before; at the end of the chain when absent.
    pub(super) before: Option<u64>,
}

impl Nft {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`FirewallError::Open`].
    pub fn open() -> Result<Self, FirewallError> {
        Netlink::open(netlink_sys::protocols::NETLINK_NETFILTER)
            .map(|netlink| Self { netlink })
            .map_err(FirewallError::Open)
    }

    /// Makes the table exactly `table`, whatever it was before.
    ///
    /// # Errors
    /// The refused part; then nothing was changed.
    pub fn replace(&mut self, table: &Table) -> Result<(), FirewallError> {
        let mut batch = Batch::new(&mut self.netlink);
        // Deleting what does not exist is an error, so it is added first (`destroy` needs Linux 6.3).
        batch.table(NEWTABLE, table.family, &table.name);
        batch.table(DELTABLE, table.family, &table.name);
        batch.whole(table);
        self.commit(batch)
    }

    /// Adds a table to a namespace that has none of this name. Unlike [`Self::replace`] it deletes nothing, and so
    /// closing the socket afterwards does not wait ten milliseconds for readers of what was deleted.
    ///
    /// # Errors
    /// The refused part; then nothing was changed.
    pub fn create(&mut self, table: &Table) -> Result<(), FirewallError> {
        let mut batch = Batch::new(&mut self.netlink);
        batch.whole(table);
        self.commit(batch)
    }

    /// Turns `old`, which must be what the kernel has, into `new`: sets element by element, chains whose rules
    /// differ rule by rule anew. Tables of a different layout are replaced as a whole.
    ///
    /// # Errors
    /// The refused part; then nothing was changed.
    pub fn change(&mut self, old: &Table, new: &Table) -> Result<(), FirewallError> {
        if !same_layout(old, new) {
            return self.replace(new);
        }
        let mut batch = Batch::new(&mut self.netlink);
        for (before, after) in old.sets.iter().zip(&new.sets) {
            let gone = before.elements.difference(&after.elements);
            let added = after.elements.difference(&before.elements);
            batch.elements(new, after, DELSETELEM, gone);
            batch.elements(new, after, NEWSETELEM, added);
        }
        for (before, after) in old.chains.iter().zip(&new.chains) {
            if before.rules != after.rules {
                batch.flush(new, after);
                batch.rules(new, after);
            }
        }
        self.commit(batch)
    }

    /// Removes a table. Fine when it does not exist.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn delete(&mut self, family: Family, name: &str) -> Result<(), FirewallError> {
        let mut batch = Batch::new(&mut self.netlink);
        batch.table(NEWTABLE, family, name);
        batch.table(DELTABLE, family, name);
        self.commit(batch)
    }

    /// Whether the kernel has this table with as many rules in every chain and as many elements in every set.
    ///
    /// # Errors
    /// A dump that failed.
    pub fn holds(&mut self, table: &Table) -> Result<bool, FirewallError> {
        let family = encode::family_number(table.family);
        let filter = Attributes::new().text(1, &table.name);
        let kind = Kind(GETRULE, NLM_F_DUMP, family);
        let chains = self.dump(kind, filter, "list rules", |payload| {
            let attributes = payload.get(4..)?;
            let of_table = netlink::text(netlink::attribute(attributes, 1)?) == table.name;
            of_table.then(|| netlink::attribute(attributes, 2).map(netlink::text))?
        })?;
        let rules = |name: &str| chains.iter().filter(|chain| *chain == name).count();
        if table
            .chains
            .iter()
            .any(|chain| rules(&chain.name) != chain.rules.len())
        {
            return Ok(false);
        }
        for set in &table.sets {
            let filter = Attributes::new().text(1, &table.name).text(2, &set.name);
            let kind = Kind(GETSETELEM, NLM_F_DUMP, family);
            let counts = self.dump(kind, filter, "list elements", |payload| {
                let elements = netlink::attribute(payload.get(4..)?, 3)?;
                Some(netlink::attributes(elements).count())
            })?;
            if counts.iter().sum::<usize>() != set.elements.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All chains of all tables.
    pub(super) fn chains(&mut self) -> Result<Vec<ListedChain>, FirewallError> {
        self.dump(
            Kind(GETCHAIN, NLM_F_DUMP, 0),
            Attributes::new(),
            "list chains",
            |payload| {
                let family = *payload.first()?;
                let attributes = payload.get(4..)?;
                let hook = netlink::attribute(attributes, 4)
                    .and_then(|hook| netlink::attribute(hook, 1))
                    .and_then(number);
                Some(ListedChain {
                    family,
                    table: netlink::text(netlink::attribute(attributes, 1)?),
                    name: netlink::text(netlink::attribute(attributes, 3)?),
                    hook,
                    drops: netlink::attribute(attributes, 5).and_then(number) == Some(0),
                })
            },
        )
    }

    /// The rules of one chain, in order.
    pub(super) fn rules(&mut self, chain: &ListedChain) -> Result<Vec<ListedRule>, FirewallError> {
        let filter = Attributes::new().text(1, &chain.table).text(2, &chain.name);
        self.dump(
            Kind(GETRULE, NLM_F_DUMP, chain.family),
            filter,
            "list rules",
            |payload| {
                let attributes = payload.get(4..)?;
                let of_chain = netlink::text(netlink::attribute(attributes, 2)?) == chain.name
                    && netlink::text(netlink::attribute(attributes, 1)?) == chain.table;
                of_chain.then_some(())?;
                Some(ListedRule {
                    handle: number64(netlink::attribute(attributes, 3)?)?,
                    expressions: netlink::attribute(attributes, 4)
                        .unwrap_or_default()
                        .to_vec(),
                    user_data: netlink::attribute(attributes, 7)
                        .unwrap_or_default()
                        .to_vec(),
                })
            },
        )
    }

    /// Adds rules to others' chains and removes some of ours from them, in one transaction.
    pub(super) fn change_foreign(
        &mut self,
        remove: &[(ListedChain, u64)],
        add: &[ForeignRule<'_>],
    ) -> Result<(), FirewallError> {
        let mut batch = Batch::new(&mut self.netlink);
        for (chain, handle) in remove {
            let body = Attributes::new()
                .text(1, &chain.table)
                .text(2, &chain.name)
                .raw(3, &handle.to_be_bytes());
            let what = format!("delete our rule from chain {} {}", chain.table, chain.name);
            batch.push(Kind(DELRULE, 0, chain.family), body, what);
        }
        for rule in add {
            let mut body = Attributes::new()
                .text(1, rule.table)
                .text(2, rule.chain)
                .nest(4, encode::expressions(rule.rule))
                .raw(7, &encode::comment(rule.comment));
            // With "append" a position means after, without it before.
            let flags = match rule.before {
                Some(handle) => {
                    body = body.raw(6, &handle.to_be_bytes());
                    NLM_F_CREATE
                }
                None => NLM_F_CREATE | NLM_F_APPEND,
            };
            let what = format!("add our rule to chain {} {}", rule.table, rule.chain);
            let family = encode::family_number(rule.family);
            batch.push(Kind(NEWRULE, flags, family), body, what);
        }
        self.commit(batch)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), FirewallError> {
        let Batch {
            bytes,
            operations,
            begin,
            last_operation,
            ..
        } = batch.finish(&mut self.netlink);
        if operations.is_empty() {
            return Ok(());
        }
        let answers = self
            .netlink
            .exchange(&bytes, last_operation)
            .map_err(|source| FirewallError::Refused {
                what: "send a batch to nf_tables".to_owned(),
                source,
            })?;
        let failed = answers
            .into_iter()
            .find_map(|answer| Some((answer.sequence, answer.error?)));
        match failed {
            None => Ok(()),
            Some((sequence, source)) => Err(FirewallError::Refused {
                what: match operations.get(&sequence) {
                    Some(what) => what.clone(),
                    None if sequence == begin => "commit a batch to nf_tables".to_owned(),
                    None => "change nf_tables".to_owned(),
                },
                source,
            }),
        }
    }

    fn dump<T>(
        &mut self,
        kind: Kind,
        filter: Attributes,
        what: &str,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, FirewallError> {
        let body = filter.into_bytes();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let sequence = self.netlink.next_sequence();
            let mut request = header(kind, sequence);
            request.extend(&body);
            set_length(&mut request);
            let mut found = Vec::new();
            let result = self
                .netlink
                .dump(&request, |_, payload| found.extend(read(payload)));
            match result {
                Ok(()) => return Ok(found),
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted
                        && attempt < netlink::DUMP_ATTEMPTS => {}
                // No such table or chain any more, or a kernel without nf_tables: nothing to list.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(source) => {
                    return Err(FirewallError::Refused {
                        what: what.to_owned(),
                        source,
                    });
                }
            }
        }
    }
}

fn same_layout(old: &Table, new: &Table) -> bool {
    let sets = |table: &Table| -> Vec<_> {
        table
            .sets
            .iter()
            .map(|set| (set.name.clone(), set.key.clone(), set.data.clone()))
            .collect()
    };
    let chains = |table: &Table| -> Vec<_> {
        table
            .chains
            .iter()
            .map(|chain| (chain.name.clone(), chain.base))
            .collect()
    };
    old.family == new.family
        && old.name == new.name
        && sets(old) == sets(new)
        && chains(old) == chains(new)
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

fn number64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}
