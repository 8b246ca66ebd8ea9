//! One SQLite connection. Its owner of the moment uses it where the task is, or on its worker thread.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::{self, Thread};

use rusqlite::InterruptHandle;
use tokio::sync::oneshot;

use super::counts::EngineCounts;
use super::db::Db;
use super::guard::Guard;
use super::idle;
use super::inside::{self, InsideGuard};
use super::open::{Role, SharedOpener, is_busy};
use super::worker_thread::WorkerThread;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::live::LiveReads;
use crate::sync::lock;
use crate::waking::contained;

/// Identifies the owner of a connection; never used twice. Two values are no call's id.
pub(crate) type OwnerId = u64;

/// Nobody owns the connection, and the next call may have it.
const VACANT: OwnerId = 0;
/// Nobody owns the connection, and it must be opened before a call has it.
const NOT_READY: OwnerId = u64::MAX;
/// Owns the slot of a thread that is inside already.
static NOBODYS: AtomicU64 = AtomicU64::new(NOT_READY);

/// A connection and the thread for its slow work.
///
/// The lock is held for one statement or COMMIT, never across an await. Only the owner's statements run. A session that
/// no longer owns the connection (its call has ended, or it was evicted) gets an error under the same lock. So does code
/// of the program that a statement runs, if it comes back to the connection: see [`inside`].
///
/// The owner changes under the lock, with two exceptions: a read takes a reader that is vacant, and leaves it vacant
/// again if it has left nothing in it.
#[repr(align(128))]
pub(crate) struct Conn {
    role: Role,
    opener: SharedOpener,
    owner: AtomicU64,
    slot: Mutex<Slot>,
    /// A closed slot without an owner, for a thread that is inside of `slot` already. Nothing ever runs on it.
    nobodys: Mutex<Slot>,
    worker: WorkerThread,
    /// Jobs on the worker thread that have not ended. While there are any, nothing runs inline.
    pending: AtomicUsize,
    running: Mutex<Running>,
}

pub(crate) struct Slot {
    db: Option<Db>,
    closed: bool,
    /// A call has had it since the last check for idle connections.
    used: bool,
}

/// Exclusive access to a slot.
pub(crate) struct SlotGuard<'a> {
    slot: MutexGuard<'a, Slot>,
    owner: &'a AtomicU64,
    _inside: Option<InsideGuard>,
}

/// The job that may be interrupted. An interrupt is sent under this lock, so it never hits a later job.
#[derive(Default)]
struct Running {
    job: Option<u64>,
    /// The owner whose statement the job is. `None` for the library's own work, which ends soon.
    owner: Option<OwnerId>,
    interruptible: bool,
    unwanted: bool,
    handle: Option<(InterruptHandle, Arc<Guard>)>,
    /// The job's thread, which may be parked while it waits for a stream's rows to be taken.
    thread: Option<Thread>,
}

