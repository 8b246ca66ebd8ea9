//! The locks and atomics of the concurrent data structures, behind one name. `tests/interleavings` compiles the files
//! that use it a second time, with the types of a model checker.

pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

/// Locks a mutex, also after a thread has panicked while it had it: whatever a lock here protects is whole between any two
/// statements.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
