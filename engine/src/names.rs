//! Container names: Docker's rule, random ones, and the way people name containers.

use hoist_api::error::{ApiError, Result};

const LEFT: &[&str] = &[
    "able", "amber", "brave", "brisk", "calm", "clear", "clever", "cosy", "deft", "eager", "early",
    "fair", "fleet", "fond", "gentle", "glad", "grand", "happy", "hardy", "keen", "kind", "lively",
    "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "plain", "proud", "quick",
    "quiet", "ready", "sharp", "sound", "steady", "stout", "sunny", "swift", "tidy", "trim",
    "true", "vivid", "warm", "wise",
];
const RIGHT: &[&str] = &[
    "anchor", "barge", "beam", "block", "boom", "bridge", "buoy", "cable", "capstan", "chain",
    "crane", "davit", "deck", "derrick", "dock", "gantry", "girder", "hawser", "hook", "jetty",
    "jib", "keel", "ladder", "lever", "lift", "mast", "pallet", "pier", "pulley", "quay",
    "ratchet", "rope", "shackle", "sheave", "sling", "spar", "tackle", "tower", "trolley", "wharf",
    "winch", "yard",
];

/// Two words, as `swift_winch`; from the third attempt on with a digit.
pub(crate) fn random_name(attempt: u32) -> String {
    let pick = |words: &[&'static str]| words[rand::random_range(0..words.len())];
    let digit = if attempt > 1 {
        rand::random_range(0..10_u8).to_string()
    } else {
        String::new()
    };
    format!("{}_{}{digit}", pick(LEFT), pick(RIGHT))
}

/// A new random id of 64 hexadecimal digits.
pub(crate) fn random_id() -> [u8; 32] {
    rand::random()
}

/// Checks a name, without a leading `/`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

/// Checks a network's name.
pub(crate) fn check_network_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(ApiError::bad_request("invalid network name: name is empty"));
    }
    if name.len() > 255 || name.contains('/') || name.chars().any(char::is_control) {
        return Err(ApiError::bad_request(format!(
            "invalid network name \"{name}\""
        )));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    name.len() >= 2
        && name.bytes().next().is_some_and(word)
        && name
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "shop-web-1", "0.a_b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", ".ab", "a/b", "a b", "ä1"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for attempt in 0..4 {
            assert!(check_name(&random_name(attempt)).is_ok());
        }
    }
}
