//! When the call that has the writer last used it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A statement runs.
const ACTIVE: u64 = u64::MAX;

pub(super) struct Activity {
    base: Instant,
    /// Nanoseconds from `base` to the end of the newest statement, or [`ACTIVE`].
    last: AtomicU64,
    /// A statement that has not ended waits for the body.
    waits: AtomicBool,
}

impl Activity {
    #[cold]
    pub(super) fn of_new_call() -> Box<Self> {
        Box::new(Self {
            base: Instant::now(),
            last: AtomicU64::new(0),
            waits: AtomicBool::new(false),
        })
    }

    pub(super) fn begins(&self) {
        self.last.store(ACTIVE, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) {
        let nanoseconds = u64::try_from(self.base.elapsed().as_nanos());
        self.last
            .store(nanoseconds.unwrap_or(ACTIVE), Ordering::Relaxed);
    }

    pub(super) fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Notes that rows are taken, unless a statement runs.
    pub(super) fn goes_on(&self) {
        if self.idle_since().is_some() {
            self.ends();
        }
    }

    /// Since when the call has been idle; `None` while it is not.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.last.load(Ordering::Relaxed) {
            ACTIVE => None,
            last => self.base.checked_add(Duration::from_nanos(last)),
        }
    }
}
