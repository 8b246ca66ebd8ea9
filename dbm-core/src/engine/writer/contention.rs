//! Callers on several threads.
//!
//! A body that lets others join is often done sooner than a task could be woken, so a caller waits for it in its thread. And
//! SQLite is quicker while one thread uses it than when threads take turns, so callers on other threads let that thread go on
//! for a while.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use super::policy::POLICY;
use super::scheduler::SpinHint;
use crate::sharded::thread_number;

/// On cache lines of its own: callers look at it all the time while they wait.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Contention {
    hint: AtomicU8,
    /// The thread of the body that runs or ran last.
    thread: AtomicUsize,
}

/// One caller's waiting in its thread.
#[derive(Default)]
pub(super) struct Spin(Option<Instant>);

const QUIET: u8 = SpinHint::Quiet as u8;
const OPEN: u8 = SpinHint::Open as u8;

impl Contention {
    /// Shows the scheduler's hint, under its lock. All orderings of this file are Relaxed: what is read here only decides how
    /// long to spin, and the scheduler is asked afterwards.
    pub(super) fn show(&self, hint: SpinHint) {
        // Spinning callers read this line: it is written only when it changes.
        if self.hint.load(Ordering::Relaxed) != hint as u8 {
            self.hint.store(hint as u8, Ordering::Relaxed);
        }
    }

    /// The body that runs from here on runs in this thread.
    pub(super) fn runs_here(&self) {
        let thread = thread_number();
        if self.thread.load(Ordering::Relaxed) != thread {
            self.thread.store(thread, Ordering::Relaxed);
        }
    }
}

impl Spin {
    /// Waits until the writer is probably free. False when the caller should queue if it is not.
    pub(super) fn wait(&mut self, contention: &Contention) -> bool {
        let hint = contention.hint.load(Ordering::Relaxed);
        if hint == QUIET {
            return false;
        }
        if contention.thread.load(Ordering::Relaxed) == thread_number() {
            // A body of this thread that has not ended waits for something.
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
