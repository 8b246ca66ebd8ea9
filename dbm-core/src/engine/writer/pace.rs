//! How long commits take, which decides where they are made.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Commits faster than this on average are made where the task is.
const FAST: Duration = Duration::from_micros(300);

/// One such commit is reason enough to make the next ones elsewhere.
const VERY_SLOW: Duration = Duration::from_millis(2);

/// While the commits on the thread take less than twice as long as a fast one, each eighth is made where the task is, to
/// see: the same commit takes up to twice as long on a thread that has slept.
const TRY_EVERY: u32 = 8;
/// After tries that were not fast either the next ones come at longer intervals, up to this one.
const TRY_SELDOM: u32 = 1_024;

/// Where a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where the task is.
    Here,
    OnThread,
}

pub(super) struct Pace {
    here: Average,
    on_thread: Average,
    /// On the thread, since the last try.
    commits: AtomicU32,
    try_every: AtomicU32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            here: Average::default(),
            on_thread: Average::default(),
            commits: AtomicU32::new(0),
            try_every: AtomicU32::new(TRY_EVERY),
        }
    }
}

impl Pace {
    pub(super) fn next(&self) -> Place {
        if self.typical() < FAST {
            return Place::Here;
        }
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let is_due = commits >= self.try_every.load(Ordering::Relaxed);
        if !is_due || self.on_thread.get() >= 2 * FAST {
            return Place::OnThread;
        }
        self.commits.store(0, Ordering::Relaxed);
        Place::Here
    }

    /// A commit where the task is; very long while that is not known.
    pub(super) fn typical(&self) -> Duration {
        self.here.get()
    }

    pub(super) fn record(&self, took: Duration, place: Place) {
        match place {
            Place::Here => {
                self.here.record(took);
                if took >= VERY_SLOW {
                    self.on_thread.record(took);
                }
                let interval = self.try_every.load(Ordering::Relaxed);
                let next = if took < FAST {
                    TRY_EVERY
                } else {
                    TRY_SELDOM.min(2 * interval)
                };
                self.try_every.store(next, Ordering::Relaxed);
            }
            Place::OnThread => {
                self.on_thread.record(took);
                // It would not have taken longer here.
                self.here.limit(self.on_thread.get());
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

    /// One that is somewhat slow for once does not make a disk slow; a few do, and so does one that is very slow.
    fn record(&self, took: Duration) {
        let average = self.get();
        if average == Duration::from_nanos(u64::MAX) {
            return self.set(took);
        }
        let counts = if took < VERY_SLOW {
            took.min(2 * average.max(FAST))
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
    use super::Place::{Here, OnThread};
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// How many of the next commits are made where the task is, when they take as long as that there and on the thread.
    fn here_of(pace: &Pace, commits: u32, here: Duration, on_thread: Duration) -> u32 {
        let mut made_here = 0;
        for _ in 0..commits {
            match pace.next() {
                Here => {
                    made_here += 1;
                    pace.record(here, Here);
                }
                OnThread => pace.record(on_thread, OnThread),
            }
        }
        made_here
    }

    #[test]
    fn nobody_waits_in_a_worker_for_a_disk_that_is_not_known() {
        assert_eq!(Pace::default().next(), OnThread);
    }

    #[test]
    fn a_commit_that_is_slow_for_once_does_not_make_the_disk_slow() {
        let pace = Pace::default();
        pace.record(200 * MICROSECOND, Here);
        assert_eq!(pace.next(), Here);
        pace.record(1_000 * MICROSECOND, Here);
        assert_eq!(pace.next(), Here);
        for _ in 0..4 {
            pace.record(1_000 * MICROSECOND, Here);
        }
        assert_eq!(here_of(&pace, 100, MICROSECOND, 1_000 * MICROSECOND), 0);
    }

    #[test]
    fn a_commit_that_is_very_slow_sends_the_next_ones_to_a_thread() {
        let pace = Pace::default();
        here_of(&pace, 100, 100 * MICROSECOND, 100 * MICROSECOND);
        pace.record(Duration::from_millis(50), Here);
        assert_eq!(here_of(&pace, 8, MICROSECOND, 100 * MICROSECOND), 0);
        here_of(&pace, 100, 100 * MICROSECOND, 100 * MICROSECOND);
        assert_eq!(pace.next(), Here, "for ever");
    }

    #[test]
    fn a_disk_that_is_fast_enough_is_not_judged_by_a_thread_that_has_slept() {
        let pace = Pace::default();
        here_of(&pace, 200, 200 * MICROSECOND, 400 * MICROSECOND);
        assert_eq!(
            here_of(&pace, 100, 200 * MICROSECOND, 400 * MICROSECOND),
            100
        );
    }

    #[test]
    fn a_disk_that_is_nearly_fast_is_tried_now_and_then() {
        let pace = Pace::default();
        here_of(&pace, 200, 310 * MICROSECOND, 310 * MICROSECOND);
        let tries = here_of(&pace, 10_000, 310 * MICROSECOND, 310 * MICROSECOND);
        assert!((8..=12).contains(&tries), "{tries}");
        here_of(&pace, 10_000, 200 * MICROSECOND, 310 * MICROSECOND);
        assert_eq!(pace.next(), Here, "it became fast");
    }

    #[test]
    fn a_slow_disk_is_not_tried() {
        let pace = Pace::default();
        here_of(&pace, 100, 700 * MICROSECOND, 700 * MICROSECOND);
        let tries = here_of(&pace, 80, 700 * MICROSECOND, 700 * MICROSECOND);
        assert_eq!(tries, 0);
    }
}
