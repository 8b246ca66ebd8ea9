//! Lengths of time as people write them: `30s`, `10m`, `1h30m`, `7d`, `2w`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::friendly::{Spacing, SpanPrinter};
use jiff::{RoundMode, SpanRelativeTo, SpanRound, Unit};
use serde::Deserialize;

use crate::error::Error;

/// A length of time in whole seconds, from one second to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(u32);

impl Span {
    /// The longest span: ten years.
    pub const MAX: Self = Self::days(3_653);

    /// A span of whole seconds; the caller keeps it within bounds.
    pub const fn seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// A span of whole hours.
    pub const fn hours(hours: u32) -> Self {
        Self(hours * 3_600)
    }

    /// A span of whole days.
    pub const fn days(days: u32) -> Self {
        Self(days * 86_400)
    }

    /// The seconds, as the database counts them.
    pub const fn as_secs(self) -> i64 {
        self.0 as i64
    }

    /// The same as a standard duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unclear = || {
            refused!("“{text}” is not a length of time. Write it like 30s, 10m, 2h, 7d or 1h30m.")
        };
        let read = text.trim().to_ascii_lowercase().parse::<jiff::Span>();
        let days = SpanRelativeTo::days_are_24_hours();
        let seconds = read.and_then(|span| span.total((Unit::Second, days)));
        match seconds.map_err(|_| unclear())? {
            seconds if seconds < 1.0 => Err(unclear()),
            seconds if seconds > f64::from(Self::MAX.0) => {
                Err(refused!("“{text}” is too long: ten years is the most."))
            }
            seconds => Ok(Self(seconds as u32)),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spelled(
            self.as_secs(),
            Unit::Week,
            Unit::Second,
            Spacing::None,
        ))
    }
}

/// A length of time to read, in its two largest units: `3 d 4 h`.
pub fn rough(seconds: i64) -> String {
    let smallest = match seconds {
        ..3_600 => Unit::Second,
        3_600..86_400 => Unit::Minute,
        _ => Unit::Hour,
    };
    let spacing = Spacing::BetweenUnitsAndDesignators;
    spelled(seconds.max(0), Unit::Day, smallest, spacing)
}

fn spelled(seconds: i64, largest: Unit, smallest: Unit, spacing: Spacing) -> String {
    let units = SpanRound::new().largest(largest).smallest(smallest);
    let units = units.mode(RoundMode::Trunc).days_are_24_hours();
    let span = jiff::Span::new().try_seconds(seconds);
    // Seconds of all the time there is can be spelled.
    let span = span.and_then(|span| span.round(units)).unwrap_or_default();
    SpanPrinter::new().spacing(spacing).span_to_string(&span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, written) in [
            ("30s", 30, "30s"),
            ("10m", 600, "10m"),
            ("90m", 5_400, "1h30m"),
            ("1h30m", 5_400, "1h30m"),
            (" 2W ", 1_209_600, "2w"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.as_secs(), seconds, "{text}");
            assert_eq!(span.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "0s",
            "10x",
            "-5m",
            "1h30",
            "99999999999d",
            "11000d",
            "ten",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn rough_times_show_two_units() {
        assert_eq!(rough(0), "0 s");
        assert_eq!(rough(59), "59 s");
        assert_eq!(rough(3_605), "1 h");
        assert_eq!(rough(90_061), "1 d 1 h");
    }
}
