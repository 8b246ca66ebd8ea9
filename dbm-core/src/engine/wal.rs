//! The write-ahead log of a connection: its size, and how it is emptied.

use std::cell::Cell;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::error::Result;

thread_local! {
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Makes each COMMIT of this connection record the log's size on its thread. SQLite calls the hook after the COMMIT:
/// sqlite.org/c3ref/wal_hook.html.
pub(crate) fn watch_wal(connection: &Connection) {
    connection.wal_hook(Some(remember_pages));
}

fn remember_pages(_: &Wal, pages: c_int) -> rusqlite::Result<()> {
    WAL_PAGES.set(u32::try_from(pages).unwrap_or(0));
    Ok(())
}

/// Pages in the log after the commit that just ran on this thread.
pub(crate) fn wal_pages() -> u32 {
    WAL_PAGES.take()
}

/// Empties the log; true if nothing is left in it. It blocks, so the writer's owner calls it on the worker thread.
pub(crate) fn empty_log(connection: &Connection, patience: Duration) -> Result<bool> {
    // A connection that has not opened the log yet opens it for a checkpoint by running PRAGMA table_list. That
    // compiles every view of the file, which can take any time.
    open_log(connection)?;
    copy_log(connection, "TRUNCATE", patience)
}

/// The first commit after the log has started over cuts it to this many bytes.
pub(crate) fn limit_log(connection: &Connection, bytes: Option<u64>) -> Result<()> {
    let bytes = bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    let sql = format!("PRAGMA main.journal_size_limit = {bytes}");
    Ok(connection.query_row(&sql, (), |_| Ok(()))?)
}

/// Opens the log by the cheapest read: it loads no schema, which a checkpoint does.
pub(crate) fn open_log(connection: &Connection) -> Result<()> {
    Ok(connection.query_row("PRAGMA main.schema_version", (), |_| Ok(()))?)
}

/// Each attempt copies as many pages into the file as the open reads allow (sqlite.org/wal.html#concurrency). Once all
/// are copied, new reads no longer need the log, so only the reads that began before have to end.
pub(crate) fn copy_log(connection: &Connection, mode: &str, patience: Duration) -> Result<bool> {
    let started = Instant::now();
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    loop {
        let busy: i64 = connection.query_row(&sql, (), |row| row.get(0))?;
        if busy == 0 || started.elapsed() > patience {
            return Ok(busy == 0);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
