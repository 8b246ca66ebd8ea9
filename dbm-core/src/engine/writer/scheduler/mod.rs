//! Who has the writer, who waits for it, and when the shared transaction is committed.
//!
//! A pure state machine: no locks, wakers, clocks, threads or SQLite. Each public method is an event; it answers at once,
//! and what has to be done in the world comes back in [`Effects`]. `shell.rs` puts it behind a lock and carries the effects
//! out after unlocking, so no foreign code runs under the lock.
//!
//! ```text
//!         arrive                          finish: commit
//! Idle ───────────► Running ───────────────────────────────────► Library ──► done
//!  ▲ ▲                ▲   │ finish: the leader waits for joiners     ▲          │
//!  │ └────────────────┼───┘                                          │          │
//!  │             claim│   release, or finish and go on: next         │          │
//!  │                  │   ├──────────────────────────────────────────┤          │
//!  │               Granted◄── the front of the queue                 │          │
//!  │                          the batch must be committed ───────────┘          │
//!  └──────────────────────────────── nobody waits ◄─────────────────────────────┘ next
//! ```
//!
//! A *batch* is the open transaction and the calls whose work is part of it, its *members*. It may be open in each phase. Its
//! *leader* is the member that has promised to commit it once no more joiners come. A leader may also exist while another
//! call runs: it looks again later. While there is none, the running call commits. An *exclusive* call neither joins a batch
//! nor lets others join.
//!
//! # Invariants
//!
//! Checked by [`Scheduler::check`] after each event in debug builds, and over every order of events in `tests.rs`:
//!
//! - Idle with an open batch: it has a leader.
//! - Idle with calls in the queue: a batch is open. Its leader sees the queue when it looks.
//! - Closed: no call waits, and none is granted the writer.
//! - The library has the writer for a commit or a restart of the log: no batch is open.
//! - An open batch has members.
//!
//! And in `tests.rs` alone, for the machine together with its callers: one call runs at a time; a transaction begins only
//! outside of one, a savepoint only inside; each member is told once, and Ok only after its commit; calls run in the
//! order of arrival; every wait ends.

mod interface;
mod queue;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub(super) use self::interface::{
    Again, Arrived, CallId, Caller, Effects, Finished, Follow, Looked, NOBODY, Next, Reason,
    RunningCall, SpinHint, Waiting,
};
pub(super) use self::queue::Arrival;
use self::queue::{Queue, Waiter};
use super::policy::Policy;

/// `W` is a queued call, `S` the session of a running one, `F` a batch's followers. The scheduler only passes them on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scheduler<W, S, F> {
    policy: Policy,
    /// More waiting calls are refused.
    max_queue: Option<usize>,
    phase: Phase<S>,
    queue: Queue<W>,
    /// How many calls have queued so far.
    arrivals: Arrival,
    batch: Option<Batch<F>>,
    /// Members of the batch before this one. About as many are likely to come back.
    last_members: u32,
    /// The log must be restarted once no batch is open.
    restart_log: bool,
    closed: bool,
}

/// Who has the writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase<S> {
    /// No call. With an open batch: its leader waits for joiners.
    Idle,
    /// A call from the queue that has not taken it yet.
    Granted { to: Holder, claim_within: Duration },
    /// A call.
    Running {
        by: Holder,
        /// Other calls have waited for its body since then.
        claimed: Instant,
        session: S,
        exclusive: bool,
        /// It has no transaction, and commits by itself. For the others it is as if the library committed.
        autocommits: bool,
    },
    /// The library, for a job that must not be interrupted.
    Library {
        job: LibraryJob,
        since: Instant,
        method: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LibraryJob {
    Commit,
    RestartLog,
    /// Undoes the work of a call that was evicted.
    Reclaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    id: CallId,
    method: &'static str,
    /// When it was given the writer.
    since: Instant,
}

/// The open transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Batch<F> {
    since: Instant,
    members: u32,
    leader: Option<CallId>,
    followers: F,
}

