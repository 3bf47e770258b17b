//! `EXPOSE`: ports and ranges with their protocols.

/// What a port says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    /// `80/tcp`, each of a range.
    pub(super) ports: Vec<String>,
    /// The protocol was not in lower case.
    pub(super) odd_case: bool,
    /// An address or a host's port was given too.
    pub(super) mapping: bool,
}

/// Reads `[ip:][host:]port[-port][/protocol]`.
pub(super) fn parse(text: &str) -> Result<Exposed, String> {
    let mut parts = text.rsplitn(3, ':');
    let own = parts.next().unwrap_or_default();
    let host = parts.next();
    let address = parts.next();
    let (own, protocol) = own.split_once('/').unwrap_or((own, ""));
    if own.is_empty() {
        return Err(format!("invalid port: {text:?}: no port specified"));
    }
    let lower = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        name @ ("tcp" | "udp" | "sctp") => name.to_owned(),
        _ => return Err(format!("invalid port: {text:?}: invalid proto: {protocol}")),
    };
    if let Some(address) = address.filter(|address| !address.is_empty()) {
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if bare.unwrap_or(address).parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address: {address}"));
        }
    }
    let (first, last) = range(own).ok_or_else(|| format!("invalid containerPort: {own}"))?;
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        let (low, high) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if last - first != high - low && first != last {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {own} and {host}"
            ));
        }
    }
    Ok(Exposed {
        ports: (first..=last)
            .map(|port| format!("{port}/{lower}"))
            .collect(),
        odd_case: protocol != protocol.to_lowercase(),
        mapping: host.is_some_and(|host| !host.is_empty())
            || address.is_some_and(|address| !address.is_empty()),
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(parse("80").unwrap().ports, ["80/tcp"]);
        assert_eq!(
            parse("7000-7002/UDP").unwrap().ports,
            ["7000/udp", "7001/udp", "7002/udp"]
        );
        assert!(parse("53/UDP").unwrap().odd_case);
        assert!(parse("127.0.0.1:8080:80").unwrap().mapping);
        assert!(parse("8080:80").unwrap().mapping);
        for (bad, why) in [
            ("x", "invalid containerPort: x"),
            ("80/http", "invalid port: \"80/http\": invalid proto: http"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("9-8", "invalid containerPort: 9-8"),
            ("70000", "invalid containerPort: 70000"),
            ("host:80:80", "invalid IP address: host"),
            ("80:81-83", ""),
        ] {
            match why {
                "" => assert!(parse(bad).is_err(), "{bad}"),
                why => assert_eq!(parse(bad).unwrap_err(), why),
            }
        }
    }
}
