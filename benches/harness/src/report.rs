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
    /// How often the process gave up a processor, or was taken from one, per call. Older reports lack it.
    #[serde(default)]
    pub switches: Option<f64>,
    /// Of the workload of that name only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managers: Option<Managers>,
    /// What was acknowledged, warm-up included: the file must hold exactly this.
    pub inserted: u64,
    pub incremented: u64,
    /// Calls that failed, and how many of them because the database was busy or locked.
    pub errors: u64,
    pub busy: u64,
    pub first_error: Option<String>,
}

/// What each of many open databases takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Managers {
    /// Of memory, and of threads.
    pub kib: f64,
    pub threads: f64,
    /// Two seconds later.
    pub kib_at_rest: f64,
    pub threads_at_rest: f64,
    pub closed_in_us: f64,
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
    number("/proc/self/status", "VmHWM:")
}

/// The memory that this process has resident now.
pub(crate) fn rss_kib() -> u64 {
    number("/proc/self/status", "VmRSS:")
}

pub(crate) fn threads() -> u64 {
    number("/proc/self/status", "Threads:")
}

/// Of all threads that run now.
pub(crate) fn context_switches() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let of_one = |status: &str| {
        number(status, "voluntary_ctxt_switches:") + number(status, "nonvoluntary_ctxt_switches:")
    };
    threads
        .flatten()
        .map(|thread| of_one(&thread.path().join("status").to_string_lossy()))
        .sum()
}

fn number(file: &str, name: &str) -> u64 {
    let status = fs::read_to_string(file).unwrap_or_default();
    let mut words = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default()
        .split_whitespace();
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
