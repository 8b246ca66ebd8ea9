//! Counts calls in and out, and finds the last one to leave after the close.

use crate::sharded::Sharded;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Every ordering here is `SeqCst`. `enter` adds to a shard, and its caller then loads `closed`. `close` stores
/// `closed`, and `leave` then sums the shards. `SeqCst` gives these four one order, so either the entering call sees
/// the close, or the sum includes the entering call. A weaker ordering would allow both to miss the other.
#[derive(Debug, Default)]
pub(crate) struct Turnstile {
    inside: Sharded,
    closed: AtomicBool,
}

impl Turnstile {
    /// Counts a call in. A caller that finds the turnstile [closed](Self::is_closed) afterwards must leave at once.
    pub(crate) fn enter(&self, thread: usize) {
        self.inside.of(thread).fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a call out of the shard that counted it in, so no shard goes below zero. True for the last call after the
    /// close. Calls that leave at the same moment may all get true.
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
