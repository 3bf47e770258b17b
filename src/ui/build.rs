//! What builds tell: live lines on a terminal, numbered lines as BuildKit's else, or the events themselves.
//!
//! Several builds may run at once; each of their steps has a number of its own in what is shown.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

use hoist_api::build::{BuildEvent, BuildFailure, BuildPlace, BuildStep, BuildWarning};
use unicode_width::UnicodeWidthStr;

use super::progress::cut;
use super::style::Style;
use super::{Ui, terminal};
use crate::building::Shown;
use crate::globals::ProgressMode;

/// Lines of output that are shown below a running step.
const LIVE_LINES: usize = 4;

/// Shows builds.
#[derive(Debug)]
pub(crate) struct BuildView {
    mode: ProgressMode,
    on_stdout: bool,
    color: bool,
    began: Instant,
    steps: Vec<StepView>,
    warnings: Vec<(String, BuildWarning)>,
    /// Plain: the step whose lines came last.
    last: Option<usize>,
    /// Live: lines drawn last time, above the cursor.
    drawn: usize,
}

#[derive(Debug)]
struct StepView {
    build: String,
    id: u32,
    name: String,
    /// Unix time in microseconds.
    started: i64,
    since: Instant,
    end: Option<StepEnd>,
    /// What it printed last, whole lines.
    output: VecDeque<String>,
    /// The beginning of a line.
    partial: String,
}

#[derive(Debug)]
struct StepEnd {
    cached: bool,
    seconds: f64,
    error: String,
}

impl BuildView {
    /// Shows builds as the options say.
    pub(crate) fn new(ui: &Ui, shown: Shown) -> Self {
        let Shown { mode, .. } = shown;
        let lines = mode != ProgressMode::Tty;
        let on_stdout = ui.progress_on_stdout || (shown.lines_on_stdout && lines);
        Self {
            mode,
            on_stdout,
            color: if on_stdout {
                ui.color_out
            } else {
                ui.color_err
            },
            began: Instant::now(),
            steps: Vec::new(),
            warnings: Vec::new(),
            last: None,
            drawn: 0,
        }
    }

    /// Whether it draws, and so wants to be asked to now and then.
    pub(crate) fn is_live(&self) -> bool {
        self.mode == ProgressMode::Tty
    }

