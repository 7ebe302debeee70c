//! `[state]` → where what was read survives restarts.

use super::files::Files;
use super::reader::Table;
use super::schema::State;

/// Reads the section: a file or a database.
pub(super) fn read(table: Table<'_>, files: &Files) -> Option<State> {
    let path = table.text("path", |text| files.state(text));
    let database = if table.has("url_file") { read_database(&table, files) } else { None };
    if table.has("path") && table.has("url_file") {
        table.problem("url_file", "conflicts with `path`: keep the state in a file or in a database");
    }
    table.finish();
    database.or(path.map(State::File))
}

#[cfg(feature = "postgres")]
fn read_database(table: &Table<'_>, files: &Files) -> Option<State> {
    let url_file = table.secret_name("url_file", |text| files.unquoted(text, Files::secret))?;
    // Where it is missing that was said already.
    if url_file.exists()
        && let Err(problem) = crate::store::check_url(&url_file)
    {
        table.problem("url_file", problem);
    }
    Some(State::Database { url_file })
}

#[cfg(not(feature = "postgres"))]
fn read_database(table: &Table<'_>, _files: &Files) -> Option<State> {
    table.problem(
        "url_file",
        "this build keeps no state in databases: take a released package or image, or compile with `cargo install --features postgres …`",
    );
    None
}
