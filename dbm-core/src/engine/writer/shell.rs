//! The thin shell around the scheduler: it locks, steps, unlocks, and then carries the effects out.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;

use super::committer::Committer;
use super::contention::Contention;
use super::latency::RunOn;
use super::policy::{POLICY, Policy};
use super::scheduler::{self, CallId, Effects, Follow, Next, Reason, RunningCall, Waiting};
use super::watchdog::{StallWatchdog, Watched};
use crate::engine::checkpoint::Checkpointer;
use crate::engine::commit_outcome::{Aftermath, CommitOutcome, FinishedBatch, Followers};
use crate::engine::connection::{Conn, OwnerId};
use crate::engine::db::Db;
use crate::engine::open::SharedOpener;
use crate::engine::readers::Readers;
use crate::engine::session::{Access, Session, SharedSession};
use crate::engine::share_policy::SharePolicy;
use crate::engine::worker_thread::WorkerThread;
use crate::error::{Error, Result};
use crate::limited::limited;
use crate::metrics::Metrics;
use crate::sync::lock;
use crate::tables::Tables;
use crate::unique_id::next_id;
use crate::waking::contained;

pub(super) type Scheduler = scheduler::Scheduler<QueuedCall, SharedSession, Followers>;
type WriterEffects = Effects<QueuedCall, SharedSession, Followers>;

/// The one writer of a manager.
pub(crate) struct Writer {
    pub(crate) conn: Arc<Conn>,
    pub(super) opener: SharedOpener,
    pub(super) readers: Arc<Readers>,
    pub(super) committer: Committer,
    /// Locked after a connection's slot, never before it. No foreign code runs under it.
    state: Mutex<State>,
    /// How many calls wait, for those who do not want to wait for the lock. Written under it.
    queued: AtomicUsize,
    pub(super) contention: Contention,
    pub(super) watchdog: StallWatchdog,
    /// Tells live reads of commits.
    pub(super) herald: WorkerThread,
    pub(super) keeps_log: AtomicBool,
    /// The connections are spoilt: only reopening all of them helps.
    pub(super) spoilt: AtomicBool,
}

struct State {
    scheduler: Scheduler,
    /// Committed on the worker thread. Their followers are told from the committer's task.
    finished: Vec<FinishedBatch>,
    /// Lost under the slot's lock. Their followers are told after the next event.
    lost: Vec<FinishedBatch>,
}

/// A call in the queue. If it is dropped, the call learns that the writer is closed.
pub(super) struct QueuedCall {
    pub(super) id: CallId,
    pub(super) method: &'static str,
    pub(super) share_policy: Option<&'static SharePolicy>,
    pub(super) grant: oneshot::Sender<Result<WriterPermit<'static>>>,
}

impl Waiting for QueuedCall {
    fn id(&self) -> CallId {
        self.id
    }

    fn method(&self) -> &'static str {
        self.method
    }

    fn is_exclusive(&self) -> bool {
        is_exclusive(self.share_policy)
    }
}

impl RunningCall for SharedSession {
    fn idle_since(&self) -> Option<Instant> {
        self.session().idle_since()
    }
}

impl Follow for Followers {
    type Outcome = Arc<CommitOutcome>;

    fn join(&mut self) -> Arc<CommitOutcome> {
        Followers::join(self)
    }

    fn is_empty(&self) -> bool {
        Followers::is_empty(self)
    }
}

/// Whether a method's calls neither join a shared transaction nor let other calls join.
pub(super) fn is_exclusive(share_policy: Option<&'static SharePolicy>) -> bool {
    !share_policy.is_some_and(SharePolicy::may_share)
}

/// A call's right to use the writer. When it is dropped, the writer goes to the next call.
pub(crate) struct WriterPermit<'a> {
    writer: Cow<'a, Arc<Writer>>,
    pub(super) id: CallId,
    /// The transaction is open already; this call gets a savepoint in it.
    pub(crate) joins: bool,
    /// No transaction is open, and nobody is there to share one with. The call commits by itself.
    pub(crate) autocommits: bool,
    pub(super) exclusive: bool,
    armed: bool,
}

impl<'a> WriterPermit<'a> {
    pub(super) fn new(writer: &'a Arc<Writer>, id: CallId, joins: bool, exclusive: bool) -> Self {
        Self {
            writer: Cow::Borrowed(writer),
            id,
            joins,
            autocommits: false,
            exclusive,
            armed: true,
        }
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    pub(crate) fn make_exclusive(&mut self) {
        self.exclusive = true;
    }

    /// The same permit, with its own handle on the writer.
    pub(crate) fn into_owned(mut self) -> WriterPermit<'static> {
        self.armed = false;
        WriterPermit {
            writer: Cow::Owned(Arc::clone(&self.writer)),
            id: self.id,
            joins: self.joins,
            autocommits: self.autocommits,
            exclusive: self.exclusive,
            armed: true,
        }
    }

