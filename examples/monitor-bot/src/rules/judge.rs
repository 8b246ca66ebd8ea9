//! What a new value means for a rule: pure, so that every case can be tested without a clock or a database.

use super::{Alert, Rule};
use crate::span::Span;

/// What is remembered of one rule on one series between two values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Track {
    /// The value is bad, but not for long enough yet.
    pub pending: Option<Pending>,
    /// An alert is open.
    pub open: Option<Open>,
}

/// A bad value that has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// When it began.
    pub since: i64,
    /// When it was seen last.
    pub seen: i64,
}

/// An open alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Open {
    /// How many levels had been passed when it was announced last.
    pub level: usize,
    /// The value that was announced last.
    pub announced: f64,
    /// Someone has seen it: only a graver level is announced again.
    pub acknowledged: bool,
}

impl From<&Alert> for Open {
    fn from(alert: &Alert) -> Self {
        Self {
            level: alert.level,
            announced: alert.announced,
            acknowledged: alert.acknowledged_at.is_some(),
        }
    }
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

/// Weighs a value at a time.
pub fn judge(rule: &Rule, track: &Track, value: f64, at: i64) -> Verdict {
    let level = rule.passed(value);
    match &track.open {
        Some(open) => judge_open(rule, open, level, value),
        None if level == 0 => Verdict::Fine,
        None => {
            let since = match track.pending {
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

fn judge_open(rule: &Rule, open: &Open, level: usize, value: f64) -> Verdict {
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
        Some(points) if !open.acknowledged && level > 0 && worse_by >= points => {
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

    fn open(level: usize, announced: f64) -> Track {
        Track {
            pending: None,
            open: Some(Open {
                level,
                announced,
                acknowledged: false,
            }),
        }
    }

    #[test]
    fn a_value_must_pass_the_threshold_and_not_touch_it() {
        let memory = rule("memory > 85");
        assert_eq!(judge(&memory, &Track::default(), 85.0, 0), Verdict::Fine);
        assert_eq!(
            judge(&memory, &Track::default(), 85.1, 0),
            Verdict::Raise(1)
        );
        let low = rule("memory < 5");
        assert_eq!(judge(&low, &Track::default(), 5.0, 0), Verdict::Fine);
        assert_eq!(judge(&low, &Track::default(), 4.9, 0), Verdict::Raise(1));
    }

    #[test]
    fn a_trembling_value_gives_one_alert() {
        let memory = rule("memory > 85");
        assert_eq!(judge(&memory, &open(1, 86.0), 84.0, 0), Verdict::Same);
        assert_eq!(judge(&memory, &open(1, 86.0), 86.0, 0), Verdict::Same);
        assert_eq!(judge(&memory, &open(1, 86.0), 83.0, 0), Verdict::Clear);
    }

    #[test]
    fn a_value_must_stay_bad_for_the_time_given() {
        let memory = rule("memory > 85 for 30s");
        let first = judge(&memory, &Track::default(), 90.0, 100);
        assert_eq!(
            first,
            Verdict::Wait(Pending {
                since: 100,
                seen: 100
            })
        );
        let pending = |since, seen| Track {
            pending: Some(Pending { since, seen }),
            open: None,
        };
        assert_eq!(
            judge(&memory, &pending(100, 125), 90.0, 129),
            Verdict::Wait(Pending {
                since: 100,
                seen: 129
            })
        );
        assert_eq!(
            judge(&memory, &pending(100, 125), 90.0, 130),
            Verdict::Raise(1)
        );
        assert_eq!(judge(&memory, &pending(100, 125), 80.0, 130), Verdict::Fine);
    }

    #[test]
    fn time_nobody_watched_does_not_count() {
        let memory = rule("memory > 85 for 30s");
        let before = Track {
            pending: Some(Pending {
                since: 100,
                seen: 110,
            }),
            open: None,
        };
        assert_eq!(
            judge(&memory, &before, 90.0, 5_000),
            Verdict::Wait(Pending {
                since: 5_000,
                seen: 5_000
            })
        );
    }

    #[test]
    fn a_graver_level_is_announced_and_a_milder_one_is_not() {
        let disk = rule("disk > 90/95/99 again 3");
        assert_eq!(judge(&disk, &Track::default(), 96.0, 0), Verdict::Raise(2));
        assert_eq!(judge(&disk, &open(1, 94.0), 95.5, 0), Verdict::Worse(2));
        assert_eq!(judge(&disk, &open(2, 95.5), 92.0, 0), Verdict::Same);
        assert_eq!(judge(&disk, &open(2, 95.5), 95.6, 0), Verdict::Same);
    }

    #[test]
    fn the_same_level_is_announced_again_only_after_three_points() {
        let disk = rule("disk > 90/95/99 again 3");
        assert_eq!(judge(&disk, &open(1, 90.5), 93.4, 0), Verdict::Same);
        assert_eq!(judge(&disk, &open(1, 90.5), 93.5, 0), Verdict::Worse(1));
        let memory = rule("memory > 85");
        assert_eq!(judge(&memory, &open(1, 86.0), 99.0, 0), Verdict::Same);
    }

    #[test]
    fn an_acknowledged_alert_speaks_again_only_at_a_graver_level() {
        let disk = rule("disk > 90/95/99 again 3");
        let track = Track {
            pending: None,
            open: Some(Open {
                level: 1,
                announced: 90.5,
                acknowledged: true,
            }),
        };
        assert_eq!(judge(&disk, &track, 94.9, 0), Verdict::Same);
        assert_eq!(judge(&disk, &track, 95.1, 0), Verdict::Worse(2));
        assert_eq!(judge(&disk, &track, 80.0, 0), Verdict::Clear);
    }

    #[test]
    fn a_stopped_process_is_an_alert_until_it_runs_again() {
        let stopped = rule("process stopped");
        assert_eq!(judge(&stopped, &Track::default(), 1.0, 0), Verdict::Fine);
        assert_eq!(
            judge(&stopped, &Track::default(), 0.0, 0),
            Verdict::Raise(1)
        );
        assert_eq!(judge(&stopped, &open(1, 0.0), 0.0, 0), Verdict::Same);
        assert_eq!(judge(&stopped, &open(1, 0.0), 1.0, 0), Verdict::Clear);
    }
}
