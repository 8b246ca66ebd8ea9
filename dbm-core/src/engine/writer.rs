//! The one writer of a manager: a FIFO of calls, and the transaction that waiting calls share.
//!
//! Whoever ends its work hands the open transaction to the next in the queue or commits it. Nobody is told that its
//! work is done before the COMMIT that contains it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::checkpoint::{self, Checkpointer};
use super::connection::{CONTROL, Conn, Db, OwnerId, next_id};
use super::open::{SharedOpener, keep_log_on_close};
use super::readers::{Readers, open_on_lane};
use super::session::{Kind, Session};
use super::trust::Trust;
use crate::config::Execution;
use crate::error::{Error, Result};

/// A shared transaction is committed when it has this many members…
const MAX_MEMBERS: u32 = 256;
/// …or is this old.
const MAX_AGE: Duration = Duration::from_millis(2);
/// Commits faster than this on average are made where the task is.
const FAST_COMMIT: Duration = Duration::from_micros(300);
/// How long the members of a shared transaction wait for the one who holds it.
const STALL: Duration = Duration::from_secs(1);
/// How long they wait for a caller to come for the turn it was given, at first.
const UNCLAIMED: Duration = Duration::from_millis(20);

pub(crate) struct Writer {
    pub(crate) conn: Arc<Conn>,
    opener: SharedOpener,
    checkpointer: Checkpointer,
    readers: Arc<Readers>,
    state: Mutex<State>,
    /// Moving average of a COMMIT, in nanoseconds; unknown at first.
    commit_time: AtomicU64,
    keeps_log: AtomicBool,
    /// Something is wrong with the connections that only new ones are free of.
    spoilt: AtomicBool,
}

#[derive(Default)]
struct State {
    holder: Option<Holding>,
    queue: VecDeque<Waiter>,
    batch: Batch,
    /// Transactions that have ended and whose members have not been told yet.
    done: Vec<Done>,
    truncate: bool,
    closed: bool,
}

struct Holding {
    id: OwnerId,
    method: &'static str,
    since: Instant,
    /// Its caller has come for it.
    claimed: bool,
    /// How long the others wait for that.
    patience: Duration,
    session: Option<Arc<Session>>,
}

impl Holding {
    fn new(id: OwnerId, method: &'static str, claimed: bool) -> Self {
        Self {
            id,
            method,
            since: Instant::now(),
            claimed,
            patience: UNCLAIMED,
            session: None,
        }
    }

    /// Takes the turn for the library's own work.
    fn take_over(&mut self) -> OwnerId {
        *self = Self::new(next_id(), self.method, true);
        self.id
    }
}

struct Waiter {
    id: OwnerId,
    method: &'static str,
    trust: Option<&'static Trust>,
    patience: Duration,
    grant: oneshot::Sender<Turn>,
}

/// The open transaction and those who wait for its commit.
#[derive(Default)]
struct Batch {
    since: Option<Instant>,
    count: u32,
    members: Members,
    /// How many the last one had: company is likely to come back.
    last: u32,
}

/// Who waits for a commit.
type Members = Vec<oneshot::Sender<Result<()>>>;

/// The right to use the writer. Dropped, it goes to the next in the queue.
pub(crate) struct Turn {
    writer: Arc<Writer>,
    pub(crate) id: OwnerId,
    /// The transaction is open already; this call gets a savepoint in it.
    pub(crate) joins: bool,
    solo: bool,
    armed: bool,
}

/// How a call that is done comes to its commit.
enum End {
    Commit(Members),
    Wait(oneshot::Receiver<Result<()>>),
}

/// What whoever is done has to do next.
enum Next {
    Commit(Members),
    Truncate,
    Nothing,
}

impl Writer {
    pub(crate) fn new(conn: Arc<Conn>, opener: SharedOpener, readers: Arc<Readers>) -> Arc<Self> {
        let checkpointer = Checkpointer::new(Arc::clone(&opener), Arc::clone(&readers.mark));
        Arc::new(Self {
            conn,
            opener,
            checkpointer,
            readers,
            state: Mutex::default(),
            commit_time: AtomicU64::new(u64::MAX),
            keeps_log: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
        })
    }

