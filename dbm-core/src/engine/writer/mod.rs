//! The one writer of a manager: a FIFO of calls, and the transaction that waiting calls share.
//!
//! Whoever ends its work hands the open transaction to the next in the queue or commits it.

mod commit;
mod company;
mod contention;
mod ending;
mod leave;
mod pace;
mod queue;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use self::contention::Contention;
pub(crate) use self::ending::Ending;
use self::pace::Pace;
use self::queue::State;
pub(crate) use self::queue::Turn;
use self::watch::Watch;
use super::checkpoint::{Checkpointer, PATIENCE};
use super::connection::Conn;
use super::open::{SharedOpener, keep_log_on_close};
use super::readers::Readers;
use super::wal;
use crate::error::{Error, Result};

pub(crate) struct Writer {
    pub(crate) conn: Arc<Conn>,
    opener: SharedOpener,
    checkpointer: Checkpointer,
    readers: Arc<Readers>,
    state: Mutex<State>,
    pace: Pace,
    contention: Contention,
    watch: Watch,
    keeps_log: AtomicBool,
    /// Something is wrong with the connections that only new ones are free of.
    spoilt: AtomicBool,
}

impl Writer {
    pub(crate) fn new(conn: Arc<Conn>, opener: SharedOpener, readers: Arc<Readers>) -> Arc<Self> {
        let checkpointer = Checkpointer::new(Arc::clone(&opener), Arc::clone(&readers.mark));
        Arc::new(Self {
            conn,
            opener,
            checkpointer,
            readers,
            state: Mutex::default(),
            pace: Pace::default(),
            contention: Contention::default(),
            watch: Watch::default(),
            keeps_log: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
        })
    }

    /// Opens the connection anew if something is wrong with it, for whoever has the turn.
    pub(crate) async fn mend(self: &Arc<Self>) -> Result<()> {
        // What others have done in an open transaction would be gone with its connection.
        if !self.spoilt.load(Ordering::Acquire) || self.in_transaction() {
            return Ok(());
        }
        Box::pin(self.renew()).await
    }

    async fn renew(self: &Arc<Self>) -> Result<()> {
        // SQLite shares what it knows of a file among the connections of a process, until the last one is closed.
        let no_reads = self.readers.quiesce().await;
        let (sender, receiver) = oneshot::channel();
        let writer = Arc::clone(self);
        let renew = move || {
            writer.spoilt.store(false, Ordering::Release);
            writer.conn.lock().discard();
            writer.readers.discard_idle();
            writer.checkpointer.discard();
            let opened = writer.conn.open();
            // Here, not in the caller's task, which may be kept from running.
            drop(no_reads);
            opened
        };
        self.conn.post(renew, |result| drop(sender.send(result)))?;
        receiver.await.unwrap_or(Err(Error::HandleEnded))
    }

    /// Has every connection opened anew, before the next write.
    fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    /// Closes the connection, emptying the log; blocks, so it belongs on the lane.
    pub(crate) fn close(&self) {
        self.checkpointer.close();
        self.watch.close();
        if let Some(db) = self.conn.lock().db() {
            db.roll_back();
            if !self.keeps_log.load(Ordering::Relaxed)
                && wal::empty_log(&db.connection, PATIENCE).is_ok()
            {
                let _ = keep_log_on_close(&db.connection, false);
            }
        }
        self.conn.close();
    }

    /// Whether there is work that waits for its commit.
    pub(crate) fn in_transaction(&self) -> bool {
        self.lock().batch.is_open()
    }

    /// Closing will leave the log for the next start.
    pub(crate) fn keep_log(&self) {
        self.keeps_log.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
