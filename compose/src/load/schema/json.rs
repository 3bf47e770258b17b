//! The table as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use super::types::{ANY, BOOL, Cast, Fields, INT, NULL, NUMBER, Rule, STRING, Type, Unify};

/// The JSON Schema (2020-12) of a Compose file.
pub(crate) fn json_schema() -> Value {
    let mut schema = type_schema(&super::ROOT);
    if let Value::Object(map) = &mut schema {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("Compose file"));
    }
    schema
}

fn type_schema(ty: &'static Type) -> Value {
    if std::ptr::eq(ty, &ANY) {
        return json!(true);
    }
    let mut kinds: Vec<&str> = Vec::new();
    let names = [(NULL, "null"), (BOOL, "boolean"), (STRING, "string")];
    kinds.extend(
        names
            .iter()
            .filter(|(bit, _)| ty.scalars & bit != 0)
            .map(|(_, name)| *name),
    );
    if ty.scalars & NUMBER == NUMBER {
        kinds.push("number");
    } else if ty.scalars & INT != 0 {
        kinds.push("integer");
    }
    let mut schema = Map::new();
    if ty.cast == Cast::Bool && !kinds.contains(&"string") {
        kinds.push("string");
    }
    if std::ptr::eq(ty, &super::SERVICE) {
        // A service without anything, for others to extend.
        kinds.push("null");
    }
    if let Some(items) = ty.items {
        kinds.push("array");
        schema.insert("items".to_owned(), type_schema(items));
        // Repetitions that mean the same thing are unified before they are counted.
        if ty.unique_items && ty.unify == Unify::None {
            schema.insert("uniqueItems".to_owned(), json!(true));
        }
    }
    if let Some(fields) = ty.fields {
        kinds.push("object");
        add_fields(fields, &mut schema);
    }
    match ty.rule {
        // A variable may stand for the word.
        Rule::Words(words) if ty.items.is_none() => {
            schema.insert(
                "anyOf".to_owned(),
                json!([{ "enum": words }, { "pattern": "\\$" }]),
            );
        }
        Rule::Between(low, high) => {
            schema.insert("minimum".to_owned(), json!(low));
            if high != i64::MAX {
                schema.insert("maximum".to_owned(), json!(high));
            }
        }
        _ => {}
    }
    schema.insert("type".to_owned(), json!(kinds));
    Value::Object(schema)
}

fn add_fields(fields: &'static Fields, schema: &mut Map<String, Value>) {
    let named: Map<String, Value> = fields
        .named
        .iter()
        .map(|(name, ty)| ((*name).to_owned(), type_schema(ty)))
        .collect();
    if !named.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(named));
    }
    // An override file may change a dependency without repeating its condition.
    if !fields.required.is_empty() && fields.required != ["condition"] {
        schema.insert("required".to_owned(), json!(fields.required));
    }
    if fields.extensions {
        schema.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    }
    let others = fields
        .open
        .as_ref()
        .map_or(json!(false), |open| type_schema(open.value));
    schema.insert("additionalProperties".to_owned(), others);
}
