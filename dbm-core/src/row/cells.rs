//! Where rows come from: a running statement of SQLite, or the answer of a server.

#[cfg(feature = "remote")]
use std::slice::Chunks;
use std::sync::Arc;

use rusqlite::types::ValueRef;

#[cfg(feature = "remote")]
use super::answer::Answer;
use super::heading::{Names, column_name};
use crate::error::Result;
#[cfg(feature = "remote")]
use crate::value::Value;

/// The rows of a result, one after the other.
pub(crate) enum Rows<'r> {
    Statement(rusqlite::Rows<'r>),
    #[cfg(feature = "remote")]
    Answer {
        names: &'r Arc<Names>,
        rows: Chunks<'r, Value>,
    },
}

/// The cells of one row. Nothing is copied until it is asked for.
#[derive(Clone, Copy)]
pub(super) enum Cells<'r> {
    Statement(&'r rusqlite::Row<'r>),
    #[cfg(feature = "remote")]
    Answer {
        names: &'r Arc<Names>,
        values: &'r [Value],
    },
}

impl<'r> From<rusqlite::Rows<'r>> for Rows<'r> {
    #[inline]
    fn from(rows: rusqlite::Rows<'r>) -> Self {
        Self::Statement(rows)
    }
}

#[cfg(feature = "remote")]
impl<'r> From<&'r Answer> for Rows<'r> {
    fn from(answer: &'r Answer) -> Self {
        let (names, width) = (&answer.names, answer.names.len());
        let values = answer
            .values
            .get(..answer.len() * width)
            .unwrap_or_default();
        Self::Answer {
            names,
            rows: values.chunks(width.max(1)),
        }
    }
}

impl Rows<'_> {
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Cells<'_>>> {
        match self {
            Self::Statement(rows) => Ok(rows.next()?.map(Cells::Statement)),
            #[cfg(feature = "remote")]
            Self::Answer { names, rows } => {
                Ok(rows.next().map(|values| Cells::Answer { names, values }))
            }
        }
    }
}

impl<'r> Cells<'r> {
    #[inline]
    pub(super) fn width(self) -> usize {
        match self {
            Self::Statement(row) => row.as_ref().column_count(),
            #[cfg(feature = "remote")]
            Self::Answer { values, .. } => values.len(),
        }
    }

    #[inline]
    pub(super) fn get(self, index: usize) -> rusqlite::Result<ValueRef<'r>> {
        match self {
            Self::Statement(row) => row.get_ref(index),
            #[cfg(feature = "remote")]
            Self::Answer { values, .. } => {
                let value = values.get(index).map(ValueRef::from);
                value.ok_or(rusqlite::Error::InvalidColumnIndex(index))
            }
        }
    }

    #[inline]
    pub(super) fn name(self, index: usize) -> Result<&'r str> {
        match self {
            Self::Statement(row) => column_name(row.as_ref(), index),
            #[cfg(feature = "remote")]
            Self::Answer { names, .. } => Ok(names.get(index).unwrap_or_default()),
        }
    }

    pub(super) fn names(self) -> Result<Arc<Names>> {
        match self {
            Self::Statement(row) => Ok(Arc::new(Names::of(row.as_ref())?)),
            #[cfg(feature = "remote")]
            Self::Answer { names, .. } => Ok(Arc::clone(names)),
        }
    }
}
