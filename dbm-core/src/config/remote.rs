//! The configuration of a database on a server.

use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::{Config, Location, invalid};
use crate::error::Result;
use crate::remote::{Backend, Limits};

/// The backend that a configuration carries.
#[derive(Debug, Clone)]
pub(crate) struct SharedBackend(Arc<dyn Backend>);

// Nothing of it is used after a panic, and `Config` stays what it is without it.
impl UnwindSafe for SharedBackend {}
impl RefUnwindSafe for SharedBackend {}

impl Deref for SharedBackend {
    type Target = dyn Backend;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Config {
    /// A database on a server. A crate that connects one has a function of its own that returns this.
    ///
    /// These settings mean the same as for a file: [`acquire_timeout`](Self::acquire_timeout),
    /// [`max_queue`](Self::max_queue), [`version`](Self::version), [`adopt`](Self::adopt), [`histograms`](Self::histograms).
    /// Any other one is about a file, and fails the start with [`Error::Config`](crate::Error::Config) unless it has its
    /// default.
    pub fn remote(backend: impl Backend) -> Self {
        let mut config = Self::new("");
        config.location = Location::Server(SharedBackend(Arc::new(backend)));
        config
    }

    pub(crate) fn backend(&self) -> Option<&SharedBackend> {
        match &self.location {
            Location::Server(backend) => Some(backend),
            Location::Directory(_) | Location::Temporary => None,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            acquire_timeout: self.acquire_timeout,
            max_queue: self.max_queue,
        }
    }

    /// Refuses what means nothing on a server.
    pub(crate) fn check_for_server(&self) -> Result<()> {
        let default = Self::new("");
        let settings = [
            ("db_name", self.db_name != default.db_name),
            ("durability", self.durability != default.durability),
            ("execution", self.execution != default.execution),
            ("readers", self.readers != default.readers),
            ("busy_timeout", self.busy_timeout != default.busy_timeout),
            ("max_read_age", self.max_read_age.is_some()),
            ("max_write_idle", self.max_write_idle.is_some()),
            ("keep_backups", self.keep_backups != default.keep_backups),
            ("private_files", self.private_files),
            ("schema_drift", self.schema_drift.is_some()),
            ("read_only", self.read_only),
            ("hardened", self.hardened != default.hardened),
            ("on_open", self.on_open.is_some()),
            ("on_create", self.on_create.is_some()),
        ];
        match settings.iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!(
                "`{name}` is about a file of SQLite, and the database is on a server"
            ))),
        }
    }
}
