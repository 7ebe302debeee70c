//! `[notifications]` → where the token is.

use crate::notify::TokenSource;

use super::files::Files;
use super::reader::Table;

/// Reads the section: exactly one place of the token.
pub(super) fn read(table: Table<'_>, files: &Files) -> Option<TokenSource> {
    let file = table.secret_name("token_file", |text| files.unquoted(text, Files::secret));
    let variable = table.secret_name("token_env", |text| files.variable(text));
    match (table.has("token_file"), table.has("token_env")) {
        (true, true) => table.problem("token_env", "conflicts with `token_file`: keep one of them"),
        (false, false) if !table.has("token") => {
            table.problem(
                "token_file",
                "is missing: name a file with the token that registries send, or leave the section out",
            );
        }
        _ => {}
    }
    let source = file.map(TokenSource::File).or(variable.map(TokenSource::Env));
    // A start reads it when it is needed, so that a file may be written late.
    if files.are_checked()
        && let Some(source @ TokenSource::File(_)) = &source
        && let Err(problem) = source.read()
    {
        table.problem("token_file", problem);
    }
    table.finish();
    source
}
