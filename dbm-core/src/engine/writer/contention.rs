//! Callers on several threads: a body that shares its transaction is often done sooner than a task could be woken, and
//! SQLite is quicker while one thread uses it than when threads take turns.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a caller waits at most before it queues.
const LIMIT: Duration = Duration::from_micros(20);
/// How long of that it leaves the turn to a thread that comes again and again…
const POLITE: Duration = Duration::from_micros(15);
/// …with pauses no longer than this.
const GAP: Duration = Duration::from_nanos(3000);

const QUIET: u8 = 0;
const BETWEEN: u8 = 1;
const BRIEF: u8 = 2;

#[derive(Default)]
pub(super) struct Contention {
    state: AtomicU8,
    thread: AtomicUsize,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

impl Contention {
    /// The turn is taken by a body that shares its transaction.
    pub(super) fn begin(&self) {
        self.thread.store(this_thread(), Ordering::Relaxed);
        self.state.store(BRIEF, Ordering::Relaxed);
    }

    /// That body is done; others may come into its transaction.
    pub(super) fn pause(&self) {
        self.state.store(BETWEEN, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.state.store(QUIET, Ordering::Relaxed);
    }

    pub(super) fn spin(&self) -> Spin<'_> {
        Spin {
            contention: self,
            began: None,
        }
    }
}

pub(super) struct Spin<'a> {
    contention: &'a Contention,
    began: Option<Instant>,
}

impl Spin<'_> {
    /// Waits in this thread, for some microseconds at most, while it is likely that the turn is free soon.
    pub(super) fn wait(&mut self) -> bool {
        let c = self.contention;
        let state = c.state.load(Ordering::Relaxed);
        if state == QUIET {
            return false;
        }
        if state == BETWEEN && c.thread.load(Ordering::Relaxed) == this_thread() {
            return true;
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        let mut free = began;
        loop {
            let now = Instant::now();
            let waited = now - began;
            if waited > LIMIT {
                return false;
            }
            match c.state.load(Ordering::Relaxed) {
                QUIET => return false,
                BETWEEN if now - free > GAP || waited > POLITE => return true,
                BETWEEN => {}
                _ => free = now,
            }
            std::hint::spin_loop();
        }
    }
}
