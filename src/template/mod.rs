//! Go templates, as `--format` takes them: the part of `text/template` that people write on command lines, and Docker's functions.
//!
//! A template is read once and rendered over JSON values. A JSON object stands for a Go struct when all its keys are
//! exported names; then a field that it does not have is an error, where a map gives `<no value>`.
//! Knows nothing of containers and tables.

mod eval;
mod functions;
mod omitted;
mod parse;
mod printf;
mod token;
mod value;

use std::collections::BTreeMap;

use serde_json::Value;

use parse::Node;

/// A template that has been read.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    body: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
    fields: Vec<String>,
    is_object: bool,
}

/// A template that cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError(pub(crate) String);

impl std::fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "template parsing error: template: :1: {}",
            self.0
        )
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is not well-formed, or a function is not known.
    pub(crate) fn parse(text: &str) -> Result<Template, TemplateError> {
        let tokens = token::tokens(text)?;
        let (body, defined) = parse::parse(&tokens)?;
        let fields = tokens.into_iter().filter_map(|token| match token {
            token::Token::Field { name, .. } => Some(name).filter(|name| !name.is_empty()),
            _ => None,
        });
        Ok(Template {
            fields: fields.collect(),
            body,
            defined,
            is_object: false,
        })
    }

    /// The template for whole objects of the engine, which leaves out on the wire what is empty.
    pub(crate) fn of_objects(mut self) -> Template {
        self.is_object = true;
        self
    }

    /// The names of all fields that it mentions.
    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The text for one value.
    ///
    /// # Errors
    /// A field does not exist, or a function cannot work on what it gets.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let parts = eval::Parts {
            body: &self.body,
            defined: &self.defined,
            is_object: self.is_object,
        };
        eval::render(parts, data)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "Name": "/web", "Id": "0123456789abcdef", "Running": true, "Count": 3, "Ratio": 1.5, "Empty": "",
            "State": {"Status": "running", "ExitCode": 0},
            "Labels": "a=1,b=2",
            "Config": {"Labels": {"com.x/y": "z", "a": "1"}, "Env": ["A=1", "B=2"], "Cmd": null},
            "Networks": {"n2": {"IPAddress": "10.0.0.2"}, "n1": {"IPAddress": "10.0.0.1"}},
        })
    }

    fn render(text: &str) -> Result<String, TemplateError> {
        Template::parse(text)?.render(&data())
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }

    fn refused(text: &str, says: &str) {
        let error = render(text).expect_err(text);
        assert!(error.to_string().contains(says), "{text}: {error}");
    }

    /// Each line of the table is a template and what Docker's own command line printed for it, or null and how it said why not (nothing where our words are others).
    #[test]
    fn templates_come_out_as_dockers() {
        let data: Value = serde_json::from_str(include_str!("docker.json")).expect("an object");
        let mut wrong = Vec::new();
        for line in include_str!("docker.jsonl").lines() {
            let case: Vec<Option<String>> = serde_json::from_str(line).expect("a list");
            let text = case[0].as_deref().expect("a template");
            let got =
                Template::parse(text).and_then(|template| template.of_objects().render(&data));
            let as_expected = match (&got, &case[1]) {
                (Ok(got), Some(expected)) => got == expected,
                (Err(error), None) => {
                    let why = case[2].as_deref().expect("a reason");
                    error.to_string().ends_with(why)
                }
                _ => false,
            };
            if !as_expected {
                wrong.push(format!("{line}\n    {got:?}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "{} differ:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }

    #[test]
    fn fields_pipes_and_literals() {
        check("{{.Name}} {{ .State.Status }}", "/web running");
        check("plain", "plain");
        check("{{.Count}} {{.Ratio}} {{.Running}}", "3 1.5 true");
        check("{{.Name | upper | printf \"%q\"}}", "\"/WEB\"");
        check("{{\"a\\tb\"}}{{`c\\d`}}{{1}}{{'x'}}", "a\tbc\\d1120");
        check("{{.ID}}", "0123456789abcdef");
        check("{{(index .Networks \"n1\").IPAddress}}", "10.0.0.1");
        check(
            "{{.Config.Env}} {{.Config.Labels}}",
            "[A=1 B=2] map[a:1 com.x/y:z]",
        );
        check("{{.Config.Labels.missing}}", "<no value>");
        check("{{index .Config.Labels \"com.x/y\"}}", "z");
        check("{{index .Config.Labels \"none\"}}|", "|");
        check("{{.Label \"b\"}}", "2");
        check("a {{- \" b \" -}} c", "a b c");
        check("a{{/* nothing */}}b", "ab");
        check("{{json .State}}", "{\"Status\":\"running\",\"ExitCode\":0}");
        check("{{json .Config.Cmd}} {{.Config.Cmd}}", "null <no value>");
    }

    #[test]
    fn control() {
        check("{{if .Running}}yes{{else}}no{{end}}", "yes");
        check(
            "{{if .Empty}}a{{else if eq .Count 3}}b{{else}}c{{end}}",
            "b",
        );
        check("{{if and .Running (not .Empty)}}y{{end}}", "y");
        check(
            "{{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}}",
            "-",
        );
        check("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]");
        check(
            "{{range $i, $v := .Config.Env}}{{$i}}:{{$v}} {{end}}",
            "0:A=1 1:B=2 ",
        );
        check(
            "{{range $k, $v := .Networks}}{{$k}}={{$v.IPAddress}};{{end}}",
            "n1=10.0.0.1;n2=10.0.0.2;",
        );
        check("{{range .Config.Cmd}}x{{else}}none{{end}}", "none");
        check(
            "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
            "A=1",
        );
        check(
            "{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
            "B=2",
        );
        check(
            "{{with .State}}{{.Status}} {{$.Name}}{{end}}",
            "running /web",
        );
        check("{{with .Empty}}x{{else}}empty{{end}}", "empty");
        check("{{$x := .Count}}{{$x = 4}}{{$x}}", "4");
        check(
            "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}",
            "</web>",
        );
        check("{{block \"b\" .Name}}[{{.}}]{{end}}", "[/web]");
    }

    #[test]
    fn functions() {
        check("{{len .Config.Env}} {{len .Name}}", "2 4");
        check("{{join .Config.Env \",\"}}", "A=1,B=2");
        check(
            "{{split \"a:b\" \":\"}} {{title \"ab cd\"}} {{lower \"AB\"}}",
            "[a b] Ab Cd ab",
        );
        check(
            "{{pad .Name 1 2}}|{{truncate .Id 4}}|{{slice .Name 1}}|{{slice .Id 0 2}}",
            " /web  |0123|web|01",
        );
        check("{{println .Count}}{{print 1 2 \"a\" \"b\"}}", "3\n1 2ab");
        check(
            "{{printf \"%s-%d-%v-%5d|%-4s|%05.1f%%\" .Name 7 true 42 \"x\" 2.25}}",
            "/web-7-true-   42|x   |002.2%",
        );
        check(
            "{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}} {{eq 1 3 2 1}}",
            "true true true true false true",
        );
        check("{{or .Empty \"default\"}} {{and 1 0}}", "default 0");
    }

    #[test]
    fn mistakes_are_told() {
        refused("{{.Nope}}", "can't evaluate field Nope");
        refused("{{.Name", "unclosed action");
        refused("{{if .Name}}x", "unexpected EOF");
        refused("{{end}}", "unexpected {{end}}");
        refused("{{nope .}}", "function \"nope\" not defined");
        refused("{{.Name.First}}", "can't evaluate field First");
        refused("{{\"a}}", "unterminated");
        refused("{{$x}}", "undefined variable");
        refused("{{index .Config.Env 9}}", "out of range");
        refused("{{template \"nope\"}}", "not defined");
    }
}
