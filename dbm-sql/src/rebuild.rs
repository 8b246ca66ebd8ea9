//! Rebuilds a table as <https://sqlite.org/lang_altertable.html#otheralter> recommends: create the new table, copy the
//! rows, drop the old table, and recreate everything that belonged to it.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};
use std::fmt;

/// A table that gets a new definition and keeps its rows, its indexes and its triggers.
///
/// Foreign keys must be off meanwhile, and checked afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuild<'a> {
    /// The table's name.
    pub table: &'a str,
    /// `CREATE TABLE` for that name.
    pub create: &'a str,
    /// `INSERT INTO` the new table from the old one, which has the prefix `old_`. Without it, the columns that both
    /// have are copied.
    pub copy: Option<&'a str>,
}

/// Why a table was not rebuilt.
#[derive(Debug)]
pub enum Fault {
    /// SQLite's error.
    Sqlite(rusqlite::Error),
    /// The rebuild would lose something.
    Lost(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => fmt::Display::fmt(error, f),
            Self::Lost(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

type Result<T, E = Fault> = std::result::Result<T, E>;

impl Rebuild<'_> {
    /// Rebuilds the table inside the open transaction. After an error, roll that back.
    ///
    /// # Errors
    ///
    /// [`Fault::Sqlite`] if a statement fails. [`Fault::Lost`] if a row was not copied, or if an index, a trigger or a
    /// view does not fit the new table.
    pub fn run(&self, connection: &Connection) -> Result<()> {
        let legacy = DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE;
        let before = connection.db_config(legacy)?;
        // The old behaviour of ALTER TABLE leaves references to the table's name alone, so they then mean the new
        // table: sqlite.org/pragma.html#pragma_legacy_alter_table.
        connection.set_db_config(legacy, true)?;
        let done = self.exchange(connection);
        connection.set_db_config(legacy, before)?;
        done
    }

    fn exchange(&self, connection: &Connection) -> Result<()> {
        let (table, old) = (quoted(self.table), quoted(&format!("old_{}", self.table)));
        let parts = parts_of(connection, self.table)?;
        let views = usable_views(connection)?;
        let sequence = sequence(connection, self.table)?;

        connection.execute_batch(&format!("ALTER TABLE {table} RENAME TO {old}"))?;
        connection.execute_batch(self.create)?;
        match self.copy {
            Some(copy) => connection.execute_batch(copy)?,
            None => copy_common_columns(connection, self.table)?,
        }
        let rows = |table: &str| -> Result<u64> {
            let sql = format!("SELECT count(*) FROM {table}");
            Ok(connection.query_row(&sql, (), |row| row.get(0))?)
        };
        let (had, has) = (rows(&old)?, rows(&table)?);
        if had != has {
            return Err(Fault::Lost(format!(
                "rebuilding {}: it had {had} rows and would have {has}; delete or insert rows before or after",
                self.table
            )));
        }
        connection.execute_batch(&format!("DROP TABLE {old}"))?;
        for Object { kind, name, sql } in parts {
            connection
                .execute_batch(&sql)
                .map_err(|error| self.lost(&kind, &name, &error))?;
        }
        if let Some(sequence) = sequence {
            carry(connection, self.table, sequence)?;
        }
        for view in views {
            use_view(connection, &view).map_err(|error| self.lost("view", &view, &error))?;
        }
        Ok(())
    }

    fn lost(&self, kind: &str, name: &str, error: &rusqlite::Error) -> Fault {
        let why = match error {
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            error => error.to_string(),
        };
        Fault::Lost(format!(
            "rebuilding {}: its {kind} {name} does not fit ({why}): drop it before, and make another one after",
            self.table
        ))
    }
}

/// An object that belongs to a table.
struct Object {
    kind: String,
    name: String,
    sql: String,
}

fn parts_of(connection: &Connection, table: &str) -> Result<Vec<Object>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema
         WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, rowid",
    )?;
    let rows = statement.query_map((table,), |row| {
        Ok(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            sql: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The views that can be read. A rebuild cannot break the others.
fn usable_views(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'view'")?;
    let names = statement.query_map((), |row| row.get(0))?;
    let mut names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    names.retain(|name| use_view(connection, name).is_ok());
    Ok(names)
}

fn use_view(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    let sql = format!("SELECT * FROM {}", quoted(name));
    connection.prepare(&sql).map(drop)
}

fn copy_common_columns(connection: &Connection, table: &str) -> Result<()> {
    let old = format!("old_{table}");
    let mut statement = connection.prepare(
        "SELECT new.name FROM pragma_table_xinfo(?1) AS new JOIN pragma_table_xinfo(?2) AS old
         ON new.name = old.name COLLATE NOCASE WHERE new.hidden = 0",
    )?;
    let names = statement.query_map((table, &old), |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    if names.is_empty() {
        return Err(Fault::Lost(format!(
            "rebuilding {table}: it has no column of before, so write `INSERT INTO {table} SELECT .. FROM {old}`"
        )));
    }
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let (names, table, old) = (names.join(", "), quoted(table), quoted(&old));
    let copy = format!("INSERT INTO {table} ({names}) SELECT {names} FROM {old}");
    Ok(connection.execute_batch(&copy)?)
}

/// The largest id that an AUTOINCREMENT table has ever had (sqlite.org/autoinc.html).
fn sequence(connection: &Connection, table: &str) -> Result<Option<i64>> {
    if !connection.table_exists(None::<&str>, "sqlite_sequence")? {
        return Ok(None);
    }
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = ?1 COLLATE NOCASE";
    Ok(connection
        .query_row(sql, (table,), |row| row.get(0))
        .optional()?)
}

/// Carries the sequence over, so that no id is ever used twice.
fn carry(connection: &Connection, table: &str, sequence: i64) -> Result<()> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    let table: String = connection.query_row(sql, (table,), |row| row.get(0))?;
    let changed = connection.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
        (&table, sequence),
    )?;
    // A table without rows has no entry there yet.
    if changed == 0 && is_autoincrement(connection, &table)? {
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
            (&table, sequence),
        )?;
    }
    Ok(())
}

fn is_autoincrement(connection: &Connection, table: &str) -> Result<bool> {
    // SQLite reports AUTOINCREMENT nowhere but in the SQL. If the word is only in a comment, the entry has no effect.
    let sql =
        "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.query_row(sql, (table,), |row| row.get(0))?)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with every kind of object that can belong to it.
    fn database() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE user (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, twice TEXT AS (name || name));
             CREATE TABLE note (user INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE, text TEXT);
             CREATE TABLE log (text TEXT);
             CREATE INDEX user_name ON user (name COLLATE NOCASE);
             CREATE UNIQUE INDEX user_some ON user (name) WHERE name <> '';
             CREATE TRIGGER user_log AFTER INSERT ON user BEGIN INSERT INTO log VALUES (new.name); END;
             CREATE TRIGGER note_user AFTER INSERT ON note BEGIN UPDATE user SET name = name; END;
             CREATE VIEW names AS SELECT name FROM user;
             CREATE VIEW broken AS SELECT missing FROM user;
             INSERT INTO user (name) VALUES ('Ada'), ('Bob'), ('Cyd');
             INSERT INTO note VALUES (1, 'a'), (2, 'b');
             DELETE FROM user WHERE id = 3;
             DELETE FROM log;",
        )
        .unwrap();
        db
    }

