//! The files that tie a container to its networks: `hosts`, `resolv.conf`, `hostname`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use hoist_api::host_config::HostConfig;
use hoist_network::dns::resolv_conf::ResolvConf;

const LOCAL: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// The hosts file: the machine's own names, the lines asked for, then a line for each of the container's addresses.
pub(crate) fn hosts(extra: &[(String, String)], own: &[IpAddr], names: &str) -> String {
    let mut text = LOCAL.to_owned();
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in own {
        let _ = writeln!(text, "{address}\t{names}");
    }
    text
}

/// A hosts file for a container whose settings turn IPv6 off.
pub(crate) fn without_ipv6(hosts: &str) -> String {
    let is_kept = |line: &&str| {
        let address = line.split_whitespace().next().unwrap_or_default();
        !address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_ipv6())
    };
    let lines = hosts.lines().filter(is_kept);
    lines.map(|line| format!("{line}\n")).collect()
}

/// `name:address` and `name=address` entries; `host-gateway` becomes an address of the machine.
pub(crate) fn extra_hosts(entries: &[String], gateways: &[IpAddr]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in entries {
        let Some((name, address)) = entry.split_once(['=', ':']) else {
            continue;
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if address == "host-gateway" {
            found.extend(
                gateways
                    .iter()
                    .map(|gateway| (name.to_owned(), gateway.to_string())),
            );
        } else {
            found.push((name.to_owned(), address.to_owned()));
        }
    }
    found
}

/// A container's own names, as its hosts file and `hostname` have them.
pub(crate) fn own_names(hostname: &str, domain: &str) -> String {
    let full = if domain.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domain}")
    };
    // Known by the name without a domain too, wherever that was said.
    match full.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{full} {short}"),
        _ => full,
    }
}

/// Whom a container asks for names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// The embedded DNS.
    Embedded,
    /// Name servers of its own or the machine's, as far as they can be reached from a namespace of its own: one that has no network of
    /// the user's, where Docker gives no names.
    Servers,
    /// The machine's, in the machine's own namespace.
    Machine,
}

/// Where systemd-resolved writes the servers that it asks itself.
const SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// The machine's resolver configuration. Where that has only systemd-resolved's own address, Docker looks at the servers behind it.
pub(crate) fn machine_resolver(path: &Path, resolver: Resolver) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let stub = [IpAddr::from([127, 0, 0, 53])];
    if resolver == Resolver::Servers
        && ResolvConf::parse(&text).servers == stub
        && let Ok(behind) = std::fs::read_to_string(SYSTEMD)
    {
        return behind;
    }
    text
}

/// The resolver configuration: through the embedded DNS, or straight to name servers.
pub(crate) fn resolv_conf(machine: &str, host: &HostConfig, resolver: Resolver) -> String {
    let mut wanted = ResolvConf::parse(machine);
    if !host.dns.is_empty() {
        wanted.servers = host
            .dns
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect();
    }
    if !host.dns_search.is_empty() {
        wanted.search = host
            .dns_search
            .iter()
            .filter(|domain| *domain != ".")
            .cloned()
            .collect();
    }
    if !host.dns_options.is_empty() {
        wanted.options.clone_from(&host.dns_options);
    }
    match resolver {
        Resolver::Embedded => wanted.embedded().render(),
        Resolver::Servers if host.dns.is_empty() => wanted.reachable().render(),
        Resolver::Servers | Resolver::Machine => wanted.render(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_names_the_container() {
        let extra = extra_hosts(
            &[
                "db:10.0.0.9".to_owned(),
                "six=[fd00::1]".to_owned(),
                "up:host-gateway".to_owned(),
            ],
            &["172.18.0.1".parse().unwrap()],
        );
        let text = hosts(
            &extra,
            &["172.18.0.2".parse().unwrap()],
            &own_names("web", "example.org"),
        );
        let tail: Vec<&str> = text.lines().skip(6).collect();
        assert_eq!(
            tail,
            [
                "10.0.0.9\tdb",
                "fd00::1\tsix",
                "172.18.0.1\tup",
                "172.18.0.2\tweb.example.org web"
            ]
        );
    }

    #[test]
    fn resolver_settings_override_the_machines() {
        let machine = "nameserver 9.9.9.9\nsearch lan\noptions edns0\n";
        let host = HostConfig::default();
        assert_eq!(
            resolv_conf(machine, &host, Resolver::Embedded),
            "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n"
        );
        assert_eq!(resolv_conf(machine, &host, Resolver::Machine), machine);
        let local = "nameserver 127.0.0.1\nnameserver 9.9.9.9\n";
        assert_eq!(
            resolv_conf(local, &host, Resolver::Servers),
            "nameserver 9.9.9.9\n"
        );
        let host = HostConfig {
            dns: vec!["1.1.1.1".into()],
            dns_search: vec![".".into()],
            ..Default::default()
        };
        assert_eq!(
            resolv_conf(machine, &host, Resolver::Servers),
            "nameserver 1.1.1.1\noptions edns0\n"
        );
    }
}
