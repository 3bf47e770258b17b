//! Values as Go sees them: what is true, how they are printed, how they compare.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Whether an object stands for a struct: all its keys are exported names.
pub(super) fn is_struct(object: &Map<String, Value>) -> bool {
    let exported = |key: &String| {
        key.starts_with(|c: char| c.is_ascii_uppercase())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    !object.is_empty() && object.keys().all(exported)
}

/// Whether `if` takes it for true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The text that an action prints.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        value => plain(value),
    }
}

/// As Go's `%v`.
pub(super) fn plain(value: &Value) -> String {
    let joined = |texts: Vec<String>| texts.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number_text(number),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", joined(list.iter().map(plain).collect())),
        Value::Object(map) if is_struct(map) => {
            format!("{{{}}}", joined(map.values().map(plain).collect()))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let texts = entries.into_iter().map(|(key, value)| match value {
                // As `"80/tcp": {}`: nothing is known of it.
                Value::Object(empty) if empty.is_empty() => format!("{key}:{{}}"),
                value => format!("{key}:{}", plain(value)),
            });
            format!("map[{}]", joined(texts.collect()))
        }
    }
}

fn number_text(number: &serde_json::Number) -> String {
    match number.as_f64() {
        // Go writes very large and very small ones with an exponent of at least two digits.
        Some(value) if number.is_f64() && value != 0.0 && !(1e-4..1e21).contains(&value.abs()) => {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
        }
        Some(value) if number.is_f64() => value.to_string(),
        _ => number.to_string(),
    }
}

/// The kind, in Go's words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(list) if list.iter().all(Value::is_string) => "[]string",
        Value::Array(_) => "[]interface {}",
        Value::Object(map) if !map.is_empty() && map.values().all(Value::is_string) => {
            "map[string]string"
        }
        Value::Object(_) => "map[string]interface {}",
    }
}

/// How two values of one kind compare; `None` when they do not.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() == right.is_f64() => {
            match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => Some(left.cmp(&right)),
                _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
            }
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}
