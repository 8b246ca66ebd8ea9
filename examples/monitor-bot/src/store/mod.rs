//! What the bot remembers. One module for each topic; every method is a whole transaction.

mod admins;
mod alerts;
mod deliveries;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod on_server;
mod rollup;
mod rules;
mod samples;
mod schema;
mod upkeep;
mod watches;

use std::sync::Arc;

use dbm_core::prelude::*;

pub use deliveries::{PATIENCE, Receiver, Unstored};
pub use samples::Slot;

pub use crate::rules::{Alert, Event, EventKind};
use crate::settings::Retention;

/// The database of the bot.
#[derive(DbManager)]
#[db_manager(version = "1.6.0", schema, checked(strict), after("1.2.0" = Self::add_default_rules), jobs(deliver, roll_up, forget))]
pub struct Store {
    core: ManagerCore,
    keep: Retention,
    receivers: Vec<Receiver>,
    /// What this machine is called among those that share a database on a server; none for a file, which is of one machine.
    host: Option<String>,
}

impl Store {
    /// Opens the database in the background; calls wait until it is ready. One on a server may be shared with other
    /// machines: this one is called `host` there.
    pub fn open(
        config: Config,
        keep: Retention,
        receivers: Vec<Receiver>,
        host: Option<String>,
    ) -> Arc<Self> {
        Self::start_with(config, |core| Self {
            core,
            keep,
            receivers,
            host,
        })
    }

    /// Whether the database is on a server, and not a file.
    pub fn is_shared(&self) -> bool {
        self.host.is_some()
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
impl Store {
    /// One for a test, which runs its jobs itself.
    fn in_memory(keep: Retention) -> Arc<Self> {
        Self::open(Config::in_memory().job_workers(0), keep, Vec::new(), None)
    }
}
