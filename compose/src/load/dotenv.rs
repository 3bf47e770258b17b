//! The grammar of `.env` files and `env_file`s.
//!
//! ```text
//! statement  = ["export" space] KEY ("=" | ":") value | KEY | "#" comment
//! value      = 'literal' | "escapes and $VARIABLES" | text up to " #" or the end of the line, with $VARIABLES
//! ```

use indexmap::IndexMap;

use super::diagnostic::Diagnostic;
use super::template::{self, TemplateError, Used, substitute};

/// Looks up a variable from outside the file.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with a file, and the bytes that are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DotenvError {
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: &'static str,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A parsed file.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Variables in order; a later one replaces an earlier one.
    pub(crate) variables: IndexMap<String, String>,
    /// Where each was written, in bytes.
    pub(crate) places: IndexMap<String, (usize, usize)>,
    /// Variables that were used without a value, and the bytes of the values that use them.
    pub(crate) missing: Vec<(String, (usize, usize))>,
    /// The warnings about them, with their places.
    pub(crate) warnings: Vec<Diagnostic>,
    /// Bytes of all values that were read.
    pub(crate) size: usize,
}

/// All values together are no longer than this, in bytes.
const LONGEST: usize = 2 * template::LONGEST;
const TOO_LONG: &str = "the values of these variables are too long";

/// Parses a file in the dotenv grammar. `outer` wins over the file's own variables when values are expanded.
pub(crate) fn parse(text: &str, outer: Lookup<'_>, parsed: &mut Parsed) -> Result<(), DotenvError> {
    let mut at = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    while let Some(start) = next_statement(text, at) {
        at = statement(text, start, outer, parsed)?;
    }
    Ok(())
}

/// Parses a file of literal `KEY=VALUE` lines.
pub(crate) fn parse_raw(
    text: &str,
    outer: Lookup<'_>,
    parsed: &mut Parsed,
) -> Result<(), DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (line_start, content) = (start, line.trim_end_matches('\n'));
        start += line.len();
        let content = content.strip_suffix('\r').unwrap_or(content).trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (key, value) = content
            .split_once('=')
            .map_or((content, None), |(key, value)| (key, Some(value)));
        if key.contains(char::is_whitespace) || key.is_empty() {
            let (message, help) = if key.is_empty() {
                (
                    "the name before `=` is missing".to_owned(),
                    "write `NAME=value`, or `#` before a comment",
                )
            } else {
                (
                    format!("`{key}` is not a name of a variable: names hold no white space"),
                    "remove the space, or write `#` before a comment",
                )
            };
            return Err(DotenvError {
                message,
                help,
                start: line_start,
                end: line_start + line.trim_end().len(),
            });
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| outer(key)) {
            parsed.variables.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

/// The first byte of the next statement: white space and comment lines are passed over.
fn next_statement(text: &str, mut at: usize) -> Option<usize> {
    loop {
        let rest = text.get(at..)?;
        at += rest.find(|c: char| !c.is_whitespace())?;
        if !text[at..].starts_with('#') {
            return Some(at);
        }
        at += text[at..].find('\n')?;
    }
}

/// A space that does not end the line.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

fn line_end(text: &str, start: usize) -> usize {
    text[start..]
        .find('\n')
        .map_or(text.len(), |newline| start + newline)
}

fn statement(
    text: &str,
    start: usize,
    outer: Lookup<'_>,
    parsed: &mut Parsed,
) -> Result<usize, DotenvError> {
    let mut key_start = start;
    if let Some(rest) = text[start..].strip_prefix("export")
        && rest.starts_with(char::is_whitespace)
    {
        key_start = text.len() - rest.trim_start_matches(is_blank).len();
    }
    let (key_end, separator) = key_end(text, key_start)?;
    let key = text[key_start..key_end].trim_end();
    if key.contains(' ') {
        let message = format!("`{key}` is not a name of a variable: names hold no space");
        return Err(DotenvError {
            message,
            help: "remove the space, or write `#` before a comment",
            start: key_start,
            end: key_start + key.len(),
        });
    }
    let Some(separator) = separator else {
        if let Some(value) = outer(key) {
            parsed.variables.insert(key.to_owned(), value);
        }
        return Ok((key_end + 1).min(text.len()));
    };
    let value_start = key_end + separator.len_utf8();
    let value_start = text.len() - text[value_start..].trim_start_matches(is_blank).len();
    let (value, next) = match text.as_bytes().get(value_start) {
        Some(b'"') => {
            let (value, next) = quoted(text, value_start, '"')?;
            (
                expand(&unescape(&value), (value_start, next), outer, parsed)?,
                next,
            )
        }
        Some(b'\'') => quoted(text, value_start, '\'')?,
        _ => {
            let end = line_end(text, value_start);
            let line = &text[value_start..end];
            let value = line.split(" #").next().unwrap_or_default().trim_end();
            (
                expand(value, (value_start, end), outer, parsed)?,
                (end + 1).min(text.len()),
            )
        }
    };
    parsed.size += value.len();
    if parsed.size > LONGEST {
        return Err(DotenvError {
            message: TOO_LONG.to_owned(),
            help: "shorten them",
            start: key_start,
            end: key_end,
        });
    }
    parsed.places.insert(key.to_owned(), (key_start, key_end));
    parsed.variables.insert(key.to_owned(), value);
    Ok(next)
}

/// Where the key ends, and the separator there; none when the line holds only a key.
fn key_end(text: &str, start: usize) -> Result<(usize, Option<char>), DotenvError> {
    for (offset, c) in text[start..].char_indices() {
        match c {
            '=' | ':' => return Ok((start + offset, Some(c))),
            '\n' => return Ok((start + offset, None)),
            '_' | '.' | '-' | '[' | ']' => {}
            c if is_blank(c) || c.is_alphanumeric() => {}
            c => {
                let end = line_end(text, start);
                let message = format!(
                    "unexpected character {c:?} in variable name {:?}",
                    &text[start..end]
                );
                return Err(DotenvError {
                    message,
                    help: "write `NAME=value`, the name of letters, digits, `_`, `.` and `-`",
                    start: start + offset,
                    end: start + offset + c.len_utf8(),
                });
            }
        }
    }
    Ok((text.len(), None))
}

/// The text between quotes, still with its escapes but for escaped quotes; and what follows.
fn quoted(text: &str, start: usize, quote: char) -> Result<(String, usize), DotenvError> {
    let mut value = String::new();
    let mut escaped = false;
    for (offset, c) in text[start + 1..].char_indices() {
        if escaped {
            escaped = false;
            if c != quote {
                value.push('\\');
            }
            value.push(c);
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Ok((value, start + 1 + offset + c.len_utf8()));
        } else {
            value.push(c);
        }
    }
    let message = "this quoted value has no closing quote".to_owned();
    Err(DotenvError {
        message,
        help: "close it, or put a value that holds quotes into the other kind of quotes",
        start,
        end: line_end(text, start),
    })
}

/// Shell escapes of a double-quoted value; `\$` becomes the grammar's own `$$`.
fn unescape(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        output.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (replacement, length) = match after.as_bytes().first() {
            Some(b'a') => ("\u{7}".to_owned(), 1),
            Some(b'b') => ("\u{8}".to_owned(), 1),
            Some(b'c') => ("\\c".to_owned(), 1),
            Some(b'f') => ("\u{c}".to_owned(), 1),
            Some(b'n') => ("\n".to_owned(), 1),
            Some(b'r') => ("\r".to_owned(), 1),
            Some(b't') => ("\t".to_owned(), 1),
            Some(b'v') => ("\u{b}".to_owned(), 1),
            Some(b'$') => ("$$".to_owned(), 1),
            Some(b'"') => ("\"".to_owned(), 1),
            Some(b'\\') => ("\\".to_owned(), 1),
            Some(b'0') => octal(after),
            _ => ("\\".to_owned(), 0),
        };
        output.push_str(&replacement);
        rest = &after[length..];
    }
    output.push_str(rest);
    output
}

