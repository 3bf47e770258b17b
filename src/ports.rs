//! Published ports as `docker ps` and `docker compose ps` print them.

use std::net::Ipv6Addr;

use hoist_api::container::PortSummary;

/// One entry of the PORTS column; neighbouring ports are joined to a range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    protocol: String,
    ip: String,
    public: Option<u16>,
    private: u16,
    count: u16,
}

/// `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 9000-9002/tcp`.
pub(crate) fn summary(ports: &[PortSummary]) -> String {
    let mut single: Vec<Range> = ports
        .iter()
        .map(|port| Range {
            protocol: port.protocol.clone(),
            ip: port.ip.clone(),
            public: port.public_port.filter(|&public| public != 0),
            private: port.private_port,
            count: 1,
        })
        .collect();
    single.sort_by(|a, b| {
        (a.private, &a.ip, a.public, &a.protocol).cmp(&(b.private, &b.ip, b.public, &b.protocol))
    });
    let mut joined: Vec<Range> = Vec::new();
    for port in single {
        match joined.iter_mut().find(|range| range.goes_on_with(&port)) {
            Some(range) => range.count += 1,
            None => joined.push(port),
        }
    }
    let texts: Vec<String> = joined.iter().map(Range::text).collect();
    texts.join(", ")
}

impl Range {
    fn goes_on_with(&self, next: &Range) -> bool {
        self.protocol == next.protocol
            && self.ip == next.ip
            && self.private.checked_add(self.count) == Some(next.private)
            && match (self.public, next.public) {
                (Some(first), Some(public)) => first.checked_add(self.count) == Some(public),
                (None, None) => true,
                _ => false,
            }
    }

    fn text(&self) -> String {
        let span = |first: u16| match self.count {
            1 => first.to_string(),
            count => format!("{first}-{}", first + (count - 1)),
        };
        let private = format!("{}/{}", span(self.private), self.protocol);
        match self.public {
            Some(public) => format!("{}:{}->{private}", host(&self.ip), span(public)),
            None => private,
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
            "0.0.0.0:9000-9001->80-81/tcp, 443/tcp",
        );
        check(
            &[port("0.0.0.0", 9000, 80), port("0.0.0.0", 9005, 81)],
            "0.0.0.0:9000->80/tcp, 0.0.0.0:9005->81/tcp",
        );
    }
}
