//! Looking into database files from outside.

use std::collections::BTreeMap;
use std::path::Path;

use dbm_core::rusqlite::types::Value;
use dbm_core::rusqlite::{Connection, OpenFlags};

/// The rows of every table but `Version`, and what else a file says about itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) tables: BTreeMap<String, Vec<Vec<Value>>>,
    schema: Vec<Option<String>>,
    pragmas: Vec<String>,
}

impl Contents {
    /// Reads a file that nobody else has open.
    pub(crate) fn of(path: &Path) -> Self {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let all = |sql: &str| -> Vec<Vec<Value>> {
            let mut statement = db.prepare(sql).unwrap();
            let columns = statement.column_count();
            let rows = statement
                .query_map((), |row| {
                    (0..columns).map(|column| row.get(column)).collect()
                })
                .unwrap();
            rows.map(|row| row.unwrap()).collect()
        };
        let text = |sql: &str| {
            all(sql)
                .into_iter()
                .flatten()
                .map(|value| format!("{value:?}"))
                .collect::<Vec<_>>()
        };
        let names = db
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND lower(name) <> 'version' ORDER BY name")
            .unwrap()
            .query_map((), |row| row.get::<_, String>(0))
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>();
        let rows = |name: &String| {
            all(&format!(
                "SELECT * FROM \"{}\" ORDER BY rowid",
                name.replace('"', "\"\"")
            ))
        };
        Self {
            tables: names
                .iter()
                .map(|name| (name.clone(), rows(name)))
                .collect(),
            schema: db
                .prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")
                .unwrap()
                .query_map((), |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect(),
            pragmas: [
                "user_version",
                "application_id",
                "encoding",
                "page_size",
                "quick_check",
            ]
            .into_iter()
            .flat_map(|pragma| text(&format!("PRAGMA {pragma}")))
            .collect(),
        }
    }
}
