//! What a place in a network is asked for besides its name: addresses, and the driver's options of Docker's bridges, of which
//! this engine knows the link's name and the settings of the link. Checked when a container is created or connected.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hoist_api::error::{ApiError, Result};
use hoist_api::network::EndpointSettings;
use hoist_network::MacAddress;
use ipnetwork::IpNetwork;

/// The link's name inside the container.
const LINK_NAME: &str = "com.docker.network.endpoint.ifname";
/// `net.X.Y.IFNAME.Z=V`, separated by commas.
const SETTINGS: &str = "com.docker.network.endpoint.sysctls";
/// Prefixes of addresses that are a link's own.
const IPV4_LINK_PREFIX: u8 = 16;
const IPV6_LINK_PREFIX: u8 = 64;
/// Bytes of a link's name, with the zero at its end.
const NAME_SIZE: usize = 16;

/// Of networks: whether their containers reach each other.
pub(crate) const BETWEEN_CONTAINERS: &str = "com.docker.network.bridge.enable_icc";
/// What else networks may be asked for here.
const OF_NETWORKS: &[&str] = &[
    BETWEEN_CONTAINERS,
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.driver.mtu",
];
/// What Docker's bridges do besides, with the value that means what is done here.
const AS_HERE: &[(&str, &[&str])] = &[
    (
        "com.docker.network.bridge.host_binding_ipv4",
        &["", "0.0.0.0"],
    ),
    (
        "com.docker.network.bridge.inhibit_ipv4",
        &["", "0", "false"],
    ),
    ("com.docker.network.bridge.gateway_mode_ipv4", &["", "nat"]),
    ("com.docker.network.bridge.gateway_mode_ipv6", &["", "nat"]),
    ("com.docker.network.bridge.trusted_host_interfaces", &[""]),
    ("com.docker.network.container_iface_prefix", &["", "eth"]),
];

/// Refuses options of Docker's bridges that a network cannot have here; what is nobody's is a note that is kept.
pub(crate) fn check_network(given: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in given {
        if !name.starts_with("com.docker.network.") || OF_NETWORKS.contains(&name.as_str()) {
            continue;
        }
        let known = AS_HERE.iter().find(|(known, _)| known == name);
        if known.is_none_or(|(_, values)| !values.contains(&value.as_str())) {
            return Err(ApiError::bad_request(format!(
                "the network option {name}={value} is not supported by this engine"
            ))
            .with_hint(format!("known are {}", OF_NETWORKS.join(", "))));
        }
    }
    let icc = given.get(BETWEEN_CONTAINERS).map_or("true", String::as_str);
    match ["0", "1", "false", "true", "False", "True"].contains(&icc) {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!(
            "invalid value for {BETWEEN_CONTAINERS}: \"{icc}\": it is true or false"
        ))),
    }
}

/// Whether an option of a network was switched off.
pub(crate) fn is_no(given: &BTreeMap<String, String>, name: &str) -> bool {
    let value = given.get(name).map(String::as_str);
    matches!(value, Some("0" | "false" | "False"))
}

/// Refuses what no place in a network can have.
pub(crate) fn check(network: &str, asked: &EndpointSettings) -> Result<()> {
    let mut wrong = Vec::new();
    if let Some(ipam) = &asked.ipam_config {
        let (ipv4, ipv6) = (&ipam.ipv4_address, &ipam.ipv6_address);
        if !ipv4.is_empty() && ipv4.parse::<Ipv4Addr>().is_err() {
            wrong.push(format!("invalid IPv4 address: {ipv4}"));
        }
        if !ipv6.is_empty() && ipv6.parse::<Ipv6Addr>().is_err() {
            wrong.push(format!("invalid IPv6 address: {ipv6}"));
        }
    }
    let links = asked
        .ipam_config
        .iter()
        .flat_map(|ipam| &ipam.link_local_ips);
    for text in links.filter(|text| link_local_address(text).is_none()) {
        wrong.push(format!("invalid link-local IP address: {text}"));
    }
    if !asked.mac_address.is_empty() && asked.mac_address.parse::<MacAddress>().is_err() {
        wrong.push(format!("invalid MAC address {}", asked.mac_address));
    }
    if let Some(name) = option(asked, LINK_NAME)
        && !is_link_name(name)
    {
        wrong.push(format!(
            "invalid interface name \"{name}\": it has 1 to 15 bytes, without '/', ':', '%' and white space"
        ));
    }
    for entry in entries(asked) {
        if parse(entry, "").is_none() {
            wrong.push(format!(
                "unrecognised network interface sysctl '{entry}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(ApiError::bad_request(format!(
            "invalid config for network {network}: invalid endpoint settings:\n{}",
            wrong.join("\n")
        ))),
    }
}

