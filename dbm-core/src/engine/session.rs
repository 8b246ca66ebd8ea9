//! One call's use of one connection: decides where each statement runs and looks after the transaction.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use tokio::sync::oneshot;

use super::connection::{CONTROL, Conn, Db, OwnerId, Slot, next_id};
use super::guard::Permission;
use super::open::is_busy;
use super::statement::{FUSE, Work, is_harmless, reads_single_rows};
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
    wrote: AtomicBool,
    /// Others have done work in the same transaction that waits for its commit.
    shared: AtomicBool,
    /// A closure had the bare connection in its hands.
    exposed: AtomicBool,
    unshareable: AtomicBool,
    /// A closure has replaced what guards the connection.
    tainted: AtomicBool,
    /// The body's work is part of the transaction that will be committed.
    settled: AtomicBool,
    first_rowid: AtomicI64,
    last_rowid: AtomicI64,
    /// Microseconds spent in statements.
    spent: AtomicU64,
    /// Statements and nested calls under way; a body that waits while there are none waits for something else.
    active: AtomicUsize,
    lost: OnceLock<Error>,
    /// The newest error of a statement, for the span of a call whose body passes it on.
    failure: Mutex<Option<Error>>,
    late_answer: Mutex<Option<Arc<Ending>>>,
}

/// The result of one attempt to run something.
enum Attempt<T> {
    Done(std::thread::Result<Result<T>>),
    /// The fuse blew: run it again on the lane.
    TooLong,
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
            wrote: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            exposed: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
            unshareable: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            first_rowid: AtomicI64::new(0),
            last_rowid: AtomicI64::new(0),
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

    /// Nothing has been read yet and another process is in the way: the snapshot can be waited for.
    fn can_wait_for(&self, error: &Error) -> bool {
        self.kind == Kind::Read && is_busy(error) && !self.begun.load(Ordering::Relaxed)
    }

