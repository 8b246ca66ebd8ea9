use std::fs;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What one process measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Calls that succeeded after the warm-up, and their rate.
    pub calls: u64,
    pub calls_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// User and system time of the whole process per call, start and warm-up included.
    pub cpu_us: f64,
    pub peak_rss_kib: u64,
    /// What was acknowledged, warm-up included: the file must hold exactly this.
    pub inserted: u64,
    pub incremented: u64,
    /// Calls that failed, and how many of them because the database was busy or locked.
    pub errors: u64,
    pub busy: u64,
    pub first_error: Option<String>,
}

/// What the database file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    pub rows: u64,
    pub counter: u64,
}

/// User and system time of this process in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory this process ever had resident.
pub(crate) fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
