//! `[[address:]published:]target[/protocol]`, with ranges.

use std::net::IpAddr;

use super::super::diagnostic::{Diagnostic, value_in_words};
use super::super::node::{Node, Value};
use super::super::report::Path;
use super::{Expansion, text_map};

/// Where a list exceeds the number of ports that are left; found before any port is made.
fn too_many(items: &[Node], left: usize) -> Option<usize> {
    let mut total = 0;
    items.iter().position(|item| {
        let text = item.as_str().filter(|text| text.contains('-'));
        total += text.map_or(1, |text| read(text).map_or(0, |entry| entry.count()));
        total > left
    })
}

/// Ports to one mapping for each container port.
pub(super) fn ports(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    if let Some(place) = too_many(items, expansion.left.ports) {
        let message = format!("`{path}` makes too many ports of its ranges");
        let place = expansion.report.locate(items[place].span);
        let problem =
            Diagnostic::error("too-large", message).at(place, "the limit is reached here");
        expansion.report.push(problem.help("publish fewer ports"));
        items.clear();
        return;
    }
    let unread = |item: &Node| {
        let text = item.scalar().filter(|_| item.as_map().is_none());
        text.is_some_and(|text| parse(&text).is_err())
    };
    if expansion.lenient && items.iter().any(unread) {
        // As in the reference, one port that holds variables leaves all of them as they are written.
        return;
    }
    let mut expanded = Vec::with_capacity(items.len());
    for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
        if item.as_map().is_some() || item.is_invalid() {
            expanded.push(item);
            continue;
        }
        if let Value::Float(value) = item.value {
            let problem = Diagnostic::error(
                "wrong-type",
                format!("`{}` must be a port, but this is {value}", path.item(index)),
            )
            .help("write a whole number, or `published:target` in quotes");
            expansion.wrong(&mut item, problem);
            continue;
        }
        let text = item.scalar_text().unwrap_or_default();
        match parse(&text) {
            Ok(ports) => {
                expansion.left.ports -= ports.len();
                expanded.extend(ports.iter().map(|port| port.node(&item)));
            }
            Err(why) => {
                let problem = Diagnostic::error(
                    "invalid-port",
                    format!("{} in `{path}` is not a port: {why}", value_in_words(&text)),
                )
                .at(
                    expansion.report.locate(item.span),
                    "expected `[[address:]published:]target[/protocol]`",
                );
                let problem = match repaired(&text) {
                    Some(better) => problem.help(format!("write \"{better}\"")),
                    None => problem,
                };
                expansion.wrong(&mut item, problem);
            }
        }
    }
    *items = expanded;
}

