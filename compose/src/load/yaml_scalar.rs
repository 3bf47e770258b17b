//! What a plain YAML scalar means, by the rules of the reference's reader: YAML 1.2 words for booleans, YAML 1.1
//! octals (`014` is 12), underscores in numbers, dates as timestamps.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::node::{Timestamp, Value};

/// The value of an unquoted scalar that is more than its text.
pub(crate) fn typed_plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Value::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Value::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    if let Some(date) = timestamp(text) {
        return Some(Value::Timestamp(Box::new(date)));
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// An integer with Go's prefixes: `0x`, `0o`, `0b`, and a leading `0` for octal.
pub(crate) fn integer(text: &str) -> Option<Value> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, number) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(number, radix).ok()?;
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Value::Int);
    }
    Some(i64::try_from(magnitude).map_or(Value::Unsigned(magnitude), Value::Int))
}

fn float(text: &str) -> Option<Value> {
    let body = text.trim_start_matches(['-', '+']);
    if text.len() - body.len() > 1 {
        return None;
    }
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let points = mantissa.bytes().filter(|byte| *byte == b'.').count();
    if digits == 0 || points > 1 || digits + points != mantissa.len() {
        return None;
    }
    if let Some(exponent) = exponent {
        let number = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    // What is too large for a number is a text.
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Value::Float)
}

/// What a scalar with one of YAML's own tags is, whether it is quoted or not.
///
/// # Errors
/// What was expected.
pub(crate) fn tagged(tag: &str, text: &str) -> Result<Value, &'static str> {
    let typed = typed_plain(text);
    match (tag, typed) {
        ("int", Some(value @ (Value::Int(_) | Value::Unsigned(_))))
        | ("float", Some(value @ Value::Float(_)))
        | ("bool", Some(value @ Value::Bool(_)))
        | ("null", Some(value @ Value::Null))
        | ("timestamp", Some(value @ Value::Timestamp(_))) => Ok(value),
        ("float", Some(Value::Int(value))) => Ok(Value::Float(value as f64)),
        ("float", Some(Value::Unsigned(value))) => Ok(Value::Float(value as f64)),
        ("int", _) => Err("an integer"),
        ("float", _) => Err("a number"),
        ("bool", _) => Err("`true` or `false`"),
        ("null", _) => Err("`null` or nothing"),
        ("timestamp", _) => Err("a date, as in `2026-11-21`"),
        ("binary", _) => {
            let compact: String = text.split_whitespace().collect();
            let bytes = STANDARD.decode(compact).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.map(Value::String).ok_or("a text in base64")
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// `2026-11-21`, also with a time of day: the four forms that the reference's reader knows.
fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((bytes[at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (
        parts.next()?.parse::<u32>().ok()?,
        short_number(parts.next()?, 12)?,
        short_number(parts.next()?, 31)?,
    );
    if parts.next().is_some() || month == 0 || day == 0 || day > days(year, month) {
        return None;
    }
    let time = match time {
        None => "00:00:00Z".to_owned(),
        Some((b' ', time)) => format!("{}Z", time_of_day(time)?),
        Some((_, time)) => {
            let at = time.find(['Z', '+', '-'])?;
            let zone = &time[at..];
            (zone == "Z" || is_offset(zone)).then_some(())?;
            format!("{}{zone}", time_of_day(&time[..at])?)
        }
    };
    Some(Timestamp {
        written: text.to_owned(),
        canonical: format!("{year:04}-{month:02}-{day:02}T{time}"),
    })
}

/// A number of one or two digits, up to the last one.
fn short_number(text: &str, last: u32) -> Option<u32> {
    let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (number <= last).then_some(number)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// `1:2:3.50` as `01:02:03.5`.
fn time_of_day(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let mut part = |last| short_number(parts.next()?, last);
    let (hour, minute, second) = (part(23)?, part(59)?, part(59)?);
    let digits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if parts.next().is_some() || !digits {
        return None;
    }
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        some => format!(".{some}"),
    };
    Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// `+01:00`.
fn is_offset(text: &str) -> bool {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    text.len() == 6 && text.as_bytes()[3] == b':' && [1, 2, 4, 5].into_iter().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_read_as_the_reference_does() {
        let check = |text: &str, expected: Value| {
            let value = typed_plain(text).unwrap_or_else(|| Value::String(text.to_owned()));
            assert_eq!(value, expected, "{text}");
        };
        check("014", Value::Int(12));
        check("08", Value::Float(8.0));
        check("0x10", Value::Int(16));
        check("1_000", Value::Int(1000));
        check("1.10", Value::Float(1.1));
        check("22:22", Value::String("22:22".into()));
        check("yes", Value::String("yes".into()));
        check("-", Value::String("-".into()));
        check("1e3", Value::Float(1000.0));
        check("1.2.3", Value::String("1.2.3".into()));
        check("1e400", Value::String("1e400".into()));
        check("-1", Value::Int(-1));
        check("0", Value::Int(0));
        check("~", Value::Null);
    }

    #[test]
    fn dates_are_those_that_the_reference_knows() {
        let check = |text: &str, expected: Option<&str>| {
            let date = timestamp(text).map(|date| date.canonical);
            assert_eq!(date.as_deref(), expected, "{text}");
        };
        check("2026-11-21", Some("2026-11-21T00:00:00Z"));
        check("2026-1-1", Some("2026-01-01T00:00:00Z"));
        check("2026-1-1T1:2:3Z", Some("2026-01-01T01:02:03Z"));
        check("2026-01-01t01:02:03Z", Some("2026-01-01T01:02:03Z"));
        check(
            "2026-01-01T01:02:03.50+01:00",
            Some("2026-01-01T01:02:03.5+01:00"),
        );
        check("2026-01-01 10:00:00", Some("2026-01-01T10:00:00Z"));
        check("2024-02-29", Some("2024-02-29T00:00:00Z"));
        check("2026-02-29", None);
        check("2026-13-01", None);
        check("2026-01-01T1:2:3", None);
        check("2026-01-01T25:00:00Z", None);
        check("2026-01-01 1:2:3 +01:00", None);
        check("2026-é1-01", None);
    }

    #[test]
    fn a_tag_decides_in_quotes_too() {
        let check = |tag: &str, text: &str, expected: Result<Value, &'static str>| {
            assert_eq!(tagged(tag, text), expected, "!!{tag} {text}");
        };
        check("int", "0x1F", Ok(Value::Int(31)));
        check("int", "1.5", Err("an integer"));
        check("float", "1", Ok(Value::Float(1.0)));
        check("bool", "true", Ok(Value::Bool(true)));
        check("bool", "yes", Err("`true` or `false`"));
        check("null", "", Ok(Value::Null));
        check("str", "~", Ok(Value::String("~".into())));
        check("binary", "aGk=", Ok(Value::String("hi".into())));
        check("binary", "x", Err("a text in base64"));
        check("foo", "1", Ok(Value::String("1".into())));
    }
}
