//! The beginning of a transaction. Waiting for another process occupies no thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Access, Session};
use crate::engine::db::{CONTROL, Db};
use crate::engine::open::is_busy;
use crate::error::{Error, Result};
use crate::timer;

impl Session {
    /// Opens the read transaction now, and waits for another process if necessary.
    pub(crate) async fn take_snapshot(self: &Arc<Self>) -> Result<()> {
        if self.begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.retry_while_busy(begin_read).await?;
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the read transaction if nothing is in the way.
    pub(crate) fn take_snapshot_now(&self) {
        if self.access != Access::Read || self.begun.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut slot) = self.conn.try_lock() else {
            return;
        };
        let Ok(db) = slot.owned_by(self.id) else {
            return;
        };
        if begin_read(db).is_ok() {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    /// Makes the writer's connection ready for its new owner: opens the transaction, or joins the one that is open.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<()> {
        match self.access {
            Access::Write if self.is_shared() => self.join_write().await,
            Access::Write => {
                let begun = self.begin_write().await;
                if let Err(error) = &begun {
                    self.set_failure(error, false);
                }
                begun
            }
            // Its statements run on a thread, where SQLite may wait for another process.
            Access::Connection => {
                self.conn.check_identity()?;
                let limit = self.busy_timeout;
                let wait = move |db: &mut Db| db.connection.busy_timeout(limit);
                Ok(self.control(wait).await??)
            }
            // Its snapshot is taken with the first statement.
            Access::Read => Ok(()),
        }
    }

    /// Whether a transaction is open on the connection.
    pub(crate) async fn is_in_transaction(self: &Arc<Self>) -> Result<bool> {
        self.control(|db| !db.connection.is_autocommit()).await
    }

    /// Opens the write transaction.
    pub(crate) async fn begin_write(self: &Arc<Self>) -> Result<()> {
        self.retry_while_busy(|db| db.control(&CONTROL.begin_write))
            .await
    }

    /// Opens a savepoint in a shared transaction.
    async fn join_write(self: &Arc<Self>) -> Result<()> {
        let this = Arc::clone(self);
        self.control(move |db| {
            db.savepoint(0)?;
            this.savepoint.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await?
    }

    async fn retry_while_busy(self: &Arc<Self>, attempt: fn(&mut Db) -> Result<()>) -> Result<()> {
        match self.control(attempt).await? {
            Err(error) if is_busy(&error) => Box::pin(self.keep_trying(attempt, error)).await,
            result => result,
        }
    }

    /// SQLite's own busy handler would sleep on the runtime's worker and could not be cancelled.
    async fn keep_trying(
        self: &Arc<Self>,
        attempt: fn(&mut Db) -> Result<()>,
        mut error: Error,
    ) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        while started.elapsed() < self.busy_timeout {
            timer::sleep(pause.min(self.busy_timeout.saturating_sub(started.elapsed()))).await;
            pause = (pause * 2).min(Duration::from_millis(20));
            // The library waits, not the body.
            self.set_ready();
            match self.control(attempt).await? {
                Err(busy) if is_busy(&busy) => error = busy,
                result => return result,
            }
        }
        Err(error.or_busy(started.elapsed()))
    }
}

fn begin_read(db: &mut Db) -> Result<()> {
    if db.connection.is_autocommit() {
        db.control(&CONTROL.begin_read)?;
    }
    db.control(&CONTROL.snapshot)
}
