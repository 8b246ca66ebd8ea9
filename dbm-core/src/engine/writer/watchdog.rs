//! Looks after those who wait for a commit that others make, from a thread of its own: any task may be kept from running,
//! and a timer for each of them would cost an eighth of their time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::policy::POLICY;
use crate::engine::worker_thread::WorkerThread;
use crate::waking::contained;

/// Whom the watchdog looks after.
pub(super) trait Watched: Send + Sync + 'static {
    /// Time has passed.
    fn tick(self: &Arc<Self>);
    /// Whether anybody waits for what may not come by itself.
    fn needs_watching(&self) -> bool;
}

#[derive(Default)]
pub(super) struct StallWatchdog {
    pub(super) thread: WorkerThread,
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
    /// Has `watched` looked after from here on. False when there is no thread for it.
    pub(super) fn watch<W: Watched>(&self, watched: &Arc<W>) -> bool {
        let Self { thread, shared } = self;
        // SeqCst, as the store in `run`: whoever has joined before this load and finds it true is seen by
        // `needs_watching` after that store.
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        // Held until it is known whether the thread runs.
        let _closed = shared.lock();
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        let (watching, watched) = (Arc::clone(shared), Arc::downgrade(watched));
        let runs = thread.post(move || watching.run(&watched)).is_ok();
        shared.running.store(runs, Ordering::SeqCst);
        runs
    }

    /// Ends the thread until it is needed. False when it is.
    pub(super) fn rest(&self) -> bool {
        // Held by whoever starts it.
        let _closed = self.shared.lock();
        let runs = self.shared.running.load(Ordering::SeqCst);
        if !runs {
            self.thread.rest();
        }
        !runs
    }

    /// Ends the thread when it has nobody to look after.
    pub(super) fn close(&self) {
        *self.shared.lock() = true;
        self.shared.closing.notify_all();
        self.thread.close();
    }
}

impl Shared {
    fn run<W: Watched>(&self, watched: &Weak<W>) {
        let mut idle = 0;
        loop {
            let watched = watched.upgrade();
            if let Some(watched) = &watched {
                // A panic of a waker must not end the watch over the others.
                contained(|| watched.tick());
            }
            let closed = self.lock();
            // Whoever joins from here on finds that the thread may pause, and waits for what comes of it.
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
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
