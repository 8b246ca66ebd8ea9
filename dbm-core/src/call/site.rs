//! What is known of one annotated method: what its attributes say, and what its calls have shown.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// One per annotated method, in a `static`.
#[derive(Debug)]
pub struct Site {
    pub(crate) method: &'static str,
    pub(crate) module: &'static str,
    pub(crate) during_init: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) timed: bool,
    pub(crate) slow: Option<Duration>,
    clean_runs: AtomicU8,
    solo: AtomicBool,
}

/// Calls that have to run alone and well before a method shares a transaction with others.
const TRUSTED_AFTER: u8 = 3;

impl Site {
    /// A method without any attribute yet.
    #[must_use]
    pub const fn new(module: &'static str, method: &'static str) -> Self {
        Self {
            method,
            module,
            during_init: false,
            timeout: None,
            timed: false,
            slow: None,
            clean_runs: AtomicU8::new(0),
            solo: AtomicBool::new(false),
        }
    }

    /// `#[during_init]`
    #[must_use]
    pub const fn during_init(mut self) -> Self {
        self.during_init = true;
        self
    }

    /// `#[database_safe(timeout = "…")]`, in milliseconds.
    #[must_use]
    pub const fn timeout_ms(mut self, limit: u64) -> Self {
        self.timeout = Some(Duration::from_millis(limit));
        self
    }

    /// `#[timed]`
    #[must_use]
    pub const fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    /// `#[timed(slow = "…")]`, in milliseconds.
    #[must_use]
    pub const fn slow_ms(mut self, limit: u64) -> Self {
        self.timed = true;
        self.slow = Some(Duration::from_millis(limit));
        self
    }

    /// Whether calls may run in a transaction with calls of others.
    pub(crate) fn is_shareable(&self) -> bool {
        !self.solo.load(Ordering::Relaxed)
            && self.clean_runs.load(Ordering::Relaxed) >= TRUSTED_AFTER
    }

    /// From now on calls run alone: they wait for something else than the database, or do what cannot be undone
    /// apart from others.
    pub(crate) fn keep_alone(&self) {
        self.solo.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ran_clean(&self) {
        let runs = self.clean_runs.load(Ordering::Relaxed);
        if runs < TRUSTED_AFTER {
            self.clean_runs.store(runs + 1, Ordering::Relaxed);
        }
    }
}
