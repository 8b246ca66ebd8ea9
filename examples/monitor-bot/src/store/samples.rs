//! Readings, and their history.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::Error;
use crate::metric::{Metric, rounded};
use crate::sampler::{Reading, Sample};

/// One slot of a history: everything measured in an equal share of the time asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Which one, from 0.
    pub slot: u32,
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
    /// The average of all values.
    pub average: f64,
    /// How many values there were.
    pub count: u64,
}

/// Single readings and both kinds of roll-up together; what was rolled up counts where it began.
const HISTORY: &str = sql!("
    WITH one (id) AS (SELECT id FROM metric WHERE host = ?5 AND name = ?1),
    single (at, value) AS MATERIALIZED (
        SELECT at, CAST(samples ->> CAST(one.id AS TEXT) AS DOUBLE PRECISION)
        FROM reading, one WHERE host = ?5 AND at > ?2 AND at <= ?3
    ),
    part (at, low, high, total, count) AS (
        SELECT at, value, value, value, 1 FROM single WHERE value IS NOT NULL
        UNION ALL
        SELECT at, low, high, total, count FROM minute JOIN one ON metric_id = id WHERE at > ?2 - 60 AND at <= ?3
        UNION ALL
        SELECT at, low, high, total, count FROM hour JOIN one ON metric_id = id WHERE at > ?2 - 3600 AND at <= ?3
    )
    SELECT CASE WHEN at > ?2 THEN (at - ?2 - 1) * ?4 / (?3 - ?2) ELSE 0 END AS slot,
           min(low) AS low, max(high) AS high, sum(total) / sum(count) AS average,
           CAST(sum(count) AS bigint) AS count
    FROM part GROUP BY 1 ORDER BY 1");

impl Store {
    /// Stores a reading, whole or not at all. Several of one second are kept, for a clock may be set back.
    #[database_safe]
    #[timed(slow = "250ms")]
    pub async fn add_samples(&self, db: &mut WriteTransaction, reading: &Reading) -> Result<()> {
        let sql = "SELECT name, id FROM metric WHERE host = ?1";
        let known: Vec<(String, i64)> = db.query(sql, (self.host(),)).await?;
        let mut known: HashMap<_, _> = known.into_iter().collect();
        let mut samples = BTreeMap::new();
        for Sample { metric, value, .. } in &reading.samples {
            let id = match known.entry(metric.to_string()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let sql = "INSERT INTO metric (host, name) VALUES (?1, ?2) RETURNING id";
                    let id = db.query_one(sql, (self.host(), new.key())).await?;
                    *new.insert(id)
                }
            };
            samples.insert(id, rounded(*value));
        }
        let sql =
            "INSERT INTO reading (host, at, samples) VALUES (?1, ?2, jsonb(CAST(?3 AS text)))";
        let reading = (self.host(), reading.at, Json(samples));
        db.execute(sql, reading).await.map(drop)
    }

    /// The newest reading that was stored.
    #[database_safe]
    pub async fn newest_reading(&self, db: &mut ReadTransaction) -> Result<Reading, Error> {
        let sql = "SELECT name, value, at FROM sample JOIN metric ON metric.id = metric_id
                   WHERE host = ?1 AND at = (SELECT max(at) FROM reading WHERE host = ?1) ORDER BY metric.id";
        let rows: Vec<(String, f64, i64)> = db.query(sql, (self.host(),)).await?;
        let Some((.., at)) = rows.first() else {
            let sql = "SELECT DISTINCT host FROM metric ORDER BY host";
            let hosts: Vec<String> = db.query(sql, ()).await?;
            refuse!(
                "No machine called {} has stored readings. Known are: {}.",
                self.host(),
                hosts.join(", ")
            );
        };
        let mut reading = Reading {
            at: *at,
            host: self.host().to_owned(),
            samples: Vec::new(),
        };
        for (metric, value, _) in rows {
            if let Ok(metric) = metric.parse() {
                reading.add(metric, value, "");
            }
        }
        Ok(reading)
    }

    /// When the newest reading was made.
    #[database_safe]
    pub async fn last_sample(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        let sql = "SELECT max(at) FROM reading WHERE host = ?1";
        db.query_one(sql, (self.host(),)).await
    }

    /// Whether a metric has ever been measured.
    #[database_safe]
    pub async fn knows(&self, db: &mut ReadTransaction, metric: &Metric) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM metric WHERE host = ?1 AND name = ?2)";
        db.query_one(sql, (self.host(), metric.to_string())).await
    }

    /// When the oldest reading that is remembered was made.
    #[cfg(feature = "web")]
    #[database_safe]
    pub async fn first_sample(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        let sql = "SELECT coalesce(
                       (SELECT min((SELECT min(at) FROM hour WHERE metric_id = metric.id)) FROM metric WHERE host = ?1),
                       (SELECT min((SELECT min(at) FROM minute WHERE metric_id = metric.id)) FROM metric WHERE host = ?1),
                       (SELECT min(at) FROM reading WHERE host = ?1))";
        db.query_one(sql, (self.host(),)).await
    }

    /// The history of a metric after `from` up to `to`, in `slots` of equal length; empty ones are left out.
    #[database_safe(timeout = "10s")]
    #[timed(slow = "500ms")]
    pub async fn history(
        &self,
        db: &mut ReadTransaction,
        metric: &Metric,
        from: i64,
        to: i64,
        slots: u32,
    ) -> Result<Vec<Slot>> {
        db.query(HISTORY, (metric.to_string(), from, to, slots, self.host()))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Retention;
    use crate::span::Span;

    #[tokio::test]
    async fn a_clock_that_is_set_back_or_forward_neither_loses_nor_doubles_a_reading() {
        let keep = Retention {
            samples: Span::hours(1),
            ..Retention::default()
        };
        let store = Store::in_memory(keep);
        // One hour, the same one again, the one after the next, and the one that was left out.
        for hour in [0, 0, 2, 1] {
            for at in (60..=3_600).step_by(60) {
                let reading = Reading::of(hour * 3_600 + at, [("cpu", 50.0)]);
                store.add_samples(&reading).await.unwrap();
            }
        }
        let cpu: Metric = "cpu".parse().unwrap();
        for _ in 0..2 {
            let slots = store.history(&cpu, 0, 3 * 3_600, 3).await.unwrap();
            let counts: Vec<_> = slots.iter().map(|slot| slot.count).collect();
            assert_eq!(counts, [120, 60, 60]);
            store.roll_up().await.unwrap();
        }
        assert!(store.facts().await.unwrap().readings < 240);
    }

    #[tokio::test]
    async fn a_metric_that_comes_and_goes_has_a_history_of_its_own() {
        let store = Store::in_memory(Retention::default());
        for reading in [
            Reading::of(1, [("cpu", 1.0), ("process_cpu:a.b \"c\"", 2.0)]),
            Reading::of(2, [("cpu", 3.0), ("memory", 4.0)]),
        ] {
            store.add_samples(&reading).await.unwrap();
        }
        for (metric, low, high, count) in [
            ("cpu", 1.0, 3.0, 2),
            ("process_cpu:a.b \"c\"", 2.0, 2.0, 1),
            ("memory", 4.0, 4.0, 1),
        ] {
            let slots = store
                .history(&metric.parse().unwrap(), 0, 2, 1)
                .await
                .unwrap();
            assert_eq!(
                (slots[0].low, slots[0].high, slots[0].count),
                (low, high, count)
            );
        }
    }
}
