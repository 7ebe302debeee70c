//! A table that fits a terminal: columns as wide as they need to be, the last one cut.

use std::io::{self, Write};

use crate::commands::units::cut;

/// How the terminal is, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether colours may be used: a terminal, and nobody set `NO_COLOR`.
    pub colour: bool,
    /// How many characters fit a line; without a number lines are as long as they are.
    pub width: Option<usize>,
    /// Whether progress may be shown on standard error: it is a terminal.
    pub progress: bool,
}

/// How a cell is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Plain,
    Head,
    Faint,
    Added,
    Removed,
    Changed,
}

/// Lines of cells.
pub(super) struct Table {
    /// Which columns are numbers, which end at the same place.
    right: Vec<bool>,
    rows: Vec<(Look, Vec<String>)>,
}

impl Table {
    /// With a line of headings; those that start with `>` are over numbers.
    pub(super) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let cells = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { right, rows: vec![(Look::Head, cells)] }
    }

    pub(super) fn row(&mut self, look: Look, cells: Vec<String>) {
        self.rows.push((look, cells));
    }

    pub(super) fn write(&self, out: &mut impl Write, terminal: Terminal) -> io::Result<()> {
        let length = |text: &String| text.chars().count();
        let columns = self.right.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|(_, row)| length(&row[column])).max().unwrap_or(0))
            .collect();
        // Columns without anything in them but the heading are left out.
        let used = |column: &usize| self.rows[1..].iter().any(|(_, row)| !row[*column].is_empty());
        let shown: Vec<usize> = (0..columns).filter(used).collect();
        for (look, row) in &self.rows {
            let mut line = String::new();
            for &column in &shown {
                let text = &row[column];
                let padding = " ".repeat(widths[column] - length(text));
                let cell = if self.right[column] { padding + text } else { text.clone() + &padding };
                line.push_str(&cell);
                line.push_str("  ");
            }
            let line = line.trim_end();
            let line = terminal.width.map_or_else(|| line.to_owned(), |width| cut(line, width));
            writeln!(out, "{}", look.paint(&line, terminal.colour))?;
        }
        Ok(())
    }
}

impl Look {
    /// The text in this look, if there are colours.
    pub(super) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            _ if !colour => return text.to_owned(),
            Self::Plain => return text.to_owned(),
            Self::Head => "1",
            Self::Faint => "2",
            Self::Added => "31",
            Self::Removed => "32",
            Self::Changed => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
