//! Heredocs: which words of a line announce one, and the lines up to their terminator.

use crate::expand::{Lexer, Nothing};
use crate::instruction::Heredoc;
use crate::span::Source;

use super::lines::Lines;

/// The heredocs that a line announces, still empty.
pub(super) fn announced(line: &str) -> Vec<Heredoc> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let lexer = Lexer {
        keep_quotes: true,
        keep_escapes: true,
        keep_unset: true,
        ..Lexer::new('\\')
    };
    lexer
        .expand(line, &Nothing)
        .map(|expanded| {
            expanded
                .words
                .iter()
                .filter_map(|word| parse_word(word))
                .collect()
        })
        .unwrap_or_default()
}

/// `3<<-"EOF"`: a heredoc's word, if it is one.
pub(crate) fn parse_word(word: &str) -> Option<Heredoc> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let plain = Lexer {
        keep_unset: true,
        ..Lexer::new('\\')
    };
    let quoted = Lexer {
        keep_quotes: true,
        ..plain
    };
    let [name] = <[String; 1]>::try_from(plain.expand(rest, &Nothing).ok()?.words).ok()?;
    let raw = quoted.expand(rest, &Nothing).ok()?.text;
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Some(Heredoc {
        expand: quotes(&name) == quotes(&raw),
        name,
        chomp,
        descriptor: word[..digits].parse().unwrap_or(0),
        content: String::new(),
    })
}

/// A heredoc that never ends.
#[derive(Debug)]
pub(super) struct Unterminated {
    pub(super) name: String,
}

/// Reads the heredocs' lines. Returns where the last one ends in the file.
pub(super) fn read(
    heredocs: &mut [Heredoc],
    lines: &mut Lines<'_>,
    source: &Source<'_>,
) -> Result<Option<usize>, Unterminated> {
    let mut end = None;
    for heredoc in heredocs {
        loop {
            let Some((at, raw)) = lines.next_raw() else {
                return Err(Unterminated {
                    name: heredoc.name.clone(),
                });
            };
            end = Some((at + raw.len()).min(source.text.len()));
            let mut line = raw.trim_end_matches(['\r', '\n']);
            if heredoc.chomp {
                line = line.trim_start_matches('\t');
            }
            if line == heredoc.name {
                break;
            }
            heredoc.content.push_str(raw);
        }
    }
    Ok(end)
}
