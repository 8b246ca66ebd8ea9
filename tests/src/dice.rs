//! Numbers that look random and are the same for the same seed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// `SplitMix64`.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    #[allow(clippy::cast_possible_truncation)]
    pub fn below(&mut self, limit: usize) -> usize {
        (self.any() % limit as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// So many seeds, the same each time; with `FUZZ_SECONDS` any seeds, for so long. Each is printed, which a test that
/// fails shows.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let patience = seconds.and_then(|seconds| seconds.parse().ok().map(Duration::from_secs));
    let began = Instant::now();
    let start = patience.map_or(0, |_| RandomState::new().hash_one(count));
    let goes_on = move |tried: &u64| match patience {
        Some(patience) => began.elapsed() < patience,
        None => *tried < count,
    };
    let seeds = (0..)
        .take_while(goes_on)
        .map(move |tried| start.wrapping_add(tried));
    seeds.inspect(|seed| println!("seed {seed}"))
}
