//! Where a statement runs.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attempt::Attempt;
use super::dispatch::JobKind;
use super::{Access, Session};
use crate::config::Execution;
use crate::engine::connection::SlotGuard;
use crate::engine::db::Db;
use crate::engine::guard::Permission;
use crate::engine::statement::{Expected, Work, reads_single_rows};
use crate::error::{Error, Result};

/// The result of trying to run a statement where the task is.
pub(crate) enum Tried<T> {
    Done(std::thread::Result<Result<T>>),
    /// It must not share a transaction, and nothing was done. Ask again once the transaction is not shared.
    MustBeAlone,
    /// It needs the worker thread: it may take long, or something is in its way.
    NotHere,
}

impl Session {
    /// Runs a statement, where the task is or on the worker thread.
    ///
    /// `dropped` is called if the future is dropped while the statement may be running.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        mut work: Work<'_, T>,
        read_only: bool,
        dropped: &(dyn Fn() + Sync),
    ) -> Result<T> {
        self.check()?;
        if self.access == Access::Read && work.sql().is_none() {
            // A closure cannot be run again after it has met another process's lock.
            self.take_snapshot().await?;
        }
        match self.try_here(&mut work, read_only, false) {
            Tried::Done(result) => result.unwrap_or_else(|panic| resume_unwind(panic)),
            Tried::MustBeAlone | Tried::NotHere => self.run_on_lane(work, read_only, dropped).await,
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
        let Some(mut slot) = self.slot_here() else {
            return Tried::NotHere;
        };
        let db = match slot.owned_by(self.id) {
            Ok(db) => db,
            Err(error) => return Tried::Done(Ok(Err(self.lost_or(error)))),
        };
        let force = self.execution == Execution::Inline;
        if shares || !force {
            let permission = self.permission(read_only);
            match expect(db, work, shares, force, permission) {
                Expected::Harmful => return Tried::MustBeAlone,
                Expected::Long if !force => return Tried::NotHere,
                Expected::Long | Expected::Short => {}
            }
        }
        match self.attempt(db, work, read_only, !force) {
            Attempt::Done(Ok(Err(error))) if self.can_wait_for(&error) => Tried::NotHere,
            Attempt::Done(result) => Tried::Done(result),
            Attempt::TooLong => Tried::NotHere,
        }
    }

    /// Runs a statement on the worker thread, after the jobs that are there.
    ///
    /// `dropped` is called if the future is dropped while the statement may be running.
    pub(crate) async fn run_on_lane<T: Send + 'static>(
        self: &Arc<Self>,
        work: Work<'_, T>,
        read_only: bool,
        dropped: &(dyn Fn() + Sync),
    ) -> Result<T> {
        if self.access == Access::Read {
            self.take_snapshot().await?;
        }
        self.offloaded.fetch_add(1, Ordering::Relaxed);
        let (this, mut work) = (Arc::clone(self), work.into_owned());
        let result = self
            .on_worker(JobKind::Statement { dropped }, move |db| {
                match this.attempt(db, &mut work, read_only, false) {
                    Attempt::Done(result) => result,
                    Attempt::TooLong => Ok(Err(Error::HandleEnded)),
                }
            })
            .await?;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs the library's own work on this connection: here if it is free, otherwise after what runs there.
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
        Box::pin(self.on_worker(JobKind::Control, work)).await
    }

    /// The same for work that takes longer the larger the file is: never where the task is.
    pub(crate) async fn control_on_lane<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Db) -> R + Send + 'static,
    ) -> Result<R> {
        self.on_worker(JobKind::Control, work).await
    }

    /// The connection, if nothing is in its way and not everything should run on the worker thread.
    fn slot_here(&self) -> Option<SlotGuard<'_>> {
        if self.execution == Execution::Offload {
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
