//! One call's use of one connection: where each statement runs, and what has become of the transaction.

mod activity;
mod attempt;
mod autocommit;
mod begin;
mod dispatch;
mod flags;
mod many;
mod promises;
mod run;
mod stream;
mod touched;

use self::activity::Activity;
pub(crate) use self::autocommit::{Autocommit, LostOnDrop};
pub(crate) use self::flags::Active;
pub(crate) use self::many::Many;
pub(crate) use self::run::Tried;
pub(crate) use self::stream::{Produced, Producer, RowChannel};

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::commit_outcome::CommitOutcome;
use super::connection::{Conn, OwnerId, SlotGuard};
use super::db::Db;
use super::inside::waits_for_itself;
use super::touched::Touched;
pub(crate) use crate::access::Access;
use crate::after_commit::Ticket;
use crate::error::{Error, Result};
use crate::live::Collector;

/// What a session is part of, and shares its allocation with: the frame of its call.
pub(crate) trait HasSession: Send + Sync + 'static {
    fn session(&self) -> &Session;
}

/// A session that may be used after its call is gone.
pub(crate) type SharedSession = Arc<dyn HasSession>;

#[cfg(test)]
impl HasSession for Session {
    fn session(&self) -> &Session {
        self
    }
}

pub(crate) struct Session {
    pub(crate) conn: Arc<Conn>,
    pub(crate) id: OwnerId,
    pub(crate) access: Access,
    pub(crate) method: &'static str,
    /// Counts statements that run on the worker thread.
    offloaded: &'static AtomicU64,
    /// The call is known to run one statement at most, which then needs no transaction around it.
    one_statement: AtomicBool,
    /// That statement has run, without a transaction.
    ran_alone: AtomicBool,
    /// It has failed while it committed: it is unknown whether it has.
    is_unsure: AtomicBool,
    /// Nanoseconds that its commit took, and the pages in the log after it.
    commit_took: AtomicU64,
    log_pages: AtomicU32,
    /// Something of the call may be left in the connection, or running there.
    used: AtomicBool,
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
    /// Whether there were live reads when it got its connection: it records what it writes.
    tracks: AtomicBool,
    /// Present where an idle call with the writer is evicted.
    activity: Option<Box<Activity>>,
    rare: OnceLock<Box<Rare>>,
}

/// What few calls have. It is allocated for them alone, so that every other call is small.
#[derive(Default)]
struct Rare {
    lost: OnceLock<Error>,
    /// The newest error of a statement, for the span of a call whose body passes it on.
    failure: Mutex<Option<Error>>,
    late_answer: Mutex<Option<Arc<CommitOutcome>>>,
    /// What the body has promised to run after the commit.
    promises: Mutex<Vec<Ticket>>,
    written: Mutex<Vec<Arc<Touched>>>,
    /// Where a call of a live read records what it reads.
    collector: OnceLock<Arc<Collector>>,
}

impl Session {
    pub(crate) fn new(
        conn: Arc<Conn>,
        id: OwnerId,
        access: Access,
        method: &'static str,
        one_statement: bool,
        offloaded: &'static AtomicU64,
    ) -> Self {
        let watched = access != Access::Read && conn.config().max_write_idle.is_some();
        Self {
            activity: watched.then(Activity::of_new_call),
            conn,
            id,
            access,
            method,
            offloaded,
            one_statement: AtomicBool::new(one_statement && access != Access::Connection),
            ran_alone: AtomicBool::new(false),
            is_unsure: AtomicBool::new(false),
            commit_took: AtomicU64::new(0),
            log_pages: AtomicU32::new(0),
            used: AtomicBool::new(false),
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
            tracks: AtomicBool::new(false),
            rare: OnceLock::new(),
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn lost(&self) -> Option<&Error> {
        self.rare.get()?.lost.get()
    }

    /// Makes a call without a transaction the owner of its connection, if that is ready for it.
    pub(crate) fn take_vacant(&self) -> Result<bool> {
        if self.conn.is_run_here().is_some() || !self.conn.take(self.id) {
            return Ok(false);
        }
        self.check().map(|()| true)
    }

    /// Makes the session the owner of its connection, which is opened if necessary. Fails if it was evicted before.
    pub(crate) async fn take_connection(&self) -> Result<()> {
        loop {
            if let Some(holder) = self.conn.is_run_here() {
                return Err(waits_for_itself(self.method, holder));
            }
            if self.access == Access::Read {
                if self.take_vacant()? {
                    return Ok(());
                }
            } else if let Some(mut slot) = self.conn.lock_open() {
                return self.take(&mut slot);
            }
            // Until the session owns it, the connection may be closed again and must then be reopened.
            Box::pin(self.conn.open_on_worker()).await?;
        }
    }

    pub(crate) fn take(&self, slot: &mut SlotGuard<'_>) -> Result<()> {
        self.check()?;
        slot.give_to(self.id)?;
        if let Some(db) = slot.db() {
            self.track(db);
        }
        Ok(())
    }

    /// The connection, if the session still owns it. From here on something of the call may be left there.
    fn db<'a>(&self, slot: &'a mut SlotGuard<'_>) -> Result<&'a mut Db> {
        let db = slot
            .owned_by(self.id)
            .map_err(|error| self.lost_or(error))?;
        let first = !self.used.load(Ordering::Relaxed);
        if first && (self.access == Access::Read || self.is_one_statement()) {
            self.track(db);
        }
        self.used.store(true, Ordering::Relaxed);
        Ok(db)
    }

    /// Gives the connection back, if nothing of the call can be left in it. Otherwise false.
    pub(crate) fn give_back_unused(&self) -> bool {
        let is_used = self.used.load(Ordering::Relaxed) || self.is_tainted();
        !is_used && self.check().is_ok() && self.conn.take_back_unused(self.id)
    }

    /// Fails if the session is over.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Ends the session for its body: every later statement fails with this error.
    pub(crate) fn lose(&self, error: Error) {
        let _ = self.rare().lost.set(error);
    }

    /// Ends the session because of a running statement whose result is never awaited, and stops that statement.
    pub(crate) fn abandon(&self) {
        // First, because a statement that has not begun checks it.
        self.lose(Error::StatementDropped);
        self.conn.interrupt_owner(self.id);
    }

    pub(crate) fn lost_or(&self, error: Error) -> Error {
        self.lost().cloned().unwrap_or(error)
    }
}
