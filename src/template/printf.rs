//! `printf`, as Go's `fmt.Sprintf` formats.

use serde_json::Value;

use super::value::{is_struct, kind, plain};

/// Widest field, so that a template cannot fill the memory.
const WIDEST: usize = 1 << 12;

/// Formats values.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut reader = Reader {
        chars: format.chars().peekable(),
        values,
        next: 0,
        reordered: false,
    };
    while let Some(c) = reader.chars.next() {
        match c {
            '%' => reader.verb(&mut out),
            c => out.push(c),
        }
    }
    let rest = values.get(reader.next..).unwrap_or_default();
    if !reader.reordered && !rest.is_empty() {
        let typed = |value: &Value| match value {
            Value::Null => "<nil>".to_owned(),
            value => format!("{}={}", kind(value), plain(value)),
        };
        let rest: Vec<String> = rest.iter().map(typed).collect();
        out.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    out
}

struct Reader<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    values: &'a [Value],
    next: usize,
    /// A verb has chosen its argument by number.
    reordered: bool,
}

impl Reader<'_> {
    fn verb(&mut self, out: &mut String) {
        let mut verb = Verb::default();
        while let Some(flag) = self.chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => verb.left = true,
                '0' => verb.zeros = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                _ => verb.space = true,
            }
        }
        self.argument();
        let width = self.number();
        verb.left |= width < 0;
        verb.width = bounded(width.unsigned_abs());
        if self.chars.next_if_eq(&'.').is_some() {
            self.argument();
            verb.precision = Some(bounded(self.number().unsigned_abs()));
        }
        self.argument();
        match self.chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(letter) => match self.value() {
                None => out.push_str(&format!("%!{letter}(MISSING)")),
                Some(value) => out.push_str(&verb.padded_value(letter, value)),
            },
        }
    }

    fn value(&mut self) -> Option<&Value> {
        self.next += 1;
        self.values.get(self.next - 1)
    }

    /// `[2]`: which argument is next.
    fn argument(&mut self) {
        if self.chars.next_if_eq(&'[').is_some() {
            let number = self.digits().unwrap_or(1);
            self.chars.next_if_eq(&']');
            self.next = bounded(number.unsigned_abs()).saturating_sub(1);
            self.reordered = true;
        }
    }

    /// Digits, or `*` for the next argument.
    fn number(&mut self) -> i64 {
        if self.chars.next_if_eq(&'*').is_some() {
            return self.value().and_then(Value::as_i64).unwrap_or(0);
        }
        self.digits().unwrap_or(0)
    }

    fn digits(&mut self) -> Option<i64> {
        let mut digits = String::new();
        while let Some(digit) = self.chars.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().ok()
    }
}

fn bounded(number: u64) -> usize {
    usize::try_from(number).unwrap_or(WIDEST).min(WIDEST)
}

/// Flags, width and precision of a verb.
#[derive(Debug, Default)]
struct Verb {
    left: bool,
    zeros: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

impl Verb {
    /// A value, and in lists and maps each of theirs, in its width.
    fn padded_value(&self, letter: char, value: &Value) -> String {
        let each = |value: &Value| self.padded_value(letter, value);
        match value {
            _ if letter == 'T' => self.padded(kind(value).to_owned(), false),
            Value::Array(list) => {
                let texts: Vec<String> = list.iter().map(each).collect();
                format!("[{}]", texts.join(" "))
            }
            Value::Object(map) if is_struct(map) => {
                let text = |(key, value): (&String, &Value)| match self.plus {
                    true => format!("{key}:{}", each(value)),
                    false => each(value),
                };
                let texts: Vec<String> = map.iter().map(text).collect();
                format!("{{{}}}", texts.join(" "))
            }
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                let text = |(key, value): (&String, &Value)| {
                    format!("{}:{}", each(&key.as_str().into()), each(value))
                };
                let texts: Vec<String> = entries.into_iter().map(text).collect();
                format!("map[{}]", texts.join(" "))
            }
            value => {
                let text = self.text(letter, value);
                let text = text.unwrap_or_else(|| match value {
                    Value::Null => format!("%!{letter}(<nil>)"),
                    value => format!("%!{letter}({}={})", kind(value), plain(value)),
                });
                self.padded(text, value.is_number())
            }
        }
    }

