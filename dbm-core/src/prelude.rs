//! Everything a manager's module needs: `use dbm_core::prelude::*;`
//!
//! It brings this crate's [`Result`], whose error type defaults to [`Error`], in place of std's.

pub use crate::{
    Config, Connection, DbManager, Durability, Error, ManagerCore, Params, ReadTransaction, Result,
    Row, Schema, Status, ToValue, Value, Version, WriteTransaction, named_params, params,
};
#[cfg(feature = "macros")]
pub use crate::{
    database_safe, during_init, fail_value, fail_with_exception, required_argument, timed,
};
