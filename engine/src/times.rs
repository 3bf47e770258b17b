//! Times in queries: Unix seconds with or without a fraction, or RFC 3339.

use hoist_api::error::{ApiError, Result};
use jiff::Timestamp;

/// Reads a time; an empty text and `0` are none.
///
/// # Errors
/// 400 when it is neither.
pub(crate) fn parse_time(text: &str) -> Result<Option<Timestamp>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let invalid = || {
        ApiError::bad_request(format!(
            "invalid time {text:?}: give Unix seconds or RFC 3339"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    Timestamp::new(seconds, nanoseconds)
        .map(Some)
        .map_err(|_| invalid())
}

/// RFC 3339, or Go's zero time.
pub(crate) fn wire_time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| hoist_api::ZERO_TIME.to_owned(), |time| time.to_string())
}

/// From nanoseconds since the epoch, as shims tell times.
pub(crate) fn from_nanoseconds(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            parse_time(text)
                .unwrap()
                .map(|time| time.to_string())
                .as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn both_forms_are_read() {
        check("", None);
        check("0", None);
        check("1", Some("1970-01-01T00:00:01Z"));
        check("1.5", Some("1970-01-01T00:00:01.5Z"));
        check("1.000000001", Some("1970-01-01T00:00:01.000000001Z"));
        check("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z"));
        assert!(parse_time("soon").is_err());
        assert!(parse_time("1.x").is_err());
    }
}
