//! The locks and atomics of the concurrent data structures, behind one name. `tests/interleavings` compiles the files
//! that use it a second time, with the types of a model checker.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
