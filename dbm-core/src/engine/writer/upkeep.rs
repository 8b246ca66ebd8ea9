//! The writer's connections over their life: reopened after a fault, and closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;

use super::shell::Writer;
use crate::engine::checkpoint::TRUNCATE_WAIT;
use crate::engine::open::keep_log_on_close;
use crate::engine::wal::empty_log;
use crate::error::{Error, Result};
use crate::tables::Tables;

impl Writer {
    /// Reopens the connections if they are spoilt. Only the call that has the writer may do this.
    pub(crate) async fn mend(self: &Arc<Self>) -> Result<()> {
        // Acquire: the partner of the store in `spoil`. An open transaction keeps its connection: other calls' work would
        // be lost with it.
        if !self.spoilt.load(Ordering::Acquire) || self.in_transaction() {
            return Ok(());
        }
        Box::pin(self.renew()).await
    }

    async fn renew(self: &Arc<Self>) -> Result<()> {
        // SQLite shares what it knows about a file among the connections of a process, until the last one is closed
        // (`unixInodeInfo`, `unixShmNode` in <https://sqlite.org/src/file/src/os_unix.c>).
        let no_reads = self.readers.quiesce().await;
        let (sender, receiver) = oneshot::channel();
        let writer = Arc::clone(self);
        let renew = move || {
            // Release: the partner of the load in `mend`.
            writer.spoilt.store(false, Ordering::Release);
            writer.conn.lock().discard();
            writer.readers.discard_idle();
            writer.committer.checkpointer.discard();
            let opened = writer.conn.open();
            // Here, because the caller's task may be kept from running.
            drop(no_reads);
            opened
        };
        self.conn.post(renew, |result| drop(sender.send(result)))?;
        receiver.await.unwrap_or(Err(Error::HandleEnded))
    }

    /// Refuses new calls and those in the queue, and takes the writer from the call that has it.
    pub(crate) fn shut(self: &Arc<Self>) {
        self.step(|scheduler, effects| scheduler.shut(Instant::now, effects));
    }

    /// Closes the connection, emptying the log. Blocks, so it belongs on the worker thread.
    pub(crate) fn close(&self) {
        self.committer.checkpointer.close();
        self.watchdog.close();
        self.herald.close();
        if let Some(db) = self.conn.lock().db() {
            db.roll_back();
            if !self.keeps_log.load(Ordering::Relaxed)
                && empty_log(&db.connection, TRUNCATE_WAIT).is_ok()
            {
                let _ = keep_log_on_close(&db.connection, false);
            }
        }
        self.conn.close();
    }

    /// Closes connections that were not used since the last call of this. False if something is left for the next one.
    pub(crate) fn rest(&self) -> bool {
        let checkpointer = self.committer.checkpointer.rest();
        let herald = self.herald.rest(|| true);
        self.conn.rest() && checkpointer && herald
    }

    /// Wakes the live reads if another process has committed since the last look. On the writer's connection, because on
    /// any other one the commits of this manager look foreign, too.
    pub(crate) fn look_for_foreign_commits(self: &Arc<Self>) {
        let writer = Arc::clone(self);
        let look = move || {
            writer.conn.open().ok()?;
            let mut slot = writer.conn.lock_idle()?;
            slot.db()?.take_foreign_commit().ok()
        };
        let writer = Arc::clone(self);
        let posted = self.conn.post(look, move |found| {
            if found == Some(true) {
                writer.tell_live_reads(|| Tables::All);
            }
        });
        // A writer that is closed has no live reads.
        drop(posted);
    }

    /// A copy of the database begins, which needs the log as it is now.
    pub(crate) fn copy_begins(&self) {
        self.committer.checkpointer.copy_begins();
    }

    pub(crate) fn copy_ends(&self) {
        self.committer.checkpointer.copy_ends();
    }

    /// Makes the close leave the log for the next start.
    pub(crate) fn keep_log(&self) {
        self.keeps_log.store(true, Ordering::Relaxed);
    }
}
