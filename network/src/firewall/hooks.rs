//! Coexistence: our accept rules in the chains others keep for such rules, and findings about what still blocks.
//!
//! An accept in our own table cannot undo a drop in another's: every base chain of a hook has to let a packet
//! pass. Docker sets the policy of `ip filter FORWARD` to drop, and so does ufw; both keep a chain for other
//! people's rules (`DOCKER-USER`, `ufw-user-forward`). There, and nowhere else, we add one accept rule for each
//! direction of each bridge of ours: after what the administrator put there, before a final unconditional rule. Our
//! rules carry a comment that begins with `hoist:` and our table's name, and are removed with the bridge.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use super::FirewallError;
use super::encode;
use super::nft::{ForeignRule, ListedChain, ListedRule, Nft};
use super::table::{Family, Link, Rule, Statement, Test};
use crate::netlink;

/// A chain that its owner keeps for rules like ours.
struct HookChain {
    family: Family,
    table: &'static str,
    chain: &'static str,
}

const HOOK_CHAINS: [HookChain; 4] = [
    HookChain {
        family: Family::Ip,
        table: "filter",
        chain: "DOCKER-USER",
    },
    HookChain {
        family: Family::Ip6,
        table: "filter",
        chain: "DOCKER-USER",
    },
    HookChain {
        family: Family::Ip,
        table: "filter",
        chain: "ufw-user-forward",
    },
    HookChain {
        family: Family::Ip6,
        table: "filter",
        chain: "ufw6-user-forward",
    },
];

/// Everything found that stops our packets; empty is good.
pub type Findings = Vec<Obstacle>;

/// Something on this machine that stops packets of our networks in spite of our rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A base chain drops what no rule accepts, and its owner keeps no chain for others' rules.
    PolicyDrop {
        /// `ip`, `ip6` or `inet`.
        family: Family,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
    /// firewalld runs, rejects forwarded packets of links it has not been told of, and could not be told of ours.
    Firewalld {
        /// Why not.
        reason: String,
    },
    /// Rules of the legacy `iptables` exist, which nf_tables cannot show or change.
    LegacyTables {
        /// The tables in use, for instance `filter`.
        tables: Vec<String>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyDrop {
                family,
                table,
                chain,
            } => write!(
                f,
                "the policy of chain {chain} in nftables table {family} {table} is drop: packets from and to \
                 containers are lost unless a rule there accepts them; add rules that accept iifname and oifname \"br-*\""
            ),
            Self::Firewalld { reason } => write!(
                f,
                "firewalld rejects forwarded packets of links it does not know, and could not be told of the \
                 containers' bridges ({reason}): add them to its trusted zone \
                 (firewall-cmd --zone=trusted --add-interface=BRIDGE)"
            ),
            Self::LegacyTables { tables } => write!(
                f,
                "rules of legacy iptables are loaded ({}): if their FORWARD policy is drop, packets from and to \
                 containers are lost; move to iptables-nft or accept the containers' bridges there",
                tables.join(", ")
            ),
        }
    }
}

/// Makes our rules in others' hook chains exactly those for `bridges`. True when something was changed.
pub(super) fn ensure(
    nft: &mut Nft,
    chains: &[ListedChain],
    tag: &str,
    bridges: &[String],
) -> Result<bool, FirewallError> {
    let mut changed = false;
    for hook in &HOOK_CHAINS {
        let family = encode::family_number(hook.family);
        let found = chains.iter().find(|chain| {
            chain.family == family && chain.table == hook.table && chain.name == hook.chain
        });
        if let Some(chain) = found {
            changed |= ensure_in(nft, hook, chain, tag, &wanted(tag, bridges))?;
        }
    }
    Ok(changed)
}

/// Whether Docker's rules for iptables-nft are loaded.
pub(super) fn has_docker(chains: &[ListedChain]) -> bool {
    chains
        .iter()
        .any(|chain| chain.table == "filter" && chain.name == "DOCKER-USER")
}

/// Whether firewalld's rules are loaded.
pub(super) fn has_firewalld(chains: &[ListedChain]) -> bool {
    chains
        .iter()
        .any(|chain| chain.table == "firewalld" && chain.name == "filter_FORWARD")
}

