//! Looks after those who wait for a commit that others make, from a thread of its own: any task may be kept from running,
//! and a timer for each of them would cost an eighth of their time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::Writer;
use super::queue::UNCLAIMED;
use crate::engine::lane::Lane;

/// Looks without anybody to look after, before the thread has nothing to do; about a second.
const IDLE: u32 = 50;

#[derive(Default)]
pub(super) struct Watch {
    lane: Lane,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: AtomicBool,
    closed: Mutex<bool>,
    closing: Condvar,
}

impl Writer {
    /// Has those who wait for a commit looked after; false when there is no thread for it.
    pub(super) fn is_watched(self: &Arc<Self>) -> bool {
        let Watch { lane, shared } = &self.watch;
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        // Held until it is known whether the thread runs.
        let _closed = shared.lock();
        if shared.running.load(Ordering::SeqCst) {
            return true;
        }
        let (watching, writer) = (Arc::clone(shared), Arc::downgrade(self));
        let runs = lane.post(move || watching.run(&writer)).is_ok();
        shared.running.store(runs, Ordering::SeqCst);
        runs
    }

    fn has_members(&self) -> bool {
        !self.lock().batch.members.are_none()
    }
}

impl Watch {
    /// Ends the thread when it has nobody to look after.
    pub(super) fn close(&self) {
        *self.shared.lock() = true;
        self.shared.closing.notify_all();
        self.lane.close();
    }
}

impl Shared {
    fn run(&self, writer: &Weak<Writer>) {
        let mut idle = 0;
        loop {
            let writer = writer.upgrade();
            if let Some(writer) = &writer {
                writer.go_on_without_holder();
            }
            let closed = self.lock();
            // Whoever joins from here on finds that the thread may end, and waits for what comes of it.
            self.running.store(false, Ordering::SeqCst);
            let has_members = writer.is_some_and(|writer| writer.has_members());
            idle = if has_members { 0 } else { idle + 1 };
            if !has_members && (*closed || idle > IDLE) {
                return;
            }
            self.running.store(true, Ordering::SeqCst);
            let woken = self.closing.wait_timeout(closed, UNCLAIMED);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
