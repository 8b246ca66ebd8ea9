//! A statement that the server knows: what goes into it, and what comes out.

use std::pin::Pin;

use dbm_core::{BoundParams, Error, Result, Value};
use futures_util::TryStreamExt as _;
use tokio_postgres::{Column, Row, RowStream, Statement};

use crate::value::{Cell, Parameter, encode};

pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    /// The parameters as they were written.
    pub(crate) parameters: Vec<Option<String>>,
    /// Which of them is `$1`, `$2`, ….
    pub(crate) order: Vec<usize>,
    /// It inserts, changes or deletes, so the number of rows that it tells is of changes.
    pub(crate) changes: bool,
    pub(crate) leaves_traces: bool,
}

impl Prepared {
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.statement.columns().iter().map(Column::name)
    }

    /// The values in the order of the statement, each as the server wants it.
    pub(crate) fn parameters<'v>(&self, given: &'v BoundParams) -> Result<Vec<Parameter<'v>>> {
        let names: Vec<_> = self.parameters.iter().map(Option::as_deref).collect();
        let values = given.in_order(&names)?;
        let types = self.order.iter().zip(self.statement.params());
        let encoded = types.map(|(index, of)| {
            // Both come from one statement.
            let Some(value) = values.get(*index) else {
                return Ok(Parameter::Null);
            };
            encode(value, of).map_err(|message| Error::Parameter {
                name: match names.get(*index) {
                    Some(Some(name)) => (*name).to_owned(),
                    _ => format!("?{}", index + 1),
                },
                message,
            })
        });
        encoded.collect()
    }

    /// Reads rows until there is no other one, or as many bytes, and tells whether it was the last one. The inner error is of a
    /// value that cannot be read; all rows are read even so.
    pub(crate) async fn read(
        &self,
        mut rows: Pin<&mut RowStream>,
        values: &mut Vec<Value>,
        bytes: usize,
    ) -> Result<(Result<()>, bool), tokio_postgres::Error> {
        let (mut outcome, mut read) = (Ok(()), 0);
        while read < bytes {
            let Some(row) = rows.try_next().await? else {
                return Ok((outcome, true));
            };
            read += row.raw_size_bytes();
            if outcome.is_ok() {
                outcome = self.read_row(&row, values);
            }
        }
        Ok((outcome, false))
    }

    fn read_row(&self, row: &Row, values: &mut Vec<Value>) -> Result<()> {
        for (at, column) in self.statement.columns().iter().enumerate() {
            let cell = row
                .try_get(at)
                .unwrap_or_else(|error| Cell(Err(error.to_string())));
            values.push(cell.0.map_err(|message| Error::Column {
                column: column.name().to_owned(),
                message,
            })?);
        }
        Ok(())
    }
}
