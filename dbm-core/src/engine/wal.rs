//! The write-ahead log of a connection: how large it is, and emptying it.

use std::cell::Cell;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use crate::error::Result;

thread_local! {
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Makes each COMMIT of this connection leave the size of the log behind on its thread.
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

/// Empties the log; true when nothing of it is left. For the owner of the writer, on the worker thread: it blocks.
pub(crate) fn empty_log(connection: &Connection, patience: Duration) -> Result<bool> {
    copy_log(connection, "TRUNCATE", patience)
}

/// Each attempt copies what it may into the file; once that is everything, new reads need the log no more, and only
/// those that began before have to be waited for.
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
