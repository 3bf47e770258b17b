//! Text to instructions. Every error is told at once; nothing is expanded.

mod arguments;
mod checks;
mod flags;
mod heredoc;
mod lines;
mod words;

pub(crate) use heredoc::parse_word as parse_heredoc_word;

use crate::diagnostic::Diagnostic;
use crate::instruction::{Dockerfile, Instruction, Kind, Stage};
use crate::lint::Linter;
use crate::span::{Source, Span};
use crate::suggest;

use arguments::Arguments;
use flags::Given;
use lines::{Line, Lines};

/// Every instruction.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads a Dockerfile.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn parse(text: &str) -> Result<Dockerfile, Vec<Diagnostic>> {
    let source = Source::new(text);
    let mut parser = Parser::new(&source);
    parser.run();
    parser.finish()
}

/// Reads one instruction that is not in the file: an `ONBUILD` trigger.
///
/// # Errors
/// What is wrong with it; the places are within the trigger.
pub(crate) fn parse_trigger(text: &str, escape: char) -> Result<Instruction, Vec<Diagnostic>> {
    let source = Source::new(text);
    let mut parser = Parser::new(&source);
    parser.lines.directives.escape = escape;
    parser.inside_trigger = true;
    parser.run();
    let mut errors = parser.errors;
    errors.append(&mut parser.lines.errors);
    let mut found = parser.found;
    match (found.pop(), found.is_empty()) {
        (Some(instruction), true) if errors.is_empty() => Ok(instruction),
        _ if errors.is_empty() => Err(vec![Diagnostic::error(
            source.span(0, text.len()),
            "onbuild trigger should be a single expression",
        )]),
        _ => Err(errors),
    }
}

/// What one logical line is.
enum Parsed {
    From(Stage),
    Instruction(Instruction),
}

struct Parser<'a> {
    source: &'a Source<'a>,
    lines: Lines<'a>,
    errors: Vec<Diagnostic>,
    /// Places of empty continuation lines, with the comments above their instruction.
    empty_continuations: Vec<(Span, Vec<String>)>,
    global_args: Vec<Instruction>,
    stages: Vec<Stage>,
    /// Without stages: what a trigger is.
    found: Vec<Instruction>,
    inside_trigger: bool,
    /// A broken `FROM` was told of: what follows is not also told to lack one.
    lost_from: bool,
}

impl<'a> Parser<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            lines: Lines::new(source),
            errors: Vec::new(),
            empty_continuations: Vec::new(),
            global_args: Vec::new(),
            stages: Vec::new(),
            found: Vec::new(),
            inside_trigger: false,
            lost_from: false,
        }
    }

    fn run(&mut self) {
        while let Some(line) = self.lines.next_logical() {
            if let Some(span) = line.empty_continuation {
                self.empty_continuations.push((span, line.comments.clone()));
            }
            let before = self.errors.len();
            match self.line(line) {
                Some(Parsed::From(stage)) if self.inside_trigger => {
                    self.errors.push(Diagnostic::error(
                        stage.span,
                        "FROM isn't allowed as an ONBUILD trigger",
                    ));
                }
                Some(Parsed::From(stage)) => self.stages.push(stage),
                Some(Parsed::Instruction(instruction)) => self.place(instruction),
                None => {}
            }
            if self.errors.len() > before && self.stages.is_empty() {
                self.lost_from = true;
            }
        }
    }

    /// Puts an instruction where it belongs.
    fn place(&mut self, instruction: Instruction) {
        if self.inside_trigger {
            self.found.push(instruction);
        } else if let Some(stage) = self.stages.last_mut() {
            stage.instructions.push(instruction);
        } else if matches!(instruction.kind, Kind::Arg(_)) {
            self.global_args.push(instruction);
        } else if !self.lost_from {
            let error = Diagnostic::error(instruction.line, "no build stage in current context");
            self.errors
                .push(error.help("only ARG may come before the first FROM"));
        }
    }

    fn line(&mut self, line: Line) -> Option<Parsed> {
        let escape = self.lines.directives.escape;
        let parts = words::split_line(&line.text, escape);
        let whole = line.whole(self.source);
        let keyword = parts.keyword.text.to_ascii_uppercase();
        let mut arguments = Arguments {
            keyword: &keyword,
            written: &parts.keyword.text,
            rest: parts.rest,
            flags: parts
                .flags
                .iter()
                .map(|flag| Given {
                    text: flag.text.clone(),
                    span: line.span(self.source, flag.range.clone()),
                })
                .collect(),
            heredocs: Vec::new(),
            escape,
            line: &line,
            source: self.source,
            whole,
            errors: &mut self.errors,
        };
        if !KEYWORDS.contains(&keyword.as_str()) {
            let near = suggest::did_you_mean(&keyword, KEYWORDS);
            let message = format!("unknown instruction: {}{near}", parts.keyword.text);
            let at = line.span(self.source, parts.keyword.range);
            let expected = format!("expected one of {}", KEYWORDS.join(", "));
            self.errors
                .push(Diagnostic::error(at, message).help(expected));
            return None;
        }
        if keyword == "FROM" {
            return arguments.from().map(Parsed::From);
        }
        arguments.announce_heredocs();
        let mut heredocs = std::mem::take(&mut arguments.heredocs);
        let end = match heredoc::read(&mut heredocs, &mut self.lines, self.source) {
            Ok(end) => end.unwrap_or(whole.end),
            Err(unterminated) => {
                let error = Diagnostic::error(whole, "unterminated heredoc");
                arguments.errors.push(error.help(format!(
                    "a line with nothing but `{}` ends it",
                    unterminated.name
                )));
                return None;
            }
        };
        arguments.heredocs = heredocs;
        let kind = arguments.kind()?;
        Some(Parsed::Instruction(Instruction {
            keyword: parts.keyword.text,
            kind,
            span: self.source.span(line.start(), end),
            line: whole,
            original: line.text.trim().to_owned(),
            comments: line.comments,
        }))
    }

    fn finish(mut self) -> Result<Dockerfile, Vec<Diagnostic>> {
        self.errors.append(&mut self.lines.errors);
        if self.stages.is_empty() && self.errors.is_empty() {
            let message = match (self.source.text.is_empty(), self.global_args.is_empty()) {
                (true, _) => "the Dockerfile cannot be empty",
                (false, true) => "file with no instructions",
                (false, false) => "dockerfile contains no stages to build",
            };
            let error = Diagnostic::error(self.source.span(0, 0), message);
            self.errors
                .push(error.help("a Dockerfile begins with `FROM <image>`"));
        }
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| error.span.start);
            return Err(self.errors);
        }
        let mut dockerfile = Dockerfile {
            text: self.source.text.to_owned(),
            directives: self.lines.directives,
            global_args: self.global_args,
            stages: self.stages,
            warnings: Vec::new(),
        };
        let mut linter = Linter::new(dockerfile.directives.check.clone());
        checks::run(&dockerfile, &self.empty_continuations, &mut linter);
        dockerfile.warnings = linter.findings;
        Ok(dockerfile)
    }
}

#[cfg(test)]
mod tests;
