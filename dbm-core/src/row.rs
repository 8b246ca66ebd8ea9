//! Rows read from the database: [`Row`], and reading a query's rows straight into a user's type.

#[cfg(feature = "remote")]
mod answer;
mod buffered;
mod cells;
mod column;
mod fault;
mod heading;
mod impossible;
mod record;
mod refusal;
mod respelled;
mod spelling;

#[cfg(feature = "json")]
use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use serde_core::de::{Deserialize, DeserializeOwned};

use crate::error::{Error, Result};
use crate::value::{Value, bounded};

#[cfg(feature = "remote")]
pub use answer::Answer;
pub use buffered::column;
pub(crate) use cells::Rows;
use heading::{Heading, Names};
use record::Record;

/// One row of a result, owned: the argument of `query_map`'s closure.
///
/// ```
/// # use dbm_core::prelude::*;
/// # async fn f(db: &mut ReadTransaction) -> Result<()> {
/// let lines = db
///     .query_map("SELECT id, name, email FROM user", (), |row| {
///         let name: &str = row.get("name")?;
///         Ok(match row.get::<Option<&str>>(2)? {
///             Some(email) => format!("{name} <{email}>"),
///             None => name.to_owned(),
///         })
///     })
///     .await?;
/// # let _: Vec<String> = lines; Ok(()) }
/// ```
#[derive(Clone, PartialEq)]
pub struct Row {
    names: Arc<Names>,
    values: Vec<Value>,
}

impl Row {
    /// Reads a column, given by its position (from 0) or its name, as any type that one column can hold:
    ///
    /// | type | from |
    /// |---|---|
    /// | integers | INTEGER within the range of the type |
    /// | `bool` | INTEGER 0 or 1 |
    /// | `f64`, `f32` | REAL, or an INTEGER that the type can hold exactly |
    /// | `String`, `&str`, `char`, an enum of units by its names | TEXT |
    /// | `Vec<u8>`, `[u8; N]`, the types of serde_bytes | BLOB |
    /// | times, UUIDs, and other types that serde reads from text | TEXT |
    /// | `Json<T>` (feature `json`) | TEXT that is JSON |
    /// | `Option<T>` | NULL, or what `T` is read from |
    /// | [`Value`] | anything |
    ///
    /// Newtypes and other types with serde's `Deserialize` are read as the types they are built on. `&str` borrows from
    /// the row. Nothing is converted silently: text that looks like a number is not one.
    ///
    /// Two types have more than one form in SQL, and a type that does not accept the form of the column is offered the
    /// other one. A time in UTC, `YYYY-MM-DD HH:MM:SS` with or without a fraction, is read by the types of chrono, jiff
    /// and time. A BLOB of 16 bytes is read as a UUID.
    ///
    /// # Errors
    /// [`Error::Column`] if there is no such column, if several columns have its name, or if `T` cannot hold the value.
    pub fn get<'r, T: Deserialize<'r>>(&'r self, column: impl ColumnIndex) -> Result<T> {
        let index = column.find(&self.names)?;
        let value = self
            .values
            .get(index)
            .map_or(ValueRef::Null, ValueRef::from);
        spelling::column(value).map_err(|fault| {
            fault
                .in_column(index, value)
                .into_error(|index| self.names.label(index))
        })
    }

    /// The value of a column as it is.
    ///
    /// # Errors
    /// [`Error::Column`] if there is no such column, or if several columns have its name.
    pub fn get_value(&self, column: impl ColumnIndex) -> Result<&Value> {
        let index = column.find(&self.names)?;
        self.values
            .get(index)
            .ok_or_else(|| self.names.out_of_range(index))
    }

    /// The number of columns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the row has no columns. A row that a query returned has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The names of the columns, in order.
    pub fn column_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_map()
            .entries(self.names.iter().zip(&self.values))
            .finish()
    }
}

/// Selects a column for [`Row::get`]: by its position, from 0, or by its name. A name that is spelled exactly as in the SQL
/// goes before one that differs only in case.
pub trait ColumnIndex: sealed::Find {}

impl ColumnIndex for usize {}
impl ColumnIndex for &str {}

mod sealed {
    /// Finds the index of a column. The index is within the row.
    pub trait Find {
        fn find(self, names: &super::Names) -> super::Result<usize>;
    }
}

impl sealed::Find for usize {
    fn find(self, names: &Names) -> Result<usize> {
        if self < names.len() {
            Ok(self)
        } else {
            Err(names.out_of_range(self))
        }
    }
}

impl sealed::Find for &str {
    fn find(self, names: &Names) -> Result<usize> {
        let only = |is: &dyn Fn(&str) -> bool| {
            let mut found = (0..names.len()).filter(|index| names.get(*index).is_some_and(is));
            (found.next(), found.next())
        };
        let found = match only(&|name| name == self) {
            (None, _) => only(&|name| name.eq_ignore_ascii_case(self)),
            exactly => exactly,
        };
        let message = match found {
            (Some(index), None) => return Ok(index),
            (None, _) => "the row has no such column",
            (Some(_), Some(_)) => "the row has several columns of this name",
        };
        Err(Error::Column {
            column: bounded(self),
            message: message.to_owned(),
        })
    }
}

