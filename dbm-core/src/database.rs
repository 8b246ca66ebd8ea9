//! The database of a running manager: a file of SQLite, or one on a server.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::engine::Engine;
#[cfg(feature = "jobs")]
use crate::job_board::JobBoard;
use crate::metrics::Metrics;
#[cfg(feature = "remote")]
use crate::server::Server;

#[derive(Clone)]
pub(crate) enum Database {
    File(Arc<Engine>),
    #[cfg(feature = "remote")]
    Server(Arc<Server>),
}

impl Database {
    /// Which one it is, for a log.
    pub(crate) fn label(&self) -> Cow<'_, str> {
        match self {
            Self::File(engine) => engine.opener.path.to_string_lossy(),
            #[cfg(feature = "remote")]
            Self::Server(server) => server.name.as_ref().into(),
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(engine) => Some(&engine.opener.path),
            #[cfg(feature = "remote")]
            Self::Server(_) => None,
        }
    }

    pub(crate) fn metrics(&self) -> Metrics {
        match self {
            Self::File(engine) => engine.metrics(),
            #[cfg(feature = "remote")]
            Self::Server(server) => server.metrics(),
        }
    }

    /// Present for a manager that lists jobs.
    #[cfg(feature = "jobs")]
    pub(crate) fn jobs(&self) -> Option<&Arc<JobBoard>> {
        match self {
            Self::File(engine) => engine.jobs.get(),
            #[cfg(feature = "remote")]
            Self::Server(server) => server.jobs.get(),
        }
    }

    /// Whether it is removed with its manager.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::File(engine) => engine.is_temporary(),
            #[cfg(feature = "remote")]
            Self::Server(_) => false,
        }
    }

    /// Closes what a manager has left that was dropped without `close`.
    pub(crate) fn abandon(&self) {
        match self {
            Self::File(engine) => engine.abandon(),
            #[cfg(feature = "remote")]
            Self::Server(server) => {
                server.begin_closing();
            }
        }
    }

    /// Looks whether another process has committed, for live reads.
    pub(crate) fn look_for_foreign_commits(&self) {
        match self {
            Self::File(engine) => engine.writer.look_for_foreign_commits(),
            #[cfg(feature = "remote")]
            Self::Server(server) => server.want_look(),
        }
    }

    /// Ends every call that is running or waiting.
    pub(crate) fn shut(&self) {
        match self {
            Self::File(engine) => engine.shut(),
            #[cfg(feature = "remote")]
            Self::Server(server) => server.shut(),
        }
    }
}