    /// Takes an event of a build; `build` is what the build is called, empty when there is but one.
    pub(crate) fn event(&mut self, build: &str, event: &BuildEvent) {
        let lines = match self.mode {
            ProgressMode::Json => {
                vec![serde_json::json!({"build": build, "event": event}).to_string()]
            }
            _ => self.apply(build, event),
        };
        if matches!(self.mode, ProgressMode::Plain | ProgressMode::Json) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            self.write(&text);
        }
    }

    /// Draws the live form.
    pub(crate) fn draw(&mut self) {
        if !self.is_live() || self.steps.is_empty() {
            return;
        }
        let size = terminal::size().unwrap_or(terminal::Size {
            columns: 80,
            rows: 24,
        });
        let lines = self.live_lines(size);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            text.push_str(&format!("\x1b[2K{line}\n"));
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.write(&text);
    }

    /// Shows the last state, and the warnings.
    pub(crate) fn finish(&mut self) {
        self.draw();
        if matches!(self.mode, ProgressMode::Quiet | ProgressMode::Json) {
            return;
        }
        let text = warnings_text(&self.warnings);
        self.write(&text);
    }

    /// The last lines that a step printed.
    pub(crate) fn step_name(&self, build: &str, id: Option<u32>) -> Option<String> {
        let of = |step: &&StepView| step.build == build && Some(step.id) == id;
        self.steps.iter().find(of).map(|step| step.name.clone())
    }

    fn write(&self, text: &str) {
        let target: &mut dyn Write = if self.on_stdout {
            &mut io::stdout()
        } else {
            &mut io::stderr()
        };
        // Progress is worth nothing to a reader that has gone away.
        let _ = target
            .write_all(text.as_bytes())
            .and_then(|()| target.flush());
    }

    /// Takes an event in, and gives the plain lines that tell it.
    fn apply(&mut self, build: &str, event: &BuildEvent) -> Vec<String> {
        let mut lines = Vec::new();
        match event {
            BuildEvent::Started { step, at } => {
                self.steps.push(StepView {
                    build: build.to_owned(),
                    id: step.id,
                    name: shown_name(build, step),
                    started: *at,
                    since: Instant::now(),
                    end: None,
                    output: VecDeque::new(),
                    partial: String::new(),
                });
                self.turn_to(self.steps.len() - 1, &mut lines);
            }
            BuildEvent::Output { step, text, .. } => {
                if let Some(index) = self.index(build, *step) {
                    self.output(index, text, &mut lines);
                }
            }
            BuildEvent::Done {
                step,
                cached,
                at,
                error,
            } => {
                if let Some(index) = self.index(build, *step) {
                    self.done(index, (*cached, *at, error), &mut lines);
                }
            }
            BuildEvent::Warning(warning) => {
                self.warnings.push((build.to_owned(), warning.clone()));
            }
            BuildEvent::Progress { .. } | BuildEvent::Failed(_) | BuildEvent::Finished(_) => {}
        }
        lines
    }

    fn index(&self, build: &str, id: u32) -> Option<usize> {
        self.steps
            .iter()
            .rposition(|step| step.id == id && step.build == build)
    }

    /// A step's lines come in blocks, each with its name on top.
    fn turn_to(&mut self, index: usize, lines: &mut Vec<String>) {
        if self.last == Some(index) {
            return;
        }
        if self.last.is_some() {
            lines.push(String::new());
        }
        lines.push(format!("#{} {}", index + 1, self.steps[index].name));
        self.last = Some(index);
    }

    fn output(&mut self, index: usize, text: &str, lines: &mut Vec<String>) {
        let step = &mut self.steps[index];
        let seconds = step.since.elapsed().as_secs_f64();
        step.partial.push_str(text);
        let mut whole = Vec::new();
        while let Some(end) = step.partial.find('\n') {
            let line: String = step.partial.drain(..=end).collect();
            whole.push(line.trim_end_matches(['\n', '\r']).to_owned());
        }
        for line in &whole {
            if step.output.len() == LIVE_LINES {
                step.output.pop_front();
            }
            step.output.push_back(line.clone());
        }
        if whole.is_empty() {
            return;
        }
        self.turn_to(index, lines);
        lines.extend(
            whole
                .iter()
                .map(|line| format!("#{} {seconds:.3} {line}", index + 1)),
        );
    }

    fn done(
        &mut self,
        index: usize,
        (cached, at, error): (bool, i64, &str),
        lines: &mut Vec<String>,
    ) {
        if !self.steps[index].partial.is_empty() {
            self.output(index, "\n", lines);
        }
        let step = &mut self.steps[index];
        #[allow(clippy::cast_precision_loss, reason = "microseconds of a build")]
        let seconds = (at - step.started).max(0) as f64 / 1e6;
        step.end = Some(StepEnd {
            cached,
            seconds,
            error: error.to_owned(),
        });
        self.turn_to(index, lines);
        let number = index + 1;
        lines.push(match (cached, error) {
            (true, "") => format!("#{number} CACHED"),
            (false, "") => format!("#{number} DONE {seconds:.1}s"),
            (_, error) => format!("#{number} ERROR: {error}"),
        });
    }

    fn live_lines(&self, size: terminal::Size) -> Vec<String> {
        let done = self.steps.iter().filter(|step| step.end.is_some()).count();
        let heading = format!(
            "[+] Building {:.1}s ({done}/{})",
            self.began.elapsed().as_secs_f64(),
            self.steps.len()
        );
        let mut lines = vec![Style::Heading.paint(&heading, self.color)];
        // What does not fit scrolls away: the first steps that are over go first.
        let room = usize::from(size.rows).saturating_sub(3).max(1);
        let running = self.steps.iter().filter(|step| step.end.is_none());
        let wanted: usize = running.map(|step| 1 + step.output.len()).sum();
        let skip = (done + wanted).saturating_sub(room).min(done);
        let over = self
            .steps
            .iter()
            .filter(|step| step.end.is_some())
            .skip(skip);
        let mut shown: Vec<&StepView> = over.collect();
        shown.extend(self.steps.iter().filter(|step| step.end.is_none()));
        for step in shown {
            lines.push(self.step_line(step, size.columns));
            if step.end.is_none() {
                let columns = usize::from(size.columns).saturating_sub(1);
                let plain = |line: &String| line.replace(char::is_control, " ");
                lines.extend(
                    step.output
                        .iter()
                        .map(|line| cut(&format!(" => => # {}", plain(line)), columns)),
                );
            }
        }
        lines.truncate(room + 1);
        lines
    }

    fn step_line(&self, step: &StepView, columns: u16) -> String {
        let (mark, style, seconds) = match &step.end {
            None => ("", Style::Working, step.since.elapsed().as_secs_f64()),
            Some(end) if !end.error.is_empty() => ("ERROR ", Style::Error, end.seconds),
            Some(end) if end.cached => ("CACHED ", Style::Done, end.seconds),
            Some(end) => ("", Style::Done, end.seconds),
        };
        let took = format!("{seconds:.1}s");
        let room = usize::from(columns).saturating_sub(took.len() + 3);
        let name = step.name.replace(char::is_control, " ");
        let text = cut(&format!(" => {mark}{name}"), room);
        let pad = " ".repeat(room.saturating_sub(text.width()) + 1);
        format!("{}{pad}{took}", style.paint(&text, self.color))
    }
}

