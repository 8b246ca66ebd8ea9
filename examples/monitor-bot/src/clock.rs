//! The time of day: the machine's own, or a made one that only moves when told to.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::span::Span;

/// Where the seconds since 1970 come from.
#[derive(Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock for made-up readings: every run sees the same times.
    Virtual(AtomicI64),
}

/// The first moment of a virtual clock: 2026-01-01 00:00 UTC.
const BEGINNING: i64 = 1_767_225_600;

impl Clock {
    /// A virtual clock that goes on after `last`, the newest reading there is.
    pub fn virtual_after(last: Option<i64>) -> Self {
        Self::Virtual(AtomicI64::new(last.map_or(BEGINNING, |last| last + 1)))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        match self {
            Self::System => Timestamp::now().as_second(),
            Self::Virtual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Whether it only moves when told to.
    pub fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }

    /// Moves a virtual clock; false where the clock is the machine's.
    pub fn advance(&self, span: Span) -> bool {
        match self {
            Self::System => false,
            Self::Virtual(now) => {
                now.fetch_add(span.as_secs(), Ordering::Relaxed);
                true
            }
        }
    }

    /// A moment as the reader's clock shows it; a virtual clock shows UTC.
    pub fn show(&self, at: i64, format: &str) -> String {
        let zone = match self {
            Self::System => TimeZone::system(),
            Self::Virtual(_) => TimeZone::UTC,
        };
        Timestamp::from_second(at)
            .map(|moment| moment.to_zoned_datetime(zone).strftime(format).to_string())
            .unwrap_or_default()
    }
}
