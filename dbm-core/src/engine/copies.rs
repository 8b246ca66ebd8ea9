//! The copies of a database that are being made beside its calls: how they are ended, and waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::sync::lock;

/// Ends a copy before it is complete. Whoever waits in [`Stop::wait`] is woken.
#[derive(Default)]
pub(crate) struct Stop {
    is_set: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
        drop(self.lock.lock());
        self.bell.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// Waits, unless the copy is to end.
    pub(super) fn wait(&self, time: Duration) {
        let guard = lock(&self.lock);
        let _ = self
            .bell
            .wait_timeout_while(guard, time, |()| !self.is_set());
    }
}

/// The copies that are made of one database.
#[derive(Default)]
pub(crate) struct Copies {
    state: Mutex<State>,
    source_closed: Condvar,
}

#[derive(Default)]
struct State {
    stops: Vec<Arc<Stop>>,
    /// How many of them have the database open.
    sources: usize,
    closed: bool,
}

impl Copies {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// `None` once they are to end.
    pub(super) fn enter(&self, stop: &Arc<Stop>) -> Option<Entered<'_>> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.stops.push(Arc::clone(stop));
        drop(state);
        Some(Entered {
            copies: self,
            stop: Arc::clone(stop),
        })
    }

    /// For a copy that opens the database; `None` once they are to end.
    pub(super) fn open_source(&self) -> Option<OpenSource<'_>> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.sources += 1;
        Some(OpenSource(self))
    }

    /// Ends every copy.
    pub(super) fn shut(&self) {
        let stops = {
            let mut state = self.lock();
            state.closed = true;
            state.stops.clone()
        };
        for stop in stops {
            stop.set();
        }
    }

    /// The same, and waits until none of them has the database open.
    pub(super) fn close(&self) {
        self.shut();
        let state = self.lock();
        drop(
            self.source_closed
                .wait_while(state, |state| state.sources > 0),
        );
    }
}

/// A copy that is being made, of which [`Copies`] knows.
pub(super) struct Entered<'a> {
    copies: &'a Copies,
    stop: Arc<Stop>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut state = self.copies.lock();
        state.stops.retain(|stop| !Arc::ptr_eq(stop, &self.stop));
    }
}

/// A copy has the database open.
pub(super) struct OpenSource<'a>(&'a Copies);

impl Drop for OpenSource<'_> {
    fn drop(&mut self) {
        self.0.lock().sources -= 1;
        self.0.source_closed.notify_all();
    }
}
