//! The functions that templates may call: Go's own and Docker's.

use serde_json::Value;

use super::printf::printf;
use super::value::{compare, is_true, kind, plain};

/// Each with how few and, unless there is no limit, how many arguments it takes.
const KNOWN: [(&str, usize, Option<usize>); 27] = [
    ("and", 1, None),
    ("call", 1, None),
    ("eq", 1, None),
    ("ge", 2, Some(2)),
    ("gt", 2, Some(2)),
    ("html", 0, None),
    ("index", 1, None),
    ("join", 2, Some(2)),
    ("js", 0, None),
    ("json", 1, Some(1)),
    ("le", 2, Some(2)),
    ("len", 1, Some(1)),
    ("lower", 1, Some(1)),
    ("lt", 2, Some(2)),
    ("ne", 2, Some(2)),
    ("not", 1, Some(1)),
    ("or", 1, None),
    ("pad", 3, Some(3)),
    ("print", 0, None),
    ("printf", 1, None),
    ("println", 0, None),
    ("slice", 1, None),
    ("split", 2, Some(2)),
    ("title", 1, Some(1)),
    ("truncate", 2, Some(2)),
    ("upper", 1, Some(1)),
    ("urlquery", 0, None),
];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|(known, ..)| *known == name)
}

/// What is wrong with the number of arguments.
fn miscounted(name: &str, got: usize) -> Option<String> {
    let (_, least, most) = KNOWN.iter().find(|(known, ..)| *known == name)?;
    let wanted = match most {
        Some(most) if got < *least || got > *most => least.to_string(),
        None if got < *least => format!("at least {least}"),
        _ => return None,
    };
    Some(format!(
        "wrong number of args for {name}: want {wanted} got {got}"
    ))
}

type Outcome = Result<Value, String>;

pub(super) fn call(name: &str, arguments: &[Value]) -> Outcome {
    if let Some(why) = miscounted(name, arguments.len()) {
        return Err(why);
    }
    outcome(name, arguments).map_err(|why| format!("error calling {name}: {why}"))
}

fn outcome(name: &str, arguments: &[Value]) -> Outcome {
    match (name, arguments) {
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("call", [Value::Null, ..]) => Err("call of nil".to_owned()),
        ("call", [value, ..]) => Err(format!("non-function of type {}", kind(value))),
        ("eq", [_]) => Err("missing argument for comparison".to_owned()),
        ("eq", [first, rest @ ..]) => equal(first, rest),
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
        ("js", values) => Ok(escape_js(&print(values)).into()),
        ("urlquery", values) => Ok(escape_query(&print(values)).into()),
        ("json", [value]) => match serde_json::to_string(value) {
            // Go escapes what would end a line of JavaScript.
            Ok(text) => Ok(text
                .replace('\u{2028}', "\\u2028")
                .replace('\u{2029}', "\\u2029")
                .into()),
            Err(error) => Err(error.to_string()),
        },
        ("join", [list, separator]) => join(list, &text(separator)?),
        ("split", [value, separator]) => {
            let (value, separator) = (text(value)?, text(separator)?);
            let parts: Vec<String> = match separator.is_empty() {
                true => value.chars().map(String::from).collect(),
                false => value.split(&separator).map(str::to_owned).collect(),
            };
            Ok(parts.into())
        }
        ("lower", [value]) => Ok(text(value)?.to_lowercase().into()),
        ("upper", [value]) => Ok(text(value)?.chars().map(capital).collect::<String>().into()),
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
            // Bytes, as Go counts, but no half of a character.
            let (mut text, width) = (text(value)?, whole(width)?);
            text.truncate(text.floor_char_boundary(width));
            Ok(text.into())
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
    for value in std::iter::once(first).chain(others) {
        if value.is_array() || value.is_object() {
            // Only with nothing can a list be compared.
            return match others.iter().chain([first]).any(Value::is_null) {
                true => Ok(false.into()),
                false => Err(format!(
                    "non-comparable type {}: {}",
                    plain(value),
                    kind(value)
                )),
            };
        }
    }
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
    let has_order = |value: &Value| value.is_number() || value.is_string();
    if !has_order(left) {
        return Err("invalid type for comparison".to_owned());
    }
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
    let at = || match key {
        Value::Number(number) => number
            .as_u64()
            .and_then(|at| usize::try_from(at).ok())
            .ok_or_else(|| format!("index out of range: {number}")),
        other => Err(format!(
            "cannot index slice/array with type {}",
            kind(other)
        )),
    };
    match value {
        Value::Array(list) => {
            let at = at()?;
            list.get(at)
                .cloned()
                .ok_or_else(|| format!("index out of range: {at}"))
        }
        Value::String(text) => {
            let at = at()?;
            let byte = text.as_bytes().get(at);
            byte.map(|byte| Value::from(*byte))
                .ok_or_else(|| format!("index out of range: {at}"))
        }
        // A map of texts has none for a key that it lacks.
        Value::Object(map) => {
            let Value::String(key) = key else {
                return Err(format!("value has type {}; should be string", kind(key)));
            };
            let texts = map.values().all(Value::is_string);
            let missing = if texts { "".into() } else { Value::Null };
            Ok(map.get(key).cloned().unwrap_or(missing))
        }
        Value::Null => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", kind(other))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Outcome {
    if !(value.is_string() || value.is_array()) {
        return Err(format!("can't slice item of type {}", kind(value)));
    }
    if value.is_string() && bounds.len() > 2 {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let size = length(value)?;
    let bound = |at: usize, otherwise: usize| match bounds.get(at).map(whole) {
        None => Ok(otherwise),
        Some(Ok(bound)) if bound > size => Err(format!("index out of range: {bound}")),
        Some(bound) => bound,
    };
    let (from, to) = (bound(0, 0)?, bound(1, size)?);
    bound(2, size)?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Value::Array(list) => Ok(list.get(from..to).unwrap_or_default().to_vec().into()),
        value => {
            let text = text(value)?;
            let part = text.as_bytes().get(from..to).unwrap_or_default();
            Ok(String::from_utf8_lossy(part).into_owned().into())
        }
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

/// A capital, where it is one character.
fn capital(c: char) -> char {
    let mut capitals = c.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) => capital,
        _ => c,
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    let upper = |c: char| match std::mem::replace(&mut start, !(c.is_alphanumeric() || c == '_')) {
        true => capital(c),
        false => c,
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

fn escape_js(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => escaped.extend(['\\', c]),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_query(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
