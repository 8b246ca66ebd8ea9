//! An open SQLite connection, and the library's own statements on it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::counts::CountedOpen;
use super::guard::Guard;
use super::statement::Timings;
use super::touched::{Texts, Touched};
use super::wal;
use crate::error::{Error, Result};

/// Prepared statements that each connection keeps.
pub(crate) const STATEMENT_CACHE: usize = 128;

/// An open SQLite connection with what belongs to it.
pub(crate) struct Db {
    pub(crate) connection: Connection,
    pub(crate) guard: Arc<Guard>,
    pub(crate) timings: Timings,
    /// Present while there are live reads.
    texts: Option<Texts>,
    /// SQLite's number for what other connections have committed, when it was last looked at.
    data_version: Option<i64>,
    _counted: CountedOpen,
}

/// The library's own statements. Their text is private: a body that prepares the same words must not find them in the
/// statement cache, where they have passed the authorizer already.
pub(crate) struct Control {
    pub(crate) begin_read: String,
    pub(crate) begin_write: String,
    snapshot: String,
    pub(crate) commit: String,
    pub(crate) rollback: String,
    levels: Vec<Level>,
}

struct Level {
    savepoint: String,
    release: String,
    undo: String,
}

/// Nested calls deeper than this are refused.
pub(crate) const MAX_DEPTH: usize = 64;

pub(crate) static CONTROL: LazyLock<Control> = LazyLock::new(|| {
    use std::hash::BuildHasher as _;
    let mut secret = std::hash::RandomState::new().hash_one(Instant::now());
    // Short, so that the cache finds the texts quickly. A savepoint adds a digit, so that its name is no keyword of SQL.
    let name: String = (0..5)
        .map(|_| {
            let letter = b'a' + (secret % 26) as u8;
            secret /= 26;
            char::from(letter)
        })
        .collect();
    let text = |words: &str| format!("{words}--{name}");
    Control {
        begin_read: text("BEGIN"),
        begin_write: text("BEGIN IMMEDIATE"),
        snapshot: text("SELECT 1 FROM sqlite_schema LIMIT 1"),
        commit: text("COMMIT"),
        rollback: text("ROLLBACK"),
        // The deepest call may have a savepoint for one of its statements.
        levels: (0..=MAX_DEPTH + 1)
            .map(|depth| Level {
                savepoint: format!("SAVEPOINT {name}{depth}"),
                release: format!("RELEASE {name}{depth}"),
                undo: format!("ROLLBACK TO {name}{depth}"),
            })
            .collect(),
    }
});

impl Db {
    pub(crate) fn new(connection: Connection, guard: Arc<Guard>, counted: CountedOpen) -> Self {
        Self {
            connection,
            guard,
            timings: Timings::default(),
            texts: None,
            data_version: None,
            _counted: counted,
        }
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        close(self.connection);
    }

    /// Undoes what a closure may have set in the connection. False if it has replaced the authorizer, which cannot be set
    /// again without expiring every cached statement.
    pub(crate) fn restore_guard(&self) -> bool {
        let connection = &self.connection;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        wal::watch_wal(connection);
        let restored = connection.busy_timeout(Duration::ZERO).is_ok()
            && self.guard.set_hooks(connection).is_ok();
        restored && self.guard.still_authorizes(connection)
    }

    /// Whether it is recorded which tables statements touch. Of what was prepared before, SQLite would tell nothing.
    pub(crate) fn track(&mut self, on: bool) {
        if on == self.tracks() {
            return;
        }
        self.connection.flush_prepared_statement_cache();
        self.guard.set_tracks(on);
        self.texts = on.then(Texts::default);
    }

    pub(crate) fn tracks(&self) -> bool {
        self.texts.is_some()
    }

    /// What the statement or script touches that has just run; `None` if that is not recorded.
    pub(crate) fn touched(&mut self, sql: &str) -> Option<Arc<Touched>> {
        let texts = self.texts.as_mut()?;
        Some(texts.touched(&self.connection, sql, self.guard.take_seen()))
    }

    /// Whether another connection has committed since the last call of this: <https://sqlite.org/pragma.html#pragma_data_version>.
    /// True for a new connection, which cannot know.
    pub(crate) fn take_foreign_commit(&mut self) -> Result<bool> {
        let version = self
            .connection
            .query_row("PRAGMA data_version", (), |row| row.get(0))?;
        Ok(self.data_version.replace(version) != Some(version))
    }

    /// Runs one of the library's own statements that return no row.
    pub(crate) fn control(&self, sql: &str) -> Result<()> {
        self.connection.prepare_cached(sql)?.raw_execute()?;
        Ok(())
    }

    /// Reads something, so that the transaction has its snapshot.
    pub(crate) fn take_snapshot(&self) -> Result<()> {
        let mut statement = self.connection.prepare_cached(&CONTROL.snapshot)?;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        Ok(())
    }

    pub(crate) fn savepoint(&self, depth: usize) -> Result<()> {
        CONTROL
            .levels
            .get(depth)
            .map_or(Err(Error::HandleEnded), |level| {
                self.control(&level.savepoint)
            })
    }

    pub(crate) fn release(&self, depth: usize) -> Result<()> {
        CONTROL
            .levels
            .get(depth)
            .map_or(Ok(()), |level| self.control(&level.release))
    }

    /// Undoes everything since the savepoint, and releases it.
    pub(crate) fn undo(&self, depth: usize) -> Result<()> {
        CONTROL
            .levels
            .get(depth)
            .map_or(Ok(()), |level| self.control(&level.undo))?;
        self.release(depth)
    }

    /// Ends a transaction without keeping anything. False if the connection is still in one and must be discarded.
    pub(crate) fn roll_back(&self) -> bool {
        self.connection.is_autocommit() || {
            let _ = self.control(&CONTROL.rollback);
            self.connection.is_autocommit()
        }
    }
}

/// Closes a connection. If a statement that a closure has leaked prevents that, the connection at least lets go of the
/// file: SQLite replaces it with an empty database in memory. It does not if that statement has been stepped.
pub(super) fn close(connection: Connection) {
    if let Err((mut connection, _)) = connection.close() {
        let _ = connection.execute_batch("BEGIN");
        let _ = connection.execute_batch("ROLLBACK");
        let _ = connection.deserialize_bytes(c"main", &[]);
    }
}
