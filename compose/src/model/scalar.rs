//! Durations and byte sizes as Compose writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time. Written as Go does: `1m30s`, `500ms`; also `d` and `w` when read. May be negative, as in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ComposeDuration {
    nanoseconds: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration must not be empty")]
    Empty,
    /// The number before a unit is missing or malformed.
    #[error("`{0}` is not a duration: write a number and a unit, as in `90s` or `1m30s`")]
    Malformed(String),
    /// A number has no unit.
    #[error("`{0}` has no unit: write `{0}s` for seconds")]
    MissingUnit(String),
    /// The unit is not one of ns, us, ms, s, m, h, d, w.
    #[error("`{unit}` in `{text}` is not a unit of time: use ns, us, ms, s, m, h, d or w")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unknown unit.
        unit: String,
    },
    /// The value does not fit (about 292 years).
    #[error("`{0}` is too long")]
    TooLong(String),
}

impl ComposeDuration {
    /// From nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds }
    }

    /// In nanoseconds; the unit of the Engine API.
    pub const fn as_nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// As the standard type; negative spans become zero.
    pub const fn as_std(self) -> std::time::Duration {
        if self.nanoseconds <= 0 {
            return std::time::Duration::ZERO;
        }
        std::time::Duration::from_nanos(self.nanoseconds.unsigned_abs())
    }
}

impl From<ComposeDuration> for std::time::Duration {
    fn from(value: ComposeDuration) -> Self {
        value.as_std()
    }
}

const UNITS: [(&str, i64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

impl FromStr for ComposeDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, body) = match text.as_bytes().first() {
            None => return Err(DurationError::Empty),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        if body == "0" {
            return Ok(Self::default());
        }
        let mut rest = body;
        let mut total: i128 = 0;
        if rest.is_empty() {
            return Err(DurationError::Malformed(text.to_owned()));
        }
        while !rest.is_empty() {
            let (amount, remainder) = one_part(text, rest)?;
            total += amount;
            rest = remainder;
            if total > i128::from(i64::MAX) {
                return Err(DurationError::TooLong(text.to_owned()));
            }
        }
        let nanoseconds =
            i64::try_from(total).map_err(|_| DurationError::TooLong(text.to_owned()))?;
        Ok(Self {
            nanoseconds: if negative { -nanoseconds } else { nanoseconds },
        })
    }
}

/// Reads one `<number><unit>` from the front of `rest`.
fn one_part<'a>(text: &str, rest: &'a str) -> Result<(i128, &'a str), DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let number_end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, after) = rest.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(malformed());
    }
    let unit_end = after
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(after.len());
    let (unit, remainder) = after.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let Some((_, scale)) = UNITS
        .iter()
        .find(|(name, _)| *name == unit || (unit == "μs" && *name == "µs"))
    else {
        return Err(DurationError::UnknownUnit {
            text: text.to_owned(),
            unit: unit.to_owned(),
        });
    };
    let too_long = || DurationError::TooLong(text.to_owned());
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| too_long())?
    };
    let mut amount = whole.checked_mul(i128::from(*scale)).ok_or_else(too_long)?;
    let mut weight = i128::from(*scale);
    for digit in fraction.bytes().take(18) {
        // Each further digit weighs a tenth of the previous one; below a nanosecond it is dropped, as in Go.
        amount += weight * i128::from(digit - b'0') / 10;
        weight /= 10;
    }
    Ok((amount, remainder))
}

impl fmt::Display for ComposeDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.nanoseconds.unsigned_abs();
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        match nanoseconds {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanoseconds}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanoseconds, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanoseconds, 1_000_000)),
            _ => {
                let hours = nanoseconds / 3_600_000_000_000;
                let minutes = nanoseconds / 60_000_000_000 % 60;
                if hours > 0 {
                    write!(f, "{hours}h{minutes}m")?;
                } else if minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(
                    f,
                    "{}s",
                    decimal(nanoseconds % 60_000_000_000, 1_000_000_000)
                )
            }
        }
    }
}

/// `value / unit` as a decimal number without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!(
        "{whole}.{}",
        format!("{fraction:0width$}").trim_end_matches('0')
    )
}

