//! Proxies from the environment, in the form that curl and Go read: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, also in lower case.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;

/// Which proxy for which host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<String>,
}

/// A proxy that speaks HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

/// The password stays out of logs.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Proxy({}:{})", self.host, self.port)
    }
}

impl Proxies {
    pub(crate) fn from_environment() -> Self {
        Self::from(&|name| {
            let value = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
            value.ok().filter(|value| !value.is_empty())
        })
    }

    fn from(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let proxy = |name: &str| {
            let value = lookup(name)?;
            let parsed = Proxy::parse(&value);
            if parsed.is_none() {
                tracing::warn!(variable = name, "not the address of an HTTP proxy; ignored");
            }
            parsed
        };
        let exceptions = lookup("NO_PROXY").unwrap_or_default();
        Self {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            exceptions: exceptions
                .split(',')
                .map(|entry| entry.trim().to_lowercase())
                .filter(|entry| !entry.is_empty())
                .collect(),
        }
    }

    /// The proxy to reach an address through. Loopback is always reached directly, as Go does.
    pub(crate) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let host = uri.host()?.trim_matches(['[', ']']).to_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let is_local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        if is_local || self.is_excepted(&host, address, super::uri::port(uri)) {
            return None;
        }
        if uri.scheme_str() == Some("https") {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        }
    }

    fn is_excepted(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        self.exceptions.iter().any(|entry| {
            if entry == "*" {
                return true;
            }
            if let (Some(address), Some((network, bits))) = (address, entry.split_once('/')) {
                return is_in(address, network, bits);
            }
            let (name, wanted_port) = match entry.rsplit_once(':') {
                Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
                _ => (entry.as_str(), None),
            };
            if wanted_port.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            let bare = name.strip_prefix('.').unwrap_or(name);
            (host == bare && !name.starts_with('.')) || host.ends_with(&format!(".{bare}"))
        })
    }
}

fn is_in(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((one, width), (other, other_width)) = (number(address), number(network));
    if width != other_width || bits > width {
        return false;
    }
    let shift = width - bits;
    shift == 128 || one >> shift == other >> shift
}

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
            Some(_) => return None,
        };
        let rest = rest.trim_end_matches('/');
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let uri: Uri = format!("http://{address}").parse().ok()?;
        Some(Self {
            host: uri.host()?.trim_matches(['[', ']']).to_owned(),
            port: super::uri::port(&uri),
            authorization: user.map(|user| format!("Basic {}", STANDARD.encode(decode(user)))),
        })
    }
}

/// Undoes percent-encoding; what is no code stays.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut index = 0;
    while index < bytes.len() {
        let code = bytes
            .get(index + 1..index + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[index], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                index += 3;
            }
            (byte, _) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(exceptions: &str, address: &str, proxied: bool) {
        let lookup = |name: &str| match name {
            "NO_PROXY" => Some(exceptions.to_owned()),
            "HTTPS_PROXY" => Some("http://u%40x:p@proxy:3128/".to_owned()),
            _ => None,
        };
        let proxies = Proxies::from(&lookup);
        let uri: Uri = address.parse().expect("uri");
        assert_eq!(
            proxies.of(&uri).is_some(),
            proxied,
            "{exceptions:?} {address}"
        );
    }

    #[test]
    fn exceptions_are_names_suffixes_networks_and_ports() {
        check("", "https://a.test/", true);
        check("", "http://a.test/", false);
        check("", "https://127.0.0.1:5000/", false);
        check("", "https://localhost/", false);
        check("*", "https://a.test/", false);
        check("a.test", "https://a.test/", false);
        check("a.test", "https://b.a.test/", false);
        check("a.test", "https://ba.test/", true);
        check(".a.test", "https://a.test/", true);
        check(".a.test, other", "https://b.a.test/", false);
        check("a.test:5000", "https://a.test:5000/", false);
        check("a.test:5000", "https://a.test/", true);
        check("10.0.0.0/8", "https://10.1.2.3/", false);
        check("10.0.0.0/8", "https://11.1.2.3/", true);
        check("fd00::/8", "https://[fd00::1]/", false);
    }

    #[test]
    fn a_proxy_may_have_a_password() {
        let proxy = Proxy::parse("http://u%40x:p@proxy:3128/").expect("a proxy");
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dUB4OnA="));
        assert_eq!(
            Proxy::parse("proxy:8080").map(|proxy| proxy.port),
            Some(8080)
        );
        assert_eq!(Proxy::parse("socks5://proxy"), None);
    }
}