/// What a row is read as: a struct, by the names of the columns; a tuple, with one element for each column; or a scalar,
/// for the one column.
///
/// Every owned type with serde's `Deserialize` implements it. Nothing else does.
///
/// ```
/// # use dbm_core::prelude::*;
/// use dbm_core::FromRow;
///
/// async fn newest<T: FromRow>(db: &mut ReadTransaction) -> Result<Option<T>> {
///     db.query_optional("SELECT * FROM user ORDER BY id DESC LIMIT 1", ()).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a row cannot be read as `{Self}`",
    label = "name a scalar, a tuple of up to 16, or a type with `#[derive(serde::Deserialize)]`",
    note = "`!` and `()` mean that no type is named: write `let count: u64 = ..` or `query_one::<u64>(..)`"
)]
pub trait FromRow: DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Send + 'static> FromRow for T {}

fn read<T: DeserializeOwned>(record: Record<'_>) -> Result<T> {
    buffered::read(record)
        .or_else(|fault| respelled::read(record, fault))
        .map_err(|fault| {
            record
                .explain(fault)
                .into_error(|index| record.label(index))
        })
}

/// Every row, as `T`.
pub(crate) fn all<T: DeserializeOwned>(rows: Rows<'_>) -> Result<Vec<T>> {
    all_after(rows, 0)
}

/// The same, of rows that follow so many others of the same result.
pub(crate) fn all_after<T: DeserializeOwned>(mut rows: Rows<'_>, before: usize) -> Result<Vec<T>> {
    let heading = Heading::default();
    let mut all = Vec::new();
    while let Some(cells) = rows.next()? {
        let record = Record {
            cells,
            heading: Some(&heading),
            instead: None,
            respelled: &[],
        };
        all.push(read(record).map_err(|error| in_row(error, before + all.len()))?);
    }
    Ok(all)
}

/// Adds the number of the row to its error, unless it is the first one. `before` counts the rows that were read.
#[cold]
fn in_row(mut error: Error, before: usize) -> Error {
    if let Error::Column { message, .. } = &mut error
        && before > 0
    {
        *message = format!("{message} (row {})", before + 1);
    }
    error
}

/// The rows of a running statement, a chunk at a time.
pub(crate) struct Chunks<'s> {
    rows: Rows<'s>,
    heading: Heading,
    /// How many rows it has read.
    before: usize,
}

impl<'s> Chunks<'s> {
    pub(crate) fn of(rows: Rows<'s>) -> Self {
        Self {
            rows,
            heading: Heading::default(),
            before: 0,
        }
    }

    /// Adds rows, as `T`, until the chunk has `most` of them or about as many `bytes`. A column that `T` does not read does
    /// not count. False at the end of the result.
    pub(crate) fn fill<T: DeserializeOwned>(
        &mut self,
        chunk: &mut Vec<T>,
        most: usize,
        bytes: usize,
    ) -> Result<bool> {
        let row_size = size_of::<T>().max(1);
        if chunk.is_empty() {
            self.heading.bytes.set(0);
        }
        while chunk.len() < most && self.heading.bytes.get() + chunk.len() * row_size < bytes {
            let Some(cells) = self.rows.next()? else {
                return Ok(false);
            };
            let record = Record {
                cells,
                heading: Some(&self.heading),
                instead: None,
                respelled: &[],
            };
            chunk.push(read(record).map_err(|error| in_row(error, self.before))?);
            self.before += 1;
        }
        Ok(true)
    }
}

/// The only row, as `T`.
pub(crate) fn one<T: DeserializeOwned>(rows: Rows<'_>) -> Result<T> {
    optional(rows)?.ok_or(Error::NoRows)
}

/// The only row, as `T`, or `None` if there is none. A second row is an error: returning an arbitrary one would hide a
/// mistake.
pub(crate) fn optional<T: DeserializeOwned>(mut rows: Rows<'_>) -> Result<Option<T>> {
    let Some(cells) = rows.next()? else {
        return Ok(None);
    };
    let value = read(Record {
        cells,
        heading: None,
        instead: None,
        respelled: &[],
    })?;
    if rows.next()?.is_some() {
        Err(Error::TooManyRows)
    } else {
        Ok(Some(value))
    }
}

/// Every row, owned, with the types that the database reported.
pub(crate) fn owned(mut rows: Rows<'_>) -> Result<Vec<Row>> {
    let heading = Heading::default();
    let mut all = Vec::new();
    while let Some(cells) = rows.next()? {
        let names = heading.names(|| cells.names())?;
        let value = |index| {
            value_of(cells.get(index)?).map_err(|message| Error::Column {
                column: names.label(index),
                message,
            })
        };
        let values = (0..names.len()).map(value).collect::<Result<_>>()?;
        all.push(Row {
            names: Arc::clone(names),
            values,
        });
    }
    Ok(all)
}

/// Why a `Json` cannot be read, if `E` is the error of a row: a row itself gives it the text of a column, so this is
/// serde's buffer.
#[cfg(feature = "json")]
pub(crate) fn refusal_of_json<E>() -> Option<&'static str> {
    // `TypeId` needs `'static`, which serde does not ask of an error.
    (type_name::<E>() == type_name::<fault::Fault>()).then_some(refusal::NO_JSON)
}

fn value_of(value: ValueRef<'_>) -> Result<Value, String> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(
            std::str::from_utf8(text)
                .map_err(|_| fault::NOT_UTF8)?
                .to_owned(),
        ),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_owned()),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "tried on a bare connection")]
mod tests;