    /// The scheduler has already taken the writer back.
    pub(super) fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for WriterPermit<'_> {
    fn drop(&mut self) {
        if self.armed {
            let (id, exclusive) = (self.id, self.exclusive);
            self.writer.step(|scheduler, effects| {
                scheduler.release(id, exclusive, Instant::now, effects);
            });
        }
    }
}

/// The library's right to use the writer, which is never evicted. When it is dropped, the writer goes to the next call.
pub(super) struct LibraryPermit<'a> {
    writer: Cow<'a, Arc<Writer>>,
    restart_log: bool,
    /// Where the library's next job runs, if there is one before the next call.
    next_job: RunOn,
}

impl LibraryPermit<'static> {
    /// For a job of the worker thread. The next job runs there at once: it may be a close.
    fn of_thread(writer: &Arc<Writer>) -> Self {
        Self::new(Cow::Owned(Arc::clone(writer)), RunOn::Task)
    }
}

impl<'a> LibraryPermit<'a> {
    /// For the caller of an event that has answered `Commit`.
    pub(super) fn of_task(writer: Cow<'a, Arc<Writer>>) -> Self {
        Self::new(writer, RunOn::WorkerThread)
    }

    fn new(writer: Cow<'a, Arc<Writer>>, next_job: RunOn) -> Self {
        Self {
            writer,
            restart_log: false,
            next_job,
        }
    }

    /// Commits the transaction that the owner of the connection has open.
    pub(super) fn commit(
        &mut self,
        owner: OwnerId,
        followers: Followers,
        run_on: RunOn,
    ) -> FinishedBatch {
        let (finished, restart_log) = self.writer.commit_and_tell(owner, followers, run_on);
        self.restart_log |= restart_log;
        finished
    }
}

impl Drop for LibraryPermit<'_> {
    fn drop(&mut self) {
        let restart_log = self.restart_log;
        self.writer.step_on(self.next_job, |scheduler, effects| {
            scheduler.done(restart_log, Instant::now, effects);
        });
    }
}

impl Writer {
    pub(crate) fn new(conn: Arc<Conn>, opener: SharedOpener, readers: Arc<Readers>) -> Arc<Self> {
        let policy = Policy {
            max_idle: opener.config.max_write_idle,
            acquire_timeout: opener.config.acquire_timeout,
            ..POLICY
        };
        let checkpointer = Checkpointer::new(Arc::clone(&opener), Arc::clone(&readers.mark));
        Arc::new(Self {
            conn,
            readers,
            committer: Committer::new(Arc::clone(&opener), checkpointer),
            state: Mutex::new(State {
                scheduler: Scheduler::new(policy, opener.config.max_queue),
                finished: Vec::new(),
                lost: Vec::new(),
            }),
            opener,
            queued: AtomicUsize::new(0),
            contention: Contention::default(),
            watchdog: StallWatchdog::default(),
            herald: WorkerThread::default(),
            keeps_log: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
        })
    }

    /// An event that has no effects. Allowed under the slot's lock.
    pub(super) fn note<R>(&self, event: impl FnOnce(&mut Scheduler) -> R) -> R {
        let mut state = self.lock();
        self.apply(&mut state, event)
    }

    /// An event, and then its effects. Not under any lock.
    pub(super) fn step<R>(
        self: &Arc<Self>,
        event: impl FnOnce(&mut Scheduler, &mut WriterEffects) -> R,
    ) -> R {
        self.step_on(RunOn::WorkerThread, event)
    }

    fn step_on<R>(
        self: &Arc<Self>,
        run_on: RunOn,
        event: impl FnOnce(&mut Scheduler, &mut WriterEffects) -> R,
    ) -> R {
        let mut effects = Effects::default();
        let (reply, lost) = {
            let mut state = self.lock();
            let reply = self.apply(&mut state, |scheduler| event(scheduler, &mut effects));
            (reply, std::mem::take(&mut state.lost))
        };
        // Mostly there are no effects.
        if !effects.is_empty() {
            self.carry_out(effects, run_on);
        }
        drop(lost);
        reply
    }

    fn apply<R>(&self, state: &mut State, event: impl FnOnce(&mut Scheduler) -> R) -> R {
        let reply = event(&mut state.scheduler);
        debug_assert_eq!(state.scheduler.check(), Ok(()));
        self.contention.show(state.scheduler.spin_hint());
        self.queued
            .store(state.scheduler.queued(), Ordering::Relaxed);
        reply
    }

