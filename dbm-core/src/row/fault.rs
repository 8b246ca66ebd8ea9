//! Why a row could not become the requested type, while serde is still reading it.

use std::fmt::{self, Display};

use rusqlite::types::ValueRef;
use serde_core::de::Expected;

use crate::error::Error;
use crate::value::bounded;

pub(super) const NOT_UTF8: &str = "the TEXT is not valid UTF-8";

/// Boxed, for it passes through every value that is read and hardly ever exists. Its own texts never hold a value.
#[derive(Debug, Clone)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    /// The column, or none if the fault is about the whole row.
    column: Option<usize>,
    message: String,
    /// The words of another type. They may quote the value.
    foreign: bool,
}

impl Fault {
    #[cold]
    pub(super) fn new(message: impl Display) -> Self {
        Self(Box::new(Inner {
            column: None,
            message: bounded(message),
            foreign: false,
        }))
    }

    #[cold]
    pub(super) fn mismatch(expected: &dyn Expected, found: ValueRef<'_>) -> Self {
        let fix = match found {
            ValueRef::Null => "; a column that may be NULL is an `Option`",
            _ => "",
        };
        Self::new(format_args!(
            "expected {expected}, found {}{fix}",
            kind(found)
        ))
    }

    /// Records the column, and makes sure that the text does not quote its value.
    #[cold]
    pub(super) fn in_column(mut self, index: usize, value: ValueRef<'_>) -> Self {
        if self.0.column.is_none() {
            self = self.without(value);
            self.0.column = Some(index);
        }
        self
    }

    /// Removes another type's words if they quote this value or a word of it. Also if they were cut off, because then
    /// it cannot be checked.
    #[cold]
    pub(super) fn without(mut self, value: ValueRef<'_>) -> Self {
        let message = &self.0.message;
        let quotes = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            let mut words = text.split(|letter: char| !letter.is_alphanumeric());
            !text.is_empty()
                && (message.contains(&*text)
                    || message.ends_with('…')
                    || words.any(|word| word.len() > 3 && message.contains(word)))
        };
        let quotes = self.0.foreign
            && match value {
                ValueRef::Null => false,
                ValueRef::Text(text) | ValueRef::Blob(text) => quotes(text),
                ValueRef::Integer(number) => quotes(number.to_string().as_bytes()),
                ValueRef::Real(number) => quotes(number.to_string().as_bytes()),
            };
        if quotes {
            self.0.message = "the type does not accept this value".to_owned();
        }
        self
    }

    /// The column, or none if the fault is about the whole row.
    pub(super) fn column(&self) -> Option<usize> {
        self.0.column
    }

    pub(super) fn message(&self) -> &str {
        &self.0.message
    }

    /// Marks the words as another type's.
    pub(super) fn set_foreign(&mut self) {
        self.0.foreign = true;
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.0.foreign
    }

    #[cold]
    pub(super) fn into_error(self, label: impl FnOnce(usize) -> String) -> Error {
        let Inner {
            column, message, ..
        } = *self.0;
        match column {
            Some(index) => Error::Column {
                column: label(index),
                message,
            },
            None => Error::RowShape { message },
        }
    }
}

/// The name of SQLite's type of a value.
pub(super) fn kind(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an INTEGER",
        ValueRef::Real(_) => "a REAL",
        ValueRef::Text(_) => "TEXT",
        ValueRef::Blob(_) => "a BLOB",
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl std::error::Error for Fault {}