    fn texts(db: &Connection, sql: &str) -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    const OTHERS: &str = "SELECT type || name || coalesce(sql, '') FROM sqlite_schema WHERE name <> 'user' ORDER BY 1";

    fn rebuild(db: &Connection, create: &str, copy: Option<&str>) -> Result<()> {
        let rebuild = Rebuild {
            table: "user",
            create,
            copy,
        };
        rebuild.run(db)
    }

    #[test]
    fn all_that_goes_with_a_table_is_there_again() {
        let db = database();
        let before = texts(&db, OTHERS);
        let create = "CREATE TABLE user (name TEXT NOT NULL DEFAULT 'x', id INTEGER PRIMARY KEY AUTOINCREMENT, rank INTEGER)";
        rebuild(&db, create, None).unwrap();
        assert_eq!(texts(&db, OTHERS), before);
        assert_eq!(
            texts(&db, "SELECT name || id FROM user ORDER BY id"),
            ["Ada1", "Bob2"]
        );
        assert_eq!(
            texts(&db, "SELECT text FROM note"),
            ["a", "b"],
            "children stay"
        );
        assert!(
            texts(&db, "SELECT text FROM log").is_empty(),
            "a trigger fired"
        );
        assert!(texts(&db, "SELECT \"table\" FROM pragma_foreign_key_check").is_empty());
        db.execute_batch("INSERT INTO user (name) VALUES ('Dee')")
            .unwrap();
        assert_eq!(db.last_insert_rowid(), 4, "an id was given twice");
        assert_eq!(texts(&db, "SELECT text FROM log"), ["Dee"]);
        let legacy = DbConfig::SQLITE_DBCONFIG_LEGACY_ALTER_TABLE;
        assert!(!db.db_config(legacy).unwrap());
    }

    #[test]
    fn an_empty_table_keeps_its_sequence() {
        let db = database();
        db.execute_batch("DELETE FROM user").unwrap();
        rebuild(
            &db,
            "CREATE TABLE USER (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)",
            None,
        )
        .unwrap();
        db.execute_batch("INSERT INTO user (name) VALUES ('Dee')")
            .unwrap();
        assert_eq!(db.last_insert_rowid(), 4);
    }

    #[test]
    fn rows_are_copied_as_the_file_says() {
        let db = database();
        let create = "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
        let copy = "INSERT INTO user SELECT id, upper(name) FROM old_user";
        rebuild(&db, create, Some(copy)).unwrap();
        assert_eq!(texts(&db, "SELECT name FROM names"), ["ADA", "BOB"]);
    }

    #[test]
    fn what_would_be_lost_is_told() {
        for (create, copy, expected) in [
            (
                "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT)",
                Some("INSERT INTO user SELECT id, name FROM old_user WHERE id = 1"),
                "it had 2 rows and would have 1",
            ),
            (
                "CREATE TABLE user (id INTEGER PRIMARY KEY, called TEXT)",
                None,
                "its index user_name does not fit (no such column: name)",
            ),
        ] {
            let fault = rebuild(&database(), create, copy).unwrap_err();
            assert!(fault.to_string().contains(expected), "{fault}");
        }
        let db = database();
        db.execute_batch("DROP INDEX user_name; DROP INDEX user_some; DROP TRIGGER user_log")
            .unwrap();
        let fault = rebuild(
            &db,
            "CREATE TABLE user (id INTEGER PRIMARY KEY, called TEXT)",
            None,
        );
        assert!(
            fault
                .unwrap_err()
                .to_string()
                .contains("its view names does not fit")
        );
        let fault = rebuild(
            &database(),
            "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT CHECK (name = 'Ada'))",
            None,
        );
        assert!(matches!(fault, Err(Fault::Sqlite(_))));
    }
}
