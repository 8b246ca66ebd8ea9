//! Lengths of time as people write them: `30s`, `10m`, `1h30m`, `7d`, `2w`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;

/// A length of time in whole seconds, from one second to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(u32);

const UNITS: [(char, u32); 5] = [
    ('w', 7 * 86_400),
    ('d', 86_400),
    ('h', 3_600),
    ('m', 60),
    ('s', 1),
];

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
            Error::refused(format!(
                "“{text}” is not a length of time. Write it like 30s, 10m, 2h, 7d or 1h30m."
            ))
        };
        let mut total = 0_u32;
        let mut digits = String::new();
        for letter in text.trim().to_ascii_lowercase().chars() {
            if letter.is_ascii_digit() {
                digits.push(letter);
                continue;
            }
            let (_, unit) = UNITS
                .into_iter()
                .find(|(name, _)| *name == letter)
                .ok_or_else(unclear)?;
            let count: u32 = digits.parse().map_err(|_| unclear())?;
            total = count
                .checked_mul(unit)
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= Self::MAX.0)
                .ok_or_else(|| {
                    Error::refused(format!("“{text}” is too long: ten years is the most."))
                })?;
            digits.clear();
        }
        if total == 0 || !digits.is_empty() {
            return Err(unclear());
        }
        Ok(Self(total))
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
        let mut rest = self.0;
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

/// A length of time to read, in its two largest units: `3 d 4 h`.
pub fn rough(seconds: i64) -> String {
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (name, unit) in &UNITS[1..] {
        let count = rest / i64::from(*unit);
        rest %= i64::from(*unit);
        if count > 0 {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
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
