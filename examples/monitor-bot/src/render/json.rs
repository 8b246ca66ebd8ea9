//! Answers for programs: one JSON object on one line.

use serde_json::{Value, json};

use crate::error::Error;
use crate::reply::Reply;

/// The answer to a command.
pub fn reply(command: &str, reply: &Reply) -> Value {
    json!({ "ok": true, "command": command, "data": reply.data })
}

/// Why a command failed.
pub fn error(command: &str, error: &Error) -> Value {
    let kind = match error {
        Error::Refused(_) => "refused",
        Error::Database(_) => "database",
        Error::Unwritable(_) => "output",
    };
    json!({ "ok": false, "command": command, "error": { "kind": kind, "message": error.to_string() } })
}
