//! Faults that a test has ordered, kept until the call that each is meant for.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::sync::lock;

/// What happens to a call instead of its body.
///
/// The call has its lock and its transaction at that point. Both end as they would after a failure of the body, and the
/// caller gets what the method's attributes make of the failure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this error.
    Error(Error),
    /// The call fails with [`Error::Timeout`], at once.
    Timeout,
    /// The call panics.
    Panic,
    /// The call does not return. It keeps its lock until its `timeout` has passed or its future is dropped.
    Hang,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The faults ordered for one manager's calls.
#[derive(Default)]
pub(crate) struct Faults {
    /// False as long as no fault waits, so that a call need not lock. The Release stores in `add` and `next` pair with
    /// the Acquire load in `next`: a call that reads true locks after `add` has, and so finds the fault.
    any: AtomicBool,
    waiting: Mutex<VecDeque<(&'static str, Fault)>>,
}

impl Faults {
    pub(crate) fn add(&self, method: &'static str, fault: Fault) {
        let mut waiting = lock(&self.waiting);
        waiting.push_back((method, fault));
        self.any.store(true, Ordering::Release);
    }

    /// The fault for this call, if one was ordered.
    pub(crate) fn next(&self, method: &str) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let place = waiting.iter().position(|(name, _)| *name == method)?;
        let (_, fault) = waiting.remove(place)?;
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Some(fault)
    }
}
