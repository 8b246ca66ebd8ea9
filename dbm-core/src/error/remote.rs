//! Errors of a database on a server.

use std::error::Error as StdError;
use std::sync::Arc;

use super::{Cause, Error};

impl Error {
    /// [`Error::Disconnected`] from this server. The text of the cause names no password.
    pub fn disconnected(server: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Disconnected {
            server: server.into(),
            cause: shared(cause),
        }
    }

    /// [`Error::CommitUnknown`]: nobody can tell whether the transaction is committed.
    pub fn commit_unknown(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::CommitUnknown {
            cause: shared(cause),
        }
    }

    /// [`Error::TransactionLost`]: the server keeps nothing of the transaction.
    pub fn transaction_lost(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::TransactionLost {
            cause: shared(cause),
        }
    }

    /// [`Error::Row`], of a statement that is run for many rows: `index` counts from 0.
    #[must_use]
    pub fn at_row(self, index: usize) -> Self {
        self.in_row(index)
    }

    /// The same error, of rows that follow so many others.
    pub(crate) fn after_rows(self, before: usize) -> Self {
        match self {
            Self::Row { index, cause } => Self::Row {
                index: before + index,
                cause,
            },
            other => other,
        }
    }

    /// The SQLSTATE, if a server's error is the cause, at any depth.
    ///
    /// ```
    /// # use dbm_core::Error;
    /// let error = Error::Server { state: "40001".into(), message: "could not serialize access".into() };
    /// assert_eq!(error.server_state(), Some("40001"));
    /// assert!(error.is_retryable());
    /// ```
    #[must_use]
    pub fn server_state(&self) -> Option<&str> {
        self.find(|error| match error.downcast_ref() {
            Some(Self::Server { state, .. }) => Some(&**state),
            _ => None,
        })
    }

    /// Class 40 is "transaction rollback". Of it, 40003 means that the end of a statement is unknown.
    pub(super) fn is_retryable_on_server(&self) -> bool {
        match self {
            Self::Disconnected { .. } => true,
            Self::Server { state, .. } => state.starts_with("40") && &**state != "40003",
            Self::TransactionLost { cause } => cause
                .downcast_ref::<Self>()
                .is_some_and(Self::is_retryable_on_server),
            _ => false,
        }
    }
}

fn shared(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Cause {
    Cause(Arc::from(cause.into()))
}
