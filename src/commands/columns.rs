//! Aligned columns that fit a terminal: the less important ones are left out, then the last one is cut.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};

use unicode_width::UnicodeWidthStr as _;

use super::units::cut;

/// At least so many characters of the last column are shown before other columns are.
const LAST_MIN: usize = 24;

/// At most so many characters of the last column are shown where no terminal says how many fit.
const LAST_MAX: usize = 80;

/// A column that may be cut keeps so many characters.
const CUT_MIN: usize = 12;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether colours may be used: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    pub colour: bool,
    /// How many characters fit a line; absent where the output is no terminal.
    pub width: Option<usize>,
    /// Whether everything is shown, however long.
    pub whole: bool,
    /// Whether progress may be shown on standard error: it is a terminal that can overwrite a line.
    pub progress: bool,
}

impl Terminal {
    /// The one on standard output, and for progress the one on standard error.
    pub(crate) fn here() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let width = terminal_size::terminal_size_of(&out).map(|(terminal_size::Width(width), _)| width.into());
        Self::of(out.is_terminal(), width, err.is_terminal(), variable)
    }

    fn of(
        out_is_terminal: bool,
        width: Option<usize>,
        err_is_terminal: bool,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
        // See no-color.org.
        let colour = out_is_terminal && !is_dumb && variable("NO_COLOR").is_none();
        Self { colour, width, whole: false, progress: err_is_terminal && !is_dumb }
    }
}

#[expect(clippy::disallowed_methods, reason = "conventions between a terminal's user and every program")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
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
    /// Columns that are left out where there is no room, first to last.
    optional: Vec<usize>,
    /// The column that is cut when no other can be left out.
    cut: Option<usize>,
}

impl Columns {
    /// With a line of headings. `>` marks a column of numbers; `?` one that may be left out, those on the right first.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let marked = |mark| move |heading: &&str| heading.starts_with(mark);
        let optional = (0..headings.len()).rev().filter(|column| marked('?')(&headings[*column])).collect();
        let cells = headings.iter().map(|heading| heading.trim_start_matches(['>', '?']).to_owned()).collect();
        Self {
            right: headings.iter().map(|heading| marked('>')(heading)).collect(),
            rows: vec![(Style::Head, cells)],
            optional,
            cut: None,
        }
    }

    /// Allows a column to be cut, by its position.
    pub(crate) fn may_cut(mut self, column: usize) -> Self {
        self.cut = Some(column);
        self
    }

    pub(crate) fn row(&mut self, style: Style, cells: Vec<String>) {
        self.rows.push((style, cells));
    }

    /// How many characters wide it is when nothing is left out or cut.
    pub(crate) fn width(&self) -> usize {
        let (shown, widths) = (self.used(), self.widths());
        wide(&shown, &widths)
    }

    pub(crate) fn write(&self, out: &mut impl Write, terminal: Terminal) -> io::Result<()> {
        let (mut shown, mut widths) = (self.used(), self.widths());
        let Some(&last) = shown.last() else { return Ok(()) };
        let limit = terminal.width.filter(|_| !terminal.whole);
        if let Some(limit) = limit {
            let least = |widths: &[usize]| widths[last] - widths[last].min(LAST_MIN);
            for column in self.optional.iter().filter(|column| **column != last) {
                if wide(&shown, &widths) - least(&widths) > limit {
                    shown.retain(|other| other != column);
                }
            }
            if let Some(column) = self.cut {
                let over = wide(&shown, &widths).saturating_sub(limit);
                widths[column] = widths[column].min(CUT_MIN).max(widths[column].saturating_sub(over));
            }
        }
        // A number is never cut: the terminal wraps what is too wide without its last column's text.
        let last_max = match limit {
            _ if terminal.whole || self.right[last] => usize::MAX,
            Some(limit) => limit.saturating_sub(wide(&shown, &widths) - widths[last]).max(LAST_MIN),
            None => LAST_MAX,
        };
        for (style, row) in &self.rows {
            let mut line = String::new();
            for &column in &shown {
                let width = widths[column];
                let text = cut(&row[column], if column == last { width.min(last_max) } else { width });
                let padding = " ".repeat(width - text.width());
                line.push_str(&if self.right[column] { padding + &text } else { text + &padding });
                line.push_str("  ");
            }
            writeln!(out, "{}", style.paint(line.trim_end(), terminal.colour))?;
        }
        Ok(())
    }

    /// The columns that are not empty.
    fn used(&self) -> Vec<usize> {
        let is_used = |column: &usize| self.rows[1..].iter().any(|(_, row)| !row[*column].is_empty());
        (0..self.right.len()).filter(is_used).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| self.rows.iter().map(|(_, row)| row[column].width()).max().unwrap_or(0);
        (0..self.right.len()).map(width).collect()
    }
}

