//! Durations as Go writes them: `1h2m3.5s`, in nanoseconds.

/// Units and their lengths in nanoseconds; longer names first, so that `ms` is not `m`.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Nanoseconds of a Go duration, or Go's words for what is wrong.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("time: missing unit in duration {text:?}"))?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let (unit, length) = UNITS
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))
            .ok_or_else(|| {
                let end = rest
                    .find(|c: char| c.is_ascii_digit() || c == '.')
                    .unwrap_or(rest.len());
                format!("time: unknown unit {:?} in duration {text:?}", &rest[..end])
            })?;
        total += number * length;
        rest = &rest[unit.len()..];
    }
    if total > 9.2e18 {
        return Err(invalid());
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "checked against the range above"
    )]
    let nanoseconds = total.round() as i64;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

/// A duration as Go shows it.
pub(crate) fn show(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    // Thousandths of a unit, without the noughts at the end.
    let fraction = |whole: u64, rest: u64, digits: usize| {
        let text = format!("{whole}.{rest:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(total / 1_000, total % 1_000, 3)),
        1_000_000..1_000_000_000 => {
            format!("{}ms", fraction(total / 1_000_000, total % 1_000_000, 6))
        }
        _ => {
            let seconds = total / 1_000_000_000;
            let rest = fraction(seconds % 60, total % 1_000_000_000, 9);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        assert_eq!(parse("1m30s"), Ok(90_000_000_000));
        assert_eq!(parse("1.5ms"), Ok(1_500_000));
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("-2h"), Ok(-7_200_000_000_000));
        for text in ["0s", "5ns", "1.5ms", "2µs", "1m0s", "1h0m2.5s", "-3s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        for bad in ["", "5", "1x", "s", "-", "1..2s"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
