//! Tables as Docker prints them: left-aligned, three blanks between columns, none narrower than ten, no borders.

use unicode_width::UnicodeWidthStr;

const GAP: usize = 3;
/// The least width of a column, with the blanks after it.
const NARROWEST: usize = 10;
/// The same in the lists of Docker Compose's own.
const NARROWEST_WIDE: usize = 20;

/// Rows below a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    narrowest: usize,
    gap: usize,
}

impl Table {
    /// A table with this heading and no rows.
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table {
            rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()],
            narrowest: NARROWEST,
            gap: GAP,
        }
    }

    /// The same with the wider columns that `ls`, `images` and `volumes` of Docker Compose have.
    pub(crate) fn wide(heading: &[&str]) -> Table {
        Table {
            narrowest: NARROWEST_WIDE,
            ..Table::new(heading)
        }
    }

    /// The same with two blanks between columns, as `top` of Docker Compose has it.
    pub(crate) fn tight(heading: &[&str]) -> Table {
        Table {
            narrowest: 4,
            gap: 2,
            ..Table::new(heading)
        }
    }

    /// Adds a row; control characters in it (a command's newlines) become blanks.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| cell.replace(char::is_control, " "))
                .collect(),
        );
    }

    /// The lines, without a newline at the end.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|i| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(i))
                    .map(|cell| cell.width())
                    .max()
                    .unwrap_or(0)
                    .max(self.narrowest - self.gap)
            })
            .collect();
        let lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| self.line(row, &widths))
            .collect();
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut text = String::new();
        for (i, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if i + 1 < row.len() {
                text.push_str(&" ".repeat(widths[i] - cell.width() + self.gap));
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "STATUS", "PORTS"]);
        table.row(vec!["日本".into(), "Up 3 seconds".into(), String::new()]);
        table.row(vec!["a-long-name".into(), "Up\n1".into(), "80/tcp".into()]);
        let expected = "\
NAME          STATUS         PORTS
日本          Up 3 seconds
a-long-name   Up 1           80/tcp";
        assert_eq!(table.render(), expected);
        assert_eq!(Table::new(&["ID", "X"]).render(), "ID        X");
        assert_eq!(
            Table::wide(&["NAME", "X"]).render(),
            "NAME                X"
        );
    }
}
