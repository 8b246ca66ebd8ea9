//! Everything a manager's module needs: `use dbm_core::prelude::*;`
//!
//! It brings this crate's [`Result`], whose error type defaults to [`Error`], in place of std's. `Result<T, E>` with an
//! error type of your own means the same as before.
//!
//! ```
//! use dbm_core::prelude::*;
//!
//! fn port(text: &str) -> Result<u16, std::num::ParseIntError> {
//!     text.parse()
//! }
//!
//! fn port_for_a_hook(text: &str) -> Result<u16> {
//!     port(text).map_err(Error::other)
//! }
//! # assert!(port_for_a_hook("x").is_err());
//! ```

#[cfg(feature = "json")]
pub use crate::Json;
#[cfg(feature = "jobs")]
pub use crate::job;
#[cfg(feature = "checked")]
pub use crate::sql;
pub use crate::{
    Config, Connection, DbManager, Durability, Error, ManagerCore, Params, ReadTransaction, Result,
    Row, Schema, Serde, Status, ToValue, Value, Version, WriteTransaction, named_params, params,
};
#[cfg(feature = "macros")]
pub use crate::{
    database_safe, db_manager, during_init, fail_value, fail_with_exception, required_argument,
    timed,
};
