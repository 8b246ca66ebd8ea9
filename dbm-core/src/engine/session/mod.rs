//! One call's use of one connection: decides where each statement runs and looks after the transaction.

mod attempt;
mod begin;
mod errand;
mod notes;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use self::attempt::Attempt;
use self::errand::Errand;
use super::connection::{Conn, Db, OwnerId, Slot};
use super::guard::Permission;
use super::statement::{Work, reads_single_rows};
use super::writer::Ending;
use crate::config::Execution;
use crate::error::{Error, Result};

/// What kind of lease a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A snapshot on a reader connection.
    Read,
    /// A transaction on the writer.
    Write,
    /// The writer's connection without a transaction.
    Connection,
}

pub(crate) struct Session {
    pub(crate) conn: Arc<Conn>,
    pub(crate) id: OwnerId,
    pub(crate) kind: Kind,
    pub(crate) method: &'static str,
    execution: Execution,
    busy_timeout: Duration,
    /// Counts statements that run on the lane.
    offloaded: &'static AtomicU64,
    /// A statement was asked for, whatever has become of it.
    asked: AtomicBool,
    /// Whether the transaction is open; a read opens it with its first statement.
    begun: AtomicBool,
    /// Others have done work in the same transaction that waits for its commit.
    shared: AtomicBool,
    /// A closure had the bare connection in its hands.
    exposed: AtomicBool,
    unshareable: AtomicBool,
    /// A closure has replaced what guards the connection.
    tainted: AtomicBool,
    /// The body's work is part of the transaction that will be committed.
    settled: AtomicBool,
    /// Microseconds spent in statements.
    spent: AtomicU64,
    /// Statements and nested calls under way; a body that waits while there are none waits for something else.
    active: AtomicUsize,
    lost: OnceLock<Error>,
    /// The newest error of a statement, for the span of a call whose body passes it on.
    failure: Mutex<Option<Error>>,
    late_answer: Mutex<Option<Arc<Ending>>>,
}

impl Session {
    pub(crate) fn new(
        conn: Arc<Conn>,
        id: OwnerId,
        kind: Kind,
        method: &'static str,
        execution: Execution,
        busy_timeout: Duration,
        offloaded: &'static AtomicU64,
    ) -> Arc<Self> {
        Arc::new(Self {
            conn,
            id,
            kind,
            method,
            execution,
            busy_timeout,
            offloaded,
            asked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            exposed: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
            unshareable: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            spent: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            lost: OnceLock::new(),
            failure: Mutex::default(),
            late_answer: Mutex::default(),
        })
    }

    /// Makes it the owner of its connection, which is opened if need be, unless it was evicted before.
    pub(crate) async fn take_connection(&self) -> Result<()> {
        loop {
            if let Some(slot) = self.conn.lock_open() {
                return self.take(slot);
            }
            // Until it is its own it may be closed again, to be opened anew.
            Box::pin(self.conn.open_on_lane()).await?;
        }
    }

    pub(crate) fn take(&self, mut slot: MutexGuard<'_, Slot>) -> Result<()> {
        self.check()?;
        slot.give_to(self.id)
    }

    /// Runs a statement where that is best.
    ///
    /// `dropped` is called when the future goes away while the statement may be running.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        mut work: Work<'_, T>,
        read_only: bool,
        dropped: &(dyn Fn() + Sync),
    ) -> Result<T> {
        self.check()?;
        if self.kind == Kind::Read && work.sql().is_none() {
            // A closure cannot be run again after it has met another process's lock.
            self.take_snapshot().await?;
        }
        if let Some(result) = self.try_here(&mut work, read_only, false) {
            return result.unwrap_or_else(|panic| resume_unwind(panic));
        }
        if self.kind == Kind::Read {
            self.take_snapshot().await?;
        }
        self.offloaded.fetch_add(1, Ordering::Relaxed);
        let (this, mut work) = (Arc::clone(self), work.into_owned());
        let result = self
            .on_lane(Errand::Statement { dropped }, move |db| {
                match this.attempt(db, &mut work, read_only, false) {
                    Attempt::Done(result) => result,
                    Attempt::TooLong => Ok(Err(Error::HandleEnded)),
                }
            })
            .await?;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs the statement here and now if it is known to be short, and to do others no harm where it `shares`.
    pub(crate) fn try_here<T>(
        &self,
        work: &mut Work<'_, T>,
        read_only: bool,
        shares: bool,
    ) -> Option<std::thread::Result<Result<T>>> {
        if self.kind == Kind::Connection {
            return None;
        }
        let mut slot = self.slot_here()?;
        let db = match slot.owned_by(self.id) {
            Ok(db) => db,
            Err(error) => return Some(Ok(Err(self.lost_or(error)))),
        };
        let force = self.execution == Execution::Inline;
        if (shares || !force) && !expect_short(db, work, shares) {
            return None;
        }
        match self.attempt(db, work, read_only, !force) {
            Attempt::Done(Ok(Err(error))) if self.can_wait_for(&error) => None,
            Attempt::Done(result) => Some(result),
            Attempt::TooLong => None,
        }
    }

    /// Runs the library's own work on this connection: here if it is free, behind what runs there otherwise.
    pub(crate) async fn control<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        if let Some(mut slot) = self.slot_here() {
            return slot
                .owned_by(self.id)
                .map(work)
                .map_err(|error| self.lost_or(error));
        }
        Box::pin(self.on_lane(Errand::Control, work)).await
    }

    /// The connection, where nothing is in its way and not everything is to run on the lane.
    fn slot_here(&self) -> Option<MutexGuard<'_, Slot>> {
        if self.execution == Execution::Offload {
            return None;
        }
        self.conn.try_lock()
    }

    /// Fails when the session is over.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Ends the session for its body: every later statement fails with this error.
    pub(crate) fn lose(&self, error: Error) {
        let _ = self.lost.set(error);
    }

    pub(crate) fn lost_or(&self, error: Error) -> Error {
        self.lost.get().cloned().unwrap_or(error)
    }
}

fn expect_short<T>(db: &mut Db, work: &Work<'_, T>, shares: bool) -> bool {
    let Some(sql) = work.sql() else {
        return false;
    };
    let (connection, guard) = (&db.connection, &db.guard);
    db.profiles.is_short(sql, shares, || {
        guard.permit(Permission::InTransaction);
        let short = matches!(work, Work::Statement { .. }) && reads_single_rows(connection, sql);
        guard.permit(Permission::Everything);
        short
    })
}
