//! What the calls of a manager, its job runner and its end have in common: whose jobs they are, what wakes the runner, and
//! the clock by which jobs are due.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
#[cfg(feature = "testing")]
use std::sync::atomic::AtomicI64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::after_commit::Rings;
use crate::metrics::JobRuns;
use crate::sync::lock;
use crate::waking::Bell;

/// How often a process that runs jobs writes that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// One for each running manager that lists jobs.
pub(crate) struct JobBoard {
    /// The type of the manager.
    manager: TypeId,
    /// The name of this process in the table of workers. Never 0.
    pub(crate) worker: i64,
    /// Rung when a job may have become due.
    pub(crate) bell: Bell,
    /// The tables of jobs are of a later release, so neither enqueueing nor running is possible.
    later: AtomicBool,
    /// A transaction was begun that claims jobs, so the file may hold something about this process.
    claims: AtomicBool,
    /// The claim numbers of the jobs that a worker of this process has in hand.
    in_hand: Mutex<BTreeSet<i64>>,
    /// When this process last wrote that it lives.
    beaten: Mutex<Option<Instant>>,
    done: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    /// How far a test has moved the clock, in milliseconds.
    #[cfg(feature = "testing")]
    moved: AtomicI64,
}

impl JobBoard {
    pub(crate) fn new(manager: TypeId) -> Self {
        Self {
            manager,
            worker: (random() >> 1) as i64 | 1,
            bell: Bell::default(),
            later: AtomicBool::new(false),
            claims: AtomicBool::new(false),
            in_hand: Mutex::default(),
            beaten: Mutex::default(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            #[cfg(feature = "testing")]
            moved: AtomicI64::new(0),
        }
    }

    pub(crate) fn count_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dead(&self) {
        self.dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn runs(&self) -> JobRuns {
        JobRuns {
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dead: self.dead.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn is_of(&self, manager: TypeId) -> bool {
        self.manager == manager
    }

    pub(crate) fn set_later(&self) {
        self.later.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_later(&self) -> bool {
        self.later.load(Ordering::Relaxed)
    }

    /// Whether it is time to write that this process lives.
    pub(crate) fn must_beat(&self) -> bool {
        let beaten = *lock(&self.beaten);
        beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT_EVERY)
    }

    /// Notes that this has been written, durably.
    pub(crate) fn set_beaten(&self) {
        let mut beaten = lock(&self.beaten);
        *beaten = Some(Instant::now());
    }

    pub(crate) fn take_in_hand(&self, claim: i64) {
        self.in_hand().insert(claim);
    }

    pub(crate) fn lay_down(&self, claim: i64) {
        self.in_hand().remove(&claim);
    }

    pub(crate) fn has_in_hand(&self, claim: i64) -> bool {
        self.in_hand().contains(&claim)
    }

    fn in_hand(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        lock(&self.in_hand)
    }

    pub(crate) fn set_claims(&self) {
        self.claims.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_claims(&self) -> bool {
        self.claims.load(Ordering::Relaxed)
    }

    /// The time by which jobs are due, in milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        let now = milliseconds(SystemTime::now());
        #[cfg(feature = "testing")]
        let now = now.saturating_add(self.moved.load(Ordering::Relaxed));
        now
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_clock(&self, time: SystemTime) {
        let moved = milliseconds(time).saturating_sub(milliseconds(SystemTime::now()));
        self.moved.store(moved, Ordering::Relaxed);
        self.bell.ring();
    }
}

impl Rings for JobBoard {
    fn ring(&self) {
        self.bell.ring();
    }
}

/// A time in milliseconds since 1970; negative before.
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A number that nobody else has. Not for secrets.
pub(crate) fn random() -> u64 {
    std::hash::RandomState::new().hash_one(Instant::now())
}
