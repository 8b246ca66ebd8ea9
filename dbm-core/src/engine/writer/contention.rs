//! Callers on several threads. A body that shares its transaction is often done sooner than a task could be woken, so a
//! caller waits for it in its thread; and SQLite is quicker while one thread uses it than when threads take turns, so it
//! lets that thread go on for a while.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::sharded::thread_number;

/// How long a caller waits in its thread, at most, before it queues.
const LIMIT: Duration = Duration::from_micros(100);
/// How long of that it leaves the turn to the thread that had it last…
const POLITE: Duration = Duration::from_micros(65);
/// …if that one comes back as soon as this.
const PAUSE: Duration = Duration::from_micros(3);

/// There is nothing to wait for in a thread.
const QUIET: u8 = 0;
/// Such a body runs.
const RUNNING: u8 = 1;
/// It is done, and the next may come into its transaction.
const BETWEEN: u8 = 2;

/// On cache lines of its own: callers look at it all the time while they wait.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Contention {
    state: AtomicU8,
    /// The thread of the body that runs or ran last.
    thread: AtomicUsize,
}

/// One caller's waiting in its thread.
#[derive(Default)]
pub(super) struct Spin(Option<Instant>);

impl Contention {
    pub(super) fn runs(&self) {
        self.thread.store(thread_number(), Ordering::Relaxed);
        self.state.store(RUNNING, Ordering::Relaxed);
    }

    pub(super) fn pauses(&self) {
        self.state.store(BETWEEN, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) {
        self.state.store(QUIET, Ordering::Relaxed);
    }
}

impl Spin {
    /// Waits until the turn is probably free; false when the caller should queue if it is not.
    pub(super) fn wait(&mut self, contention: &Contention) -> bool {
        let state = contention.state.load(Ordering::Relaxed);
        if state == QUIET {
            return false;
        }
        if contention.thread.load(Ordering::Relaxed) == thread_number() {
            // A body of this thread that has not ended waits for something.
            return state == BETWEEN;
        }
        let mut now = Instant::now();
        let (began, mut free) = (*self.0.get_or_insert(now), now);
        while now - began < LIMIT {
            match contention.state.load(Ordering::Relaxed) {
                QUIET => return false,
                BETWEEN if now - free > PAUSE || now - began > POLITE => return true,
                BETWEEN => {}
                _ => free = now,
            }
            std::hint::spin_loop();
            now = Instant::now();
        }
        false
    }
}
