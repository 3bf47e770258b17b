//! Addresses: joining a `Location` header to what was asked, and what counts as the same host.

use hyper::Uri;

/// The address that a `Location` names, seen from `base` (RFC 3986, section 5).
pub(crate) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let text = if location.contains("://") && !location.starts_with('/') {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(above, _)| above);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    let uri: Uri = text.split('#').next()?.parse().ok()?;
    matches!(uri.scheme_str(), Some("http" | "https")).then_some(uri)
}

/// Whether both are the same scheme, host and port: then credentials may go along.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme_str() == other.scheme_str() && one.host() == other.host() && port(one) == port(other)
}

/// The port, also when the scheme says it.
pub(crate) fn port(uri: &Uri) -> u16 {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    uri.port_u16().unwrap_or(default)
}

/// Adds parameters to an address that may have some.
pub(crate) fn with_query(uri: &Uri, parameters: &[(&str, &str)]) -> Option<Uri> {
    let added: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let separator = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{separator}{}", added.join("&")).parse().ok()
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_were_given() {
        let base: Uri = "https://r.test:5000/v2/a/blobs/uploads/"
            .parse()
            .expect("uri");
        for (location, expected) in [
            ("/v2/x?y=1", Some("https://r.test:5000/v2/x?y=1")),
            ("http://other/z", Some("http://other/z")),
            ("//cdn/z#part", Some("https://cdn/z")),
            ("uuid", Some("https://r.test:5000/v2/a/blobs/uploads/uuid")),
            ("file:///etc/passwd", None),
            ("ftp://x/y", None),
        ] {
            let found = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let uri = |text: &str| text.parse::<Uri>().expect("uri");
        assert!(same_origin(&uri("https://a/x"), &uri("https://a:443/y")));
        assert!(!same_origin(&uri("https://a/x"), &uri("http://a/x")));
        assert!(!same_origin(&uri("https://a/x"), &uri("https://b/x")));
        assert_eq!(
            with_query(&uri("http://a/x?y=1"), &[("d", "sha256:a b")]).map(|uri| uri.to_string()),
            Some("http://a/x?y=1&d=sha256%3Aa%20b".to_owned())
        );
    }
}
