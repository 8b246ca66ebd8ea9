//! Whether a method's calls may share a transaction, learned from earlier calls.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// How many calls must run alone and clean before a method shares transactions.
const SHARES_AFTER: u8 = 3;

/// Whether a method's calls share a transaction, and so a commit, with other waiting calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// Not known yet: it does not write, or has not run clean often enough.
    Unknown,
    /// They share, if the schema allows it.
    Shares,
    /// They run alone: one of them waited for something other than the database, used `call`, or ran a statement that
    /// cannot be undone without undoing others' work.
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

    /// Makes later calls run alone: one has waited for something other than the database, or has done what cannot be
    /// undone without undoing others' work.
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
