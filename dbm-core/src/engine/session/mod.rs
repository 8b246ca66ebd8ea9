//! One call's use of one connection: where each statement runs, and what has become of the transaction.

mod activity;
mod attempt;
mod begin;
mod dispatch;
mod flags;
mod many;
mod promises;
mod run;
mod stream;
mod touched;

use self::activity::Activity;
pub(crate) use self::many::Many;
pub(crate) use self::run::Tried;
pub(crate) use self::stream::{Produced, Producer, RowChannel};

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::commit_outcome::CommitOutcome;
use super::connection::{Conn, OwnerId, SlotGuard};
use super::inside::waits_for_itself;
use super::touched::Touched;
use crate::after_commit::Ticket;
use crate::config::Execution;
use crate::error::{Error, Result};
use crate::live::Collector;

/// What kind of lease a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
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
    pub(crate) access: Access,
    pub(crate) method: &'static str,
    execution: Execution,
    busy_timeout: Duration,
    /// Counts statements that run on the worker thread.
    offloaded: &'static AtomicU64,
    /// A statement was requested, whatever its result.
    asked: AtomicBool,
    /// Whether the transaction is open; a read opens it with its first statement.
    begun: AtomicBool,
    /// Other calls have work in the same transaction, which waits for its commit.
    shared: AtomicBool,
    /// In a shared transaction: there is a savepoint to which the call's work can be undone.
    savepoint: AtomicBool,
    /// A closure had the bare connection.
    exposed: AtomicBool,
    /// A closure has left a statement open.
    unfinished: AtomicBool,
    exclusive: AtomicBool,
    /// An error has spoilt the connection, or a closure has replaced the hooks that guard it.
    tainted: AtomicBool,
    /// The body's work is part of the transaction that will be committed.
    resolved: AtomicBool,
    /// Microseconds spent in statements.
    spent: AtomicU64,
    /// Statements and nested calls under way. A body that waits while there are none waits for something other than the
    /// database.
    active: AtomicUsize,
    lost: OnceLock<Error>,
    /// The newest error of a statement, for the span of a call whose body passes it on.
    failure: Mutex<Option<Error>>,
    late_answer: Mutex<Option<Arc<CommitOutcome>>>,
    /// What the body has promised to run after the commit.
    promises: OnceLock<Mutex<Vec<Ticket>>>,
    /// Whether there were live reads when it got its connection: it records what it writes.
    tracks: AtomicBool,
    written: OnceLock<Mutex<Vec<Arc<Touched>>>>,
    /// Where a call of a live read records what it reads.
    collector: OnceLock<Arc<Collector>>,
    /// Present where an idle call with the writer is evicted.
    activity: Option<Box<Activity>>,
}

impl Session {
    pub(crate) fn new(
        conn: Arc<Conn>,
        id: OwnerId,
        access: Access,
        method: &'static str,
        execution: Execution,
        busy_timeout: Duration,
        offloaded: &'static AtomicU64,
    ) -> Arc<Self> {
        let watched = access != Access::Read && conn.config().max_write_idle.is_some();
        Arc::new(Self {
            activity: watched.then(Activity::of_new_call),
            conn,
            id,
            access,
            method,
            execution,
            busy_timeout,
            offloaded,
            asked: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            savepoint: AtomicBool::new(false),
            exposed: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
            exclusive: AtomicBool::new(false),
            resolved: AtomicBool::new(false),
            spent: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            lost: OnceLock::new(),
            failure: Mutex::default(),
            late_answer: Mutex::default(),
            promises: OnceLock::new(),
            tracks: AtomicBool::new(false),
            written: OnceLock::new(),
            collector: OnceLock::new(),
        })
    }

    /// Makes the session the owner of its connection, which is opened if necessary. Fails if it was evicted before.
    pub(crate) async fn take_connection(&self) -> Result<()> {
        loop {
            if let Some(slot) = self.conn.lock_open() {
                return self.take(slot);
            }
            if let Some(holder) = self.conn.is_run_here() {
                return Err(waits_for_itself(self.method, holder));
            }
            // Until the session owns it, the connection may be closed again and must then be reopened.
            Box::pin(self.conn.open_on_worker()).await?;
        }
    }

    pub(crate) fn take(&self, mut slot: SlotGuard<'_>) -> Result<()> {
        self.check()?;
        slot.give_to(self.id)?;
        if let Some(db) = slot.db() {
            self.track(db);
        }
        Ok(())
    }

    /// Fails if the session is over.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Ends the session for its body: every later statement fails with this error.
    pub(crate) fn lose(&self, error: Error) {
        let _ = self.lost.set(error);
    }

    /// Ends the session because of a running statement whose result is never awaited, and stops that statement.
    pub(crate) fn abandon(&self) {
        // First, because a statement that has not begun checks it.
        self.lose(Error::StatementDropped);
        self.conn.interrupt_owner(self.id);
    }

    pub(crate) fn lost_or(&self, error: Error) -> Error {
        self.lost.get().cloned().unwrap_or(error)
    }
}
