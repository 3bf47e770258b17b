//! Words of Dockerfile instructions: split at blanks outside of quotes, then expanded with variables.

/// Splitting keeps the quotes, because expansion has to know what was in single ones.
#[derive(Debug)]
pub(super) struct Words;

impl Words {
    /// Splits at blanks outside of quotes; a backslash takes the character after it with it.
    pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quote = None;
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            match (c, quote) {
                ('\\', None | Some('"')) => {
                    word.push(c);
                    word.extend(characters.next());
                }
                ('"' | '\'', None) => {
                    quote = Some(c);
                    word.push(c);
                }
                (c, Some(open)) => {
                    if c == open {
                        quote = None;
                    }
                    word.push(c);
                }
                (c, None) if c.is_whitespace() => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                }
                (c, None) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".to_owned());
        }
        if !word.is_empty() {
            words.push(word);
        }
        Ok(words)
    }
}

/// Takes quotes and backslashes away and puts variables in: `$A`, `${A}`, `${A:-default}`, `${A:+alternative}`.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, String> {
    let mut expander = Expander {
        rest: text.chars().peekable(),
        env,
        out: String::new(),
    };
    expander.run()?;
    Ok(expander.out)
}

struct Expander<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    env: &'a [String],
    out: String,
}

impl Expander<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut in_double = false;
        while let Some(c) = self.rest.next() {
            match c {
                '"' => in_double = !in_double,
                '\'' if !in_double => self.single_quoted()?,
                '\\' => self.escaped(in_double),
                '$' => self.variable()?,
                _ => self.out.push(c),
            }
        }
        if in_double {
            Err("a quote is not closed".to_owned())
        } else {
            Ok(())
        }
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.out.push(c),
                None => return Err("a quote is not closed".to_owned()),
            }
        }
    }

    /// In double quotes a backslash is one unless it stands before something special.
    fn escaped(&mut self, in_double: bool) {
        match self.rest.next() {
            Some(c @ ('"' | '$' | '\\')) => self.out.push(c),
            Some(c) if in_double => self.out.extend(['\\', c]),
            Some(c) => self.out.push(c),
            None => self.out.push('\\'),
        }
    }

    fn variable(&mut self) -> Result<(), String> {
        if self.rest.next_if_eq(&'{').is_some() {
            let inner: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
            return self.braced(&inner);
        }
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        if name.is_empty() {
            self.out.push('$');
        } else {
            let value = self.value(&name).to_owned();
            self.out.push_str(&value);
        }
        Ok(())
    }

    fn braced(&mut self, inner: &str) -> Result<(), String> {
        let end = inner
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(inner.len());
        let (name, modifier) = inner.split_at(end);
        let value = self.value(name).to_owned();
        let chosen = match modifier.get(..2) {
            _ if name.is_empty() => return Err(format!("${{{inner}}} is not a variable")),
            None if modifier.is_empty() => value,
            Some(":-") if value.is_empty() => expand(&modifier[2..], self.env)?,
            Some(":-") => value,
            Some(":+") if value.is_empty() => value,
            Some(":+") => expand(&modifier[2..], self.env)?,
            _ => return Err(format!("unsupported modifier in ${{{inner}}}")),
        };
        self.out.push_str(&chosen);
        Ok(())
    }

    fn value(&self, name: &str) -> &str {
        let named = |entry: &&String| entry.split('=').next() == Some(name);
        self.env
            .iter()
            .find(named)
            .and_then(|entry| entry.split_once('='))
            .map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let env = ["A=1".to_owned(), "E=".to_owned()];
        let words = Words::split(text).and_then(|words| {
            words
                .iter()
                .map(|word| expand(word, &env))
                .collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(
            words,
            Ok(expected.iter().map(|word| (*word).to_owned()).collect()),
            "{text}"
        );
    }

    #[test]
    fn words_are_split_and_expanded() {
        check("a  b", &["a", "b"]);
        check(r#""a b" 'c d'"#, &["a b", "c d"]);
        check(r"a\ b", &["a b"]);
        check(r#""\n\"" "#, &["\\n\""]);
        check("$A${A}x '$A' \\$A", &["11x", "$A", "$A"]);
        check(
            "${E:-d} ${A:-d} ${A:+y} ${E:+y}z $",
            &["d", "1", "y", "z", "$"],
        );
    }

    #[test]
    fn bad_words_are_errors() {
        assert!(Words::split("\"a").is_err());
        assert!(expand("${A!}", &[]).is_err());
        assert!(expand("${}", &[]).is_err());
    }
}
