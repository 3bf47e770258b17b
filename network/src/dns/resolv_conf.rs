//! Resolver configuration (resolv.conf(5)): read the host's, write a container's. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

/// As many as the C library looks at.
const MAX_SERVERS: usize = 3;

/// What a resolver configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// `nameserver` lines, in order.
    pub servers: Vec<IpAddr>,
    /// The last `search` (or `domain`) line.
    pub search: Vec<String>,
    /// Words of all `options` lines.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads a configuration; what is not understood is passed over, as the C library does.
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => parsed.servers.extend(words.next().and_then(parse_server)),
                Some("search" | "domain") => parsed.search = words.map(str::to_owned).collect(),
                Some("options") => parsed.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        parsed
    }

    /// The configuration as a file.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }

    /// A container's configuration with the embedded DNS: the host's search list and options, and `ndots:0` unless
    /// another is given.
    pub fn embedded(&self) -> Self {
        let mut options = self.options.clone();
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push("ndots:0".to_owned());
        }
        Self {
            servers: vec![IpAddr::V4(super::ADDRESS)],
            search: self.search.clone(),
            options,
        }
    }

    /// What a namespace of its own can reach of the machine's: a loopback address is another one's there. Where nothing is left, the
    /// embedded DNS asks the machine's. (Docker gives public servers then, which tells them the names of a private network and knows none
    /// of those.)
    pub fn reachable(self) -> Self {
        let can_be_reached = |server: &&IpAddr| !server.is_loopback() && server.is_ipv4();
        let servers: Vec<IpAddr> = self
            .servers
            .iter()
            .filter(can_be_reached)
            .copied()
            .collect();
        if servers.is_empty() {
            return self.embedded();
        }
        Self { servers, ..self }
    }
}

/// The first three name servers of a configuration.
pub fn name_servers(text: &str) -> Vec<IpAddr> {
    let mut servers = ResolvConf::parse(text).servers;
    servers.truncate(MAX_SERVERS);
    servers
}

/// `fe80::1%eth0` names a link too; a scope cannot be kept in an address, and such servers are passed over.
fn parse_server(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_as_the_c_library_does() {
        let text = "# comment\nnameserver 10.0.0.1 # trailing\n nameserver\t2001:db8::1\nnameserver x\n\
                    domain old\nsearch a.example b.example\noptions edns0 trust-ad\noptions timeout:1\nsortlist 1\n";
        let parsed = ResolvConf::parse(text);
        assert_eq!(parsed.servers.len(), 2);
        assert_eq!(parsed.search, ["a.example", "b.example"]);
        assert_eq!(parsed.options, ["edns0", "trust-ad", "timeout:1"]);
    }

    #[test]
    fn a_containers_configuration_names_the_embedded_server_only() {
        let host = ResolvConf::parse("nameserver 10.0.0.1\nsearch x\noptions edns0\n");
        assert_eq!(
            host.embedded().render(),
            "nameserver 127.0.0.11\nsearch x\noptions edns0 ndots:0\n"
        );
        let local = ResolvConf::parse("nameserver 127.0.0.1\nnameserver ::1\nsearch x\n");
        assert_eq!(
            local.reachable().render(),
            "nameserver 127.0.0.11\nsearch x\noptions ndots:0\n"
        );
        assert_eq!(host.clone().reachable(), host);
        let own = ResolvConf::parse("options ndots:2\n");
        assert_eq!(
            own.embedded().render(),
            "nameserver 127.0.0.11\noptions ndots:2\n"
        );
    }
}
