//! Aligned columns that fit a terminal: as wide as they need to be, the last one cut.

use std::io::{self, Write};

use super::units::cut;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether colours may be used: on a terminal, unless `NO_COLOR` is set.
    pub colour: bool,
    /// How many characters fit a line; lines are not cut when absent.
    pub width: Option<usize>,
    /// Whether progress may be shown on standard error: it is a terminal.
    pub progress: bool,
}

/// How a line is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Head,
    Faint,
    Added,
    Removed,
    Changed,
}

/// Lines of cells.
pub(crate) struct Columns {
    /// Which columns are numbers, aligned right.
    right: Vec<bool>,
    rows: Vec<(Style, Vec<String>)>,
}

impl Columns {
    /// With a line of headings; `>` marks a column of numbers.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let cells = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { right, rows: vec![(Style::Head, cells)] }
    }

    pub(crate) fn row(&mut self, style: Style, cells: Vec<String>) {
        self.rows.push((style, cells));
    }

    pub(crate) fn write(&self, out: &mut impl Write, terminal: Terminal) -> io::Result<()> {
        let length = |text: &String| text.chars().count();
        let columns = self.right.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|(_, row)| length(&row[column])).max().unwrap_or(0))
            .collect();
        // Empty columns are left out.
        let used = |column: &usize| self.rows[1..].iter().any(|(_, row)| !row[*column].is_empty());
        let shown: Vec<usize> = (0..columns).filter(used).collect();
        for (style, row) in &self.rows {
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
            writeln!(out, "{}", style.paint(&line, terminal.colour))?;
        }
        Ok(())
    }
}

impl Style {
    /// The text in this style, if colours may be used.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
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
