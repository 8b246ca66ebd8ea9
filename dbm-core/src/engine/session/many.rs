//! A statement that is run once for each of some rows of parameters.

use rusqlite::Connection;

use crate::engine::statement::{Operation, execute};
use crate::error::Result;
use crate::params::BoundParams;

/// The number of rows that it has changed is its result.
pub(crate) struct Many {
    pub(crate) rows: Vec<BoundParams>,
    /// The index of the first of the rows.
    pub(crate) first: usize,
    pub(crate) method: &'static str,
}

impl Operation<usize> for Many {
    fn run(
        &mut self,
        connection: &Connection,
        statement: &mut rusqlite::Statement<'_>,
    ) -> Result<usize> {
        let mut changed = 0;
        for (index, row) in (self.first..).zip(&self.rows) {
            let bound = row.bind(statement);
            changed += bound
                .and_then(|()| execute(connection, statement))
                .map_err(|error| error.of_run().in_method(self.method).in_row(index))?;
        }
        Ok(changed)
    }

    fn runs(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }
}
