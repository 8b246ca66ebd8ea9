//! Makes reads cheap while there are many. Most of a point read is the system call that takes the shared lock on the read
//! mark of the write-ahead log, <https://sqlite.org/walformat.html>. Connections of one process share that lock: while
//! one of them holds it, the others take it without a system call (`unixShmLock` in
//! <https://sqlite.org/src/file/src/os_unix.c>).
//!
//! A separate connection holds the mark, and only briefly. Every few milliseconds it renews or releases the mark. It also
//! releases the mark for each checkpoint, which could not empty the log otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::counts::CountedOpen;
use super::idle;
use super::open::SharedOpener;
use super::worker_thread::WorkerThread;
use crate::error::Result;
use crate::sharded::{Sharded, thread_number};
use crate::sync::lock;

/// How long the mark is held before the reads are counted again.
const MOMENT: Duration = Duration::from_millis(10);
/// This many reads within a moment make it worth holding.
const WORTH_IT: u64 = 64;

pub(crate) struct ReadMark {
    worker: WorkerThread,
    shared: Arc<Shared>,
}

struct Shared {
    opener: SharedOpener,
    reads: Sharded,
    running: AtomicBool,
    holder: Mutex<Holder>,
    closing: Condvar,
}

#[derive(Default)]
struct Holder {
    connection: Option<(Connection, CountedOpen)>,
    closed: bool,
}

impl ReadMark {
    pub(crate) fn new(opener: SharedOpener) -> Self {
        Self {
            worker: WorkerThread::default(),
            shared: Arc::new(Shared {
                opener,
                reads: Sharded::default(),
                running: AtomicBool::new(false),
                holder: Mutex::default(),
                closing: Condvar::new(),
            }),
        }
    }

    /// Counts a read that begins, and holds the mark once there are many.
    pub(crate) fn count_read(&self) {
        let count = self.shared.reads.of(thread_number());
        // Two threads may share the shard and lose a count, which does not matter.
        let reads = count.load(Ordering::Relaxed).wrapping_add(1);
        count.store(reads, Ordering::Relaxed);
        if reads.is_multiple_of(WORTH_IT) && !self.shared.running.load(Ordering::Relaxed) {
            self.start();
        }
    }

    fn start(&self) {
        // AcqRel: the partner of the Release stores below and in `hold_while_worth_it`. The flag only keeps a second job
        // away; what the jobs use is under the holder's lock.
        if self.shared.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let posted = self.worker.post(move || shared.hold_while_worth_it());
        if posted.is_err() {
            self.shared.running.store(false, Ordering::Release);
        }
    }

    /// Whether a thread holds the mark.
    pub(crate) fn is_running(&self) -> bool {
        // Acquire: the partner of the Release stores of `false`. The holder's connection is under its lock.
        self.shared.running.load(Ordering::Acquire)
    }

    pub(crate) fn thread(&self) -> &WorkerThread {
        &self.worker
    }

    /// Runs something that a held mark would block.
    pub(crate) fn while_released<T>(&self, run: impl FnOnce() -> T) -> T {
        let holder = self.shared.lock();
        holder.release();
        run()
    }

    /// Closes the connection. False while there are many reads.
    pub(crate) fn rest(&self) -> bool {
        if self.is_running() {
            return false;
        }
        self.discard();
        self.worker.rest(|| true)
    }

    /// Closes the connection. The next moment opens another one.
    pub(crate) fn discard(&self) {
        self.shared.lock().connection = None;
    }

    /// Releases the mark for good.
    pub(crate) fn close(&self) {
        {
            let mut holder = self.shared.lock();
            holder.closed = true;
            holder.connection = None;
        }
        self.shared.closing.notify_all();
        self.worker.close();
    }
}

impl Shared {
    fn hold_while_worth_it(&self) {
        let mut seen = self.reads.sum();
        let mut holder = self.lock();
        // A failure here costs only speed: the next reads try again.
        while !holder.closed && holder.renew(&self.opener).is_ok() {
            holder = self
                .closing
                .wait_timeout(holder, MOMENT)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let reads = self.reads.sum();
            if reads.wrapping_sub(seen) < WORTH_IT {
                break;
            }
            seen = reads;
        }
        holder.release();
        drop(holder);
        // Release: the partner of the swap in `start` and the load in `is_running`.
        self.running.store(false, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Holder> {
        lock(&self.holder)
    }
}

impl Holder {
    /// Holds the newest mark.
    fn renew(&mut self, opener: &SharedOpener) -> Result<()> {
        self.release();
        let (connection, _) = match &mut self.connection {
            Some(connection) => connection,
            none => {
                opener.check_identity()?;
                idle::tell_of_open();
                let connection = opener.connect_read_only(&opener.path, Duration::ZERO)?;
                none.insert((connection, opener.counts.opened()))
            }
        };
        connection.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")?;
        Ok(())
    }

    fn release(&self) {
        if let Some((connection, _)) = &self.connection
            && !connection.is_autocommit()
        {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}
