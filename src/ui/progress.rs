//! What happens to objects while a command runs: live lines on a terminal, else one line per change.
//!
//! The live form is drawn by a thread of its own, ten times a second, so that the spinner turns while
//! the command waits. Everything else is printed as it is told.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::style::Style;
use super::{Ui, terminal};
use crate::globals::ProgressMode;

const FRAME: Duration = Duration::from_millis(100);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// How far an object has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Working,
    Done,
    Warning,
    Failed,
}

/// A change of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Kind and name, as "Container shop-web-1".
    pub(crate) object: String,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// What is being done or was done, as "Creating".
    pub(crate) text: String,
    /// More, as the reason of a failure.
    pub(crate) detail: Option<String>,
}

/// Shows changes until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Objects that are called by other names, as images by the services that want them.
    names: BTreeMap<String, String>,
    mode: ProgressMode,
    on_stdout: bool,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    changes: Sender<Change>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Begins to show changes below a title, as "Running".
    pub(crate) fn start(ui: &Ui, title: &str) -> Progress {
        let live = (ui.progress == ProgressMode::Tty).then(|| {
            let (changes, received) = mpsc::channel();
            let mut screen = Screen::new(title, ui);
            let thread = std::thread::spawn(move || {
                loop {
                    match received.recv_timeout(FRAME) {
                        Ok(change) => screen.apply(change),
                        Err(RecvTimeoutError::Timeout) => screen.draw(),
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                screen.draw();
            });
            Live { changes, thread }
        });
        Progress {
            names: BTreeMap::new(),
            mode: ui.progress,
            on_stdout: ui.progress_on_stdout,
            live,
        }
    }

    /// Calls objects by other names from now on.
    pub(crate) fn naming(mut self, names: BTreeMap<String, String>) -> Progress {
        self.names = names;
        self
    }

    /// Shows changes as lines, never live: for when other output comes in between.
    pub(crate) fn lines(ui: &Ui) -> Progress {
        let mode = if ui.progress == ProgressMode::Tty {
            ProgressMode::Plain
        } else {
            ui.progress
        };
        Progress {
            names: BTreeMap::new(),
            mode,
            on_stdout: ui.progress_on_stdout,
            live: None,
        }
    }

    /// Shows a change.
    pub(crate) fn change(&self, mut change: Change) {
        if let Some(name) = self.names.get(&change.object) {
            change.object.clone_from(name);
        }
        if let Some(live) = &self.live {
            // The thread ends only after the sender is dropped.
            let _ = live.changes.send(change);
            return;
        }
        if let Some(line) = line_of(self.mode, &change) {
            let target: &mut dyn Write = if self.on_stdout {
                &mut io::stdout()
            } else {
                &mut io::stderr()
            };
            // In one piece: what containers say on the other stream must not come before the end of the line. Progress is worth
            // nothing to a reader that has gone away.
            let _ = target.write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Shows the last state of everything.
    pub(crate) fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(Live { changes, thread }) = self.live.take() {
            drop(changes);
            // A panic in the drawing thread must not hide the command's outcome.
            let _ = thread.join();
        }
    }
}

fn line_of(mode: ProgressMode, change: &Change) -> Option<String> {
    // Between what is an engine's object and its state, the reference leaves room for a text that there is none of.
    let gap = match change.object.contains(' ') {
        true => "  ",
        false => " ",
    };
    match mode {
        ProgressMode::Plain => Some(match &change.detail {
            Some(detail) => format!(" {}{gap}{} {detail}", change.object, change.text),
            None => format!(" {}{gap}{}", change.object, change.text),
        }),
        // As the reference's 2.40 has it: what is told in words is the status, and what comes between the two the text.
        ProgressMode::Json => Some(
            match &change.detail {
                Some(detail) => {
                    serde_json::json!({"id": change.object, "text": change.text, "status": detail})
                }
                None => serde_json::json!({"id": change.object, "status": change.text}),
            }
            .to_string(),
        ),
        ProgressMode::Quiet | ProgressMode::None => None,
        // Drawn by the thread.
        ProgressMode::Tty | ProgressMode::Auto => None,
    }
}

#[derive(Debug)]
struct Row {
    change: Change,
    started: Instant,
    /// Set when the object is no longer worked on.
    took: Option<Duration>,
}

#[derive(Debug)]
struct Screen {
    title: String,
    rows: Vec<Row>,
    color: bool,
    on_stdout: bool,
    frame: usize,
    /// Lines drawn last time, above the cursor.
    drawn: usize,
}

impl Screen {
    fn new(title: &str, ui: &Ui) -> Screen {
        Screen {
            title: title.to_owned(),
            rows: Vec::new(),
            color: if ui.progress_on_stdout {
                ui.color_out
            } else {
                ui.color_err
            },
            on_stdout: ui.progress_on_stdout,
            frame: 0,
            drawn: 0,
        }
    }

    fn apply(&mut self, change: Change) {
        let now = Instant::now();
        match self
            .rows
            .iter_mut()
            .find(|row| row.change.object == change.object)
        {
            Some(row) => {
                row.took = (change.phase != Phase::Working).then(|| now - row.started);
                row.change = change;
            }
            None => {
                let took = (change.phase != Phase::Working).then_some(Duration::ZERO);
                self.rows.push(Row {
                    change,
                    started: now,
                    took,
                });
            }
        }
    }

    fn draw(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let size = terminal::size().unwrap_or(terminal::Size {
            columns: 80,
            rows: 24,
        });
        let lines = self.lines(size);
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for line in &lines {
            text.push_str(&format!("\x1b[2K{line}\n"));
        }
        // A shorter frame than the last one: erase what is left below.
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        self.frame += 1;
        let target: &mut dyn Write = if self.on_stdout {
            &mut io::stdout()
        } else {
            &mut io::stderr()
        };
        let _ = target
            .write_all(text.as_bytes())
            .and_then(|()| target.flush());
    }

    fn lines(&self, size: terminal::Size) -> Vec<String> {
        let done = self.rows.iter().filter(|row| row.took.is_some()).count();
        let heading = format!("[+] {} {done}/{}", self.title, self.rows.len());
        let mut lines = vec![Style::Heading.paint(&heading, self.color)];
        let widest = |of: fn(&Row) -> &str| {
            self.rows
                .iter()
                .map(|row| of(row).width())
                .max()
                .unwrap_or(0)
        };
        let objects = widest(|row| &row.change.object);
        let texts = widest(|row| &row.change.text);
        // What does not fit scrolls away: show the rows still worked on first.
        let room = usize::from(size.rows).saturating_sub(2).max(1);
        let mut shown: Vec<&Row> = self.rows.iter().collect();
        if shown.len() > room {
            shown.sort_by_key(|row| row.took.is_some());
            shown.truncate(room);
        }
        lines.extend(
            shown
                .iter()
                .map(|row| self.row_line(row, (objects, texts), size.columns)),
        );
        lines
    }

    fn row_line(&self, row: &Row, (objects, texts): (usize, usize), columns: u16) -> String {
        let (mark, style) = match row.change.phase {
            Phase::Working => (SPINNER[self.frame % SPINNER.len()], Style::Working),
            Phase::Done => ('✔', Style::Done),
            Phase::Warning => ('!', Style::Warning),
            Phase::Failed => ('✘', Style::Error),
        };
        let took = row
            .took
            .unwrap_or_else(|| row.started.elapsed())
            .as_secs_f64();
        let pad = |text: &str, width: usize| format!("{text}{}", " ".repeat(width - text.width()));
        let object = pad(&row.change.object, objects);
        let text = pad(&row.change.text, texts);
        let detail = row
            .change
            .detail
            .as_deref()
            .unwrap_or_default()
            .replace(char::is_control, " ");
        let seconds = format!("{took:.1}s");
        // " m object  text  seconds detail"
        let used = 3 + objects + 2 + texts + 2 + seconds.len() + 1;
        let detail = cut(&detail, usize::from(columns).saturating_sub(used + 1));
        let line = format!(
            " {} {object}  {}  {seconds} {detail}",
            style.paint(&mark.to_string(), self.color),
            style.paint(&text, self.color),
        );
        if used > usize::from(columns) {
            cut(&format!(" {mark} {object}  {text}"), columns.into())
        } else {
            line.trim_end().to_owned()
        }
    }
}

/// The longest beginning of a text that is at most so many columns wide.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(object: &str, phase: Phase, text: &str) -> Change {
        Change {
            object: object.into(),
            phase,
            text: text.into(),
            detail: None,
        }
    }

    #[test]
    fn plain_and_json_lines() {
        let one = change("Container p-web-1", Phase::Working, "Creating");
        assert_eq!(
            line_of(ProgressMode::Plain, &one).as_deref(),
            Some(" Container p-web-1  Creating")
        );
        let json = r#"{"id":"Container p-web-1","status":"Creating"}"#;
        assert_eq!(line_of(ProgressMode::Json, &one).as_deref(), Some(json));
        assert_eq!(line_of(ProgressMode::Quiet, &one), None);
        let pulled = change("web", Phase::Done, "Pulled");
        let line = line_of(ProgressMode::Plain, &pulled);
        assert_eq!(line.as_deref(), Some(" web Pulled"));
    }

    #[test]
    fn the_live_form_keeps_one_row_per_object() {
        let ui = Ui {
            color_out: false,
            color_err: false,
            progress: ProgressMode::Tty,
            progress_on_stdout: false,
            as_docker: false,
        };
        let mut screen = Screen::new("Running", &ui);
        screen.apply(change("Network p_default", Phase::Working, "Creating"));
        screen.apply(change("Container p-web-1", Phase::Working, "Creating"));
        screen.apply(change("Network p_default", Phase::Done, "Created"));
        let size = terminal::Size {
            columns: 80,
            rows: 24,
        };
        let expected = [
            "[+] Running 1/2",
            " ✔ Network p_default  Created   0.0s",
            " ⠋ Container p-web-1  Creating  0.0s",
        ];
        assert_eq!(screen.lines(size), expected);
        let narrow = terminal::Size {
            columns: 12,
            rows: 3,
        };
        assert_eq!(screen.lines(narrow), ["[+] Running 1/2", " ⠋ Container"]);
    }
}