/// The width of a line of these columns.
fn wide(shown: &[usize], widths: &[usize]) -> usize {
    shown.iter().map(|column| widths[*column]).sum::<usize>() + 2 * shown.len().saturating_sub(1)
}

impl Style {
    /// The text in this style, if colours may be used.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            _ if !colour => return text.to_owned(),
            Self::Plain => return text.to_owned(),
            Self::Head => "1",
            Self::Faint => "2",
            Self::Added => "32",
            Self::Removed => "31",
            Self::Changed => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(columns: &Columns, terminal: Terminal) -> Vec<String> {
        let mut out = Vec::new();
        columns.write(&mut out, terminal).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_table_leaves_columns_out_before_it_cuts_the_last_one() {
        let mut columns = Columns::new(&[">SIZE", "?CREATED", "?DIGEST", "COMMAND"]);
        let row = ["12".to_owned(), "2026-11-29".to_owned(), "0123456789ab".to_owned(), "x".repeat(200)];
        columns.row(Style::Plain, row.to_vec());
        let head = |width| written(&columns, Terminal { width: Some(width), ..Terminal::default() })[0].clone();
        for (width, expected) in
            [(100, "SIZE CREATED DIGEST COMMAND"), (55, "SIZE CREATED COMMAND"), (40, "SIZE COMMAND")]
        {
            assert_eq!(head(width).split_whitespace().collect::<Vec<_>>().join(" "), expected);
            for line in written(&columns, Terminal { width: Some(width), ..Terminal::default() }) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
        assert!(
            written(&columns, Terminal { width: Some(40), whole: true, ..Terminal::default() })[1]
                .ends_with(&"x".repeat(200))
        );
        let piped = &written(&columns, Terminal::default())[1];
        assert!(
            piped.contains("0123456789ab") && piped.ends_with(&format!("{}…", "x".repeat(LAST_MAX - 1))),
            "{piped}"
        );
    }

    #[test]
    fn a_column_that_may_be_cut_makes_room_for_numbers() {
        let mut columns = Columns::new(&["NAME", ">NUMBER"]).may_cut(0);
        columns.row(Style::Plain, vec!["n".repeat(50), "1234".to_owned()]);
        let lines = written(&columns, Terminal { width: Some(30), ..Terminal::default() });
        assert_eq!(lines[1], format!("{}…    1234", "n".repeat(21)));
        assert_eq!((lines[1].chars().count(), columns.width()), (30, 58));
    }

    #[test]
    fn a_dumb_terminal_has_neither_colours_nor_progress() {
        for (set, colour, progress) in [
            (&[("TERM", "xterm")][..], true, true),
            (&[], true, true),
            (&[("TERM", "dumb")], false, false),
            (&[("NO_COLOR", "1")], false, true),
        ] {
            let variable =
                |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value));
            let terminal = Terminal::of(true, Some(80), true, variable);
            assert_eq!((terminal.colour, terminal.progress), (colour, progress), "{set:?}");
            let piped = Terminal::of(false, None, false, variable);
            assert_eq!(piped, Terminal::default(), "{set:?}");
        }
    }

    #[test]
    fn what_is_added_is_green_and_what_is_removed_red() {
        assert_eq!(Style::Added.paint("+", true), "\u{1b}[32m+\u{1b}[0m");
        assert_eq!(Style::Removed.paint("-", true), "\u{1b}[31m-\u{1b}[0m");
        assert_eq!(Style::Added.paint("+", false), "+");
    }
}
