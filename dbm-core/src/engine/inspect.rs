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
    const READ: &str = "SELECT major, minor, patch FROM main.Version LIMIT 2";
    let table = match table_of_version(connection)? {
        Ok(table) => table,
        Err(other) => return Ok(other),
    };
    let at_once = table.is_plain_at_sight().then(|| connection.prepare(READ));
    let mut statement = match at_once {
        Some(Ok(statement)) => statement,
        _ => match table.check(connection)? {
            Some(other) => return Ok(other),
            None => connection.prepare(READ)?,
        },
    };
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

/// The table `Version`, or what a file holds that has none. Nothing of the schema is run.
///
/// Reads `sqlite_master` and runs PRAGMA statements, rather than `sqlite_schema` and table-valued functions: an unknown
/// file may have a view named `sqlite_schema` or `pragma_…`, and SQLite would use that.
fn table_of_version(connection: &Connection) -> Result<std::result::Result<Table, Contents>> {
    const SQL: &str = "SELECT type, name, tbl_name, sql FROM main.sqlite_master";
    let mut named: Option<(&str, String, String)> = None;
    let (mut is_empty, mut has_triggers) = (true, false);
    let mut statement = connection.prepare(SQL)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        is_empty = false;
        // Names need not be UTF-8.
        let bytes = |column: usize| match row.get_ref(column) {
            Ok(value) => value.as_bytes().unwrap_or_default(),
            Err(_) => &[],
        };
        let is = |column, word: &str| bytes(column).eq_ignore_ascii_case(word.as_bytes());
        let text = |column| String::from_utf8_lossy(bytes(column)).into_owned();
        has_triggers |= is(2, "Version") && is(0, "trigger");
        // Only a crafted file has two of one name. The view is then the one to be careful of.
        let kinds = || {
            ["view", "table", "index"]
                .into_iter()
                .find(|kind| is(0, kind))
        };
        if is(1, "Version")
            && let Some(kind) = kinds()
            && named.as_ref().is_none_or(|(known, ..)| *known < kind)
        {
            named = Some((kind, text(1), text(3)));
        }
    }
    Ok(match named {
        Some(("table", name, sql)) => Ok(Table {
            name,
            sql,
            has_triggers,
        }),
        Some((kind, name, _)) => Err(Contents::NameTaken { kind, name }),
        None if is_empty => Err(Contents::Nothing),
        None => Err(Contents::Foreign),
    })
}

/// A table that has the name `Version`.
struct Table {
    name: String,
    sql: String,
    has_triggers: bool,
}

impl Table {
    /// Whether its text alone shows that it is neither virtual nor has a generated column, whose clause has the word AS.
    /// So has many another text.
    fn is_plain_at_sight(&self) -> bool {
        let text = self.sql.as_bytes();
        let has_as = text.windows(2).any(|word| word.eq_ignore_ascii_case(b"as"));
        // SQLite itself writes the beginning, <https://sqlite.org/schematab.html>.
        !self.has_triggers && text.starts_with(b"CREATE TABLE ") && !has_as
    }

    /// Fails if reading it could run something, or if a column is missing. With none of the columns it is a table of the
    /// program's own, which has taken the name.
    fn check(self, connection: &Connection) -> Result<Option<Contents>> {
        if is_virtual(&self.sql) {
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
            return Ok(Some(Contents::NameTaken {
                kind: "table",
                name: self.name,
            }));
        }
        if self.has_triggers {
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
}

fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidVersion {
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contents of a database with this schema, and whether its table is plain at sight.
    fn of(schema: &str) -> (Result<Contents>, Option<bool>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        let table = table_of_version(&connection).unwrap();
        let is_plain = table.ok().map(|table| table.is_plain_at_sight());
        (contents(&connection), is_plain)
    }

    #[test]
    fn a_table_that_computes_anything_is_not_plain_at_sight() {
        const COLUMNS: &str = "major INTEGER, minor INTEGER, patch INTEGER";
        const ROW: &str = "INSERT INTO Version (major, minor, patch) VALUES (1, 2, 3)";
        for text in [
            format!("CREATE TABLE Version ({COLUMNS}, x AS (abs(major)))"),
            format!(
                "CREATE TABLE Version ({COLUMNS}, x generated always/**/as(abs(major)) STORED)"
            ),
            format!("create table main . \"Version\"({COLUMNS}, x INT As\n(1))"),
        ] {
            let (found, is_plain) = of(&format!("{text}; {ROW}"));
            assert_eq!(is_plain, Some(false), "{text}");
            let why = found.unwrap_err().to_string();
            assert!(why.contains("generated column"), "{why}");
        }
        for text in [
            "CREATE VIRTUAL TABLE Version USING fts5(major, minor, patch)".to_owned(),
            format!(
                "CREATE TABLE Version ({COLUMNS}); CREATE TRIGGER t AFTER INSERT ON version BEGIN SELECT 1; END"
            ),
        ] {
            let (found, is_plain) = of(&format!("{text}; {ROW}"));
            assert_eq!(is_plain, Some(false), "{text}");
            found.unwrap_err();
        }
        // The word is in a name: it takes a longer look, and nothing else.
        for (column, at_sight) in [("x", true), ("base", false)] {
            let (found, is_plain) = of(&format!(
                "create table version ({COLUMNS}, {column} TEXT); {ROW}"
            ));
            assert_eq!(found.unwrap(), Contents::Version(Version::new(1, 2, 3)));
            assert_eq!(is_plain, Some(at_sight), "{column}");
        }
    }

    #[test]
    fn what_else_a_file_holds_is_told_from_the_table() {
        assert_eq!(of("").0.unwrap(), Contents::Nothing);
        let foreign = [
            "CREATE TABLE a (b)",
            "CREATE TABLE a (b); CREATE TRIGGER version AFTER INSERT ON a BEGIN SELECT 1; END",
        ];
        for schema in foreign {
            assert_eq!(of(schema).0.unwrap(), Contents::Foreign, "{schema}");
        }
        let taken = [
            ("view", "CREATE VIEW version AS SELECT 1 AS major"),
            ("index", "CREATE TABLE a (b); CREATE INDEX version ON a (b)"),
            ("table", "CREATE TABLE version (b)"),
        ];
        for (kind, schema) in taken {
            let name = "version".to_owned();
            let expected = Contents::NameTaken { kind, name };
            assert_eq!(of(schema).0.unwrap(), expected, "{schema}");
        }
    }

    /// SQLite takes any bytes for a name.
    #[test]
    fn a_name_that_is_not_text_is_in_nobodys_way() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE Version (major INTEGER, minor INTEGER, patch INTEGER);
                 INSERT INTO Version VALUES (1, 0, 0);
                 CREATE TABLE other (x);
                 PRAGMA writable_schema = ON;
                 UPDATE sqlite_master SET name = CAST(x'6fff' AS TEXT), tbl_name = CAST(x'6fff' AS TEXT) WHERE name = 'other'",
            )
            .unwrap();
        assert_eq!(
            contents(&connection).unwrap(),
            Contents::Version(Version::new(1, 0, 0))
        );
    }
}
