//! Lines of Docker's json-file log: `{"log":"…\n","stream":"stdout","time":"…"}`.
//!
//! A line of [`PARTIAL_LENGTH`] bytes or more is split into entries of that length; only the last of them, which
//! carries the line's end, ends in `\n`. All parts carry the time of the first.

use crate::protocol::Timestamp;
use crate::time::write_rfc3339;

/// Bytes of a line in one entry, as Docker's copier has them.
pub const PARTIAL_LENGTH: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and the output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts one stream into entries.
#[derive(Debug)]
pub struct LineCutter {
    stream: Stream,
    pending: Vec<u8>,
    /// Time of the first part, while a line that was split goes on.
    split_since: Option<Timestamp>,
}

impl LineCutter {
    /// A cutter for a stream.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            split_since: None,
        }
    }

    /// Takes output that came at `now`; gives each finished entry, encoded with its own line end, to `entry`.
    pub fn push(&mut self, mut output: &[u8], now: Timestamp, entry: &mut impl FnMut(&[u8])) {
        let mut encoded = Vec::with_capacity(output.len() + 128);
        while !output.is_empty() {
            let room = PARTIAL_LENGTH - self.pending.len();
            let window = &output[..output.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.pending.extend_from_slice(&output[..=end]);
                let time = self.split_since.take().unwrap_or(now);
                self.flush(time, &mut encoded, entry);
                output = &output[end + 1..];
                continue;
            }
            self.pending.extend_from_slice(window);
            output = &output[window.len()..];
            if self.pending.len() == PARTIAL_LENGTH {
                self.flush_part(now, &mut encoded, entry);
            }
        }
    }

    /// The stream has ended: what is left becomes an entry without a line end.
    pub fn finish(&mut self, now: Timestamp, entry: &mut impl FnMut(&[u8])) {
        if !self.pending.is_empty() {
            let time = self.split_since.take().unwrap_or(now);
            self.flush(time, &mut Vec::new(), entry);
        }
    }

    fn flush_part(&mut self, now: Timestamp, encoded: &mut Vec<u8>, entry: &mut impl FnMut(&[u8])) {
        let time = *self.split_since.get_or_insert(now);
        self.flush(time, encoded, entry);
    }

    fn flush(&mut self, time: Timestamp, encoded: &mut Vec<u8>, entry: &mut impl FnMut(&[u8])) {
        encoded.clear();
        encode(encoded, self.stream, &self.pending, time);
        self.pending.clear();
        entry(encoded);
    }
}

fn encode(out: &mut Vec<u8>, stream: Stream, line: &[u8], time: Timestamp) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, line);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    write_rfc3339(out, time);
    out.extend_from_slice(b"\"}\n");
}

/// Docker's escapes: `<`, `>` and `&` too, and U+FFFD for what is not UTF-8.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        escape_valid(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape_valid(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let plain = !matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        if plain {
            continue;
        }
        let length = if *byte == 0xe2 {
            // U+2028 and U+2029 end lines in JavaScript.
            match bytes.get(index + 1..index + 3) {
                Some([0x80, 0xa8 | 0xa9]) => 3,
                _ => continue,
            }
        } else {
            1
        };
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + length;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[index + 2] & 0xf)]);
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const TIME: Timestamp = Timestamp(1_792_540_800_000_000_000);

    fn entries(parts: &[&[u8]]) -> Vec<String> {
        let mut cutter = LineCutter::new(Stream::Stdout);
        let mut lines = Vec::new();
        let mut entry = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        for part in parts {
            cutter.push(part, TIME, &mut entry);
        }
        cutter.finish(TIME, &mut entry);
        lines
    }

    fn check(parts: &[&[u8]], expected: &[&str]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|log| {
                format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"2026-10-21T00:00:00Z\"}}\n")
            })
            .collect();
        assert_eq!(entries(parts), expected);
    }

    #[test]
    fn lines_are_cut_at_their_ends_however_they_arrive() {
        check(&[b"one\ntwo\n"], &["one\\n", "two\\n"]);
        check(&[b"o", b"ne", b"\n", b"\n"], &["one\\n", "\\n"]);
        check(&[b"no end"], &["no end"]);
        check(&[], &[]);
    }

    #[test]
    fn what_json_and_docker_escape_is_escaped() {
        check(
            &[b"a\"b\\c\td\re\x1b[1m\n"],
            &["a\\\"b\\\\c\\u0009d\\re\\u001b[1m\\n"],
        );
        check(&[b"<a&b>\n"], &["\\u003ca\\u0026b\\u003e\\n"]);
        check(
            &["äß€\u{2028}\u{2029}\n".as_bytes()],
            &["äß€\\u2028\\u2029\\n"],
        );
        check(&[b"bad \xff\xc3\n"], &["bad \\ufffd\\ufffd\\n"]);
    }

    #[test]
    fn long_lines_are_split_like_dockers() {
        let exact = "x".repeat(PARTIAL_LENGTH);
        let mut with_end = exact.clone().into_bytes();
        with_end.push(b'\n');
        check(&[&with_end], &[&exact, "\\n"]);
        let mut longer = exact.clone().into_bytes();
        longer.extend_from_slice(b"rest\nnext\n");
        check(&[&longer], &[&exact, "rest\\n", "next\\n"]);
        let twice = "x".repeat(2 * PARTIAL_LENGTH + 3);
        check(&[twice.as_bytes()], &[&exact, &exact, "xxx"]);
    }

    proptest! {
        #[test]
        fn every_byte_is_logged_once_however_it_arrives(
            parts in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), 32_u8..127], 0..200), 0..20),
            stretch in 0_usize..3,
        ) {
            let mut parts = parts;
            parts.push(vec![b'x'; stretch * (PARTIAL_LENGTH - 7)]);
            let whole: Vec<u8> = parts.concat();
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let lines = entries(&slices);
            prop_assert_eq!(&entries(&[&whole]), &lines);
            let mut logged = Vec::new();
            for line in &lines {
                prop_assert_eq!(line.matches('\n').count(), 1, "one line for an entry");
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = value["log"].as_str().unwrap().to_owned();
                prop_assert!(text.len() <= 3 * PARTIAL_LENGTH);
                prop_assert!(!text.trim_end_matches('\n').contains('\n'));
                logged.push(text);
            }
            if whole.is_ascii() {
                prop_assert_eq!(logged.concat().into_bytes(), whole);
            }
        }
    }
}
