//! The names of a result's columns.

use std::cell::{Cell, OnceCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::Statement;
use rusqlite::types::ValueRef;

use crate::error::{Error, Result, may_hold_literal};
use crate::value::bounded;

/// The names of all columns of a result, in one string.
#[derive(Debug, PartialEq)]
pub struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn of(statement: &Statement<'_>) -> Result<Self> {
        let mut names = Self {
            text: String::new(),
            ends: Vec::with_capacity(statement.column_count()),
        };
        for index in 0..statement.column_count() {
            names.text.push_str(column_name(statement, index)?);
            names.ends.push(names.text.len());
        }
        Ok(names)
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let start = match index.checked_sub(1) {
            None => 0,
            Some(previous) => *self.ends.get(previous)?,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// The name of a column in an error.
    pub(super) fn label(&self, index: usize) -> String {
        label(self.get(index), index)
    }

    pub(super) fn out_of_range(&self, index: usize) -> Error {
        Error::Column {
            column: place(index),
            message: format!("the row has only {} columns", self.ends.len()),
        }
    }
}

#[cfg(feature = "remote")]
impl<'n> FromIterator<&'n str> for Names {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let mut all = Self {
            text: String::new(),
            ends: Vec::new(),
        };
        for name in names {
            all.text.push_str(name);
            all.ends.push(all.text.len());
        }
        all
    }
}

/// The name of a column, as SQLite reports it.
pub(super) fn column_name<'s>(statement: &'s Statement<'_>, index: usize) -> Result<&'s str> {
    // rusqlite panics if a name is not UTF-8, and a file's schema can contain such a name.
    let name = catch_unwind(AssertUnwindSafe(|| statement.column_name(index)));
    Ok(name.map_err(|_| Error::Column {
        column: place(index),
        message: "the name of the column is not UTF-8".to_owned(),
    })??)
}

/// The name of a column in an error. A name that is an expression with a literal is not shown.
pub(super) fn label(name: Option<&str>, index: usize) -> String {
    match name {
        Some(name) if !may_hold_literal(name) => bounded(name),
        _ => place(index),
    }
}

pub(super) fn place(index: usize) -> String {
    format!("#{index}")
}

/// What all rows of a result share. The names are read on first use: tuples and scalars never need them.
#[derive(Default)]
pub(super) struct Heading {
    names: OnceCell<Arc<Names>>,
    pub(super) distinct: OnceCell<()>,
    /// The bytes of all texts and blobs that were read, which bound a chunk of a stream.
    pub(super) bytes: Cell<usize>,
}

impl Heading {
    #[inline]
    pub(super) fn count(&self, value: ValueRef<'_>) {
        if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = value {
            self.bytes.set(self.bytes.get() + bytes.len());
        }
    }

    /// The names, which `read` reads from a row if it is the first use.
    pub(super) fn names(&self, read: impl FnOnce() -> Result<Arc<Names>>) -> Result<&Arc<Names>> {
        match self.names.get() {
            Some(names) => Ok(names),
            None => {
                let names = read()?;
                Ok(self.names.get_or_init(|| names))
            }
        }
    }
}
