//! What the library knows of one annotated method: its attributes, and what its calls have shown.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::engine::SharePolicy;

/// One per annotated method, in a `static`.
#[derive(Debug)]
pub struct Site {
    pub(crate) method: &'static str,
    pub(crate) module: &'static str,
    pub(crate) during_init: bool,
    pub(crate) one_statement: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) timed: bool,
    pub(crate) slow: Option<Duration>,
    pub(crate) share_policy: SharePolicy,
    pub(crate) offloaded: AtomicU64,
    /// Under which `profiles` and the counts of a manager find it; 0 until its first call.
    pub(crate) number: AtomicU32,
}

impl Site {
    /// A method without attributes.
    #[must_use]
    pub const fn new(module: &'static str, method: &'static str) -> Self {
        Self {
            method,
            module,
            during_init: false,
            one_statement: false,
            timeout: None,
            timed: false,
            slow: None,
            share_policy: SharePolicy::new(),
            offloaded: AtomicU64::new(0),
            number: AtomicU32::new(0),
        }
    }

    /// `#[job]`: a run that takes longer than this is ended, unless [`timeout_ms`](Self::timeout_ms) says otherwise.
    #[cfg(feature = "jobs")]
    #[must_use]
    pub const fn job(module: &'static str, method: &'static str) -> Self {
        Self::new(module, method).timeout_ms(30_000)
    }

    /// `#[during_init]`
    #[must_use]
    pub const fn during_init(mut self) -> Self {
        self.during_init = true;
        self
    }

    /// The body runs one statement at most. It then needs no transaction around it, and another statement in the body fails
    /// with [`Error::HandleEnded`](crate::Error::HandleEnded). The attribute finds such bodies by itself.
    ///
    /// An [`execute`](crate::WriteTransaction::execute) in such a body may commit at once. So nothing may follow it that
    /// fails, panics or waits: the work would be kept all the same.
    #[must_use]
    pub const fn one_statement(mut self) -> Self {
        self.one_statement = true;
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
}
