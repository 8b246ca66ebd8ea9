//! What has to be known of a text of SQL before it is sent.

mod kind;
mod placeholders;
mod script;
mod token;

pub(crate) use kind::{Kind, changes_rows, kind};
pub(crate) use placeholders::translate;
pub(crate) use script::statements;
