//! An error of SQLite without what it quotes: the values that were bound, and the text of the statement.

use std::ffi::CString;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rusqlite::ffi;
use rusqlite::types::Type;

use super::cause::Bounded;
use super::words::{self, Origin};

/// An error of SQLite; it derefs to the [`rusqlite::Error`].
///
/// SQLite's messages quote the SQL and the values that were bound. Here, in the text, in [`Debug`](fmt::Debug) and in the
/// `rusqlite::Error`, a message is kept as far as it names schema objects (`no such table: usr`, `UNIQUE constraint
/// failed: user.name`). What else it says is `…`, or the general sentence of the code. [`message`](Self::message) has
/// SQLite's own words.
#[derive(Clone)]
pub struct SqliteError {
    shared: Arc<Inner>,
    method: Option<&'static str>,
}

struct Inner {
    /// What may be shown.
    error: rusqlite::Error,
    /// SQLite's own words.
    words: Option<String>,
    is_about_a_match: bool,
}

impl SqliteError {
    pub(super) fn new(error: rusqlite::Error, origin: Origin) -> Self {
        let (error, words, is_about_a_match) = match error {
            rusqlite::Error::SqliteFailure(code, Some(words)) => {
                let shown = words::shown(&code, &words, origin);
                let is_about_a_match = words::is_about_a_match(&code, &words, origin);
                let error = rusqlite::Error::SqliteFailure(code, shown);
                (error, Some(words), is_about_a_match)
            }
            // rusqlite makes it of errors in the text of a statement only. It quotes the whole statement.
            rusqlite::Error::SqlInputError {
                error, msg, offset, ..
            } => {
                let shown = words::shown(&error, &msg, Origin::Text);
                let error = rusqlite::Error::SqlInputError {
                    error,
                    msg: shown.unwrap_or_else(|| sentence(&error)),
                    sql: "the statement".to_owned(),
                    offset,
                };
                (error, Some(msg), false)
            }
            error => (without_value(error), None, false),
        };
        Self {
            shared: Arc::new(Inner {
                error,
                words,
                is_about_a_match,
            }),
            method: None,
        }
    }

    /// The same of a statement that ran: what looks like a name may be a value.
    pub(super) fn of_run(self) -> Self {
        match (&self.shared.error, &self.shared.words) {
            (rusqlite::Error::SqliteFailure(code, _), Some(words)) => {
                let error = rusqlite::Error::SqliteFailure(*code, Some(words.clone()));
                Self {
                    method: self.method,
                    ..Self::new(error, Origin::Run)
                }
            }
            _ => self,
        }
    }

    /// Notes in which method it happened, unless that is known.
    pub(super) fn in_method(mut self, method: &'static str) -> Self {
        self.method.get_or_insert(method);
        self
    }

    /// Notes which database failed to start. Errors of rusqlite's own are not about a file.
    pub(super) fn set_file(&mut self, file: &str) {
        let Some(code) = code(&self.shared.error) else {
            return;
        };
        let text = format!("{file}: {}", Shown(&self.shared.error));
        self.shared = Arc::new(Inner {
            error: rusqlite::Error::SqliteFailure(*code, Some(text)),
            words: self.shared.words.clone(),
            is_about_a_match: self.shared.is_about_a_match,
        });
    }

    /// The method whose statement, begin or commit failed; none outside of a call, when a manager starts for example.
    #[must_use]
    pub fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// SQLite's own words, which may quote values and the text of the statement: not for a log.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.shared.words.as_deref()
    }

    pub(super) fn is_about_a_match(&self) -> bool {
        self.shared.is_about_a_match
    }
}

pub(super) fn code(error: &rusqlite::Error) -> Option<&ffi::Error> {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => Some(code),
        rusqlite::Error::SqlInputError { error, .. } => Some(error),
        _ => None,
    }
}

/// What there is to say of a code alone.
pub(super) fn sentence(code: &ffi::Error) -> String {
    let extended = code.extended_code;
    format!("{} (SQLite code {extended})", ffi::code_to_str(extended))
}

/// An error of rusqlite's own. Some hold the value that did not fit, or an error of another type that may quote it.
fn without_value(error: rusqlite::Error) -> rusqlite::Error {
    use rusqlite::Error as E;
    match error {
        E::IntegralValueOutOfRange(column, _) => {
            let why = "the integer is out of the range of the wanted type";
            E::FromSqlConversionFailure(column, Type::Integer, why.into())
        }
        E::FromSqlConversionFailure(column, found, _) => {
            let why = "the value cannot be read as the wanted type";
            E::FromSqlConversionFailure(column, found, why.into())
        }
        E::ToSqlConversionFailure(_) => {
            E::ToSqlConversionFailure("the value cannot be a parameter".into())
        }
        E::NulError(error) => {
            let mut blank = vec![b' '; error.nul_position()];
            blank.push(0);
            CString::new(blank).map_or_else(E::NulError, |_| E::InvalidQuery)
        }
        error @ (E::SqliteFailure(..)
        | E::SqlInputError { .. }
        | E::SqliteSingleThreadedMode
        | E::Utf8Error(..)
        | E::InvalidParameterName(_)
        | E::InvalidPath(_)
        | E::ExecuteReturnedResults
        | E::QueryReturnedNoRows
        | E::QueryReturnedMoreThanOneRow
        | E::InvalidColumnIndex(_)
        | E::StatementChangedRows(_)
        | E::InvalidQuery
        | E::UnwindingPanic
        | E::MultipleStatement
        | E::InvalidParameterCount(..)
        | E::InvalidDatabaseIndex(_)) => error,
        // SQLite names a column by the text of its expression.
        E::InvalidColumnName(name) => E::InvalidColumnName(words::name(name)),
        E::InvalidColumnType(column, name, found) => {
            E::InvalidColumnType(column, words::name(name), found)
        }
        // What a feature of rusqlite adds that this crate does not use.
        _ => E::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), None),
    }
}

impl Deref for SqliteError {
    type Target = rusqlite::Error;

    fn deref(&self) -> &rusqlite::Error {
        &self.shared.error
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::new(error, Origin::Unknown)
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = self.method {
            write!(f, "{method}: ")?;
        }
        fmt::Display::fmt(&Shown(&self.shared.error), f)
    }
}

/// The text of an error that may be shown.
struct Shown<'a>(&'a rusqlite::Error);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rusqlite::Error::SqliteFailure(code, None) => f.write_str(&sentence(code)),
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                write!(f, "{} (at byte {offset} of the statement)", Bounded(msg))
            }
            error => fmt::Display::fmt(&Bounded(error), f),
        }
    }
}

impl fmt::Debug for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
