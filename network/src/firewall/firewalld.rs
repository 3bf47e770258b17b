//! firewalld: a packet filter that rejects forwarded packets of every link it has not been told of. Its own way to tell it
//! is its D-Bus interface: our bridges join its zone `trusted`, at run time only (a reload forgets them, and the
//! watch tells them again).

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::dbus::{Bus, DbusError, Method};

const ZONE: &str = "trusted";

/// What firewalld knows of our bridges.
#[derive(Debug)]
pub(super) struct Firewalld {
    bus: PathBuf,
    /// The bridges we added to the zone.
    trusted: BTreeSet<String>,
    /// Why it could not be told, at the last attempt.
    failure: Option<String>,
}

impl Firewalld {
    pub(super) fn new(bus: PathBuf) -> Self {
        Self {
            bus,
            trusted: BTreeSet::new(),
            failure: None,
        }
    }

    /// Why its last change failed; none when all is well.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Forgets what was told: it runs no more, or it may have forgotten itself.
    pub(super) fn forget(&mut self) {
        self.failure = None;
        self.trusted.clear();
    }

    /// Makes the zone hold these bridges of ours. A bridge that the administrator has put into another zone stays
    /// there. True when something was changed; a failure is kept for [`Self::failure`].
    pub(super) fn ensure(&mut self, bridges: &[String]) -> bool {
        let wanted: BTreeSet<String> = bridges.iter().cloned().collect();
        if wanted == self.trusted && self.failure.is_none() {
            return false;
        }
        match self.tell(&wanted) {
            Ok(changed) => {
                self.failure = None;
                self.trusted = wanted;
                changed
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                false
            }
        }
    }

    fn tell(&self, wanted: &BTreeSet<String>) -> Result<bool, DbusError> {
        let mut bus = Bus::connect(&self.bus)?;
        let mut changed = false;
        for bridge in self.trusted.difference(wanted) {
            // It may have forgotten the link already, which is what we want.
            changed |= bus.call(method("removeInterface"), &[ZONE, bridge]).is_ok();
        }
        for bridge in wanted {
            if bus
                .call(method("getZoneOfInterface"), &[bridge])?
                .is_empty()
            {
                bus.call(method("addInterface"), &[ZONE, bridge])?;
                changed = true;
            }
        }
        Ok(changed)
    }
}

fn method(member: &'static str) -> Method {
    Method {
        service: "org.fedoraproject.FirewallD1",
        path: "/org/fedoraproject/FirewallD1",
        interface: "org.fedoraproject.FirewallD1.zone",
        member,
    }
}
