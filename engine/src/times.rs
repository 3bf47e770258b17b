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

/// Reads a time, or a duration before now in Go's words: `1h30m`, `300ms`.
///
/// # Errors
/// 400 when it is neither.
pub(crate) fn parse_time_or_ago(text: &str) -> Result<Option<Timestamp>> {
    match (duration(text), parse_time(text)) {
        (Some(nanoseconds), _) => {
            let ago = Timestamp::now().as_nanosecond() - nanoseconds;
            Ok(Timestamp::from_nanosecond(ago).ok())
        }
        (None, time) => time,
    }
}

/// Go's `time.ParseDuration`, in nanoseconds; a unit is needed.
fn duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[end..];
        total += number * unit;
    }
    (!text.is_empty()).then_some(total as i128)
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
    fn durations_are_gos() {
        assert_eq!(duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(duration("1.5s"), Some(1_500_000_000));
        assert_eq!(
            (duration("12"), duration(""), duration("1d")),
            (None, None, None)
        );
        assert!(parse_time_or_ago("soon").is_err());
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
