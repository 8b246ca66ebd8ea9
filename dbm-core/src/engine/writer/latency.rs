//! How long commits take. This decides where they run.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::policy::POLICY;

/// Where a commit runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunOn {
    /// In the task's own thread.
    Task,
    WorkerThread,
}

pub(super) struct CommitLatency {
    on_task: Average,
    on_thread: Average,
    /// Commits on the worker thread since the last try in the task.
    commits: AtomicU32,
    try_every: AtomicU32,
}

impl Default for CommitLatency {
    fn default() -> Self {
        Self {
            on_task: Average::default(),
            on_thread: Average::default(),
            commits: AtomicU32::new(0),
            try_every: AtomicU32::new(POLICY.try_fast_every),
        }
    }
}

impl CommitLatency {
    pub(super) fn run_on(&self) -> RunOn {
        if self.is_fast() {
            return RunOn::Task;
        }
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let is_due = commits >= self.try_every.load(Ordering::Relaxed);
        if !is_due || self.on_thread.get() >= 2 * POLICY.fast_commit {
            return RunOn::WorkerThread;
        }
        self.commits.store(0, Ordering::Relaxed);
        RunOn::Task
    }

    /// Whether a commit in the task takes no more than a moment.
    pub(super) fn is_fast(&self) -> bool {
        self.typical() < POLICY.fast_commit
    }

    /// How long a commit in the task usually takes. Until one was measured, the longest time that fits.
    pub(super) fn typical(&self) -> Duration {
        self.on_task.get()
    }

    pub(super) fn record(&self, took: Duration, run_on: RunOn) {
        match run_on {
            RunOn::Task => {
                self.on_task.record(took);
                if took >= POLICY.very_slow_commit {
                    self.on_thread.record(took);
                }
                let interval = self.try_every.load(Ordering::Relaxed);
                let next = if took < POLICY.fast_commit {
                    POLICY.try_fast_every
                } else {
                    POLICY.try_fast_at_least_every.min(2 * interval)
                };
                self.try_every.store(next, Ordering::Relaxed);
            }
            RunOn::WorkerThread => {
                self.on_thread.record(took);
                // In the task it would have taken no longer.
                self.on_task.limit(self.on_thread.get());
            }
        }
    }
}

/// Moving average in nanoseconds over about eight commits.
struct Average(AtomicU64);

impl Default for Average {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Average {
    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, average: Duration) {
        let nanos = u64::try_from(average.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }

    /// One slow commit counts for little, so that it does not make the disk slow. Several do, and so does a very slow
    /// one.
    fn record(&self, took: Duration) {
        let average = self.get();
        if average == Duration::from_nanos(u64::MAX) {
            return self.set(took);
        }
        let counts = if took < POLICY.very_slow_commit {
            took.min(2 * average.max(POLICY.fast_commit))
        } else {
            took
        };
        self.set((7 * average + counts) / 8);
    }

    fn limit(&self, limit: Duration) {
        self.set(self.get().min(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::RunOn::{Task, WorkerThread};
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// How many of the next `commits` run in the task, if a commit takes `here` there and `on_thread` on the worker
    /// thread.
    fn here_of(latency: &CommitLatency, commits: u32, here: Duration, on_thread: Duration) -> u32 {
        let mut made_here = 0;
        for _ in 0..commits {
            match latency.run_on() {
                Task => {
                    made_here += 1;
                    latency.record(here, Task);
                }
                WorkerThread => latency.record(on_thread, WorkerThread),
            }
        }
        made_here
    }

    #[test]
    fn nobody_waits_in_a_worker_for_a_disk_that_is_not_known() {
        assert_eq!(CommitLatency::default().run_on(), WorkerThread);
    }

    #[test]
    fn a_commit_that_is_slow_for_once_does_not_make_the_disk_slow() {
        let latency = CommitLatency::default();
        latency.record(200 * MICROSECOND, Task);
        assert_eq!(latency.run_on(), Task);
        latency.record(1_000 * MICROSECOND, Task);
        assert_eq!(latency.run_on(), Task);
        for _ in 0..4 {
            latency.record(1_000 * MICROSECOND, Task);
        }
        assert_eq!(here_of(&latency, 100, MICROSECOND, 1_000 * MICROSECOND), 0);
    }

    #[test]
    fn a_commit_that_is_very_slow_sends_the_next_ones_to_a_thread() {
        let latency = CommitLatency::default();
        here_of(&latency, 100, 100 * MICROSECOND, 100 * MICROSECOND);
        latency.record(Duration::from_millis(50), Task);
        assert_eq!(here_of(&latency, 8, MICROSECOND, 100 * MICROSECOND), 0);
        here_of(&latency, 100, 100 * MICROSECOND, 100 * MICROSECOND);
        assert_eq!(latency.run_on(), Task, "it stays slow");
    }

    #[test]
    fn a_disk_that_is_fast_enough_is_not_judged_by_a_thread_that_has_slept() {
        let latency = CommitLatency::default();
        here_of(&latency, 200, 200 * MICROSECOND, 400 * MICROSECOND);
        assert_eq!(
            here_of(&latency, 100, 200 * MICROSECOND, 400 * MICROSECOND),
            100
        );
    }

    #[test]
    fn a_disk_that_is_nearly_fast_is_tried_now_and_then() {
        let latency = CommitLatency::default();
        here_of(&latency, 200, 310 * MICROSECOND, 310 * MICROSECOND);
        let tries = here_of(&latency, 10_000, 310 * MICROSECOND, 310 * MICROSECOND);
        assert!((8..=12).contains(&tries), "{tries}");
        here_of(&latency, 10_000, 200 * MICROSECOND, 310 * MICROSECOND);
        assert_eq!(latency.run_on(), Task, "it became fast");
    }

    #[test]
    fn a_slow_disk_is_not_tried() {
        let latency = CommitLatency::default();
        here_of(&latency, 100, 700 * MICROSECOND, 700 * MICROSECOND);
        let tries = here_of(&latency, 80, 700 * MICROSECOND, 700 * MICROSECOND);
        assert_eq!(tries, 0);
    }
}
