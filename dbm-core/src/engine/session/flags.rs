//! What is recorded about a session while it lasts: how far it has come, whether it shares its transaction, whether it
//! has spoilt the connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::ErrorCode;

use super::Session;
use crate::config::Execution;
use crate::engine::commit_outcome::CommitOutcome;
use crate::engine::db::Db;
use crate::error::{Error, Result};
use crate::sync::lock;

impl Session {
    /// Whether an error or a closure has spoilt the connection.
    pub(crate) fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_failure(&self, error: &Error, read_only: bool) {
        // After SQLite has failed to open, lock or unlock a file, the fault lasts until the connection is closed: it is
        // read-only, or keeps a lock that it does not use.
        let spoilt = match error.primary_code() {
            Some(ErrorCode::ReadOnly) => !read_only,
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::CannotOpen
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::SystemIoFailure,
            ) => true,
            _ => false,
        };
        if spoilt {
            self.tainted.store(true, Ordering::Relaxed);
        }
        let newest = Some(error.clone());
        let older = std::mem::replace(&mut *lock(&self.rare().failure), newest);
        // Dropping the older error may run code of the program, so it comes after unlocking.
        drop(older);
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.rare.get()?.failure).take()
    }

    /// Notes that the call's work was included or undone. True if it was before.
    pub(crate) fn resolve(&self) -> bool {
        // No exchange: it runs under the slot's lock. Release: the partner of the load in `is_resolved`.
        let before = self.resolved.load(Ordering::Relaxed);
        self.resolved.store(true, Ordering::Release);
        before
    }

    pub(crate) fn is_resolved(&self) -> bool {
        // Acquire: the partner of the store in `resolve`.
        self.resolved.load(Ordering::Acquire)
    }

    pub(super) fn execution(&self) -> Execution {
        self.conn.config().execution
    }

    /// Undoing takes about as long as the work did. That is too long for a destructor, unless everything runs where the
    /// task is.
    pub(crate) fn has_worked_long(&self) -> bool {
        self.execution() != Execution::Inline && self.spent.load(Ordering::Relaxed) > 1_000
    }

    /// Notes the outcome that this call's answer comes from, because another call commits its work.
    pub(crate) fn set_late_answer(&self, answer: Arc<CommitOutcome>) {
        let older = lock(&self.rare().late_answer).replace(answer);
        drop(older);
    }

    pub(crate) fn take_late_answer(&self) -> Option<Arc<CommitOutcome>> {
        lock(&self.rare.get()?.late_answer).take()
    }

    /// From here on the call counts as idle while it runs no statement.
    pub(crate) fn set_ready(&self) {
        if let Some(activity) = &self.activity {
            activity.ends();
        }
    }

    /// A statement that has not ended waits for the body, so the call counts as idle.
    pub(crate) fn set_waits(&self) {
        if let Some(activity) = &self.activity {
            activity.ends();
            activity.set_waits(true);
        }
    }

    /// A statement that waited for the body goes on.
    pub(crate) fn set_busy(&self) {
        if let Some(activity) = &self.activity {
            activity.begins();
            activity.set_waits(false);
        }
    }

    /// The body takes rows of a stream.
    pub(crate) fn takes_rows(&self) {
        if let Some(activity) = &self.activity {
            activity.goes_on();
        }
    }

    /// Since when the call has not used its connection; `None` while it does. What its worker thread has not finished is
    /// use, unless it waits for the body.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let activity = self.activity.as_ref()?;
        let is_idle = activity.waits() || !self.conn.has_pending();
        is_idle.then(|| activity.idle_since()).flatten()
    }

    pub(crate) fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    pub(crate) fn set_exclusive(&self) {
        self.exclusive.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether the call is known to run one statement at most.
    pub(crate) fn is_one_statement(&self) -> bool {
        self.one_statement.load(Ordering::Relaxed)
    }

    /// From here on the call has a transaction: it may run more statements, and calls may join it.
    pub(crate) fn needs_transaction(&self) {
        self.one_statement.store(false, Ordering::Relaxed);
    }

    /// Whether its statement has run without a transaction.
    pub(crate) fn ran_alone(&self) -> bool {
        self.ran_alone.load(Ordering::Relaxed)
    }

    /// Whether a statement has run.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Whether a shared transaction has a savepoint to which the call's work can be undone.
    pub(crate) fn has_savepoint(&self) -> bool {
        self.savepoint.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.exclusive.load(Ordering::Relaxed)
    }

    /// Whether a closure has left a statement open. Only a new connection is free of it.
    pub(crate) fn has_left_something(&self, db: &Db) -> bool {
        self.exposed.load(Ordering::Relaxed) && db.connection.is_busy()
    }

    /// Fails if a closure has left a statement open.
    pub(crate) fn check_finished(&self) -> Result<()> {
        if !self.unfinished.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::Refused {
            what: "a statement left unfinished",
            why: "it would outlive the transaction",
        })
    }

    /// Whether the connection must not be used again.
    pub(crate) fn is_unclean(&self, db: &Db) -> bool {
        self.is_tainted() || self.has_left_something(db)
    }

    /// Gives the connection back after a call whose work was undone. A connection that must not be used again is
    /// discarded.
    pub(crate) fn give_connection_back(&self) {
        if self.is_shared() {
            return;
        }
        let mut slot = self.conn.lock();
        if let Ok(db) = slot.owned_by(self.id) {
            if self.is_unclean(db) {
                slot.discard();
            }
            slot.take_back();
        }
    }

    pub(crate) fn enter(&self) -> Active<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }
}

/// A statement or a nested call under way.
pub(crate) struct Active<'a>(&'a Session);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use rusqlite::ffi;

    use super::*;
    use crate::engine::session::Access;
    use crate::test_support::engine_in_memory;
    use crate::unique_id::next_id;

    #[test]
    fn only_errors_of_the_file_spoil_the_connection() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = engine_in_memory();
        let spoils = |code, read_only| {
            let conn = Arc::clone(&engine.writer.conn);
            let session = Session::new(conn, next_id(), Access::Write, "meets", false, &COUNT);
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            session.set_failure(&error.into(), read_only);
            session.is_tainted()
        };
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_PROTOCOL,
            ffi::SQLITE_IOERR,
        ] {
            assert!(spoils(code, false) && spoils(code, true), "{code}");
        }
        assert!(spoils(ffi::SQLITE_READONLY, false));
        assert!(!spoils(ffi::SQLITE_READONLY, true), "a read may not write");
        for code in [ffi::SQLITE_CONSTRAINT, ffi::SQLITE_FULL, ffi::SQLITE_ERROR] {
            assert!(!spoils(code, false), "{code}");
        }
    }
}
