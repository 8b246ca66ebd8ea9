//! Closes connections that have been idle for a while: a program may have hundreds of managers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::process_thread::start_thread;
use crate::sync::lock;

/// The time between two checks. What was not used in between is closed.
const LOOK_EVERY: Duration = Duration::from_millis(700);

/// Something that has connections.
pub(crate) trait Rests: Send + Sync {
    /// Closes what was not used since the last call of this. True if nothing is left to close.
    fn rest(&self) -> bool;
}

static CARETAKER: Caretaker = Caretaker {
    watched: Mutex::new(Watched {
        all: Vec::new(),
        thread_runs: false,
        is_news: false,
    }),
    never: Condvar::new(),
};

/// One for the whole process. Its thread runs while there is anything to close.
struct Caretaker {
    watched: Mutex<Watched>,
    never: Condvar,
}

struct Watched {
    all: Vec<Weak<dyn Rests>>,
    thread_runs: bool,
    /// A connection was opened since the last check.
    is_news: bool,
}

/// Checks `rests` from here on, until it is dropped.
pub(crate) fn look_after(rests: Weak<dyn Rests>) {
    CARETAKER.lock().all.push(rests);
    tell_of_open();
}

/// A connection was opened, or may have been.
pub(crate) fn tell_of_open() {
    let mut watched = CARETAKER.lock();
    watched.is_news = true;
    if !watched.thread_runs {
        // Without a thread nothing is closed until the next connection is opened.
        watched.thread_runs = start_thread("dbm-caretaker", || CARETAKER.run());
    }
}

impl Caretaker {
    fn run(&self) {
        let mut watched = self.lock();
        loop {
            let woken = self.never.wait_timeout(watched, LOOK_EVERY);
            watched = woken.unwrap_or_else(PoisonError::into_inner).0;
            watched.is_news = false;
            watched.all.retain(|rests| rests.strong_count() > 0);
            let all: Vec<Arc<dyn Rests>> = watched.all.iter().filter_map(Weak::upgrade).collect();
            drop(watched);
            let at_rest = all.iter().filter(|rests| rests.rest()).count() == all.len();
            // This thread may have the last reference.
            drop(all);
            watched = self.lock();
            if at_rest && !watched.is_news {
                watched.thread_runs = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        lock(&self.watched)
    }
}
