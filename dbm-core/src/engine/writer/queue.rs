//! Who has the writer and who waits for it: first come, first served.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Writer;
use super::commit::{Batch, Done};
use super::contention::Spin;
use super::ending::Members;
use super::pace::Place;
use crate::engine::connection::{OwnerId, next_id};
use crate::engine::session::Session;
use crate::engine::trust::Trust;
use crate::error::{Error, Result};

/// The method of a turn that no call has.
pub(super) const NOBODY: &str = "nobody";

/// How long the members of a shared transaction wait for the one who holds it.
const STALL: Duration = Duration::from_secs(1);

/// How long they wait for a caller to come for the turn it was given, at first.
pub(super) const UNCLAIMED: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct State {
    pub(super) holder: Option<Holding>,
    pub(super) queue: VecDeque<Waiter>,
    pub(super) batch: Batch,
    /// Transactions that have ended and whose members have not been told yet.
    pub(super) done: Vec<Done>,
    /// The log is to start over when nobody has work in the transaction.
    pub(super) start_over: bool,
    pub(super) closed: bool,
}

pub(super) struct Holding {
    pub(super) id: OwnerId,
    pub(super) method: &'static str,
    pub(super) since: Instant,
    /// Its caller has come for it.
    pub(super) claimed: bool,
    /// How long the others wait for that.
    pub(super) patience: Duration,
    pub(super) session: Option<Arc<Session>>,
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

    /// Its caller has come; whose session it is, so that a stalled one can be evicted.
    fn attach(&mut self, session: &Arc<Session>) {
        self.claimed = true;
        self.session = Some(Arc::clone(session));
    }

    /// Takes the turn for the library's own work.
    pub(super) fn take_over(&mut self) -> OwnerId {
        *self = Self::new(next_id(), self.method, true);
        self.id
    }
}

pub(super) struct Waiter {
    id: OwnerId,
    method: &'static str,
    trust: Option<&'static Trust>,
    patience: Duration,
    grant: oneshot::Sender<Turn>,
}

/// The right to use the writer. Dropped, it goes to the next in the queue.
pub(crate) struct Turn {
    pub(super) writer: Arc<Writer>,
    pub(crate) id: OwnerId,
    /// The transaction is open already; this call gets a savepoint in it.
    pub(crate) joins: bool,
    pub(super) solo: bool,
    pub(super) armed: bool,
}

/// What the lane has to do before the turn goes to the next one.
enum Next {
    Commit(Members),
    StartOver,
}

