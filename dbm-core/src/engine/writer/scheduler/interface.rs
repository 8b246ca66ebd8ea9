//! The scheduler's inputs and outputs.

use std::time::{Duration, Instant};

use super::queue::Arrival;

/// Identifies a call. No two calls have the same id.
pub(in crate::engine::writer) type CallId = u64;

/// The method name of a holder that is not a call.
pub(in crate::engine::writer) const NOBODY: &str = "nobody";

/// A queued call, as the scheduler sees it.
pub(in crate::engine::writer) trait Waiting {
    fn id(&self) -> CallId;
    fn method(&self) -> &'static str;
    /// Asked when the call is about to get the writer: other calls of the method may have changed the answer by then.
    fn is_exclusive(&self) -> bool;
}

/// The session of a running call, as far as the scheduler needs to know it.
pub(in crate::engine::writer) trait RunningCall: Clone {
    /// Since when it has not done anything; `None` while it does.
    fn idle_since(&self) -> Option<Instant>;
}

/// Why a call loses the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::writer) enum Reason {
    /// It keeps the members of its transaction waiting.
    Stalled,
    /// It does nothing, and others wait.
    Idle,
    Closed,
}

/// The members of a batch that wait for its commit.
pub(in crate::engine::writer) trait Follow: Default {
    /// What a member waits on.
    type Outcome;
    fn join(&mut self) -> Self::Outcome;
    fn is_empty(&self) -> bool;
}

/// A call that wants the writer.
pub(in crate::engine::writer) struct Caller<S> {
    pub(in crate::engine::writer) id: CallId,
    pub(in crate::engine::writer) method: &'static str,
    pub(in crate::engine::writer) exclusive: bool,
    /// It can do without a transaction while it is alone.
    pub(in crate::engine::writer) may_autocommit: bool,
    pub(in crate::engine::writer) session: S,
    /// Set if the call was granted the writer before but did not claim it in time.
    pub(in crate::engine::writer) again: Option<Again>,
}

/// What a call keeps after it has missed a grant.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::writer) struct Again {
    pub(in crate::engine::writer) arrival: Arrival,
    /// When it arrived first.
    pub(in crate::engine::writer) since: Instant,
    pub(in crate::engine::writer) claim_within: Duration,
}

/// The answer to [`Scheduler::arrive`](super::Scheduler::arrive).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Arrived {
    /// It has the writer. With `joins` the transaction is open, and the call gets a savepoint in it.
    Runs {
        joins: bool,
    },
    Queued(Arrival),
    Closed,
    Overloaded {
        queued: usize,
    },
}

/// The answer to [`Scheduler::finish`](super::Scheduler::finish).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Finished<F: Follow> {
    /// The caller commits. The library holds the writer meanwhile.
    Commit(F),
    /// The caller is the leader: it commits once no more joiners come.
    Lead(F::Outcome),
    /// Another task commits.
    Wait(F::Outcome),
    /// The transaction was lost: there is nothing to commit.
    Lost,
    /// The writer has been taken from the call.
    NotHeld,
}

/// The answer to [`Scheduler::look`](super::Scheduler::look).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Looked<F> {
    /// The batch stays open; it has this many members.
    Keep { members: u32 },
    /// The caller commits. The library holds the writer meanwhile.
    Commit(F),
    /// Another task commits.
    Relieved,
}

/// What the shell has to do after unlocking.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) struct Effects<W, S, F> {
    /// What becomes of the writer that has been given up.
    pub(in crate::engine::writer) next: Option<Next<W, F>>,
    /// Take the writer from this call: [`reclaim`](super::Scheduler::reclaim), undo its work, then [`done`](super::Scheduler::done).
    pub(in crate::engine::writer) evict: Option<(S, Reason)>,
    /// Tell these calls that they have waited for too long.
    pub(in crate::engine::writer) expired: Vec<W>,
    /// Tell these calls that the writer is closed.
    pub(in crate::engine::writer) refused: Vec<W>,
}

/// Who has the writer next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Next<W, F> {
    /// This call: tell it.
    Grant(W),
    /// The library, to commit on the worker thread, and then [`done`](super::Scheduler::done).
    Commit(F),
    /// The library, to restart the log on the worker thread, and then [`done`](super::Scheduler::done).
    RestartLog,
}

/// Whether a caller on another thread should spin for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::writer) enum SpinHint {
    /// There is nothing to spin for.
    Quiet,
    /// A body that lets others join is running.
    Running,
    /// The batch is open for the next call.
    Open,
}

impl<W, S, F> Effects<W, S, F> {
    #[inline]
    pub(in crate::engine::writer) fn is_empty(&self) -> bool {
        let Self {
            next,
            evict,
            expired,
            refused,
        } = self;
        next.is_none() && evict.is_none() && expired.is_empty() && refused.is_empty()
    }
}

impl<W, S, F> Default for Effects<W, S, F> {
    fn default() -> Self {
        Self {
            next: None,
            evict: None,
            expired: Vec::new(),
            refused: Vec::new(),
        }
    }
}
