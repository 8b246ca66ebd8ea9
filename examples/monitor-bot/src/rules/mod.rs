//! Rules: when a value is worth an alert. How they are written; `judge` says how one is applied, `counting` which ones are,
//! `weigh` how all are, `wording` how their alerts read.

mod alert;
mod counting;
mod judge;
mod weigh;
mod wording;

use std::fmt;
use std::str::FromStr;

pub use alert::{Alert, End, Event, EventKind};
pub use counting::Rules;
pub use judge::Pending;
use judge::{Verdict, judge};
pub use weigh::State;

use crate::error::Error;
use crate::metric::{Kind, Metric, Unit};
use crate::span::Span;

/// The rules a new database starts with.
pub const DEFAULTS: [&str; 5] = [
    "temperature > 80",
    "memory > 85",
    "swap > 90",
    "disk > 90/95/99 again 3",
    "process stopped",
];

/// How rules are written, for help and for refusals.
pub const GRAMMAR: &str =
    "METRIC > VALUE [for SPAN] [again POINTS] [clear VALUE], or process:NAME stopped";

/// When a value is worth an alert: `disk > 90/95/99 for 1m again 3 clear 88`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it looks at; a bare kind may stand for each of several.
    pub target: Metric,
    /// Whether large values are bad, or small ones.
    pub above: bool,
    /// The levels from harmless to grave, each worth an alert of its own; never empty.
    pub levels: Vec<f64>,
    /// How long the value must stay there first.
    pub hold: Option<Span>,
    /// How many points worse it must get before the alert is repeated.
    pub again: Option<f64>,
    /// Where the alert ends; apart from the first level, so that a trembling value gives one alert.
    pub clear: f64,
}

/// The most levels a rule can have.
const MOST_LEVELS: usize = 5;

/// What may stand behind a number of bytes, the largest first.
const SIZES: [(char, f64); 3] = [
    ('G', 1024.0 * 1024.0 * 1024.0),
    ('M', 1024.0 * 1024.0),
    ('K', 1024.0),
];

impl Rule {
    /// Whether this rule looks at that series.
    pub fn applies_to(&self, metric: &Metric) -> bool {
        if self.target.part.is_none() && self.target.kind.means_each() {
            metric.kind == self.target.kind && metric.part.is_some()
        } else {
            *metric == self.target
        }
    }

    /// How many levels a value has passed.
    pub fn passed(&self, value: f64) -> usize {
        self.levels
            .iter()
            .filter(|level| self.is_worse(value, **level))
            .count()
    }

    /// What a value must pass to be on a level, counted from 1.
    pub fn threshold(&self, level: usize) -> Option<f64> {
        self.levels.get(level.checked_sub(1)?).copied()
    }

    /// Whether one value is worse than another.
    pub fn is_worse(&self, value: f64, than: f64) -> bool {
        if self.above {
            value > than
        } else {
            value < than
        }
    }

    /// On which side of a level a bad value is, in a word.
    pub fn side(&self) -> &'static str {
        if self.above { "above" } else { "below" }
    }

    fn stopped(target: Metric) -> Self {
        Self {
            target,
            above: false,
            levels: vec![1.0],
            hold: None,
            again: None,
            clear: 1.0,
        }
    }

    /// Where an alert ends unless the rule says otherwise.
    fn usual_clear(target: &Metric, above: bool, first: f64) -> f64 {
        let margin = match target.kind.unit() {
            Unit::Percent | Unit::Celsius => 2.0,
            Unit::Running => 0.0,
            Unit::Number | Unit::Bytes | Unit::ByteRate | Unit::Seconds => first.abs() * 0.05,
        };
        if above {
            first - margin
        } else {
            first + margin
        }
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unclear = || refused!("“{text}” is not a rule. Write {GRAMMAR}.");
        // A name may hold spaces: the rule's own words are looked for from the operator on.
        if let Some(target) = text.trim().strip_suffix(" stopped") {
            let target: Metric = target.trim().parse()?;
            return if target.kind == Kind::Process {
                Ok(Self::stopped(target))
            } else {
                Err(unclear())
            };
        }
        let (at, above) = match (text.rfind('>'), text.rfind('<')) {
            (Some(at), None) => (at, true),
            (None, Some(at)) => (at, false),
            _ => return Err(unclear()),
        };
        let target: Metric = text[..at].trim().parse()?;
        if target.kind.unit() == Unit::Running {
            refuse!("A process runs or not: write process:NAME stopped.");
        }
        let mut words = text[at + 1..].split_whitespace();
        let levels = levels(words.next().ok_or_else(unclear)?, above)?;
        let mut rule = Self {
            above,
            hold: None,
            again: None,
            clear: Self::usual_clear(&target, above, levels[0]),
            target,
            levels,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(unclear);
            match word {
                "%" => {}
                "for" => rule.hold = Some(value()?.parse()?),
                "again" => rule.again = Some(number(value()?)?).filter(|points| *points > 0.0),
                "clear" => rule.clear = number(value()?)?,
                _ => return Err(unclear()),
            }
        }
        let (least, greatest) = rule.target.kind.range();
        let extreme = if above { greatest } else { least };
        let mut levels = rule.levels.iter();
        if let Some(level) = levels.find(|level| !rule.is_worse(extreme, **level)) {
            refuse!(
                "There would never be an alert: {} is never {} {level}.",
                rule.target,
                rule.side()
            );
        }
        if rule.is_worse(rule.clear, rule.levels[0]) {
            refuse!(
                "An alert that begins at {} cannot end at {}.",
                rule.levels[0],
                rule.clear
            );
        }
        Ok(rule)
    }
}

