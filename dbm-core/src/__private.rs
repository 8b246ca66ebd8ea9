//! Exactly what generated code names. Not for use by hand: it may change in any release.

pub use crate::call::{Call, CallOn, Outcome, Site, TypedCall, missing_argument, timed};
use crate::manager::DbManager;
pub use crate::manager::{DefaultField, FromCore};

/// The way from an annotated method into the street.
pub fn call<'a, M: DbManager>(site: &'static Site, manager: &'a M) -> Call<'a> {
    Call::new(site, manager.__core())
}
