//! Counts who is inside, and knows the last one to leave after it was closed.

use crate::sharded::Sharded;
use crate::sync::atomic::{AtomicBool, Ordering};

/// All of its orderings are `SeqCst`: who comes in counts itself and then looks whether it is closed; who leaves after
/// the close looks for those who have counted themselves. One of the two sees the other.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    inside: Sharded,
    closed: AtomicBool,
}

impl Turnstile {
    /// Counts in. Who then finds it [closed](Self::is_closed) has to leave at once.
    pub(crate) fn enter(&self, thread: usize) {
        self.inside.of(thread).fetch_add(1, Ordering::SeqCst);
    }

    /// Counts out where it was counted in: no shard is ever less than zero. True for the last one after the close, and
    /// perhaps for others that leave at the same time.
    pub(crate) fn leave(&self, thread: usize) -> bool {
        self.inside.of(thread).fetch_sub(1, Ordering::SeqCst);
        self.is_closed() && self.inside.sum() == 0
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}