impl<W: Waiting, S: RunningCall, F: Follow> Scheduler<W, S, F> {
    pub(super) const fn new(policy: Policy, max_queue: Option<usize>) -> Self {
        Self {
            policy,
            max_queue,
            phase: Phase::Idle,
            queue: Queue::new(),
            arrivals: 0,
            batch: None,
            last_members: 0,
            restart_log: false,
            closed: false,
        }
    }

    /// A call wants the writer. If it queues, it is passed on as `waiter` later. A call that was too late for its grant
    /// keeps its place.
    pub(super) fn arrive(
        &mut self,
        caller: Caller<S>,
        now: impl Fn() -> Instant,
        waiter: impl FnOnce() -> W,
    ) -> Arrived {
        if self.closed {
            return Arrived::Closed;
        }
        if self.is_free_for(caller.exclusive) {
            let now = now();
            let joins = self.run(caller, now, now);
            return Arrived::Runs { joins };
        }
        let queued = self.queue.len();
        let Again {
            arrival,
            since,
            claim_within,
        } = match caller.again {
            Some(again) => again,
            None if self.max_queue.is_some_and(|limit| queued >= limit) => {
                return Arrived::Overloaded { queued };
            }
            None => {
                self.arrivals += 1;
                Again {
                    arrival: self.arrivals,
                    since: now(),
                    claim_within: self.policy.claim_within,
                }
            }
        };
        let waiter = Waiter {
            handle: waiter(),
            since,
            claim_within,
        };
        self.queue.insert(arrival, waiter);
        Arrived::Queued(arrival)
    }

    /// A call takes the writer that it was granted. `None` if it is too late. From here on only an eviction takes the
    /// writer from it.
    pub(super) fn claim(&mut self, caller: Caller<S>, now: Instant) -> Option<bool> {
        match &self.phase {
            Phase::Granted { to, .. } if to.id == caller.id => {
                Some(self.run(caller, to.since, now))
            }
            _ => None,
        }
    }

    /// A call leaves the queue. `None` if it is not in the queue: it may have been granted the writer.
    pub(super) fn leave(&mut self, arrival: Arrival) -> Option<W> {
        self.queue.remove(arrival)
    }

    /// The work of the running call becomes part of the transaction. Returns the batch's followers.
    pub(super) fn include(&mut self, now: impl Fn() -> Instant) -> &mut F {
        let batch = self.batch.get_or_insert_with(|| Batch {
            since: now(),
            members: 0,
            leader: None,
            followers: F::default(),
        });
        batch.members += 1;
        &mut batch.followers
    }

    /// The running call is done: its work was included, or was undone in a shared transaction. Either way it waits for
    /// the commit.
    pub(super) fn finish(
        &mut self,
        id: CallId,
        exclusive: bool,
        now: impl Fn() -> Instant,
        effects: &mut Effects<W, S, F>,
    ) -> Finished<F> {
        if !self.is_run_by(id) {
            return Finished::NotHeld;
        }
        if self.batch.is_none() {
            self.next(exclusive, now, effects);
            return Finished::Lost;
        }
        let gathers = self.gathers(exclusive, &now);
        let must_commit = !gathers && self.must_commit(exclusive, &now);
        if must_commit && let Some(followers) = self.take_batch() {
            self.hold(LibraryJob::Commit, now);
            return Finished::Commit(followers);
        }
        let Some(batch) = &mut self.batch else {
            return Finished::Lost;
        };
        if gathers {
            let leads = batch.leader.is_none();
            batch.leader.get_or_insert(id);
            let outcome = batch.followers.join();
            self.phase = Phase::Idle;
            return if leads {
                Finished::Lead(outcome)
            } else {
                Finished::Wait(outcome)
            };
        }
        let outcome = batch.followers.join();
        self.next(exclusive, now, effects);
        Finished::Wait(outcome)
    }

