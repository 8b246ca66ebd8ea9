//! Counters in shards, cache lines of their own each: processors that write to the same cache line wait for one another.

use crate::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Sharded<T = AtomicU64>([Shard<T>; SHARDS]);

/// Two cache lines, because processors prefetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

impl<T> Sharded<T> {
    /// The shard of the thread with this number.
    pub(crate) fn of(&self, thread: usize) -> &T {
        &self.0[thread % SHARDS].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

impl Sharded {
    /// `SeqCst` pairs with [`Turnstile::enter`](crate::turnstile::Turnstile::enter): see there.
    pub(crate) fn sum(&self) -> u64 {
        let counts = self.all().map(|shard| shard.load(Ordering::SeqCst));
        counts.fold(0, u64::wrapping_add)
    }
}

/// The number of this thread. No two threads have the same one.
pub(crate) fn thread_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
