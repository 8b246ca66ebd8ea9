//! What goes into the scheduler, and what comes out of it.

use std::time::Duration;

use super::queue::Arrival;

/// A call. An id is used by one call only.
pub(in crate::engine::writer) type CallId = u64;

/// The method of a holder that is no call.
pub(in crate::engine::writer) const NOBODY: &str = "nobody";

/// A queued call, as far as the scheduler needs to know it.
pub(in crate::engine::writer) trait Waiting {
    fn id(&self) -> CallId;
    fn method(&self) -> &'static str;
    /// Asked when its turn comes: by then, other calls of the method may have shown what it does.
    fn is_exclusive(&self) -> bool;
}

/// The members of a batch that wait for its commit.
pub(in crate::engine::writer) trait Follow: Default {
    /// What a member waits on.
    type Outcome;
    fn join(&mut self) -> Self::Outcome;
    fn is_empty(&self) -> bool;
}

/// A call that wants the writer.
pub(in crate::engine::writer) struct Caller<'a, S> {
    pub(in crate::engine::writer) id: CallId,
    pub(in crate::engine::writer) method: &'static str,
    pub(in crate::engine::writer) exclusive: bool,
    pub(in crate::engine::writer) session: &'a S,
    /// It came too late for the writer before.
    pub(in crate::engine::writer) again: Option<Again>,
}

/// What a call keeps that came too late for the writer.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::writer) struct Again {
    pub(in crate::engine::writer) arrival: Arrival,
    pub(in crate::engine::writer) claim_within: Duration,
}

/// The answer to [`Scheduler::arrive`](super::Scheduler::arrive).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Arrived {
    /// It has the writer. With `joins` the transaction is open, and it gets a savepoint in it.
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
    /// The caller commits, as the library.
    Commit(F),
    /// The caller leads: it commits once no more joiners come.
    Lead(F::Outcome),
    /// Somebody else commits.
    Wait(F::Outcome),
    /// The transaction was lost: nobody will commit it.
    Lost,
    /// The writer was taken from the call.
    NotHeld,
}

/// The answer to [`Scheduler::look`](super::Scheduler::look).
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) enum Looked<F> {
    /// The batch stays open; it has this many members.
    Keep { members: u32 },
    /// The caller commits, as the library.
    Commit(F),
    /// Somebody else commits.
    Relieved,
}

/// What has to be done in the world, after unlocking.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::writer) struct Effects<W, S, F> {
    /// Tell it that it has the writer.
    pub(in crate::engine::writer) grant: Option<W>,
    /// Commit on the worker thread, then [`done`](super::Scheduler::done).
    pub(in crate::engine::writer) commit: Option<F>,
    /// Restart the log on the worker thread, then [`done`](super::Scheduler::done).
    pub(in crate::engine::writer) restart_log: bool,
    /// Take the writer from this call: [`reclaim`](super::Scheduler::reclaim), undo its work, then [`done`](super::Scheduler::done).
    pub(in crate::engine::writer) evict: Option<S>,
    /// Tell them that the writer is closed.
    pub(in crate::engine::writer) refused: Vec<W>,
}

/// Whether a caller on another thread should wait there for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::writer) enum SpinHint {
    /// There is nothing to wait for in a thread.
    Quiet,
    /// A body that lets others join is running.
    Running,
    /// The batch is open for the next one.
    Open,
}

impl<W, S, F> Effects<W, S, F> {
    #[inline]
    pub(in crate::engine::writer) fn is_empty(&self) -> bool {
        let Self {
            grant,
            commit,
            restart_log,
            evict,
            refused,
        } = self;
        grant.is_none() && commit.is_none() && !restart_log && evict.is_none() && refused.is_empty()
    }
}

impl<W, S, F> Default for Effects<W, S, F> {
    fn default() -> Self {
        Self {
            grant: None,
            commit: None,
            restart_log: false,
            evict: None,
            refused: Vec::new(),
        }
    }
}
