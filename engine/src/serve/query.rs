//! Query parameters and JSON bodies as Docker's clients send them.

use axum::body::Bytes;
use axum::http::Uri;
use axum::http::{HeaderMap, header};
use hoist_api::Filters;
use hoist_api::engine::TerminalSize;
use hoist_api::error::{ApiError, Result};
use serde::de::DeserializeOwned;

/// The query of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

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

    /// `h` and `w`.
    pub(crate) fn size(&self) -> Result<TerminalSize> {
        Ok(TerminalSize {
            height: self.number("h")?.unwrap_or_default(),
            width: self.number("w")?.unwrap_or_default(),
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
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
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
}