/// The addresses that are asked for.
pub(crate) fn static_addresses(asked: &EndpointSettings) -> Vec<IpAddr> {
    let ipam = asked.ipam_config.iter();
    let texts = ipam.flat_map(|ipam| [&ipam.ipv4_address, &ipam.ipv6_address]);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// The name that the link should have inside, when one was asked for.
pub(crate) fn link_name(asked: &EndpointSettings) -> Option<&str> {
    option(asked, LINK_NAME).filter(|name| is_link_name(name))
}

/// The settings of a link of this name: paths below `/proc/sys/net` and values.
pub(crate) fn settings(asked: &EndpointSettings, link: &str) -> Vec<(String, String)> {
    entries(asked)
        .filter_map(|entry| parse(entry, link))
        .collect()
}

/// The link's further addresses, of its own link only: of IPv6 only where there is IPv6.
pub(crate) fn link_local(asked: &EndpointSettings, has_ipv6: bool) -> Vec<IpNetwork> {
    let links = asked
        .ipam_config
        .iter()
        .flat_map(|ipam| &ipam.link_local_ips);
    links
        .filter_map(|text| link_local_address(text))
        .filter(|address| has_ipv6 || address.is_ipv4())
        .collect()
}

fn link_local_address(text: &str) -> Option<IpNetwork> {
    match text.parse().ok()? {
        IpAddr::V4(address) if address.is_link_local() => {
            IpNetwork::new(address.into(), IPV4_LINK_PREFIX).ok()
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            IpNetwork::new(address.into(), IPV6_LINK_PREFIX).ok()
        }
        _ => None,
    }
}

fn option<'a>(asked: &'a EndpointSettings, name: &str) -> Option<&'a str> {
    asked.driver_opts.as_ref()?.get(name).map(String::as_str)
}

fn entries(asked: &EndpointSettings) -> impl Iterator<Item = &str> {
    option(asked, SETTINGS)
        .into_iter()
        .flat_map(|all| all.split(','))
        .filter(|entry| !entry.is_empty())
}

fn parse(entry: &str, link: &str) -> Option<(String, String)> {
    let (name, value) = entry.split_once('=')?;
    let mut parts = name.splitn(5, '.');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (net, family, kind, of, setting) = (next()?, next()?, next()?, next()?, next()?);
    let is_good = net == "net"
        && matches!(family, "ipv4" | "ipv6" | "mpls")
        // Docker's command line writes all of it in lower case.
        && matches!(of, "IFNAME" | "ifname")
        && [kind, setting].iter().all(|part| {
            !part.contains('/') && part.split('.').all(|word| !word.is_empty())
        });
    let setting = setting.replace('.', "/");
    is_good.then(|| {
        (
            format!("{family}/{kind}/{link}/{setting}"),
            value.to_owned(),
        )
    })
}

/// By the kernel's rules; it takes `%` for a number to fill in.
fn is_link_name(name: &str) -> bool {
    (1..NAME_SIZE).contains(&name.len())
        && !matches!(name, "." | ".." | "lo" | "all" | "default")
        && !name
            .bytes()
            .any(|byte| matches!(byte, b'/' | b':' | b'%') || !byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> EndpointSettings {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn refused(json: &str, expected: &str) {
        let told = check("net", &asked(json)).map_err(|error| error.message);
        let told = told.err().unwrap_or_default();
        assert!(told.contains(expected), "{json}: {told:?}");
        assert_eq!(expected.is_empty(), told.is_empty(), "{json}: {told:?}");
    }

    #[test]
    fn what_a_place_cannot_have_is_refused() {
        refused("{}", "");
        refused(r#"{"IPAMConfig":{"IPv4Address":"10.0.0.2"}}"#, "");
        refused(
            r#"{"IPAMConfig":{"IPv4Address":"10.0.0.2.3","IPv6Address":"x"}}"#,
            "endpoint settings:\ninvalid IPv4 address: 10.0.0.2.3\ninvalid IPv6 address: x",
        );
        refused(
            r#"{"IPAMConfig":{"LinkLocalIPs":["169.254.7.7","fe80::7"]}}"#,
            "",
        );
        refused(
            r#"{"IPAMConfig":{"LinkLocalIPs":["169.253.5.5"]}}"#,
            "invalid link-local IP address: 169.253.5.5",
        );
        refused(r#"{"MacAddress":"x"}"#, "invalid MAC address x");
        let name = |name: &str| format!(r#"{{"DriverOpts":{{"{LINK_NAME}":"{name}"}}}}"#);
        refused(&name("lan0.1"), "");
        for wrong in ["", "lo", "a/b", "eth%d", "0123456789abcdef", "a b"] {
            refused(&name(wrong), "invalid interface name");
        }
        let settings = |all: &str| format!(r#"{{"DriverOpts":{{"{SETTINGS}":"{all}"}}}}"#);
        refused(&settings("net.ipv4.conf.IFNAME.log_martians=1"), "");
        for wrong in [
            "net.ipv4.conf.eth0.log_martians=1",
            "net.core.somaxconn=1",
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.IFNAME.../../../x=1",
        ] {
            refused(
                &settings(wrong),
                "unrecognised network interface sysctl 'net.",
            );
        }
    }

    #[test]
    fn settings_are_of_the_link_that_the_place_has() {
        let all = r#"net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.mcast_solicit=4"#;
        let endpoint = asked(&format!(r#"{{"DriverOpts":{{"{SETTINGS}":"{all}"}}}}"#));
        let text = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(
            settings(&endpoint, "a.b"),
            [
                text("ipv4/conf/a.b/log_martians", "1"),
                text("ipv6/neigh/a.b/mcast_solicit", "4"),
            ]
        );
    }
}
