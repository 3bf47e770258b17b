//! Docker's shell words: quotes, escapes, and `$variables` in all the forms that Dockerfiles may use.
//!
//! The reference is the section "Environment replacement" of the Dockerfile reference.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};

use pattern::Pattern;

/// Substitutions within substitutions: more is an attack on the stack.
const MOST_DEPTH: usize = 64;
/// No expansion is longer: `ENV a=$a$a` doubles with every line.
const MOST_LENGTH: usize = 1 << 20;

/// Where variables' values come from.
pub(crate) trait Variables {
    /// The value, if it is set.
    fn value(&self, name: &str) -> Option<&str>;
}

impl Variables for BTreeMap<String, String> {
    fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// No variable is set.
pub(crate) struct Nothing;

impl Variables for Nothing {
    fn value(&self, _: &str) -> Option<&str> {
        None
    }
}

/// How words are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer {
    /// Escapes the next character.
    pub(crate) escape: char,
    /// Quotes stay in the result.
    pub(crate) keep_quotes: bool,
    /// Escapes stay in the result.
    pub(crate) keep_escapes: bool,
    /// Quotes mean nothing: the text is a file's.
    pub(crate) ignore_quotes: bool,
    /// A variable that is not set stays as written.
    pub(crate) keep_unset: bool,
}

/// What became of a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    /// As one word, blanks kept.
    pub(crate) text: String,
    /// Split at blanks outside quotes, after the expansion.
    pub(crate) words: Vec<String>,
    /// Variables used that are set.
    pub(crate) matched: BTreeSet<String>,
    /// Variables used that are not.
    pub(crate) unmatched: BTreeSet<String>,
}

impl Lexer {
    pub(crate) fn new(escape: char) -> Self {
        Self {
            escape,
            keep_quotes: false,
            keep_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
        }
    }

    /// Expands a word.
    ///
    /// # Errors
    /// What is wrong with it, in BuildKit's words.
    pub(crate) fn expand(&self, word: &str, variables: &dyn Variables) -> Result<Expanded, String> {
        let mut reader = Reader {
            lexer: *self,
            keep_escapes: self.keep_escapes,
            variables,
            chars: word.chars().collect(),
            at: 0,
            depth: 0,
            matched: BTreeSet::new(),
            unmatched: BTreeSet::new(),
        };
        let (text, words) = reader
            .until(None, self.keep_escapes)
            .map_err(|why| format!("failed to process {word:?}: {why}"))?;
        Ok(Expanded {
            text,
            words,
            matched: reader.matched,
            unmatched: reader.unmatched,
        })
    }
}

struct Reader<'a> {
    lexer: Lexer,
    keep_escapes: bool,
    variables: &'a dyn Variables,
    chars: Vec<char>,
    at: usize,
    depth: usize,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

