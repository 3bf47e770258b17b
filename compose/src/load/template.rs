//! The grammar of variables in values: `$NAME`, `${NAME}`, `${NAME:-word}`, `-`, `:?`, `?`, `:+`, `+`, `$$`, nested.
//!
//! Pure: text and a lookup go in, text comes out. Words are only evaluated when they are used.

/// What can be wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// `${…}` is malformed; the byte range of it.
    Malformed { start: usize, end: usize },
    /// `${NAME:?…}` and the variable is missing.
    Required {
        name: String,
        message: String,
        start: usize,
        end: usize,
    },
    /// Nested too deeply.
    TooDeep,
    /// The result is longer than [`LONGEST`] bytes.
    TooLong,
}

/// What happened while a text was evaluated.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// Variables that gave the text, in order.
    pub(crate) names: Vec<String>,
    /// Variables without value and without default, with the byte range of their use.
    pub(crate) missing: Vec<(String, usize, usize)>,
}

const DEEPEST: usize = 32;
/// No text becomes longer than this, in bytes: variables of variables of variables would fill the memory.
pub(crate) const LONGEST: usize = 4 << 20;

/// Substitutes all variables of a text.
pub(crate) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    used: &mut Used,
) -> Result<String, TemplateError> {
    Evaluation { lookup, used }.text(text, 0, 0)
}

/// A variable that a text uses, for `config --variables`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Loading fails without it.
    pub required: bool,
    /// What stands for it when it is missing.
    pub default: Option<String>,
    /// What stands for it when it is there.
    pub alternate: Option<String>,
}

impl Variable {
    /// Whether it is used without saying what is to be when it is missing or there.
    pub(crate) fn says_nothing(&self) -> bool {
        !self.required && self.default.is_none() && self.alternate.is_none()
    }
}

/// All variables of a text, also those in words that would not be used.
pub(crate) fn variables(text: &str) -> Vec<Variable> {
    let mut found = Vec::new();
    collect(text, 0, &mut found);
    found
}

fn collect(text: &str, depth: usize, found: &mut Vec<Variable>) {
    let mut at = 0;
    while depth < DEEPEST && at < text.len() {
        let (piece, next) = piece(text, at);
        at = next;
        if let Piece::Variable {
            name,
            operation,
            word,
        } = piece
        {
            let mut variable = Variable {
                name: name.to_owned(),
                required: false,
                default: None,
                alternate: None,
            };
            match operation {
                Operation::Default { .. } => variable.default = Some(word.to_owned()),
                Operation::Alternate { .. } => variable.alternate = Some(word.to_owned()),
                Operation::Required { .. } => variable.required = true,
                Operation::None => {}
            }
            found.push(variable);
            collect(word, depth + 1, found);
        }
    }
}

struct Evaluation<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    used: &'a mut Used,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    None,
    Default { empty_too: bool },
    Required { empty_too: bool },
    Alternate { empty_too: bool },
}

enum Piece<'a> {
    Literal(&'a str),
    Variable {
        name: &'a str,
        operation: Operation,
        word: &'a str,
    },
    Malformed,
}

impl Evaluation<'_> {
    /// `offset` is where `text` starts in the whole value, for places.
    fn text(&mut self, text: &str, offset: usize, depth: usize) -> Result<String, TemplateError> {
        if depth > DEEPEST {
            return Err(TemplateError::TooDeep);
        }
        let mut output = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let (piece, next) = piece(text, at);
            let (start, end) = (offset + at, offset + next);
            match piece {
                Piece::Literal(literal) => append(&mut output, literal)?,
                Piece::Malformed => return Err(TemplateError::Malformed { start, end }),
                Piece::Variable {
                    name,
                    operation,
                    word,
                } => {
                    // A word ends just before the closing brace.
                    let word_offset = (end - 1).saturating_sub(word.len());
                    let value = (self.lookup)(name);
                    let value = self.operate(
                        Use {
                            name,
                            operation,
                            word,
                            word_offset,
                            start,
                            end,
                            depth,
                        },
                        value,
                    )?;
                    append(&mut output, &value)?;
                }
            }
            at = next;
        }
        Ok(output)
    }

    fn operate(&mut self, using: Use<'_>, value: Option<String>) -> Result<String, TemplateError> {
        let Use {
            name,
            operation,
            word,
            word_offset,
            start,
            end,
            depth,
        } = using;
        let counts = |empty_too: bool| {
            value
                .as_ref()
                .is_some_and(|value| !empty_too || !value.is_empty())
        };
        match operation {
            Operation::Default { empty_too } if !counts(empty_too) => {
                self.text(word, word_offset, depth + 1)
            }
            Operation::Required { empty_too } if !counts(empty_too) => {
                let message = self.text(word, word_offset, depth + 1)?;
                Err(TemplateError::Required {
                    name: name.to_owned(),
                    message,
                    start,
                    end,
                })
            }
            Operation::Alternate { empty_too } => {
                if counts(empty_too) {
                    self.used.names.push(name.to_owned());
                    return self.text(word, word_offset, depth + 1);
                }
                Ok(String::new())
            }
            _ => {
                if value.is_none() {
                    self.used.missing.push((name.to_owned(), start, end));
                }
                self.used.names.push(name.to_owned());
                Ok(value.unwrap_or_default())
            }
        }
    }
}

