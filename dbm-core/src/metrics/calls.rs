//! Counts the calls of one manager, by method and outcome. A call adds one number, on a cache line that few other threads
//! write, and takes no lock. A method costs a kilobyte from its first call on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{CallTimes, Calls, Recorder};
use crate::sharded::{Sharded, thread_number};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    Panicked,
    TimedOut,
    Cancelled,
    Closed,
}

const OUTCOMES: usize = Outcome::Closed as usize + 1;

/// Block `n` is for `FIRST << n` methods. So the table grows without moving what is in it, up to 131,040 methods. Any more
/// are counted as one.
const BLOCKS: usize = 12;
const FIRST: usize = 32;

/// By the number of the method, which begins at 1 and is the same in all managers of the process.
#[derive(Debug, Default)]
pub(crate) struct CallCounts {
    blocks: [OnceLock<Block>; BLOCKS],
    /// Whether times are recorded.
    timed: bool,
}

type Block = Box<[OnceLock<Box<Method>>]>;

#[derive(Debug, Default)]
struct Method {
    ended: Sharded<[AtomicU64; OUTCOMES]>,
    times: Option<Times>,
}

#[derive(Debug, Default)]
struct Times {
    waiting: Recorder,
    running: Recorder,
    total: Recorder,
}

impl CallCounts {
    pub(crate) fn new(timed: bool) -> Self {
        Self {
            timed,
            ..Self::default()
        }
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }

    /// A call of a method has ended.
    #[inline]
    pub(crate) fn ended(&self, method: u32, outcome: Outcome) {
        let method = self.method(method);
        let count = &method.ended.of(thread_number())[outcome as usize];
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How long a call has waited, if it had its connection, and how long it took.
    pub(crate) fn took(&self, method: u32, waited: Option<Duration>, total: Duration) {
        if let Some(times) = &self.method(method).times {
            if let Some(waited) = waited {
                times.waiting.record(waited);
                times.running.record(total.saturating_sub(waited));
            }
            times.total.record(total);
        }
    }

    /// `None` until a call of the method has ended.
    pub(crate) fn snapshot(&self, method: u32) -> Option<(Calls, Option<CallTimes>)> {
        let method = self.known(method)?;
        let count = |outcome: Outcome| {
            let shards = method.ended.all();
            shards.fold(0_u64, |sum, counts| {
                sum.wrapping_add(counts[outcome as usize].load(Ordering::Relaxed))
            })
        };
        let calls = Calls {
            ok: count(Outcome::Ok),
            failed: count(Outcome::Failed),
            panicked: count(Outcome::Panicked),
            timed_out: count(Outcome::TimedOut),
            cancelled: count(Outcome::Cancelled),
            closed: count(Outcome::Closed),
        };
        let times = method.times.as_ref().map(|times| CallTimes {
            waiting: times.waiting.snapshot(),
            running: times.running.snapshot(),
            total: times.total.snapshot(),
        });
        Some((calls, times))
    }

    #[inline]
    fn method(&self, number: u32) -> &Method {
        self.known(number).unwrap_or_else(|| self.make(number))
    }

    /// `None` until a call of the method has ended.
    #[inline]
    fn known(&self, number: u32) -> Option<&Method> {
        let (block, index) = place(number);
        let method = self.blocks.get(block)?.get()?.get(index)?.get()?;
        Some(method)
    }

    #[cold]
    fn make(&self, number: u32) -> &Method {
        let (block, index) = place(number);
        let methods = self.blocks[block]
            .get_or_init(|| (0..FIRST << block).map(|_| OnceLock::new()).collect());
        methods[index].get_or_init(|| {
            Box::new(Method {
                times: self.timed.then(Times::default),
                ..Method::default()
            })
        })
    }
}

/// The block of a method, and its index there.
#[inline]
fn place(number: u32) -> (usize, usize) {
    let place = (number.saturating_sub(1) as usize + FIRST).min((FIRST << BLOCKS) - 1);
    let block = (place / FIRST).ilog2() as usize;
    (block, place - (FIRST << block))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "threads of its own")]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_place_of_its_own() {
        let places = [1, 32, 33, 96, 97, 131_040, 131_041, u32::MAX].map(place);
        let last = (11, 65_535);
        let expected = [(0, 0), (0, 31), (1, 0), (1, 63), (2, 0), last, last, last];
        assert_eq!(places, expected);
        let counts = CallCounts::default();
        for method in 1..100 {
            (0..method).for_each(|_| counts.ended(method, Outcome::Failed));
        }
        for method in 1..100 {
            let (calls, times) = counts.snapshot(method).unwrap();
            assert_eq!(
                (calls.failed, calls.total()),
                (method.into(), method.into())
            );
            assert_eq!(times, None);
        }
        assert_eq!(counts.snapshot(100), None);
        assert_eq!(counts.snapshot(1 << 20), None);
    }

    #[test]
    fn no_call_is_overlooked_when_all_threads_count() {
        let counts = CallCounts::new(true);
        std::thread::scope(|scope| {
            for outcome in [
                Outcome::Ok,
                Outcome::Cancelled,
                Outcome::Ok,
                Outcome::Closed,
            ] {
                let counts = &counts;
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        counts.ended(7, outcome);
                        counts.took(7, None, Duration::from_micros(3));
                    }
                });
            }
        });
        let (calls, times) = counts.snapshot(7).unwrap();
        let expected = Calls {
            ok: 2_000,
            cancelled: 1_000,
            closed: 1_000,
            ..Calls::default()
        };
        assert_eq!(calls, expected);
        let times = times.unwrap();
        assert_eq!((times.waiting.count(), times.total.count()), (0, 4_000));
        assert_eq!(times.total.sum, 4_000 * Duration::from_micros(3));
    }
}
