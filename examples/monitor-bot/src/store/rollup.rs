//! Keeping the history small: single readings become minutes, minutes become hours, hours are forgotten.

use dbm_core::prelude::*;

use super::Store;
use crate::span::Span;

const MINUTES: &str = "
    INSERT INTO minute
    SELECT metric_id, at - at % 60, min(value), max(value), sum(value), count(*)
    FROM sample WHERE metric_id IN (SELECT id FROM metric) AND at < ?1 GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high),
                              total = total + excluded.total, count = count + excluded.count";

const HOURS: &str = "
    INSERT INTO hour
    SELECT metric_id, at - at % 3600, min(low), max(high), sum(total), sum(count)
    FROM minute WHERE metric_id IN (SELECT id FROM metric) AND at < ?1 GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high),
                              total = total + excluded.total, count = count + excluded.count";

impl Store {
    /// Rolls up what is old, all in one transaction: a value is never counted twice nor lost.
    #[database_safe]
    #[timed(slow = "1s")]
    pub async fn roll_up(&self, db: &mut WriteTransaction, now: i64) -> Result<()> {
        let minutes = before(now, self.keep.samples, 60);
        db.execute(MINUTES, (minutes,)).await?;
        db.execute(
            "DELETE FROM sample WHERE metric_id IN (SELECT id FROM metric) AND at < ?1",
            (minutes,),
        )
        .await?;
        let hours = before(now, self.keep.minutes, 3_600);
        db.execute(HOURS, (hours,)).await?;
        db.execute(
            "DELETE FROM minute WHERE metric_id IN (SELECT id FROM metric) AND at < ?1",
            (hours,),
        )
        .await?;
        let end = now - self.keep.hours.as_secs();
        db.execute(
            "DELETE FROM hour WHERE metric_id IN (SELECT id FROM metric) AND at < ?1",
            (end,),
        )
        .await?;
        db.execute("DELETE FROM alert WHERE cleared_at < ?1", (end,))
            .await?;
        Ok(())
    }
}

/// The last full minute or hour that is older than what is kept.
fn before(now: i64, keep: Span, unit: i64) -> i64 {
    (now - keep.as_secs()).div_euclid(unit) * unit
}
