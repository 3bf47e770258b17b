//! What a plain YAML scalar means, by the rules of the reference's reader: YAML 1.2 words for booleans, YAML 1.1
//! octals (`014` is 12), underscores in numbers, dates as timestamps.

use super::node::Value;

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
    if is_timestamp(text) {
        return Some(Value::Timestamp(text.to_owned()));
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
    text.parse().ok().map(Value::Float)
}

/// `2026-11-21`, also with a time of day.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut parts = date.split('-').skip(1);
    let in_range = |part: Option<&str>, last: u32| {
        part.is_some_and(|part| {
            part.len() <= 2 && part.parse::<u32>().is_ok_and(|n| (1..=last).contains(&n))
        })
    };
    let is_date =
        in_range(parts.next(), 12) && in_range(parts.next(), 31) && parts.next().is_none();
    let is_time =
        |time: &str| time.split(':').count() >= 3 && time.starts_with(|c: char| c.is_ascii_digit());
    is_date && time.is_none_or(is_time)
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
        check("2026-11-21", Value::Timestamp("2026-11-21".into()));
        check("-1", Value::Int(-1));
        check("0", Value::Int(0));
        check("~", Value::Null);
    }
}
