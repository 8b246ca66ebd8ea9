//! Alerts: raised, announced again, acknowledged and cleared, each in the transaction of the reading that did it.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use super::rules::KeptRule;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rules::{Open, Pending, Rule, Track, Verdict, judge};
use crate::sampler::{Reading, Sample};

/// An alert, open or over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// What it looks at.
    pub metric: String,
    /// The rule that raised it.
    pub rule: String,
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
    rule_id: Option<i64>,
}

/// Something to tell about an alert.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Its number, growing.
    pub id: i64,
    /// The alert it is about.
    pub alert_id: i64,
    /// When.
    pub at: i64,
    /// What happened.
    pub what: EventKind,
    /// What the alert looks at.
    pub metric: String,
    /// The rule of the alert.
    pub rule: String,
    /// How many levels of the rule were passed.
    pub level: usize,
    /// The value at that time.
    pub value: f64,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl EventKind {
    /// The name that is stored.
    fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worse => "worse",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
        }
    }
}

impl Store {
    /// Stores a reading and weighs every rule on it: both or neither. Gives what there is to tell. A panic in here is an
    /// error like any other, so that the next reading is made all the same.
    #[database_safe]
    #[fail_with_exception]
    #[timed(slow = "500ms")]
    pub async fn record(&self, db: &mut WriteTransaction, reading: &Reading) -> Result<Vec<Event>> {
        self.add_samples(reading).await?;
        let before: i64 = db
            .query_one("SELECT coalesce(max(id), 0) FROM event", ())
            .await?;
        let rules = self.rules().await?;
        for kept in &rules {
            let Ok(rule) = kept.text.parse::<Rule>() else {
                tracing::warn!(rule = kept.text, "a rule is not understood, and left out");
                continue;
            };
            for sample in &reading.samples {
                if rule.applies_to(&sample.metric) {
                    weigh(db, kept, &rule, sample, reading.at).await?;
                }
            }
        }
        clear_orphans(db, reading).await?;
        events_after(db, before, i64::MIN).await
    }

    /// Marks open alerts as seen, by their number or by what they look at. Gives what was marked.
    #[database_safe]
    #[required_argument(id, metric)]
    pub async fn acknowledge(
        &self,
        db: &mut WriteTransaction,
        id: Option<i64>,
        metric: Option<&Metric>,
        by: &str,
        at: i64,
    ) -> Result<Vec<Alert>> {
        let metric = metric.map(Metric::to_string);
        let alerts: Vec<Alert> = db
            .query(
                "SELECT * FROM alert WHERE cleared_at IS NULL AND (id = ?1 OR metric = ?2)",
                (id, metric),
            )
            .await?;
        for alert in &alerts {
            let sql = "UPDATE alert SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE id = ?1 AND acknowledged_at IS NULL";
            if db.execute(sql, (alert.id, at, by)).await? > 0 {
                tell(db, alert.id, at, EventKind::Acknowledged, alert.announced).await?;
            }
        }
        Ok(alerts)
    }

    /// The newest of the alerts that were open at some time between two moments.
    #[cfg(feature = "web")]
    #[database_safe]
    pub async fn alerts_between(
        &self,
        db: &mut ReadTransaction,
        from: i64,
        to: i64,
        most: u32,
    ) -> Result<Vec<Alert>> {
        let sql =
            "SELECT * FROM alert WHERE raised_at <= ?2 AND (cleared_at IS NULL OR cleared_at > ?1)
                   ORDER BY id DESC LIMIT ?3";
        Ok(db.query(sql, (from, to, most)).await?)
    }

    /// The open alerts, the newest first. While the database does not answer there are none to show, and why.
    #[database_safe]
    #[fail_value((Vec::new(), None))]
    #[fail_with_exception]
    pub async fn open_alerts(
        &self,
        db: &mut ReadTransaction,
    ) -> Result<(Vec<Alert>, Option<Error>)> {
        let sql = "SELECT * FROM alert WHERE cleared_at IS NULL ORDER BY id DESC";
        Ok((db.query(sql, ()).await?, None))
    }

    /// The newest alerts, open or not.
    #[database_safe]
    pub async fn latest_alerts(&self, db: &mut ReadTransaction, most: u32) -> Result<Vec<Alert>> {
        Ok(db
            .query("SELECT * FROM alert ORDER BY id DESC LIMIT ?1", (most,))
            .await?)
    }
}