/// The result while it grows: the text, and its words.
#[derive(Default)]
struct Output {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    /// A character that splits words when it is blank.
    fn push(&mut self, c: char) {
        self.text.push(c);
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// Text that was quoted or escaped.
    fn push_quoted(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn finish(mut self) -> (String, Vec<String>) {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        (self.text, self.words)
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Reads up to an unquoted character, which is consumed, or to the end.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), String> {
        if self.depth >= MOST_DEPTH {
            return Err("too many substitutions within one another".to_owned());
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let result = self.until_inner(stop);
        self.keep_escapes = before;
        self.depth -= 1;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let mut output = Output::default();
        while let Some(c) = self.peek() {
            if output.text.len() > MOST_LENGTH {
                return Err(format!("the result is longer than {MOST_LENGTH} bytes"));
            }
            if Some(c) == stop {
                self.at += 1;
                return Ok(output.finish());
            }
            match c {
                '$' => {
                    for c in self.dollar()?.chars() {
                        output.push(c);
                    }
                }
                '<' => output.push_quoted(&self.heredoc_arrow()),
                '\'' if !self.lexer.ignore_quotes => output.push_quoted(&self.single_quoted()?),
                '"' if !self.lexer.ignore_quotes => output.push_quoted(&self.double_quoted()?),
                _ => {
                    self.at += 1;
                    self.plain(c, &mut output);
                }
            }
        }
        match stop {
            None => Ok(output.finish()),
            Some(stop) => Err(format!(
                "unexpected end of statement while looking for matching {stop}"
            )),
        }
    }

    /// A character of no special meaning, or an escape and what it escapes.
    fn plain(&mut self, c: char, output: &mut Output) {
        if c != self.lexer.escape {
            output.push(c);
            return;
        }
        let mut text = String::new();
        if self.keep_escapes {
            text.push(c);
        }
        text.extend(self.next());
        output.push_quoted(&text);
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut result = String::new();
        let quote = self.next();
        if self.lexer.keep_quotes {
            result.extend(quote);
        }
        loop {
            match self.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    );
                }
                Some('\'') => {
                    if self.lexer.keep_quotes {
                        result.push('\'');
                    }
                    return Ok(result);
                }
                Some(c) => result.push(c),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut result = String::new();
        let quote = self.next();
        if self.lexer.keep_quotes {
            result.extend(quote);
        }
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_owned(),
                    );
                }
                Some('"') => {
                    self.at += 1;
                    if self.lexer.keep_quotes {
                        result.push('"');
                    }
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    self.at += 1;
                    if self.keep_escapes {
                        result.push(c);
                    }
                    match self.peek() {
                        // An escape at the very end is dropped; the missing quote is told next.
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            self.at += 1;
                            result.push(next);
                        }
                        // Anything else is not escaped by it.
                        Some(_) if !self.keep_escapes => result.push(c),
                        Some(_) => {}
                    }
                }
                Some(c) => {
                    self.at += 1;
                    result.push(c);
                }
            }
            if result.len() > MOST_LENGTH {
                return Err(format!("the result is longer than {MOST_LENGTH} bytes"));
            }
        }
    }

    /// `<`, or `<<` with the blanks after it, which belong to the heredoc's word.
    fn heredoc_arrow(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let mut result = "<<".to_owned();
        while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
            result.push(c);
            self.at += 1;
        }
        result
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = self.variables.value(name).map(str::to_owned);
        let names = if value.is_some() {
            &mut self.matched
        } else {
            &mut self.unmatched
        };
        names.insert(name.to_owned());
        value
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name) {
                None if self.lexer.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            Some('}') => Ok(match self.get(&name) {
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => match self.next() {
                Some(c @ ('-' | '+' | '?')) => self.default(&name, c, true),
                Some(c) => Err(unsupported(&format!(":{c}"))),
                None => Err("syntax error: missing '}'".to_owned()),
            },
            Some(c @ ('-' | '+' | '?')) => self.default(&name, c, false),
            Some(c @ ('#' | '%')) => self.trim(&name, c),
            Some('/') => self.replace(&name),
            Some(c) => Err(unsupported(&c.to_string())),
            None => Err("syntax error: missing '}'".to_owned()),
        }
    }

    /// The rest of `${…}` up to the brace.
    fn operand(&mut self, stop: char, keep_escapes: bool) -> Result<String, String> {
        match self.until(Some(stop), keep_escapes) {
            Ok((text, _)) => Ok(text),
            Err(_) if self.peek().is_none() && stop == '/' => {
                Err("syntax error: missing '/' in ${}".to_owned())
            }
            Err(_) if self.peek().is_none() => Err("syntax error: missing '}'".to_owned()),
            Err(why) => Err(why),
        }
    }

    /// `${x-y}`, `${x+y}`, `${x?y}`, and with a colon, which takes empty for unset.
    fn default(&mut self, name: &str, operator: char, colon: bool) -> Result<String, String> {
        let word = self.operand('}', false)?;
        let value = self.get(name);
        if value.is_none() && self.lexer.keep_unset {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let unset = value.is_none();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (operator, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) if !word.is_empty() => Err(format!("{name}: {word}")),
            (_, None) if unset => Err(format!("{name}: is not allowed to be unset")),
            (_, None) => Err(format!("{name}: is not allowed to be empty")),
        }
    }

    /// `${x#pattern}`, `${x##pattern}`, `${x%pattern}`, `${x%%pattern}`.
    fn trim(&mut self, name: &str, operator: char) -> Result<String, String> {
        let word = self.operand('}', true)?;
        let Some(value) = self.get(name) else {
            if self.lexer.keep_unset {
                return Ok(format!("${{{name}{operator}{word}}}"));
            }
            return Ok(String::new());
        };
        let (text, longest) = match word.strip_prefix(operator) {
            Some(rest) => (rest, true),
            None => (word.as_str(), false),
        };
        let pattern = Pattern::parse(text)?;
        Ok(if operator == '#' {
            pattern.trim_start(&value, longest)
        } else {
            pattern.trim_end(&value, longest)
        })
    }

    /// `${x/pattern/new}`, `${x//pattern/new}`.
    fn replace(&mut self, name: &str) -> Result<String, String> {
        let all = self.peek() == Some('/');
        if all {
            self.at += 1;
        }
        let text = self.operand('/', true)?;
        let new = self.operand('}', true)?;
        let Some(value) = self.get(name) else {
            if self.lexer.keep_unset {
                return Ok(format!("${{{name}/{text}/{new}}}"));
            }
            return Ok(String::new());
        };
        let result = Pattern::parse(&text)?.replace(&value, &new, all);
        if result.len() > MOST_LENGTH {
            return Err(format!("the result is longer than {MOST_LENGTH} bytes"));
        }
        Ok(result)
    }

    /// A variable's name, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.peek().filter(|c| c.is_numeric()) {
                    name.push(digit);
                    self.at += 1;
                }
                return name;
            }
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.at += 1;
                return c.to_string();
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }
}

fn unsupported(modifier: &str) -> String {
    format!("unsupported modifier ({modifier}) in substitution")
}

#[cfg(test)]
mod tests;