    /// Waits for the writer, first come first served. A caller that goes away leaves the queue undisturbed. Without
    /// `trust` the call runs in a transaction of its own.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        method: &'static str,
        trust: Option<&'static Trust>,
    ) -> Result<Turn> {
        let (mut started, mut patience) = (None, UNCLAIMED);
        loop {
            let (mut place, receiver) = match self.enqueue(method, trust, patience)? {
                Queued::AtOnce(turn) => return Ok(turn),
                Queued::Waiting(place, receiver) => (place, receiver),
            };
            let started = *started.get_or_insert_with(Instant::now);
            let turn = self.wait_for_turn(method, started, receiver).await?;
            place.armed = false;
            if self.claim(&turn) {
                return Ok(turn);
            }
            // It took so long to come for its turn that the others went on without it; they will wait longer.
            patience = (2 * patience).min(STALL);
        }
    }

    async fn wait_for_turn(
        self: &Arc<Self>,
        method: &'static str,
        started: Instant,
        mut receiver: oneshot::Receiver<Turn>,
    ) -> Result<Turn> {
        let limit = self.opener.config.acquire_timeout;
        let mut pause = UNCLAIMED;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match tokio::time::timeout(pause.min(left), &mut receiver).await {
                Ok(turn) => return turn.map_err(|_| Error::Closed { method }),
                Err(_) if started.elapsed() >= limit => return Err(self.acquire_timeout(method)),
                Err(_) => self.go_on_without_holder(),
            }
            pause = (2 * pause).min(STALL);
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        method: &'static str,
        trust: Option<&'static Trust>,
        patience: Duration,
    ) -> Result<Queued<'_>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed { method });
        }
        let id = next_id();
        if state.holder.is_none() && state.queue.is_empty() {
            state.holder = Some(Holding::new(id, method, true));
            return Ok(Queued::AtOnce(Turn {
                writer: Arc::clone(self),
                id,
                joins: false,
                solo: is_solo(trust),
                armed: true,
            }));
        }
        let queued = state.queue.len();
        let limit = self.opener.config.max_queue;
        let first = patience > UNCLAIMED;
        if !first && limit.is_some_and(|limit| queued >= limit) {
            return Err(Error::Overloaded { method, queued });
        }
        let (grant, receiver) = oneshot::channel();
        let waiter = Waiter {
            id,
            method,
            trust,
            patience,
            grant,
        };
        if first {
            state.queue.push_front(waiter);
        } else {
            state.queue.push_back(waiter);
        }
        let place = PlaceInQueue {
            writer: self,
            id,
            armed: true,
        };
        Ok(Queued::Waiting(place, receiver))
    }

    /// Whether a turn that was granted is still there for its caller; from now on only an eviction takes it.
    fn claim(&self, turn: &Turn) -> bool {
        let mut state = self.lock();
        let held = state
            .holder
            .as_mut()
            .filter(|holding| holding.id == turn.id);
        held.is_some_and(|holding| {
            holding.claimed = true;
            true
        })
    }

    fn acquire_timeout(&self, method: &'static str) -> Error {
        let state = self.lock();
        let (holder, held) = state
            .holder
            .as_ref()
            .map_or(("nobody", Duration::ZERO), |holding| {
                (holding.method, holding.since.elapsed())
            });
        let queued = state.queue.len();
        Error::AcquireTimeout {
            method,
            waited: self.opener.config.acquire_timeout,
            holder,
            held,
            queued,
        }
    }

    /// Tells whose session the turn belongs to, so that a stalled one can be evicted. Too late once all are.
    pub(crate) fn attach(&self, turn: &Turn, session: &Arc<Session>) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed {
                method: session.method,
            });
        }
        if let Some(holding) = state
            .holder
            .as_mut()
            .filter(|holding| holding.id == turn.id)
        {
            holding.session = Some(Arc::clone(session));
        }
        Ok(())
    }

    /// Ends a call whose work is part of the open transaction (or was taken back out of it), and waits until that
    /// transaction is committed.
    pub(crate) async fn finish(self: &Arc<Self>, turn: Turn, session: &Session) -> Result<()> {
        match self.try_finish(turn, session).await {
            // The connection was closed before the commit: nothing of the transaction is there.
            Err(Error::HandleEnded) if self.lock().closed => Err(Error::Closed {
                method: session.method,
            }),
            result => result,
        }
    }

    async fn try_finish(self: &Arc<Self>, mut turn: Turn, session: &Session) -> Result<()> {
        if !turn.solo {
            self.wait_for_company().await;
        }
        let end = {
            let mut state = self.lock();
            if !state.is_held_by(turn.id) {
                // The others went on without it; what it did was committed all the same.
                End::Wait(session.take_late_answer().ok_or(Error::HandleEnded)?)
            } else if !state.batch.is_open() {
                // The transaction was lost: nobody will commit it.
                return Err(Error::HandleEnded);
            } else if state.must_commit(turn.solo) {
                state.hold_on();
                End::Commit(state.batch.take_members())
            } else {
                End::Wait(state.batch.join())
            }
        };
        match end {
            End::Commit(members) => self.commit(turn, members).await,
            End::Wait(receiver) => {
                turn.release();
                self.wait_for_commit(receiver).await
            }
        }
    }

    /// Opens the connection if it is not open, for whoever has the turn.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<()> {
        // What others have done in an open transaction would be gone with its connection.
        if !self.spoilt.load(Ordering::Acquire) || self.lock().batch.is_open() {
            return open_on_lane(&self.conn).await;
        }
        // SQLite shares what it knows of a file among the connections of a process, until the last one is closed.
        let _no_reads = self.readers.quiesce().await;
        let (sender, receiver) = oneshot::channel();
        let writer = Arc::clone(self);
        let renew = move || {
            writer.spoilt.store(false, Ordering::Release);
            writer.conn.lock().discard();
            writer.readers.discard_idle();
            writer.checkpointer.discard();
            writer.conn.open()
        };
        self.conn.post(renew, |result| drop(sender.send(result)))?;
        receiver.await.unwrap_or(Err(Error::HandleEnded))
    }

    /// Has every connection opened anew, before the next write.
    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    /// Makes the work of the holder part of the open transaction.
    pub(crate) fn include(&self) {
        let mut state = self.lock();
        state.batch.count += 1;
        state.batch.since.get_or_insert_with(Instant::now);
    }

    /// Calls that were just answered together are about to call again: lets their tasks run, for as long as one
    /// commit more would cost at most.
    async fn wait_for_company(&self) {
        let mut started = None;
        loop {
            {
                let state = self.lock();
                if !state.queue.is_empty() || state.batch.count >= state.batch.last {
                    return;
                }
            }
            let limit = Duration::from_nanos(self.commit_time.load(Ordering::Relaxed)).min(MAX_AGE);
            if started.get_or_insert_with(Instant::now).elapsed() >= limit {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn wait_for_commit(
        self: &Arc<Self>,
        mut receiver: oneshot::Receiver<Result<()>>,
    ) -> Result<()> {
        loop {
            match tokio::time::timeout(UNCLAIMED, &mut receiver).await {
                Ok(result) => return result.unwrap_or(Err(Error::HandleEnded)),
                Err(_) => self.go_on_without_holder(),
            }
        }
    }

    /// Commits the open transaction where that is best, then passes the turn on.
    async fn commit(self: &Arc<Self>, mut turn: Turn, members: Members) -> Result<()> {
        if (self.commits_fast() && !self.conn.has_pending()) || !self.conn.has_lane() {
            let done = self.commit_now(turn.id, members);
            let result = done.result.clone();
            turn.release();
            drop(done);
            return result;
        }
        let (sender, receiver) = oneshot::channel();
        turn.armed = false;
        let (id, solo) = (turn.id, turn.solo);
        let (committing, telling) = (Arc::clone(self), Arc::clone(self));
        let commit = move || {
            let turn = Turn {
                writer: Arc::clone(&committing),
                id,
                joins: false,
                solo,
                armed: true,
            };
            (committing.commit_now(id, members), turn)
        };
        self.conn.post(commit, move |(done, turn)| {
            let result = done.result.clone();
            // Answered from the caller's task if it is still there: waking everybody from this thread costs a third.
            if !sender.is_closed() {
                telling.lock().done.push(done);
            }
            drop(turn);
            if sender.send(result).is_err() {
                telling.answer();
            }
        })?;
        let result = receiver.await;
        self.answer();
        result.unwrap_or(Err(Error::HandleEnded))
    }

    /// Tells those whose transaction has ended.
    fn answer(&self) {
        let done = std::mem::take(&mut self.lock().done);
        drop(done);
    }

    fn commits_fast(&self) -> bool {
        match self.opener.config.execution {
            Execution::Inline => true,
            Execution::Offload => false,
            Execution::Auto => {
                Duration::from_nanos(self.commit_time.load(Ordering::Relaxed)) < FAST_COMMIT
            }
        }
    }

    fn commit_now(&self, id: OwnerId, members: Members) -> Done {
        let started = Instant::now();
        let mut slot = self.conn.lock();
        let result = match slot.owned_by(id) {
            Ok(db) => self.try_commit(db),
            Err(error) => {
                let result = Err(error);
                return Done { members, result };
            }
        };
        if result.is_err() && slot.db().is_some_and(|db| !db.roll_back()) {
            slot.discard();
        }
        slot.take_back();
        drop(slot);
        self.record_commit(started.elapsed());
        if result.is_ok() {
            let pages = checkpoint::wal_pages();
            if self.checkpointer.after_commit(pages) {
                self.lock().truncate = true;
            }
        }
        Done { members, result }
    }

    fn try_commit(&self, db: &Db) -> Result<()> {
        self.opener.check_identity()?;
        db.control(&CONTROL.commit)
            .map_err(|error| match error.primary_code() {
                Some(rusqlite::ErrorCode::SystemIoFailure) => Error::CommitUnknown {
                    cause: error.cause(),
                },
                _ => error,
            })
    }

    fn record_commit(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let average = match self.commit_time.load(Ordering::Relaxed) {
            u64::MAX => took,
            average => (average.saturating_mul(7).saturating_add(took)) / 8,
        };
        self.commit_time.store(average, Ordering::Relaxed);
    }

    /// The transaction is gone: nobody in it has written anything.
    pub(crate) fn batch_lost(&self, by: &'static str) {
        let members = self.lock().batch.take_members();
        drop(Done {
            members,
            result: Err(Error::BatchLost { by }),
        });
    }

    /// Gives the turn to the next one, or commits what is open when nobody may join it.
    fn pass_on(self: &Arc<Self>, id: OwnerId, solo: bool) {
        if let Some(job) = self.before_next(id, solo) {
            self.conn.post_or_run(job, drop);
        }
    }

    /// Gives the turn to the next one, or tells what the lane has to do before that.
    fn before_next(self: &Arc<Self>, id: OwnerId, solo: bool) -> Option<Box<dyn FnOnce() + Send>> {
        let writer = Arc::clone(self);
        match self.next(id, solo) {
            Next::Nothing => None,
            Next::Commit(members) => Some(Box::new(move || {
                let _ = writer.conn.lock().give_to(id);
                let done = writer.commit_now(id, members);
                writer.pass_on(id, false);
                drop(done);
            })),
            Next::Truncate => Some(Box::new(move || {
                if let Some(db) = writer.conn.lock().db() {
                    writer.checkpointer.truncate(db, &writer.readers);
                }
                writer.pass_on(id, false);
            })),
        }
    }

    fn next(self: &Arc<Self>, id: OwnerId, solo: bool) -> Next {
        let mut state = self.lock();
        loop {
            if !state.is_held_by(id) {
                return Next::Nothing;
            }
            if state.batch.is_open() && state.must_commit(solo) {
                state.hold_on();
                return Next::Commit(state.batch.take_members());
            }
            if !state.batch.is_open() && std::mem::take(&mut state.truncate) {
                state.hold_on();
                return Next::Truncate;
            }
            let Some(waiter) = state.queue.pop_front() else {
                state.holder = None;
                return Next::Nothing;
            };
            let mut holding = Holding::new(waiter.id, waiter.method, false);
            holding.patience = waiter.patience;
            let turn = Turn {
                writer: Arc::clone(self),
                id: waiter.id,
                joins: state.batch.is_open(),
                solo: waiter.is_solo(),
                armed: true,
            };
            match waiter.grant.send(turn) {
                Ok(()) => {
                    state.holder = Some(holding);
                    return Next::Nothing;
                }
                // Its caller went away in this instant.
                Err(mut turn) => turn.armed = false,
            }
        }
    }

    /// Nobody waits for ever for the one who has the turn: a turn that nobody comes for is taken back, and a body
    /// that keeps the members of its transaction waiting is undone.
    fn go_on_without_holder(self: &Arc<Self>) {
        self.answer();
        let mut state = self.lock();
        let in_company = !state.batch.members.is_empty();
        let Some(holding) = &mut state.holder else {
            return;
        };
        let held = holding.since.elapsed();
        if !holding.claimed && held >= holding.patience {
            let id = holding.take_over();
            drop(state);
            return self.pass_on(id, true);
        }
        let Some(session) = holding
            .session
            .clone()
            .filter(|_| in_company && held >= STALL)
        else {
            return;
        };
        drop(state);
        let reason = Error::BatchLost { by: session.method };
        self.evict(session, reason);
    }

    /// Undoes the work of a holder and passes its turn on; its body gets `reason` from then on.
    pub(crate) fn evict(self: &Arc<Self>, session: Arc<Session>, reason: Error) {
        session.lose(reason);
        self.conn.interrupt_owner(session.id);
        let writer = Arc::clone(self);
        self.conn.post_or_run(
            move || {
                let mut slot = writer.conn.lock();
                let Ok(db) = slot.owned_by(session.id) else {
                    return;
                };
                let Some(id) = writer.take_turn(&session) else {
                    return;
                };
                writer.undo(db, &session);
                if session.kind == Kind::Connection {
                    slot.discard();
                }
                slot.take_back();
                drop(slot);
                // Here, before a close that may be next on the lane.
                if let Some(job) = writer.before_next(id, true) {
                    job();
                }
            },
            drop,
        );
    }

    /// Takes the turn from a call, unless it is about to commit. When its body has ended, what it did is committed
    /// without it, and it is told when it asks.
    fn take_turn(&self, session: &Session) -> Option<OwnerId> {
        let mut state = self.lock();
        let State { holder, batch, .. } = &mut *state;
        let holding = holder.as_mut().filter(|holding| {
            let held_by = holding.session.as_ref();
            held_by.is_some_and(|held_by| held_by.id == session.id)
        })?;
        if session.is_settled() && batch.is_open() {
            session.set_late_answer(batch.join());
        }
        Some(holding.take_over())
    }

    /// Before a statement that cannot share a transaction: commits what others have done in it and begins a new one.
    /// Too late when the call has done something itself; it can be made again, and will run alone then.
    pub(crate) async fn go_alone(
        self: &Arc<Self>,
        session: &Arc<Session>,
        depth: usize,
    ) -> Result<()> {
        session.set_unshareable();
        if !session.is_shared() {
            return Ok(());
        }
        if session.has_begun() || depth > 0 {
            return Err(Error::BatchLost { by: session.method });
        }
        let (sender, receiver) = oneshot::channel();
        let (writer, leaving) = (Arc::clone(self), Arc::clone(session));
        let leave = move || {
            let released = match writer.conn.lock().owned_by(leaving.id) {
                Ok(db) => db.release(0),
                Err(error) => Err(leaving.lost_or(error)),
            };
            released.and_then(|()| {
                let members = writer.lock().batch.take_members();
                drop(writer.commit_now(leaving.id, members));
                leaving.set_shared(false);
                writer.conn.lock().give_to(leaving.id)
            })
        };
        self.conn
            .post_or_run(leave, |result| drop(sender.send(result)));
        receiver.await.unwrap_or(Err(Error::HandleEnded))?;
        session.begin_write().await
    }

    /// Takes back what a call has done, once; what others have done in the same transaction stays.
    pub(crate) fn undo(&self, db: &Db, session: &Session) {
        if session.settle() {
            return;
        }
        if db.connection.is_autocommit() {
            if session.is_shared() {
                self.batch_lost(session.method);
            }
        } else if !session.is_shared() {
            db.roll_back();
        } else if db.undo(0).is_err() {
            db.roll_back();
            self.batch_lost(session.method);
        }
    }

    /// Refuses new calls and those in the queue, and takes the turn from whoever has it.
    pub(crate) fn shut(self: &Arc<Self>) {
        let (session, unclaimed, queue) = {
            let mut state = self.lock();
            state.closed = true;
            let holder = state.holder.as_mut();
            (
                holder.as_ref().and_then(|holding| holding.session.clone()),
                holder
                    .filter(|holding| !holding.claimed)
                    .map(Holding::take_over),
                std::mem::take(&mut state.queue),
            )
        };
        drop(queue);
        if let Some(id) = unclaimed {
            self.pass_on(id, true);
        }
        if let Some(session) = session {
            let reason = Error::Closed {
                method: session.method,
            };
            self.evict(session, reason);
        }
    }

    /// Closes the connection, emptying the log; blocks, so it belongs on the lane.
    pub(crate) fn close(&self) {
        self.checkpointer.close();
        if let Some(db) = self.conn.lock().db() {
            db.roll_back();
            if !self.keeps_log.load(Ordering::Relaxed)
                && checkpoint::empty_log(&db.connection).is_ok()
            {
                let _ = keep_log_on_close(&db.connection, false);
            }
        }
        self.conn.close();
    }

    /// Closing will leave the log for the next start.
    pub(crate) fn keep_log(&self) {
        self.keeps_log.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Asked when its turn comes: meanwhile other calls of the method may have shown what it does.
    fn is_solo(&self) -> bool {
        is_solo(self.trust)
    }
}

fn is_solo(trust: Option<&'static Trust>) -> bool {
    !trust.is_some_and(Trust::is_earned)
}

impl State {
    fn is_held_by(&self, id: OwnerId) -> bool {
        self.holder.as_ref().is_some_and(|holding| holding.id == id)
    }

    /// The turn is used for the library's own work now: nobody may take it back.
    fn hold_on(&mut self) {
        if let Some(holding) = &mut self.holder {
            holding.claimed = true;
            holding.session = None;
        }
    }

    fn must_commit(&self, solo: bool) -> bool {
        solo || self.batch.is_full() || self.queue.front().is_none_or(Waiter::is_solo)
    }
}

impl Batch {
    fn is_open(&self) -> bool {
        self.since.is_some()
    }

    fn is_full(&self) -> bool {
        self.count >= MAX_MEMBERS || self.since.is_some_and(|since| since.elapsed() >= MAX_AGE)
    }

    /// Adds a member, which waits for the commit.
    fn join(&mut self) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.members.push(sender);
        receiver
    }

    fn take_members(&mut self) -> Members {
        self.last = self.count;
        self.count = 0;
        self.since = None;
        std::mem::take(&mut self.members)
    }
}

impl Turn {
    /// Gives the turn to the next one in the queue.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.writer.pass_on(self.id, self.solo);
        }
    }

    pub(crate) fn make_solo(&mut self) {
        self.solo = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.release();
    }
}

