//! A build's events in the words of Docker's classic builder.

use bytes::Bytes;
use hoist_api::build::{BuildEvent, BuildFailure, BuildResult};
use hoist_api::image::{ErrorDetail, Progress};
use serde_json::json;

use crate::serve::query::Query;

/// Writes lines.
#[derive(Debug)]
pub(super) struct Writer {
    /// Only the id.
    quiet: bool,
    /// The client reads BuildKit's lines: `version=2`.
    buildkit: bool,
}

impl Writer {
    pub(super) fn new(query: &Query) -> Self {
        Self {
            quiet: query.flag("q"),
            buildkit: query.text("version") == "2",
        }
    }

    /// What an event becomes.
    pub(super) fn lines(&mut self, event: BuildEvent) -> Vec<Bytes> {
        let progress = match event {
            BuildEvent::Finished(result) => self.finished(&result),
            BuildEvent::Failed(failure) => vec![failed(&failure)],
            _ => Vec::new(),
        };
        progress.iter().map(line).collect()
    }

    fn finished(&self, result: &BuildResult) -> Vec<Progress> {
        if self.buildkit {
            return vec![Progress {
                id: "moby.image.id".to_owned(),
                aux: Some(json!({ "ID": result.image })),
                ..Progress::default()
            }];
        }
        if self.quiet {
            return vec![text(format!("{}\n", result.image))];
        }
        let short = result
            .image
            .strip_prefix("sha256:")
            .unwrap_or(&result.image);
        let mut lines = vec![
            Progress {
                aux: Some(json!({ "ID": result.image })),
                ..Progress::default()
            },
            text(format!(
                "Successfully built {}\n",
                short.get(..12).unwrap_or(short)
            )),
        ];
        lines.extend(
            result
                .tags
                .iter()
                .map(|tag| text(format!("Successfully tagged {tag}\n"))),
        );
        lines
    }
}

fn text(stream: String) -> Progress {
    Progress {
        stream,
        ..Progress::default()
    }
}

fn failed(failure: &BuildFailure) -> Progress {
    Progress {
        error: failure.message.clone(),
        error_detail: Some(ErrorDetail {
            code: failure.exit_code,
            message: failure.message.clone(),
        }),
        ..Progress::default()
    }
}

fn line(progress: &Progress) -> Bytes {
    let mut line = serde_json::to_vec(progress).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    line.into()
}