fn levels(text: &str, above: bool) -> Result<Vec<f64>, Error> {
    let levels = text.split('/').map(number).collect::<Result<Vec<_>, _>>()?;
    let rising = levels.is_sorted_by(|one, next| if above { one < next } else { one > next });
    if levels.len() > MOST_LEVELS || !rising {
        refuse!("“{text}”: a rule has up to {MOST_LEVELS} levels, each worse than the one before.");
    }
    Ok(levels)
}

/// A number with an optional sign for its size: `85`, `85%`, `1.5G`.
fn number(text: &str) -> Result<f64, Error> {
    let bare = text
        .trim_start_matches('+')
        .trim_end_matches(['%', 'C', '°']);
    let size = SIZES.into_iter().find_map(|(letter, size)| {
        let digits = bare.strip_suffix([letter, letter.to_ascii_lowercase()])?;
        Some((digits, size))
    });
    let (digits, factor) = size.unwrap_or((bare, 1.0));
    digits
        .parse::<f64>()
        .ok()
        .map(|value| value * factor)
        .filter(|value| value.is_finite() && value.abs() <= 1e15)
        .ok_or_else(|| refused!("“{text}” is not a number. Write it like 85, 1.5 or 20M."))
}

/// The same number as short as it can be read back.
fn written(value: f64, unit: Unit) -> String {
    let counts_bytes = matches!(unit, Unit::Bytes | Unit::ByteRate) && value != 0.0;
    SIZES
        .into_iter()
        .find(|(_, size)| counts_bytes && value % size == 0.0)
        .map_or_else(
            || value.to_string(),
            |(letter, size)| format!("{}{letter}", value / size),
        )
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target.kind == Kind::Process {
            return write!(f, "{} stopped", self.target);
        }
        let written = |value: f64| written(value, self.target.kind.unit());
        let levels: Vec<_> = self.levels.iter().copied().map(written).collect();
        write!(
            f,
            "{} {} {}",
            self.target,
            if self.above { '>' } else { '<' },
            levels.join("/")
        )?;
        if let Some(hold) = self.hold {
            write!(f, " for {hold}")?;
        }
        if let Some(again) = self.again {
            write!(f, " again {}", written(again))?;
        }
        if self.clear != Self::usual_clear(&self.target, self.above, self.levels[0]) {
            write!(f, " clear {}", written(self.clear))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn rules_are_read_back_as_written() {
        for text in DEFAULTS {
            assert_eq!(rule(text).to_string(), text);
        }
        for (text, written) in [
            ("memory > 85 for 30s", "memory > 85 for 30s"),
            ("  MEMORY>85%   for 30s ", "memory > 85 for 30s"),
            ("disk:/home > 95 clear 80", "disk:/home > 95 clear 80"),
            ("rx > 10M", "rx > 10M"),
            ("rx > 1g clear 1.5M", "rx > 1G clear 1536K"),
            ("tx > 1000 clear 0", "tx > 1000 clear 0"),
            ("load > 1024", "load > 1024"),
            ("memory < 5", "memory < 5"),
            ("temperature < -5", "temperature < -5"),
            ("process_cpu:nginx > 150", "process_cpu:nginx > 150"),
            ("disk > 90/95 again +3", "disk > 90/95 again 3"),
            ("process:my server stopped", "process:my server stopped"),
        ] {
            assert_eq!(rule(text).to_string(), written);
            assert_eq!(rule(written), rule(text));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "memory",
            "memory >",
            "memory > x",
            "memory = 5",
            "gpu > 5",
            "memory > 85 for",
            "memory > 85 for 0s",
            "memory > 95/90",
            "memory > 1/2/3/4/5/6",
            "memory > NaN",
            "memory > inf",
            "memory > 80 clear 90",
            "memory > 100",
            "disk > 90/95/200",
            "swap < 0",
            "memory stopped",
            "process > 1",
            "memory > 85 sometimes",
            "cpu > 1 < 2",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_disk_means_each_disk_and_not_the_fullest() {
        let each = rule("disk > 90");
        assert!(each.applies_to(&"disk:/".parse().unwrap()));
        assert!(!each.applies_to(&"disk".parse().unwrap()));
        assert!(rule("cpu > 90").applies_to(&"cpu".parse().unwrap()));
        assert!(!rule("cpu > 90").applies_to(&"cpu:0".parse().unwrap()));
        assert!(!rule("disk:/ > 90").applies_to(&"disk:/home".parse().unwrap()));
    }
}