    /// A call gives the writer back without waiting for a commit, or never takes it. Nothing happens if it no longer has
    /// it.
    pub(super) fn release(
        &mut self,
        id: CallId,
        exclusive: bool,
        now: impl Fn() -> Instant,
        effects: &mut Effects<W, S, F>,
    ) {
        let holder = match &self.phase {
            Phase::Granted { to: holder, .. } | Phase::Running { by: holder, .. } => holder.id,
            Phase::Idle | Phase::Library { .. } => return,
        };
        if holder == id {
            self.next(exclusive, now, effects);
        }
    }

    /// The library's job is done. With `restart_log` the log must be restarted once no batch is open.
    pub(super) fn done(
        &mut self,
        restart_log: bool,
        now: impl Fn() -> Instant,
        effects: &mut Effects<W, S, F>,
    ) {
        self.restart_log |= restart_log;
        // After a reclaim a batch may be open, and its members wait for the commit.
        self.next(true, now, effects);
    }

    /// The leader checks whether to commit. It does if no call has joined the members that it has `seen`, and it has
    /// waited long enough for more.
    pub(super) fn look(
        &mut self,
        id: CallId,
        seen: u32,
        waited_enough: bool,
        now: impl Fn() -> Instant,
    ) -> Looked<F> {
        let gathers = self.gathers(false, &now);
        let members = match &self.batch {
            Some(batch) if batch.leader == Some(id) => batch.members,
            _ => return Looked::Relieved,
        };
        if gathers && !(waited_enough && members == seen) {
            return Looked::Keep { members };
        }
        self.close_commit_window(now)
            .map_or(Looked::Relieved, Looked::Commit)
    }

    /// The leader was dropped.
    pub(super) fn leader_gone(
        &mut self,
        id: CallId,
        now: impl Fn() -> Instant,
        effects: &mut Effects<W, S, F>,
    ) {
        if self
            .batch
            .as_ref()
            .is_some_and(|batch| batch.leader == Some(id))
        {
            effects.next = self.close_commit_window(now).map(Next::Commit);
        }
    }

    /// The transaction has ended without the batch's commit, or the running call commits it itself and goes on.
    pub(super) fn take_batch(&mut self) -> Option<F> {
        let batch = self.batch.take()?;
        self.last_members = batch.members;
        Some(batch.followers)
    }

    /// The log must be restarted once no batch is open.
    pub(super) fn want_log_restart(&mut self) {
        self.restart_log = true;
    }

    /// Takes the writer from the running call `id`. `None` if the call no longer has it. A call whose work is included
    /// (`resolved`) gets the outcome of the batch's commit. The work of any other call is undone by the caller of this,
    /// which then reports [`done`](Self::done).
    pub(super) fn reclaim(
        &mut self,
        id: CallId,
        resolved: bool,
        now: impl Fn() -> Instant,
    ) -> Option<Option<F::Outcome>> {
        if !self.is_run_by(id) {
            return None;
        }
        let batch = self.batch.as_mut().filter(|_| resolved);
        let outcome = batch.map(|batch| batch.followers.join());
        self.hold(LibraryJob::Reclaim, now);
        Some(outcome)
    }

    /// Time has passed. Ends the waits for a call that does not take the writer, for a body that keeps the members of its
    /// transaction waiting, and for a leader that does not run. Also for an idle call, if the program says so. And ends the
    /// waits that have lasted too long.
    pub(super) fn tick(&mut self, now: Instant, effects: &mut Effects<W, S, F>) {
        let since = |time| now.saturating_duration_since(time);
        let has_expired = |call: &Waiter<W>| since(call.since) >= self.policy.acquire_timeout;
        while self.queue.front().is_some_and(has_expired) {
            effects
                .expired
                .extend(self.queue.pop().map(|waiter| waiter.handle));
        }
        match &self.phase {
            Phase::Idle => {
                let overdue = |batch: &Batch<F>| since(batch.since) >= self.policy.overdue_after;
                if self.batch.as_ref().is_some_and(overdue) {
                    effects.next = self.close_commit_window(|| now).map(Next::Commit);
                }
            }
            Phase::Granted { to, claim_within } => {
                if since(to.since) >= *claim_within {
                    self.next(true, || now, effects);
                }
            }
            Phase::Running {
                claimed, session, ..
            } => {
                let is_idle = |limit| {
                    let idle = session.idle_since().map(|idle| idle.max(*claimed));
                    idle.is_some_and(|idle| since(idle) >= limit)
                };
                let reason = if self.has_followers() && since(*claimed) >= self.policy.stalled_after
                {
                    Some(Reason::Stalled)
                } else if !self.queue.is_empty() && self.policy.max_idle.is_some_and(is_idle) {
                    Some(Reason::Idle)
                } else {
                    None
                };
                effects.evict = reason.map(|reason| (session.clone(), reason));
            }
            Phase::Library { .. } => {}
        }
    }