enum Queued<'a> {
    AtOnce(Turn),
    Waiting(PlaceInQueue<'a>, oneshot::Receiver<Turn>),
}

/// Dropped, it leaves the queue.
struct PlaceInQueue<'a> {
    writer: &'a Writer,
    id: OwnerId,
    armed: bool,
}

impl Drop for PlaceInQueue<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let mut state = self.writer.lock();
        if let Some(position) = state.queue.iter().position(|waiter| waiter.id == self.id) {
            state.queue.remove(position);
        }
    }
}

/// The end of a transaction; dropped, it tells the members.
struct Done {
    members: Members,
    result: Result<()>,
}

impl Drop for Done {
    fn drop(&mut self) {
        for member in self.members.drain(..) {
            let _ = member.send(self.result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Opener;
    use super::super::open::Role;
    use super::*;
    use crate::config::Config;

    /// A writer in the middle of a transaction that others may join.
    async fn in_transaction() -> (Arc<Writer>, Turn, Arc<Session>) {
        let opener = Opener::new(":memory:".into(), Config::in_memory());
        let conn = Conn::new(Role::Writer, Arc::clone(&opener));
        conn.adopt(opener.in_memory().unwrap());
        let readers = Readers::new(Arc::clone(&opener));
        let writer = Writer::new(Arc::clone(&conn), opener, readers);
        let turn = writer.acquire("first", None).await.unwrap();
        conn.lock().give_to(turn.id).unwrap();
        let (auto, none) = (Execution::Auto, Duration::ZERO);
        let session = Session::new(conn, turn.id, Kind::Write, "first", auto, none);
        session.begin_write().await.unwrap();
        writer.include();
        (writer, turn, session)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let limit = Duration::from_secs(20);
            tokio::time::timeout(limit, test).await.unwrap();
        });
    }

    /// One of those who share it had a file error that leaves the transaction as it is.
    #[test]
    fn connections_are_not_opened_anew_in_the_middle_of_a_transaction() {
        run(async {
            let (writer, _turn, _session) = in_transaction().await;
            writer.spoil();
            writer.open().await.unwrap();
            let mut slot = writer.conn.lock();
            assert!(!slot.db().unwrap().connection.is_autocommit());
        });
    }

    /// The close was quicker than the commit of a call that is done, which nobody can take the turn from.
    #[test]
    fn a_transaction_that_is_closed_before_its_commit_is_refused_as_closed() {
        run(async {
            let (writer, turn, session) = in_transaction().await;
            writer.shut();
            writer.close();
            let ended = writer.finish(turn, &session).await;
            assert!(
                matches!(ended, Err(Error::Closed { method: "first" })),
                "{ended:?}"
            );
        });
    }
}
