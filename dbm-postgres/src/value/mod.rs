//! Values between dbm and PostgreSQL. A value is never changed on its way: what has no exact counterpart is an error.

mod decode;
mod encode;
mod numeric;

pub(crate) use decode::Cell;
pub(crate) use encode::{Parameter, encode};
