//! What a database file holds, as far as its version is concerned.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::db::Db;
use super::open::{Opener, Role, connect};
use crate::error::{Error, Result};
use crate::version::{self, Version};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// No table, nor anything else: a new database.
    Nothing,
    /// A database of this kind.
    Version(Version),
}

/// Looks into a file without changing it; gives back the connection for further use.
pub(crate) fn look(opener: &Opener) -> Result<(Contents, Connection)> {
    let look = |access| opener.patiently(|| look_once(opener, access));
    look(OpenFlags::SQLITE_OPEN_READ_ONLY).or_else(|error| {
        if !needs_recovery(&error) {
            return Err(error);
        }
        // A killed writer left a hot journal, which only a writer can roll back.
        drop(look(OpenFlags::SQLITE_OPEN_READ_WRITE)?);
        look(OpenFlags::SQLITE_OPEN_READ_ONLY)
    })
}

/// The same for a file that nobody else uses and that needs no recovery: waits for nothing, and says nothing when there is
/// something to wait for.
pub(crate) fn look_now(opener: &Opener) -> Option<(Contents, Connection)> {
    look_once(opener, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()
}

fn look_once(opener: &Opener, access: OpenFlags) -> Result<(Contents, Connection)> {
    let connection = connect(&opener.path, access)?;
    connection.busy_timeout(Duration::ZERO)?;
    opener.check_identity()?;
    Ok((contents(&connection)?, connection))
}

pub(crate) fn into_reader(opener: &Opener, connection: Connection) -> Result<Db> {
    opener.equip(connection, Role::Reader)
}

pub(crate) fn not_a_database() -> Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None).into()
}

pub(crate) fn is_wal(connection: &Connection) -> Result<bool> {
    let mode: String = connection.query_row("PRAGMA journal_mode", (), |row| row.get(0))?;
    Ok(mode == "wal")
}

fn needs_recovery(error: &Error) -> bool {
    let extended = error.sqlite_code().unwrap_or(0);
    [
        ffi::SQLITE_READONLY_ROLLBACK,
        ffi::SQLITE_READONLY_RECOVERY,
        ffi::SQLITE_READONLY_CANTINIT,
    ]
    .contains(&extended)
        || error.primary_code() == Some(ErrorCode::CannotOpen)
}

/// Reads the version row, strictly.
pub(crate) fn contents(connection: &Connection) -> Result<Contents> {
    let mut statement = match connection.prepare("SELECT major, minor, patch FROM Version LIMIT 2")
    {
        Ok(statement) => statement,
        Err(error) => return without_version(connection, error.into()),
    };
    let is_table = connection.table_exists(None::<&CStr>, c"Version")?;
    let mut rows = statement.query(())?;
    let Some(row) = rows.next()? else {
        return Err(invalid("it has 0 rows, but 1 was expected"));
    };
    if !is_table {
        return Err(Error::ForeignDatabase);
    }
    for (column, name) in ["major", "minor", "patch"].into_iter().enumerate() {
        let found = row.get_ref(column)?.data_type();
        if found != Type::Integer {
            return Err(invalid(format!(
                "{name} is {}, but an integer was expected",
                found.to_string().to_lowercase()
            )));
        }
    }
    let version = version::from_row(row.get(0)?, row.get(1)?, row.get(2)?)?;
    if rows.next()?.is_some() {
        let count: i64 =
            connection.query_row("SELECT count(*) FROM Version", (), |row| row.get(0))?;
        return Err(invalid(format!("it has {count} rows, but 1 was expected")));
    }
    Ok(Contents::Version(version))
}

/// What a file is whose version cannot be asked for.
fn without_version(connection: &Connection, error: Error) -> Result<Contents> {
    if error.sqlite_code() != Some(ffi::SQLITE_ERROR) {
        return Err(error);
    }
    let (objects, has_version): (i64, bool) = connection.query_row(
        "SELECT count(*), coalesce(max(type = 'table' AND name = 'Version' COLLATE NOCASE), 0) FROM sqlite_schema",
        (),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match (objects, has_version) {
        (0, _) => Ok(Contents::Nothing),
        (_, false) => Err(Error::ForeignDatabase),
        (_, true) => Err(invalid("it needs the columns major, minor and patch")),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidVersion {
        message: message.into(),
    }
}

/// Foreign key violations, by child and parent table.
pub(crate) fn foreign_key_violations(
    connection: &Connection,
) -> Result<BTreeMap<(String, String), u64>> {
    let mut counts = BTreeMap::new();
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let mut tables = tables.query(())?;
    // Table by table: the check stops at a key that fits no parent, which may have been there for long.
    while let Some(row) = tables.next()? {
        let child: String = row.get(0)?;
        match orphans(connection, &child) {
            Ok(parents) => {
                for parent in parents {
                    *counts.entry((child.clone(), parent)).or_default() += 1;
                }
            }
            Err(error) if error.sqlite_code() == Some(ffi::SQLITE_ERROR) => {
                counts.insert((child, "a parent without a unique key".to_owned()), 1);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(counts)
}

/// The missing parent's table, for each row of `child` that has lost one.
fn orphans(connection: &Connection, child: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT parent FROM pragma_foreign_key_check(?1)")?;
    let parents = statement.query_map((child,), |row| row.get(0))?;
    Ok(parents.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

    use super::*;

    #[test]
    fn a_key_check_that_fails_is_no_violation() {
        let db = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p)";
        db.execute_batch(sql).unwrap();
        assert!(foreign_key_violations(&db).unwrap().is_empty());
        db.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Pragma {
                pragma_name: "foreign_key_check",
                ..
            } => Authorization::Deny,
            _ => Authorization::Allow,
        }))
        .unwrap();
        let error = foreign_key_violations(&db).unwrap_err();
        assert_eq!(error.sqlite_code(), Some(ffi::SQLITE_AUTH), "{error}");
    }
}
