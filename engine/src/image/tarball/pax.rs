//! PAX records: `<length> <key>=<value>\n`, of one entry or of all that follow.

use super::Timestamp;
use super::header::as_id;

/// Prefix of the records that carry extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";
const GLOBAL_LIMIT: usize = 256;

/// Records in the archive's order; a later one replaces an earlier one, except where all count (sparse maps of the first kind).
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Records {
    pub(super) fn parse(mut text: &[u8]) -> Result<Self, String> {
        let mut entries = Vec::new();
        while !text.is_empty() && text[0] != 0 {
            let (record, rest) = split_record(text).ok_or("a PAX record is malformed")?;
            entries.push(record);
            text = rest;
        }
        Ok(Self { entries })
    }

    /// Adds global records to those known before.
    pub(super) fn merge(&mut self, later: Self) -> Result<(), String> {
        // Git writes one; more than a few would make every entry that follows dear.
        if self.entries.len() + later.entries.len() > GLOBAL_LIMIT {
            return Err(format!(
                "the archive has more than {GLOBAL_LIMIT} global PAX records"
            ));
        }
        for (key, value) in later.entries {
            self.entries.retain(|(known, _)| *known != key);
            self.entries.push((key, value));
        }
        Ok(())
    }

    /// Global records with an entry's own over them.
    pub(super) fn overlaid_with(&self, own: Self) -> Self {
        if self.entries.is_empty() {
            return own;
        }
        let is_replaced = |key: &[u8]| own.entries.iter().any(|(known, _)| known == key);
        let kept = self
            .entries
            .iter()
            .filter(|(key, _)| !is_replaced(key))
            .cloned();
        Self {
            entries: kept.chain(own.entries.iter().cloned()).collect(),
        }
    }

    /// The last value of a key; an empty one means that the header's field counts.
    pub(super) fn text(&self, key: &str) -> Option<&[u8]> {
        let found = self
            .entries
            .iter()
            .rev()
            .find(|(known, _)| known == key.as_bytes());
        found
            .map(|(_, value)| value.as_slice())
            .filter(|value| !value.is_empty())
    }

    /// All values of the keys, in order, with each key's position in `keys`.
    pub(super) fn all<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.entries.iter().filter_map(|(key, value)| {
            let index = keys.iter().position(|wanted| wanted.as_bytes() == key)?;
            Some((index, value.as_slice()))
        })
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.text(key)
            .map(|text| {
                decimal(text).ok_or_else(|| format!("the PAX record {key} is not a number"))
            })
            .transpose()
    }

    pub(super) fn id(&self, key: &str) -> Result<Option<u32>, String> {
        let number = self.number(key)?;
        number
            .map(|id| as_id(id).ok_or_else(|| format!("the PAX record {key} is too large")))
            .transpose()
    }

    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>, String> {
        self.text(key)
            .map(|text| {
                timestamp(text).ok_or_else(|| format!("the PAX record {key} is not a time"))
            })
            .transpose()
    }

    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let named = |(key, value): &(Vec<u8>, Vec<u8>)| {
            Some((key.strip_prefix(XATTR)?.to_vec(), value.clone()))
        };
        self.entries.iter().filter_map(named).collect()
    }
}

type Record = (Vec<u8>, Vec<u8>);

fn split_record(text: &[u8]) -> Option<(Record, &[u8])> {
    let blank = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&text[..blank])?).ok()?;
    if length <= blank + 1 || length > text.len() || text[length - 1] != b'\n' {
        return None;
    }
    let record = &text[blank + 1..length - 1];
    let equals = record.iter().position(|byte| *byte == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((
        (record[..equals].to_vec(), record[equals + 1..].to_vec()),
        &text[length..],
    ))
}

/// Digits only: no sign, no blank.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-12.345`: seconds with a fraction, of which nine digits count.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..9).fold(0_u32, |value, index| {
        value * 10
            + fraction
                .get(index)
                .map_or(0, |digit| u32::from(digit - b'0'))
    });
    match (negative, nanoseconds) {
        (false, _) => Some(Timestamp {
            seconds,
            nanoseconds,
        }),
        (true, 0) => Some(Timestamp {
            seconds: -seconds,
            nanoseconds,
        }),
        (true, _) => Some(Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: Option<&[(&str, &str)]>) {
        let found = Records::parse(text).ok().map(|records| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            records
                .entries
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .collect::<Vec<_>>()
        });
        let expected = expected.map(|list| {
            list.iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(text));
    }

    #[test]
    fn records_are_split_by_their_lengths() {
        check(b"", Some(&[]));
        check(b"8 a=b=c\n", Some(&[("a", "b=c")]));
        check(b"6 a=b\n9 x=1\n2=\n", Some(&[("a", "b"), ("x", "1\n2=")]));
        check(b"5 a=\n", Some(&[("a", "")]));
        for bad in [
            &b"6 a=b"[..],
            b"7 a=b\n",
            b"5 a=b\n",
            b"a=b\n",
            b"99999999999999999999 a=b\n",
            b"4 =\n",
            b"3 a\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn times_have_nanoseconds_and_signs() {
        let time =
            |text: &str| timestamp(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
        assert_eq!(
            time("1700000000.123456789"),
            Some((1_700_000_000, 123_456_789))
        );
        assert_eq!(time("1.5"), Some((1, 500_000_000)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("3."), Some((3, 0)));
        assert_eq!(time("3.1234567899"), Some((3, 123_456_789)));
        assert_eq!(time("x"), None);
        assert_eq!(time("1.x"), None);
        assert_eq!(time("99999999999999999999"), None);
    }
}
