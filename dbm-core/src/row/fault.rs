//! Why a row could not become the type that was asked for, while serde is still at work.

use std::fmt::{self, Display};

use rusqlite::types::ValueRef;
use serde_core::de::{self, Expected, Unexpected};

use crate::error::Error;
use crate::value::bounded;

pub(super) const NOT_UTF8: &str = "the TEXT is not valid UTF-8";

/// Boxed, for it passes through every value that is read and hardly ever exists. Its own texts never hold a value.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// The column, or none if the row as a whole does not fit.
    column: Option<usize>,
    message: String,
    /// The words of another type, which may quote the value.
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
        Self::new(format_args!("expected {expected}, found {}", kind(found)))
    }

    /// Says in which column it happened, and sees to it that the text does not quote that column.
    #[cold]
    pub(super) fn in_column(mut self, index: usize, value: ValueRef<'_>) -> Self {
        if self.0.column.is_none() {
            self = self.without(value);
            self.0.column = Some(index);
        }
        self
    }

    /// Takes back the words of another type if they quote this value, or were cut off so that nobody can tell.
    #[cold]
    pub(super) fn without(mut self, value: ValueRef<'_>) -> Self {
        let quoted = match value {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Null | ValueRef::Blob(_) => String::new(),
        };
        let message = &self.0.message;
        if self.0.foreign
            && !quoted.is_empty()
            && (message.contains(&quoted) || message.ends_with('…'))
        {
            self.0.message = "the type does not accept this value".to_owned();
        }
        self
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

/// The name of the type that SQLite gave a value.
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

impl de::Error for Fault {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        let mut fault = Self::new(message);
        fault.0.foreign = true;
        fault
    }

    #[cold]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!(
            "expected {expected}, found {}",
            unexpected(found)
        ))
    }

    #[cold]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format_args!(
            "expected {expected}, found {} with another value",
            unexpected(found)
        ))
    }

    #[cold]
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format_args!(
            "the text is none of the variants {}",
            expected.join(", ")
        ))
    }

    #[cold]
    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::new(format_args!(
            "the type has no field for the column `{name}`"
        ))
    }

    #[cold]
    fn missing_field(name: &'static str) -> Self {
        Self::new(format_args!(
            "the type needs a column `{name}`, which the row does not have"
        ))
    }

    #[cold]
    fn duplicate_field(name: &'static str) -> Self {
        Self::new(format_args!(
            "the row has several columns for the field `{name}`"
        ))
    }
}

/// What serde found, without its value.
fn unexpected(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an INTEGER",
        Unexpected::Float(_) => "a REAL",
        Unexpected::Char(_) | Unexpected::Str(_) => "TEXT",
        Unexpected::Bytes(_) => "a BLOB",
        Unexpected::Unit | Unexpected::Option => "NULL",
        Unexpected::Seq => "a sequence",
        Unexpected::Map => "a row",
        Unexpected::UnitVariant => "the name of a unit variant",
        _ => "something else",
    }
}