fn append(output: &mut String, text: &str) -> Result<(), TemplateError> {
    if output.len() + text.len() > LONGEST {
        return Err(TemplateError::TooLong);
    }
    output.push_str(text);
    Ok(())
}

struct Use<'a> {
    name: &'a str,
    operation: Operation,
    word: &'a str,
    word_offset: usize,
    start: usize,
    end: usize,
    depth: usize,
}

/// The piece that starts at `at`, and where the next one starts.
fn piece(text: &str, at: usize) -> (Piece<'_>, usize) {
    let rest = &text[at..];
    let Some(after) = rest.strip_prefix('$') else {
        let end = rest.find('$').map_or(text.len(), |dollar| at + dollar);
        return (Piece::Literal(&text[at..end]), end);
    };
    if after.starts_with('$') {
        return (Piece::Literal("$"), at + 2);
    }
    if let Some(body) = after.strip_prefix('{') {
        return braced(body, at);
    }
    let length = name_length(after);
    if length == 0 {
        return (Piece::Literal("$"), at + 1);
    }
    (
        Piece::Variable {
            name: &after[..length],
            operation: Operation::None,
            word: "",
        },
        at + 1 + length,
    )
}

/// `body` is what follows `${`, which is at `at`.
fn braced(body: &str, at: usize) -> (Piece<'_>, usize) {
    let Some(length) = closing_brace(body) else {
        return (Piece::Malformed, at + 2 + body.len());
    };
    let (inside, next) = (&body[..length], at + 2 + length + 1);
    let name_end = name_length(inside);
    let (name, rest) = inside.split_at(name_end);
    if name.is_empty() || inside.contains('\n') {
        return (Piece::Malformed, next);
    }
    let (empty_too, operator) = rest
        .strip_prefix(':')
        .map_or((false, rest), |operator| (true, operator));
    let operation = match operator.as_bytes().first() {
        Some(b'-') => Operation::Default { empty_too },
        Some(b'?') => Operation::Required { empty_too },
        Some(b'+') => Operation::Alternate { empty_too },
        None if !empty_too => Operation::None,
        _ => return (Piece::Malformed, next),
    };
    (
        Piece::Variable {
            name,
            operation,
            word: operator.get(1..).unwrap_or_default(),
        },
        next,
    )
}

/// Where the brace that closes an open one is; braces inside count.
fn closing_brace(body: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    match text.as_bytes().first() {
        Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(text: &str) -> Result<String, TemplateError> {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        substitute(text, &lookup, &mut Used::default())
    }

    #[test]
    fn texts_are_substituted() {
        let check =
            |text: &str, expected: &str| assert_eq!(run(text).as_deref(), Ok(expected), "{text}");
        check("$A", "a");
        check("${A}b", "ab");
        check("$$A", "$A");
        check("a $ b $1 $(x) $", "a $ b $1 $(x) $");
        check("${EMPTY:-x}", "x");
        check("${EMPTY-x}", "");
        check("${M:-a}b}", "ab}");
        check("${M-B}", "B");
        check("${M:-${A:+z}}", "z");
        check("${M:-{\"k\":1}}", "{\"k\":1}");
        check("${A:-${M:?never used}}", "a");
        check("${EMPTY:+x}", "");
        check("${EMPTY+x}", "x");
        check("${M:-$$A}", "$A");
        check("[$M]", "[]");
    }

    #[test]
    fn malformed_texts_are_refused_with_their_place() {
        let check = |text: &str, start: usize, end: usize| {
            assert_eq!(
                run(text),
                Err(TemplateError::Malformed { start, end }),
                "{text}"
            );
        };
        check("${1}", 0, 4);
        check("${}", 0, 3);
        check("x${ X}", 1, 6);
        check("${X/a/b}", 0, 8);
        check("${X:=a}", 0, 7);
        check("${X", 0, 3);
        check("${X:-a\nb}", 0, 9);
        check("${X:}", 0, 5);
    }

    #[test]
    fn required_variables_are_told() {
        let expected = TemplateError::Required {
            name: "M".into(),
            message: "set a".into(),
            start: 1,
            end: 13,
        };
        assert_eq!(run("-${M:?set $A}"), Err(expected));
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "[$\\{\\}A-C:?+\\-a1\n é]{0,60}") {
            let _ = run(&text);
            let _ = variables(&text);
        }
    }
}
