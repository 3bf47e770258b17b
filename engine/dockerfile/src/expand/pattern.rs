//! The patterns of `${x#pattern}` and `${x/pattern/new}`: `*`, `?` and literal characters.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Any characters.
    Star,
    /// One character.
    Any,
    /// This character.
    One(char),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Star,
                '?' => Part::Any,
                '\\' => match chars.peek() {
                    // Escaped only because of the `${…}` around it.
                    Some('}' | '/') => continue,
                    Some(c @ ('*' | '?' | '\\')) => {
                        let c = *c;
                        chars.next();
                        Part::One(c)
                    }
                    other => {
                        let other = other.map_or_else(String::new, char::to_string);
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '\\{other}'"
                        ));
                    }
                },
                c => Part::One(c),
            });
        }
        Ok(Self(parts))
    }

    /// The value without the shortest or longest beginning that matches.
    pub(super) fn trim_start(&self, value: &str, longest: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let length = matched_length(&self.0, &chars, longest).unwrap_or(0);
        chars[length..].iter().collect()
    }

    /// The value without the shortest or longest end that matches.
    pub(super) fn trim_end(&self, value: &str, longest: bool) -> String {
        let parts: Vec<Part> = self.0.iter().rev().copied().collect();
        let mut chars: Vec<char> = value.chars().rev().collect();
        let length = matched_length(&parts, &chars, longest).unwrap_or(0);
        chars.drain(..length);
        chars.into_iter().rev().collect()
    }

    /// The value with the first, or every, longest match replaced.
    pub(super) fn replace(&self, value: &str, new: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            match matched_length(&self.0, &chars[at..], true) {
                // As in Go, nothing directly after a match is no match.
                Some(0) if after_match => {
                    result.extend(chars.get(at));
                    at += 1;
                    after_match = false;
                }
                Some(length) => {
                    result.push_str(new);
                    if length == 0 {
                        result.extend(chars.get(at));
                    }
                    at += length.max(1);
                    after_match = length > 0;
                    if !all {
                        result.extend(chars.iter().skip(at));
                        return result;
                    }
                }
                None => {
                    result.extend(chars.get(at));
                    at += 1;
                    after_match = false;
                }
            }
        }
        result
    }
}

/// How many characters at the beginning match, the fewest or the most. Linear in the product of the lengths.
fn matched_length(parts: &[Part], chars: &[char], longest: bool) -> Option<usize> {
    // Which prefixes of the pattern match the characters so far.
    let mut states = vec![false; parts.len() + 1];
    states[0] = true;
    close(parts, &mut states);
    let mut found = None;
    for at in 0..=chars.len() {
        if states[parts.len()] {
            found = Some(at);
            if !longest {
                break;
            }
        }
        let Some(c) = chars.get(at) else { break };
        let mut next = vec![false; parts.len() + 1];
        for (i, part) in parts.iter().enumerate().filter(|(i, _)| states[*i]) {
            match part {
                Part::Star if *c != '\n' => next[i] = true,
                Part::Any if *c != '\n' => next[i + 1] = true,
                Part::One(own) if own == c => next[i + 1] = true,
                _ => {}
            }
        }
        close(parts, &mut next);
        if !next.contains(&true) {
            break;
        }
        states = next;
    }
    found
}

/// A star may match nothing.
fn close(parts: &[Part], states: &mut [bool]) {
    for (i, part) in parts.iter().enumerate() {
        if states[i] && *part == Part::Star {
            states[i + 1] = true;
        }
    }
}
