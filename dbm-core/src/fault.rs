//! Faults that a test has ordered, until the calls come that they are for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// What happens to a call in the place of its body.
///
/// The call has its lock and its transaction by then, and both end as they would after a failure of the body; the
/// caller gets what the attributes of the method make of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with this error.
    Error(Error),
    /// It fails with [`Error::Timeout`], at once.
    Timeout,
    /// It panics.
    Panic,
    /// It does not return: it keeps its lock until its `timeout` is over or its future is dropped.
    Hang,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The faults that wait for a call, of one manager.
#[derive(Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    waiting: Mutex<VecDeque<(&'static str, Fault)>>,
}

impl Faults {
    pub(crate) fn add(&self, method: &'static str, fault: Fault) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((method, fault));
        self.any.store(true, Ordering::Release);
    }

    /// What is to happen to this call.
    pub(crate) fn next(&self, method: &str) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.iter().position(|(name, _)| *name == method)?;
        let (_, fault) = waiting.remove(place)?;
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Some(fault)
    }
}
