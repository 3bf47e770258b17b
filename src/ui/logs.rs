//! Containers' output: whole lines, each behind its container's name in its colour.
//!
//! Knows nothing of where the bytes come from; one writer serves all containers of a command.

use std::collections::HashMap;

use unicode_width::UnicodeWidthStr;

use super::Ui;
use super::style::Style;
use crate::failure::Failure;

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogStyle {
    /// Put the name before each line.
    pub(crate) prefix: bool,
    /// Colour the names.
    pub(crate) color: bool,
}

/// Which of the container's streams bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Puts bytes of many containers together to prefixed lines.
#[derive(Debug)]
pub(crate) struct LogLines {
    style: LogStyle,
    names: Vec<String>,
    width: usize,
    /// The beginning of a line whose end has not come yet.
    partial: HashMap<(usize, Stream), Vec<u8>>,
}

impl LogLines {
    /// Lines of no containers so far.
    pub(crate) fn new(style: LogStyle) -> LogLines {
        LogLines {
            style,
            names: Vec::new(),
            width: 0,
            partial: HashMap::new(),
        }
    }

    /// Makes a container known; lines are padded to the longest name known.
    pub(crate) fn register(&mut self, name: &str) -> usize {
        self.width = self.width.max(name.width());
        if let Some(known) = self.names.iter().position(|n| n == name) {
            return known;
        }
        self.names.push(name.to_owned());
        self.names.len() - 1
    }

    /// The containers known so far.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes bytes of a container, gives the lines that they complete.
    pub(crate) fn feed(&mut self, container: usize, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let prefix = self.prefix(container);
        let partial = self.partial.entry((container, stream)).or_default();
        let mut lines = Vec::with_capacity(bytes.len() + prefix.len());
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let mut line = std::mem::take(partial);
            line.extend_from_slice(&rest[..end]);
            push_line(&mut lines, &prefix, &line);
            rest = &rest[end + 1..];
        }
        partial.extend_from_slice(rest);
        lines
    }

    /// Gives what is left of a container without a newline at its end.
    pub(crate) fn finish(&mut self, container: usize) -> Vec<u8> {
        let prefix = self.prefix(container);
        let mut lines = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            match self.partial.remove(&(container, stream)) {
                Some(rest) if !rest.is_empty() => push_line(&mut lines, &prefix, &rest),
                _ => {}
            }
        }
        lines
    }

    /// Whole lines of what was run in a container beside its own process, behind an arrow at its name.
    pub(crate) fn aside(&mut self, name: &str, text: &str) -> Vec<u8> {
        let label = format!("{name} ->");
        self.width = self.width.max(label.width());
        let known = self.names.iter().position(|known| known == name);
        let prefix = self.prefix_of(&label, known.unwrap_or(self.names.len()));
        let mut lines = Vec::new();
        for line in text.lines() {
            push_line(&mut lines, &prefix, line.as_bytes());
        }
        lines
    }

    /// The line that tells how a container ended.
    pub(crate) fn exited(&self, container: usize, code: i64) -> String {
        let name = &self.names[container];
        let text = format!("{name} exited with code {code}");
        if self.style.color {
            Style::Service(container).paint(&text, true)
        } else {
            text
        }
    }

    fn prefix(&self, container: usize) -> Vec<u8> {
        self.prefix_of(&self.names[container], container)
    }

    fn prefix_of(&self, name: &str, container: usize) -> Vec<u8> {
        if !self.style.prefix {
            return Vec::new();
        }
        let padded = format!("{name}{}  | ", " ".repeat(self.width - name.width()));
        Style::Service(container)
            .paint(&padded, self.style.color)
            .into_bytes()
    }
}

fn push_line(out: &mut Vec<u8>, prefix: &[u8], line: &[u8]) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(line);
    out.push(b'\n');
}

impl Ui {
    /// Prints what [`LogLines`] gave.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub(crate) fn log(&self, stream: Stream, lines: &[u8]) -> Result<(), Failure> {
        match stream {
            _ if lines.is_empty() => Ok(()),
            Stream::Stdout => self.bytes(lines),
            Stream::Stderr => self.error_bytes(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("the tests write UTF-8")
    }

    #[test]
    fn lines_are_whole_prefixed_and_padded() {
        let mut lines = LogLines::new(LogStyle {
            prefix: true,
            color: false,
        });
        let web = lines.register("web-1");
        let database = lines.register("database-1");
        assert_eq!(
            text(&lines.feed(web, Stream::Stdout, b"one\ntw")),
            "web-1       | one\n"
        );
        assert_eq!(
            text(&lines.feed(database, Stream::Stdout, b"x\n")),
            "database-1  | x\n"
        );
        assert_eq!(
            text(&lines.feed(web, Stream::Stderr, b"err\n")),
            "web-1       | err\n"
        );
        assert_eq!(
            text(&lines.feed(web, Stream::Stdout, b"o\n")),
            "web-1       | two\n"
        );
        lines.feed(web, Stream::Stdout, b"end");
        assert_eq!(text(&lines.finish(web)), "web-1       | end\n");
        assert_eq!(lines.exited(web, 3), "web-1 exited with code 3");
    }

    #[test]
    fn prefix_can_be_off() {
        let mut lines = LogLines::new(LogStyle {
            prefix: false,
            color: true,
        });
        let web = lines.register("web-1");
        assert_eq!(text(&lines.feed(web, Stream::Stdout, b"one\n")), "one\n");
    }
}
