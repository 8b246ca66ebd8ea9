//! Errors of the connection and of the server, as errors of dbm.

use std::error::Error as StdError;
use std::fmt::Write as _;

use dbm_core::Error;
use tokio_postgres::error::{DbError, Severity};

/// What a statement's failure means. `server` is the name for errors.
pub(crate) fn of_statement(error: &tokio_postgres::Error, server: &str) -> Error {
    match error.as_db_error() {
        Some(refusal) if !ends_connection(refusal) => of_server(refusal),
        _ => Error::disconnected(server, causes(error)),
    }
}

/// Whether the server says goodbye with it.
pub(crate) fn ends_connection(error: &DbError) -> bool {
    matches!(
        error.parsed_severity(),
        Some(Severity::Fatal | Severity::Panic)
    )
}

/// Whether the connection was lost, or was never there.
pub(crate) fn is_disconnected(error: &Error) -> bool {
    matches!(error, Error::Disconnected { .. })
}

pub(crate) fn of_server(error: &DbError) -> Error {
    Error::Server {
        state: error.code().code().into(),
        message: words(error).into(),
    }
}

/// The text of an error and its causes, which tokio-postgres keeps apart.
pub(crate) fn causes(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", words(refusal), refusal.code().code());
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

/// What the server said, without values and literals. It quotes both in `"…"`, as it quotes names.
fn words(error: &DbError) -> String {
    // What a RAISE says may be made of values. Its SQLSTATE is the program's, too.
    if error.routine() == Some("exec_stmt_raise") {
        return "raised by a function or a trigger".to_owned();
    }
    // Class 22 is about data: what it quotes are values. Other classes quote names, and pieces of the statement.
    let is_about_data = error.code().code().starts_with("22");
    let mut text = String::new();
    for (place, part) in error.message().split('"').enumerate() {
        let is_quoted = place % 2 == 1;
        if is_quoted && (is_about_data || !is_name(part)) {
            text.push('…');
        } else if is_quoted {
            let _ = write!(text, "\"{part}\"");
        } else if is_about_data {
            // Numbers, too: `value 300 is out of range`.
            text.extend(
                part.chars()
                    .map(|sign| if sign.is_ascii_digit() { '…' } else { sign }),
            );
        } else {
            text.push_str(part);
        }
    }
    text.truncate(text.floor_char_boundary(300));
    text
}

fn is_name(text: &str) -> bool {
    let mut signs = text.chars();
    let begins = signs
        .next()
        .is_some_and(|sign| sign.is_alphabetic() || sign == '_');
    begins && signs.all(|sign| sign.is_alphanumeric() || "_$.".contains(sign))
}
