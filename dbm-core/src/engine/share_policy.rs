//! Whether a method may share a transaction with others: learned from its calls.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Calls that have to run alone and well before a method shares a transaction.
const SHARES_AFTER: u8 = 3;

/// Whether the calls of a method share a transaction, and so a commit, with others that wait at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// Not known: it does not write, or has not run well often enough.
    Unknown,
    /// They do, where the schema lets them.
    Shares,
    /// They run alone: one of them waited for something else than the database, used `call`, or said what cannot be
    /// undone apart from others.
    Alone,
}

/// One per annotated method.
#[derive(Debug)]
pub(crate) struct SharePolicy {
    clean_runs: AtomicU8,
    alone: AtomicBool,
}

impl SharePolicy {
    pub(crate) const fn new() -> Self {
        Self {
            clean_runs: AtomicU8::new(0),
            alone: AtomicBool::new(false),
        }
    }

    pub(crate) fn sharing(&self) -> Sharing {
        if self.alone.load(Ordering::Relaxed) {
            Sharing::Alone
        } else if self.clean_runs.load(Ordering::Relaxed) < SHARES_AFTER {
            Sharing::Unknown
        } else {
            Sharing::Shares
        }
    }

    pub(crate) fn may_share(&self) -> bool {
        self.sharing() == Sharing::Shares
    }

    /// From now on calls run alone: they wait for something else than the database, or do what cannot be undone
    /// apart from others.
    pub(crate) fn make_exclusive(&self) {
        self.alone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ran_clean(&self) {
        let runs = self.clean_runs.load(Ordering::Relaxed);
        if runs < SHARES_AFTER {
            self.clean_runs.store(runs + 1, Ordering::Relaxed);
        }
    }
}
