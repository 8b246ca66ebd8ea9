//! Whether a method may share a transaction with others: learned from its calls.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Calls that have to run alone and well before a method shares a transaction.
const TRUSTED_AFTER: u8 = 3;

/// One per annotated method.
#[derive(Debug)]
pub(crate) struct Trust {
    clean_runs: AtomicU8,
    alone: AtomicBool,
}

impl Trust {
    pub(crate) const fn new() -> Self {
        Self {
            clean_runs: AtomicU8::new(0),
            alone: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_earned(&self) -> bool {
        !self.alone.load(Ordering::Relaxed)
            && self.clean_runs.load(Ordering::Relaxed) >= TRUSTED_AFTER
    }

    /// From now on calls run alone: they wait for something else than the database, or do what cannot be undone
    /// apart from others.
    pub(crate) fn keep_alone(&self) {
        self.alone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ran_clean(&self) {
        let runs = self.clean_runs.load(Ordering::Relaxed);
        if runs < TRUSTED_AFTER {
            self.clean_runs.store(runs + 1, Ordering::Relaxed);
        }
    }
}