/// `[2/4] RUN x` of the build of `web` is `[web 2/4] RUN x`.
fn shown_name(build: &str, step: &BuildStep) -> String {
    match (build, step.name.strip_prefix('[')) {
        ("", _) => step.name.clone(),
        (build, Some(rest)) => format!("[{build} {}", rest.trim_start()),
        (build, None) => format!("[{build}] {}", step.name),
    }
}

fn warnings_text(warnings: &[(String, BuildWarning)]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let plural = if warnings.len() == 1 { "" } else { "s" };
    let mut text = format!("\n {} warning{plural} found:\n", warnings.len());
    for (build, warning) in warnings {
        let build = if build.is_empty() {
            String::new()
        } else {
            format!("{build}: ")
        };
        let rule = match warning.rule.as_str() {
            "" => String::new(),
            rule => format!("{rule}: "),
        };
        text.push_str(&format!(" - {build}{rule}{}", warning.message));
        match &warning.place {
            Some(place) if place.line > 0 => {
                text.push_str(&format!(" ({}:{})\n", place.file, place.line));
            }
            _ => text.push('\n'),
        }
    }
    text
}

/// The line of a Dockerfile with a caret below.
pub(crate) fn snippet(place: &BuildPlace) -> String {
    let mut text = match place.column {
        0 => format!(" --> {}:{}\n", place.file, place.line),
        column => format!(" --> {}:{}:{column}\n", place.file, place.line),
    };
    text.push_str("     |\n");
    for (number, line) in (place.line..).zip(place.text.lines()) {
        text.push_str(&format!("{number:>4} | {line}\n"));
        if number == place.line {
            let from = place.column.max(1);
            let width = u32::try_from(line.width()).unwrap_or(u32::MAX);
            let one_line = place.end_line <= place.line && place.end_column > from;
            let to = if one_line {
                place.end_column
            } else {
                width.saturating_add(1)
            };
            let blanks = " ".repeat((from - 1) as usize);
            let carets = "^".repeat((to.max(from + 1) - from).min(200) as usize);
            text.push_str(&format!("     | {blanks}{carets}\n"));
        }
    }
    text
}

