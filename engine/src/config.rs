//! The engine's parameters. Nothing in the engine reads a place, a name or an address from elsewhere, so that many
//! engines run side by side on one machine, each blind to the others.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnetwork::Ipv4Network;
use sha2::{Digest as _, Sha256};

use crate::runtime::spec::UserNamespace;
use crate::users;
pub use crate::users::InvalidRemap;

/// Where an engine keeps what survives a reboot, unless it is told otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/hoist";
/// Where an engine keeps what may vanish at a reboot, unless it is told otherwise.
pub const DEFAULT_STATE: &str = "/run/hoist";

/// A text that is no address pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address pool: write a range and the subnets' prefix length, such as 10.89.0.0/16:24"
)]
pub struct InvalidPool(String);

/// The parameters of one engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Images, layers, volumes, records, logs.
    pub root: PathBuf,
    /// Sockets, locks, files of running containers.
    pub state: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// Name of this engine's nftables table, and what marks its links.
    pub instance: String,
    /// Control group beneath which containers get theirs, in every hierarchy, without a leading `/`.
    pub cgroup_parent: String,
    /// Ranges that networks without a subnet get one from, each with the subnets' prefix length; empty: Docker's.
    pub address_pools: Vec<(Ipv4Network, u8)>,
    /// Where the host's name servers are read from.
    pub resolv_conf: PathBuf,
    /// Name servers used instead of the host's; empty: the host's.
    pub dns: Vec<IpAddr>,
    /// Which registries are reached how; read for every pull and push. See `hoist_registry::config`.
    pub registries: PathBuf,
    /// The `hoist-shim` program.
    pub shim: PathBuf,
    /// The command line that starts this engine again; empty: shims never do.
    pub command: Vec<String>,
    /// Further doors besides the socket.
    pub doors: Vec<crate::serve::listen::TcpDoor>,
    /// The group that may use the socket; `None`: the engine's own.
    pub socket_group: Option<u32>,
    /// How long the engine stays with nothing to run; `None`: for ever.
    pub idle_exit: Option<Duration>,
    /// Who containers' users are outside, unless a container says otherwise; `None`: the same as inside.
    pub userns_remap: Option<UserNamespace>,
}

impl EngineConfig {
    /// An engine at these places, with names derived from the root: `hoist` for the default one.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        let (root, state) = (root.into(), state.into());
        let instance = instance_name(&root);
        Self {
            socket: state.join("hoist.sock"),
            cgroup_parent: instance.clone(),
            instance,
            address_pools: Vec::new(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            dns: Vec::new(),
            registries: PathBuf::from(hoist_registry::config::DEFAULT_FILE),
            shim: PathBuf::from("hoist-shim"),
            command: Vec::new(),
            doors: Vec::new(),
            socket_group: None,
            idle_exit: Some(Duration::from_secs(60)),
            userns_remap: None,
            root,
            state,
        }
    }

    /// Reads an address pool written as `10.89.0.0/16:24`: a range, and the prefix length of the subnets cut from it.
    ///
    /// # Errors
    /// When it is not of that form, or the subnets are larger than the range.
    pub fn parse_address_pool(text: &str) -> Result<(Ipv4Network, u8), InvalidPool> {
        let invalid = || InvalidPool(text.to_owned());
        let (base, size) = text.split_once(':').ok_or_else(invalid)?;
        let base: Ipv4Network = base.parse().map_err(|_| invalid())?;
        let size: u8 = size.parse().map_err(|_| invalid())?;
        if size < base.prefix() || size > 30 {
            return Err(invalid());
        }
        Ok((base, size))
    }

    /// Reads where containers' users are mapped to: `100000:100000:65536` (user, group, how many), a name in `/etc/subuid` and
    /// `/etc/subgid`, whose texts are given, or `default`.
    ///
    /// # Errors
    /// When it is neither, or its ids are the machine's own root's or beyond what ids can be.
    pub fn parse_userns_remap(
        text: &str,
        subuid: &str,
        subgid: &str,
    ) -> Result<UserNamespace, InvalidRemap> {
        users::parse_remap(text, subuid, subgid)
    }

    /// A container's directory that survives reboots: record, log, writable layer.
    pub(crate) fn container_root(&self, id: &str) -> PathBuf {
        self.root.join("containers").join(id)
    }

    /// A container's directory of the current run: sockets, `hosts`, `resolv.conf`, `hostname`.
    pub(crate) fn container_state(&self, id: &str) -> PathBuf {
        self.state.join("c").join(id)
    }
}

/// `hoist` for the default root, otherwise `hoist_` and six digits that depend on the root.
fn instance_name(root: &Path) -> String {
    if root == Path::new(DEFAULT_ROOT) {
        return "hoist".to_owned();
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    format!("hoist_{}", hex::encode(&digest[..3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_pools_are_read() {
        let (base, size) = EngineConfig::parse_address_pool("10.89.0.0/16:24").unwrap();
        assert_eq!((base.to_string().as_str(), size), ("10.89.0.0/16", 24));
        for bad in [
            "10.89.0.0/16",
            "10.89.0.0/16:8",
            "10.89.0.0/16:31",
            "x/16:24",
        ] {
            assert!(EngineConfig::parse_address_pool(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn engines_of_different_roots_have_different_names() {
        assert_eq!(
            EngineConfig::new(DEFAULT_ROOT, DEFAULT_STATE).instance,
            "hoist"
        );
        let one = EngineConfig::new("/tmp/a", "/tmp/s");
        let other = EngineConfig::new("/tmp/b", "/tmp/s");
        assert_ne!(one.instance, other.instance);
        assert_eq!(one.instance.len(), "hoist_123456".len());
        assert_eq!(one.cgroup_parent, one.instance);
    }
}
