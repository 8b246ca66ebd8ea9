//! The scheduler, its callers, and the one transaction of the file.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::super::{
    Again, Arrival, Arrived, CallId, Caller, Effects, Finished, Follow, Looked, Next, Reason,
    RunningCall, Scheduler, Waiting,
};
use crate::engine::writer::policy::{POLICY, Policy};

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Longer than any limit of the policy.
const LONG: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Shares,
    Exclusive,
    /// It begins as a call that shares.
    TurnsExclusive,
}

pub(super) type TestScheduler = Scheduler<Queued, CallId, Joined>;

/// A call that shares arrives.
pub(super) fn arrive(scheduler: &mut TestScheduler, id: CallId, now: Instant) -> Arrived {
    let queued = || Queued {
        id,
        exclusive: false,
    };
    scheduler.arrive(caller(id, None), || now, queued)
}

/// A call arrives again, after it was too late for its grant.
pub(super) fn arrive_again(
    scheduler: &mut TestScheduler,
    id: CallId,
    arrival: Arrival,
    now: Instant,
) -> Arrived {
    let again = Again {
        arrival,
        since: now,
        claim_within: POLICY.claim_within,
    };
    let queued = || Queued {
        id,
        exclusive: false,
    };
    scheduler.arrive(caller(id, Some(again)), || now, queued)
}

pub(super) fn claim(scheduler: &mut TestScheduler, id: CallId, now: Instant) -> Option<bool> {
    scheduler.claim(caller(id, None), now)
}

/// A call arrives that can do without a transaction while it is alone.
pub(super) fn arrive_unwrapped(scheduler: &mut TestScheduler, id: CallId, now: Instant) -> Arrived {
    let caller = Caller {
        may_autocommit: true,
        ..caller(id, None)
    };
    let queued = || Queued {
        id,
        exclusive: false,
    };
    scheduler.arrive(caller, || now, queued)
}