impl Conn {
    pub(crate) fn new(role: Role, opener: SharedOpener) -> Arc<Self> {
        Arc::new(Self {
            role,
            opener,
            owner: AtomicU64::new(NOT_READY),
            slot: Mutex::new(Slot::new(false)),
            nobodys: Mutex::new(Slot::new(true)),
            worker: WorkerThread::default(),
            pending: AtomicUsize::new(0),
            running: Mutex::default(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.opener.config
    }

    pub(crate) fn counts(&self) -> &EngineCounts {
        &self.opener.counts
    }

    /// Fails when the file is not the one that was opened first.
    pub(crate) fn check_identity(&self) -> Result<()> {
        self.opener.check_identity()
    }

    /// Locks the slot. A thread that is inside of it already gets the slot without an owner, instead of a deadlock.
    #[inline]
    pub(crate) fn lock(&self) -> SlotGuard<'_> {
        let inside = self.enter();
        let (slot, owner) = if inside.is_some() {
            (&self.slot, &self.owner)
        } else {
            (&self.nobodys, &NOBODYS)
        };
        SlotGuard {
            slot: lock(slot),
            owner,
            _inside: inside,
        }
    }

    /// Gives a connection that is ready to a read that has the permit for it. False if it must be opened first.
    pub(crate) fn take(&self, reader: OwnerId) -> bool {
        self.change_owner(VACANT, reader)
    }

    /// Takes the connection back from a read that has left nothing in it. False if the read no longer has it.
    pub(crate) fn take_back_unused(&self, reader: OwnerId) -> bool {
        self.change_owner(reader, VACANT)
    }

    fn change_owner(&self, from: OwnerId, to: OwnerId) -> bool {
        // AcqRel: what one owner has done happens before what the next one does.
        let (order, failed) = (Ordering::AcqRel, Ordering::Relaxed);
        self.owner.compare_exchange(from, to, order, failed).is_ok()
    }

    #[inline]
    fn enter(&self) -> Option<InsideGuard> {
        inside::enter(self.opener.manager, std::ptr::from_ref(self).addr())
    }

    pub(crate) fn live(&self) -> &Arc<LiveReads> {
        &self.opener.live
    }

    /// The method whose statement this thread is running on this connection, or the hook that is opening one.
    pub(crate) fn is_run_here(&self) -> Option<&'static str> {
        inside::of_connection(self.opener.manager, std::ptr::from_ref(self).addr())
    }

    /// The slot, if nothing runs or waits on the worker thread and no other thread has it locked. Never blocks.
    pub(crate) fn try_lock(&self) -> Option<SlotGuard<'_>> {
        if self.has_pending() {
            return None;
        }
        let inside = self.enter()?;
        let slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(SlotGuard {
            slot,
            owner: &self.owner,
            _inside: Some(inside),
        })
    }

