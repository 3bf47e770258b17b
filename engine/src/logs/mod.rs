//! Reading json-file logs: `{"log":"…\n","stream":"stdout","time":"…"}`, one a line, in `<path>` and its rotated
//! predecessors `<path>.1` (newer) to `<path>.N` (older). Shims write them; nothing here does.

pub(crate) mod details;
pub(crate) mod follow;
mod tail;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use hoist_api::frame::{self, Stream};
use jiff::Timestamp;
use serde::Deserialize;

/// What to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// Without frames, as for containers with a terminal.
    pub(crate) raw: bool,
    /// Told before each line ([`details`]).
    pub(crate) details: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    time: std::borrow::Cow<'a, str>,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// Appended, or left out by the selection.
    Done,
    /// It is past `until`: nothing more is wanted.
    Past,
}

impl Selection {
    /// Appends a line as the wire carries it. A line that is not one of ours is left out.
    pub(crate) fn encode(&self, line: &[u8], out: &mut BytesMut) -> Encoded {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            return Encoded::Done;
        };
        let (stream, wanted) = if line.stream == "stderr" {
            (Stream::Stderr, self.stderr)
        } else {
            (Stream::Stdout, self.stdout)
        };
        if self.since.is_some() || self.until.is_some() {
            let time: Option<Timestamp> = line.time.parse().ok();
            if self
                .until
                .zip(time)
                .is_some_and(|(until, time)| time > until)
            {
                return Encoded::Past;
            }
            if self
                .since
                .zip(time)
                .is_some_and(|(since, time)| time < since)
            {
                return Encoded::Done;
            }
        }
        if !wanted {
            return Encoded::Done;
        }
        let mut text = line.log;
        if let Some(details) = &self.details {
            text = format!("{details} {text}").into();
        }
        if self.timestamps {
            text = format!("{} {text}", padded(&line.time)).into();
        }
        if self.raw {
            out.extend_from_slice(text.as_bytes());
        } else {
            frame::encode_into(out, stream, text.as_bytes());
        }
        Encoded::Done
    }
}

/// RFC 3339 with all nine digits of the fraction, as `docker logs -t` prints it.
fn padded(time: &str) -> String {
    let Some(body) = time.strip_suffix('Z') else {
        return time.to_owned();
    };
    let (seconds, fraction) = body.split_once('.').unwrap_or((body, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

/// The files of a log, oldest first, with the first byte to read of each.
pub(crate) fn files(path: &Path, tail: Option<u64>) -> io::Result<Vec<(File, u64)>> {
    let (mut found, mut opened) = (Vec::new(), None);
    let mut wanted = tail;
    for number in 0.. {
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let mut file = match File::open(&name) {
            Ok(file) => file,
            // Nothing was said yet, or it is being rotated.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let same = (metadata.dev(), metadata.ino());
        // A rotation meanwhile has given the one before this name.
        if opened.replace(same) == Some(same) {
            continue;
        }
        let offset = match &mut wanted {
            None => 0,
            Some(wanted) => {
                let (offset, lines) = tail::start_of_last(&mut file, *wanted)?;
                *wanted -= lines;
                offset
            }
        };
        found.push((file, offset));
        if wanted == Some(0) {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Bytes of encoded lines handed on at once.
const BATCH: usize = 64 << 10;

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The batch is full.
    Full,
    /// Every whole line is read.
    End,
    /// All that follows is past `until`.
    Past,
}

/// Encodes a file's next whole lines, one batch of them, and moves the offset behind them.
pub(crate) fn read_lines(
    file: &mut File,
    offset: &mut u64,
    selection: &Selection,
) -> io::Result<(Bytes, Stop)> {
    file.seek(SeekFrom::Start(*offset))?;
    let mut reader = BufReader::with_capacity(BATCH, file);
    let mut out = BytesMut::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        // The shim may be in the middle of writing the last line.
        if line.last() != Some(&b'\n') {
            return Ok((out.freeze(), Stop::End));
        }
        *offset += length as u64;
        if selection.encode(&line, &mut out) == Encoded::Past {
            return Ok((out.freeze(), Stop::Past));
        }
        if out.len() >= BATCH {
            return Ok((out.freeze(), Stop::Full));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const LINES: &str = "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:01.5Z\"}\n\
        {\"log\":\"two\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:02Z\"}\n\
        not json\n\
        {\"log\":\"thr\\u0065e\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:03Z\"}\n\
        {\"log\":\"torn";

    fn check(selection: &Selection, expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        File::create(&path)
            .unwrap()
            .write_all(LINES.as_bytes())
            .unwrap();
        let mut text = String::new();
        for (mut file, mut offset) in files(&path, selection.tail).unwrap() {
            let (bytes, stop) = read_lines(&mut file, &mut offset, selection).unwrap();
            assert_ne!(stop, Stop::Full);
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        assert_eq!(text, expected, "{selection:?}");
    }

    fn all() -> Selection {
        Selection {
            stdout: true,
            stderr: true,
            raw: true,
            ..Selection::default()
        }
    }

    #[test]
    fn lines_are_selected() {
        check(&all(), "one\ntwo\nthree\n");
        check(
            &Selection {
                stderr: false,
                ..all()
            },
            "one\nthree\n",
        );
        check(
            &Selection {
                since: "2026-01-01T00:00:02Z".parse().ok(),
                ..all()
            },
            "two\nthree\n",
        );
        check(
            &Selection {
                until: "2026-01-01T00:00:02Z".parse().ok(),
                ..all()
            },
            "one\ntwo\n",
        );
        check(
            &Selection {
                tail: Some(1),
                ..all()
            },
            "three\n",
        );
        check(
            &Selection {
                tail: Some(0),
                ..all()
            },
            "",
        );
        check(
            &Selection {
                timestamps: true,
                tail: Some(4),
                ..all()
            },
            "2026-01-01T00:00:01.500000000Z one\n2026-01-01T00:00:02.000000000Z two\n2026-01-01T00:00:03.000000000Z three\n",
        );
    }

    #[test]
    fn rotated_files_are_read_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let write = |name: &str, texts: &[&str]| {
            let lines: String = texts
                .iter()
                .map(|text| format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"))
                .collect();
            std::fs::write(directory.path().join(name), lines).unwrap();
        };
        write("log.2", &["a", "b"]);
        write("log.1", &["c", "d"]);
        write("log", &["e"]);
        for (tail, expected) in [
            (None, "a\nb\nc\nd\ne\n"),
            (Some(2), "d\ne\n"),
            (Some(4), "b\nc\nd\ne\n"),
            (Some(9), "a\nb\nc\nd\ne\n"),
        ] {
            let mut text = String::new();
            for (mut file, mut offset) in files(&path, tail).unwrap() {
                let (bytes, _) = read_lines(&mut file, &mut offset, &all()).unwrap();
                text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            assert_eq!(text, expected, "tail {tail:?}");
        }
    }
}
