//! Keeps the write-ahead log small without stalling a commit.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use super::connection::Db;
use super::lane::Lane;
use super::open::{SharedOpener, connect};
use super::read_mark::ReadMark;
use super::readers::Readers;
use crate::error::Result;

/// Each time the log has grown by this many pages a checkpoint runs beside the writer.
const PASSIVE_EVERY: u32 = 1_000;
/// Above this many pages the writer is held for a moment, so that the log starts over.
const TRUNCATE_ABOVE: u32 = 8_000;
/// How long the writer is held for reads that still need the log.
const PATIENCE: Duration = Duration::from_millis(100);

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

/// Runs checkpoints beside the writer, on a thread and a connection of its own.
pub(crate) struct Checkpointer {
    opener: SharedOpener,
    lane: Lane,
    mark: Arc<ReadMark>,
    state: Arc<State>,
    passive_above: AtomicU32,
    truncate_above: AtomicU32,
}

#[derive(Default)]
struct State {
    wanted: AtomicBool,
    /// Held while a checkpoint runs.
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    connection: Option<Connection>,
    closed: bool,
}

impl Checkpointer {
    pub(crate) fn new(opener: SharedOpener, mark: Arc<ReadMark>) -> Self {
        Self {
            opener,
            lane: Lane::default(),
            mark,
            state: Arc::default(),
            passive_above: AtomicU32::new(PASSIVE_EVERY),
            truncate_above: AtomicU32::new(TRUNCATE_ABOVE),
        }
    }

    /// Starts a checkpoint when the log has grown and none is under way. True when the log has grown so large that
    /// the writer should be held for [`truncate`](Self::truncate).
    pub(crate) fn after_commit(&self, pages: u32) -> bool {
        self.start_passive(pages);
        pages > self.truncate_above.load(Ordering::Relaxed)
    }

    fn start_passive(&self, pages: u32) {
        // A log that starts over is smaller than it was.
        let above = self.passive_above.load(Ordering::Relaxed);
        let above = above
            .min(pages.saturating_add(PASSIVE_EVERY))
            .max(PASSIVE_EVERY);
        self.passive_above.store(above, Ordering::Relaxed);
        if pages <= above || self.state.wanted.swap(true, Ordering::AcqRel) {
            return;
        }
        self.passive_above
            .store(pages.saturating_add(PASSIVE_EVERY), Ordering::Relaxed);
        let (opener, state) = (Arc::clone(&self.opener), Arc::clone(&self.state));
        let mark = Arc::clone(&self.mark);
        let posted = self.lane.post(move || {
            let mut own = state.lock();
            if !own.closed {
                // A failure here costs nothing: a later commit tries again.
                let _ = mark.while_released(|| own.passive(&opener));
            }
            state.wanted.store(false, Ordering::Release);
        });
        if posted.is_err() {
            self.state.wanted.store(false, Ordering::Release);
        }
    }

    /// Empties the log, unless a read still needs it: then tries again when the log has grown by as much once more.
    pub(crate) fn truncate(&self, db: &Db, readers: &Readers) {
        let emptied = self.mark.while_released(|| empty_log(&db.connection));
        if emptied.unwrap_or(false) {
            self.truncate_above.store(TRUNCATE_ABOVE, Ordering::Relaxed);
            return;
        }
        let above = self
            .truncate_above
            .fetch_add(TRUNCATE_ABOVE, Ordering::Relaxed);
        if let Some(oldest) = readers.oldest() {
            let age_ms = u64::try_from(oldest.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            warn!(
                reader = oldest.method,
                age_ms,
                pages = above,
                "a long read keeps the write-ahead log from shrinking"
            );
        }
        if let Some(age) = self.opener.config.max_read_age {
            readers.evict_older_than(age);
        }
    }

    /// Closes the connection; the next checkpoint opens another one. Waits for the one that is running.
    pub(crate) fn discard(&self) {
        self.state.lock().connection = None;
    }

    /// Waits for the checkpoint that is running, and starts no other.
    pub(crate) fn close(&self) {
        {
            let mut own = self.state.lock();
            own.closed = true;
            own.connection = None;
        }
        self.lane.close();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Own {
    fn passive(&mut self, opener: &SharedOpener) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                opener.check_identity()?;
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
                none.insert(connect(&opener.path, flags)?)
            }
        };
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?;
        Ok(())
    }
}

/// Empties the log; true when nothing of it is left. For the owner of the writer, on the lane: it blocks.
///
/// Each attempt copies what it may into the file; once that is everything, new reads need the log no more, and only
/// those that began before have to be waited for.
pub(crate) fn empty_log(connection: &Connection) -> Result<bool> {
    let started = Instant::now();
    loop {
        let busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))?;
        if busy == 0 || started.elapsed() > PATIENCE {
            return Ok(busy == 0);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
