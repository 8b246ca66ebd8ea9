//! A check of the whole file. It keeps its findings even if it is stopped early.

use std::fmt;

use rusqlite::{Connection, ErrorCode};

use super::foreign_keys::ForeignKeys;
use super::schema::{SchemaDiff, SchemaDump, read as read_schema};
use crate::error::{Error, Result};
use crate::value::bounded;

/// The findings of [`DbManager::verify`](crate::DbManager::verify).
///
/// [`Display`](fmt::Display) shows one finding per line, or `sound`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Faults of the file, in SQLite's words. SQLite stops after 100 faults
    /// (sqlite.org/pragma.html#pragma_integrity_check), or where the damage prevents it from going on. In that case the
    /// error is the last entry.
    pub integrity: Vec<String>,
    /// Foreign keys that cannot be satisfied, or that rows violate.
    pub foreign_keys: Vec<ForeignKeyFault>,
    /// Whether the schema is the one that `init_db` makes.
    pub schema: SchemaComparison,
}

/// How the schema of a database compares with the one that [`init_db`](crate::Schema::init_db) makes, as
/// [`SchemaDrift`](crate::SchemaDrift) compares them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaComparison {
    /// There is no difference that matters.
    Same,
    /// It has drifted.
    Drift {
        /// The differences, a line each: `-` is in the database, `+` is what `init_db` makes.
        differences: String,
    },
    /// Nobody knows.
    NotCompared {
        /// It is not asked for ([`SchemaDrift::Ignore`](crate::SchemaDrift::Ignore)), or `init_db` failed, or the damage is in
        /// the schema.
        why: String,
    },
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
    /// Whether there are no findings. A schema that was not compared is none.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let has_drifted = matches!(self.schema, SchemaComparison::Drift { .. });
        self.integrity.is_empty() && self.foreign_keys.is_empty() && !has_drifted
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sound() {
            return f.write_str("sound");
        }
        let integrity = self.integrity.iter().map(ToString::to_string);
        let foreign_keys = self.foreign_keys.iter().map(ToString::to_string);
        let drift = match &self.schema {
            SchemaComparison::Drift { differences } => Some(format!(
                "the schema is not what init_db makes:\n{differences}"
            )),
            SchemaComparison::Same | SchemaComparison::NotCompared { .. } => None,
        };
        let lines: Vec<String> = integrity.chain(foreign_keys).chain(drift).collect();
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

/// What a check of the file has found, and the schema that it has.
pub(crate) struct Findings {
    integrity: Vec<String>,
    foreign_keys: Vec<ForeignKeyFault>,
    schema: Result<SchemaDump>,
}

impl Findings {
    /// With `None` nobody asks for the comparison.
    pub(crate) fn compared_with(self, expected: Option<Result<SchemaDump>>) -> Verification {
        let schema = match (self.schema, expected) {
            (_, None) => SchemaComparison::NotCompared {
                why: "it is not asked for".to_owned(),
            },
            (Ok(found), Some(Ok(expected))) => found.compare_for_drift(&expected),
            (Err(cause), _) | (_, Some(Err(cause))) => SchemaComparison::NotCompared {
                why: bounded(cause.to_string()),
            },
        };
        Verification {
            integrity: self.integrity,
            foreign_keys: self.foreign_keys,
            schema,
        }
    }
}

impl SchemaDump {
    fn compare_for_drift(&self, expected: &Self) -> SchemaComparison {
        let differences = self.compare(expected).err().and_then(SchemaDiff::drift);
        differences.map_or(SchemaComparison::Same, |differences| {
            SchemaComparison::Drift {
                differences: bounded(differences.to_string()),
            }
        })
    }
}

/// Checks the whole file. Fails only if the check itself cannot go on, for example because it was interrupted.
pub(crate) fn verify(connection: &Connection) -> Result<Findings> {
    let mut damage = Vec::new();
    let mut keep = |error: Error| {
        if !is_damage(&error) {
            return Err(error);
        }
        damage.push(bounded(error.to_string()));
        Ok(())
    };
    let mut integrity = Vec::new();
    read_integrity(connection, &mut integrity).or_else(&mut keep)?;
    let keys = match ForeignKeys::read_with(connection, &mut keep) {
        Ok(keys) => Some(keys),
        Err(error) => {
            keep(error)?;
            None
        }
    };
    integrity.append(&mut damage);
    let tables = keys.iter().flat_map(ForeignKeys::tables);
    let keys = tables.flat_map(|table| table.keys.iter().map(|key| (&table.name, key)));
    let faulty = keys.filter(|(_, key)| key.fault.is_some() || !key.orphans.is_empty());
    let foreign_keys = faulty.map(|(child, key)| ForeignKeyFault {
        child: child.clone(),
        columns: key.from.clone(),
        parent: key.parent.clone(),
        rows: key.orphans.len() as u64,
        unusable: key.fault,
    });
    let schema = read_schema(connection);
    if let Err(error) = &schema
        && error.primary_code() == Some(ErrorCode::OperationInterrupted)
    {
        return Err(error.clone());
    }
    Ok(Findings {
        integrity,
        foreign_keys: foreign_keys.collect(),
        schema,
    })
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
