//! The two ways a command fails: it was refused, or the database did not do it.

/// Why a command was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What was asked cannot be done; one sentence for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// The database failed.
    #[error("The database failed: {0}")]
    Database(#[from] dbm_core::Error),
}

impl Error {
    /// A refusal with its reason, a whole sentence.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// A result whose error answers the one who asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;