/// What a failed step printed last, and where it stands; or all that is wrong with a Dockerfile, each with its place.
pub(crate) fn failure_text(step: Option<&str>, failure: &BuildFailure) -> String {
    let mut text = String::new();
    if let Some(step) = step.filter(|_| !failure.output.is_empty()) {
        text.push_str(&format!("------\n > {step}:\n"));
        for line in &failure.output {
            text.push_str(&format!("{line}\n"));
        }
        text.push_str("------\n");
    }
    if let [_, _, ..] = failure.findings.as_slice() {
        for finding in &failure.findings {
            text.push_str(&format!("{}\n{}", finding.message, snippet(&finding.place)));
            if !finding.hint.is_empty() {
                text.push_str(&format!("     = {}\n", finding.hint));
            }
        }
    } else if let Some(place) = &failure.place {
        text.push_str(&snippet(place));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::build::BuildFinding;

    fn view(mode: ProgressMode) -> BuildView {
        let ui = Ui {
            color_out: false,
            color_err: false,
            progress: mode,
            progress_on_stdout: false,
            as_docker: false,
        };
        let shown = Shown {
            mode,
            lines_on_stdout: false,
        };
        BuildView::new(&ui, shown)
    }

    fn started(id: u32, name: &str) -> BuildEvent {
        BuildEvent::Started {
            step: BuildStep {
                id,
                name: name.to_owned(),
                ..BuildStep::default()
            },
            at: 1_000_000,
        }
    }

    fn done(step: u32, cached: bool, error: &str) -> BuildEvent {
        BuildEvent::Done {
            step,
            cached,
            at: 2_500_000,
            error: error.to_owned(),
        }
    }

    fn output(step: u32, text: &str) -> BuildEvent {
        BuildEvent::Output {
            step,
            stderr: false,
            text: text.to_owned(),
        }
    }

    /// The plain lines of events, seconds of output replaced.
    fn plain(events: &[(&str, BuildEvent)]) -> Vec<String> {
        let mut view = view(ProgressMode::Plain);
        let lines = events
            .iter()
            .flat_map(|(build, event)| view.apply(build, event));
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let is_output = words.get(1).is_some_and(|word| word.parse::<f64>().is_ok());
                if is_output {
                    format!("{} T {}", words[0], words[2..].join(" "))
                } else {
                    line
                }
            })
            .collect()
    }

    #[test]
    fn plain_lines_are_numbered_and_in_blocks() {
        assert_eq!(
            plain(&[
                ("web", started(1, "[1/2] FROM a")),
                ("web", done(1, true, "")),
                ("web", started(2, "[2/2] RUN make")),
                ("api", started(1, "[internal] load")),
                ("web", output(2, "one\ntw")),
                ("web", output(2, "o\n")),
                ("api", done(1, false, "")),
                ("web", done(2, false, "exit code: 2")),
            ]),
            [
                "#1 [web 1/2] FROM a",
                "#1 CACHED",
                "",
                "#2 [web 2/2] RUN make",
                "",
                "#3 [api internal] load",
                "",
                "#2 [web 2/2] RUN make",
                "#2 T one",
                "#2 T two",
                "",
                "#3 [api internal] load",
                "#3 DONE 1.5s",
                "",
                "#2 [web 2/2] RUN make",
                "#2 ERROR: exit code: 2",
            ]
        );
    }

    #[test]
    fn live_lines_show_what_runs() {
        let mut view = view(ProgressMode::Tty);
        view.apply("", &started(1, "[1/2] FROM a"));
        view.apply("", &done(1, true, ""));
        view.apply("", &started(2, "[2/2] RUN make"));
        view.apply("", &output(2, "compiling\n"));
        let lines = view.live_lines(terminal::Size {
            columns: 40,
            rows: 24,
        });
        assert!(
            lines[0].starts_with("[+] Building ") && lines[0].ends_with("(1/2)"),
            "{lines:?}"
        );
        assert_eq!(lines[1], " => CACHED [1/2] FROM a           1.5s");
        assert!(lines[2].starts_with(" => [2/2] RUN make"));
        assert_eq!(lines[3], " => => # compiling");
    }

    #[test]
    fn a_failure_shows_output_and_place() {
        let failure = BuildFailure {
            output: vec!["make: *** no rule".to_owned()],
            place: Some(BuildPlace {
                file: "Dockerfile".to_owned(),
                line: 3,
                end_line: 3,
                column: 1,
                end_column: 9,
                text: "RUN make".to_owned(),
            }),
            ..BuildFailure::default()
        };
        assert_eq!(
            failure_text(Some("[2/2] RUN make"), &failure),
            "------\n > [2/2] RUN make:\nmake: *** no rule\n------\n --> Dockerfile:3:1\n     |\n   3 | RUN make\n     | ^^^^^^^^\n"
        );
    }

    #[test]
    fn each_finding_has_its_place() {
        let finding = |line: u32, word: &str, hint: &str| BuildFinding {
            message: format!("unknown instruction: {word}"),
            hint: hint.to_owned(),
            place: BuildPlace {
                file: "Dockerfile".to_owned(),
                line,
                end_line: line,
                column: 1,
                end_column: 5,
                text: format!("{word} x"),
            },
        };
        let failure = BuildFailure {
            findings: vec![
                finding(1, "FORM", "did you mean FROM?"),
                finding(7, "RUNN", ""),
            ],
            ..BuildFailure::default()
        };
        assert_eq!(
            failure_text(None, &failure),
            "unknown instruction: FORM\n --> Dockerfile:1:1\n     |\n   1 | FORM x\n     | ^^^^\n     = did you mean FROM?\n\
             unknown instruction: RUNN\n --> Dockerfile:7:1\n     |\n   7 | RUNN x\n     | ^^^^\n"
        );
    }

    #[test]
    fn warnings_come_at_the_end() {
        let warning = BuildWarning {
            rule: "StageNameCasing".to_owned(),
            message: "Stage name 'A' should be lowercase".to_owned(),
            place: Some(BuildPlace {
                file: "Dockerfile".to_owned(),
                line: 2,
                ..BuildPlace::default()
            }),
            ..BuildWarning::default()
        };
        assert_eq!(
            warnings_text(&[("web".to_owned(), warning)]),
            "\n 1 warning found:\n - web: StageNameCasing: Stage name 'A' should be lowercase (Dockerfile:2)\n"
        );
    }
}
