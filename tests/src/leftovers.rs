//! What is left of a manager after its end: open files, where the system tells (Linux, Windows), and threads (Linux).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files below `directory` that this process has open.
#[cfg(not(windows))]
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

/// The files below `directory` that somebody has open: nobody else may have them at the same time.
#[cfg(windows)]
#[must_use]
pub fn open_files(directory: &Path) -> Vec<PathBuf> {
    use std::os::windows::fs::OpenOptionsExt as _;
    const ERROR_SHARING_VIOLATION: i32 = 32;

    let mut open = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            open.extend(open_files(&path));
            continue;
        }
        let alone = fs::OpenOptions::new().read(true).share_mode(0).open(&path);
        if alone.is_err_and(|error| error.raw_os_error() == Some(ERROR_SHARING_VIOLATION)) {
            open.push(path);
        }
    }
    open
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
