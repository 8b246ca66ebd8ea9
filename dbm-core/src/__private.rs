//! Exactly what generated code names. Not for use by hand: it may change in any release.

pub use crate::call::{Call, Outcome, Site, TypedCall, required_argument, timed};
pub use crate::manager::FromCore;
use crate::manager::DbManager;

/// The way from an annotated method into the street.
pub fn call<'a, M: DbManager>(site: &'static Site, manager: &'a M) -> Call<'a> {
    Call::new(site, manager.__core())
}
