//! What the engine of one manager counts for [`Metrics`](crate::Metrics). No order between the numbers is promised, so every
//! ordering is `Relaxed`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{Metrics, Recorder};

#[derive(Debug)]
pub(crate) struct EngineCounts {
    commits: Count,
    failed_commits: Count,
    members: Count,
    pub(super) checkpoints: Count,
    pub(super) busy_waits: Count,
    pub(super) busy_errors: Count,
    pub(super) overloaded: Count,
    /// A clone for each open connection.
    connections: Arc<()>,
    commit_time: Option<Recorder>,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

/// Part of whatever holds an open connection. Until it is dropped, the connection is counted.
#[derive(Debug)]
pub(crate) struct CountedOpen(#[expect(dead_code, reason = "its clones are counted")] Arc<()>);

impl EngineCounts {
    pub(crate) fn new(histograms: bool) -> Self {
        Self {
            commits: Count::default(),
            failed_commits: Count::default(),
            members: Count::default(),
            checkpoints: Count::default(),
            busy_waits: Count::default(),
            busy_errors: Count::default(),
            overloaded: Count::default(),
            connections: Arc::default(),
            commit_time: histograms.then(Recorder::default),
        }
    }

    /// Under the lock of the writer's slot, so that nothing else is added at the same time.
    pub(super) fn committed(&self, members: u64, took: Duration) {
        self.commits.add_alone(1);
        self.members.add_alone(members);
        if let Some(times) = &self.commit_time {
            times.record(took);
        }
    }

    pub(super) fn failed_to_commit(&self) {
        self.failed_commits.add(1);
    }

    pub(super) fn opened(&self) -> CountedOpen {
        CountedOpen(Arc::clone(&self.connections))
    }

    /// What is known here; the rest is 0.
    pub(super) fn snapshot(&self) -> Metrics {
        Metrics {
            commits: self.commits.get(),
            failed_commits: self.failed_commits.get(),
            members: self.members.get(),
            checkpoints: self.checkpoints.get(),
            busy_waits: self.busy_waits.get(),
            busy_errors: self.busy_errors.get(),
            overloaded: self.overloaded.get(),
            connections: Arc::strong_count(&self.connections) as u64 - 1,
            commit_time: self.commit_time.as_ref().map(Recorder::snapshot),
            ..Metrics::default()
        }
    }
}

impl Count {
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// For one thread at a time: half as long as [`add`](Self::add).
    fn add_alone(&self, number: u64) {
        self.0
            .store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
