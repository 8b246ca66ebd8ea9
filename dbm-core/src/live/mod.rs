//! Live reads: reads that are made again after each commit that may have changed their result.
//!
//! `registry` knows the live reads of a manager, and which of them a commit concerns. `stream` is what the program holds.
//! What a read depends on is collected while it runs: the sessions of its calls find its [`Collector`] in the task.

mod registry;
mod stream;

pub(crate) use registry::LiveReads;
pub use stream::Live;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::lock;
use crate::tables::Tables;

tokio::task_local! {
    /// The manager whose live read the current task makes, and what that read depends on.
    static READS: (u64, Arc<Collector>);
}

/// What the live read depends on that the current task makes for this manager.
pub(crate) fn collector(manager: u64) -> Option<Arc<Collector>> {
    READS
        .try_with(|(of, collector)| (*of == manager).then(|| Arc::clone(collector)))
        .ok()
        .flatten()
}

/// The tables that one run of a live read has read so far.
#[derive(Debug, Default)]
pub(crate) struct Collector(Mutex<Tables>);

impl Collector {
    pub(crate) fn add(&self, tables: &Tables) {
        self.lock().add_all_of(tables);
    }

    fn take(&self) -> Tables {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        lock(&self.0)
    }
}