    /// Refuses new calls and those in the queue, and takes the writer from the call that has it.
    pub(super) fn shut(&mut self, now: impl Fn() -> Instant, effects: &mut Effects<W, S, F>) {
        self.closed = true;
        effects.refused = self.queue.clear();
        if let Phase::Running { session, .. } = &self.phase {
            effects.evict = Some((session.clone(), Reason::Closed));
        }
        effects.next = self.close_commit_window(&now).map(Next::Commit);
        if let Phase::Granted { .. } = self.phase {
            self.next(true, now, effects);
        }
    }

    /// Another follower of the open batch.
    #[cfg(test)]
    pub(super) fn follow(&mut self) -> Option<F::Outcome> {
        Some(self.batch.as_mut()?.followers.join())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether any work waits for its commit.
    pub(super) fn in_transaction(&self) -> bool {
        self.batch.is_some()
    }

    /// Whether any call waits for a commit.
    pub(super) fn has_followers(&self) -> bool {
        let batch = self.batch.as_ref();
        batch.is_some_and(|batch| !batch.followers.is_empty())
    }

    /// Whether the call that runs commits by itself.
    pub(super) fn autocommits(&self) -> bool {
        matches!(
            self.phase,
            Phase::Running {
                autocommits: true,
                ..
            }
        )
    }

    /// Whether the writer is taken and no call queues for it.
    pub(super) fn has_lone_holder(&self) -> bool {
        !matches!(self.phase, Phase::Idle) && self.queue.is_empty()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Who has the writer, and since when.
    pub(super) fn holder(&self) -> Option<(&'static str, Instant)> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Granted { to: holder, .. } | Phase::Running { by: holder, .. } => {
                Some((holder.method, holder.since))
            }
            Phase::Library { method, since, .. } => Some((method, *since)),
        }
    }

    pub(super) fn spin_hint(&self) -> SpinHint {
        match &self.phase {
            Phase::Running {
                exclusive: false,
                autocommits: false,
                ..
            } if self.queue.is_empty() => SpinHint::Running,
            Phase::Idle if self.batch.is_some() && self.queue.is_empty() => SpinHint::Open,
            _ => SpinHint::Quiet,
        }
    }

