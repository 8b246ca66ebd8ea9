//! What is left of a manager after its end: open files and threads, where the system tells (Linux).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files below `directory` that this process has open.
#[must_use]
pub fn open_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.starts_with(directory))
        .collect()
}

/// Names the current thread as the system sees it (15 bytes at most); threads that it starts inherit the name.
pub fn name_thread(name: &str) {
    let _ = fs::write("/proc/thread-self/comm", name);
}

/// How many threads of this process have this name.
#[must_use]
pub fn threads_named(name: &str) -> usize {
    let entries = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

/// Waits for something that only the system can tell, such as the end of a thread.
pub async fn eventually(condition: impl Fn() -> bool) {
    crate::within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
