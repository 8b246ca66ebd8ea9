//! Code of others that runs inside the engine: wakers, and what is dropped with them.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of others and contains its panic. True when it panicked.
///
/// A waker may drop the task that it wakes, and with it a call of this manager. So no lock of the crate is held here, but a
/// connection's slot where `engine/mod.rs` says so.
pub(crate) fn contain(code: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(code)).is_err()
}
