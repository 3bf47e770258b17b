//! Colours, by what they mean.

use anstyle::{AnsiColor, Color, Effects};

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The word before an error.
    Error,
    /// The word before a warning; a change that ended with a warning.
    Warning,
    /// The word before a hint.
    Hint,
    /// A change that is done.
    Done,
    /// A change that goes on.
    Working,
    /// The count above the changes.
    Heading,
    /// The name before a container's lines: the n-th container.
    Service(usize),
}

/// The order of the names' colours: each once, then each in its intense variant.
const CYCLE: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

impl Style {
    fn ansi(self) -> anstyle::Style {
        let plain = anstyle::Style::new();
        let colored = |color: AnsiColor| plain.fg_color(Some(Color::Ansi(color)));
        match self {
            Style::Error => colored(AnsiColor::Red).effects(Effects::BOLD),
            Style::Warning => colored(AnsiColor::Yellow),
            Style::Hint => colored(AnsiColor::Cyan),
            Style::Done => colored(AnsiColor::Green),
            Style::Working => colored(AnsiColor::Blue),
            Style::Heading => plain.effects(Effects::BOLD),
            Style::Service(n) => colored(CYCLE[n % CYCLE.len()]),
        }
    }

    /// The text in this style, or as it is without colours.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        if color {
            let style = self.ansi();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_cycle_and_can_be_off() {
        assert_eq!(Style::Service(0).paint("a", true), "\u{1b}[36ma\u{1b}[0m");
        assert_eq!(
            Style::Service(10).paint("a", true),
            Style::Service(0).paint("a", true)
        );
        assert_eq!(Style::Service(0).paint("a", false), "a");
    }
}
