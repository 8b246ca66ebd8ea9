//! How a command fails: it was refused, the database did not do it, or its answer cannot be given.

use std::io;

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What was asked cannot be done; one sentence for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error("The database failed: {0}")]
    Database(#[from] dbm_core::Error),
    /// Standard output takes no answer.
    #[error("The answer cannot be written: {0}.")]
    Unwritable(io::ErrorKind),
}

impl Error {
    /// A refusal with its reason, a whole sentence.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// All input and output but that of answers is explained where it fails.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error.kind())
    }
}

/// A result whose error answers the one who asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;
