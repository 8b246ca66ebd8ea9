//! Readings, and their history.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::metric::Metric;
use crate::sampler::Reading;

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
    WITH one (id) AS (SELECT id FROM metric WHERE name = ?1),
    part (at, low, high, total, count) AS (
        SELECT at, value, value, value, 1 FROM sample JOIN one ON metric_id = id WHERE at > ?2 AND at <= ?3
        UNION ALL
        SELECT at, low, high, total, count FROM minute JOIN one ON metric_id = id WHERE at > ?2 - 60 AND at <= ?3
        UNION ALL
        SELECT at, low, high, total, count FROM hour JOIN one ON metric_id = id WHERE at > ?2 - 3600 AND at <= ?3
    )
    SELECT max(0, (at - ?2 - 1) * ?4 / (?3 - ?2)) AS slot,
           min(low) AS low, max(high) AS high, sum(total) / sum(count) AS average, sum(count) AS count
    FROM part GROUP BY slot ORDER BY slot");

impl Store {
    /// Stores a reading, whole or not at all.
    #[database_safe]
    #[timed(slow = "250ms")]
    pub async fn add_samples(&self, db: &mut WriteTransaction, reading: &Reading) -> Result<()> {
        for sample in &reading.samples {
            let name = sample.metric.to_string();
            db.execute(
                "INSERT INTO metric (name) VALUES (?1) ON CONFLICT DO NOTHING",
                (&name,),
            )
            .await?;
            db.execute(
                "INSERT INTO sample (metric_id, at, value) SELECT id, ?2, ?3 FROM metric WHERE name = ?1
                 ON CONFLICT DO UPDATE SET value = excluded.value",
                (&name, reading.at, sample.value),
            )
            .await?;
        }
        Ok(())
    }

    /// When the newest reading was made.
    #[database_safe]
    pub async fn last_sample(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        db.query_one(
            "SELECT max((SELECT max(at) FROM sample WHERE metric_id = id)) FROM metric",
            (),
        )
        .await
    }

    /// Whether a metric has ever been measured.
    #[database_safe]
    pub async fn knows(&self, db: &mut ReadTransaction, metric: &Metric) -> Result<bool> {
        db.query_one(
            "SELECT EXISTS (SELECT 1 FROM metric WHERE name = ?1)",
            (metric.to_string(),),
        )
        .await
    }

    /// When the oldest reading that is remembered was made.
    #[cfg(feature = "web")]
    #[database_safe]
    pub async fn first_sample(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        let sql = "SELECT min(coalesce((SELECT min(at) FROM hour WHERE metric_id = id),
                                       (SELECT min(at) FROM minute WHERE metric_id = id),
                                       (SELECT min(at) FROM sample WHERE metric_id = id))) FROM metric";
        db.query_one(sql, ()).await
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
        db.query(HISTORY, (metric.to_string(), from, to, slots))
            .await
    }
}
