//! What an alert is, and what happens to it.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use crate::sampler::Processes;

/// An alert, open or over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Alert {
    /// Its number among those of its machine.
    pub id: i64,
    /// What the machine is called that it is about, if several share the database and it is stored.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The rule that raised it, until that is removed.
    pub rule_id: Option<i64>,
    /// What that rule says.
    pub rule: String,
    /// What it looks at.
    pub metric: String,
    /// How many levels of the rule were passed.
    pub level: usize,
    /// The value that was announced last.
    pub announced: f64,
    /// The worst value so far.
    pub worst: f64,
    /// When it was raised.
    pub raised_at: i64,
    /// When someone saw it.
    pub acknowledged_at: Option<i64>,
    /// Who saw it.
    pub acknowledged_by: Option<String>,
    /// When it was over.
    pub cleared_at: Option<i64>,
    /// How it ended.
    pub ended: Option<End>,
    /// Why nothing can be stored: this alert is of no rule.
    pub reason: Option<String>,
    /// What used most when it was raised.
    pub processes: Option<Json<Processes>>,
}

/// How an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToValue)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The value is as it should be.
    Recovered,
    /// The rule was removed.
    RuleRemoved,
    /// A more specific rule counts instead.
    RuleReplaced,
    /// The value is measured no longer.
    NotMeasured,
}

/// Something to tell about an alert.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Its number, once it is stored.
    pub id: Option<i64>,
    /// When.
    pub at: i64,
    /// What happened.
    pub what: EventKind,
    /// The value at that time.
    pub value: f64,
    /// The alert it is about.
    pub alert: Alert,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToValue)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// It began.
    Raised,
    /// It is announced again.
    Worse,
    /// Someone saw it.
    Acknowledged,
    /// It is over.
    Cleared,
}

impl Alert {
    /// What happened to it, to be told.
    pub fn event(&self, what: EventKind, at: i64, value: f64) -> Event {
        Event {
            id: None,
            at,
            what,
            value,
            alert: self.clone(),
        }
    }

    pub(super) fn end(&mut self, how: End, at: i64, value: f64) -> Event {
        self.cleared_at = Some(at);
        self.ended = Some(how);
        self.event(EventKind::Cleared, at, value)
    }
}
