//! What the bot remembers. One module for each topic; every method is a whole transaction.

mod admins;
mod alerts;
mod deliveries;
mod rollup;
mod rules;
mod samples;
mod schema;
mod upkeep;
mod watches;

use std::sync::Arc;

use dbm_core::prelude::*;

pub use alerts::{Alert, Event, EventKind};
pub use deliveries::Tell;
pub use samples::Slot;

use crate::settings::Retention;

/// The database of the bot.
#[derive(DbManager)]
#[db_manager(version = "1.4.0", schema, checked(strict), after("1.2.0" = Self::add_default_rules), jobs(deliver, roll_up, forget))]
pub struct Store {
    core: ManagerCore,
    keep: Retention,
    tell: Option<Tell>,
}

impl Store {
    /// Opens the database in the background; calls wait until it is ready.
    pub fn open(config: Config, keep: Retention, tell: Option<Tell>) -> Arc<Self> {
        Self::start_with(config, |core| Self { core, keep, tell })
    }
}
