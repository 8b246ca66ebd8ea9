//! The writer's heuristics: every limit and interval that can be tuned. No call depends on their values to be correct.
//! `docs/PERFORMANCE.md` has what they gain.

use std::time::Duration;

/// The values in use.
pub(super) const POLICY: Policy = Policy {
    max_members: 256,
    max_age: Duration::from_millis(2),
    claim_within: Duration::from_millis(20),
    claim_within_at_most: Duration::from_secs(1),
    stalled_after: Duration::from_secs(1),
    max_idle: None,
    acquire_timeout: Duration::MAX,
    overdue_after: Duration::from_millis(20),
    look_every: Duration::from_micros(5),
    stay_awake_for: Duration::from_micros(100),
    spin_for: Duration::from_micros(100),
    leave_to_warm_thread_for: Duration::from_micros(65),
    warm_thread_returns_within: Duration::from_micros(3),
    fast_commit: Duration::from_micros(300),
    very_slow_commit: Duration::from_millis(2),
    try_fast_every: 8,
    try_fast_at_least_every: 1_024,
    idle_rounds: 50,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Policy {
    /// A shared transaction is committed when it has this many members…
    pub(super) max_members: u32,
    /// …or is this old when its newest member gets the writer. Reading the clock again would cost more than it gains.
    pub(super) max_age: Duration,
    /// A call that was granted the writer must take it within this time. Otherwise the next call gets it. Each time this
    /// happens to a call, its time is doubled…
    pub(super) claim_within: Duration,
    /// …up to this.
    pub(super) claim_within_at_most: Duration,
    /// A body that keeps the members of its transaction waiting for this long is evicted.
    pub(super) stalled_after: Duration,
    /// A body that runs no statement for this long while other calls wait is evicted. The program sets it.
    pub(super) max_idle: Option<Duration>,
    /// A call that has waited for this long leaves the queue. The program sets it.
    pub(super) acquire_timeout: Duration,
    /// An open transaction of this age is committed on the worker thread: its leader's task does not run.
    pub(super) overdue_after: Duration,
    /// The leader looks for joiners this often. Polling contends with them for the scheduler's lock.
    pub(super) look_every: Duration,
    /// A leader that another call has relieved stays awake this long at most, and only if commits take no longer on average:
    /// waking its thread would take as long as the commit.
    pub(super) stay_awake_for: Duration,
    /// A caller waits for a running body in its thread, at most this long, before it queues.
    pub(super) spin_for: Duration,
    /// SQLite is quicker while one thread uses it. Callers on other threads leave a free writer to that thread for at most
    /// this long…
    pub(super) leave_to_warm_thread_for: Duration,
    /// …and only if it comes back within this.
    pub(super) warm_thread_returns_within: Duration,
    /// Commits that take less than this on average run where the task is.
    pub(super) fast_commit: Duration,
    /// One commit this slow moves the next ones to the worker thread.
    pub(super) very_slow_commit: Duration,
    /// On the worker thread, while commits there take less than twice a fast one, each commit of this number is tried where
    /// the task is: the same commit takes up to twice as long on a thread that has slept.
    pub(super) try_fast_every: u32,
    /// Tries that were not fast are repeated at longer and longer intervals, up to this one.
    pub(super) try_fast_at_least_every: u32,
    /// Rounds without a call to watch, before the watchdog's thread ends: about a second.
    pub(super) idle_rounds: u32,
}
