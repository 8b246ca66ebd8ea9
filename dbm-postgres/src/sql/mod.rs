//! What has to be known of a text of SQL before it is sent.

mod kind;
mod placeholders;
mod script;
mod token;

pub(crate) use kind::{Kind, kind};
pub(crate) use placeholders::{Translated, translate};
pub(crate) use script::statements;