    /// A value that is no list; none when the verb is not for it.
    fn text(&self, letter: char, value: &Value) -> Option<String> {
        match value {
            Value::Null => (letter == 'v').then(|| "<nil>".to_owned()),
            Value::Bool(value) => "vt".contains(letter).then(|| value.to_string()),
            Value::String(text) => self.string(letter, text),
            Value::Number(number) => match number.as_i64() {
                Some(number) => self.integer(letter, number),
                None => self.float(letter, number.as_f64()?, value),
            },
            _ => None,
        }
    }

    fn string(&self, letter: char, text: &str) -> Option<String> {
        let hex = |upper: bool| {
            let byte = |byte: u8| match upper {
                true => format!("{byte:02X}"),
                false => format!("{byte:02x}"),
            };
            let bytes: Vec<String> = text.bytes().map(byte).collect();
            bytes.join(if self.space { " " } else { "" })
        };
        let cut: String = match self.precision {
            Some(width) => text.chars().take(width).collect(),
            None => text.to_owned(),
        };
        Some(match letter {
            'v' if self.sharp => format!("{cut:?}"),
            'v' | 's' => cut,
            'q' if self.sharp && !cut.contains('`') => format!("`{cut}`"),
            'q' => format!("{cut:?}"),
            'x' => hex(false),
            'X' => hex(true),
            _ => return None,
        })
    }

    fn integer(&self, letter: char, number: i64) -> Option<String> {
        let size = number.unsigned_abs();
        let (digits, prefix) = match letter {
            // There a plus asks for the names of fields.
            'v' if number < 0 => return Some(number.to_string()),
            'v' => return Some(size.to_string()),
            'd' => (size.to_string(), ""),
            'b' => (format!("{size:b}"), "0b"),
            'o' => (format!("{size:o}"), "0"),
            'O' => return Some(format!("{}0o{size:o}", self.sign(number < 0))),
            'x' => (format!("{size:x}"), "0x"),
            'X' => (format!("{size:X}"), "0X"),
            'c' => return Some(character(number)),
            'q' => return Some(format!("{:?}", character(number).chars().next()?)),
            'U' => return Some(format!("U+{size:04X}")),
            _ => return None,
        };
        let prefix = if self.sharp { prefix } else { "" };
        Some(format!("{}{prefix}{digits}", self.sign(number < 0)))
    }

    fn float(&self, letter: char, number: f64, value: &Value) -> Option<String> {
        let size = number.abs();
        let places = self.precision.unwrap_or(6);
        let text = match letter {
            'f' | 'F' => format!("{size:.places$}"),
            'e' => exponential(size, places),
            'E' => exponential(size, places).to_uppercase(),
            'v' | 'g' => plain(value).trim_start_matches('-').to_owned(),
            'G' => plain(value).trim_start_matches('-').to_uppercase(),
            _ => return None,
        };
        Some(format!("{}{text}", self.sign(number < 0.0)))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match negative {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        }
    }

    fn padded(&self, text: String, is_number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let signed = text.starts_with(['-', '+']);
        match (self.left, self.zeros && is_number) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) if signed => {
                format!("{}{}{}", &text[..1], "0".repeat(missing), &text[1..])
            }
            (false, true) => "0".repeat(missing) + &text,
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

/// With an exponent of at least two digits.
fn exponential(number: f64, places: usize) -> String {
    let text = format!("{number:.places$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if exponent.starts_with('-') { '-' } else { '+' };
    format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
}

fn character(code: i64) -> String {
    let found = u32::try_from(code).ok().and_then(char::from_u32);
    found.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
}
