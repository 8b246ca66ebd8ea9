//! The answer of a server to one statement.

use std::sync::Arc;

use super::heading::Names;
use crate::value::Value;

/// What a server has answered to one statement: rows, or how many rows it has changed.
///
/// ```
/// use dbm_core::Value;
/// use dbm_core::remote::Answer;
///
/// let users = Answer::of_rows(
///     ["id", "name"],
///     vec![Value::Integer(1), Value::from("Ada"), Value::Integer(2), Value::Null],
/// );
/// assert_eq!(users.len(), 2);
/// let renamed = Answer::of_change(2);
/// assert!(renamed.is_empty());
/// ```
#[derive(Clone)]
pub struct Answer {
    pub(super) names: Arc<Names>,
    /// Row by row.
    pub(super) values: Vec<Value>,
    changed: u64,
}

impl Answer {
    /// The rows of a result: the names of its columns, and the values, row by row. Values that do not fill the last row are
    /// left out.
    pub fn of_rows<'n>(columns: impl IntoIterator<Item = &'n str>, values: Vec<Value>) -> Self {
        Self {
            names: Arc::new(columns.into_iter().collect()),
            values,
            changed: 0,
        }
    }

    /// What a statement without a result has done: the number of rows that it has inserted, changed or deleted.
    #[must_use]
    pub fn of_change(rows: u64) -> Self {
        Self::of_rows([], Vec::new()).with_change(rows)
    }

    /// The same answer, of a statement that has also changed so many rows: one with `RETURNING`.
    #[must_use]
    pub fn with_change(self, rows: u64) -> Self {
        Self {
            changed: rows,
            ..self
        }
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values
            .len()
            .checked_div(self.names.len())
            .unwrap_or_default()
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows the statement has changed.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changed
    }
}

impl std::fmt::Debug for Answer {
    /// Shows only names and numbers, because values must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("columns", &self.names)
            .field("rows", &self.len())
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}