    /// The same, if the connection has no owner either. It is vacant again once it is [taken back](SlotGuard::take_back).
    pub(crate) fn try_lock_idle(&self) -> Option<SlotGuard<'_>> {
        let slot = self.try_lock()?;
        let is_idle = self.change_owner(VACANT, NOT_READY) || slot.belongs_to(NOT_READY);
        is_idle.then_some(slot)
    }

    /// Whether nothing runs on the connection, and nobody owns it.
    pub(crate) fn is_idle(&self) -> bool {
        self.try_lock().is_some_and(|slot| slot.has_no_owner())
    }

    /// The writer's slot, if no call has the writer. For the worker thread: it waits for a statement that runs elsewhere.
    pub(crate) fn lock_idle(&self) -> Option<SlotGuard<'_>> {
        let mut slot = self.lock();
        slot.used = true;
        slot.has_no_owner().then_some(slot)
    }

    pub(crate) fn has_pending(&self) -> bool {
        // Acquire: the partner of the decrement in `Pending::drop`. The connection itself is protected by the slot's
        // lock.
        self.pending.load(Ordering::Acquire) > 0
    }

    /// Runs a job on the worker thread, after all jobs before it. Once the connection is free again, calls `then` with
    /// the result.
    pub(crate) fn post<R>(
        self: &Arc<Self>,
        job: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(R) + Send + 'static,
    ) -> Result<()> {
        let pending = Pending::new(self);
        self.worker.post(move || {
            let result = job();
            drop(pending);
            then(result);
        })
    }

    /// Runs a job on the worker thread, or here if the system cannot start a thread.
    pub(crate) fn post_or_run<R>(
        self: &Arc<Self>,
        job: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(R) + Send + 'static,
    ) {
        if self.has_worker() {
            let _ = self.post(job, then);
        } else {
            contained(|| then(job()));
        }
    }

    /// Whether a posted job will run.
    pub(crate) fn has_worker(&self) -> bool {
        self.worker.start().is_ok()
    }

    pub(crate) fn thread(&self) -> &WorkerThread {
        &self.worker
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().db.is_some()
    }

    /// The slot of an open connection that is ready for another call, to take it over: nothing runs on it. `None` while
    /// the worker thread has work, because an open may hold the lock for long.
    pub(crate) fn lock_open(&self) -> Option<SlotGuard<'_>> {
        if self.has_pending() {
            return None;
        }
        // The program's functions, and what they own, are dropped with a connection that has served.
        let mut slot = self.lock();
        if slot.has_served() {
            slot.discard();
        }
        slot.db.is_some().then_some(slot)
    }

    /// Opens the connection without blocking the runtime's worker.
    pub(crate) async fn open_on_worker(self: &Arc<Self>) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let opening = Arc::clone(self);
        self.post(move || opening.open(), |result| drop(sender.send(result)))?;
        receiver.await.unwrap_or(Err(Error::HandleEnded))
    }

    /// Opens the connection if it is not open; blocks for file operations, so it belongs on the worker thread.
    pub(crate) fn open(&self) -> Result<()> {
        let mut slot = self.lock();
        if slot.has_served() {
            slot.discard();
        }
        if slot.db.is_some() {
            self.change_owner(NOT_READY, VACANT);
            return Ok(());
        }
        if slot.closed {
            return Err(Error::HandleEnded);
        }
        let db = self.opener.open(self.role)?;
        // SQLite may have to read the log again, and retries for seconds if it cannot. That must not happen where the
        // task is. A process that is merely in the way is no fault.
        match db.take_snapshot() {
            Err(error) if !is_busy(&error) => Err(error),
            _ => {
                self.install(&mut slot, db);
                Ok(())
            }
        }
    }

    /// Replaces a connection that has served its one call, before another call waits for it.
    pub(crate) fn replace_beside(self: &Arc<Self>) {
        let conn = Arc::clone(self);
        let replace = move || {
            let slot = conn.lock();
            if slot.belongs_to(NOT_READY) && slot.has_served() {
                drop(slot);
                // If no connection can be opened, the next call gets the error.
                let _ = conn.open();
            }
        };
        let _ = self.post(replace, drop);
    }

    /// Takes over an open connection, unless this one was closed for good.
    pub(crate) fn take_over(&self, db: Db) {
        let mut slot = self.lock();
        if !slot.closed {
            self.install(&mut slot, db);
        }
    }

    fn install(&self, slot: &mut Slot, db: Db) {
        self.running().handle = Some((db.connection.get_interrupt_handle(), Arc::clone(&db.guard)));
        slot.db = Some(db);
        slot.used = true;
        self.change_owner(NOT_READY, VACANT);
        idle::tell_of_open();
    }

    /// Closes the connection, and ends the thread, if it was not used since the last call of this. False if something is
    /// left for the next one.
    pub(crate) fn rest(&self) -> bool {
        let thread_has_ended = self.worker.rest(|| !self.has_pending());
        let Some(mut slot) = self.try_lock_idle() else {
            return false;
        };
        if std::mem::take(&mut slot.used) {
            slot.take_back();
            return false;
        }
        // The work of other calls may wait in a transaction for its commit.
        let is_over = slot
            .db
            .as_ref()
            .is_some_and(|db| db.connection.is_autocommit());
        if is_over {
            slot.discard();
        } else {
            slot.take_back();
        }
        slot.db.is_none() && thread_has_ended
    }

    /// Closes for good; nothing runs on it any more.
    pub(crate) fn close(&self) {
        let db = {
            let mut slot = self.lock();
            slot.closed = true;
            slot.take_back();
            slot.db.take()
        };
        self.running().handle = None;
        // The program's functions, and what they own, are dropped with it.
        let entered = self.enter();
        if let Some(db) = db {
            db.close();
        }
        drop(entered);
        self.worker.close();
    }

    /// Runs `work` as a job that [`interrupt`](Self::interrupt) can stop. Before it interrupts, a caller makes
    /// `is_wanted` false. So the job either sees that, or is found running.
    pub(crate) fn as_job<R>(
        &self,
        job: u64,
        owner: Option<OwnerId>,
        interruptible: bool,
        is_wanted: impl FnOnce() -> bool,
        work: impl FnOnce() -> R,
    ) -> Option<R> {
        {
            let mut running = self.running();
            if !is_wanted() {
                return None;
            }
            running.job = Some(job);
            running.thread = Some(thread::current());
            running.owner = owner;
            running.unwanted = false;
            running.interruptible = interruptible;
        }
        let result = work();
        let mut running = self.running();
        running.job = None;
        running.thread = None;
        if let Some((_, guard)) = &running.handle {
            guard.clear_cancel();
        }
        Some(result)
    }

    /// Allows interrupting the running job: it can no longer harm the other members of its transaction.
    pub(crate) fn allow_interrupt(&self) {
        let mut running = self.running();
        running.interruptible = true;
        if running.job.is_some() && running.unwanted {
            running.stop();
        }
    }

    /// Stops the job if it is running, as soon as no other call depends on it.
    pub(crate) fn interrupt(&self, job: u64) {
        let mut running = self.running();
        if running.job == Some(job) {
            running.unwanted = true;
            if running.interruptible {
                running.stop();
            }
        }
    }

    /// Stops the statement of this owner, and no other: it may have ended, and another owner's work may have begun.
    pub(crate) fn interrupt_owner(&self, owner: OwnerId) {
        let running = self.running();
        if running.job.is_some() && running.owner == Some(owner) {
            running.stop();
        }
    }

    /// Stops whatever is running.
    pub(crate) fn interrupt_any(&self) {
        let running = self.running();
        if running.job.is_some() {
            running.stop();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }
}

