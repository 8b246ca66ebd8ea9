//! What a database file contains: nothing, or a database of some version.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::db::Db;
use super::foreign_journal::refuse_foreign_journal;
use super::guard::Patience;
use super::open::{Opener, Role};
use super::schema::is_virtual;
use crate::error::{Error, Result};
use crate::version::{self, Version};

/// The contents of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contents {
    /// No table or other object: a new database.
    Nothing,
    /// A database of this library, with this version.
    Version(Version),
    /// A database without the table `Version`.
    Foreign,
    /// The same, and something else has the name of that table.
    NameTaken { kind: &'static str, name: String },
}

/// How long inspecting a file may take. A file that takes longer was crafted to, and is not one of this library's.
const LIMIT: Duration = Duration::from_secs(30);
/// How many thousand virtual machine instructions an inspection may take in the task's own thread: enough for a schema
/// of some thousand objects.
const AT_ONCE: u32 = 50;

/// Inspects a file without changing it, and returns the connection for further use.
pub(crate) fn look(opener: &Opener) -> Result<(Contents, Connection)> {
    let look = |access| opener.patiently(|| look_once(opener, access, Patience::Time(LIMIT)));
    look(OpenFlags::SQLITE_OPEN_READ_ONLY)
        .or_else(|error| {
            if !needs_recovery(&error) {
                return Err(error);
            }
            if opener.config.read_only {
                return Err(not_readable(opener, error));
            }
            if error.sqlite_code() == Some(ffi::SQLITE_READONLY_ROLLBACK) {
                refuse_foreign_journal(opener)?;
            }
            // A killed writer left a hot journal. Only a connection that may write can roll it back
            // (sqlite.org/lockingv3.html).
            drop(look(OpenFlags::SQLITE_OPEN_READ_WRITE)?);
            look(OpenFlags::SQLITE_OPEN_READ_ONLY)
        })
        .map_err(|error| match error.primary_code() {
            Some(ErrorCode::OperationInterrupted) => Error::Timeout {
                method: "start",
                limit: LIMIT,
            },
            _ => error,
        })
}

/// Why SQLite cannot read a file without writing something first.
fn not_readable(opener: &Opener, error: Error) -> Error {
    let why = match error.sqlite_code() {
        Some(ffi::SQLITE_READONLY_ROLLBACK) => {
            "a killed program has left a transaction unfinished; open it once without Config::read_only, which undoes that"
        }
        // The file itself can be opened.
        _ if opener
            .connect_read_only(&opener.path, Duration::ZERO)
            .is_ok() =>
        {
            "its files that end in -wal and -shm are missing or cannot be read, and cannot be made in a directory that is \
             read-only; keep the program that writes running, or read a copy made with VACUUM INTO"
        }
        _ => return error,
    };
    Error::NotReadable {
        path: opener.path.as_path().into(),
        why,
    }
}

/// The same for a file that is not in use and needs no recovery. It never waits: `None` if it would have to.
pub(crate) fn look_now(opener: &Opener) -> Option<(Contents, Connection)> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY;
    look_once(opener, access, Patience::Work(AT_ONCE)).ok()
}

fn look_once(
    opener: &Opener,
    access: OpenFlags,
    patience: Patience,
) -> Result<(Contents, Connection)> {
    let connection = opener.connect(&opener.path, access)?;
    connection.busy_timeout(Duration::ZERO)?;
    opener.bound(&connection, patience)?;
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
        ffi::SQLITE_READONLY_DIRECTORY,
    ]
    .contains(&extended)
        || error.primary_code() == Some(ErrorCode::CannotOpen)
}

/// Reads the version row strictly. Nothing in `Version` runs before it is known to be a plain table: a view, a virtual
/// table or a generated column can run without end.
pub(crate) fn contents(connection: &Connection) -> Result<Contents> {
    if let Some(other) = without_version(connection)? {
        return Ok(other);
    }
    let mut statement =
        connection.prepare("SELECT major, minor, patch FROM main.Version LIMIT 2")?;
    let mut rows = statement.query(())?;
    let Some(row) = rows.next()? else {
        return Err(invalid("it has 0 rows, but 1 was expected"));
    };
    for (column, name) in COLUMNS.into_iter().enumerate() {
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
        return Err(invalid(format!(
            "it has {} rows, but 1 was expected",
            rows_of_version(connection)?
        )));
    }
    Ok(Contents::Version(version))
}

const COLUMNS: [&str; 3] = ["major", "minor", "patch"];

/// How many rows there are, for the error text. A file can hold any number, so counting stops early.
fn rows_of_version(connection: &Connection) -> Result<String> {
    const ENOUGH: i64 = 100_000;
    let sql = "SELECT count(*) FROM (SELECT 1 FROM main.Version LIMIT ?1)";
    let count: i64 = connection.query_row(sql, (ENOUGH,), |row| row.get(0))?;
    Ok(if count < ENOUGH {
        count.to_string()
    } else {
        format!("{ENOUGH} or more")
    })
}

/// What a file holds that has no table `Version`. `None` if it has one: a plain table with the right columns. Nothing of
/// the schema is run.
///
/// Reads `sqlite_master` and runs PRAGMA statements, rather than `sqlite_schema` and table-valued functions: an unknown
/// file may have a view named `sqlite_schema` or `pragma_…`, and SQLite would use that.
fn without_version(connection: &Connection) -> Result<Option<Contents>> {
    const SQL: &str = "
        WITH object (type, name, owner, sql) AS (SELECT lower(type), name, tbl_name, sql FROM main.sqlite_master)
        SELECT count(*),
            max(type) FILTER (WHERE type IN ('table', 'view', 'index') AND name = 'Version' COLLATE NOCASE),
            max(name) FILTER (WHERE type IN ('table', 'view', 'index') AND name = 'Version' COLLATE NOCASE),
            max(sql) FILTER (WHERE type = 'table' AND name = 'Version' COLLATE NOCASE),
            count(*) FILTER (WHERE type = 'trigger' AND owner = 'Version' COLLATE NOCASE) > 0
        FROM object";
    type Found = (i64, Option<String>, Option<String>, Option<String>, bool);
    let (objects, kind, name, sql, has_triggers): Found =
        connection.query_row(SQL, (), |row| row.try_into())?;
    let taken_by = |kind| {
        let name = name.unwrap_or_default();
        Ok(Some(Contents::NameTaken { kind, name }))
    };
    match kind.as_deref() {
        _ if objects == 0 => return Ok(Some(Contents::Nothing)),
        Some("table") => {}
        Some("view") => return taken_by("view"),
        Some(_) => return taken_by("index"),
        None => return Ok(Some(Contents::Foreign)),
    }
    if is_virtual(&sql.unwrap_or_default()) {
        return Err(invalid("it is a virtual table"));
    }
    let mut statement = connection.prepare("PRAGMA main.table_xinfo(Version)")?;
    let columns = statement.query_map((), |row| Ok((row.get("name")?, row.get("hidden")?)))?;
    let columns: Vec<(String, i64)> = columns.collect::<rusqlite::Result<_>>()?;
    let has = |wanted: &str| {
        columns
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !COLUMNS.into_iter().any(has) {
        return taken_by("table");
    }
    if has_triggers {
        return Err(invalid("it has triggers"));
    }
    if columns.iter().any(|(_, hidden)| *hidden != 0) {
        return Err(invalid("it has a generated column"));
    }
    if !COLUMNS.into_iter().all(has) {
        return Err(invalid(
            "it needs the columns major, minor and patch; if it is a table of your own, rename it",
        ));
    }
    Ok(None)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidVersion {
        message: message.into(),
    }
}