/// Weighs one value against one rule and does what follows.
async fn weigh(
    db: &mut WriteTransaction,
    kept: &KeptRule,
    rule: &Rule,
    sample: &Sample,
    at: i64,
) -> Result<()> {
    let metric = sample.metric.to_string();
    let key = (kept.id, &metric);
    let open: Option<Alert> = db
        .query_optional(
            sql!("SELECT * FROM alert WHERE cleared_at IS NULL AND rule_id = ?1 AND metric = ?2"),
            key,
        )
        .await?;
    let pending: Option<(i64, i64)> = db
        .query_optional(
            sql!("SELECT since, seen FROM pending WHERE rule_id = ?1 AND metric = ?2"),
            key,
        )
        .await?;
    let track = Track {
        pending: pending.map(|(since, seen)| Pending { since, seen }),
        open: open.as_ref().map(|alert| Open {
            level: alert.level,
            announced: alert.announced,
            acknowledged: alert.acknowledged_at.is_some(),
        }),
    };
    let verdict = judge(rule, &track, sample.value, at);
    if pending.is_some() && !matches!(verdict, Verdict::Wait(_)) {
        db.execute(
            sql!("DELETE FROM pending WHERE rule_id = ?1 AND metric = ?2"),
            key,
        )
        .await?;
    }
    match (verdict, open) {
        (Verdict::Wait(Pending { since, seen }), _) => {
            db.execute(
                sql!("INSERT INTO pending VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET since = ?3, seen = ?4"),
                (kept.id, &metric, since, seen),
            )
            .await?;
        }
        (Verdict::Raise(level), _) => raise(db, kept, &metric, level, sample.value, at).await?,
        (Verdict::Worse(level), Some(alert)) => {
            db.execute(
                sql!("UPDATE alert SET level = ?2, announced = ?3, worst = ?3, acknowledged_at = NULL, acknowledged_by = NULL
                 WHERE id = ?1"),
                (alert.id, level, sample.value),
            )
            .await?;
            tell(db, alert.id, at, EventKind::Worse, sample.value).await?;
        }
        (Verdict::Same, Some(alert)) if rule.is_worse(sample.value, alert.worst) => {
            db.execute(
                sql!("UPDATE alert SET worst = ?2 WHERE id = ?1"),
                (alert.id, sample.value),
            )
            .await?;
        }
        (Verdict::Clear, Some(alert)) => clear(db, alert.id, at, sample.value).await?,
        _ => {}
    }
    Ok(())
}

async fn raise(
    db: &mut WriteTransaction,
    rule: &KeptRule,
    metric: &str,
    level: usize,
    value: f64,
    at: i64,
) -> Result<()> {
    let id = db
        .query_one(
            sql!(
                "INSERT INTO alert (rule_id, rule, metric, level, announced, worst, raised_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) RETURNING id"
            ),
            (rule.id, &rule.text, metric, level, value, at),
        )
        .await?;
    tell(db, id, at, EventKind::Raised, value).await
}

async fn clear(db: &mut WriteTransaction, id: i64, at: i64, value: f64) -> Result<()> {
    db.execute(
        sql!("UPDATE alert SET cleared_at = ?2 WHERE id = ?1"),
        (id, at),
    )
    .await?;
    tell(db, id, at, EventKind::Cleared, value).await
}

/// Ends the alerts whose rule was removed or whose metric is measured no longer.
async fn clear_orphans(db: &mut WriteTransaction, reading: &Reading) -> Result<()> {
    let open: Vec<Alert> = db
        .query(sql!("SELECT * FROM alert WHERE cleared_at IS NULL"), ())
        .await?;
    for alert in open {
        let measured = reading
            .samples
            .iter()
            .any(|sample| sample.metric.to_string() == alert.metric);
        if alert.rule_id.is_none() || !measured {
            clear(db, alert.id, reading.at, alert.announced).await?;
        }
    }
    Ok(())
}

async fn tell(
    db: &mut WriteTransaction,
    alert: i64,
    at: i64,
    what: EventKind,
    value: f64,
) -> Result<()> {
    db.execute(
        sql!("INSERT INTO event (alert_id, at, what, value) VALUES (?1, ?2, ?3, ?4)"),
        (alert, at, what.name(), value),
    )
    .await?;
    db.enqueue(Store::deliver_job()).await?;
    Ok(())
}

/// What happened after an event and a time.
pub(super) async fn events_after(
    db: &mut ReadTransaction,
    event: i64,
    since: i64,
) -> Result<Vec<Event>> {
    let sql = sql!("SELECT event.id, alert_id, at, what, metric, rule, level, value
               FROM event JOIN alert ON alert.id = alert_id WHERE event.id > ?1 AND at > ?2 ORDER BY event.id");
    Ok(db.query(sql, (event, since)).await?)
}
