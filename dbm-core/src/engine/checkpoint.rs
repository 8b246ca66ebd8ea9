//! Keeps the write-ahead log small without stalling a commit.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use super::counts::CountedOpen;
use super::db::Db;
use super::idle;
use super::open::SharedOpener;
use super::read_mark::ReadMark;
use super::wal::{copy_log, empty_log, limit_log};
use super::worker_thread::WorkerThread;
use crate::error::Result;
use crate::sync::lock;
use crate::waking::contained;

/// A checkpoint runs beside the writer each time the log has grown by this many pages.
const PASSIVE_EVERY_PAGES: u32 = 1_000;
/// If no more than this many pages are left to copy after that, the writer is held until they are copied, and the log
/// starts over. Syncing a log that is overwritten takes half the time of syncing one that grows.
const RESTART_WITHIN_PAGES: u32 = 500;
/// Above this many pages the writer is held however much there is to copy, and the disk gets the space back.
const TRUNCATE_ABOVE_PAGES: u32 = 8_000;
/// How long the writer is held for reads that still need a log of that size…
pub(crate) const TRUNCATE_WAIT: Duration = Duration::from_millis(100);
/// …or a smaller one.
const RESTART_WAIT: Duration = Duration::from_millis(2);
/// If checkpoints have copied more pages than this, the disk may take long to sync them. The writer is not held for that.
const SETTLE_ABOVE_PAGES: u32 = 4_000;
/// It is held so long for a checkpoint that reads the last pages…
const SETTLE_WAIT: Duration = Duration::from_millis(20);
/// …and so often. After that it is held until everything is synced.
const SETTLE_ATTEMPTS: u32 = 5;
/// A log of up to this many bytes is emptied in one step. Giving more space back takes the disk longer than a call should wait.
const EMPTY_AT_ONCE: u64 = 40 << 20;
/// So a longer one gets shorter by this much each time it starts over.
const SHRINK_BY: u64 = 16 << 20;

const NOT_DRAINING: u32 = u32::MAX;

/// The first SQLite in which a checkpoint beside the writer is safe. Earlier ones may lose commits if one connection
/// commits while another one runs a checkpoint: the WAL-reset bug, <https://sqlite.org/wal.html#walresetbug>.
const SAFE_BESIDE_THE_WRITER: i32 = 3_051_003;

/// A log that should shrink but cannot, because reads still need it.
pub(crate) struct StillRead {
    pages: u32,
}

impl StillRead {
    /// Reports the read that has been running for the longest time.
    pub(crate) fn warn(&self, reader: &'static str, since: Instant) {
        let age_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        warn!(
            reader,
            age_ms,
            pages = self.pages,
            "a long read keeps the write-ahead log from shrinking"
        );
    }
}

/// Runs checkpoints beside the writer, on a thread and a connection of its own.
pub(crate) struct Checkpointer {
    opener: SharedOpener,
    worker: WorkerThread,
    mark: Arc<ReadMark>,
    /// Checkpoints run beside the writer; otherwise each of them holds it.
    beside_writer: bool,
    state: Arc<Progress>,
    pages: AtomicU32,
    passive_above: AtomicU32,
    truncate_above: AtomicU32,
    /// How many copies are made of the database. Each needs the log as it was when it began, so holding the writer would not
    /// shorten it.
    copies: AtomicU32,
    /// The log is as long as a copy has made it. It is copied into the file beside the writer, which is held for the last
    /// pages only. How many pages had been copied at the last look, or [`NOT_DRAINING`].
    draining: AtomicU32,
    /// How many pages checkpoints have copied since the log last started over, and how often the writer was held to settle that.
    copied_in_all: AtomicU32,
    settled: AtomicU32,
    /// The next commit cuts the log.
    cuts_log: AtomicBool,
}

#[derive(Default)]
struct Progress {
    wanted: AtomicBool,
    /// Pages of the log that the last checkpoint has copied. The next commit reads it and resets it to 0.
    copied: AtomicU32,
    /// Held while a checkpoint runs.
    own: Mutex<Own>,
}

#[derive(Default)]
struct Own {
    connection: Option<(Connection, CountedOpen)>,
    used: bool,
    closed: bool,
}

impl Checkpointer {
    pub(crate) fn new(opener: SharedOpener, mark: Arc<ReadMark>) -> Self {
        Self::for_sqlite(rusqlite::version_number(), opener, mark)
    }

    fn for_sqlite(version: i32, opener: SharedOpener, mark: Arc<ReadMark>) -> Self {
        Self {
            opener,
            worker: WorkerThread::default(),
            mark,
            beside_writer: version >= SAFE_BESIDE_THE_WRITER,
            state: Arc::default(),
            pages: AtomicU32::new(0),
            passive_above: AtomicU32::new(PASSIVE_EVERY_PAGES),
            truncate_above: AtomicU32::new(TRUNCATE_ABOVE_PAGES),
            copies: AtomicU32::new(0),
            draining: AtomicU32::new(NOT_DRAINING),
            copied_in_all: AtomicU32::new(0),
            settled: AtomicU32::new(0),
            cuts_log: AtomicBool::new(false),
        }
    }