    /// Checks the invariants that hold between events, as the module lists them.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let idle = matches!(self.phase, Phase::Idle);
        let granted = matches!(self.phase, Phase::Granted { .. });
        let works = matches!(
            self.phase,
            Phase::Library {
                job: LibraryJob::Commit | LibraryJob::RestartLog,
                ..
            }
        );
        let batch = self.batch.as_ref();
        if idle && batch.is_some_and(|batch| batch.leader.is_none()) {
            Err("nobody will commit the batch")
        } else if idle && batch.is_none() && !self.queue.is_empty() {
            Err("the writer is free, and calls wait for it")
        } else if self.closed && (granted || !self.queue.is_empty()) {
            Err("a call waits for a writer that is closed")
        } else if works && batch.is_some() {
            Err("a batch is open while the library commits")
        } else if batch.is_some_and(|batch| batch.members == 0) {
            Err("the batch has no members")
        } else {
            Ok(())
        }
    }

    /// Gives the writer to the next call, or to the library if it has a job to do before that.
    fn next(&mut self, exclusive: bool, now: impl Fn() -> Instant, effects: &mut Effects<W, S, F>) {
        if self.must_commit(exclusive, &now)
            && let Some(followers) = self.take_batch()
        {
            self.hold(LibraryJob::Commit, now);
            effects.next = Some(Next::Commit(followers));
        } else if self.batch.is_none() && std::mem::take(&mut self.restart_log) {
            self.hold(LibraryJob::RestartLog, now);
            effects.next = Some(Next::RestartLog);
        } else if let Some(waiter) = self.queue.pop() {
            let Waiter {
                handle,
                claim_within,
                ..
            } = waiter;
            let to = Holder {
                id: handle.id(),
                method: handle.method(),
                since: now(),
            };
            self.phase = Phase::Granted { to, claim_within };
            effects.next = Some(Next::Grant(handle));
        } else {
            self.phase = Phase::Idle;
        }
    }

    /// Gives the writer to a call. True when the transaction is open.
    fn run(&mut self, caller: Caller<S>, since: Instant, claimed: Instant) -> bool {
        self.phase = Phase::Running {
            by: Holder {
                id: caller.id,
                method: caller.method,
                since,
            },
            claimed,
            session: caller.session,
            exclusive: caller.exclusive,
            autocommits: caller.may_autocommit && self.expects_nobody(),
        };
        self.batch.is_some()
    }

    /// Whether no transaction is open, and no call waits or is likely to come that could join one.
    fn expects_nobody(&self) -> bool {
        self.batch.is_none() && self.queue.is_empty() && self.last_members <= 1
    }

    /// Gives the writer to the library.
    fn hold(&mut self, job: LibraryJob, now: impl Fn() -> Instant) {
        let (method, since) = self.holder().unwrap_or_else(|| (NOBODY, now()));
        self.phase = Phase::Library { job, since, method };
    }

    /// Ends the wait for joiners. Without a holder the library commits; otherwise the holder must see to it.
    fn close_commit_window(&mut self, now: impl Fn() -> Instant) -> Option<F> {
        self.batch.as_mut()?.leader = None;
        if !matches!(self.phase, Phase::Idle) {
            return None;
        }
        self.hold(LibraryJob::Commit, now);
        self.take_batch()
    }

    fn is_run_by(&self, id: CallId) -> bool {
        matches!(&self.phase, Phase::Running { by, .. } if by.id == id)
    }

    fn is_free_for(&self, exclusive: bool) -> bool {
        let has_room = |batch: &Batch<F>| batch.members < self.policy.max_members;
        let may_join = match &self.batch {
            Some(batch) => !exclusive && has_room(batch),
            None => true,
        };
        matches!(self.phase, Phase::Idle) && self.queue.is_empty() && may_join
    }

    /// Whether the batch stays open for calls that are likely to come.
    fn gathers(&self, exclusive: bool, now: impl Fn() -> Instant) -> bool {
        !self.closed
            && !exclusive
            && self.queue.is_empty()
            && self.expects_joiners()
            && !self.is_full(now)
    }

    /// Whether the open batch must be committed before another call runs.
    fn must_commit(&self, exclusive: bool, now: impl Fn() -> Instant) -> bool {
        let Some(batch) = &self.batch else {
            return false;
        };
        let nobody_joins = match self.queue.front() {
            Some(waiter) => waiter.handle.is_exclusive(),
            None => batch.leader.is_none() || !self.expects_joiners(),
        };
        exclusive || nobody_joins || self.is_full(now)
    }

    fn expects_joiners(&self) -> bool {
        let batch = self.batch.as_ref();
        batch.is_some_and(|batch| batch.members < self.last_members)
    }

    fn is_full(&self, now: impl Fn() -> Instant) -> bool {
        let Some(batch) = &self.batch else {
            return false;
        };
        let is_old = || {
            let now = self.holder().map_or_else(now, |(_, since)| since);
            now.saturating_duration_since(batch.since) >= self.policy.max_age
        };
        batch.members >= self.policy.max_members || is_old()
    }
}
