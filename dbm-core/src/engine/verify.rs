//! A check of the whole file. It keeps its findings even if it is stopped early.

use std::fmt;

use rusqlite::{Connection, ErrorCode};

use super::foreign_keys::ForeignKeys;
use crate::error::{Error, Result};
use crate::value::bounded;

/// The findings of [`DbManager::verify`](crate::DbManager::verify).
///
/// [`Display`](fmt::Display) shows one finding per line, or `sound`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Faults of the file, in SQLite's words. SQLite stops after 100 faults
    /// (sqlite.org/pragma.html#pragma_integrity_check), or where the damage prevents it from going on. In that case the
    /// error is the last entry.
    pub integrity: Vec<String>,
    /// Foreign keys that cannot be satisfied, or that rows violate.
    pub foreign_keys: Vec<ForeignKeyFault>,
}

/// A faulty foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignKeyFault {
    /// The table with the key.
    pub child: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table that the key points to.
    pub parent: String,
    /// How many rows have a value but no parent.
    pub rows: u64,
    /// Why no row can ever have a parent, if the key itself is at fault. Every INSERT of a value fails then.
    pub unusable: Option<&'static str>,
}

impl Verification {
    /// Whether there are no findings.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.integrity.is_empty() && self.foreign_keys.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sound() {
            return f.write_str("sound");
        }
        let integrity = self.integrity.iter().map(ToString::to_string);
        let foreign_keys = self.foreign_keys.iter().map(ToString::to_string);
        let lines: Vec<String> = integrity.chain(foreign_keys).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for ForeignKeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { child, parent, .. } = self;
        let columns = self.columns.join(", ");
        match self.unusable {
            Some(why) => write!(
                f,
                "the foreign key of {child} ({columns}) to {parent} is of no use: {why}"
            ),
            None => write!(
                f,
                "{} rows of {child} ({columns}) have no parent in {parent}",
                self.rows
            ),
        }
    }
}

/// Checks the whole file. Fails only if the check itself cannot go on, for example because it was interrupted.
pub(crate) fn verify(connection: &Connection) -> Result<Verification> {
    let mut found = Verification::default();
    let mut keep = |error: Error| {
        if !is_damage(&error) {
            return Err(error);
        }
        found.integrity.push(bounded(error.to_string()));
        Ok(())
    };
    let mut lines = Vec::new();
    read_integrity(connection, &mut lines).or_else(&mut keep)?;
    let keys = match ForeignKeys::read_with(connection, &mut keep) {
        Ok(keys) => Some(keys),
        Err(error) => {
            keep(error)?;
            None
        }
    };
    lines.append(&mut found.integrity);
    found.integrity = lines;
    let tables = keys.iter().flat_map(ForeignKeys::tables);
    for (child, key) in tables.flat_map(|table| table.keys.iter().map(|key| (&table.name, key))) {
        if key.fault.is_some() || !key.orphans.is_empty() {
            found.foreign_keys.push(ForeignKeyFault {
                child: child.clone(),
                columns: key.from.clone(),
                parent: key.parent.clone(),
                rows: key.orphans.len() as u64,
                unusable: key.fault,
            });
        }
    }
    Ok(found)
}

fn read_integrity(connection: &Connection, lines: &mut Vec<String>) -> Result<()> {
    let mut statement = connection.prepare("PRAGMA main.integrity_check")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        let findings = text
            .lines()
            .filter(|line| *line != "ok" && !line.starts_with("***"));
        lines.extend(findings.map(|line| bounded(line.to_owned())));
    }
    Ok(())
}

/// Whether an error is about the file rather than about the check.
fn is_damage(error: &Error) -> bool {
    matches!(
        error.primary_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    )
}
