//! Wall-clock time, written as RFC 3339 without a calendar library.

use crate::protocol::Timestamp;

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// The time now.
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp(time.tv_sec * NANOS + time.tv_nsec)
}

/// Appends `2026-11-21T23:31:30.123456789Z`: UTC, without trailing zeros in the fraction, as Go writes it.
pub fn write_rfc3339(out: &mut Vec<u8>, time: Timestamp) {
    let (seconds, nanos) = (time.0.div_euclid(NANOS), time.0.rem_euclid(NANOS));
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    digits(out, year, 4);
    for (separator, value) in [
        (b'-', month),
        (b'-', day),
        (b'T', of_day / 3600),
        (b':', of_day / 60 % 60),
        (b':', of_day % 60),
    ] {
        out.push(separator);
        digits(out, value, 2);
    }
    if nanos != 0 {
        out.push(b'.');
        digits(out, nanos, 9);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

fn digits(out: &mut Vec<u8>, mut value: i64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10).to_le_bytes()[0];
        value /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01 (proleptic Gregorian): Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let check = |nanos: i64, expected: &str| {
            let mut out = Vec::new();
            write_rfc3339(&mut out, Timestamp(nanos));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400 * NANOS, "2000-02-29T00:00:00Z");
        check(
            1_709_251_199 * NANOS + 999_999_999,
            "2024-02-29T23:59:59.999999999Z",
        );
        check(
            1_795_217_490 * NANOS + 120_000_000,
            "2026-11-20T23:31:30.12Z",
        );
        check(-1, "1969-12-31T23:59:59.999999999Z");
    }
}
