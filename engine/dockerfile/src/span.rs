//! Places in a Dockerfile.

use serde::{Deserialize, Serialize};

/// A stretch of the text, from `start` up to but without `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte in characters, from 1.
    pub column: usize,
    /// Line of the last byte, from 1.
    pub end_line: usize,
}

/// A text whose lines can be found fast.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self { text, lines }
    }

    /// The place of some bytes; trailing line ends are left out.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let start = self.floor(start);
        let end = self.floor(end.max(start));
        let end = start + self.text[start..end].trim_end_matches(['\n', '\r']).len();
        let line = self.line_of(start);
        Span {
            start,
            end,
            line: line + 1,
            column: 1 + self.text[self.lines[line]..start].chars().count(),
            end_line: 1 + self.line_of(end.saturating_sub(1).max(start)),
        }
    }

    /// The lines with where they begin, line ends included.
    pub(crate) fn physical_lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let text = self.text;
        let ends = self.lines.iter().copied().skip(1);
        let ends = ends.chain(std::iter::once(text.len()));
        let starts = self.lines.iter().copied();
        starts
            .zip(ends)
            .filter(|(start, end)| start < end)
            .map(move |(start, end)| (start, &text[start..end]))
    }

    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }

    /// The nearest character's beginning at or before a byte.
    fn floor(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
