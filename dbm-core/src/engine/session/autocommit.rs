//! A write that is known to run one statement, with neither a transaction nor a savepoint of its own around it. SQLite
//! undoes a statement that fails by itself, and after this one nothing can fail.
//!
//! A call that is alone lets SQLite begin and commit around the statement, which takes half as long as BEGIN, the statement
//! and COMMIT (*autocommit*, <https://sqlite.org/lang_transaction.html>). If the statement fails, it runs again in a
//! transaction. So every error is the one that it has there, but for one that leaves open whether it has committed.
//!
//! A call that joins a shared transaction saves its savepoint, which takes as long as the statement.
//!
//! `OR FAIL` keeps the rows before the one that fails. A text with that word is never unwrapped, and no call is where the
//! schema has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::ErrorCode;

use super::attempt::Attempt;
use super::{Access, HasSession, Session};
use crate::engine::db::Db;
use crate::engine::open::is_busy;
use crate::engine::statement::{Work, begins_with};
use crate::engine::wal::wal_pages;
use crate::error::{Error, Result};

/// A commit that a statement has made by itself.
pub(crate) struct Autocommit {
    pub(crate) took: Duration,
    /// In the log, after it.
    pub(crate) log_pages: u32,
}

impl Session {
    /// Whether it is a write whose statement has nothing around it.
    pub(crate) fn is_unwrapped(&self) -> bool {
        self.access == Access::Write && self.is_one_statement()
    }

    /// Whether the statement of an unwrapped call has committed by itself, or has tried to.
    pub(crate) fn has_autocommitted(&self) -> bool {
        self.ran_alone() && self.is_unwrapped() && !self.is_shared()
    }

    /// Whether an unwrapped call may run this as its statement.
    pub(super) fn may_run_unwrapped<T>(&self, db: &Db, work: &Work<'_, T>) -> bool {
        !self.ran_alone()
            && matches!(work, Work::Statement { sql, returns_rows: false, .. } if changes_rows(sql))
            && !db.guard.changes_schema()
            && (self.is_shared() || !db.tracks() && self.conn.check_identity().is_ok())
    }

    /// Notes what a statement has left in a shared transaction without a savepoint. If it has stopped halfway, the call's
    /// work cannot be undone alone.
    pub(super) fn note_unwrapped(&self, is_ok: bool, changed: u64) {
        if is_ok || changed > 0 {
            self.ran_alone.store(true, Ordering::Relaxed);
        }
    }

    /// What has become of a statement that was to commit by itself. `commit` is what its commit took, if it has begun.
    pub(super) fn inspect_autocommit<T>(
        &self,
        db: &Db,
        result: Result<T>,
        commit: Option<Duration>,
    ) -> Attempt<T> {
        let error = match result {
            Ok(value) => {
                self.note_autocommit(db, commit.unwrap_or_default());
                return Attempt::Done(Ok(Ok(value)));
            }
            Err(error) => db.guard.explain(error),
        };
        let failed = match (error.primary_code(), commit) {
            // A constraint that fails keeps the rows before it if the schema says so, and another process has changed that.
            (Some(ErrorCode::SystemIoFailure | ErrorCode::ConstraintViolation), Some(_)) => {
                self.is_unsure.store(true, Ordering::Relaxed);
                self.ran_alone.store(true, Ordering::Relaxed);
                let unknown = Error::CommitUnknown {
                    cause: error.cause(),
                };
                self.lose(unknown.clone());
                unknown
            }
            // As in a transaction: SQLite has rolled it back.
            (Some(ErrorCode::SystemIoFailure), None) => self.end_with(Error::TransactionLost {
                cause: error.cause(),
            }),
            _ => {
                if !is_busy(&error) {
                    self.set_failure(&error, false);
                }
                return Attempt::InTransaction;
            }
        };
        Attempt::Done(Ok(Err(failed)))
    }

    pub(super) fn note_autocommit(&self, db: &Db, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commit_took.store(nanos, Ordering::Relaxed);
        self.log_pages.store(wal_pages(), Ordering::Relaxed);
        // An eviction has nothing to undo any more.
        self.resolve();
        self.note_ran_alone(db);
    }

    /// What a statement that ran alone has committed. `None` if nobody can tell whether it has.
    pub(crate) fn autocommit(&self) -> Option<Autocommit> {
        let is_unsure = self.is_unsure.load(Ordering::Relaxed);
        (!is_unsure).then(|| Autocommit {
            took: Duration::from_nanos(self.commit_took.load(Ordering::Relaxed)),
            log_pages: self.log_pages.load(Ordering::Relaxed),
        })
    }

    /// Opens the transaction, or the savepoint, of an unwrapped call that turns out to need one.
    pub(crate) async fn begin_late(this: &Arc<impl HasSession>) -> Result<()> {
        let session = this.session();
        if !session.is_unwrapped() {
            return Ok(());
        }
        if session.ran_alone() {
            return Err(Error::HandleEnded);
        }
        Box::pin(async {
            // Dropped on the way, the call may have one or not.
            let unknown = LostOnDrop(Some(session));
            let begun = Self::begin(this).await;
            unknown.disarm();
            begun.map_err(|error| session.lost_or(error))?;
            session.needs_transaction();
            Ok(())
        })
        .await
    }
}

/// Ends a session whose statement was dropped while it changed the transaction.
pub(crate) struct LostOnDrop<'a>(pub(crate) Option<&'a Session>);

impl LostOnDrop<'_> {
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for LostOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.lose(Error::StatementDropped);
        }
    }
}

/// Whether a text changes rows and does nothing else. Not every such text begins with one of these words.
fn changes_rows(sql: &str) -> bool {
    ["insert", "update", "delete", "replace"]
        .into_iter()
        .any(|word| begins_with(sql, word))
}
