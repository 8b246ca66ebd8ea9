//! What a reading means for all rules: in memory, so that it goes on while nothing can be stored.

use std::collections::BTreeMap;

use dbm_core::prelude::*;

use super::judge::BLIND;
use super::{Alert, End, Event, EventKind, Pending, Rule, Rules, Verdict, judge};
use crate::sampler::{Processes, Reading};

/// What the rules have to know between two readings.
#[derive(Debug, Default)]
pub struct State {
    rules: Rules,
    pending: BTreeMap<(i64, String), Pending>,
    open: Vec<Alert>,
    next_alert: i64,
}

impl State {
    /// The rules, what is pending, the open alerts, and the number of the next one.
    pub fn new(
        rules: Rules,
        pending: BTreeMap<(i64, String), Pending>,
        open: Vec<Alert>,
        next_alert: i64,
    ) -> Self {
        Self {
            rules,
            pending,
            open,
            next_alert,
        }
    }

    /// The open alerts, the oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Alert> {
        self.open.iter()
    }

    /// The values that are bad, but not for long enough yet.
    pub fn pending(&self) -> &BTreeMap<(i64, String), Pending> {
        &self.pending
    }

    /// Weighs a reading. Gives what there is to tell.
    pub fn weigh(&mut self, reading: &Reading) -> Vec<Event> {
        let mut events = self.end_without_cause(reading);
        self.pending
            .retain(|_, pending| reading.at - pending.seen <= BLIND);
        let rules = std::mem::take(&mut self.rules);
        for sample in &reading.samples {
            for (id, rule) in rules.counting(&sample.metric) {
                let key = (*id, sample.metric.to_string());
                events.extend(self.weigh_one(key, rule, sample.value, reading.at));
            }
        }
        self.rules = rules;
        self.open.retain(|alert| alert.cleared_at.is_none());
        events
    }

    fn weigh_one(&mut self, key: (i64, String), rule: &Rule, value: f64, at: i64) -> Option<Event> {
        let is_of_key = |alert: &Alert| alert.rule_id == Some(key.0) && alert.metric == key.1;
        let open = self.open.iter().position(is_of_key);
        let pending = self.pending.remove(&key);
        let alert = open.map(|open| &self.open[open]);
        match (judge(rule, alert, pending, value, at), open) {
            (Verdict::Wait(pending), _) => {
                self.pending.insert(key, pending);
                None
            }
            (Verdict::Raise(level), _) if self.covers(&key.1, rule, level) => {
                let seen = pending.map(|pending| Pending {
                    seen: at,
                    ..pending
                });
                self.pending.extend(seen.map(|pending| (key, pending)));
                None
            }
            (Verdict::Raise(level), _) => Some(self.raise(Alert {
                rule_id: Some(key.0),
                rule: rule.to_string(),
                metric: key.1,
                level,
                announced: value,
                worst: value,
                raised_at: at,
                ..Alert::default()
            })),
            (Verdict::Worse(level), Some(open)) => {
                let alert = &mut self.open[open];
                (alert.level, alert.announced, alert.worst) = (level, value, value);
                (alert.acknowledged_at, alert.acknowledged_by) = (None, None);
                Some(alert.event(EventKind::Worse, at, value))
            }
            (Verdict::Same, Some(open)) => {
                if rule.is_worse(value, self.open[open].worst) {
                    self.open[open].worst = value;
                }
                None
            }
            (Verdict::Clear, Some(open)) => Some(self.open[open].end(End::Recovered, at, value)),
            _ => None,
        }
    }

    /// Whether an open alert says as much already: about the same value, and as grave.
    fn covers(&self, metric: &str, rule: &Rule, level: usize) -> bool {
        let says_as_much = |alert: &Alert| {
            let known: Rule = alert.rule.parse().ok()?;
            let (said, new) = (known.threshold(alert.level)?, rule.threshold(level)?);
            Some(known.above == rule.above && !rule.is_worse(new, said))
        };
        let is_about_it = |alert: &&Alert| alert.metric == metric && alert.cleared_at.is_none();
        let about_it = self.open.iter().filter(is_about_it);
        about_it.filter_map(says_as_much).any(|covered| covered)
    }

    fn raise(&mut self, alert: Alert) -> Event {
        let alert = Alert {
            id: self.next_alert,
            ..alert
        };
        self.next_alert += 1;
        let event = alert.event(EventKind::Raised, alert.raised_at, alert.announced);
        self.open.push(alert);
        event
    }

    /// Ends the alerts whose rule or metric is gone.
    fn end_without_cause(&mut self, reading: &Reading) -> Vec<Event> {
        let of_rules = self.open.iter_mut().filter(|alert| alert.reason.is_none());
        of_rules
            .filter_map(|alert| {
                let is_its = |(id, _): &(i64, Rule)| Some(*id) == alert.rule_id;
                let mut samples = reading.samples.iter();
                let how = match samples.find(|sample| sample.metric.to_string() == alert.metric) {
                    _ if !self.rules.0.iter().any(is_its) => End::RuleRemoved,
                    None => End::NotMeasured,
                    Some(sample) if !self.rules.counting(&sample.metric).any(is_its) => {
                        End::RuleReplaced
                    }
                    Some(_) => return None,
                };
                Some(alert.end(how, reading.at, alert.announced))
            })
            .collect()
    }

    /// Remembers which processes used most when these alerts were raised.
    pub fn remember(&mut self, processes: &Processes, events: &mut [Event]) {
        let is_raise = |event: &&mut Event| event.what == EventKind::Raised;
        for Event { alert, .. } in events.iter_mut().filter(is_raise) {
            alert.processes = Some(Json(processes.clone()));
            if let Some(open) = self.open.iter_mut().find(|open| open.id == alert.id) {
                open.clone_from(alert);
            }
        }
    }

    /// Nothing can be stored. Gives what there is to tell, the first time.
    pub fn fail(&mut self, reason: String, at: i64) -> Option<Event> {
        let is_known = self.open.iter().any(|alert| alert.reason.is_some());
        (!is_known).then(|| {
            self.raise(Alert {
                rule: "built in".to_owned(),
                metric: "storage".to_owned(),
                raised_at: at,
                reason: Some(reason),
                ..Alert::default()
            })
        })
    }

    /// The last reading was stored. Gives what there is to tell, if none could be before.
    pub fn recover(&mut self, at: i64) -> Option<Event> {
        let failure = self.open.iter().position(|alert| alert.reason.is_some())?;
        Some(self.open.remove(failure).end(End::Recovered, at, 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state with these rules, numbered from 1.
    fn state(rules: &[&str]) -> State {
        let rules = (1..).zip(rules.iter().map(|rule| rule.parse().unwrap()));
        State::new(Rules::new(rules.collect()), BTreeMap::new(), Vec::new(), 1)
    }

    /// What a value leads to: the rules and what happened to their alerts.
    fn weigh(state: &mut State, at: i64, metric: &str, value: f64) -> Vec<(String, EventKind)> {
        let events = state.weigh(&Reading::of(at, [(metric, value)]));
        let told = events.into_iter();
        told.map(|event| (event.alert.rule, event.what)).collect()
    }

    fn one(rule: &str, what: EventKind) -> Vec<(String, EventKind)> {
        vec![(rule.to_owned(), what)]
    }

    #[test]
    fn a_rule_that_names_the_metric_counts_instead_of_one_for_each() {
        for (each, named, metric, value) in [
            (
                "process stopped",
                "process:nginx stopped",
                "process:nginx",
                0.0,
            ),
            ("disk > 90", "disk:/ > 90", "disk:/", 91.0),
            ("disk > 80/95", "disk:/ > 90", "disk:/", 99.0),
            (
                "process_cpu > 50",
                "process_cpu:a > 90",
                "process_cpu:a",
                99.0,
            ),
        ] {
            let mut state = state(&[each, named]);
            let told = weigh(&mut state, 0, metric, value);
            assert_eq!(told, one(named, EventKind::Raised));
            assert_eq!(weigh(&mut state, 5, metric, value), []);
        }
        let mut state = state(&["disk > 90", "disk:/ > 98", "disk:/ < 5"]);
        assert_eq!(weigh(&mut state, 0, "disk:/", 95.0), []);
        let told = weigh(&mut state, 5, "disk:/home", 95.0);
        assert_eq!(told, one("disk > 90", EventKind::Raised));
    }

    #[test]
    fn one_alert_says_it_for_all_rules_that_are_no_graver() {
        let rules = [
            "memory > 85",
            "memory > 95",
            "memory > 85 for 10s",
            "memory < 99",
        ];
        let mut state = state(&rules[..3]);
        let told = weigh(&mut state, 0, "memory", 90.0);
        assert_eq!(told, one(rules[0], EventKind::Raised));
        assert_eq!(weigh(&mut state, 20, "memory", 90.0), []);
        let told = weigh(&mut state, 25, "memory", 97.0);
        assert_eq!(told, one(rules[1], EventKind::Raised), "this is graver");

        let mut state = self::state(&rules);
        let told = weigh(&mut state, 0, "memory", 97.0);
        let graver = (rules[1].to_owned(), EventKind::Raised);
        let other_way = (rules[3].to_owned(), EventKind::Raised);
        assert_eq!(told, [other_way, graver]);
    }

    #[test]
    fn a_rule_whose_alert_was_covered_need_not_wait_again() {
        let mut state = state(&["memory > 85 for 10s", "memory > 85 clear 84"]);
        weigh(&mut state, 0, "memory", 90.0);
        assert_eq!(weigh(&mut state, 10, "memory", 90.0), []);
        state.rules.0.retain(|(id, _)| *id == 1);
        let events = state.weigh(&Reading::of(15, [("memory", 90.0)]));
        assert_eq!(events[0].alert.ended, Some(End::RuleRemoved));
        assert_eq!(events[1].alert.rule, "memory > 85 for 10s");
    }

    #[test]
    fn an_alert_says_how_it_ended() {
        let load = |at, value| Reading::of(at, [("load", value)]);
        let disk = |at| Reading::of(at, [("disk:/", 95.0)]);
        let rule = |id: i64, text: &str| (id, text.parse::<Rule>().unwrap());
        let first = [rule(1, "load > 5"), rule(2, "disk > 90")];
        let (removed, replaced) = (vec![first[1].clone()], rule(3, "disk:/ > 96"));
        let replaced = [&first[..], &[replaced]].concat();
        for (reading, rules_then, next, how) in [
            (load(5, 9.0), first.to_vec(), load(10, 1.0), End::Recovered),
            (load(5, 9.0), removed, load(10, 9.0), End::RuleRemoved),
            (
                load(5, 9.0),
                first.to_vec(),
                Reading::of(10, []),
                End::NotMeasured,
            ),
            (disk(5), replaced, disk(10), End::RuleReplaced),
        ] {
            let mut state = State {
                rules: Rules::new(first.to_vec()),
                ..State::default()
            };
            assert_eq!(state.weigh(&reading).len(), 1);
            state.rules = Rules::new(rules_then);
            let events = state.weigh(&next);
            assert_eq!((events.len(), events[0].alert.ended), (1, Some(how)));
            assert_eq!(state.open().count(), 0);
        }
    }

    #[test]
    fn that_nothing_can_be_stored_is_told_once_and_that_it_is_over() {
        let mut state = state(&[]);
        let told = state.fail("the disk is full".to_owned(), 5).unwrap();
        assert_eq!(told.alert.reason.as_deref(), Some("the disk is full"));
        assert!(state.fail("another reason".to_owned(), 10).is_none());
        assert_eq!(weigh(&mut state, 15, "load", 1.0), [], "it is of no rule");
        let over = state.recover(20).unwrap();
        assert_eq!(
            (over.alert.id, over.what),
            (told.alert.id, EventKind::Cleared)
        );
        assert!(state.recover(25).is_none());
    }
}
