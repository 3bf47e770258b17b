//! Detach keys: the sequence on a terminal's input that ends the connection and leaves the process running.

use hoist_api::error::{ApiError, Result};

/// Ctrl-p, then ctrl-q.
const USUAL: [u8; 2] = [16, 17];

/// Looks for the sequence in what a client types.
#[derive(Debug, Clone)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of the keys the last bytes were; they are held back.
    seen: usize,
}

impl DetachKeys {
    /// Reads the words of Docker's clients: single characters, `ctrl-` with a letter or one of `@[\]^_`, `DEL`; separated by commas.
    /// Empty: ctrl-p, ctrl-q.
    ///
    /// # Errors
    /// 400 with the word that is none of these.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let keys = if text.is_empty() {
            USUAL.to_vec()
        } else {
            text.split(',').map(key).collect::<Result<_>>()?
        };
        Ok(Self { keys, seen: 0 })
    }

    /// What of these bytes is for the process; none once the sequence is complete.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.keys.get(self.seen) != Some(byte) && self.seen > 0 {
                passed.extend_from_slice(&self.keys[..self.seen]);
                self.seen = 0;
            }
            if self.keys.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return None;
                }
            } else {
                passed.push(*byte);
            }
        }
        Some(passed)
    }
}

fn key(word: &str) -> Result<u8> {
    let unknown =
        || ApiError::bad_request(format!("invalid detach keys: Unknown character: '{word}'"));
    if let [byte] = word.as_bytes() {
        return Ok(*byte);
    }
    if word == "DEL" {
        return Ok(127);
    }
    match word.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some([b'@']) => Ok(0),
        Some([sign @ b'['..=b'_']) => Ok(sign - b'[' + 27),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &str, typed: &[&str], expected: Option<&str>) {
        let mut keys = DetachKeys::parse(keys).unwrap();
        let mut passed = Vec::new();
        for piece in typed {
            match keys.pass(piece.as_bytes()) {
                Some(piece) => passed.extend(piece),
                None => {
                    assert_eq!(expected, None, "{typed:?}");
                    return;
                }
            }
        }
        assert_eq!(
            expected,
            Some(String::from_utf8(passed).unwrap().as_str()),
            "{typed:?}"
        );
    }

    #[test]
    fn sequences_are_found_across_reads() {
        check("", &["abc"], Some("abc"));
        check("", &["a\x10", "\x11"], None);
        check("", &["a\x10", "b\x11"], Some("a\x10b\x11"));
        check("", &["\x10\x10\x11"], None);
        check("ctrl-a,x", &["\x01y\x01", "x"], None);
        check("a", &["ba"], None);
        check("ctrl-[", &["\x1b"], None);
    }

    #[test]
    fn words_that_are_no_keys_are_refused() {
        for bad in ["ctrl-A1", "ctrl-", "ab", "ctrl-p,,"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