/// `0ooo`: the character with that octal number, when all three digits are there.
fn octal(text: &str) -> (String, usize) {
    let digits: String = text[1..]
        .chars()
        .take(3)
        .take_while(char::is_ascii_digit)
        .collect();
    let code = if digits.len() == 3 {
        u8::from_str_radix(&digits, 8).ok()
    } else {
        None
    };
    match code {
        Some(code) => (char::from(code).to_string(), 4),
        None => ("\\".to_owned(), 0),
    }
}

fn expand(
    value: &str,
    place: (usize, usize),
    outer: Lookup<'_>,
    parsed: &mut Parsed,
) -> Result<String, DotenvError> {
    if !value.contains('$') {
        return Ok(value.to_owned());
    }
    let mut used = Used::default();
    let lookup = |name: &str| outer(name).or_else(|| parsed.variables.get(name).cloned());
    let result = substitute(value, &lookup, &mut used);
    parsed
        .missing
        .extend(used.missing.into_iter().map(|(name, ..)| (name, place)));
    result.map_err(|error| {
        let (message, help) = match error {
            TemplateError::Malformed { start, end } => (
                format!(
                    "`{}` is not a variable",
                    value.get(start..end).unwrap_or(value)
                ),
                "write `${NAME}`; for a dollar sign `$$`, or put the value into single quotes",
            ),
            TemplateError::Required { name, message, .. } => (
                format!("required variable {name} is missing a value: {message}"),
                "set it in the environment, or further up in an env file",
            ),
            TemplateError::TooDeep => (
                "variables are nested too deeply".to_owned(),
                "write fewer levels",
            ),
            TemplateError::TooLong => (TOO_LONG.to_owned(), "shorten them"),
        };
        DotenvError {
            message,
            help,
            start: place.0,
            end: place.1,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(text: &str) -> Result<Vec<(String, String)>, String> {
        let outer = |name: &str| (name == "OUT").then(|| "out".to_owned());
        let mut parsed = Parsed::default();
        parse(text, &outer, &mut parsed).map_err(|error| error.message)?;
        Ok(parsed.variables.into_iter().collect())
    }

    #[test]
    fn files_are_read() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let got = run(text).expect(text);
            let got: Vec<(&str, &str)> =
                got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(got, expected, "{text}");
        };
        check("A=1\n# c\n\nB = 2 # c\n", &[("A", "1"), ("B", "2")]);
        check("export A='x $OUT'", &[("A", "x $OUT")]);
        check("A=\"x ${OUT}\\n\\$y\"", &[("A", "x out\n$y")]);
        check("A=a\nB=$A$OUT", &[("A", "a"), ("B", "aout")]);
        check("OUT\nNONE\n", &[("OUT", "out")]);
        check("A: yaml", &[("A", "yaml")]);
        check("A='multi\nline'\nB=x", &[("A", "multi\nline"), ("B", "x")]);
        check("A=\u{e9}#no", &[("A", "\u{e9}#no")]);
        check("A=", &[("A", "")]);
    }

    #[test]
    fn wrong_files_are_refused() {
        assert!(run("A B=1").is_err());
        assert!(run("A!=1").is_err());
        assert!(run("A='x").is_err());
        assert!(run("A=${x y}").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "[A-C=:'\"\\\\$#\\{\\} \n\té0]{0,80}") {
            let _ = run(&text);
            let mut parsed = Parsed::default();
            let _ = parse_raw(&text, &|_| None, &mut parsed);
        }
    }
}
