//! `hoist config --variables`: the variables that the files use, as a table, as JSON or as YAML.

use hoist_compose::load::Variable;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::config::{ConfigFormat, yaml_with};
use crate::failure::Failure;

/// The variables in the form that was asked for; the keys of JSON and YAML are the reference's.
///
/// # Errors
/// They cannot be written as YAML.
pub(super) fn text(
    mut variables: Vec<Variable>,
    format: Option<ConfigFormat>,
) -> Result<String, Failure> {
    let Some(format) = format else {
        return Ok(table(&variables));
    };
    variables.sort_by(|left, right| left.name.cmp(&right.name));
    let entries = variables.into_iter().map(|variable| {
        let default = variable.default.unwrap_or_default();
        let alternate = variable.alternate.unwrap_or_default();
        let value = match format {
            ConfigFormat::Json => json!({
                "Name": variable.name,
                "DefaultValue": default,
                "PresenceValue": alternate,
                "Required": variable.required,
            }),
            ConfigFormat::Yaml => json!({
                "name": variable.name,
                "defaultvalue": default,
                "presencevalue": alternate,
                "required": variable.required,
            }),
        };
        (variable.name, value)
    });
    let value = Value::Object(entries.collect::<Map<_, _>>());
    // Indented by four and with an empty line at the end: the reference's, for those who compare.
    match format {
        ConfigFormat::Json => Ok(indented(&value)? + "\n\n"),
        ConfigFormat::Yaml => yaml_with(&value, 4),
    }
}

fn indented(value: &Value) -> Result<String, Failure> {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, form);
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn table(variables: &[Variable]) -> String {
    // Columns of at least 20, three blanks between them, the last one as it is: as the reference's, for scripts.
    let width =
        |of: &dyn Fn(&Variable) -> usize| variables.iter().map(of).max().unwrap_or(0).max(17) + 3;
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    let name_width = width(&|variable| variable.name.len());
    let default_width = width(&|variable| word(&variable.default).len());
    let row = |name: &str, required: &str, default: &str, alternate: &str| {
        format!("{name:name_width$}{required:<20}{default:<default_width$}{alternate}\n")
    };
    let mut text = row("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE");
    for variable in variables {
        let required = variable.required.to_string();
        text += &row(
            &variable.name,
            &required,
            &word(&variable.default),
            &word(&variable.alternate),
        );
    }
    text
}
