//! Published ports as `docker ps` and `docker compose ps` print them.

use std::net::Ipv6Addr;

use hoist_api::container::PortSummary;

/// Ports that follow each other and are the same on the machine.
#[derive(Debug)]
struct Group<'a> {
    ip: &'a str,
    protocol: &'a str,
    first: u16,
    last: u16,
}

/// As Docker's command line has it: `9000-9002/tcp, 127.0.0.1:53->53/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`: first
/// those that have the same number on both sides, joined to ranges, then the others one by one.
pub(crate) fn summary(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by_key(|port| {
        (
            port.private_port,
            &port.ip,
            port.public_port,
            &port.protocol,
        )
    });
    let mut texts = Vec::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut mapped = Vec::new();
    for port in sorted {
        let (private, protocol) = (port.private_port, port.protocol.as_str());
        let public = port.public_port.unwrap_or(0);
        if !port.ip.is_empty() && public != private {
            mapped.push(format!("{}:{public}->{private}/{protocol}", host(&port.ip)));
            continue;
        }
        let new = Group {
            ip: &port.ip,
            protocol,
            first: private,
            last: private,
        };
        match groups
            .iter_mut()
            .find(|group| group.ip == new.ip && group.protocol == protocol)
        {
            Some(group) if group.last.checked_add(1) == Some(private) => group.last = private,
            Some(group) => texts.push(std::mem::replace(group, new).text()),
            None => groups.push(new),
        }
    }
    texts.extend(groups.iter().map(Group::text));
    texts.append(&mut mapped);
    texts.join(", ")
}

impl Group<'_> {
    fn text(&self) -> String {
        let span = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        let protocol = self.protocol;
        match self.ip {
            "" => format!("{span}/{protocol}"),
            ip => format!("{}:{span}->{span}/{protocol}", host(ip)),
        }
    }
}

/// An address as it stands before a port: IPv6 in brackets.
pub(crate) fn host(ip: &str) -> String {
    if ip.parse::<Ipv6Addr>().is_ok() {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public: u16, private: u16) -> PortSummary {
        let public_port = (public != 0).then_some(public);
        PortSummary {
            ip: ip.into(),
            private_port: private,
            public_port,
            protocol: "tcp".into(),
        }
    }

    fn check(ports: &[PortSummary], expected: &str) {
        assert_eq!(summary(ports), expected);
    }

    #[test]
    fn ports_are_joined_to_ranges() {
        check(&[], "");
        check(&[port("", 0, 80)], "80/tcp");
        check(
            &[port("0.0.0.0", 8080, 80), port("::", 8080, 80)],
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        );
        check(
            &[
                port("0.0.0.0", 9001, 81),
                port("0.0.0.0", 9000, 80),
                port("", 0, 443),
            ],
            "443/tcp, 0.0.0.0:9000->80/tcp, 0.0.0.0:9001->81/tcp",
        );
        check(
            &[
                port("0.0.0.0", 8080, 80),
                port("127.0.0.1", 9001, 9001),
                port("127.0.0.1", 9000, 9000),
                port("127.0.0.1", 9003, 9003),
            ],
            "127.0.0.1:9000-9001->9000-9001/tcp, 127.0.0.1:9003->9003/tcp, 0.0.0.0:8080->80/tcp",
        );
        check(
            &[port("0.0.0.0", 9000, 80), port("0.0.0.0", 9005, 81)],
            "0.0.0.0:9000->80/tcp, 0.0.0.0:9005->81/tcp",
        );
    }
}