    /// After the commit that has cut the log: it may grow again. SQLite may have it start over by itself, and would cut all of
    /// it to an old limit then.
    #[inline]
    pub(crate) fn lift_limit(&self, db: &Db) {
        if self.cuts_log() && limit_log(&db.connection, None).is_ok() {
            self.cuts_log.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the next commit cuts the log, and [`lift_limit`](Self::lift_limit) has to come after it.
    pub(crate) fn cuts_log(&self) -> bool {
        self.cuts_log.load(Ordering::Relaxed)
    }

    /// Starts a checkpoint if the log has grown and none is under way. True if the writer should be held for
    /// [`restart_log`](Self::restart_log).
    pub(crate) fn after_commit(&self, pages: u32) -> bool {
        if pages == 0 {
            // Nothing was written.
            return false;
        }
        self.pages.store(pages, Ordering::Relaxed);
        // What was written during the checkpoint and by this commit is also left to copy.
        let copied = self.state.copied.swap(0, Ordering::Relaxed);
        if copied > 0 {
            self.copied_in_all.fetch_max(copied, Ordering::Relaxed);
        }
        let is_copied = copied > 0 && pages.saturating_sub(copied) <= RESTART_WITHIN_PAGES;
        let is_due = self.is_due(pages);
        if self.copies.load(Ordering::Acquire) > 0 || self.is_draining() {
            return self.drain(pages, is_due, copied, is_copied);
        }
        if is_copied {
            return true;
        }
        if is_due && self.beside_writer {
            self.start_passive(pages);
        }
        if is_due && !self.beside_writer {
            warn_of_old_sqlite();
            self.passive_above
                .store(pages.saturating_add(PASSIVE_EVERY_PAGES), Ordering::Relaxed);
            return true;
        }
        self.is_too_large()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) != NOT_DRAINING
    }

    /// During a copy and after it. After it, one checkpoint follows the other until little is left to copy, or until a read
    /// is in the way.
    fn drain(&self, pages: u32, is_due: bool, copied: u32, is_copied: bool) -> bool {
        let is_copying = self.copies.load(Ordering::Relaxed) > 0;
        if !is_copying {
            let before = self.draining.load(Ordering::Relaxed);
            let is_stuck = copied > 0 && copied <= before;
            if is_copied || is_stuck || !self.beside_writer {
                return true;
            }
            self.draining.store(before.max(copied), Ordering::Relaxed);
        }
        if self.beside_writer && (is_due || (!is_copying && copied > 0)) {
            self.start_passive(pages);
        }
        false
    }

    /// A copy begins: until it ends, the log cannot start over, and nobody is held for it.
    pub(crate) fn copy_begins(&self) {
        self.copies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn copy_ends(&self) {
        // A shorter log is as before.
        if self.is_too_large() {
            // Before the count: a commit in between must not hold the writer.
            self.draining.store(0, Ordering::Relaxed);
            // The next commit starts a checkpoint.
            self.passive_above
                .store(PASSIVE_EVERY_PAGES, Ordering::Relaxed);
        }
        // Release: the partner of the load in `after_commit`.
        self.copies.fetch_sub(1, Ordering::Release);
    }

    /// Whether the log has grown enough since the last checkpoint.
    fn is_due(&self, pages: u32) -> bool {
        // A log that has started over is smaller than before.
        let above = self.passive_above.load(Ordering::Relaxed);
        let above = above
            .min(pages.saturating_add(PASSIVE_EVERY_PAGES))
            .max(PASSIVE_EVERY_PAGES);
        self.passive_above.store(above, Ordering::Relaxed);
        pages > above
    }

    fn is_too_large(&self) -> bool {
        self.pages.load(Ordering::Relaxed) > self.truncate_above.load(Ordering::Relaxed)
    }

    fn start_passive(&self, pages: u32) {
        // AcqRel: the partner of the two Release stores below. The flag only keeps a second job away; the connection is
        // under `own`.
        if self.state.wanted.swap(true, Ordering::AcqRel) {
            return;
        }
        self.passive_above
            .store(pages.saturating_add(PASSIVE_EVERY_PAGES), Ordering::Relaxed);
        let state = Arc::clone(&self.state);
        let run = self.passive();
        let posted = self.worker.post(move || {
            run();
            state.wanted.store(false, Ordering::Release);
        });
        if posted.is_err() {
            self.state.wanted.store(false, Ordering::Release);
        }
    }

    /// A checkpoint beside the writer, for the thread.
    fn passive(&self) -> impl FnOnce() + Send + use<> {
        let (opener, state) = (Arc::clone(&self.opener), Arc::clone(&self.state));
        let mark = Arc::clone(&self.mark);
        move || {
            let mut own = state.lock();
            if !own.closed {
                opener.counts.checkpoints.add(1);
                // A failure here costs nothing: a later commit tries again.
                let copied = mark.while_released(|| own.passive(&opener)).unwrap_or(0);
                state.copied.store(copied, Ordering::Relaxed);
            }
        }
    }

    /// Has the disk sync what was copied, if that may take long. SQLite syncs the file at the end of a checkpoint, and only if
    /// nobody has committed while it copied. So the writer is held for as long as that should take, and not for the sync. False
    /// if it is not over yet: the end of that checkpoint is seen like that of any other.
    fn settle(&self) -> bool {
        if !self.beside_writer
            || self.copied_in_all.load(Ordering::Relaxed) <= SETTLE_ABOVE_PAGES
            || self.settled.fetch_add(1, Ordering::Relaxed) >= SETTLE_ATTEMPTS
        {
            return true;
        }
        let (ended, is_ended) = channel();
        let run = self.passive();
        let posted = self.worker.post(move || {
            run();
            let _ = ended.send(());
        });
        posted.is_err() || is_ended.recv_timeout(SETTLE_WAIT).is_ok()
    }

    /// Makes the log start over. If a read still needs it, a later commit tries again, once the log has grown. For the
    /// owner of the writer, on the worker thread: it blocks. Reports a log that is too large and could not start over.
    #[must_use]
    pub(crate) fn restart_log(&self, db: &Db) -> Option<StillRead> {
        if !self.settle() {
            self.draining.store(0, Ordering::Relaxed);
            return None;
        }
        self.draining.store(NOT_DRAINING, Ordering::Relaxed);
        let too_large = self.is_too_large();
        // It was too large before, and could not start over then.
        let was_too_large = self.truncate_above.load(Ordering::Relaxed) > TRUNCATE_ABOVE_PAGES;
        self.opener.counts.checkpoints.add(1);
        let patience = if too_large {
            TRUNCATE_WAIT
        } else {
            RESTART_WAIT
        };
        let length = self.opener.log_length();
        let empties = (too_large || was_too_large) && length <= EMPTY_AT_ONCE;
        let started_over = self.mark.while_released(|| {
            if empties {
                empty_log(&db.connection, patience)
            } else {
                copy_log(&db.connection, "RESTART", patience)
            }
        });
        if started_over.unwrap_or(false) {
            self.pages.store(0, Ordering::Relaxed);
            self.copied_in_all.store(0, Ordering::Relaxed);
            self.settled.store(0, Ordering::Relaxed);
            self.truncate_above
                .store(TRUNCATE_ABOVE_PAGES, Ordering::Relaxed);
            if !empties && length > EMPTY_AT_ONCE {
                // A failure here costs nothing: the log stays as long as it is until it starts over again.
                let limited = limit_log(&db.connection, Some(length - SHRINK_BY));
                self.cuts_log.store(limited.is_ok(), Ordering::Relaxed);
            }
            return None;
        }
        if !too_large {
            return None;
        }
        let pages = self
            .truncate_above
            .fetch_add(TRUNCATE_ABOVE_PAGES, Ordering::Relaxed);
        Some(StillRead { pages })
    }

    /// Pages in the log, as far as the writer knows: after its newest commit, or 0 since the log has started over.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    pub(crate) fn thread(&self) -> &WorkerThread {
        &self.worker
    }

    /// Closes the connection and ends the thread if no checkpoint has run since the last call of this. False if something
    /// is left for the next one.
    pub(crate) fn rest(&self) -> bool {
        let Ok(mut own) = self.state.own.try_lock() else {
            return false;
        };
        if std::mem::take(&mut own.used) {
            return false;
        }
        own.connection = None;
        self.worker.rest(|| true)
    }

    /// Closes the connection; the next checkpoint opens another one. Waits for a running checkpoint.
    pub(crate) fn discard(&self) {
        self.state.lock().connection = None;
    }

    /// Waits for a running checkpoint, and starts no other.
    pub(crate) fn close(&self) {
        {
            let mut own = self.state.lock();
            own.closed = true;
            own.connection = None;
        }
        self.pages.store(0, Ordering::Relaxed);
        self.worker.close();
    }
}

/// Once per process: every manager has the same SQLite.
fn warn_of_old_sqlite() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        contained(|| {
            warn!(
                sqlite = rusqlite::version(),
                "this SQLite has the WAL-reset bug: checkpoints hold the writer; use 3.51.3 or newer, or the feature bundled"
            );
        });
    });
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Own> {
        lock(&self.own)
    }
}

impl Own {
    /// How many pages of the log are copied.
    fn passive(&mut self, opener: &SharedOpener) -> Result<u32> {
        let (connection, _) = match &mut self.connection {
            Some(connection) => connection,
            none => {
                opener.check_identity()?;
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
                idle::tell_of_open();
                let connection = opener.connect(&opener.path, flags)?;
                none.insert((connection, opener.counts.opened()))
            }
        };
        self.used = true;
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let copied: i64 = connection.query_row(sql, (), |row| row.get(2))?;
        // -1 if another connection's checkpoint is in the way.
        Ok(u32::try_from(copied).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
