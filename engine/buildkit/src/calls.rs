//! Calls of the frontend that build nothing: `docker build --check`, `--call=targets`, `--call=outline`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use hoist_api::build::{
    BuildCall, BuildEvent, BuildFailure, BuildOutput, BuildPlace, BuildWarning,
};
use serde_json::{Value, json};

use crate::builder::Describe;
use crate::files::Gather;
use crate::grpc::{Code, Status};
use crate::jobs::Job;
use crate::progress::failure_message;
use crate::request;
use crate::solve::{Solver, Wanted, check_frontend, status};
use crate::steps::Steps;

/// The version of the answers' form, of all calls.
const VERSION: &str = "1.0.0";
/// The calls, and what each is for.
const CALLS: [(&str, &str); 4] = [
    (
        "frontend.outline",
        "List all parameters current build target supports",
    ),
    (
        "frontend.targets",
        "List all targets current build supports",
    ),
    ("frontend.lint", "Lint a Dockerfile"),
    (
        "frontend.subrequests.describe",
        "List available subrequest types",
    ),
];

/// An answer: what clients find in the metadata of a result without files.
pub(crate) type Answered = BTreeMap<String, Vec<u8>>;

/// The call that a request is for, instead of a build.
pub(crate) fn of(attrs: &BTreeMap<String, String>) -> Option<&str> {
    let call = attrs.get("requestid").map(String::as_str);
    call.filter(|call| !call.is_empty())
}

impl Solver {
    /// Answers a call.
    pub(crate) async fn answer(
        &self,
        job: &Job,
        call: &str,
        wanted: Wanted<'_>,
    ) -> Result<Answered, Status> {
        check_frontend(&wanted)?;
        if call == "frontend.subrequests.describe" {
            return Ok(described());
        }
        let describe = match call {
            "frontend.lint" => None,
            "frontend.targets" => Some(Describe::Targets),
            "frontend.outline" => Some(Describe::Outline),
            _ => {
                let message = format!("the call {call} is not answered by this builder");
                return Err(Status::new(Code::Unimplemented, message));
            }
        };
        let mut attrs = wanted.attrs.clone();
        attrs.remove("requestid");
        let mut asked = request::read(&attrs, wanted.inputs)?;
        let session = self.sessions.get(&job.request.session).await?;
        let steps = Steps::new(job.progress.clone(), job.request.reference.clone());
        let gather = Gather {
            sessions: &self.sessions,
            contexts: &self.contexts,
            session: session.clone(),
            steps: &steps,
            text_only: true,
        };
        let mut files = gather.run(&mut asked).await?;
        asked.request.call = BuildCall::Check;
        asked.request.outputs = vec![BuildOutput::Cache];
        if let Some(describe) = describe {
            let Some((_, text)) = &files.dockerfile else {
                let message = format!("the call {call} needs a Dockerfile of the client");
                return Err(Status::new(Code::Unimplemented, message));
            };
            let answer = self.builder.describe(describe, text, &asked.request);
            let mut answer = answer.map_err(|error| status(&error))?;
            answer["sources"] = json!([STANDARD.encode(text)]);
            return Ok(answered(&answer, [("version", VERSION)]));
        }
        let events = self
            .builder
            .build(asked.request, files.archive.take(), session)
            .await;
        let mut events = events.map_err(|error| status(&error))?;
        let mut checked = Checked::default();
        while let Some(event) = events.next().await {
            match event {
                BuildEvent::Warning(warning) => checked.warnings.push(warning),
                BuildEvent::Failed(failure) => checked.failure = Some(failure),
                _ => {}
            }
        }
        Ok(checked.answer(files.dockerfile.as_ref()))
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Checked {
    warnings: Vec<BuildWarning>,
    failure: Option<BuildFailure>,
}

impl Checked {
    fn answer(&self, dockerfile: Option<&(String, Vec<u8>)>) -> Answered {
        // Without the text there is nothing to point into.
        let source = if dockerfile.is_some() { 0 } else { -1 };
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|warning| {
                json!({
                    "ruleName": warning.rule,
                    "url": warning.url,
                    "detail": warning.message,
                    "location": location(warning.place.as_ref(), source),
                })
            })
            .collect();
        let sources = dockerfile.map(|(name, text)| {
            json!({ "filename": name, "language": "Dockerfile", "data": STANDARD.encode(text) })
        });
        let mut answer = json!({
            "warnings": warnings,
            "sources": Vec::from_iter(sources),
        });
        // A failure that stands nowhere is told with the first line.
        if let Some(failure) = self.failure.as_ref() {
            answer["buildError"] = json!({
                "message": failure_message(failure),
                "location": location(failure.place.as_ref(), source.max(0)),
            });
        }
        let is_clean = self.warnings.is_empty() && self.failure.is_none();
        let code = if is_clean { "0" } else { "1" };
        let text = self.text();
        let more = [
            ("version", VERSION),
            ("result.txt", text.as_str()),
            ("result.statuscode", code),
        ];
        answered(&answer, more)
    }

    fn text(&self) -> String {
        let warning = |warning: &BuildWarning| {
            let (rule, url, message) = (&warning.rule, &warning.url, &warning.message);
            let place = warning.place.as_ref();
            let line = place.map(|place| format!("{}:{}\n", place.file, place.line));
            let line = line.unwrap_or_default();
            format!("\nWARNING: {rule} - {url}\n{message}\n{line}")
        };
        self.warnings.iter().map(warning).collect()
    }
}

fn location(place: Option<&BuildPlace>, source: i32) -> Value {
    let ranges = place.map(|place| {
        json!({
            "start": { "line": place.line },
            "end": { "line": place.end_line.max(place.line) },
        })
    });
    let mut location = json!({ "ranges": Vec::from_iter(ranges) });
    if source != 0 {
        location["sourceIndex"] = json!(source);
    }
    location
}

fn described() -> Answered {
    let calls = CALLS.map(|(name, description)| {
        json!({
            "name": name,
            "version": VERSION,
            "type": "rpc",
            "description": description,
            "metadata": [{ "Name": "result.json" }, { "Name": "result.txt" }],
        })
    });
    let text: String = CALLS
        .iter()
        .map(|(name, description)| format!("{name}\t{VERSION}\t{description}\n"))
        .collect();
    let more = [("version", VERSION), ("result.txt", text.as_str())];
    answered(&Value::from(calls.to_vec()), more)
}

fn answered<const N: usize>(answer: &Value, more: [(&str, &str); N]) -> Answered {
    let json = ("result.json".to_owned(), answer.to_string().into_bytes());
    let more = more.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    more.into_iter().chain([json]).collect()
}
