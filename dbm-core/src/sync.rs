//! The locks and atomics of what threads meet in, by a name of their own: `tests/interleavings` compiles the files that
//! use it once more, with those of a model checker.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
