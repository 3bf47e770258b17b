//! Lists in the form that `--format` asks for: a table, JSON lines, or a Go template.
//!
//! A row is a JSON object with the names of Docker's fields; which of them the plain table shows, and under which
//! heading, is the list's own business.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::template::Template;
use crate::ui::Ui;
use crate::ui::table::Table;

/// The columns of a plain table: field and heading.
pub(crate) type Columns = [(&'static str, &'static str)];

/// A form of output.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// The plain table.
    Table,
    /// One object a line.
    Json,
    /// A template for each row, as columns below a heading or as it is.
    Template { template: Template, table: bool },
}

impl Format {
    /// Reads `--format`; nothing and `table` mean the plain table.
    ///
    /// # Errors
    /// The template cannot be read.
    pub(crate) fn read(text: Option<&str>) -> Result<Format, Failure> {
        // A shell leaves `\t` as it is.
        let unescaped = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
        let template = |text: &str| {
            Template::parse(&unescaped(text)).map_err(|error| {
                let failure = Failure::from(error);
                failure.hint("--format takes table, json, \"table TEMPLATE\" or a Go template")
            })
        };
        Ok(match text.map(str::trim).unwrap_or_default() {
            "" | "table" => Format::Table,
            "json" | "{{json .}}" => Format::Json,
            text => match text.strip_prefix("table ") {
                Some(rest) => Format::Template {
                    template: template(rest.trim())?,
                    table: true,
                },
                None if is_word(text) => {
                    return Err(Failure::new(format!("cannot print as \"{text}\""))
                        .hint("--format takes table, json or a Go template such as {{.Name}}"));
                }
                None => Format::Template {
                    template: template(text)?,
                    table: false,
                },
            },
        })
    }
}

fn is_word(text: &str) -> bool {
    text.chars().all(char::is_alphanumeric)
}

/// Prints rows.
///
/// # Errors
/// A field of the template does not exist, or the output cannot be written.
pub(crate) fn print(
    ui: &Ui,
    format: &Format,
    columns: &Columns,
    rows: &[Value],
) -> Result<(), Failure> {
    match format {
        Format::Json => rows.iter().try_for_each(|row| ui.line(&row.to_string())),
        _ => {
            let text = text(format, columns, rows)?;
            if text.is_empty() {
                Ok(())
            } else {
                ui.line(&text)
            }
        }
    }
}

/// The text of a list in another form than JSON, without a newline at the end.
///
/// # Errors
/// A field of the template does not exist.
pub(crate) fn text(format: &Format, columns: &Columns, rows: &[Value]) -> Result<String, Failure> {
    let Format::Template { template, table } = format else {
        let mut table = Table::new(
            &columns
                .iter()
                .map(|(_, heading)| *heading)
                .collect::<Vec<_>>(),
        );
        for row in rows {
            let cell = |(field, _): &(&str, &str)| cell(row.get(*field));
            table.row(columns.iter().map(cell).collect());
        }
        return Ok(table.render());
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    if *table {
        lines.push(template.render(&headings(columns, rows, template))?);
    }
    for row in rows {
        lines.push(template.render(row)?);
    }
    if !*table {
        return Ok(lines.join("\n"));
    }
    let mut lines = lines.into_iter();
    let heading = lines.next().unwrap_or_default();
    let mut table = Table::new(&heading.split('\t').collect::<Vec<_>>());
    lines.for_each(|line| table.row(line.split('\t').map(str::to_owned).collect()));
    Ok(table.render())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A row that holds each field's heading.
fn headings(columns: &Columns, rows: &[Value], template: &Template) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (field, heading) in columns {
        all.insert((*field).to_owned(), (*heading).into());
    }
    let fields = rows
        .first()
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let mut names: Vec<&String> = fields.map(|(field, _)| field).collect();
    if rows.is_empty() {
        // Nothing says which fields there are: what is asked for has a heading, too.
        names.extend(template.fields());
    }
    for field in names {
        if !all.contains_key(field) {
            all.insert(field.clone(), in_words(field).into());
        }
    }
    Value::Object(all)
}

/// `CreatedAt` as "CREATED AT".
fn in_words(field: &str) -> String {
    let mut words = String::new();
    let mut small = false;
    for c in field.chars() {
        if c.is_uppercase() && small {
            words.push(' ');
        }
        small = c.is_lowercase();
        words.extend(c.to_uppercase());
    }
    words
}

/// JSON with four blanks for each level, as Docker writes it.
fn indented(found: &[Value]) -> Result<String, Failure> {
    use serde::Serialize as _;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    found.serialize(&mut writer)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints what is known of objects: as JSON, or each through a template.
///
/// # Errors
/// The template cannot be read or rendered, or the output cannot be written.
pub(crate) fn inspect(ui: &Ui, format: Option<&str>, found: &[Value]) -> Result<(), Failure> {
    match format.map(str::trim).unwrap_or_default() {
        "" => ui.line(&indented(found)?),
        "json" => found.iter().try_for_each(|one| ui.line(&one.to_string())),
        text => {
            let template = Template::parse(text)?.of_objects();
            found
                .iter()
                .try_for_each(|one| ui.line(&template.render(one)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &Columns = &[("Name", "NAME"), ("RunningFor", "CREATED")];

    fn check(format: &str, expected: &str) {
        let rows = [
            json!({"Name": "web", "RunningFor": "2 days ago", "LocalVolumes": "1"}),
            json!({"Name": "database-1", "RunningFor": "1 day ago", "LocalVolumes": "0"}),
        ];
        let format = Format::read(Some(format)).expect("it can be read");
        assert_eq!(
            text(&format, COLUMNS, &rows).expect("it can be rendered"),
            expected
        );
    }

    #[test]
    fn forms() {
        check(
            "",
            "NAME         CREATED\nweb          2 days ago\ndatabase-1   1 day ago",
        );
        check(
            "{{.Name}}: {{upper .RunningFor}}",
            "web: 2 DAYS AGO\ndatabase-1: 1 DAY AGO",
        );
        check(
            "table {{.Name}}\\t{{.LocalVolumes}}\\t{{.RunningFor}}",
            "NAME         LOCAL VOLUMES   CREATED\nweb          1               2 days ago\ndatabase-1   0               1 day ago",
        );
        let format = Format::read(Some("table {{.Name}}\\t{{.LocalVolumes}}")).expect("a format");
        assert_eq!(
            text(&format, COLUMNS, &[]).as_deref().ok(),
            Some("NAME      LOCAL VOLUMES")
        );
        assert!(Format::read(Some("yaml")).is_err());
        assert!(Format::read(Some("{{.Name")).is_err());
    }
}