/// Exposed ports are not read further, but a fraction is none.
pub(super) fn expose(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        if let Value::Float(value) = item.value {
            let message = format!("`{}` must be a port, but this is {value}", path.item(index));
            let problem = Diagnostic::error("wrong-type", message);
            expansion.wrong(
                item,
                problem.help("write a whole number, or a range in quotes"),
            );
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct ShortPort {
    host_ip: String,
    published: String,
    target: u16,
    protocol: String,
}

impl ShortPort {
    fn node(&self, item: &Node) -> Node {
        let mut map = text_map(
            &[
                ("mode", "ingress"),
                ("host_ip", &self.host_ip),
                ("published", &self.published),
                ("protocol", &self.protocol),
            ],
            item,
        );
        map.insert(
            "target",
            Node::new(Value::Int(i64::from(self.target)), item.span),
        );
        let mut node = Node::map(map, item.span);
        node.origin.clone_from(&item.origin);
        node
    }
}

/// What one entry says, before it is one mapping for each port.
#[derive(Debug)]
struct Entry {
    host_ip: String,
    published: Option<(u16, u16)>,
    target: (u16, u16),
    protocol: String,
}

impl Entry {
    fn count(&self) -> usize {
        usize::from(self.target.1 - self.target.0) + 1
    }

    fn ports(&self) -> Vec<ShortPort> {
        let (first, last) = self.target;
        let mut ports: Vec<ShortPort> = (first..=last)
            .map(|target| ShortPort {
                host_ip: self.host_ip.clone(),
                published: match self.published {
                    None => String::new(),
                    Some((host_first, host_last)) if first == last && host_first != host_last => {
                        format!("{host_first}-{host_last}")
                    }
                    Some((host_first, _)) => (host_first + (target - first)).to_string(),
                },
                target,
                protocol: self.protocol.clone(),
            })
            .collect();
        // The reference sorts the ports of one entry as texts.
        ports.sort_by_cached_key(|port| format!("{}/{}", port.target, port.protocol));
        ports
    }
}

fn parse(text: &str) -> Result<Vec<ShortPort>, String> {
    read(text).map(|entry| entry.ports())
}

fn read(text: &str) -> Result<Entry, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host_ip, published, target) = match parts.as_slice() {
        [target] => (String::new(), "", *target),
        [published, target] => (String::new(), *published, *target),
        [address @ .., published, target] => (address.join(":"), *published, *target),
        [] => return Err("it is empty".to_owned()),
    };
    let (target, protocol) = target.split_once('/').unwrap_or((target, ""));
    let protocol = if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_ascii_lowercase()
    };
    if target.is_empty() {
        return Err("the container's port is missing".to_owned());
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!(
            "`{protocol}` is not a protocol: use tcp, udp or sctp"
        ));
    }
    let host_ip = address(&host_ip)?;
    let (first, last) = range(target)?;
    if first == 0 {
        return Err("the container's port cannot be 0".to_owned());
    }
    let host_range = if published.is_empty() {
        None
    } else {
        Some(range(published)?)
    };
    if let Some((host_first, host_last)) = host_range
        && first != last
        && last - first != host_last - host_first
    {
        return Err(format!(
            "the ranges {published} and {target} have different lengths"
        ));
    }
    Ok(Entry {
        host_ip,
        published: host_range,
        target: (first, last),
        protocol,
    })
}

/// What was likely meant, when that is a port.
fn repaired(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    let better = match parts.as_slice() {
        [address, target] if address.parse::<IpAddr>().is_ok() => format!("{address}::{target}"),
        ["localhost", rest @ ..] => format!("127.0.0.1:{}", rest.join(":")),
        [published, ""] => (*published).to_owned(),
        _ => text.split_whitespace().collect(),
    };
    (better != text && read(&better).is_ok()).then_some(better)
}

fn address(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>()
        .map_err(|_| format!("`{bare}` is not an IP address"))?;
    Ok(bare.to_owned())
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| format!("`{text}` is not a port (0 to 65535)"))
    };
    if text.starts_with('-') || text.ends_with('-') {
        return Err(format!(
            "`{text}` is neither a port nor a range of them (0 to 65535)"
        ));
    }
    let mut parts = text.split('-');
    let first = port(parts.next().unwrap_or_default())?;
    let last = parts.next().map_or(Ok(first), port)?;
    if last < first {
        return Err(format!("the range {text} is reversed"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_are_read() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let got = parse(text).ok().map(|ports| {
                let text = |p: &ShortPort| {
                    format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol)
                };
                ports.iter().map(text).collect::<Vec<_>>()
            });
            let expected = expected.map(|ports| {
                ports
                    .iter()
                    .map(|port| (*port).to_owned())
                    .collect::<Vec<_>>()
            });
            assert_eq!(got, expected, "{text}");
        };
        check("80", Some(&["||80/tcp"]));
        check("8080:80", Some(&["|8080|80/tcp"]));
        check("127.0.0.1::80/UDP", Some(&["127.0.0.1||80/udp"]));
        check("8000-8002:80", Some(&["|8000-8002|80/tcp"]));
        check("9-10:99-100", Some(&["|10|100/tcp", "|9|99/tcp"]));
        check("::1:6000:6000", Some(&["::1|6000|6000/tcp"]));
        check("[::1]:6000:6000", Some(&["::1|6000|6000/tcp"]));
        check("080:80", Some(&["|80|80/tcp"]));
        check("0:80", Some(&["|0|80/tcp"]));
        check("127.0.0.1:80", None);
        check("80/foo", None);
        check("0", None);
        check("65536", None);
        check("90-80", None);
        check("8000:80-82", None);
        check("localhost:80:80", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "[0-9:\\-/\\[\\]a-z.]{0,30}") {
            let _ = parse(&text);
        }
    }
}
