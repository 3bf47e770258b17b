//! Times as options give them: absolute (RFC 3339, a date, Unix seconds) or so long ago (42m).

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::failure::Failure;

/// `--tail`: a number of lines, or all of them.
///
/// # Errors
/// It is neither.
pub(crate) fn tail(text: &str) -> Result<Option<u64>, Failure> {
    match text.trim() {
        "all" | "" => Ok(None),
        // As the reference, which takes any negative number for all.
        number if number.starts_with('-') && number[1..].parse::<u64>().is_ok() => Ok(None),
        number => number.parse().map(Some).map_err(|_| {
            Failure::new(format!(
                "--tail must be a number of lines or \"all\", not \"{text}\""
            ))
        }),
    }
}

/// An option that may be missing, as Unix seconds with nanoseconds.
///
/// # Errors
/// It is no time.
pub(crate) fn optional(text: Option<&str>, option: &str) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let time = parse(text, Timestamp::now()).ok_or_else(|| {
        Failure::new(format!("{option} \"{text}\" is no time"))
            .hint("write a time (2026-01-02T13:23:37Z, Unix seconds) or how long ago (42m, 1h30m)")
    })?;
    Ok(Some(unix(time)))
}

/// A time as the engine takes it: Unix seconds, a dot, nanoseconds.
pub(crate) fn unix(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = seconds.parse::<i64>() {
        let digits = format!("{fraction:0<9}");
        return Timestamp::new(seconds, digits.get(..9)?.parse().ok()?).ok();
    }
    if let Some(ago) = nanoseconds(text) {
        return now.checked_sub(jiff::SignedDuration::from_nanos(ago)).ok();
    }
    // Without a zone it is the user's own.
    let local = text.parse::<DateTime>().ok().or_else(|| {
        Some(
            text.parse::<Date>()
                .ok()?
                .to_datetime(jiff::civil::Time::midnight()),
        )
    });
    Some(local?.to_zoned(TimeZone::system()).ok()?.timestamp())
}

/// Go's durations: "1h30m", "1.5s", "300ms".
fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
        ("d", 86400e9),
    ];
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |n| digits + n);
        let unit = UNITS
            .iter()
            .find(|(name, _)| *name == &rest[digits..letters])?
            .1;
        total += number * unit;
        rest = &rest[letters..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "durations of log options are far below 292 years"
    )]
    (!text.is_empty()).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a good time");
        let got = parse(text, now).map(|time| time.to_string());
        assert_eq!(got.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_absolute_or_relative() {
        check("2026-01-02T13:23:37Z", Some("2026-01-02T13:23:37Z"));
        check(
            "2026-01-02T13:23:37.5+02:00",
            Some("2026-01-02T11:23:37.5Z"),
        );
        check("1767360217", Some("2026-01-02T13:23:37Z"));
        check("1767360217.25", Some("2026-01-02T13:23:37.25Z"));
        check("42m", Some("2026-11-21T11:18:00Z"));
        check("1h30m", Some("2026-11-21T10:30:00Z"));
        check("500ms", Some("2026-11-21T11:59:59.5Z"));
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!(tail("all").ok(), Some(None));
        assert_eq!(tail("-1").ok(), Some(None));
        assert_eq!(tail("20").ok(), Some(Some(20)));
        assert!(tail("x").is_err());
    }
}
