//! A command written as one text: split into words as the reference does, without a shell.

use super::super::diagnostic::Diagnostic;
use super::super::node::{Node, Value};
use super::super::report::Path;
use super::Expansion;

/// Splits a command; null, lists and empty lists stay.
pub(super) fn command(node: &mut Node, path: &Path<'_>, expansion: &mut Expansion<'_, '_>) {
    let Some(text) = node
        .as_str()
        .filter(|_| !expansion.lenient)
        .map(str::to_owned)
    else {
        return;
    };
    match split(&text) {
        Ok(Words { words, stopped_at }) => {
            if let Some(at) = stopped_at {
                let span = expansion
                    .report
                    .sources()
                    .part(node.span, &text, at, text.len());
                let warning = Diagnostic::warning(
                    "command-operator",
                    format!(
                        "`{path}` is not run by a shell: everything from `{}` on is dropped",
                        &text[at..=at]
                    ),
                )
                .at(expansion.report.locate(span), "dropped")
                .help("write `[\"sh\", \"-c\", \"…\"]` to run it by a shell");
                expansion.report.push(warning);
            }
            let items = words
                .into_iter()
                .map(|word| Node::string(word, node.span))
                .collect();
            node.value = Value::List(items);
        }
        Err(at) => {
            let span = expansion
                .report
                .sources()
                .part(node.span, &text, at, at + 1);
            let problem = Diagnostic::error(
                "invalid-command",
                format!("the command in `{path}` is not balanced"),
            )
            .at(
                expansion.report.locate(span),
                "opened here and never closed",
            )
            .help("close the quote or parenthesis, or write the command as a list");
            expansion.wrong(node, problem);
        }
    }
}

struct Words {
    words: Vec<String>,
    stopped_at: Option<usize>,
}

#[derive(Default)]
struct Splitter {
    words: Vec<String>,
    word: String,
    in_word: bool,
    /// The open quote (`'`, `"`, `` ` ``, or `(` for `$(`) and where it was opened.
    open: Option<(char, usize)>,
    escaped_at: Option<usize>,
}

/// The words of a command; or where something is left open.
fn split(text: &str) -> Result<Words, usize> {
    let mut splitter = Splitter::default();
    let mut stopped_at = None;
    for (at, c) in text.char_indices() {
        if splitter.escaped_at.take().is_some() {
            splitter.push(c);
            continue;
        }
        let open = splitter.open.map(|(quote, _)| quote);
        match c {
            '\\' if open != Some('\'') => splitter.escaped_at = Some(at),
            ' ' | '\t' | '\r' | '\n' if open.is_none() => splitter.end_word(),
            '"' | '\'' if open == Some(c) => {
                splitter.open = None;
                splitter.in_word = true;
            }
            '"' | '\'' if open.is_none() || open == Some('`') => splitter.open = Some((c, at)),
            '`' if open == Some('`') => splitter.close_with(c),
            '`' if open.is_none() => splitter.open_with(c, at),
            '(' if open.is_none() && splitter.word.ends_with('$') => splitter.open_with(c, at),
            '(' if open.is_none() || open == Some('(') => return Err(at),
            ')' if open == Some('(') => splitter.close_with(c),
            ')' if open.is_none() => return Err(at),
            ';' | '&' | '|' | '<' | '>' if open.is_none() => {
                // `2>` names a file descriptor, which is no word.
                if c == '>'
                    && splitter
                        .word
                        .starts_with(|first: char| first.is_ascii_digit())
                {
                    splitter.in_word = false;
                }
                stopped_at = Some(at);
                break;
            }
            _ => splitter.push(c),
        }
    }
    if splitter.in_word {
        splitter.words.push(splitter.word);
    }
    match splitter.open.map(|(_, at)| at).or(splitter.escaped_at) {
        Some(at) => Err(at),
        None => Ok(Words {
            words: splitter.words,
            stopped_at,
        }),
    }
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.word.push(c);
        self.in_word = true;
    }

    fn open_with(&mut self, c: char, at: usize) {
        self.open = Some((c, at));
        self.push(c);
    }

    fn close_with(&mut self, c: char) {
        self.open = None;
        self.push(c);
    }

    fn end_word(&mut self) {
        if self.in_word {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
        self.word.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_split() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let got = split(text).ok().map(|words| words.words);
            let expected = expected.map(|words| {
                words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>()
            });
            assert_eq!(got, expected, "{text}");
        };
        check("a b  c", Some(&["a", "b", "c"]));
        check("a 'b c' \"d e\"", Some(&["a", "b c", "d e"]));
        check("a && b", Some(&["a"]));
        check("a\\ b", Some(&["a b"]));
        check("echo ''", Some(&["echo", ""]));
        check("a 'b", None);
        check("a (b)", None);
        check("a\nb # c", Some(&["a", "b", "#", "c"]));
        check("", Some(&[]));
        check("echo 2>&1", Some(&["echo"]));
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "[a-c'\"`\\\\$()&;>2 \né]{0,40}") {
            let _ = split(&text);
        }
    }
}