    fn carry_out(self: &Arc<Self>, effects: WriterEffects, run_on: RunOn) {
        let Effects {
            next,
            evict,
            expired,
            refused,
        } = effects;
        match next {
            Some(Next::Commit(followers)) => {
                self.run_as_library(run_on, |permit| {
                    let owner = next_id();
                    let _ = permit.writer.conn.lock().give_to(owner);
                    Some(permit.commit(owner, followers, RunOn::WorkerThread))
                });
            }
            Some(Next::RestartLog) => self.restart_log(run_on),
            Some(Next::Grant(call)) => {
                let permit =
                    WriterPermit::new(self, call.id, false, call.is_exclusive()).into_owned();
                // A call that went away at this moment drops the permit.
                contained(|| drop(call.grant.send(Ok(permit))));
            }
            None => {}
        }
        if let Some((session, reason)) = evict {
            self.evict(session, reason);
        }
        if !expired.is_empty() {
            self.tell_expired(expired);
        }
        for call in refused {
            contained(|| drop(call));
        }
    }

    fn restart_log(self: &Arc<Self>, run_on: RunOn) {
        self.run_as_library(run_on, |permit| {
            let Writer {
                committer,
                conn,
                readers,
                ..
            } = &**permit.writer;
            let still_read = {
                let mut slot = conn.lock();
                slot.db()
                    .and_then(|db| committer.checkpointer.restart_log(db))
            };
            // It writes an event: a subscriber is code of others.
            if let Some(log) = still_read {
                readers.make_way_for(&log);
            }
            None
        });
    }

    /// Runs a job on the worker thread, or here. Then the writer goes to the next call, and then the members of the
    /// transaction are told of its end.
    fn run_as_library(
        self: &Arc<Self>,
        run_on: RunOn,
        job: impl FnOnce(&mut LibraryPermit<'static>) -> Option<FinishedBatch> + Send + 'static,
    ) {
        let mut permit = LibraryPermit::of_thread(self);
        let job = move || {
            let finished = job(&mut permit);
            (permit, finished)
        };
        match run_on {
            RunOn::Task => drop(job()),
            // A job that the thread does not take is dropped with its permit, so the writer comes back.
            RunOn::WorkerThread => self.conn.post_or_run(job, drop),
        }
    }

    /// Takes the writer from a call and undoes its work, after interrupting what it runs. Its body gets an error from
    /// then on.
    pub(super) fn evict(self: &Arc<Self>, shared: SharedSession, reason: Reason) {
        let session = shared.session();
        let method = session.method;
        session.lose(match reason {
            Reason::Closed => Error::Closed { method },
            Reason::Stalled => Error::BatchLost { by: method },
            Reason::Idle => Error::TransactionLost {
                cause: Error::other("it ran no statement for max_write_idle, and others waited")
                    .cause(),
            },
        });
        self.conn.interrupt_owner(session.id);
        let writer = Arc::clone(self);
        self.conn
            .post_or_run(move || writer.reclaim(shared.session()), drop);
    }

    fn reclaim(self: &Arc<Self>, session: &Session) -> Option<LibraryPermit<'static>> {
        let mut slot = self.conn.lock();
        // Slot, then state: whether the work is included changes only under the slot's lock.
        self.note(|scheduler| {
            let resolved = session.is_resolved();
            let outcome = scheduler.reclaim(session.id, resolved, Instant::now)?;
            if let Some(outcome) = outcome {
                session.set_late_answer(outcome);
            }
            Some(())
        })?;
        // Dropped after the slot is unlocked.
        let permit = LibraryPermit::of_thread(self);
        // The call may not have taken its connection yet.
        if let Ok(db) = slot.owned_by(session.id) {
            self.undo(db, session);
            if session.access == Access::Connection {
                slot.discard();
            }
            slot.take_back();
        }
        drop(slot);
        if session.access == Access::Connection {
            self.tell_live_reads(|| Tables::All);
        }
        Some(permit)
    }

    /// Undoes a call's work, once. Other calls' work in the same transaction stays. Runs under the slot's lock.
    pub(crate) fn undo(&self, db: &Db, session: &Session) {
        // An error of the call may have spoilt the connections.
        if session.is_tainted() {
            self.spoil();
        }
        if session.resolve() {
            return;
        }
        session.take_back_promises(0);
        if db.connection.is_autocommit() {
            if session.is_shared() {
                self.batch_lost(session.method);
            }
        } else if !session.is_shared() {
            db.roll_back();
        } else if session.has_savepoint() && db.undo(0).is_err() || session.ran_alone() {
            db.roll_back();
            self.batch_lost(session.method);
        }
    }

