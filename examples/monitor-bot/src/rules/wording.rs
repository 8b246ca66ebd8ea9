//! How alerts read, wherever they are told.

use std::fmt;

use super::{Alert, End, Event, EventKind, Rule};
use crate::metric::{Kind, Metric, bytes};
use crate::sampler::{Process, Processes};

impl Alert {
    /// The alert in a few words.
    pub fn headline(&self) -> String {
        self.sentence(EventKind::Raised, self.announced)
    }

    /// The worst value so far; none for a process, which only runs or not.
    pub fn worst_shown(&self) -> Option<String> {
        let metric = self.metric.parse::<Metric>().ok()?;
        (metric.kind != Kind::Process).then(|| metric.show(self.worst))
    }

    fn sentence(&self, what: EventKind, value: f64) -> String {
        if let Some(reason) = &self.reason {
            return match what {
                EventKind::Cleared => "Readings are stored again".to_owned(),
                _ => format!("Nothing can be stored: {reason}"),
            };
        }
        let Ok(metric) = self.metric.parse::<Metric>() else {
            return self.metric.clone();
        };
        let (title, rule, now) = (metric.title(), &self.rule, metric.show(value));
        match (what, self.ended) {
            (EventKind::Cleared, Some(End::RuleRemoved)) => {
                format!("{title}: the rule {rule} was removed")
            }
            (EventKind::Cleared, Some(End::RuleReplaced)) => {
                format!("{title}: another rule counts instead of {rule}")
            }
            (EventKind::Cleared, Some(End::NotMeasured)) => {
                format!("{title} is measured no longer")
            }
            _ if metric.kind == Kind::Process => match what {
                EventKind::Raised | EventKind::Worse => format!("{title} stopped"),
                EventKind::Acknowledged => format!("{title} stopped, and was seen"),
                EventKind::Cleared => format!("{title} runs again"),
            },
            (EventKind::Raised, _) => format!("{title} is at {now}{}", self.passed(&metric)),
            (EventKind::Worse, _) => format!("{title} is worse, at {now}{}", self.passed(&metric)),
            (EventKind::Acknowledged, _) => format!("{title} at {now} was seen"),
            (EventKind::Cleared, _) => format!("{title} is over, at {now}"),
        }
    }

    /// What the value has passed, to go on a sentence.
    fn passed(&self, metric: &Metric) -> String {
        let passed = || {
            let rule = self.rule.parse::<Rule>().ok()?;
            let level = metric.show(rule.threshold(self.level)?);
            Some(format!(", {} {level}", rule.side()))
        };
        passed().unwrap_or_default()
    }
}

/// What happened, in a few words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.alert.sentence(self.what, self.value))
    }
}

/// The processes that used most, in a line.
impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &[Process], used: fn(&Process) -> String| {
            let each = of
                .iter()
                .map(|process| format!("{process} {}", used(process)));
            each.collect::<Vec<_>>().join(", ")
        };
        let cpu = list(&self.cpu, |process| format!("{:.1} %", process.cpu));
        let memory = list(&self.memory, |process| bytes(process.memory));
        let lists = [("CPU: ", cpu), ("memory: ", memory)];
        let told = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let told = told.map(|(of, list)| of.to_owned() + &list);
        f.write_str(&told.collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}
