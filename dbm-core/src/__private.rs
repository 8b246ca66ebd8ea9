//! Exactly what generated code names. Not for use by hand: it may change in any release.

pub use crate::call::{Site, call, missing_argument, timed};
pub use crate::checked::{Checked, Otherwise, Probe};
#[cfg(feature = "jobs")]
pub use crate::jobs::{IsJob, JobKind, Listed, arguments, job, listed, outcome};
pub use crate::lifecycle::Start;
pub use crate::manager::{DefaultField, FromCore, Shareable, begin};
pub use crate::steps::{Files, Step, create, migrate};
pub use crate::value::value_of;
pub use serde_core::Serialize;
