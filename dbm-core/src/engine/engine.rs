//! The engine of one running manager, put together: its writer, its readers, and how they are closed.

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "they look at the files")]
mod tests;

#[cfg(feature = "jobs")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::connection::Conn;
use super::copies::Copies;
use super::db::Db;
use super::idle::{self, Rests};
#[cfg(feature = "jobs")]
use super::job_tables::release_jobs;
use super::open::{Opener, Role, SharedOpener};
use super::readers::Readers;
use super::writer::Writer;
use crate::after_commit::AfterCommit;
use crate::config::{Config, Execution};
use crate::error::{Error, Result};
#[cfg(feature = "jobs")]
use crate::job_board::JobBoard;
use crate::metrics::Metrics;
use crate::sync::lock;
use crate::temporary::TemporaryDirectory;

/// The open connections of one running manager.
pub(crate) struct Engine {
    pub(crate) opener: SharedOpener,
    pub(crate) writer: Arc<Writer>,
    pub(crate) readers: Arc<Readers>,
    /// The schema has constraints that fail only at COMMIT, or triggers that roll back: no shared transactions.
    schema_is_exclusive: AtomicBool,
    /// It has constraints or triggers that stop a statement halfway and keep what it has done.
    stops_halfway: AtomicBool,
    pub(crate) after_commit: AfterCommit,
    pub(super) copies: Copies,
    /// Held while the engine is being closed.
    closed: Mutex<bool>,
    /// The directory of a temporary database, which is removed with its manager.
    temporary: Mutex<Option<TemporaryDirectory>>,
    /// Set at start-up, for a manager that lists jobs.
    #[cfg(feature = "jobs")]
    pub(crate) jobs: OnceLock<Arc<JobBoard>>,
}

impl Engine {
    pub(crate) fn new(opener: SharedOpener, temporary: Option<TemporaryDirectory>) -> Arc<Self> {
        let writer = Conn::new(Role::Writer, Arc::clone(&opener));
        let readers = Readers::new(Arc::clone(&opener));
        Arc::new(Self {
            writer: Writer::new(writer, Arc::clone(&opener), Arc::clone(&readers)),
            readers,
            opener,
            schema_is_exclusive: AtomicBool::new(true),
            stops_halfway: AtomicBool::new(true),
            after_commit: AfterCommit::default(),
            copies: Copies::default(),
            closed: Mutex::default(),
            temporary: Mutex::new(temporary),
            #[cfg(feature = "jobs")]
            jobs: OnceLock::new(),
        })
    }

    /// A database in memory, for one writer and no reader.
    pub(crate) async fn in_memory(manager: u64, config: &Config) -> Result<Arc<Self>> {
        let opener = Opener::of_manager(manager, ":memory:".into(), config.clone(), Arc::default());
        let engine = Self::new(opener, None);
        let (sender, receiver) = oneshot::channel();
        let (opener, conn) = (Arc::clone(&engine.opener), Arc::clone(&engine.writer.conn));
        let open = move || opener.in_memory().map(|db| conn.take_over(db));
        let told = |result| drop(sender.send(result));
        engine.writer.conn.post(open, told)?;
        receiver.await.unwrap_or(Err(Error::HandleEnded))?;
        Ok(engine)
    }

    pub(crate) fn schema_is_exclusive(&self) -> bool {
        self.schema_is_exclusive.load(Ordering::Relaxed)
    }

    /// Whether a statement that fails may leave something of its work: `ON CONFLICT FAIL`, `RAISE (FAIL, …)`.
    pub(crate) fn stops_halfway(&self) -> bool {
        self.stops_halfway.load(Ordering::Relaxed)
    }

    /// Ends sharing until the schema is read again, which the first call on a new connection does.
    pub(crate) fn make_schema_exclusive(&self) {
        self.schema_is_exclusive.store(true, Ordering::Relaxed);
        self.stops_halfway.store(true, Ordering::Relaxed);
    }

