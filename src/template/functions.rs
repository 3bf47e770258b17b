//! The functions that templates may call: Go's own and Docker's.

use serde_json::Value;

use super::value::{compare, is_true, kind, plain, printed};

const KNOWN: [&str; 24] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate",
    "upper",
];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

type Outcome = Result<Value, String>;

pub(super) fn call(name: &str, arguments: &[Value]) -> Outcome {
    match (name, arguments) {
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => equal(first, rest),
        ("ne", [left, right]) => {
            equal(left, std::slice::from_ref(right)).map(|v| (!is_true(&v)).into())
        }
        ("lt" | "le" | "gt" | "ge", [left, right]) => ordered(name, left, right),
        ("len", [value]) => length(value).map(Value::from),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(print(values).into()),
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(plain).collect();
            Ok(format!("{}\n", texts.join(" ")).into())
        }
        ("printf", [format, values @ ..]) => Ok(printf(&text(format)?, values).into()),
        ("html", values) => Ok(escape_html(&print(values)).into()),
        ("json", [value]) => serde_json::to_string(value)
            .map(Value::from)
            .map_err(|e| e.to_string()),
        ("join", [list, separator]) => join(list, &text(separator)?),
        ("split", [value, separator]) => {
            let (value, separator) = (text(value)?, text(separator)?);
            Ok(value.split(separator.as_str()).collect::<Vec<_>>().into())
        }
        ("lower", [value]) => Ok(text(value)?.to_lowercase().into()),
        ("upper", [value]) => Ok(text(value)?.to_uppercase().into()),
        ("title", [value]) => Ok(title(&text(value)?).into()),
        ("pad", [value, before, after]) => {
            let blanks = |count: &Value| " ".repeat(whole(count).unwrap_or(0));
            let value = text(value)?;
            Ok(match value.is_empty() {
                true => value.into(),
                false => format!("{}{value}{}", blanks(before), blanks(after)).into(),
            })
        }
        ("truncate", [value, width]) => {
            let width = whole(width)?;
            Ok(text(value)?.chars().take(width).collect::<String>().into())
        }
        _ => Err(format!("wrong number of args: got {}", arguments.len())),
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => Err(format!(
            "wrong type for value; expected string; got {}",
            kind(other)
        )),
    }
}

fn whole(value: &Value) -> Result<usize, String> {
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{} is not a size", plain(value)))
}

fn equal(first: &Value, others: &[Value]) -> Outcome {
    for other in others {
        match compare(first, other) {
            Some(order) if order.is_eq() => return Ok(true.into()),
            Some(_) => {}
            None if first.is_null() || other.is_null() => {}
            None => return Err("incompatible types for comparison".to_owned()),
        }
    }
    Ok(false.into())
}

fn ordered(name: &str, left: &Value, right: &Value) -> Outcome {
    let order = compare(left, right).ok_or("incompatible types for comparison")?;
    Ok(match name {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    }
    .into())
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        other => Err(format!("len of type {}", kind(other))),
    }
}

fn index(value: &Value, key: &Value) -> Outcome {
    match value {
        Value::Array(list) => {
            let at = whole(key)?;
            list.get(at)
                .cloned()
                .ok_or_else(|| format!("index out of range: {at}"))
        }
        // A map of texts has none for a key that it lacks.
        Value::Object(map) => {
            let texts = map.values().all(Value::is_string);
            let missing = if texts { "".into() } else { Value::Null };
            Ok(map.get(&text(key)?).cloned().unwrap_or(missing))
        }
        Value::Null => Err("index of nil pointer".to_owned()),
        other => Err(format!("can't index item of type {}", kind(other))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Outcome {
    let size = length(value)?;
    let bound = |at: usize, otherwise: usize| bounds.get(at).map_or(Ok(otherwise), whole);
    let (from, to) = (bound(0, 0)?, bound(1, size)?);
    let wrong = || format!("index out of range: [{from}:{to}]");
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(wrong),
        Value::Array(list) => list
            .get(from..to)
            .map(|part| part.to_vec().into())
            .ok_or_else(wrong),
        other => Err(format!("can't slice item of type {}", kind(other))),
    }
}

fn join(list: &Value, separator: &str) -> Outcome {
    match list {
        Value::Array(list) => Ok(list
            .iter()
            .map(plain)
            .collect::<Vec<_>>()
            .join(separator)
            .into()),
        Value::Null => Ok("".into()),
        other => Err(format!(
            "wrong type for value; expected []string; got {}",
            kind(other)
        )),
    }
}

/// As Go's `fmt.Sprint`: a blank between two operands when neither is a string.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&plain(value));
    }
    out
}

fn title(text: &str) -> String {
    let mut start = true;
    let upper = |c: char| {
        let upper = std::mem::replace(&mut start, !c.is_alphanumeric() && c != '\'');
        if upper {
            c.to_uppercase().next().unwrap_or(c)
        } else {
            c
        }
    };
    text.chars().map(upper).collect()
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

/// Flags, width and precision of a verb.
#[derive(Debug, Default)]
struct Verb {
    left: bool,
    zeros: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// As Go's `fmt.Sprintf`, for the verbs that people use.
fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => verb.left = true,
                '0' => verb.zeros = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                _ => {}
            }
        }
        verb.width = number(&mut chars).unwrap_or(0).min(1 << 12);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut chars).unwrap_or(0).min(1 << 12));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(letter) => match values.next() {
                None => out.push_str(&format!("%!{letter}(MISSING)")),
                Some(value) => out.push_str(&verb.format(letter, value)),
            },
        }
    }
    let rest: Vec<String> = values
        .map(|v| format!("{}={}", kind(v), plain(v)))
        .collect();
    if !rest.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    out
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
}

impl Verb {
    fn format(&self, letter: char, value: &Value) -> String {
        let cut = |text: String| match self.precision {
            Some(width) => text.chars().take(width).collect(),
            None => text,
        };
        let integer = value.as_i64();
        let text = match (letter, value) {
            ('v', Value::Null) | ('s', Value::Null) => printed(value),
            ('v', Value::String(text)) if self.sharp => format!("{text:?}"),
            ('v' | 's', Value::Number(_) | Value::Bool(_)) if letter == 's' => {
                format!("%!s({}={})", kind(value), plain(value))
            }
            ('v', value) => plain(value),
            ('s', value) => cut(plain(value)),
            ('q', value) => format!("{:?}", plain(value)),
            ('t', Value::Bool(value)) => value.to_string(),
            ('T', value) => kind(value).to_owned(),
            ('d', _) if integer.is_some() => self.signed(integer.unwrap_or(0)),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('x', _) if integer.is_some() => format!("{:x}", integer.unwrap_or(0)),
            ('X', _) if integer.is_some() => format!("{:X}", integer.unwrap_or(0)),
            ('o', _) if integer.is_some() => format!("{:o}", integer.unwrap_or(0)),
            ('c', _) if integer.is_some() => character(integer.unwrap_or(0)),
            ('f', Value::Number(number)) => {
                let places = self.precision.unwrap_or(6);
                format!("{:.places$}", number.as_f64().unwrap_or(0.0))
            }
            (letter, value) => format!("%!{letter}({}={})", kind(value), plain(value)),
        };
        self.padded(text, value.is_number())
    }

    fn signed(&self, number: i64) -> String {
        match self.plus && number >= 0 {
            true => format!("+{number}"),
            false => number.to_string(),
        }
    }

    fn padded(&self, text: String, is_number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zeros && is_number) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => "0".repeat(missing) + &text,
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

fn character(code: i64) -> String {
    let found = u32::try_from(code).ok().and_then(char::from_u32);
    found.unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
}