impl Running {
    fn stop(&self) {
        if let Some((handle, guard)) = &self.handle {
            // The flag stops a statement that has not taken its first step, which an interrupt does not,
            // <https://sqlite.org/c3ref/interrupt.html>.
            guard.cancel();
            handle.interrupt();
        }
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

struct Pending(Arc<Conn>);

impl Pending {
    fn new(conn: &Arc<Conn>) -> Self {
        // `AcqRel` protects nothing beyond the slot's lock: the count only says that a job is on its way.
        conn.pending.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(conn))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Release: the partner of the load in `has_pending`.
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deref for SlotGuard<'_> {
    type Target = Slot;

    #[inline]
    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl DerefMut for SlotGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }
}

impl SlotGuard<'_> {
    /// Gives the connection to the call that has the writer, whoever had it before.
    pub(crate) fn give_to(&mut self, owner: OwnerId) -> Result<()> {
        if self.slot.closed {
            return Err(Error::HandleEnded);
        }
        self.set_owner(owner);
        Ok(())
    }

    /// The connection, for its owner only.
    pub(crate) fn owned_by(&mut self, owner: OwnerId) -> Result<&mut Db> {
        if !self.belongs_to(owner) {
            return Err(Error::HandleEnded);
        }
        self.slot.used = true;
        match &mut self.slot.db {
            Some(db) => Ok(db),
            None => Err(Error::HandleEnded),
        }
    }

    /// The same, taken from its owner, who cannot give it back any more.
    pub(crate) fn taken_from(&mut self, owner: OwnerId) -> Result<&mut Db> {
        // AcqRel, as in `Conn::change_owner`.
        let (order, failed) = (Ordering::AcqRel, Ordering::Relaxed);
        self.owner
            .compare_exchange(owner, NOT_READY, order, failed)
            .map_err(|_| Error::HandleEnded)?;
        self.slot.db.as_mut().ok_or(Error::HandleEnded)
    }

    pub(crate) fn belongs_to(&self, owner: OwnerId) -> bool {
        // Acquire: the partner of the changes, of which two are not made under this lock.
        self.owner.load(Ordering::Acquire) == owner
    }