    /// Reads from the schema whether calls may share transactions, and whether a statement may stop halfway. For the owner of
    /// the writer.
    pub(crate) fn read_schema(&self, db: &Db) -> Result<()> {
        let (is_exclusive, stops_halfway) = db.connection.query_row(
            "SELECT ifnull(max(sql LIKE '%deferred%' OR sql LIKE '%rollback%'), 0),
                    ifnull(max(sql LIKE '%fail%' AND lower(sql) GLOB '*[^a-z0-9_]fail[^a-z0-9_]*'), 0)
             FROM sqlite_schema",
            (),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.schema_is_exclusive
            .store(is_exclusive, Ordering::Relaxed);
        self.stops_halfway.store(stops_halfway, Ordering::Relaxed);
        db.guard.note_schema_read();
        Ok(())
    }

    /// What is known here. Takes no lock, so no call waits for it.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = self.opener.counts.snapshot();
        self.writer.add_to(&mut metrics);
        self.readers.add_to(&mut metrics);
        #[cfg(feature = "jobs")]
        if let Some(board) = self.jobs.get() {
            metrics.jobs = board.runs();
        }
        metrics
    }

    /// From here on, closes what is not used for a while.
    pub(crate) fn rest_when_idle(self: &Arc<Self>) {
        let engine: Weak<Self> = Arc::downgrade(self);
        idle::look_after(engine);
    }

    /// Whether the database is removed with its manager.
    pub(crate) fn is_temporary(&self) -> bool {
        lock(&self.temporary).is_some()
    }

    /// Closes everything: readers first and the writer last, or SQLite would leave its side files behind.
    pub(crate) fn close(&self) {
        self.copies.close();
        self.readers.close();
        self.writer.close();
        lock(&self.temporary).take();
    }

    /// Closes where the task is, if that takes no more than a moment: no call is inside, and nothing was written. False
    /// if it needs a thread.
    pub(crate) fn close_at_once(&self) -> bool {
        let Ok(mut closed) = self.closed.try_lock() else {
            return false;
        };
        if *closed {
            return true;
        }
        let writer = self.writer.conn.try_lock();
        let has_no_writer = writer.is_some_and(|mut slot| slot.db().is_none());
        let is_quick = self.opener.config.execution != Execution::Offload
            && has_no_writer
            && !self.has_claims_of_jobs()
            && self.readers.are_idle()
            && self.opener.config.on_open.is_none()
            && (self.reads_only() || self.opener.has_empty_log());
        if !is_quick {
            return false;
        }
        if self.reads_only() {
            self.readers.close();
        } else {
            // Opened while the readers are: so it shares what they have opened.
            let remover = self.opener.log_remover(Duration::ZERO);
            self.readers.close();
            drop(remover);
            if self.opener.has_empty_log() {
                // Another connection uses the file, perhaps only for a moment.
                return false;
            }
        }
        self.close();
        *closed = true;
        true
    }

    pub(crate) fn reads_only(&self) -> bool {
        self.opener.config.read_only
    }

    /// Closes so that no side files are left. That takes a writer, even if nothing was written. Without the right to
    /// write, they stay.
    pub(crate) fn close_tidily(&self) {
        let mut closed = lock(&self.closed);
        if !std::mem::replace(&mut *closed, true) {
            self.readers.close();
            if !self.reads_only() {
                let _ = self.writer.conn.open();
                self.release_jobs();
            }
            self.close();
        }
    }

    #[cfg(feature = "jobs")]
    fn has_claims_of_jobs(&self) -> bool {
        self.jobs.get().is_some_and(|board| board.has_claims())
    }

    #[cfg(not(feature = "jobs"))]
    fn has_claims_of_jobs(&self) -> bool {
        false
    }

    /// Gives back the jobs that were ended by `close_within`: their attempts do not count, and the next start runs them at
    /// once. Otherwise they wait until this process counts as ended.
    fn release_jobs(&self) {
        #[cfg(feature = "jobs")]
        if let Some(board) = self.jobs.get().filter(|board| board.has_claims())
            && let Some(db) = self.writer.conn.lock().db()
        {
            let _ = release_jobs(&db.connection, board.worker);
        }
    }

    /// Closes without emptying the log: quick, and nothing acknowledged is lost.
    pub(crate) fn abandon(&self) {
        self.writer.keep_log();
        self.close();
    }

    /// Ends every call that is running or waiting.
    pub(crate) fn shut(&self) {
        self.readers.shut();
        self.writer.shut();
        self.after_commit.shut();
        self.copies.shut();
    }
}

impl Rests for Engine {
    fn rest(&self) -> bool {
        // An open connection would keep the descriptors of the others open: SQLite closes no descriptor of a file on
        // which this process has locks, <https://sqlite.org/src/file/src/os_unix.c>. So all are closed, and the next one
        // reads the log again.
        let readers = self.readers.rest();
        self.writer.rest() && readers
    }
}
