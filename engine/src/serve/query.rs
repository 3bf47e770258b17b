//! Query parameters and JSON bodies as Docker's clients send them.

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use hoist_api::Filters;
use hoist_api::engine::TerminalSize;
use hoist_api::error::{ApiError, Result};
use serde::de::DeserializeOwned;

/// The query of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// The version of the API that a request speaks: that in its path, else the newest. Some answers depend on it, as Docker's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u16, pub(crate) u16);

impl<S: Sync> FromRequestParts<S> for Version {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> std::result::Result<Self, Self::Rejection> {
        let (major, minor) = hoist_api::API_VERSION;
        Ok(parts
            .extensions
            .get()
            .copied()
            .unwrap_or(Self(major, minor)))
    }
}

/// What a flag is that was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// True.
    Yes,
}

impl Query {
    /// Reads a query; what is not understood is kept as it is.
    pub(crate) fn of(uri: &Uri) -> Self {
        let text = uri.query().unwrap_or_default();
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a key; empty when it is not there.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Docker's booleans: empty, `0`, `no`, `false` and `none` are false, all else is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.text(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// As [`Query::flag`], with what a missing key means.
    pub(crate) fn flag_or(&self, key: &str, missing: Fallback) -> bool {
        let given = self.0.iter().any(|(name, _)| name == key);
        if given {
            self.flag(key)
        } else {
            missing == Fallback::Yes
        }
    }

    /// The filters.
    pub(crate) fn filters(&self) -> Result<Filters> {
        Filters::parse(self.text("filters"))
    }

    /// A number, if there is one.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("invalid value for {key}: {text:?}")))
    }

    /// `h` and `w`: both must be there. The kernel's terminals end at 65535.
    pub(crate) fn size(&self) -> Result<TerminalSize> {
        let side = |key: &str, what: &str| {
            let text = self.text(key);
            let is_number = text.strip_prefix(['-', '+']).unwrap_or(text);
            let is_number = !is_number.is_empty() && is_number.bytes().all(|b| b.is_ascii_digit());
            match text.parse::<u32>() {
                Ok(size) => Ok(u16::try_from(size).unwrap_or(u16::MAX)),
                Err(_) => Err(ApiError::bad_request(format!(
                    "invalid resize {what} {text:?}: {}",
                    if is_number {
                        "value out of range"
                    } else {
                        "invalid syntax"
                    }
                ))),
            }
        };
        Ok(TerminalSize {
            height: side("h", "height")?,
            width: side("w", "width")?,
        })
    }
}

/// Undoes percent-encoding and `+`.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = (*first == b'%').then(|| more.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, byte) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            (b'+', None) => {
                bytes.push(b' ');
                rest = more;
            }
            (other, None) => {
                bytes.push(*other);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a JSON body, which must say that it is JSON.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({content_type}): must be 'application/json'"
        )));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(wrong_json(body, &error)))
}

/// What is wrong with a body, for the mistakes that Docker has words for in Docker's.
fn wrong_json(body: &[u8], error: &serde_json::Error) -> String {
    let said = error.to_string();
    if said.starts_with("trailing characters") {
        return format!("unexpected content after JSON: {said}");
    }
    let line = error
        .line()
        .checked_sub(1)
        .and_then(|line| body.split(|byte| *byte == b'\n').nth(line));
    let at = error.column().checked_sub(1);
    let letter = line.zip(at).and_then(|(line, at)| line.get(at).copied());
    match letter {
        Some(letter) if said.starts_with("key must be a string") => format!(
            "invalid JSON: invalid character '{}' looking for beginning of object key string: {said}",
            char::from(letter)
        ),
        _ => format!("invalid JSON: {said}"),
    }
}

/// Reads a JSON body that may be missing.
pub(crate) fn optional_json<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<T> {
    if body.trim_ascii().is_empty() {
        Ok(T::default())
    } else {
        json(headers, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let query = Query::of(
            &"/x?a=1&b=True&c=False&d=&e=a%20b%2Fc+d&e=2&f"
                .parse()
                .unwrap(),
        );
        let flags: Vec<bool> = ["a", "b", "c", "d", "e", "f", "g"]
            .iter()
            .map(|key| query.flag(key))
            .collect();
        assert_eq!(flags, [true, true, false, false, true, false, false]);
        assert_eq!(query.all("e"), ["a b/c d", "2"]);
        assert_eq!(decode("100%"), "100%");
    }

    #[test]
    fn terminals_have_two_sides() {
        for (query, expected) in [
            ("h=40&w=80", ""),
            ("h=99999&w=1", ""),
            ("w=1", "invalid resize height \"\": invalid syntax"),
            ("h=1&w=", "invalid resize width \"\": invalid syntax"),
            ("h=1&w=x", "invalid resize width \"x\": invalid syntax"),
            (
                "h=-1&w=1",
                "invalid resize height \"-1\": value out of range",
            ),
            (
                "h=1&w=4294967296",
                "invalid resize width \"4294967296\": value out of range",
            ),
        ] {
            let size = Query::of(&format!("/x?{query}").parse().unwrap()).size();
            let said = size.err().map_or_else(String::new, |error| error.message);
            assert_eq!(said, expected, "{query}");
        }
    }

    #[test]
    fn wrong_json_is_told_in_dockers_words() {
        for (body, expected) in [
            (
                "{x",
                "invalid character 'x' looking for beginning of object key string",
            ),
            ("{\n x}", "invalid character 'x' looking for"),
            ("{} {}", "unexpected content after JSON"),
            ("{\"a\":}", "invalid JSON: expected value"),
        ] {
            let error = serde_json::from_slice::<serde_json::Value>(body.as_bytes()).unwrap_err();
            let said = wrong_json(body.as_bytes(), &error);
            assert!(said.contains(expected), "{body}: {said}");
        }
    }
}
