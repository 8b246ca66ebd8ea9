//! The one form in which a time is stored, and the forms that types read.

use super::refused;
use crate::error::Result;

/// The form of `text`, if it is a date with a time, as types write it for people: `2026-01-31T12:00:00.5+01:00`,
/// `2026-01-31 11:00:00.5 +00:00:00`, `2026-01-31T11:00:00Z[UTC]`. Without an offset it is taken as it is.
///
/// # Errors
/// `Error::Parameter` for what this form cannot hold: a leap second, and in UTC a year before 0 or after 9999.
pub(super) fn stored(text: &str) -> Option<Result<String>> {
    Parts::read(text).map(Parts::stored)
}

/// The form in which a time is stored, in UTC. `None` outside of the years 0 to 9999.
#[cfg(feature = "remote")]
pub fn time_text(microseconds_since_1970: i64) -> Option<String> {
    const SECOND: i64 = 1_000_000;
    let seconds = microseconds_since_1970.div_euclid(SECOND);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let parts = Parts {
        year,
        month,
        day,
        hour: 0,
        minute: 0,
        second: 0,
        microsecond: microseconds_since_1970.rem_euclid(SECOND),
        // Seconds of the day, which are taken off an offset.
        offset: -seconds.rem_euclid(86_400),
    };
    parts.stored().ok()
}

struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
    /// In seconds.
    offset: i64,
}

impl Parts {
    fn read(text: &str) -> Option<Self> {
        let mut text = Reader(text);
        let sign = text.sign();
        let year = text.year()?;
        text.skip("-")?;
        let month = text.two(1..=12)?;
        text.skip("-")?;
        let day = text.two(1..=31)?;
        text.skip("T").or_else(|| text.skip(" "))?;
        let hour = text.two(0..=23)?;
        text.skip(":")?;
        let minute = text.two(0..=59)?;
        text.skip(":")?;
        let second = text.two(0..=60)?;
        let microsecond = match text.skip(".") {
            Some(()) => text.microsecond()?,
            None => 0,
        };
        let offset = text.offset()?;
        let year = sign.unwrap_or(1) * year;
        let exists = date_of(days_since_1970(year, month, day)) == (year, month, day);
        (text.is_over() && exists).then_some(Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            microsecond,
            offset,
        })
    }

    fn stored(self) -> Result<String> {
        if self.second == 60 {
            return Err(refused("a leap second, which SQLite does not know"));
        }
        let of_day = (self.hour * 60 + self.minute) * 60 + self.second - self.offset;
        let day = days_since_1970(self.year, self.month, self.day) + of_day.div_euclid(86_400);
        let (year, month, day) = date_of(day);
        if !(0..=9999).contains(&year) {
            return Err(refused(
                "a time outside the years 0 to 9999, which SQLite does not know",
            ));
        }
        let of_day = of_day.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let microsecond = self.microsecond;
        Ok(format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{microsecond:06}"
        ))
    }
}

/// What is left of a text.
struct Reader<'t>(&'t str);

impl Reader<'_> {
    fn skip(&mut self, what: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(what)?;
        Some(())
    }

    fn digits(&mut self) -> &str {
        let end = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits
    }

    fn sign(&mut self) -> Option<i64> {
        match (self.skip("+"), self.skip("-")) {
            (Some(()), _) => Some(1),
            (None, Some(())) => Some(-1),
            (None, None) => None,
        }
    }

    fn year(&mut self) -> Option<i64> {
        let digits = self.digits();
        (4..=6)
            .contains(&digits.len())
            .then(|| digits.parse().ok())?
    }

    fn two(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let digits = self.0.get(..2)?;
        self.0 = &self.0[2..];
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| all)?;
        range.contains(&number).then_some(number)
    }

    /// From one to nine digits. Those after the sixth are cut off, so the order of times is kept.
    fn microsecond(&mut self) -> Option<i64> {
        let digits = self.digits();
        if !(1..=9).contains(&digits.len()) {
            return None;
        }
        let six = format!("{digits:0<6}");
        six.get(..6)?.parse().ok()
    }

    /// Nothing, `Z`, `+01:00` or ` +01:00:00`, and the name of a zone in brackets, as in RFC 9557.
    fn offset(&mut self) -> Option<i64> {
        let mut seconds = 0;
        if self.skip("Z").is_none() && !self.is_over() {
            let _ = self.skip(" ");
            let sign = self.sign()?;
            seconds = self.two(0..=25)? * 3600;
            self.skip(":")?;
            seconds += self.two(0..=59)? * 60;
            if self.skip(":").is_some() {
                seconds += self.two(0..=59)?;
            }
            seconds *= sign;
        }
        if self.0.starts_with('[') && self.0.ends_with(']') {
            self.0 = "";
        }
        Some(seconds)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of the Gregorian calendar, before 1582 too, as SQLite and the types of Rust have it. A year is counted from March, so
/// that the leap day is its last one; 400 years have 146,097 days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day)
}

/// How types of times spell a stored time, with or without a fraction; nothing if `text` is none.
pub(crate) fn spellings(text: &str) -> Vec<String> {
    if !is_stored(text) {
        return Vec::new();
    }
    let (date, time) = text.split_at(10);
    let time = &time[1..];
    let fraction = if time.contains('.') { "" } else { ".0" };
    vec![
        format!("{date}T{time}Z"),
        format!("{date}T{time}"),
        format!("{date} {time}{fraction} +00:00:00"),
        format!("{date} {time}{fraction}"),
        format!("{date}T{time}Z[UTC]"),
    ]
}

fn is_stored(text: &str) -> bool {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let form = b"0000-00-00 00:00:00";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    seconds.len() == form.len()
        && seconds.bytes().zip(form).all(fits)
        && fraction.is_none_or(|fraction| {
            (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests;