fn caller(id: CallId, again: Option<Again>) -> Caller<CallId> {
    Caller {
        id,
        method: "call",
        exclusive: false,
        may_autocommit: false,
        session: id,
        again,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    scheduler: TestScheduler,
    calls: Vec<Call>,
    transaction: Option<Transaction>,
    /// How the transactions ended so far: true when committed.
    ended: Vec<bool>,
    /// The library's current job.
    library: Option<Library>,
    /// The call that was granted the writer last.
    granted: Option<usize>,
    /// Posted to the worker thread.
    evictions: Vec<usize>,
    /// Since the beginning, in units of `LONG`.
    time: u32,
    max_time: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Queued {
    id: CallId,
    exclusive: bool,
}

impl Waiting for Queued {
    fn id(&self) -> CallId {
        self.id
    }

    fn method(&self) -> &'static str {
        "call"
    }

    fn is_exclusive(&self) -> bool {
        self.exclusive
    }
}

/// A body that does nothing.
impl RunningCall for CallId {
    fn idle_since(&self) -> Option<Instant> {
        Some(*BEGINNING)
    }
}

/// Whether any call waits for the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Joined(bool);

impl Follow for Joined {
    type Outcome = ();

    fn join(&mut self) {
        self.0 = true;
    }

    fn is_empty(&self) -> bool {
        !self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Call {
    kind: Kind,
    place: Place,
    joined: bool,
    exclusive: bool,
    /// Its work is in the transaction.
    included: bool,
    /// It was evicted. With a number, the outcome of that transaction is its answer.
    evicted: Option<Option<usize>>,
    /// Where in the order of arrival it queued first.
    arrival: Option<Arrival>,
    /// When it queued first, in units of `LONG`.
    since: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Away,
    Queued,
    Granted,
    Running,
    /// Its body is done, or was undone in the transaction of others.
    Ending,
    Leading {
        seen: u32,
        transaction: usize,
    },
    Waiting {
        transaction: usize,
    },
    /// As the library, for its own call.
    Committing,
    Ended(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Ok,
    Err,
    Cancelled,
    Expired,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Transaction {
    number: usize,
    included: Vec<usize>,
    /// No other call may join it.
    exclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Library {
    Commit,
    RestartLog,
    Reclaim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Arrive(usize),
    Claim(usize),
    /// The body is done, and its work is included.
    Include(usize),
    /// The body has failed.
    Fail(usize),
    /// SQLite has ended the transaction of the body and of the members before it.
    Lose(usize),
    /// Before its first statement, which cannot share a transaction.
    TurnExclusive(usize),
    Finish(usize),
    Look(usize, bool),
    /// Its future is dropped.
    Cancel(usize),
    /// The library's commit has ended.
    Committed {
        ok: bool,
    },
    /// The library's other job has ended.
    Done {
        restart_log: bool,
    },
    /// The worker thread carries out the eviction.
    Evict,
    Tick,
    TimePasses,
    Shut,
}

impl Event {
    /// An event that happens by itself as long as every task runs.
    pub(super) fn is_progress(self) -> bool {
        !matches!(
            self,
            Self::Cancel(_)
                | Self::Tick
                | Self::TimePasses
                | Self::Shut
                | Self::Committed { ok: false }
        )
    }

    pub(super) fn is_of(self, call: usize) -> bool {
        match self {
            Self::Arrive(number)
            | Self::Claim(number)
            | Self::Include(number)
            | Self::Fail(number)
            | Self::Lose(number)
            | Self::TurnExclusive(number)
            | Self::Finish(number)
            | Self::Look(number, _)
            | Self::Cancel(number) => number == call,
            _ => false,
        }
    }
}

fn id(number: usize) -> CallId {
    number as CallId + 1
}

fn number(id: CallId) -> usize {
    id as usize - 1
}

impl World {
    /// `expected` is how many members the transaction before had.
    pub(super) fn new(kinds: &[Kind], expected: u32) -> Self {
        Self::with(kinds, expected, 2)
    }

    pub(super) fn without_time(kinds: &[Kind], expected: u32) -> Self {
        Self::with(kinds, expected, 0)
    }

    /// An idle call is evicted when others wait.
    pub(super) fn with_max_idle(kinds: &[Kind], expected: u32) -> Self {
        let mut world = Self::new(kinds, expected);
        let policy = Policy {
            max_idle: Some(LONG),
            ..world.scheduler.policy
        };
        world.scheduler.policy = policy;
        world
    }

    /// A call that has waited for long leaves the queue.
    pub(super) fn with_acquire_timeout(kinds: &[Kind], expected: u32) -> Self {
        let mut world = Self::new(kinds, expected);
        let policy = Policy {
            acquire_timeout: LONG,
            ..world.scheduler.policy
        };
        world.scheduler.policy = policy;
        world
    }

    pub(super) fn with(kinds: &[Kind], expected: u32, max_time: u32) -> Self {
        let policy = Policy {
            max_members: 2,
            ..POLICY
        };
        let mut scheduler = Scheduler::new(policy, None);
        scheduler.last_members = expected;
        let call = |kind: &Kind| Call {
            kind: *kind,
            place: Place::Away,
            joined: false,
            exclusive: *kind == Kind::Exclusive,
            included: false,
            evicted: None,
            arrival: None,
            since: 0,
        };
        Self {
            scheduler,
            calls: kinds.iter().map(call).collect(),
            transaction: None,
            ended: Vec::new(),
            library: None,
            granted: None,
            evictions: Vec::new(),
            time: 0,
            max_time,
        }
    }

    pub(super) fn pass_time(&mut self) {
        self.time += 1;
        self.apply(Event::Tick);
    }

    pub(super) fn forget_included(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.included.clear();
        }
    }

    /// Whether it keeps the writer, and no other call's commit depends on it.
    pub(super) fn holds_alone(&self, call: usize) -> bool {
        let call = &self.calls[call];
        let holds = matches!(call.place, Place::Running | Place::Ending) && call.evicted.is_none();
        let is_evicted = self.scheduler.has_followers() || self.scheduler.policy.max_idle.is_some();
        // A task that commits by itself is running.
        (holds && !is_evicted) || call.place == Place::Committing
    }

    pub(super) fn others_have_ended(&self, stopped: usize) -> bool {
        let others = self
            .calls
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != stopped);
        let mut others = others.map(|(_, call)| call.place);
        others.all(|place| matches!(place, Place::Ended(_)))
    }

    /// No call has anything left to do, and nothing is left behind.
    pub(super) fn has_ended(&self) -> bool {
        let ended = |call: &Call| matches!(call.place, Place::Ended(_));
        let ended = self.calls.iter().all(ended) && self.library.is_none();
        if ended && self.evictions.is_empty() {
            assert_eq!(
                self.transaction, None,
                "a transaction is left open: {self:#?}"
            );
            assert!(
                self.scheduler.holder().is_none(),
                "the writer is lost: {self:#?}"
            );
        }
        ended
    }

    /// What can happen now.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, call) in self.calls.iter().enumerate() {
            match call.place {
                Place::Away => events.push(Event::Arrive(number)),
                Place::Queued | Place::Waiting { .. } => events.push(Event::Cancel(number)),
                Place::Granted => events.extend([Event::Claim(number), Event::Cancel(number)]),
                Place::Running => {
                    let turns = call.kind == Kind::TurnsExclusive && !call.exclusive;
                    if turns && call.evicted.is_none() {
                        events.push(Event::TurnExclusive(number));
                    }
                    if call.joined && call.evicted.is_none() {
                        events.push(Event::Lose(number));
                    }
                    events.extend([Event::Include(number), Event::Fail(number)]);
                    events.push(Event::Cancel(number));
                }
                Place::Ending => events.extend([Event::Finish(number), Event::Cancel(number)]),
                Place::Leading { .. } => events.extend([
                    Event::Look(number, true),
                    Event::Look(number, false),
                    Event::Cancel(number),
                ]),
                Place::Committing | Place::Ended(_) => {}
            }
        }
        match self.library {
            Some(Library::Commit) => {
                events.extend([
                    Event::Committed { ok: true },
                    Event::Committed { ok: false },
                ]);
            }
            Some(Library::Reclaim | Library::RestartLog) => {
                events.push(Event::Done { restart_log: false });
            }
            None => {}
        }
        if self.library.is_none() && !self.evictions.is_empty() {
            events.push(Event::Evict);
        }
        events.push(Event::Tick);
        if self.time < self.max_time {
            events.push(Event::TimePasses);
        }
        if !self.scheduler.is_closed() {
            events.push(Event::Shut);
        }
        events
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Arrive(number) => self.arrive(number, None),
            Event::Claim(number) => self.claim(number),
            Event::Include(number) => self.include(number),
            Event::Fail(number) => self.fail(number),
            Event::Lose(number) => self.lose(number),
            Event::TurnExclusive(number) => self.turn_exclusive(number),
            Event::Finish(number) => self.finish(number),
            Event::Look(number, waited_enough) => self.look(number, waited_enough),
            Event::Cancel(number) => self.cancel(number),
            Event::Committed { ok } => self.committed(ok),
            Event::Done { restart_log } => self.done(restart_log),
            Event::Evict => self.evict(),
            Event::Tick => {
                let now = self.now();
                self.step(|scheduler, effects| scheduler.tick(now, effects));
            }
            Event::TimePasses => self.time += 1,
            Event::Shut => {
                let now = self.now();
                self.step(|scheduler, effects| scheduler.shut(|| now, effects));
            }
        }
        assert_eq!(self.scheduler.check(), Ok(()), "{self:#?}");
        assert_eq!(self.scheduler.queue.check(), Ok(()), "{self:#?}");
        let runs = |call: &&Call| call.place == Place::Running && call.evicted.is_none();
        assert!(
            self.calls.iter().filter(runs).count() <= 1,
            "two run: {self:#?}"
        );
    }

    fn now(&self) -> Instant {
        *BEGINNING + self.time * LONG
    }

    fn step<R>(
        &mut self,
        event: impl FnOnce(&mut TestScheduler, &mut Effects<Queued, CallId, Joined>) -> R,
    ) -> R {
        let mut effects = Effects::default();
        let reply = event(&mut self.scheduler, &mut effects);
        let Effects {
            next,
            evict,
            expired,
            refused,
        } = effects;
        match next {
            Some(Next::Commit(_)) => self.begin_job(Library::Commit),
            Some(Next::RestartLog) => {
                assert_eq!(
                    self.transaction, None,
                    "a log restarts in a transaction: {self:#?}"
                );
                self.begin_job(Library::RestartLog);
            }
            Some(Next::Grant(queued)) => self.note_grant(&queued),
            None => {}
        }
        if let Some((id, reason)) = evict
            && !self.evictions.contains(&number(id))
        {
            assert!(
                reason != Reason::Idle || self.has_queue(),
                "nobody waits for it: {self:#?}"
            );
            self.evictions.push(number(id));
        }
        for queued in refused {
            self.calls[number(queued.id)].place = Place::Ended(End::Refused);
        }
        for queued in expired {
            let call = number(queued.id);
            assert!(self.calls[call].since < self.time, "too early: {self:#?}");
            assert_eq!(
                self.calls[call].place,
                Place::Queued,
                "not in the queue: {self:#?}"
            );
            self.calls[call].place = Place::Ended(End::Expired);
        }
        reply
    }

    fn note_grant(&mut self, queued: &Queued) {
        let call = number(queued.id);
        assert_eq!(
            self.calls[call].place,
            Place::Queued,
            "granted twice: {self:#?}"
        );
        let earlier = |other: &&Call| {
            other.place == Place::Queued && other.arrival < self.calls[call].arrival
        };
        assert_eq!(
            self.calls.iter().find(earlier),
            None,
            "out of order: {self:#?}"
        );
        self.calls[call].place = Place::Granted;
        self.granted = Some(call);
    }

    fn has_queue(&self) -> bool {
        self.calls.iter().any(|call| call.place == Place::Queued)
    }

    fn begin_job(&mut self, job: Library) {
        assert_eq!(self.library.replace(job), None, "two jobs: {self:#?}");
        if job == Library::Commit {
            let open = |call: &Call| call.place == Place::Running && call.evicted.is_none();
            assert!(
                !self.calls.iter().any(open),
                "a body is half done: {self:#?}"
            );
        }
    }

    fn caller(&self, number: usize, again: Option<Again>) -> Caller<CallId> {
        let session = id(number);
        Caller {
            id: session,
            method: "call",
            exclusive: self.calls[number].exclusive,
            may_autocommit: false,
            session,
            again,
        }
    }

    fn arrive(&mut self, number: usize, again: Option<Again>) {
        let (now, session) = (self.now(), id(number));
        let caller = self.caller(number, again);
        let queued = Queued {
            id: session,
            exclusive: caller.exclusive,
        };
        match self.scheduler.arrive(caller, || now, || queued) {
            Arrived::Runs { joins } => self.begin(number, joins),
            Arrived::Queued(arrival) => {
                self.calls[number].place = Place::Queued;
                self.calls[number].arrival = Some(arrival);
                if again.is_none() {
                    self.calls[number].since = self.time;
                }
            }
            Arrived::Closed => self.calls[number].place = Place::Ended(End::Refused),
            Arrived::Overloaded { .. } => panic!("there is no limit"),
        }
    }

    fn claim(&mut self, number: usize) {
        let (now, caller) = (self.now(), self.caller(number, None));
        match self.scheduler.claim(caller, now) {
            Some(joins) => {
                assert_eq!(self.granted, Some(number), "it came too late: {self:#?}");
                self.begin(number, joins);
            }
            None => {
                let since = *BEGINNING + self.calls[number].since * LONG;
                let again = self.calls[number].arrival.map(|arrival| Again {
                    arrival,
                    since,
                    claim_within: POLICY.claim_within,
                });
                self.release(number);
                self.arrive(number, again);
            }
        }
    }

    fn begin(&mut self, number: usize, joins: bool) {
        assert_eq!(
            joins,
            self.transaction.is_some(),
            "BEGIN or SAVEPOINT? {self:#?}"
        );
        let exclusive = self.calls[number].exclusive;
        let may_join = |open: &Transaction| !open.exclusive && !exclusive;
        assert!(
            self.transaction.as_ref().is_none_or(may_join),
            "it joins: {self:#?}"
        );
        let call = &mut self.calls[number];
        call.place = Place::Running;
        call.joined = joins;
        self.transaction.get_or_insert(Transaction {
            number: self.ended.len(),
            included: Vec::new(),
            exclusive,
        });
    }

    fn include(&mut self, number: usize) {
        if self.calls[number].evicted.is_some() {
            self.calls[number].place = Place::Ended(End::Err);
            return self.release(number);
        }
        let now = self.now();
        self.scheduler.include(|| now);
        let transaction = self.transaction.as_mut().expect("a body runs in one");
        transaction.included.push(number);
        self.calls[number].included = true;
        self.calls[number].place = Place::Ending;
    }

    fn fail(&mut self, number: usize) {
        let call = &mut self.calls[number];
        if call.evicted.is_some() || !call.joined {
            call.place = Place::Ended(End::Err);
            return self.give_up(number);
        }
        // Only its savepoint is gone. It still waits for the commit.
        call.place = Place::Ending;
    }

    /// Undoes what a call has done, and gives the writer back.
    fn give_up(&mut self, number: usize) {
        let call = &self.calls[number];
        if call.evicted.is_none() && !call.joined && !call.included {
            self.transaction = None;
            self.ended.push(false);
        }
        self.release(number);
    }

    fn release(&mut self, number: usize) {
        let (now, exclusive) = (self.now(), self.calls[number].exclusive);
        self.step(|scheduler, effects| {
            scheduler.release(id(number), exclusive, || now, effects);
        });
    }

    fn finish(&mut self, number: usize) {
        let (now, exclusive) = (self.now(), self.calls[number].exclusive);
        let open = self
            .transaction
            .as_ref()
            .map(|transaction| transaction.number);
        let finished = self
            .step(|scheduler, effects| scheduler.finish(id(number), exclusive, || now, effects));
        let place = match (finished, open) {
            (Finished::Commit(_), _) => {
                self.calls[number].place = Place::Committing;
                return self.begin_job(Library::Commit);
            }
            (Finished::Lead(()) | Finished::Wait(()), None) => panic!("for what? {self:#?}"),
            (Finished::Lead(()), _) if self.scheduler.is_closed() => {
                panic!("nobody joins after the close: {self:#?}")
            }
            (Finished::Lead(()), Some(transaction)) => Place::Leading {
                seen: 0,
                transaction,
            },
            (Finished::Wait(()), Some(transaction)) => Place::Waiting { transaction },
            (Finished::NotHeld, _) => match self.calls[number].evicted {
                Some(Some(transaction)) => Place::Waiting { transaction },
                Some(None) => {
                    assert!(!self.calls[number].included, "it is not told: {self:#?}");
                    Place::Ended(End::Err)
                }
                None => panic!("it has lost the writer: {self:#?}"),
            },
            (Finished::Lost, open) => {
                assert_eq!(open, None, "it is not lost: {self:#?}");
                Place::Ended(End::Err)
            }
        };
        self.calls[number].place = place;
        self.tell();
    }

    fn look(&mut self, number: usize, waited_enough: bool) {
        let Place::Leading { seen, transaction } = self.calls[number].place else {
            panic!("it does not lead: {self:#?}");
        };
        let now = self.now();
        self.calls[number].place =
            match self.scheduler.look(id(number), seen, waited_enough, || now) {
                Looked::Keep { members } => Place::Leading {
                    seen: members,
                    transaction,
                },
                Looked::Commit(_) => {
                    self.begin_job(Library::Commit);
                    Place::Committing
                }
                Looked::Relieved => Place::Waiting { transaction },
            };
        self.tell();
    }

    fn cancel(&mut self, number: usize) {
        let now = self.now();
        let before = std::mem::replace(&mut self.calls[number].place, Place::Ended(End::Cancelled));
        match before {
            Place::Queued => {
                let arrival = self.calls[number].arrival.expect("it is in the queue");
                let left = self.scheduler.leave(arrival);
                assert_eq!(left.map(|queued| queued.id), Some(id(number)));
            }
            Place::Granted => self.release(number),
            Place::Running | Place::Ending => self.give_up(number),
            Place::Leading { .. } => {
                self.step(|scheduler, effects| {
                    scheduler.leader_gone(id(number), || now, effects);
                });
            }
            Place::Away | Place::Waiting { .. } | Place::Committing | Place::Ended(_) => {}
        }
    }

    fn turn_exclusive(&mut self, number: usize) {
        self.calls[number].exclusive = true;
        if std::mem::take(&mut self.calls[number].joined) {
            assert!(
                self.scheduler.take_batch().is_some(),
                "it has joined: {self:#?}"
            );
            self.end_transaction(true);
            self.scheduler.want_log_restart();
            self.begin(number, false);
        }
        let transaction = self.transaction.as_mut().expect("a body runs in one");
        transaction.exclusive = true;
    }

    fn lose(&mut self, number: usize) {
        assert!(
            self.scheduler.take_batch().is_some(),
            "it has joined: {self:#?}"
        );
        self.end_transaction(false);
        self.calls[number].place = Place::Ending;
    }

    fn committed(&mut self, ok: bool) {
        assert_eq!(self.library.take(), Some(Library::Commit));
        self.end_transaction(ok);
        let now = self.now();
        self.step(|scheduler, effects| scheduler.done(ok, || now, effects));
    }

    fn end_transaction(&mut self, ok: bool) {
        let transaction = self
            .transaction
            .take()
            .expect("COMMIT outside of a transaction");
        assert_eq!(transaction.number, self.ended.len());
        self.ended.push(ok);
        for number in 0..self.calls.len() {
            if self.calls[number].place == Place::Committing {
                self.end(number, ok, &transaction.included);
            }
            let waits_for = match self.calls[number].place {
                Place::Waiting { transaction } | Place::Leading { transaction, .. } => transaction,
                _ => continue,
            };
            if waits_for == transaction.number {
                self.end(number, ok, &transaction.included);
            }
        }
    }

    fn end(&mut self, number: usize, ok: bool, committed: &[usize]) {
        let call = &mut self.calls[number];
        call.place = Place::Ended(if ok { End::Ok } else { End::Err });
        assert!(
            !(ok && call.included) || committed.contains(&number),
            "caller {number} is told Ok, but its work is not on the disk: {self:#?}"
        );
    }

    /// The calls that wait for a transaction that has ended.
    fn tell(&mut self) {
        for number in 0..self.calls.len() {
            if let Place::Waiting { transaction } = self.calls[number].place
                && let Some(&ok) = self.ended.get(transaction)
            {
                let end = if ok { End::Ok } else { End::Err };
                self.calls[number].place = Place::Ended(end);
            }
        }
    }

    fn done(&mut self, restart_log: bool) {
        assert!(self.library.take().is_some());
        let now = self.now();
        self.step(|scheduler, effects| scheduler.done(restart_log, || now, effects));
    }

    fn evict(&mut self) {
        let (now, number) = (self.now(), self.evictions.remove(0));
        let resolved = self.calls[number].included;
        let open = self
            .transaction
            .as_ref()
            .map(|transaction| transaction.number);
        let Some(outcome) = self.scheduler.reclaim(id(number), resolved, || now) else {
            return;
        };
        self.begin_job(Library::Reclaim);
        let call = &mut self.calls[number];
        assert!(
            matches!(call.place, Place::Running | Place::Ending),
            "it does not hold the writer: {call:?}"
        );
        call.evicted = Some(outcome.and(open));
        if !call.joined && !call.included {
            self.transaction = None;
            self.ended.push(false);
        }
    }
}
