//! From a template's text to tokens: text, and the words inside `{{ }}`.

use super::TemplateError;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A word: a keyword or a function's name.
    Word(String),
    /// `.A`, or `.` alone with an empty name. Whether blanks stand before it tells a chain from a new operand.
    Field { name: String, spaced: bool },
    /// `$a`, or `$` alone with an empty name.
    Variable(String),
    /// A string, in either quotes.
    Quoted(String),
    /// A number.
    Number(f64, bool),
    /// `|`
    Pipe,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

fn wrong(text: impl Into<String>) -> TemplateError {
    TemplateError(text.into())
}

/// Cuts a template into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some(at) = rest.find("{{") {
        let (mut before, mut inside) = (&rest[..at], &rest[at + 2..]);
        if trim {
            before = before.trim_start();
        }
        let mut trimmed = false;
        if let Some(after) = inside.strip_prefix('-')
            && after.starts_with(char::is_whitespace)
        {
            before = before.trim_end();
            inside = after;
            trimmed = true;
        }
        push_text(&mut found, before);
        let is_comment = match inside.starts_with("/*") {
            true => true,
            // Only a mark that trims may stand before it.
            false => trimmed && inside.trim_start().starts_with("/*"),
        };
        let (length, trims) = match is_comment {
            true => comment(inside)?,
            false => action(inside, &mut found)?,
        };
        trim = trims;
        rest = &inside[length..];
    }
    push_text(&mut found, if trim { rest.trim_start() } else { rest });
    Ok(found)
}

fn push_text(found: &mut Vec<Token>, text: &str) {
    if !text.is_empty() {
        found.push(Token::Text(text.to_owned()));
    }
}

/// The length of a comment with its closing braces, and whether blanks after it are cut.
fn comment(inside: &str) -> Result<(usize, bool), TemplateError> {
    let end = inside.find("*/").ok_or_else(|| wrong("unclosed comment"))? + 2;
    let after = inside[end..].trim_start();
    let trims = after.starts_with('-');
    let close = inside[end..]
        .find("}}")
        .ok_or_else(|| wrong("unclosed comment"))?;
    Ok((end + close + 2, trims))
}

/// Reads an action up to its closing braces: its length, and whether blanks after it are cut.
fn action(inside: &str, found: &mut Vec<Token>) -> Result<(usize, bool), TemplateError> {
    found.push(Token::Open);
    let mut at = 0;
    let mut spaced = true;
    loop {
        let rest = &inside[at..];
        let Some(first) = rest.chars().next() else {
            return Err(wrong("unclosed action"));
        };
        if rest.starts_with("}}") {
            found.push(Token::Close);
            return Ok((at + 2, false));
        }
        if spaced && rest.starts_with("-}}") {
            found.push(Token::Close);
            return Ok((at + 3, true));
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            spaced = true;
            continue;
        }
        let (token, length) = token(rest, first, spaced)?;
        found.push(token);
        at += length;
        spaced = false;
    }
}

fn token(rest: &str, first: char, spaced: bool) -> Result<(Token, usize), TemplateError> {
    let single = |token| Ok((token, 1));
    match first {
        '|' => single(Token::Pipe),
        '(' => single(Token::Left),
        ')' => single(Token::Right),
        ',' => single(Token::Comma),
        '=' => single(Token::Assign),
        ':' if rest.starts_with(":=") => Ok((Token::Declare, 2)),
        '"' | '\'' => quoted(rest, first),
        '`' => {
            let end = rest[1..].find('`');
            let end = end.ok_or_else(|| wrong("unterminated raw quoted string"))?;
            Ok((Token::Quoted(rest[1..=end].to_owned()), end + 2))
        }
        '$' => {
            let name = word(&rest[1..]);
            Ok((Token::Variable(name.to_owned()), 1 + name.len()))
        }
        '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let name = word(&rest[1..]);
            let length = 1 + name.len();
            let name = name.to_owned();
            Ok((Token::Field { name, spaced }, length))
        }
        '0'..='9' | '-' | '+' | '.' => number(rest),
        c if c == '_' || c.is_alphabetic() => {
            let name = word(rest);
            Ok((Token::Word(name.to_owned()), name.len()))
        }
        c => Err(wrong(format!("unexpected \"{c}\" in command"))),
    }
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len());
    &text[..end]
}

fn number(rest: &str) -> Result<(Token, usize), TemplateError> {
    let mut end = 1;
    let mut former = ' ';
    let is_hex =
        rest.trim_start_matches(['-', '+']).starts_with(['0']) && rest.contains(['x', 'X']);
    for c in rest[1..].chars() {
        // `1e-7`
        let signs = matches!(former, 'e' | 'E') && matches!(c, '-' | '+') && !is_hex;
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || signs) {
            break;
        }
        end += c.len_utf8();
        former = c;
    }
    let text = rest[..end].replace('_', "");
    let bad = || wrong(format!("bad number syntax: {:?}", &rest[..end]));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let based = |prefix: &str, base: u32| {
        let digits = digits.to_lowercase();
        let digits = digits.strip_prefix(prefix)?.to_owned();
        Some(u32::from_str_radix(&digits, base))
    };
    let whole = based("0x", 16)
        .or_else(|| based("0b", 2))
        .or_else(|| based("0o", 8));
    if let Some(value) = whole {
        let value = f64::from(value.map_err(|_| bad())?);
        let value = if negative { -value } else { value };
        return Ok((Token::Number(value, true), end));
    }
    let value: f64 = text.parse().map_err(|_| bad())?;
    Ok((Token::Number(value, !text.contains(['.', 'e', 'E'])), end))
}

/// A string or character with Go's escapes.
fn quoted(rest: &str, quote: char) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => break,
            c if c == quote => {
                let token = match (quote, text.chars().next()) {
                    ('\'', Some(_)) if text.chars().count() > 1 => {
                        return Err(wrong(format!("malformed character constant: '{text}'")));
                    }
                    ('\'', Some(c)) => Token::Number(u32::from(c).into(), true),
                    ('\'', None) => return Err(wrong("empty character constant")),
                    _ => Token::Quoted(text),
                };
                return Ok((token, at + 1));
            }
            '\\' => {
                let (_, escaped) = chars
                    .next()
                    .ok_or_else(|| wrong("unterminated quoted string"))?;
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'x' => code_point(chars.by_ref().take(2), 16)?,
                    'u' => code_point(chars.by_ref().take(4), 16)?,
                    'U' => code_point(chars.by_ref().take(8), 16)?,
                    first @ '0'..='7' => {
                        let first = std::iter::once((0, first));
                        code_point(first.chain(chars.by_ref().take(2)), 8)?
                    }
                    '\\' | '"' | '\'' => escaped,
                    _ => return Err(wrong(format!("invalid escape \\{escaped}"))),
                });
            }
            c => text.push(c),
        }
    }
    Err(wrong("unterminated quoted string"))
}

fn code_point(
    digits: impl Iterator<Item = (usize, char)>,
    base: u32,
) -> Result<char, TemplateError> {
    let digits: String = digits.map(|(_, c)| c).collect();
    u32::from_str_radix(&digits, base)
        .ok()
        .and_then(char::from_u32)
        .ok_or_else(|| wrong(format!("invalid escape of {digits:?}")))
}