    fn attempt<T>(
        &self,
        db: &mut Db,
        work: &mut Work<'_, T>,
        read_only: bool,
        fuse: bool,
    ) -> Attempt<T> {
        if self.kind == Kind::Read
            && db.connection.is_autocommit()
            && self.check().is_ok()
            && let Err(error) = db.control(&CONTROL.begin_read)
        {
            return Attempt::Done(Ok(Err(error)));
        }
        if self.kind != Kind::Connection {
            db.guard.permit(Permission::InTransaction);
        }
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.perform(db, work, read_only, fuse.then_some(started + FUSE))
        }));
        let took = started.elapsed();
        let blown = db.guard.take_fuse();
        self.note_rowid(db, work);
        // Still as the body, whom the authorizer may refuse.
        if let (Some(sql), true) = (work.sql(), blown || matches!(result, Ok(Ok(_)))) {
            let (connection, whole) = (&db.connection, matches!(work, Work::Statement { .. }));
            let took = if blown { 10 * took } else { took };
            db.profiles
                .record(sql, took, fuse, || whole && is_harmless(connection, sql));
        }
        db.guard.permit(Permission::Everything);
        self.spent
            .fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        match result {
            Ok(Err(error)) if blown && is_interrupt(&error) => Attempt::TooLong,
            Ok(result) => Attempt::Done(Ok(self.inspect(db, work, result))),
            Err(panic) => {
                // What it left behind is looked at all the same.
                let _ = self.inspect(db, work, Ok(()));
                Attempt::Done(Err(panic))
            }
        }
    }

    fn perform<T>(
        &self,
        db: &Db,
        work: &mut Work<'_, T>,
        read_only: bool,
        fuse: Option<Instant>,
    ) -> Result<T> {
        match work {
            Work::Statement {
                sql,
                params,
                finish,
            } => {
                let mut statement = db.connection.prepare_cached(sql).map_err(Error::from)?;
                if statement.readonly() {
                    match fuse {
                        Some(fuse) => db.guard.set_fuse(fuse),
                        None => self.conn.allow_interrupt(),
                    }
                } else if !(read_only && only_asks(sql)) {
                    self.about_to_write(db, read_only)?;
                }
                params.bind(&mut statement)?;
                finish(&mut statement)
            }
            Work::Script { sql, finish } => {
                self.about_to_write(db, read_only)?;
                db.connection.execute_batch(sql)?;
                Ok(finish())
            }
            Work::Closure(closure) => {
                let closure = closure.take().ok_or(Error::HandleEnded)?;
                self.exposed.store(true, Ordering::Relaxed);
                if read_only && self.kind == Kind::Write {
                    return without_writing(db, || closure(&db.connection));
                }
                self.note_write(db);
                closure(&db.connection)
            }
        }
    }

    fn about_to_write(&self, db: &Db, read_only: bool) -> Result<()> {
        if read_only {
            return Err(Error::Refused {
                what: "a write",
                why: "this method has `db: &mut ReadTransaction`",
            });
        }
        self.note_write(db);
        Ok(())
    }

    fn note_write(&self, db: &Db) {
        if !self.wrote.swap(true, Ordering::Relaxed) {
            self.first_rowid
                .store(db.connection.last_insert_rowid(), Ordering::Relaxed);
        }
    }

    /// Looks at the transaction after every statement: SQLite may have ended it.
    fn inspect<T, R>(&self, db: &Db, work: &Work<'_, T>, result: Result<R>) -> Result<R> {
        let result = result.map_err(|error| self.lost_or(db.guard.explain(error)));
        if matches!(&result, Err(error) if self.can_wait_for(error)) {
            return result;
        }
        if self.kind == Kind::Connection {
            return result;
        }
        if db.connection.is_autocommit() {
            let cause = match &result {
                Err(error) => error.clone(),
                Ok(_) => Error::other("the transaction was ended inside the call"),
            };
            self.lose(Error::TransactionLost {
                cause: cause.cause(),
            });
            return Err(self.lost_or(Error::HandleEnded));
        }
        if work.sql().is_none() && !db.restore_guard() {
            self.tainted.store(true, Ordering::Relaxed);
            self.lose(Error::Refused {
                what: "replacing the connection's authorizer",
                why: "it keeps the transaction safe",
            });
            return Err(self.lost_or(Error::HandleEnded));
        }
        self.begun.store(true, Ordering::Relaxed);
        result
    }

    /// SQLite's own memory of the last row id goes back beyond this call.
    fn note_rowid<T>(&self, db: &Db, work: &Work<'_, T>) {
        if !self.wrote.load(Ordering::Relaxed) {
            return;
        }
        let rowid = db.connection.last_insert_rowid();
        let inserted = work.inserts() && db.connection.changes() > 0;
        if inserted || rowid != self.first_rowid.load(Ordering::Relaxed) {
            self.last_rowid.store(rowid, Ordering::Relaxed);
        }
    }

    /// Opens the read transaction now, waiting for another process if need be.
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
        if self.kind != Kind::Read || self.begun.load(Ordering::Relaxed) {
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

    /// Opens the write transaction.
    pub(crate) async fn begin_write(self: &Arc<Self>) -> Result<()> {
        self.retry_while_busy(|db| db.control(&CONTROL.begin_write))
            .await
    }

    async fn retry_while_busy(self: &Arc<Self>, attempt: fn(&mut Db) -> Result<()>) -> Result<()> {
        match self.control(attempt).await? {
            Err(error) if is_busy(&error) => Box::pin(self.keep_trying(attempt, error)).await,
            result => result,
        }
    }

    /// SQLite's own busy handler would sleep in the worker and could not be cancelled.
    async fn keep_trying(
        self: &Arc<Self>,
        attempt: fn(&mut Db) -> Result<()>,
        mut error: Error,
    ) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        while started.elapsed() < self.busy_timeout {
            tokio::time::sleep(pause.min(self.busy_timeout.saturating_sub(started.elapsed())))
                .await;
            pause = (pause * 2).min(Duration::from_millis(20));
            match self.control(attempt).await? {
                Err(busy) if is_busy(&busy) => error = busy,
                result => return result,
            }
        }
        Err(error.or_busy(started.elapsed()))
    }

    /// The connection, where nothing is in its way and not everything is to run on the lane.
    fn slot_here(&self) -> Option<MutexGuard<'_, Slot>> {
        if self.execution == Execution::Offload {
            return None;
        }
        self.conn.try_lock()
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

    /// Sends work to the lane and waits for its result. A statement whose caller has gone before its turn came is
    /// not run; the library's own work always is.
    async fn on_lane<R: Send + 'static>(
        self: &Arc<Self>,
        errand: Errand<'_>,
        work: impl FnOnce(&mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        let (this, job) = (Arc::clone(self), next_id());
        let is_statement = matches!(errand, Errand::Statement { .. });
        let mut guard = InterruptOnDrop {
            session: self,
            job,
            errand,
            abandoned: Arc::new(AtomicBool::new(false)),
            armed: true,
        };
        let abandoned = Arc::clone(&guard.abandoned);
        let run = move || {
            let is_wanted =
                || !is_statement || (!abandoned.load(Ordering::SeqCst) && this.check().is_ok());
            let interruptible = is_statement && !this.is_shared();
            let owner = is_statement.then_some(this.id);
            match this.conn.lock().owned_by(this.id) {
                Ok(db) => this
                    .conn
                    .as_job(job, owner, interruptible, is_wanted, || work(db))
                    .ok_or_else(|| this.lost_or(Error::HandleEnded)),
                Err(error) => Err(this.lost_or(error)),
            }
        };
        let posted = self.conn.post(run, |result| drop(sender.send(result)));
        posted.map_err(|error| self.lost_or(error))?;
        let result = receiver.await;
        guard.armed = false;
        result.unwrap_or_else(|_| Err(self.lost_or(Error::HandleEnded)))
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

    /// Whether an error or a closure has spoilt the connection.
    pub(crate) fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
    }

    pub(crate) fn set_failure(&self, error: &Error, read_only: bool) {
        // Once SQLite could not open, lock or unlock a file it goes on like that for as long as it is open: read-only,
        // or locked for nobody.
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
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Notes that the call's work was taken over or undone; true when it was before.
    pub(crate) fn settle(&self) -> bool {
        self.settled.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Undoing takes about as long as doing: too long for a destructor, unless everything is to run where the task is.
    pub(crate) fn has_worked_long(&self) -> bool {
        self.execution != Execution::Inline && self.spent.load(Ordering::Relaxed) > 1_000
    }

    pub(crate) fn last_rowid(&self) -> i64 {
        self.last_rowid.load(Ordering::Relaxed)
    }

    /// Where the answer comes from when others have committed this call's work.
    pub(crate) fn set_late_answer(&self, answer: Arc<Ending>) {
        *self
            .late_answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    pub(crate) fn take_late_answer(&self) -> Option<Arc<Ending>> {
        self.late_answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    pub(crate) fn set_unshareable(&self) {
        self.unshareable.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether a statement has run.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    pub(crate) fn is_unshareable(&self) -> bool {
        self.unshareable.load(Ordering::Relaxed)
    }

    /// Whether a closure has left a statement open, which only a new connection is free of.
    pub(crate) fn has_left_something(&self, db: &Db) -> bool {
        self.exposed.load(Ordering::Relaxed) && db.connection.is_busy()
    }

    /// Whether the connection must not be used again.
    pub(crate) fn is_unclean(&self, db: &Db) -> bool {
        self.is_tainted() || self.has_left_something(db)
    }

    /// Discards a connection that must not be used again.
    pub(crate) fn discard_if_unclean(&self) {
        if self.is_shared() {
            return;
        }
        let mut slot = self.conn.lock();
        if slot.owned_by(self.id).is_ok_and(|db| self.is_unclean(db)) {
            slot.discard();
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

/// What is sent to the lane.
enum Errand<'a> {
    /// A body's statement; `dropped` is called when its future goes away before it has ended.
    Statement { dropped: &'a (dyn Fn() + Sync) },
    /// The library's own work.
    Control,
}

struct InterruptOnDrop<'a> {
    session: &'a Session,
    job: u64,
    errand: Errand<'a>,
    abandoned: Arc<AtomicBool>,
    armed: bool,
}

impl Drop for InterruptOnDrop<'_> {
    fn drop(&mut self) {
        if let (true, Errand::Statement { dropped }) = (self.armed, &self.errand) {
            dropped();
            self.abandoned.store(true, Ordering::SeqCst);
            self.session.conn.interrupt(self.job);
        }
    }
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

/// A PRAGMA without a value, which SQLite may count as a write: `PRAGMA journal_mode` is one.
fn only_asks(sql: &str) -> bool {
    let sql = sql.trim_start();
    sql.get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("pragma"))
        && !sql.contains(['=', '('])
}

fn is_interrupt(error: &Error) -> bool {
    error.primary_code() == Some(ErrorCode::OperationInterrupted)
}

fn begin_read(db: &mut Db) -> Result<()> {
    if db.connection.is_autocommit() {
        db.control(&CONTROL.begin_read)?;
    }
    db.control(&CONTROL.snapshot)
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::super::Engine;
    use super::*;
    use crate::config::Config;

    #[test]
    fn only_errors_of_the_file_spoil_the_connection() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let engine = Engine::in_memory(&Config::in_memory()).unwrap();
        let spoils = |code, read_only| {
            let (conn, auto) = (Arc::clone(&engine.writer.conn), Execution::Auto);
            let none = Duration::ZERO;
            let session = Session::new(conn, next_id(), Kind::Write, "meets", auto, none, &COUNT);
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
