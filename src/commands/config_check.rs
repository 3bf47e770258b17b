//! `hoist config --check`: all that is wrong or doubtful about the files, for people or for editors.

use hoist_compose::load::{Diagnostic, LoadOptions, LocalFiles, load_and_lint};
use serde_json::{Value, json};

use super::config::{ConfigArgs, ConfigFormat, output};
use crate::context::Context;
use crate::failure::{FAILED, Failure};

/// Checks the files. Doubtful things do not make it fail.
///
/// # Errors
/// The files are wrong.
pub(crate) fn run(
    context: &Context,
    args: &ConfigArgs,
    options: &LoadOptions,
) -> Result<(), Failure> {
    let (findings, failed) = match load_and_lint(options, &LocalFiles, &args.allow) {
        Ok(loaded) => (loaded.warnings, false),
        Err(error) => (error.diagnostics, true),
    };
    if args.format == Some(ConfigFormat::Json) && !args.quiet {
        let findings: Vec<Value> = findings.iter().map(Diagnostic::to_json).collect();
        output(
            context,
            args,
            &format!("{:#}\n", json!({ "findings": findings })),
        )?;
    } else {
        let color = context.ui.color_err;
        for finding in &findings {
            context.ui.note(&finding.render(color));
        }
    }
    if failed {
        Err(Failure::exit(FAILED))
    } else {
        Ok(())
    }
}
