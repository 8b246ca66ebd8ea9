//! Callers on several threads compete for the writer.
//!
//! A body that lets others join often ends sooner than a task could be woken. So a caller spins until it ends. SQLite
//! is faster on one thread than when threads alternate. So callers on other threads leave the writer to the thread that
//! used it last, for a limited time.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use super::policy::POLICY;
use super::scheduler::SpinHint;
use crate::sharded::thread_number;

/// On cache lines of its own, because spinning callers read it all the time.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Contention {
    hint: AtomicU8,
    /// The thread of the body that runs, or of the last one that ran.
    thread: AtomicUsize,
}

/// One caller's spinning, over all its attempts.
#[derive(Default)]
pub(super) struct Spin(Option<Instant>);

const QUIET: u8 = SpinHint::Quiet as u8;
const OPEN: u8 = SpinHint::Open as u8;

impl Contention {
    /// Publishes the scheduler's hint. The caller holds the scheduler's lock. Every ordering in this file is Relaxed:
    /// the values only decide how long to spin, and the caller asks the scheduler afterwards.
    pub(super) fn show(&self, hint: SpinHint) {
        // Spinning callers read this cache line, so it is written only if the value changes.
        if self.hint.load(Ordering::Relaxed) != hint as u8 {
            self.hint.store(hint as u8, Ordering::Relaxed);
        }
    }

    /// Records that the body about to run runs on this thread.
    pub(super) fn runs_here(&self) {
        let thread = thread_number();
        if self.thread.load(Ordering::Relaxed) != thread {
            self.thread.store(thread, Ordering::Relaxed);
        }
    }
}

impl Spin {
    /// Spins until the writer is probably free. False if the caller should queue unless it is.
    pub(super) fn wait(&mut self, contention: &Contention) -> bool {
        let hint = contention.hint.load(Ordering::Relaxed);
        if hint == QUIET {
            return false;
        }
        if contention.thread.load(Ordering::Relaxed) == thread_number() {
            // A body that began on this thread and has not ended is waiting. Spinning here could keep it from going on.
            return hint == OPEN;
        }
        let mut now = Instant::now();
        let (began, mut open_since) = (*self.0.get_or_insert(now), now);
        while now - began < POLICY.spin_for {
            let warm_thread_is_gone = now - open_since > POLICY.warm_thread_returns_within
                || now - began > POLICY.leave_to_warm_thread_for;
            match contention.hint.load(Ordering::Relaxed) {
                QUIET => return false,
                OPEN if warm_thread_is_gone => return true,
                OPEN => {}
                _ => open_since = now,
            }
            std::hint::spin_loop();
            now = Instant::now();
        }
        false
    }
}
