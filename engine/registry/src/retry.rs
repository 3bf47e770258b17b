//! When to try again, and after how long.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use rand::RngExt as _;

/// Tries of one request.
pub(crate) const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Whether the answer says that a later try may do better.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before the try after `tried`: what the server says (up to a limit), else twice as long each time, with some chance so
/// that many clients do not come back at once.
pub(crate) fn wait(tried: u32, headers: Option<&HeaderMap>) -> Duration {
    if let Some(told) = headers.and_then(told) {
        return told.min(LONGEST_WAIT);
    }
    let longest = FIRST_WAIT
        .saturating_mul(1 << tried.min(10))
        .min(LONGEST_WAIT);
    longest.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3).
fn told(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let left = date.duration_since(jiff::Timestamp::now());
    Duration::try_from(left).ok().or(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_the_server_may_say_how_long() {
        for tried in 0..40 {
            let wait = wait(tried, None);
            assert!(
                wait >= FIRST_WAIT / 2 && wait <= LONGEST_WAIT,
                "{tried}: {wait:?}"
            );
        }
        let headers =
            |text: &str| HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
        assert_eq!(wait(0, Some(&headers("3"))), Duration::from_secs(3));
        assert_eq!(wait(0, Some(&headers("86400"))), LONGEST_WAIT);
        assert_eq!(
            wait(0, Some(&headers("Wed, 21 Oct 2015 07:28:00 GMT"))),
            Duration::ZERO
        );
    }
}
