//! What the Python package does, and what of it is kept: its files, each rule that is the same here, each defect
//! that is not.

#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod fixtures;
mod interop;
mod kept;
mod not_kept;
