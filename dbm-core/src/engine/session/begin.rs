//! The beginning of a transaction. Waiting for another process occupies no thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Access, HasSession, Session};
use crate::config::Execution;
use crate::engine::db::{CONTROL, Db};
use crate::engine::open::is_busy;
use crate::error::{Error, Result};
use crate::timer;

impl Session {
    /// Opens the read transaction now, and waits for another process if necessary.
    pub(crate) async fn take_snapshot(this: &Arc<impl HasSession>) -> Result<()> {
        let begun = &this.session().begun;
        if begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        Self::retry_while_busy(this, begin_read).await?;
        begun.store(true, Ordering::Relaxed);
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
        let Ok(db) = self.db(&mut slot) else {
            return;
        };
        if begin_read(db).is_ok() {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    /// [`take_connection`](Self::take_connection) and [`begin`](Self::begin) under one lock. False if something is in
    /// the way of that: then each has to be done by itself.
    pub(crate) fn begin_at_once(&self) -> Result<bool> {
        if self.access != Access::Write || self.execution() == Execution::Offload {
            return Ok(false);
        }
        let Some(mut slot) = self.conn.lock_open() else {
            return Ok(false);
        };
        self.take(&mut slot)?;
        if self.is_unwrapped() {
            return Ok(true);
        }
        let db = self.db(&mut slot)?;
        if self.is_shared() {
            db.savepoint(0)?;
            self.savepoint.store(true, Ordering::Relaxed);
            return Ok(true);
        }
        match db.control(&CONTROL.begin_write) {
            Ok(()) => Ok(true),
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => {
                self.set_failure(&error, false);
                Err(error)
            }
        }
    }

    /// Makes the writer's connection ready for its new owner: opens the transaction, or joins the one that is open.
    pub(crate) async fn begin(this: &Arc<impl HasSession>) -> Result<()> {
        let session = this.session();
        match session.access {
            // Boxed, like the next but one: it keeps a call that begins its own transaction small.
            Access::Write if session.is_shared() => Box::pin(Self::join_write(this)).await,
            Access::Write => {
                let begun = Self::begin_write(this).await;
                if let Err(error) = &begun {
                    session.set_failure(error, false);
                }
                begun
            }
            // Its statements run on a thread, where SQLite may wait for another process.
            Access::Connection => {
                session.conn.check_identity()?;
                let wait = |session: &Self, db: &mut Db| {
                    db.connection
                        .busy_timeout(session.conn.config().busy_timeout)
                };
                Ok(Box::pin(Self::control(this, wait)).await??)
            }
            // Its snapshot is taken with the first statement.
            Access::Read => Ok(()),
        }
    }

    /// Whether a transaction is open on the connection.
    pub(crate) async fn is_in_transaction(this: &Arc<impl HasSession>) -> Result<bool> {
        Self::control(this, |_, db| !db.connection.is_autocommit()).await
    }

    /// Opens the write transaction.
    pub(crate) async fn begin_write(this: &Arc<impl HasSession>) -> Result<()> {
        Self::retry_while_busy(this, |db| db.control(&CONTROL.begin_write)).await
    }

    /// Opens a savepoint in a shared transaction.
    async fn join_write(this: &Arc<impl HasSession>) -> Result<()> {
        Self::control(this, |session, db| {
            db.savepoint(0)?;
            session.savepoint.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await?
    }

    async fn retry_while_busy(
        this: &Arc<impl HasSession>,
        attempt: fn(&mut Db) -> Result<()>,
    ) -> Result<()> {
        match Self::control(this, move |_, db| attempt(db)).await? {
            Err(error) if is_busy(&error) => {
                Box::pin(Self::keep_trying(this, attempt, error)).await
            }
            result => result,
        }
    }

    /// SQLite's own busy handler would sleep on the runtime's worker and could not be cancelled.
    async fn keep_trying(
        this: &Arc<impl HasSession>,
        attempt: fn(&mut Db) -> Result<()>,
        mut error: Error,
    ) -> Result<()> {
        let session = this.session();
        let limit = session.conn.config().busy_timeout;
        let counts = session.conn.counts();
        counts.busy_waits.add(1);
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        while started.elapsed() < limit {
            timer::sleep(pause.min(limit.saturating_sub(started.elapsed()))).await;
            pause = (pause * 2).min(Duration::from_millis(20));
            // The library waits, not the body.
            session.set_ready();
            match Self::control(this, move |_, db| attempt(db)).await? {
                Err(busy) if is_busy(&busy) => error = busy,
                result => return result,
            }
        }
        counts.busy_errors.add(1);
        Err(error.or_busy(started.elapsed()))
    }
}

fn begin_read(db: &mut Db) -> Result<()> {
    if db.connection.is_autocommit() {
        db.control(&CONTROL.begin_read)?;
    }
    db.take_snapshot()
}