    fn has_no_owner(&self) -> bool {
        self.belongs_to(VACANT) || self.belongs_to(NOT_READY)
    }

    /// Ends whatever ownership there is. If the connection is ready for it, the next call may have it.
    pub(crate) fn take_back(&mut self) {
        let is_ready = !self.slot.closed && self.slot.db.is_some() && !self.slot.has_served();
        self.set_owner(if is_ready { VACANT } else { NOT_READY });
    }

    /// Closes the connection; the next call has a new one opened.
    pub(crate) fn discard(&mut self) {
        self.set_owner(NOT_READY);
        if let Some(db) = self.slot.db.take() {
            db.close();
        }
    }

    fn set_owner(&self, owner: OwnerId) {
        // Release: the partner of the loads in `belongs_to` and `Conn::change_owner`.
        self.owner.store(owner, Ordering::Release);
    }
}

impl Slot {
    fn new(closed: bool) -> Self {
        Self {
            db: None,
            closed,
            used: false,
        }
    }

    /// Whether the connection may hold something that must not outlive the call that had it. Not while a transaction is
    /// open: other calls continue it, and it holds nothing that they would see.
    pub(crate) fn has_served(&self) -> bool {
        let is_over = |db: &Db| db.guard.is_single_use() && db.connection.is_autocommit();
        self.db.as_ref().is_some_and(is_over)
    }

    pub(crate) fn db(&mut self) -> Option<&mut Db> {
        self.db.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::ThreadId;
    use std::time::Duration;

    use super::super::open::Opener;
    use super::*;
    use crate::temporary::TemporaryDirectory;

    /// The thread on which a job runs that must not be lost.
    fn place_of_job(conn: &Arc<Conn>) -> ThreadId {
        let (sender, place) = channel();
        let job = || thread::current().id();
        conn.post_or_run(job, move |id| sender.send(id).unwrap());
        place.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn a_job_that_must_not_be_lost_runs_here_when_there_is_no_thread_for_it() {
        let opener = Opener::new(":memory:".into(), Config::in_memory());
        let conn = Conn::new(Role::Writer, opener);
        assert_ne!(place_of_job(&conn), thread::current().id());
        conn.worker.close();
        assert_eq!(place_of_job(&conn), thread::current().id());
    }

    /// SQLite retries for seconds, which would block the task that has the connection.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "it puts something in the place of the log"
    )]
    fn a_connection_that_cannot_read_its_log_is_not_given_out() {
        let directory = TemporaryDirectory::new().unwrap();
        let path = directory.path().join("file");
        let opener = Opener::new(path.clone(), Config::new(directory.path()));
        drop(opener.create().unwrap());
        let conn = Conn::new(Role::Reader, opener);
        conn.open().unwrap();
        conn.lock().discard();
        let log = directory.path().join("file-wal");
        let _ = std::fs::remove_file(&log);
        std::fs::create_dir(&log).unwrap();
        conn.open().unwrap_err();
        assert!(conn.lock_open().is_none());
    }

    /// Such a thread runs code of the program, within a statement.
    #[test]
    fn a_thread_that_is_inside_finds_a_slot_that_is_nobodys() {
        let opener = Opener::new(":memory:".into(), Config::in_memory());
        let conn = Conn::new(Role::Writer, Arc::clone(&opener));
        conn.take_over(opener.in_memory().unwrap());
        let mut slot = conn.lock();
        slot.give_to(1).unwrap();
        {
            let mut inside = conn.lock();
            assert!(inside.owned_by(1).is_err() && inside.give_to(2).is_err());
            inside.take_back();
            inside.discard();
        }
        assert!(conn.try_lock().is_none() && conn.open().is_err());
        assert!(inside::inside_of(opener.manager).is_some());
        assert!(slot.owned_by(1).is_ok());
        drop(slot);
        assert!(inside::inside_of(opener.manager).is_none());
        assert!(conn.lock().owned_by(1).is_ok());
    }
}
