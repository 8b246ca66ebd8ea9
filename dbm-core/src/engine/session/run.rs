//! Where a statement runs.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attempt::{Attempt, Run};
use super::dispatch::JobKind;
use super::{Access, HasSession, Session};
use crate::config::Execution;
use crate::engine::connection::SlotGuard;
use crate::engine::db::Db;
use crate::engine::guard::Permission;
use crate::engine::statement::{Expected, Work, reads_single_rows};
use crate::error::{Error, Result};

/// The result of trying to run a statement where the task is.
pub(crate) enum Tried<T> {
    Done(std::thread::Result<Result<T>>),
    /// Nothing was done. Ask again once the call has a transaction, which it does not share.
    NotYet,
    /// It needs the worker thread: it may take long, or something is in its way.
    NotHere,
}

impl Session {
    /// Runs a statement, where the task is or on the worker thread.
    ///
    /// `dropped` is called if the future is dropped while the statement may be running.
    pub(crate) async fn run<T: Send + 'static>(
        this: &Arc<impl HasSession>,
        mut work: Work<'_, T>,
        read_only: bool,
        dropped: &(dyn Fn() + Sync),
    ) -> Result<T> {
        let session = this.session();
        session.check()?;
        if session.access == Access::Read && work.sql().is_none() {
            // A closure cannot be run again after it has met another process's lock.
            Self::take_snapshot(this).await?;
        }
        match session.try_here(&mut work, read_only, false) {
            Tried::Done(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
            Tried::NotYet | Tried::NotHere => {
                Self::run_on_lane(this, work, read_only, dropped).await
            }
        }
    }

    /// Decides where a statement runs, and runs it if that is here and now: nothing is in its way, it is known to be
    /// short, and it harms no other call where it `shares`.
    pub(crate) fn try_here<T>(
        &self,
        work: &mut Work<'_, T>,
        read_only: bool,
        shares: bool,
    ) -> Tried<T> {
        if self.access == Access::Connection {
            return Tried::NotHere;
        }
        let is_unwrapped = self.is_unwrapped();
        let not_here = if is_unwrapped {
            Tried::NotYet
        } else {
            Tried::NotHere
        };
        let Some(mut slot) = self.slot_here() else {
            return not_here;
        };
        let db = match self.db(&mut slot) {
            Ok(db) => db,
            Err(error) => return Tried::Done(Ok(Err(error))),
        };
        if is_unwrapped && !self.may_run_unwrapped(db, work) {
            return Tried::NotYet;
        }
        let force = self.execution() == Execution::Inline;
        if shares || !force {
            let permission = self.permission(read_only);
            match expect(db, work, shares, force, permission) {
                Expected::Harmful => return Tried::NotYet,
                Expected::Long if !force => return not_here,
                Expected::Long | Expected::Short => {}
            }
        }
        let run = if force { Run::Here } else { Run::Fused };
        match self.attempt(db, work, read_only, run) {
            Attempt::Done(Ok(Err(error))) if self.can_wait_for(&error) => Tried::NotHere,
            Attempt::Done(result) => Tried::Done(result),
            Attempt::TooLong => Tried::NotHere,
            Attempt::InTransaction => Tried::NotYet,
        }
    }

    /// Runs a statement on the worker thread, after the jobs that are there.
    ///
    /// `dropped` is called if the future is dropped while the statement may be running.
    pub(crate) async fn run_on_lane<T: Send + 'static>(
        this: &Arc<impl HasSession>,
        work: Work<'_, T>,
        read_only: bool,
        dropped: &(dyn Fn() + Sync),
    ) -> Result<T> {
        if this.session().access == Access::Read {
            Self::take_snapshot(this).await?;
        }
        this.session().offloaded.fetch_add(1, Ordering::Relaxed);
        let mut work = work.into_owned();
        let run = move |session: &Self, db: &mut Db| match session.attempt(
            db,
            &mut work,
            read_only,
            Run::OnThread,
        ) {
            Attempt::Done(result) => result,
            Attempt::TooLong | Attempt::InTransaction => Ok(Err(Error::HandleEnded)),
        };
        let result = Self::on_worker(this, JobKind::Statement { dropped }, run).await?;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs the library's own work on this connection: here if it is free, otherwise after what runs there.
    pub(crate) async fn control<R: Send + 'static>(
        this: &Arc<impl HasSession + ?Sized>,
        work: impl FnOnce(&Self, &mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        let session = this.session();
        if let Some(mut slot) = session.slot_here() {
            return session.control_here(&mut slot, work);
        }
        Box::pin(Self::on_worker(this, JobKind::Control, work)).await
    }

    /// Runs the library's own work on the connection that is locked.
    pub(crate) fn control_here<R>(
        &self,
        slot: &mut SlotGuard<'_>,
        work: impl FnOnce(&Self, &mut Db) -> R,
    ) -> Result<R> {
        Ok(work(self, self.db(slot)?))
    }

    /// The same for work that takes longer the larger the file is: never where the task is.
    pub(crate) async fn control_on_lane<R: Send + 'static>(
        this: &Arc<impl HasSession>,
        work: impl FnOnce(&Self, &mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        Self::on_worker(this, JobKind::Control, work).await
    }

    /// The connection, if nothing is in its way and not everything should run on the worker thread.
    pub(crate) fn slot_here(&self) -> Option<SlotGuard<'_>> {
        if self.execution() == Execution::Offload {
            return None;
        }
        self.conn.try_lock()
    }
}

/// With `force` it runs here however long it takes, and its plan does not matter.
fn expect<T>(
    db: &mut Db,
    work: &Work<'_, T>,
    shares: bool,
    force: bool,
    permission: Permission,
) -> Expected {
    let Some(sql) = work.sql() else {
        return Expected::Long;
    };
    let (connection, guard) = (&db.connection, &db.guard);
    db.timings.expect(sql, work.runs(), shares, || {
        if force || !work.is_one_statement() {
            return false;
        }
        // On behalf of the body: the cache keeps what is prepared here.
        guard.permit(permission);
        let short = reads_single_rows(connection, sql);
        guard.permit(Permission::Everything);
        short
    })
}
