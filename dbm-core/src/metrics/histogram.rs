//! Histograms of durations. Their bounds are fixed, so that nothing has to be chosen and any two can be added.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds from 1 µs to 33.6 s, each twice the one before, and one bucket for what is longer.
const BUCKETS: usize = 27;

/// How many times of something fell between which bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// The bounds, and how many were at most as long and longer than the bound before. Sorted: 1 µs, 2 µs, 4 µs and so on
    /// until 33.6 s, and then [`Duration::MAX`].
    pub buckets: Vec<(Duration, u64)>,
    /// The sum of all times.
    pub sum: Duration,
}

impl Histogram {
    /// How many times there are.
    ///
    /// ```
    /// # use dbm_core::Metrics;
    /// # let metrics = Metrics::default();
    /// if let Some(commits) = &metrics.commit_time {
    ///     println!("{} commits took {:?}", commits.count(), commits.sum);
    /// }
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

/// A histogram that threads record to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    buckets: [AtomicU64; BUCKETS],
    /// In nanoseconds.
    sum: AtomicU64,
}

impl Recorder {
    pub(crate) fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let counts = self.buckets.iter().enumerate();
        Histogram {
            buckets: counts
                .map(|(index, count)| (bound(index), count.load(Ordering::Relaxed)))
                .collect(),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

/// The first bucket whose bound is not shorter.
fn bucket_of(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000);
    let doublings = micros.next_power_of_two().ilog2();
    (doublings as usize).min(BUCKETS - 1)
}

fn bound(index: usize) -> Duration {
    if index == BUCKETS - 1 {
        Duration::MAX
    } else {
        Duration::from_micros(1 << index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_is_not_shorter() {
        let recorder = Recorder::default();
        for nanos in [0, 1, 1_000, 1_001, 2_000, 2_001, 33_554_432_000] {
            recorder.record(Duration::from_nanos(nanos));
        }
        recorder.record(Duration::from_secs(34));
        recorder.record(Duration::from_secs(1_000_000));
        let found = recorder.snapshot();
        let filled: Vec<_> = (found.buckets.iter())
            .filter(|(_, count)| *count > 0)
            .collect();
        let micros = Duration::from_micros;
        let expected = [
            (micros(1), 3),
            (micros(2), 2),
            (micros(4), 1),
            (micros(1 << 25), 1),
            (Duration::MAX, 2),
        ];
        assert_eq!(filled, expected.iter().collect::<Vec<_>>());
        assert_eq!(found.count(), 9);
        assert!(found.buckets.is_sorted());
        assert!(found.sum > Duration::from_secs(1_000_067));
    }

    #[test]
    fn a_time_that_no_clock_shows_is_recorded_too() {
        let recorder = Recorder::default();
        recorder.record(Duration::MAX);
        assert_eq!(recorder.snapshot().count(), 1);
    }
}
