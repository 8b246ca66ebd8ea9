use std::fmt;

/// Where a manager stands in its life: `Starting → Running → Stopping → Stopped`, or `Starting → Failed`.
///
/// It never goes back. The order of the variants is the order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The file is being opened, created or migrated; calls wait.
    Starting,
    /// Calls run.
    Running,
    /// `close` was called: running and queued calls finish, new ones are refused.
    Stopping,
    /// The connections are closed.
    Stopped,
    /// Start-up failed; every call's error carries the cause.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}
