//! `--publish` as `docker run` and `docker compose run` take it: `[[address:]host:]container[/protocol]`, with ranges.

use std::net::IpAddr;

use hoist_api::Empty;
use hoist_api::container::ContainerCreate;
use hoist_api::host_config::PortBinding;

use crate::failure::Failure;

/// Most ports that one option may publish.
const MOST: usize = 65_535;

/// A published port of a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    /// `80/tcp`.
    pub(crate) port: String,
    /// Address and port of the host.
    pub(crate) binding: PortBinding,
}

/// Reads one option.
///
/// # Errors
/// It is not of the form, or the ranges do not go together.
pub(crate) fn parse(text: &str) -> Result<Vec<Published>, Failure> {
    let wrong = |why: &str| {
        Failure::new(format!("invalid port \"{text}\": {why}"))
            .hint("write it as [[ADDRESS:]HOST_PORT:]CONTAINER_PORT[/PROTOCOL]")
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong("the protocol must be tcp, udp or sctp"));
    }
    let (front, container) = match ports.rsplit_once(':') {
        Some((front, container)) => (Some(front), container),
        None => (None, ports),
    };
    let (address, host) = match front {
        None => ("", ""),
        Some(front) => front.rsplit_once(':').unwrap_or(("", front)),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(wrong("the address must be an IP address"));
    }
    let (first, last) = range(container).ok_or_else(|| wrong("the container's port is no port"))?;
    let ports = first..=last;
    let count = usize::from(last - first) + 1;
    let hosts: Vec<String> = match host {
        "" | "0" => vec![String::new(); count.min(MOST)],
        _ => {
            let (low, high) = range(host).ok_or_else(|| wrong("the host's port is no port"))?;
            match usize::from(high - low) + 1 {
                same if same == count => (low..=high).map(|port| port.to_string()).collect(),
                // The engine takes a free one of the range.
                _ if count == 1 => vec![host.to_owned()],
                _ => return Err(wrong("the two ranges have different lengths")),
            }
        }
    };
    let published = ports.zip(hosts).map(|(port, host_port)| Published {
        port: format!("{port}/{protocol}"),
        binding: PortBinding {
            host_ip: address.to_owned(),
            host_port,
        },
    });
    Ok(published.collect())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

/// Publishes ports of a container that is to be created.
///
/// # Errors
/// As [`parse`].
pub(crate) fn add(request: &mut ContainerCreate, texts: &[String]) -> Result<(), Failure> {
    for text in texts {
        for published in parse(text)? {
            let config = &mut request.config;
            config
                .exposed_ports
                .insert(published.port.clone(), Empty {});
            let bindings = &mut request.host_config.port_bindings;
            let bindings = bindings.entry(published.port).or_default();
            bindings.get_or_insert_default().push(published.binding);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[&str]>) {
        let got = parse(text).ok().map(|list| {
            let one =
                |p: &Published| format!("{}|{}|{}", p.binding.host_ip, p.binding.host_port, p.port);
            list.iter().map(one).collect::<Vec<_>>()
        });
        let expected = expected.map(|list| list.iter().map(|&s| s.to_owned()).collect());
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn ports() {
        check("80", Some(&["||80/tcp"]));
        check("8080:80/udp", Some(&["|8080|80/udp"]));
        check("127.0.0.1:8080:80", Some(&["127.0.0.1|8080|80/tcp"]));
        check("127.0.0.1::80", Some(&["127.0.0.1||80/tcp"]));
        check("[::1]:8080:80", Some(&["::1|8080|80/tcp"]));
        check("8080-8081:80-81", Some(&["|8080|80/tcp", "|8081|81/tcp"]));
        check("8080-8090:80", Some(&["|8080-8090|80/tcp"]));
        check("8080-8081:80-82", None);
        check("80/icmp", None);
        check("x:80", None);
        check("host:1:80", None);
        check("", None);
    }
}
