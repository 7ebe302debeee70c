//! What went wrong with the database, and what the operator can do about it.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::store::error::StoreError;

/// The error of a query or of connecting. `database` is where it is.
pub(super) fn explained(database: &str, error: &tokio_postgres::Error) -> StoreError {
    if let Some(said) = error.as_db_error() {
        return failed(database, said.message().to_owned(), remedy(said.code()));
    }
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if !why.contains(&cause.to_string()) {
            why = format!("{why}: {cause}");
        }
        source = cause.source();
    }
    failed(database, why, "it is tried again")
}

/// Something took too long.
pub(super) fn too_slow(database: &str) -> StoreError {
    failed(database, "it does not answer in time".to_owned(), "look at its load and its locks; it is tried again")
}

/// What to do about a pooler that mixes up statements.
const OWN_SESSION: &str = "a pooler in between gives one session to several clients: set its pool mode to `session`, or connect to the database directly";

/// Another client has the session of a connection.
pub(super) fn shared_session(database: &str) -> StoreError {
    failed(database, "its answer is that to another client".to_owned(), OWN_SESSION)
}

/// Any other failure.
pub(super) fn failed(database: &str, why: String, remedy: &'static str) -> StoreError {
    StoreError::Database { database: database.to_owned(), why, remedy }
}

/// Whether the same transaction may succeed at once.
pub(super) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE)
}

fn remedy(code: &SqlState) -> &'static str {
    if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        "correct user and password in the file that `url_file` names, which is read again at each try"
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        "create it, or correct the URL in the file that `url_file` names"
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        "grant the role what docs/postgres.md lists"
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        "name the primary and not a standby in the URL, or let it be written; it is tried again"
    } else if *code == SqlState::DISK_FULL {
        "free some space on its disk; it is tried again"
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        "raise max_connections, or let fewer programs connect: each exporter needs three connections, and a shard four; it is tried again"
    } else if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_COLUMN {
        "its schema was changed by hand: drop the schema image_size_exporter, which is then made anew"
    } else if *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT {
        OWN_SESSION
    } else {
        "it is tried again"
    }
}
