//! Alerts and what happened to them: stored with the reading that did it.

use dbm_core::prelude::*;

use super::{Store, Unstored};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rules::{Alert, Event, EventKind, Pending, State};
use crate::sampler::Reading;

/// Stores an alert as it is now. If somebody has seen it meanwhile, it stays seen unless it was announced again.
const STORE: &str = sql!("
    INSERT INTO alert (id, rule_id, rule, metric, level, announced, worst, raised_at, cleared_at, ended, reason, processes, host)
    SELECT ?1, (SELECT id FROM rule WHERE id = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
    WHERE NOT EXISTS (SELECT 1 FROM alert WHERE host = ?13 AND rule_id = ?2 AND metric = ?4 AND cleared_at IS NULL AND id <> ?1)
    ON CONFLICT (host, id) DO UPDATE SET
        acknowledged_at = CASE WHEN alert.level = excluded.level AND alert.announced = excluded.announced
                               THEN alert.acknowledged_at END,
        acknowledged_by = CASE WHEN alert.level = excluded.level AND alert.announced = excluded.announced
                               THEN alert.acknowledged_by END,
        level = excluded.level, announced = excluded.announced, worst = excluded.worst,
        cleared_at = coalesce(alert.cleared_at, excluded.cleared_at), ended = coalesce(alert.ended, excluded.ended)
    WHERE alert.metric = excluded.metric
    RETURNING id");

impl Store {
    /// What the rules have to know.
    #[database_safe(timeout = "10s")]
    pub async fn rule_state(&self, db: &mut ReadTransaction) -> Result<State> {
        let rules = self.parsed_rules().await?;
        let sql = "SELECT rule_id, metric, since, seen FROM pending WHERE host = ?1";
        let pending: Vec<(i64, String, i64, i64)> = db.query(sql, (self.host(),)).await?;
        let pending = pending
            .into_iter()
            .map(|(rule, metric, since, seen)| ((rule, metric), Pending { since, seen }));
        let sql = "SELECT * FROM alert WHERE host = ?1 AND cleared_at IS NULL ORDER BY id";
        let open = db.query(sql, (self.host(),)).await?;
        let sql = "SELECT coalesce(max(id), 0) + 1 FROM alert WHERE host = ?1";
        let next = db.query_one(sql, (self.host(),)).await?;
        Ok(State::new(rules, pending.collect(), open, next))
    }

    /// Stores a reading and what the rules made of it: all or nothing. A panic in here is an error like any other, so that
    /// the next reading is made all the same.
    #[database_safe(timeout = "10s")]
    #[fail_with_exception]
    #[timed(slow = "500ms")]
    pub async fn record(
        &self,
        db: &mut WriteTransaction,
        reading: &Reading,
        state: &State,
        events: &[Unstored],
    ) -> Result<()> {
        self.add_samples(reading).await?;
        for Unstored { event, told } in events {
            self.add_event(db, event, told).await?;
        }
        for alert in state.open() {
            let sql = "UPDATE alert SET worst = ?3 WHERE host = ?1 AND id = ?2 AND worst <> ?3";
            db.execute(sql, (self.host(), alert.id, alert.worst))
                .await?;
        }
        db.execute("DELETE FROM pending WHERE host = ?1", (self.host(),))
            .await?;
        let sql = "INSERT INTO pending SELECT ?1, id, ?3, ?4, ?5 FROM rule WHERE id = ?2";
        for ((rule, metric), Pending { since, seen }) in state.pending() {
            db.execute(sql, (self.host(), rule, metric, since, seen))
                .await?;
        }
        Ok(())
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
        let sql = "SELECT * FROM alert WHERE host = ?1 AND cleared_at IS NULL AND (id = ?2 OR metric = ?3)";
        let alerts: Vec<Alert> = db.query(sql, (self.host(), id, metric)).await?;
        for alert in &alerts {
            let sql = "UPDATE alert SET acknowledged_at = ?3, acknowledged_by = ?4
                       WHERE host = ?1 AND id = ?2 AND acknowledged_at IS NULL";
            if db.execute(sql, (self.host(), alert.id, at, by)).await? > 0 {
                let event = alert.event(EventKind::Acknowledged, at, alert.announced);
                self.add_event(db, &event, &[]).await?;
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
            "SELECT * FROM alert WHERE host = ?1 AND raised_at <= ?3 AND (cleared_at IS NULL OR cleared_at > ?2)
                   ORDER BY id DESC LIMIT ?4";
        Ok(db.query(sql, (self.host(), from, to, most)).await?)
    }

    /// The open alerts, the newest first. While the database does not answer there are none to show, and why.
    #[database_safe]
    #[fail_value((Vec::new(), None))]
    #[fail_with_exception]
    pub async fn open_alerts(
        &self,
        db: &mut ReadTransaction,
    ) -> Result<(Vec<Alert>, Option<Error>)> {
        let sql = "SELECT * FROM alert WHERE host = ?1 AND cleared_at IS NULL ORDER BY id DESC";
        Ok((db.query(sql, (self.host(),)).await?, None))
    }

    /// The newest alerts, open or not; or the one with this number.
    #[database_safe]
    pub async fn alerts(
        &self,
        db: &mut ReadTransaction,
        id: Option<i64>,
        most: u32,
    ) -> Result<Vec<Alert>> {
        let sql = "SELECT * FROM alert WHERE host = ?1 AND id = coalesce(?2, id) ORDER BY id DESC LIMIT ?3";
        Ok(db.query(sql, (self.host(), id, most)).await?)
    }

    /// Stores an event with its alert, and a message for everybody who was not told of it.
    async fn add_event(
        &self,
        db: &mut WriteTransaction,
        event: &Event,
        told: &[String],
    ) -> Result<()> {
        let alert = &event.alert;
        let stored = (
            alert.id,
            alert.rule_id,
            &alert.rule,
            &alert.metric,
            alert.level,
            alert.announced,
            alert.worst,
            alert.raised_at,
            alert.cleared_at,
            alert.ended,
            &alert.reason,
            alert.processes.as_ref(),
            self.host(),
        );
        let stored: Option<i64> = db.query_optional(STORE, stored).await?;
        let Some(id) = stored else {
            tracing::error!(
                alert.id,
                "another program has stored an alert of this number"
            );
            return Ok(());
        };
        // A commit may have been made that was reported as failed: then all of this is there.
        let sql = sql!(
            "INSERT INTO event (host, alert_id, at, what, value) SELECT ?1, ?2, ?3, ?4, ?5
             WHERE NOT EXISTS (SELECT 1 FROM event WHERE host = ?1 AND alert_id = ?2 AND at = ?3 AND what = ?4) RETURNING id"
        );
        let event: Option<i64> = db
            .query_optional(sql, (self.host(), id, event.at, event.what, event.value))
            .await?;
        if let Some(event) = event {
            self.enqueue_messages(db, event, told).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Store {
    /// What the bot does with a reading.
    pub async fn weigh(&self, reading: &Reading) -> Vec<Event> {
        let mut state = self.rule_state().await.unwrap();
        let events = state.weigh(reading);
        let unstored: Vec<_> = events.iter().cloned().map(Unstored::new).collect();
        self.record(reading, &state, &unstored).await.unwrap();
        events
    }
}
