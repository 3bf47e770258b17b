//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, section 11.6.1).

/// One way to prove who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        /// Where tokens are to be had.
        realm: String,
        service: String,
        /// What the refused request would have needed; may be empty.
        scope: String,
    },
}

/// The challenges of a header, in order; unknown schemes are left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', ',']).unwrap_or(rest.len());
        let scheme = &rest[..end];
        rest = rest[end..].trim_start_matches([' ', ',']);
        let mut parameters = Vec::new();
        while let Some((name, value, after)) = parameter(rest) {
            parameters.push((name, value));
            rest = after.trim_start_matches([' ', ',']);
        }
        let get = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" if !get("realm").is_empty() => found.push(Challenge::Bearer {
                realm: get("realm"),
                service: get("service"),
                scope: get("scope"),
            }),
            _ => {}
        }
    }
    found
}

/// `name=value` or `name="value"` at the beginning, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let equals = text.find('=')?;
    let name = text[..equals].trim_end();
    if name.is_empty() || name.contains([' ', ',', '"']) {
        return None;
    }
    let rest = text[equals + 1..].trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        return Some((
            name.to_ascii_lowercase(),
            rest[..end].to_owned(),
            &rest[end..],
        ));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((name.to_ascii_lowercase(), value, &quoted[index + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
            scope: scope.to_owned(),
        }
    }

    #[test]
    fn challenges_of_real_registries() {
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#
            ),
            [bearer(
                "https://auth.docker.io/token",
                "registry.docker.io",
                "repository:a/b:pull,push"
            )]
        );
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), [Challenge::Basic]);
        assert_eq!(
            parse(r#"Negotiate, BEARER service=x , realm="http://a/\"t", Basic realm=y"#),
            [bearer(r#"http://a/"t"#, "x", ""), Challenge::Basic]
        );
        for nothing in ["", "Bearer", "Digest a=b", "Bearer realm=\"unclosed"] {
            assert_eq!(parse(nothing), [], "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn any_header_ends(header in ".{0,80}") {
            parse(&header);
        }
    }
}
