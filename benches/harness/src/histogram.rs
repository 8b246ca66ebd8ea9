use std::time::Duration;

/// Sixteen buckets to every power of two: a quantile is off by three per cent at most.
const STEPS: u64 = 16;
const BUCKETS: usize = 16 * 40;

/// Latencies in nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// The latency in microseconds that the given part of all calls did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let rank = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank.max(1) {
                return middle(index as u64) / 1e3;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(STEPS);
    let exponent = u64::from(nanos.ilog2());
    let step = (nanos >> (exponent - 4)) - STEPS;
    (((exponent - 4) * STEPS + step) as usize).min(BUCKETS - 1)
}

fn middle(index: u64) -> f64 {
    let (exponent, step) = (index / STEPS, index % STEPS);
    ((STEPS + step) as f64 + 0.5) * (1_u64 << exponent) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_three_per_cent() {
        let mut histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (part, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.quantile(part);
            assert!(
                (got / expected - 1.0).abs() < 0.04,
                "{part}: {got}, not {expected}"
            );
        }
    }

    #[test]
    fn extremes_stay_in_range() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
    }
}