impl Writer {
    /// Waits for the writer, first come first served. A caller that goes away leaves the queue undisturbed. Without
    /// `trust` the call runs in a transaction of its own.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        session: &Arc<Session>,
        trust: Option<&'static Trust>,
    ) -> Result<Turn> {
        match self.enqueue(session, trust, UNCLAIMED)? {
            Queued::AtOnce(turn) => Ok(turn),
            // Boxed, as everything that is seldom waited for: a call that need not wait is small.
            Queued::Waiting(place) => Box::pin(self.queue(session, trust, place)).await,
        }
    }

    async fn queue<'a>(
        self: &'a Arc<Self>,
        session: &Arc<Session>,
        trust: Option<&'static Trust>,
        mut place: PlaceInQueue<'a>,
    ) -> Result<Turn> {
        let (started, mut patience) = (Instant::now(), UNCLAIMED);
        loop {
            let turn = self
                .wait_for_turn(session.method, started, &mut place)
                .await?;
            if self.claim(&turn, session) {
                return Ok(turn);
            }
            drop(turn);
            // It took so long to come for its turn that the others went on without it; they will wait longer.
            patience = (2 * patience).min(STALL);
            place = match self.enqueue(session, trust, patience)? {
                Queued::AtOnce(turn) => return Ok(turn),
                Queued::Waiting(place) => place,
            };
        }
    }

    async fn wait_for_turn(
        self: &Arc<Self>,
        method: &'static str,
        started: Instant,
        place: &mut PlaceInQueue<'_>,
    ) -> Result<Turn> {
        let limit = self.opener.config.acquire_timeout;
        let mut pause = UNCLAIMED;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match tokio::time::timeout(pause.min(left), &mut place.grant).await {
                Ok(turn) => {
                    place.armed = false;
                    return turn.map_err(|_| Error::Closed { method });
                }
                Err(_) => self.go_on_without_holder(),
            }
            if started.elapsed() >= limit {
                return Err(self.acquire_timeout(method));
            }
            pause = (2 * pause).min(STALL);
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        session: &Arc<Session>,
        trust: Option<&'static Trust>,
        patience: Duration,
    ) -> Result<Queued<'_>> {
        let (id, method) = (session.id, session.method);
        let mut spin = Spin::default();
        let mut state = loop {
            let again = spin.wait(&self.contention);
            let state = self.lock();
            if !again || state.holder.is_none() || !state.queue.is_empty() {
                break state;
            }
        };
        if state.closed {
            return Err(Error::Closed { method });
        }
        let solo = is_solo(trust);
        if state.is_free_for(solo) {
            state.hold(id, method).attach(session);
            if !solo {
                self.contention.runs();
            }
            return Ok(Queued::AtOnce(Turn::new(
                self,
                id,
                state.batch.is_open(),
                solo,
            )));
        }
        let queued = state.queue.len();
        let limit = self.opener.config.max_queue;
        let first = patience > UNCLAIMED;
        if !first && limit.is_some_and(|limit| queued >= limit) {
            return Err(Error::Overloaded { method, queued });
        }
        self.contention.is_over();
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
        Ok(Queued::Waiting(PlaceInQueue {
            writer: self,
            id,
            grant: receiver,
            armed: true,
        }))
    }

    /// Whether a turn that was granted is still there for its caller; from now on only an eviction takes it.
    fn claim(&self, turn: &Turn, session: &Arc<Session>) -> bool {
        let mut state = self.lock();
        state.held_by(turn.id).is_some_and(|holding| {
            holding.attach(session);
            if !turn.solo {
                self.contention.runs();
            }
            true
        })
    }

    fn acquire_timeout(&self, method: &'static str) -> Error {
        let state = self.lock();
        let (holder, held) = state
            .holder
            .as_ref()
            .map_or((NOBODY, Duration::ZERO), |holding| {
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

    /// Gives the turn to the next one, or commits what is open when nobody may join it.
    pub(super) fn pass_on(self: &Arc<Self>, id: OwnerId, solo: bool) {
        if let Some(job) = self.before_next(id, solo) {
            self.conn.post_or_run(job, drop);
        }
    }

    /// Gives the turn to the next one, or tells what the lane has to do before that.
    pub(super) fn before_next(
        self: &Arc<Self>,
        id: OwnerId,
        solo: bool,
    ) -> Option<Box<dyn FnOnce() + Send>> {
        let next = self.next(id, solo)?;
        // Whatever becomes of the job, its drop passes the turn on.
        let turn = Turn::new(self, id, false, false);
        Some(Box::new(move || {
            let writer = &turn.writer;
            match next {
                Next::Commit(members) => {
                    let _ = writer.conn.lock().give_to(id);
                    let done = writer.commit_now(id, members, Place::OnThread);
                    drop(turn);
                    drop(done);
                }
                Next::StartOver => {
                    if let Some(db) = writer.conn.lock().db()
                        && let Some(log) = writer.checkpointer.start_over(db)
                    {
                        writer.readers.make_way_for(&log);
                    }
                }
            }
        }))
    }

    fn next(self: &Arc<Self>, id: OwnerId, solo: bool) -> Option<Next> {
        let mut state = self.lock();
        loop {
            if !state.is_held_by(id) {
                return None;
            }
            if state.batch.is_open() && state.must_commit(solo) {
                state.hold_on();
                return Some(Next::Commit(state.batch.take_members()));
            }
            if !state.batch.is_open() && std::mem::take(&mut state.start_over) {
                state.hold_on();
                return Some(Next::StartOver);
            }
            let Some(waiter) = state.queue.pop_front() else {
                state.holder = None;
                return None;
            };
            let mut holding = Holding::new(waiter.id, waiter.method, false);
            holding.patience = waiter.patience;
            let turn = Turn::new(self, waiter.id, state.batch.is_open(), waiter.is_solo());
            match waiter.grant.send(turn) {
                Ok(()) => {
                    state.holder = Some(holding);
                    return None;
                }
                // Its caller went away in this instant.
                Err(mut turn) => turn.armed = false,
            }
        }
    }

    /// Nobody waits for ever for the one who has the turn: a turn that nobody comes for is taken back, and a body
    /// that keeps the members of its transaction waiting is undone.
    pub(super) fn go_on_without_holder(self: &Arc<Self>) {
        self.answer();
        let mut state = self.lock();
        let in_company = !state.batch.members.are_none();
        let Some(holding) = &mut state.holder else {
            let overdue = state
                .batch
                .since
                .is_some_and(|since| since.elapsed() >= UNCLAIMED);
            let turn = overdue.then(|| self.take_free_turn(&mut state, NOBODY));
            drop(state);
            return drop(turn);
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
    fn held_by(&mut self, id: OwnerId) -> Option<&mut Holding> {
        self.holder.as_mut().filter(|holding| holding.id == id)
    }

    pub(super) fn is_held_by(&self, id: OwnerId) -> bool {
        self.holder.as_ref().is_some_and(|holding| holding.id == id)
    }

    /// The turn is used for the library's own work now: nobody may take it back.
    pub(super) fn hold_on(&mut self) {
        if let Some(holding) = &mut self.holder {
            holding.claimed = true;
            holding.session = None;
        }
    }

    /// For a caller that comes now.
    fn is_free_for(&self, solo: bool) -> bool {
        let may_join = !self.batch.is_open() || (!solo && self.batch.has_room());
        self.holder.is_none() && self.queue.is_empty() && may_join
    }

    pub(super) fn hold(&mut self, id: OwnerId, method: &'static str) -> &mut Holding {
        self.holder.insert(Holding::new(id, method, true))
    }

    pub(super) fn may_wait_for_company(&self, solo: bool) -> bool {
        !solo && self.queue.is_empty() && self.batch.expects_company() && !self.is_full()
    }

    pub(super) fn must_commit(&self, solo: bool) -> bool {
        let cannot_go_on = match self.queue.front() {
            Some(waiter) => waiter.is_solo(),
            None => self.batch.leader.is_none() || !self.batch.expects_company(),
        };
        solo || cannot_go_on || self.is_full()
    }

    /// As of when the holder came: to read the clock again would cost more than it is worth.
    fn is_full(&self) -> bool {
        let now = match &self.holder {
            Some(holding) => holding.since,
            None => Instant::now(),
        };
        self.batch.is_full(now)
    }
}

impl Turn {
    pub(super) fn new(writer: &Arc<Writer>, id: OwnerId, joins: bool, solo: bool) -> Self {
        Self {
            writer: Arc::clone(writer),
            id,
            joins,
            solo,
            armed: true,
        }
    }

    /// Gives the turn to the next one in the queue.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.writer.contention.is_over();
            self.writer.pass_on(self.id, self.solo);
        }
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
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
    Waiting(PlaceInQueue<'a>),
}

/// Dropped, it leaves the queue.
struct PlaceInQueue<'a> {
    writer: &'a Writer,
    id: OwnerId,
    grant: oneshot::Receiver<Turn>,
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