/// What blocks our packets here, but for firewalld.
pub(super) fn inspect(nft: &mut Nft, own_table: &str) -> Result<Findings, FirewallError> {
    let chains = nft.chains()?;
    let mut findings = Findings::new();
    findings.extend(chains.iter().filter_map(|chain| {
        let family = family_of(chain.family)?;
        let blocks = forwards(chain) && chain.drops && chain.table != own_table;
        let handled = HOOK_CHAINS.iter().any(|hook| {
            chains.iter().any(|other| {
                other.family == chain.family
                    && other.table == chain.table
                    && hook.family == family
                    && hook.table == other.table
                    && hook.chain == other.name
            })
        });
        (blocks && !handled).then(|| Obstacle::PolicyDrop {
            family,
            table: chain.table.clone(),
            chain: chain.name.clone(),
        })
    }));
    let tables = legacy_tables();
    if !tables.is_empty() {
        findings.push(Obstacle::LegacyTables { tables });
    }
    Ok(findings)
}

fn ensure_in(
    nft: &mut Nft,
    hook: &HookChain,
    chain: &ListedChain,
    tag: &str,
    wanted: &[(String, Rule)],
) -> Result<bool, FirewallError> {
    let rules = nft.rules(chain)?;
    let present: BTreeSet<&[u8]> = rules.iter().map(|rule| rule.user_data.as_slice()).collect();
    let wanted_data: BTreeSet<Vec<u8>> = wanted
        .iter()
        .map(|(comment, _)| encode::comment(comment))
        .collect();
    let mark = mark(tag);
    let stale: Vec<(ListedChain, u64)> = rules
        .iter()
        .filter(|rule| is_ours(rule, &mark) && !wanted_data.contains(&rule.user_data))
        .map(|rule| (chain.clone(), rule.handle))
        .collect();
    let before = rules.last().filter(|rule| is_unconditional(rule));
    let missing: Vec<ForeignRule<'_>> = wanted
        .iter()
        .filter(|(comment, _)| !present.contains(encode::comment(comment).as_slice()))
        .map(|(comment, rule)| ForeignRule {
            family: hook.family,
            table: hook.table,
            chain: hook.chain,
            rule,
            comment,
            before: before.map(|rule| rule.handle),
        })
        .collect();
    let changed = !stale.is_empty() || !missing.is_empty();
    nft.change_foreign(&stale, &missing)?;
    Ok(changed)
}

/// What the comment of every rule of ours begins with.
fn mark(tag: &str) -> String {
    format!("hoist:{tag}: ")
}

/// The rules for these bridges with their comments.
fn wanted(tag: &str, bridges: &[String]) -> Vec<(String, Rule)> {
    bridges
        .iter()
        .flat_map(|bridge| {
            [(Link::In, "from"), (Link::Out, "to")].map(|(link, word)| {
                (
                    format!("{}{word} {bridge}", mark(tag)),
                    Rule {
                        statements: vec![
                            Statement::LinkIs(link, Test::Is, bridge.clone()),
                            Statement::Counter,
                            Statement::Accept,
                        ],
                        comment: "",
                    },
                )
            })
        })
        .collect()
}

fn is_ours(rule: &ListedRule, mark: &str) -> bool {
    let comment = netlink::text(rule.user_data.get(2..).unwrap_or_default());
    rule.user_data.first() == Some(&0) && comment.starts_with(mark)
}

/// Whether a rule ends its chain for every packet: nothing but a counter and a verdict.
fn is_unconditional(rule: &ListedRule) -> bool {
    let names: Vec<String> = netlink::attributes(&rule.expressions)
        .filter_map(|(_, expression)| netlink::attribute(expression, 1))
        .map(netlink::text)
        .collect();
    names.iter().any(|name| name == "immediate")
        && names
            .iter()
            .all(|name| name == "immediate" || name == "counter")
}

fn forwards(chain: &ListedChain) -> bool {
    const NF_INET_FORWARD: u32 = 2;
    chain.hook == Some(NF_INET_FORWARD)
}

fn family_of(number: u8) -> Option<Family> {
    [Family::Ip, Family::Ip6, Family::Inet]
        .into_iter()
        .find(|family| encode::family_number(*family) == number)
}

/// The tables of legacy iptables that hold rules in this namespace.
fn legacy_tables() -> Vec<String> {
    ["ip_tables_names", "ip6_tables_names"]
        .iter()
        .filter_map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
