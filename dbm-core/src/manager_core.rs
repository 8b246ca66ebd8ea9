//! The library's own state of a manager.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
#[cfg(feature = "testing")]
use crate::fault::Faults;
use crate::gate::Gate;
use crate::metrics::CallCounts;

/// The library's own state of a manager: the one field that every manager must have.
///
/// [`DbManager::start`](crate::DbManager::start) and its variants make it.
/// [`create_with`](crate::DbManager::create_with) hands it to its `build` closure.
pub struct ManagerCore {
    gate: Arc<Gate>,
    database: Box<str>,
    system: &'static str,
    calls: CallCounts,
    #[cfg(feature = "testing")]
    faults: Faults,
}

impl ManagerCore {
    // Not called `new`: a user who tried that name would be told that it is private.
    /// Calls `drained` when the last call has left after `close`.
    pub(crate) fn of(config: &Config, drained: fn(&Arc<Gate>)) -> Self {
        Self {
            gate: Gate::new(drained),
            database: config.name().into(),
            system: config.system(),
            calls: CallCounts::new(config.histograms),
            #[cfg(feature = "testing")]
            faults: Faults::default(),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The kind of database, in a span.
    pub(crate) fn system(&self) -> &'static str {
        self.system
    }

    pub(crate) fn calls(&self) -> &CallCounts {
        &self.calls
    }

    #[cfg(feature = "testing")]
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.gate.answer()?.as_ref().ok()?.path()
    }
}

impl fmt::Debug for ManagerCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerCore")
            .field("database", &self.database)
            .field("status", &self.gate.status())
            .finish()
    }
}
