//! Which tables a statement reads and writes, as SQLite's authorizer tells when it is prepared: views, triggers, foreign
//! keys, REPLACE and DELETE without WHERE included, <https://sqlite.org/c3ref/set_authorizer.html>.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::hooks::{AuthAction, AuthContext};
use rusqlite::{Connection, OptionalExtension as _};

use crate::tables::Tables;

/// Virtual tables that keep nothing in the database.
const FUNCTIONS: [&str; 5] = [
    "json_each",
    "json_tree",
    "jsonb_each",
    "jsonb_tree",
    "generate_series",
];
/// Modules whose tables show only what was written to them.
const MODULES: [&str; 6] = ["fts5", "fts4", "fts3", "rtree", "rtree_i32", "geopoly"];
/// After this many texts all are forgotten.
const MAX_TEXTS: usize = 1_000;

/// What one text reads and writes.
#[derive(Debug, Clone)]
pub(crate) struct Touched {
    pub(crate) reads: Tables,
    pub(crate) writes: Tables,
}

impl Touched {
    pub(super) const EVERYTHING: Self = Self {
        reads: Tables::All,
        writes: Tables::All,
    };
}

/// What the authorizer was asked since it was last looked at.
#[derive(Debug)]
pub(crate) struct Seen {
    touched: Touched,
    anything: bool,
}

impl Default for Seen {
    fn default() -> Self {
        let touched = Touched {
            reads: Tables::default(),
            writes: Tables::default(),
        };
        Self {
            touched,
            anything: false,
        }
    }
}

impl Seen {
    pub(super) fn note(&mut self, context: &AuthContext<'_>, runs: bool) {
        self.anything = true;
        let Touched { reads, writes } = &mut self.touched;
        let is_temp = context
            .database_name
            .is_some_and(|name| name.eq_ignore_ascii_case("temp"));
        match context.action {
            // Only this connection sees them.
            _ if is_temp => {}
            AuthAction::Read { table_name, .. } => add(reads, table_name),
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name } => add(writes, table_name),
            // A running statement of a full-text index asks for the version of the data.
            AuthAction::Pragma { .. } if runs => {}
            AuthAction::Pragma { pragma_value, .. } => {
                *reads = Tables::All;
                if pragma_value.is_some() {
                    *writes = Tables::All;
                }
            }
            AuthAction::Unknown { .. } => self.touched = Touched::EVERYTHING,
            _ => {}
        }
    }
}

/// A table of SQLite's own says something about all others.
fn add(tables: &mut Tables, name: &str) {
    if name.starts_with("sqlite_") {
        *tables = Tables::All;
    } else {
        tables.add(name);
    }
}

/// What is known about the texts that one connection has run.
#[derive(Debug, Default)]
pub(crate) struct Texts(HashMap<Box<str>, Arc<Touched>>);

impl Texts {
    /// What a text touches that has just run. SQLite does not prepare it again each time, and prepares parts of it late: so
    /// what it has once been seen to touch stays. Without any knowledge it is everything.
    pub(super) fn touched(
        &mut self,
        connection: &Connection,
        sql: &str,
        seen: Seen,
    ) -> Arc<Touched> {
        let known = self.0.get(sql);
        if !seen.anything {
            return known.map_or_else(|| Arc::new(Touched::EVERYTHING), Arc::clone);
        }
        let mut touched = Touched {
            reads: resolve(connection, seen.touched.reads),
            writes: seen.touched.writes,
        };
        if let Some(known) = known {
            touched.reads.add_all_of(&known.reads);
            touched.writes.add_all_of(&known.writes);
        }
        let touched = Arc::new(touched);
        if self.0.len() >= MAX_TEXTS {
            self.0.clear();
            connection.flush_prepared_statement_cache();
        }
        self.0.insert(sql.into(), Arc::clone(&touched));
        touched
    }
}

/// Whatever a virtual table shows may lie anywhere, unless its module is known to keep it.
fn resolve(connection: &Connection, read: Tables) -> Tables {
    let Tables::These(names) = read else {
        return read;
    };
    let mut tables = Tables::default();
    for name in names {
        match lies_in(connection, &name) {
            Some(true) => tables.add(&name),
            Some(false) => {}
            None => return Tables::All,
        }
    }
    tables
}

/// Whether what a table shows is written under its name; `Some(false)` if it shows nothing of the database, `None` if nobody
/// knows.
fn lies_in(connection: &Connection, table: &str) -> Option<bool> {
    let find =
        "SELECT sql FROM main.sqlite_schema WHERE lower(name) = ?1 AND type IN ('table', 'view')";
    let found = connection
        .prepare_cached(find)
        .and_then(|mut find| find.query_row((table,), |row| row.get(0)).optional());
    let Ok(found) = found else { return None };
    let Some(sql): Option<String> = found else {
        return FUNCTIONS.contains(&table).then_some(false);
    };
    let sql = sql.to_ascii_lowercase();
    if !sql.starts_with("create virtual table") {
        return Some(true);
    }
    let module = sql
        .split_whitespace()
        .skip_while(|word| *word != "using")
        .nth(1)
        .and_then(|module| module.split('(').next());
    let is_known = module.is_some_and(|module| MODULES.contains(&module));
    // A full-text index may show the rows of another table.
    (is_known && !sql.contains("content")).then_some(true)
}
