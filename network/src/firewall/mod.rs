//! The host's packet filter: one nftables table of ours, replaced or changed in atomic batches.
//!
//! [`ruleset`] computes the table from networks and published ports (pure); [`nft`] sends it; [`hooks`] lets our
//! packets pass others' filters by their own hooks; [`watch`] puts things back when others flush them. Tables,
//! chains and rules that are not ours are never changed beyond those hooks.

pub(crate) mod batch;
mod dbus;
mod encode;
mod firewalld;
pub mod hooks;
pub mod nft;
pub mod ruleset;
pub mod table;
pub mod watch;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use hooks::{Findings, Obstacle};
pub use ruleset::{NetworkRules, PublishedPort, Ruleset};

use firewalld::Firewalld;
use nft::{ListedChain, Nft};
use table::Table;

use crate::link::{LinkError, host};

/// A transport protocol that ports can be published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP: published by translation only, no socket is claimed for it.
    Sctp,
}

impl Protocol {
    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Why the packet filter could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// A netlink socket could not be opened.
    #[error("open a netfilter socket")]
    Open(#[source] io::Error),
    /// The kernel refused a batch; nothing of it took effect.
    #[error("{what}")]
    Refused {
        /// The part that was refused: `add chain inet hoist forward`.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The machine's links could not be listed.
    #[error("look for the bridges of other container engines")]
    Links(#[source] LinkError),
}

/// One engine's packet filter in the namespace where it was opened.
///
/// Keeps what was applied last, so that a change costs only its difference.
#[derive(Debug)]
pub struct Firewall {
    nft: Nft,
    table: String,
    applied: Option<Applied>,
    firewalld: Firewalld,
}

/// Where D-Bus's system bus listens, by its specification.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

#[derive(Debug)]
struct Applied {
    ruleset: Ruleset,
    table: Table,
}

/// What [`Firewall::apply`] or [`Firewall::ensure`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was as it should be.
    Unchanged,
    /// The difference was applied.
    Changed,
    /// The whole table was replaced.
    Replaced,
}

impl Firewall {
    /// Opens the packet filter of the calling thread's namespace; `table` is the name of our table. Nothing is
    /// changed until [`Firewall::apply`].
    ///
    /// # Errors
    /// [`FirewallError::Open`].
    pub fn open(table: &str) -> Result<Self, FirewallError> {
        Ok(Self {
            nft: Nft::open()?,
            table: table.to_owned(),
            applied: None,
            firewalld: Firewalld::new(PathBuf::from(SYSTEM_BUS)),
        })
    }

    /// Looks for firewalld on another bus than the machine's system bus.
    #[must_use]
    pub fn with_system_bus(mut self, socket: PathBuf) -> Self {
        self.firewalld = Firewalld::new(socket);
        self
    }

    /// Makes the kernel's rules what `ruleset` says, in one transaction, and our hooks in others' chains with it.
    /// Costs only the difference to what this object applied before; the first call replaces whatever an earlier
    /// engine left. Established connections go on. Without networks there is no table: an idle engine costs the
    /// machine's packets nothing.
    ///
    /// # Errors
    /// The refused part; then nothing was changed.
    pub fn apply(&mut self, ruleset: &Ruleset) -> Result<Outcome, FirewallError> {
        if ruleset.networks.is_empty() {
            self.remove()?;
            return Ok(Outcome::Replaced);
        }
        let chains = self.nft.chains()?;
        let table = self.table_for(ruleset, &chains)?;
        let outcome = self.apply_table(&table)?;
        let hooks = self.ensure_hooks(&chains, &ruleset.bridges())?;
        self.applied = Some(Applied {
            ruleset: ruleset.clone(),
            table,
        });
        Ok(match (outcome, hooks) {
            (Outcome::Unchanged, true) => Outcome::Changed,
            (outcome, _) => outcome,
        })
    }

    /// Puts back what others removed: our table after `nft flush ruleset`, our hook rules after a reload of
    /// Docker's or ufw's rules. Cheap when nothing is missing.
    ///
    /// # Errors
    /// The refused part.
    pub fn ensure(&mut self) -> Result<Outcome, FirewallError> {
        let Some(applied) = &self.applied else {
            return Ok(Outcome::Unchanged);
        };
        self.firewalld.forget();
        if self.nft.holds(&applied.table)? {
            let ruleset = applied.ruleset.clone();
            return self.apply(&ruleset);
        }
        let applied = self.applied.take();
        let ruleset = applied.map(|applied| applied.ruleset).unwrap_or_default();
        self.apply(&ruleset)
    }

    /// Removes our table and our hook rules. Fine when there are none.
    ///
    /// # Errors
    /// The refused part.
    pub fn remove(&mut self) -> Result<(), FirewallError> {
        self.applied = None;
        let chains = self.nft.chains()?;
        self.ensure_hooks(&chains, &[])?;
        self.nft.delete(table::Family::Inet, &self.table)
    }

    /// What on this machine stops packets of our networks in spite of our rules; each finding says what to do.
    ///
    /// # Errors
    /// A dump that failed.
    pub fn findings(&mut self) -> Result<Findings, FirewallError> {
        let mut findings = hooks::inspect(&mut self.nft, &self.table)?;
        findings.extend(self.firewalld.failure().map(|reason| Obstacle::Firewalld {
            reason: reason.to_owned(),
        }));
        Ok(findings)
    }

    /// Our rules in others' hook chains, and our bridges in firewalld's trusted zone. True when something was changed.
    fn ensure_hooks(
        &mut self,
        chains: &[ListedChain],
        bridges: &[String],
    ) -> Result<bool, FirewallError> {
        let rules = hooks::ensure(&mut self.nft, chains, &self.table, bridges)?;
        if !hooks::has_firewalld(chains) {
            self.firewalld.forget();
            return Ok(rules);
        }
        Ok(self.firewalld.ensure(bridges) || rules)
    }

    /// The table beside the bridges of a Docker that runs here.
    fn table_for(&self, ruleset: &Ruleset, chains: &[ListedChain]) -> Result<Table, FirewallError> {
        let foreign = if hooks::has_docker(chains) {
            host::dockers_bridges(&ruleset.bridges()).map_err(FirewallError::Links)?
        } else {
            Vec::new()
        };
        Ok(ruleset.table_beside(&self.table, &foreign))
    }

    fn apply_table(&mut self, table: &Table) -> Result<Outcome, FirewallError> {
        let Some(applied) = &self.applied else {
            self.nft.replace(table)?;
            return Ok(Outcome::Replaced);
        };
        if applied.table == *table {
            return Ok(Outcome::Unchanged);
        }
        match self.nft.change(&applied.table, table) {
            Ok(()) => Ok(Outcome::Changed),
            // Somebody changed our table under us: start from nothing.
            Err(_) => {
                self.nft.replace(table)?;
                Ok(Outcome::Replaced)
            }
        }
    }
}