    /// The transaction is gone: none of its members has written anything.
    pub(crate) fn batch_lost(&self, by: &'static str) {
        let mut state = self.lock();
        let followers = self.apply(&mut state, Scheduler::take_batch);
        if let Some(followers) = followers {
            let lost = FinishedBatch::new(followers, Err(Error::BatchLost { by }));
            state.lost.push(lost);
        }
    }

    /// Makes the work of the running call part of the open transaction. Runs under the slot's lock.
    pub(crate) fn include(&self, aftermath: Option<Box<Aftermath>>, recorded: bool) {
        self.note(|scheduler| {
            let followers = scheduler.include(Instant::now);
            followers.leave(aftermath, recorded);
        });
    }

    /// Commits the transaction that the owner of the connection has open, and has everything done that follows a commit. True
    /// if the log should be restarted. Only for who has the writer: what runs after the commits is in their order.
    pub(super) fn commit_and_tell(
        &self,
        owner: OwnerId,
        followers: Followers,
        run_on: RunOn,
    ) -> (FinishedBatch, bool) {
        let (mut finished, restart_log) =
            self.committer.commit(&self.conn, owner, followers, run_on);
        finished.keep_promises();
        self.tell_live_reads(|| finished.take_written());
        (finished, restart_log)
    }

    /// Wakes the live reads that a commit concerns, on a thread: there may be many.
    pub(crate) fn tell_live_reads(&self, written: impl FnOnce() -> Tables) {
        if self.opener.live.note_commit(written) {
            let live = Arc::clone(&self.opener.live);
            if self.herald.post(move || live.tell()).is_err() {
                self.opener.live.tell();
            }
        }
    }

    /// Fills in what the writer knows.
    pub(crate) fn add_to(&self, metrics: &mut Metrics) {
        let checkpointer = &self.committer.checkpointer;
        metrics.waiting_writes = self.queued.load(Ordering::Relaxed) as u64;
        metrics.log_pages = checkpointer.pages().into();
        let threads = [self.conn.thread(), checkpointer.thread(), &self.herald];
        let workers = threads.iter().filter(|thread| thread.exists()).count();
        metrics.threads += workers as u64 + u64::from(self.watchdog.exists());
    }

    /// Whether any work waits for its commit.
    pub(crate) fn in_transaction(&self) -> bool {
        self.lock().scheduler.in_transaction()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().scheduler.is_closed()
    }

    /// Has every connection reopened before the next write.
    pub(super) fn spoil(&self) {
        // Release: the partner of the load in `mend`. The thread that mends sees what this thread has seen.
        self.spoilt.store(true, Ordering::Release);
    }

    /// Leaves a batch that was committed on the worker thread to the committer's task, or to the watchdog.
    pub(super) fn tell_later(&self, finished: FinishedBatch) {
        self.lock().finished.push(finished);
    }

    /// Tells the members whose transaction has ended.
    pub(super) fn tell_finished(&self) {
        let finished = std::mem::take(&mut self.lock().finished);
        drop(finished);
    }

    /// Has the watchdog watch the calls that wait. False if there is no thread for it.
    pub(super) fn is_watched(self: &Arc<Self>) -> bool {
        self.watchdog.watch(self)
    }

    /// Waits for another call, under the watchdog's eyes. Without a thread for it, this task does the watchdog's work.
    pub(super) async fn watched<F: Future>(self: &Arc<Self>, wait: F) -> F::Output {
        let mut wait = pin!(wait);
        if self.is_watched() {
            return wait.await;
        }
        loop {
            match limited(POLICY.claim_within, &mut wait).await {
                Some(output) => return output,
                None => self.tick(),
            }
        }
    }

    /// Tells calls that have waited for too long who has the writer, for how long, and how many waited.
    fn tell_expired(&self, expired: Vec<QueuedCall>) {
        let (holder, waiting) = self.note(|scheduler| (scheduler.holder(), scheduler.queued()));
        let (holder, since) = holder.unwrap_or_else(|| (scheduler::NOBODY, Instant::now()));
        let queued = waiting + expired.len();
        for call in expired {
            let error = Error::AcquireTimeout {
                method: call.method,
                waited: self.opener.config.acquire_timeout,
                holder,
                held: since.elapsed(),
                queued,
            };
            contained(|| drop(call.grant.send(Err(error))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Watched for Writer {
    fn tick(self: &Arc<Self>) {
        self.tell_finished();
        self.step(|scheduler, effects| scheduler.tick(Instant::now(), effects));
    }

    fn needs_watching(&self) -> bool {
        let state = self.lock();
        let untold = !state.finished.is_empty() || !state.lost.is_empty();
        untold || state.scheduler.has_followers() || state.scheduler.queued() > 0
    }
}
