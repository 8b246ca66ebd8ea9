//! How a command fails: it was refused, the database did not do it, or its answer cannot be given.

use std::io;

use std::iter::successors;

use dbm_core::rusqlite::{self, ErrorCode};

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What was asked cannot be done; one sentence for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error("The database failed: {}", plain(.0))]
    Database(#[from] dbm_core::Error),
    /// Standard output takes no answer.
    #[error("The answer cannot be written: {0}.")]
    Unwritable(io::ErrorKind),
}

/// A refusal with its reason, a whole sentence, as `format!` takes it.
macro_rules! refused {
    ($($reason:tt)*) => {
        $crate::error::Error::Refused(format!($($reason)*))
    };
}

/// Returns with a refusal.
macro_rules! refuse {
    ($($reason:tt)*) => {
        return Err(refused!($($reason)*))
    };
}

impl Error {
    /// The reason alone, to go on a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Database(dbm_core::Error::Timeout { limit: time, .. })
            | Self::Database(dbm_core::Error::AcquireTimeout { waited: time, .. }) => {
                format!("it takes longer than {time:.0?}")
            }
            Self::Database(error) => plain(error),
            other => other.to_string(),
        }
    }
}

/// What SQLite calls by its code, in words for those who look after the machine.
fn plain(error: &dbm_core::Error) -> String {
    let causes = successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let code = causes
        .filter_map(|cause| cause.downcast_ref::<rusqlite::Error>())
        .find_map(rusqlite::Error::sqlite_error_code);
    let words = match code {
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::SystemIoFailure) => "the disk cannot be read or written",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "the file may not be written",
        Some(ErrorCode::CannotOpen) => "the file cannot be opened",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "the file is damaged",
        Some(ErrorCode::DatabaseBusy) => "another program holds the file",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// All input and output but that of answers is explained where it fails.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error.kind())
    }
}

/// A result whose error answers the one who asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;
