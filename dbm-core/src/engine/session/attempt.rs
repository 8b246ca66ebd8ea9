//! One attempt to run a statement on a connection, and what it leaves there.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbm_sql::Refusal;
use rusqlite::{ErrorCode, ffi};

use super::{Access, Session};
use crate::engine::db::{CONTROL, Db};
use crate::engine::guard::{Burnt, Permission};
use crate::engine::inside;
use crate::engine::open::is_busy;
use crate::engine::settings::Settings;
use crate::engine::statement::{
    FUSE, Work, Yield, begins_with, check_text, is_harmless, is_long, run_script,
};
use crate::engine::temp_objects::hides_a_table;
use crate::error::{Error, Result};

/// The result of one attempt to run something.
pub(super) enum Attempt<T> {
    Done(std::thread::Result<Result<T>>),
    /// The fuse blew: run it again on the worker thread.
    TooLong,
    /// It could not commit by itself, and nothing of it is left: run it again in a transaction.
    InTransaction,
}

/// How a statement is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// Where the task is. A read is stopped if it takes too long.
    Fused,
    /// Where the task is, however long it takes.
    Here,
    OnThread,
}

impl Session {
    /// Nothing has been read yet, and another process is in the way. The snapshot can be waited for.
    pub(super) fn can_wait_for(&self, error: &Error) -> bool {
        self.access == Access::Read && is_busy(error) && !self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn attempt<T>(
        &self,
        db: &mut Db,
        work: &mut Work<'_, T>,
        read_only: bool,
        run: Run,
    ) -> Attempt<T> {
        let is_unwrapped = self.is_unwrapped();
        let autocommits = is_unwrapped && !self.is_shared();
        let mut alone = false;
        if self.access == Access::Read && db.connection.is_autocommit() && self.check().is_ok() {
            if self.ran_alone() {
                return Attempt::Done(Ok(Err(Error::HandleEnded)));
            }
            alone = self.is_one_statement()
                && matches!(work, Work::Statement { sql, .. } if is_select(sql));
            if !alone && let Err(error) = db.control(&CONTROL.begin_read) {
                return Attempt::Done(Ok(Err(error)));
            }
        }
        if self.access != Access::Connection {
            db.guard.permit(self.permission(read_only));
        }
        if let Some(activity) = &self.activity {
            activity.begins();
        }
        inside::runs(self.method);
        let tracks = db.tracks();
        let changed_before = (tracks || is_unwrapped).then(|| db.connection.total_changes());
        if autocommits {
            db.guard.allow_commit();
        }
        let clock = db.timings.clock(run != Run::OnThread);
        let result = catch_unwind(AssertUnwindSafe(|| self.perform(db, work, read_only, run)));
        let Burnt { blown, took: burnt } = db.guard.take_fuse();
        let commit = autocommits.then(|| db.guard.take_commit()).flatten();
        // Neither is time of the statement.
        let waited = work.take_waited() + commit.unwrap_or_default();
        let took = clock.map(|started| started.elapsed().saturating_sub(waited));
        let took = took.or(burnt);
        if let Some(activity) = &self.activity {
            activity.ends();
        }
        // Still on behalf of the body, which the authorizer may refuse.
        if let (Some(sql), Some(took), true) =
            (work.sql(), took, blown || matches!(result, Ok(Ok(_))))
        {
            let (connection, whole) = (&db.connection, work.is_one_statement());
            let took = if blown { 10 * took } else { took };
            db.timings
                .record(sql, took, work.runs(), run == Run::Fused, || {
                    whole && is_harmless(connection, sql)
                });
            if db.timings.take_started_over() {
                connection.flush_prepared_statement_cache();
            }
        }
        db.guard.permit(Permission::Everything);
        if let Some(before) = changed_before {
            let changed = db.connection.total_changes().wrapping_sub(before);
            if tracks {
                db.guard.set_runs(false);
                self.note_touched(db, work, read_only, changed);
            }
            if is_unwrapped && !autocommits {
                self.note_unwrapped(matches!(result, Ok(Ok(_))), changed);
            }
        }
        // Only one statement of a session runs at a time.
        let took = db.timings.took(took).as_micros() as u64;
        let spent = self.spent.load(Ordering::Relaxed) + took;
        self.spent.store(spent, Ordering::Relaxed);
        let blown = |error: &Error| blown && is_interrupt(error);
        match result {
            Ok(Err(error)) if blown(&error) => Attempt::TooLong,
            Ok(result) if autocommits => self.inspect_autocommit(db, result, commit),
            Ok(result) if alone => Attempt::Done(Ok(self.inspect_alone(db, result))),
            Ok(result) => Attempt::Done(Ok(self.inspect(db, work, result))),
            Err(panic) => {
                // What it left behind is checked all the same.
                let _ = if autocommits {
                    self.note_autocommit(db, Duration::ZERO);
                    Ok(())
                } else if alone {
                    self.inspect_alone(db, Ok(()))
                } else {
                    self.inspect(db, work, Ok(()))
                };
                Attempt::Done(Err(panic))
            }
        }
    }

    /// What the authorizer allows a body. A read has no effect, even if it writes.
    pub(super) fn permission(&self, read_only: bool) -> Permission {
        if self.is_shared() && !read_only {
            Permission::InSharedTransaction
        } else {
            Permission::InTransaction
        }
    }

    fn perform<T>(&self, db: &Db, work: &mut Work<'_, T>, read_only: bool, run: Run) -> Result<T> {
        if let Some(sql) = work.sql() {
            check_text(sql)?;
        }
        match work {
            Work::Statement {
                sql,
                params,
                finish,
                ..
            } => self.prepared(db, sql, read_only, run, |statement| {
                params.bind(statement)?;
                finish(Yield::Statement(&db.connection, statement))
            }),
            Work::Operation { sql, operation } => {
                self.prepared(db, sql, read_only, run, |statement| {
                    operation.run(&db.connection, statement)
                })
            }
            Work::Script { sql, finish } => {
                may_write(read_only)?;
                run_script(&db.connection, sql)?;
                Ok(finish())
            }
            Work::Closure(closure) => {
                let closure = closure.take().ok_or(Error::HandleEnded)?;
                self.exposed.store(true, Ordering::Relaxed);
                // Settings that leave no trace are discarded with the connection.
                db.guard.set_single_use();
                let run = || closure(&db.connection);
                if self.access == Access::Connection {
                    run()
                } else if read_only && self.access == Access::Write {
                    without_writing(db, || with_its_settings(db, run))
                } else {
                    with_its_settings(db, run)
                }
            }
        }
    }

    /// Prepares one statement and runs it, if the body may.
    #[inline]
    fn prepared<T>(
        &self,
        db: &Db,
        sql: &str,
        read_only: bool,
        run: Run,
        finish: impl FnOnce(&mut rusqlite::Statement<'_>) -> Result<T>,
    ) -> Result<T> {
        let (mut once, mut cached);
        let statement: &mut rusqlite::Statement<'_> = if is_long(sql) {
            once = db.connection.prepare(sql).map_err(Error::of_text)?;
            &mut once
        } else {
            cached = db.connection.prepare_cached(sql).map_err(Error::of_text)?;
            &mut cached
        };
        if statement.readonly() {
            match run {
                Run::Fused => db.guard.set_fuse(FUSE),
                Run::Here => {}
                Run::OnThread => self.conn.allow_interrupt(),
            }
        } else if !(read_only && only_asks(sql)) {
            may_write(read_only)?;
        }
        if db.tracks() {
            db.guard.set_runs(true);
        }
        finish(statement).map_err(|error| why(error, statement))
    }

    /// The library's own message for what a transaction does not allow.
    fn explain(&self, db: &Db, error: Error) -> Error {
        let vacuum = Some("cannot VACUUM from within a transaction");
        if self.access != Access::Connection && error.sqlite_message() == vacuum {
            return Error::Refused {
                what: "VACUUM",
                why: "it cannot run in a transaction; use a method with `db: &mut Connection`",
            };
        }
        if db.guard.take_refused_temp() {
            // The call can be made again. It then has a transaction of its own.
            self.set_exclusive();
            return Error::BatchLost { by: self.method };
        }
        db.guard.explain(error)
    }

    /// Notes what a statement without a transaction has left in the connection: nothing.
    fn inspect_alone<R>(&self, db: &Db, result: Result<R>) -> Result<R> {
        let result = result.map_err(|error| self.lost_or(self.explain(db, error)));
        if matches!(&result, Err(error) if self.can_wait_for(error)) {
            return result;
        }
        self.note_ran_alone(db);
        result
    }

    pub(super) fn note_ran_alone(&self, db: &Db) {
        self.ran_alone.store(true, Ordering::Relaxed);
        let is_over = db.connection.is_autocommit() && !db.guard.is_single_use();
        self.used.store(!is_over, Ordering::Relaxed);
    }

    /// Checks the transaction after every statement: SQLite may have ended it.
    fn inspect<T, R>(&self, db: &Db, work: &Work<'_, T>, result: Result<R>) -> Result<R> {
        let result = result.map_err(|error| self.lost_or(self.explain(db, error)));
        if matches!(&result, Err(error) if self.can_wait_for(error)) {
            return result;
        }
        if self.access == Access::Connection {
            return result;
        }
        if db.connection.is_autocommit() {
            let cause = match &result {
                Err(error) => error.clone(),
                Ok(_) => Error::other("the transaction was ended inside the call"),
            };
            return Err(self.end_with(Error::TransactionLost {
                cause: cause.cause(),
            }));
        }
        if work.sql().is_none() {
            if !db.restore_guard() {
                self.tainted.store(true, Ordering::Relaxed);
                return Err(self.end_with(Error::Refused {
                    what: "replacing the connection's authorizer",
                    why: "it keeps the transaction safe",
                }));
            }
            if db.connection.is_busy() {
                self.unfinished.store(true, Ordering::Relaxed);
            }
        }
        if db.guard.take_may_shadow() {
            // Calls that joined its transaction would see its TEMP objects.
            self.set_exclusive();
            if hides_a_table(&db.connection)? {
                return Err(self.end_with(Error::Refused {
                    what: "a TEMP table or view with the name of a real one",
                    why: "what is written to that name would be gone with the call; give it another one",
                }));
            }
        }
        self.begun.store(true, Ordering::Relaxed);
        result
    }

    /// Ends the session for its body, with an error that it may have received already.
    pub(super) fn end_with(&self, error: Error) -> Error {
        self.lose(error);
        self.lost_or(Error::HandleEnded)
    }
}

fn may_write(read_only: bool) -> Result<()> {
    if read_only {
        return Err(Error::refused(Refusal::Write));
    }
    Ok(())
}

/// Whether a text is a query and nothing else. Not every query begins with this word.
fn is_select(sql: &str) -> bool {
    begins_with(sql, "select")
}

/// The error of a statement that failed. From a text without any SQL, rusqlite makes a statement without a text, which
/// SQLite does not run.
#[cold]
fn why(error: Error, statement: &rusqlite::Statement<'_>) -> Error {
    if error.sqlite_code() == Some(ffi::SQLITE_MISUSE) && statement.expanded_sql().is_none() {
        return Error::SqlText {
            message: "is empty",
        };
    }
    error.of_run()
}

/// Resets what a closure has turned on or off in the connection.
fn with_its_settings<T>(db: &Db, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let settings = Settings::of(&db.connection);
    let result = catch_unwind(AssertUnwindSafe(run));
    settings.restore(&db.connection);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A closure of a read method inside a write transaction gets the writer's connection, where a cached statement
/// would pass the authorizer.
fn without_writing<T>(db: &Db, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let set = |on: &str| {
        db.guard.permit(Permission::Everything);
        let result = db
            .connection
            .execute_batch(&format!("PRAGMA query_only = {on}"));
        db.guard.permit(Permission::InTransaction);
        result
    };
    set("ON")?;
    let result = catch_unwind(AssertUnwindSafe(run));
    set("OFF")?;
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A PRAGMA without a value, which SQLite may count as a write: `PRAGMA journal_mode` is one.
fn only_asks(sql: &str) -> bool {
    begins_with(sql, "pragma") && !sql.contains(['=', '('])
}

pub(super) fn is_interrupt(error: &Error) -> bool {
    error.primary_code() == Some(ErrorCode::OperationInterrupted)
}