impl Serialize for ComposeDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ComposeDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A size in bytes. Written as a decimal string in canonical form; read with the suffixes b, k, m, g, t, p (of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub i64);

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number at the front.
    #[error(
        "`{0}` is not a size: write a number of bytes, or a number and a unit, as in `512m` or `1.5gb`"
    )]
    Malformed(String),
    /// The unit is unknown.
    #[error(
        "`{unit}` in `{text}` is not a unit of size: use b, k, m, g, t or p (also kb, kib, mb, …)"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unknown unit.
        unit: String,
    },
    /// The value does not fit 63 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl ByteSize {
    /// In bytes; -1 means "no limit" where an attribute allows it.
    pub const fn bytes(self) -> i64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-1" {
            return Ok(Self(-1));
        }
        let malformed = || SizeError::Malformed(text.to_owned());
        // The unit is what follows the last digit, point or space.
        let last = text
            .rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))
            .ok_or_else(malformed)?;
        let (number, unit) = text.split_at(last + 1);
        let number = number.strip_suffix(' ').unwrap_or(number);
        let digits = without_underscores(number).ok_or_else(malformed)?;
        let value: f64 = digits.parse().map_err(|_| malformed())?;
        if !value.is_finite() || value < 0.0 {
            return Err(malformed());
        }
        let power = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => {
                return Err(SizeError::UnknownUnit {
                    text: text.to_owned(),
                    unit: unit.to_owned(),
                });
            }
        };
        if let (0, Ok(whole)) = (power, digits.parse()) {
            return Ok(Self(whole));
        }
        let bytes = value * 1024_f64.powi(power);
        if bytes >= 9.2e18 {
            return Err(SizeError::TooLarge(text.to_owned()));
        }
        Ok(Self(bytes as i64))
    }
}

/// A number without the underscores that Go takes between two digits; none if one is elsewhere.
fn without_underscores(number: &str) -> Option<String> {
    let bytes = number.as_bytes();
    let digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    let between = |(at, _): (usize, &str)| digit(at.checked_sub(1)) && digit(Some(at + 1));
    let right = number.match_indices('_').all(between);
    right.then(|| number.replace('_', ""))
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < -1 {
            // As a text it would be refused.
            return serializer.serialize_i64(self.0);
        }
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl de::Visitor<'_> for SizeVisitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, as in `512m`")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                let size = i64::try_from(value).map(ByteSize);
                size.map_err(|_| de::Error::custom(SizeError::TooLarge(value.to_string())))
            }
            // The reference reads YAML floats here as zero; a fraction of a byte has no better meaning.
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<ByteSize, E> {
                Ok(ByteSize(0))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        let check = |text: &str, expected: Result<&str, ()>| {
            let got = text
                .parse::<ComposeDuration>()
                .map(|value| value.to_string())
                .map_err(|_| ());
            assert_eq!(got, expected.map(str::to_owned), "{text}");
        };
        check("90s", Ok("1m30s"));
        check("1d", Ok("24h0m0s"));
        check("1.5s", Ok("1.5s"));
        check("100us", Ok("100µs"));
        check("-2s", Ok("-2s"));
        check("1h2m3s4ms", Ok("1h2m3.004s"));
        check("0", Ok("0s"));
        check("10", Err(()));
        check("", Err(()));
        check("1S", Err(()));
        check("1 s", Err(()));
        check("999999999999w", Err(()));
        check("..s", Err(()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_handled(text in "[0-9.\\-+ a-zµ]{0,24}") {
            let duration = text.parse::<ComposeDuration>();
            if let Ok(duration) = duration {
                let _ = (duration.to_string(), duration.as_std());
            }
            let _ = text.parse::<ByteSize>();
        }
    }

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(
                text.parse::<ByteSize>().ok().map(ByteSize::bytes),
                expected,
                "{text}"
            );
        };
        check("1024", Some(1024));
        check("1k", Some(1024));
        check("1.5g", Some(1_610_612_736));
        check("50 MiB", Some(52_428_800));
        check("1b", Some(1));
        check("x", None);
        check("1z", None);
        check("", None);
        check("99999999999999999999", None);
        check("1e3", Some(1000));
        check("-5", None);
        check("1kk", None);
        check("1_000k", Some(1_024_000));
        check("_1k", None);
        check("1__0k", None);
        check("1_k", None);
        check("5 gb", Some(5_368_709_120));
        check(" 5", None);
    }
}
