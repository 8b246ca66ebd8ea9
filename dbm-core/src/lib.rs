//! Database managers for SQLite.

mod call;
mod config;
#[expect(
    clippy::disallowed_types,
    reason = "connections, lanes and files belong here"
)]
mod engine;
mod error;
mod frame;
mod lifecycle;
mod manager;
mod params;
pub mod prelude;
mod row;
mod status;
mod transaction;
mod value;
mod version;

#[doc(hidden)]
pub mod __private;

pub use call::{ExceptionSlot, Fallible, ValueOf};
pub use config::{Config, Durability, Execution};
pub use error::{Cause, Error, Result, Shared};
pub use manager::{DbManager, FromCore, ManagerCore, Schema};
pub use params::{BoundParams, Params};
pub use row::{ColumnIndex, Row};
pub use status::Status;
pub use transaction::{Connection, Handle, ReadTransaction, Statement, WriteTransaction};
pub use value::{ToValue, Value};
pub use version::Version;

#[cfg(feature = "macros")]
pub use dbm_macros::{
    DbManager, database_safe, during_init, fail_value, fail_with_exception, required_argument,
    timed,
};
/// The SQLite bindings that this crate is built on. Use this re-export: a second version of rusqlite in one program
/// does not link.
pub use rusqlite;
pub use semver;
pub use tokio_rusqlite;

/// The code of the README compiles.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../README.md")]
struct Readme;
