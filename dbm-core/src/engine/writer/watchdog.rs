//! Watches the calls that wait for another call, from one thread for all of them: those in the queue, and those that wait
//! for a commit. Any task may be kept from running, and a timer for each waiting call would cost an eighth of its time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::policy::POLICY;
use crate::process_thread::start_thread;
use crate::sync::lock;
use crate::waking::contained;

/// What the watchdog watches.
pub(super) trait Watched: Send + Sync + 'static {
    /// Time has passed.
    fn tick(self: &Arc<Self>);
    /// Whether any call waits for something that may not come by itself.
    fn needs_watching(&self) -> bool;
}

/// Its thread is started when a call first waits, and ends when none has waited for a while.
#[derive(Default)]
pub(super) struct StallWatchdog {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// The thread makes another round. Written under `closed`.
    pub(super) running: AtomicBool,
    closed: Mutex<bool>,
    closing: Condvar,
}

impl StallWatchdog {
    /// Watches `watched` from here on. False if there is no thread for it.
    pub(super) fn watch<W: Watched>(&self, watched: &Arc<W>) -> bool {
        let shared = &self.shared;
        // SeqCst: the partner is the store of `false` in `run`. If a call has joined before this load and reads `true`,
        // `needs_watching` sees it after that store.
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        // Held until it is known whether the thread runs.
        let closed = shared.lock();
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        let (watching, watched) = (Arc::clone(shared), Arc::downgrade(watched));
        let runs = !*closed && start_thread("dbm-watchdog", move || watching.run(&watched));
        shared.running.store(runs, Ordering::SeqCst);
        runs
    }

    /// Whether there is a thread that makes another round.
    pub(super) fn exists(&self) -> bool {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Ends the thread once it has no call to watch, and starts no other.
    pub(super) fn close(&self) {
        *self.shared.lock() = true;
        self.shared.closing.notify_all();
    }
}

impl Shared {
    fn run<W: Watched>(&self, watched: &Weak<W>) {
        let mut idle = 0;
        loop {
            let watched = watched.upgrade();
            if let Some(watched) = &watched {
                // A panic of a waker must not end the watch over the other calls.
                contained(|| watched.tick());
            }
            let closed = self.lock();
            // SeqCst: the partner is the load in `watch`. A call that joins from here on reads `false`, and waits for the
            // lock, after which it is known whether the thread goes on.
            self.running.store(false, Ordering::SeqCst);
            let needed = watched.is_some_and(|watched| watched.needs_watching());
            idle = if needed { 0 } else { idle + 1 };
            if !needed && (*closed || idle > POLICY.idle_rounds) {
                return;
            }
            self.running.store(true, Ordering::SeqCst);
            let woken = self.closing.wait_timeout(closed, POLICY.claim_within);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        lock(&self.closed)
    }
}
