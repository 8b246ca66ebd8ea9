//! What [`DbManager::metrics`](crate::DbManager::metrics) returns, and how calls are counted for it.

mod calls;
mod histogram;
mod points;

pub(crate) use calls::{CallCounts, Outcome};
pub use histogram::Histogram;
pub(crate) use histogram::Recorder;
pub use points::{DataPoint, PointValue};

/// What a manager has done and does at the moment: what [`DbManager::metrics`](crate::DbManager::metrics) returns.
///
/// Counters begin at 0 with the manager, never fall, and keep their value after [`close`](crate::DbManager::close).
/// Gauges are as of now. Each number is read for itself, while calls go on: two of them may differ by what happens between
/// the two reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Counters: the methods of this manager that have been called, sorted by module and name. With them are the calls that
    /// the library makes itself ([`get_version`](crate::DbManager::get_version), [`verify`](crate::DbManager::verify)).
    pub methods: Vec<MethodMetrics>,
    /// Counter: transactions that the library has committed, also those of start-up. What a bare
    /// [`Connection`](crate::Connection) commits is not known.
    pub commits: u64,
    /// Counter: commits that failed.
    pub failed_commits: u64,
    /// Counter: calls whose work was in a transaction that was committed. Divided by `commits`, it is how many calls share
    /// one commit on average.
    pub members: u64,
    /// Gauge: pages of the write-ahead log that are in use, after this manager's newest commit. 0 until it has written, and
    /// again when the log has started over.
    pub log_pages: u64,
    /// Counter: checkpoints, whether they have copied the whole log or not.
    pub checkpoints: u64,
    /// Counter: how often a call had to wait because another process had locked the file. Each counts once, however long it
    /// waited.
    pub busy_waits: u64,
    /// Counter: calls that gave up such a wait, with [`Error::Busy`](crate::Error::Busy).
    pub busy_errors: u64,
    /// Gauge: calls in the queue for the writer.
    pub waiting_writes: u64,
    /// Gauge: reads in the queue for a reader.
    pub waiting_reads: u64,
    /// Counter: calls that were refused with [`Error::Overloaded`](crate::Error::Overloaded).
    pub overloaded: u64,
    /// Gauge: open connections to the file: the writer, the readers, one for checkpoints, one that helps if there are many
    /// reads. Not those that are opened for one purpose, such as a backup.
    pub connections: u64,
    /// Gauge: threads of this manager. The threads for time limits and idle connections belong to the process, and a backup
    /// has one of its own.
    pub threads: u64,
    /// Gauge: live reads.
    pub live_reads: u64,
    /// Counters: runs of jobs in this process, with the feature `jobs`.
    pub jobs: JobRuns,
    /// Times of commits, with [`Config::histograms`](crate::Config::histograms): from the `COMMIT` until it is durable.
    pub commit_time: Option<Histogram>,
}

/// How many runs of jobs ended in which way. A run that was interrupted, and whose attempt does not count, is in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobRuns {
    /// The job has done its work.
    pub done: u64,
    /// The run failed. The job is tried again, at its next time if it is a schedule.
    pub failed: u64,
    /// The run failed, and the job is dead.
    pub dead: u64,
}

/// What the calls of one method have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodMetrics {
    /// The module of the method.
    pub module: &'static str,
    /// The name of the method.
    pub method: &'static str,
    /// Its calls, by their outcome. A call inside another call counts as well.
    pub calls: Calls,
    /// The times of its calls, with [`Config::histograms`](crate::Config::histograms).
    pub times: Option<CallTimes>,
}

/// How many calls ended in which way. Each call is in one of these, from the moment it has ended. One that was never polled
/// is in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// The body returned `Ok`, and its transaction was committed. (Inside another call: the savepoint was released.)
    pub ok: u64,
    /// The body returned `Err`, or the library failed the call with an error that is in no other field.
    pub failed: u64,
    /// The body panicked.
    pub panicked: u64,
    /// The method's `timeout` or [`Config::acquire_timeout`](crate::Config::acquire_timeout) ended it.
    pub timed_out: u64,
    /// Its future was dropped.
    pub cancelled: u64,
    /// It came after [`close`](crate::DbManager::close), was ended by it, or the manager had failed to start.
    pub closed: u64,
}

/// How long calls took. Those that were cancelled or failed are included.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallTimes {
    /// From the first poll until the call had its connection and transaction. Calls that never had it are left out.
    pub waiting: Histogram,
    /// From then to the end, commit included.
    pub running: Histogram,
    /// From the first poll to the end, of every call.
    pub total: Histogram,
}

impl Calls {
    /// All calls that have ended.
    ///
    /// ```
    /// # use dbm_core::Calls;
    /// assert_eq!(Calls::default().total(), 0);
    /// ```
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            ok,
            failed,
            panicked,
            timed_out,
            cancelled,
            closed,
        } = self;
        ok + failed + panicked + timed_out + cancelled + closed
    }
}
