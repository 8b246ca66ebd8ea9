//! What threads of dbm-core meet in, in many orders or all of them, under a model checker.
//!
//! The files are those of dbm-core. They take their locks and atomics from `crate::sync`, which is shuttle's here, and
//! nothing from anywhere else in the crate: a file that does so, too, can be added.
//!
//! Shuttle knows sequential consistency only, and the orderings of these files are `SeqCst` wherever one depends on the
//! order of two variables. loom takes `SeqCst` for weaker than it is and would report what cannot happen.

#![cfg(test)]
#![allow(dead_code, unreachable_pub)]

mod sync {
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[path = "../../../dbm-core/src/baton.rs"]
mod baton;
#[path = "../../../dbm-core/src/engine/readers/pool.rs"]
mod pool;
#[path = "../../../dbm-core/src/live/registry.rs"]
mod registry;
#[path = "../../../dbm-core/src/sharded.rs"]
mod sharded;
#[path = "../../../dbm-core/src/tables.rs"]
mod tables;
#[path = "../../../dbm-core/src/turnstile.rs"]
mod turnstile;
#[path = "../../../dbm-core/src/waking.rs"]
mod waking;

mod live_reads;
mod tests;
