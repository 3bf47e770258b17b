//! Who holds a port: found in `/proc`, in the network namespace of the calling thread.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::firewall::Protocol;

/// Who holds a port. Its text is empty or begins with a blank, to follow "port is already allocated".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Something of our own, by the label given with the claim.
    Label(String),
    /// A process of this machine.
    Process {
        /// Its id.
        id: u32,
        /// Its name (`/proc/<id>/comm`).
        name: String,
    },
    /// Nobody that can be seen: another process namespace, or it is gone already.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, " by {label}"),
            Self::Process { id, name } => write!(f, " by process {id} ({name})"),
            Self::Unknown => Ok(()),
        }
    }
}

/// Looks for the process whose socket conflicts with `wanted`.
pub(super) fn find(wanted: SocketAddr, protocol: Protocol) -> Holder {
    let files: &[(&str, bool)] = match protocol {
        Protocol::Tcp => &[("tcp", false), ("tcp6", true)],
        Protocol::Udp => &[("udp", false), ("udp6", true)],
        Protocol::Sctp => &[],
    };
    let inodes: Vec<u64> = files
        .iter()
        .filter_map(|(file, ipv6)| {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
            Some((text, *ipv6))
        })
        .flat_map(|(text, ipv6)| conflicting_inodes(&text, ipv6, wanted, protocol))
        .collect();
    owner_of(&inodes).unwrap_or(Holder::Unknown)
}

/// The inodes of sockets bound to a conflicting address, from the text of `/proc/net/tcp` and the like.
fn conflicting_inodes(text: &str, ipv6: bool, wanted: SocketAddr, protocol: Protocol) -> Vec<u64> {
    const LISTEN: &str = "0A";
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = parse_address(fields.get(1)?, ipv6)?;
            let listens = protocol == Protocol::Udp || *fields.get(3)? == LISTEN;
            let same = local.port() == wanted.port() && addresses_conflict(local.ip(), wanted.ip());
            (listens && same).then_some(())?;
            fields.get(9)?.parse().ok()
        })
        .collect()
}

/// Whether two bound addresses exclude each other. A socket on `::` may hold IPv4 too.
fn addresses_conflict(held: IpAddr, wanted: IpAddr) -> bool {
    held == wanted
        || held == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        || (held.is_ipv4() == wanted.is_ipv4()
            && (held.is_unspecified() || wanted.is_unspecified()))
}

/// `0100007F:1F90`: each 32-bit word in the machine's byte order.
fn parse_address(text: &str, ipv6: bool) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = if ipv6 {
        let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
        address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4)
    } else {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
    };
    Some(SocketAddr::new(ip, port))
}

/// The first process that has one of these sockets open.
fn owner_of(inodes: &[u64]) -> Option<Holder> {
    if inodes.is_empty() {
        return None;
    }
    let targets: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|id| has_open(*id, &targets))
        .map(|id| Holder::Process {
            id,
            name: fs::read_to_string(format!("/proc/{id}/comm"))
                .unwrap_or_default()
                .trim()
                .to_owned(),
        })
}

fn has_open(process: u32, targets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|link| {
            link.to_str()
                .is_some_and(|link| targets.iter().any(|target| target == link))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_in_the_kernels_list() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
             1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4343 1 0 100 0 0 10 0\n\
             2: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4444 1 0 100 0 0 10 0\n";
        let check = |wanted: &str, expected: &[u64]| {
            let wanted = wanted.parse().unwrap();
            let found = conflicting_inodes(text, false, wanted, Protocol::Tcp);
            assert_eq!(found, expected, "{wanted}");
        };
        check("127.0.0.1:8080", &[4242]);
        check("0.0.0.0:8080", &[4242]);
        check("10.0.0.1:8080", &[]);
        check("10.0.0.1:80", &[4343]);
        check("127.0.0.1:8081", &[]);
    }

    #[test]
    fn hostile_lines_are_passed_over() {
        for text in [
            "",
            "x\n\n: :",
            "h\n0: ZZ:1F90 x 0A",
            "h\n0: 0100007F 00 0A a b c d e f g",
        ] {
            let wanted = "127.0.0.1:8080".parse().unwrap();
            assert!(conflicting_inodes(text, true, wanted, Protocol::Tcp).is_empty());
        }
    }
}
