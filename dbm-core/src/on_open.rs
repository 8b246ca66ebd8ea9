//! What a program does with each connection before the library uses it.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use crate::error::Result;

#[expect(
    clippy::disallowed_types,
    reason = "the program sets up its connections"
)]
type Hook = dyn Fn(&rusqlite::Connection) -> Result<()> + Send + Sync;

/// The closure of [`Config::on_open`](crate::Config::on_open) or [`Config::on_create`](crate::Config::on_create).
#[derive(Clone)]
pub(crate) struct OpenHook(pub(crate) Arc<Hook>);

// It runs within `catch_unwind`, and `Config` stays what it is without it.
impl UnwindSafe for OpenHook {}
impl RefUnwindSafe for OpenHook {}

impl fmt::Debug for OpenHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fn(&rusqlite::Connection)")
    }
}
