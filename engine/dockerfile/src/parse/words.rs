//! The parts of a logical line: keyword, flags, and words in the ways the instructions split them.

use std::ops::Range;

/// A part of a line, and where in the line it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) range: Range<usize>,
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) keyword: Word,
    /// `--flags`, quotes and escapes removed.
    pub(super) flags: Vec<Word>,
    /// The rest, blanks at both ends removed.
    pub(super) rest: Word,
}

/// Blanks that separate an instruction's parts; not the line feed, which cannot be in a line.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// A stretch of a text without the blanks at both ends.
fn trimmed(text: &str, range: Range<usize>) -> Word {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let part = part.trim();
    Word {
        text: part.to_owned(),
        range: start..start + part.len(),
    }
}

/// Splits a line into keyword, flags and the rest.
pub(super) fn split_line(line: &str, escape: char) -> Parts {
    let whole = trimmed(line, 0..line.len());
    let length = whole.text.find(is_blank).unwrap_or(whole.text.len());
    let end = whole.range.start + length;
    let keyword = Word {
        text: whole.text[..length].to_owned(),
        range: whole.range.start..end,
    };
    let (flags, at) = flags(&line[..whole.range.end], end, escape);
    Parts {
        keyword,
        flags,
        rest: trimmed(line, at..whole.range.end),
    }
}

/// The words that begin with `--`, and where what follows begins.
fn flags(line: &str, mut at: usize, escape: char) -> (Vec<Word>, usize) {
    let mut words = Vec::new();
    loop {
        at += line[at..].len() - line[at..].trim_start().len();
        if !line[at..].starts_with("--") {
            return (words, at);
        }
        let (text, end) = flag(line, at, escape);
        if text == "--" {
            return (words, end);
        }
        words.push(Word {
            text,
            range: at..end,
        });
        at = end;
    }
}

/// One flag from where it begins, quotes and escapes removed, and where it ends.
fn flag(line: &str, start: usize, escape: char) -> (String, usize) {
    let mut text = String::new();
    let mut quote = None;
    let mut chars = line[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (text, start + at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(own) if c == own => quote = None,
            _ if c == escape => text.extend(chars.next().map(|(_, c)| c)),
            _ => text.push(c),
        }
    }
    (text, line.len())
}

/// Words between blanks; quotes mean nothing.
pub(super) fn split_blanks(word: &Word) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in word.text.char_indices() {
        match (is_blank(c), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                words.push(part(word, from..at));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        words.push(part(word, from..word.text.len()));
    }
    words
}

/// Words between blanks outside quotes; quotes and escapes stay.
pub(super) fn split_quoted(word: &Word, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = word.text.char_indices();
    while let Some((at, c)) = chars.next() {
        if start.is_none() {
            if c.is_whitespace() {
                continue;
            }
            start = Some(at);
        }
        match quote {
            None if c.is_whitespace() => {
                words.extend(start.take().map(|from| part(word, from..at)));
            }
            // Nothing is escaped within single quotes.
            _ if c == escape && quote != Some('\'') => {
                chars.next();
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(own) if c == own => quote = None,
            _ => {}
        }
    }
    if let Some(from) = start {
        let mut last = part(word, from..word.text.len());
        // An escape at the very end escapes nothing.
        if dangling(&last.text, escape) {
            last.text.pop();
        }
        words.push(last);
    }
    words.retain(|word| !word.text.is_empty());
    words
}

/// Whether a word ends in an escape that is not itself escaped.
fn dangling(text: &str, escape: char) -> bool {
    let length = text.chars().rev().take_while(|c| *c == escape).count();
    length % 2 == 1
}

/// A part of a word.
pub(super) fn part(word: &Word, range: Range<usize>) -> Word {
    Word {
        text: word.text[range.clone()].to_owned(),
        range: word.range.start + range.start..word.range.start + range.end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    fn word(text: &str) -> Word {
        Word {
            text: text.to_owned(),
            range: 0..text.len(),
        }
    }

    #[test]
    fn a_line_has_keyword_flags_and_rest() {
        let line = r#"  COPY --from=a --chown="x y" -- --not-a-flag b  "#;
        let parts = split_line(line, '\\');
        assert_eq!(parts.keyword.text, "COPY");
        assert_eq!(texts(&parts.flags), ["--from=a", "--chown=x y"]);
        assert_eq!(parts.rest.text, "--not-a-flag b");
        assert_eq!(&line[parts.flags[0].range.clone()], "--from=a");
        assert_eq!(&line[parts.rest.range], "--not-a-flag b");
    }

    #[test]
    fn quotes_hold_words_together() {
        let words = split_quoted(&word(r#"a="b c" d='e f' g=\ h "" i\"#), '\\');
        assert_eq!(
            texts(&words),
            [r#"a="b c""#, "d='e f'", r"g=\ h", r#""""#, "i"]
        );
        assert_eq!(texts(&split_blanks(&word("a\t 'b c'"))), ["a", "'b", "c'"]);
    }

    proptest! {
        #[test]
        fn words_are_where_they_say(line in "[a-z\"'\\\\ =-]{0,40}") {
            let parts = split_line(&line, '\\');
            prop_assert_eq!(&line[parts.rest.range.clone()], &parts.rest.text);
            for word in split_blanks(&parts.rest) {
                prop_assert_eq!(&line[word.range.clone()], &word.text);
            }
            for word in split_quoted(&parts.rest, '\\') {
                prop_assert!(line[word.range.clone()].starts_with(&word.text));
            }
        }
    }
}
