//! What a new value means for a rule: pure, so that every case can be tested without a clock or a database.

use super::{Alert, Rule};
use crate::span::Span;

/// A bad value that has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// When it began.
    pub since: i64,
    /// When it was seen last.
    pub seen: i64,
}

/// What to do about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, and nothing to remember.
    Fine,
    /// Remember since when it is bad.
    Wait(Pending),
    /// Open an alert at this level.
    Raise(usize),
    /// An alert is open and nothing new is to be said.
    Same,
    /// Announce the open alert again: a graver level, or so much worse on the same one.
    Worse(usize),
    /// End the alert.
    Clear,
}

/// After so many seconds without a value nobody knows whether it stayed bad.
pub(super) const BLIND: i64 = 180;

/// Weighs a value at a time, with what is known of the rule on the same series: its open alert, or since when it is bad.
pub fn judge(
    rule: &Rule,
    open: Option<&Alert>,
    pending: Option<Pending>,
    value: f64,
    at: i64,
) -> Verdict {
    let level = rule.passed(value);
    match open {
        Some(open) => judge_open(rule, open, level, value),
        None if level == 0 => Verdict::Fine,
        None => {
            let since = match pending {
                Some(pending) if at - pending.seen <= BLIND => pending.since,
                _ => at,
            };
            let hold = rule.hold.map_or(0, Span::as_secs);
            if at - since >= hold {
                Verdict::Raise(level)
            } else {
                Verdict::Wait(Pending { since, seen: at })
            }
        }
    }
}

fn judge_open(rule: &Rule, open: &Alert, level: usize, value: f64) -> Verdict {
    if level == 0 && !rule.is_worse(value, rule.clear) {
        return Verdict::Clear;
    }
    if level > open.level {
        return Verdict::Worse(level);
    }
    let worse_by = if rule.above {
        value - open.announced
    } else {
        open.announced - value
    };
    match rule.again {
        Some(points) if open.acknowledged_at.is_none() && level > 0 && worse_by >= points => {
            Verdict::Worse(open.level)
        }
        _ => Verdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn new(rule: &Rule, value: f64) -> Verdict {
        judge(rule, None, None, value, 0)
    }

    fn open(rule: &Rule, level: usize, announced: f64, value: f64) -> Verdict {
        let alert = Alert {
            level,
            announced,
            ..Alert::default()
        };
        judge(rule, Some(&alert), None, value, 0)
    }

    fn waiting(rule: &Rule, since: i64, seen: i64, value: f64, at: i64) -> Verdict {
        judge(rule, None, Some(Pending { since, seen }), value, at)
    }

    #[test]
    fn a_value_must_pass_the_threshold_and_not_touch_it() {
        let memory = rule("memory > 85");
        assert_eq!(new(&memory, 85.0), Verdict::Fine);
        assert_eq!(new(&memory, 85.1), Verdict::Raise(1));
        let low = rule("memory < 5");
        assert_eq!(new(&low, 5.0), Verdict::Fine);
        assert_eq!(new(&low, 4.9), Verdict::Raise(1));
    }

    #[test]
    fn a_trembling_value_gives_one_alert() {
        let memory = rule("memory > 85");
        assert_eq!(open(&memory, 1, 86.0, 84.0), Verdict::Same);
        assert_eq!(open(&memory, 1, 86.0, 86.0), Verdict::Same);
        assert_eq!(open(&memory, 1, 86.0, 83.0), Verdict::Clear);
    }

    #[test]
    fn a_value_must_stay_bad_for_the_time_given() {
        let memory = rule("memory > 85 for 30s");
        let first = judge(&memory, None, None, 90.0, 100);
        assert_eq!(
            first,
            Verdict::Wait(Pending {
                since: 100,
                seen: 100
            })
        );
        assert_eq!(
            waiting(&memory, 100, 125, 90.0, 129),
            Verdict::Wait(Pending {
                since: 100,
                seen: 129
            })
        );
        assert_eq!(waiting(&memory, 100, 125, 90.0, 130), Verdict::Raise(1));
        assert_eq!(waiting(&memory, 100, 125, 80.0, 130), Verdict::Fine);
    }

    #[test]
    fn time_nobody_watched_does_not_count() {
        let memory = rule("memory > 85 for 30s");
        assert_eq!(
            waiting(&memory, 100, 110, 90.0, 5_000),
            Verdict::Wait(Pending {
                since: 5_000,
                seen: 5_000
            })
        );
    }

    #[test]
    fn a_graver_level_is_announced_and_a_milder_one_is_not() {
        let disk = rule("disk > 90/95/99 again 3");
        assert_eq!(new(&disk, 96.0), Verdict::Raise(2));
        assert_eq!(open(&disk, 1, 94.0, 95.5), Verdict::Worse(2));
        assert_eq!(open(&disk, 2, 95.5, 92.0), Verdict::Same);
        assert_eq!(open(&disk, 2, 95.5, 95.6), Verdict::Same);
    }

    #[test]
    fn the_same_level_is_announced_again_only_after_three_points() {
        let disk = rule("disk > 90/95/99 again 3");
        assert_eq!(open(&disk, 1, 90.5, 93.4), Verdict::Same);
        assert_eq!(open(&disk, 1, 90.5, 93.5), Verdict::Worse(1));
        let memory = rule("memory > 85");
        assert_eq!(open(&memory, 1, 86.0, 99.0), Verdict::Same);
    }

    #[test]
    fn an_acknowledged_alert_speaks_again_only_at_a_graver_level() {
        let disk = rule("disk > 90/95/99 again 3");
        let seen = Alert {
            level: 1,
            announced: 90.5,
            acknowledged_at: Some(0),
            ..Alert::default()
        };
        let seen = |value| judge(&disk, Some(&seen), None, value, 0);
        assert_eq!(seen(94.9), Verdict::Same);
        assert_eq!(seen(95.1), Verdict::Worse(2));
        assert_eq!(seen(80.0), Verdict::Clear);
    }

    #[test]
    fn a_stopped_process_is_an_alert_until_it_runs_again() {
        let stopped = rule("process stopped");
        assert_eq!(new(&stopped, 1.0), Verdict::Fine);
        assert_eq!(new(&stopped, 0.0), Verdict::Raise(1));
        assert_eq!(open(&stopped, 1, 0.0, 0.0), Verdict::Same);
        assert_eq!(open(&stopped, 1, 0.0, 1.0), Verdict::Clear);
    }
}
