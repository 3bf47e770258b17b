//! Progress of one image's pull or push, as docker shows it: on a terminal one line per layer that is drawn again, else a line per change.

use std::io::{self, IsTerminal as _, Write};

use hoist_api::image::Progress;

use super::{human, terminal, written};
use crate::failure::Failure;

/// Most and fewest characters of a bar.
const BAR: (usize, usize) = (50, 5);

/// Shows lines of progress on standard output.
#[derive(Debug)]
pub(crate) struct Transfer {
    is_live: bool,
    /// Ids in the order in which they came: the lines above the cursor.
    rows: Vec<String>,
}

impl Transfer {
    /// Decides how to show.
    pub(crate) fn new() -> Transfer {
        Transfer {
            is_live: io::stdout().is_terminal(),
            rows: Vec::new(),
        }
    }

    /// Shows a line.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn show(&mut self, line: &Progress) -> Result<(), Failure> {
        let text = self.text(line);
        if text.is_empty() {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        written(
            output
                .write_all(text.as_bytes())
                .and_then(|()| output.flush()),
        )
    }

    fn text(&mut self, line: &Progress) -> String {
        let has_count = line
            .progress_detail
            .as_ref()
            .is_some_and(|detail| detail.current.is_some());
        if line.status.is_empty() || (has_count && !self.is_live) {
            return String::new();
        }
        let columns = terminal::size().map_or(80, |size| usize::from(size.columns));
        let said = format!("{}{}", prefix(&line.id), line.status);
        let room = columns.saturating_sub(1 + said.chars().count());
        let shown = said + &bar(line, room);
        // "1.0: Pulling from x" is a heading, not a row.
        let is_row = !line.id.is_empty() && line.progress_detail.is_some() | is_layer(&line.id);
        if !self.is_live || !is_row {
            return format!("{shown}\n");
        }
        let shown: String = shown.chars().take(columns.saturating_sub(1)).collect();
        match self.rows.iter().position(|id| *id == line.id) {
            Some(row) => {
                let up = self.rows.len() - row;
                format!("\x1b[{up}A\x1b[2K\r{shown}\n\x1b[{}B", up - 1).replace("\x1b[0B", "")
            }
            None => {
                self.rows.push(line.id.clone());
                format!("{shown}\n")
            }
        }
    }
}

/// Layers are named by the beginning of their digest.
fn is_layer(id: &str) -> bool {
    id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn prefix(id: &str) -> String {
    if id.is_empty() {
        String::new()
    } else {
        format!("{id}: ")
    }
}

/// A bar and numbers in `room` characters; without the bar when it would be too short to say anything.
fn bar(line: &Progress, room: usize) -> String {
    let detail = line.progress_detail.as_ref();
    let Some((current, total)) = detail.and_then(|detail| Some((detail.current?, detail.total?)))
    else {
        return String::new();
    };
    let (current, total) = (
        u64::try_from(current).unwrap_or(0),
        u64::try_from(total).unwrap_or(0),
    );
    if total == 0 {
        return format!("  {}", human::size(current));
    }
    let numbers = format!("  {}/{}", human::size(current), human::size(total));
    let width = room.saturating_sub(numbers.len() + 3).min(BAR.0);
    if width < BAR.1 {
        return numbers;
    }
    let done = usize::try_from(current.min(total) * width as u64 / total).unwrap_or(width);
    let head = if done < width { ">" } else { "" };
    let rest = " ".repeat(width - done - head.len());
    format!(" [{}{head}{rest}]{numbers}", "=".repeat(done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_api::image::ProgressDetail;

    fn line(id: &str, status: &str, count: Option<(i64, i64)>) -> Progress {
        Progress {
            id: id.into(),
            status: status.into(),
            progress_detail: count.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..Progress::default()
        }
    }

    #[test]
    fn without_a_terminal_every_change_is_a_line_and_counts_are_left_out() {
        let mut transfer = Transfer {
            is_live: false,
            rows: Vec::new(),
        };
        let shown: String = [
            line("1.0", "Pulling from shop/web", None),
            line("0123456789ab", "Pulling fs layer", None),
            line("0123456789ab", "Downloading", Some((5, 10))),
            line("0123456789ab", "Pull complete", None),
            line("", "Status: Downloaded newer image for x", None),
        ]
        .iter()
        .map(|line| transfer.text(line))
        .collect();
        assert_eq!(
            shown,
            "1.0: Pulling from shop/web\n0123456789ab: Pulling fs layer\n0123456789ab: Pull complete\nStatus: Downloaded newer image for x\n"
        );
    }

    #[test]
    fn on_a_terminal_a_layer_keeps_its_line() {
        let mut transfer = Transfer {
            is_live: true,
            rows: Vec::new(),
        };
        for id in ["0123456789ab", "cccccccccccc"] {
            transfer.text(&line(id, "Pulling fs layer", None));
        }
        let text = transfer.text(&line("0123456789ab", "Downloading", Some((500, 1000))));
        assert!(
            text.starts_with("\x1b[2A\x1b[2K\r0123456789ab: Downloading [====="),
            "{text:?}"
        );
        assert!(text.ends_with("500B/1kB\n\x1b[1B"), "{text:?}");
        let text = transfer.text(&line("cccccccccccc", "Pull complete", None));
        assert_eq!(text, "\x1b[1A\x1b[2K\rcccccccccccc: Pull complete\n");
    }
}
