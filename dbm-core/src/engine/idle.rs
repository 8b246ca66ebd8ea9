//! Connections and threads that nobody has used for a while are given back to the system: a program may have hundreds of
//! managers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::process_thread::start_thread;

/// What was not used between two looks is given back.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Something that has connections and threads.
pub(crate) trait Rests: Send + Sync {
    /// Gives back what was not used since this was called last. True when there is nothing left to give back.
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

/// One for the whole process. Its thread runs while there is anything to give back.
struct Caretaker {
    watched: Mutex<Watched>,
    never: Condvar,
}

struct Watched {
    all: Vec<Weak<dyn Rests>>,
    thread_runs: bool,
    /// Something was opened since the last look.
    is_news: bool,
}

/// Looks after `rests` from here on, for as long as it is there.
pub(crate) fn look_after(rests: Weak<dyn Rests>) {
    CARETAKER.lock().all.push(rests);
    tell_of_open();
}

/// A connection was opened, or may have been.
pub(crate) fn tell_of_open() {
    let mut watched = CARETAKER.lock();
    watched.is_news = true;
    if !watched.thread_runs {
        // Without a thread nothing is given back, until the next one is opened.
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
            // The last one to let go of it may be this thread.
            drop(all);
            watched = self.lock();
            if at_rest && !watched.is_news {
                watched.thread_runs = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
