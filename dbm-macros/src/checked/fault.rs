//! What is wrong with a statement, in SQLite's words or ours.

use super::excerpt::only_place_of;
use dbm_sql::Refusal;
use rusqlite::ErrorCode;

/// Why SQLite does not take a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    /// In bytes, where it is known.
    pub(super) offset: Option<usize>,
    /// The program may have what is unknown here: only for managers that say they do not.
    pub(super) strict: bool,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            offset: None,
            strict: false,
        }
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::new(format!(
            "{} is refused here: {}",
            refusal.what(),
            refusal.why()
        ))
    }

    /// Of a part that begins there.
    pub(super) fn after(self, begin: usize) -> Self {
        Self {
            offset: self.offset.map(|offset| begin + offset),
            ..self
        }
    }
}

/// SQLite's words, and the place they are about.
pub(super) fn fault(error: &rusqlite::Error, sql: &str) -> Fault {
    match error {
        rusqlite::Error::SqlInputError { msg, offset, .. } => Fault {
            offset: usize::try_from(*offset).ok(),
            ..Fault::new(msg.as_str())
        },
        rusqlite::Error::SqliteFailure(_, Some(message)) => Fault {
            offset: match &**message {
                "incomplete input" => Some(sql.trim_end().len()),
                message => subject_of(message).and_then(|name| only_place_of(sql, name)),
            },
            ..Fault::new(message.as_str())
        },
        rusqlite::Error::MultipleStatement => Fault::new(SEVERAL),
        rusqlite::Error::SqliteFailure(code, None) if code.code == ErrorCode::Unknown => {
            Fault::new("SQL logic error")
        }
        other => Fault {
            // Nothing that a program's own connection would have to say.
            strict: true,
            ..Fault::new(other.to_string())
        },
    }
}

/// What SQLite says of two statements in the place of one.
pub(super) const SEVERAL: &str = "this is more than one statement";

/// The name that a message ends in: `no such table: main.admins`, `table user has no column named nam`.
fn subject_of(message: &str) -> Option<&str> {
    let message = message.split(" - should this be").next()?;
    let name = message
        .rsplit_once(": ")
        .or_else(|| message.rsplit_once(" named "))?
        .1;
    let name = name.rsplit('.').next()?;
    Some(name.trim_matches(['"', '\'']))
}
