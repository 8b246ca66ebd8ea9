//! An error of SQLite, without the values and the text of the statement that its message may quote.

use std::ffi::CString;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rusqlite::ffi;
use rusqlite::types::Type;

use super::cause::Bounded;
use super::words::{self, Origin};

/// An error of SQLite. It derefs to the [`rusqlite::Error`].
///
/// SQLite's messages quote the SQL and the values that were bound. In the text, in [`Debug`](fmt::Debug) and in the
/// `rusqlite::Error`, a message keeps only its names of schema objects (`no such table: usr`, `UNIQUE constraint
/// failed: user.name`). The rest is replaced by `…`, or the whole message by the general text of its code.
/// [`message`](Self::message) has SQLite's own words.
#[derive(Clone)]
pub struct SqliteError {
    shared: Arc<Inner>,
    method: Option<&'static str>,
}

struct Inner {
    /// The error without anything that must not be shown.
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
            // rusqlite returns this variant only for errors in a statement's text. It quotes the whole statement.
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

    /// The same, for a statement that ran: text that looks like a name may be a value.
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

    /// Records the method in which it happened, unless one is recorded already.
    pub(super) fn in_method(mut self, method: &'static str) -> Self {
        self.method.get_or_insert(method);
        self
    }

    /// Records which database failed to start. Errors of rusqlite itself are not about a file.
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

    /// The method whose statement, BEGIN or COMMIT failed. `None` outside of a call, for example during start-up.
    #[must_use]
    pub fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// SQLite's own words. They may quote values and the text of the statement, so keep them out of logs.
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

/// The general text of a code.
pub(super) fn sentence(code: &ffi::Error) -> String {
    let extended = code.extended_code;
    format!("{} (SQLite code {extended})", ffi::code_to_str(extended))
}

/// An error of rusqlite itself. Some of its variants hold the value that did not fit, or another type's error that may
/// quote it.
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
        // SQLite names an unnamed column by the text of its expression (sqlite.org/c3ref/column_name.html).
        E::InvalidColumnName(name) => E::InvalidColumnName(words::name(name)),
        E::InvalidColumnType(column, name, found) => {
            E::InvalidColumnType(column, words::name(name), found)
        }
        // Variants of rusqlite features that this crate does not use.
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
