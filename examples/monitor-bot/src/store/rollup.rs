//! Keeping the history small: readings become minutes, minutes become hours, hours are forgotten. However much is due, each
//! transaction does a little of it, so that nobody waits long for the writer.

use dbm_core::prelude::*;

use super::Store;
use crate::clock::Clock;

/// Half an hour of readings, if they are made every five seconds: the fewer there are at a time, the more is written.
const READINGS_AT_A_TIME: u32 = 360;

const MINUTES: &str = sql!(
    "
    INSERT INTO minute
    SELECT metric_id, at - at % 60, min(value), max(value), sum(value), count(*)
    FROM sample WHERE at <= ?1 GROUP BY 1, 2
    ON CONFLICT (metric_id, at) DO UPDATE SET
        low = CASE WHEN excluded.low < minute.low THEN excluded.low ELSE minute.low END,
        high = CASE WHEN excluded.high > minute.high THEN excluded.high ELSE minute.high END,
        total = minute.total + excluded.total, count = minute.count + excluded.count"
);

const HOURS: &str = sql!(
    "
    INSERT INTO hour
    SELECT metric_id, at - at % 3600, min(low), max(high), sum(total), sum(count)
    FROM minute WHERE metric_id = ?1 AND at < ?2 GROUP BY 1, 2
    ON CONFLICT (metric_id, at) DO UPDATE SET
        low = CASE WHEN excluded.low < hour.low THEN excluded.low ELSE hour.low END,
        high = CASE WHEN excluded.high > hour.high THEN excluded.high ELSE hour.high END,
        total = hour.total + excluded.total, count = hour.count + excluded.count"
);

impl Store {
    /// Makes minutes of old readings. After a long pause of the bot that takes a while.
    #[job(every = "1h", timeout = "1h")]
    pub async fn roll_up(&self) -> Result<()> {
        let old = self.now().await? - self.keep.samples.as_secs();
        while self.roll_up_readings(old).await? {}
        Ok(())
    }

    /// Makes hours of old minutes, and forgets old hours and alerts.
    #[job(every = "24h", timeout = "1h")]
    pub async fn forget(&self) -> Result<()> {
        let now = self.now().await?;
        let old = now - self.keep.minutes.as_secs();
        let oldest = now - self.keep.hours.as_secs();
        for metric in self.metrics().await? {
            self.roll_up_minutes(metric, old, oldest).await?;
        }
        self.forget_alerts(oldest).await
    }

    /// Rolls up the first readings of those before `old`, if there are any. A value is never counted twice nor lost.
    #[database_safe]
    #[timed(slow = "1s")]
    async fn roll_up_readings(&self, db: &mut WriteTransaction, old: i64) -> Result<bool> {
        let sql = "SELECT max(at) FROM (SELECT at FROM reading WHERE at < ?1 ORDER BY at LIMIT ?2) AS first";
        let last: Option<i64> = db.query_one(sql, (old, READINGS_AT_A_TIME)).await?;
        db.execute(MINUTES, (last,)).await?;
        db.execute("DELETE FROM reading WHERE at <= ?1", (last,))
            .await?;
        Ok(last.is_some())
    }

    /// Rolls up the minutes of a metric before `old`, and forgets its hours before `oldest`.
    #[database_safe]
    #[timed(slow = "1s")]
    async fn roll_up_minutes(
        &self,
        db: &mut WriteTransaction,
        metric: i64,
        old: i64,
        oldest: i64,
    ) -> Result<()> {
        db.execute(HOURS, (metric, old)).await?;
        let sql = "DELETE FROM minute WHERE metric_id = ?1 AND at < ?2";
        db.execute(sql, (metric, old)).await?;
        let sql = "DELETE FROM hour WHERE metric_id = ?1 AND at < ?2";
        db.execute(sql, (metric, oldest)).await?;
        Ok(())
    }

    #[database_safe]
    async fn forget_alerts(&self, db: &mut WriteTransaction, oldest: i64) -> Result<()> {
        db.execute("DELETE FROM alert WHERE cleared_at < ?1", (oldest,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn metrics(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT id FROM metric", ()).await
    }

    /// The time of the newest reading, for a made-up machine has its own; of one from the future, it is the clock's.
    #[database_safe]
    async fn now(&self, db: &mut ReadTransaction) -> Result<i64> {
        let newest: Option<i64> = db.query_one("SELECT max(at) FROM reading", ()).await?;
        Ok(newest.map_or(0, |newest| newest.min(Clock::System.now())))
    }
}

#[cfg(test)]
mod tests {

    use crate::sampler::Reading;
    use crate::settings::Retention;
    use crate::span::Span;
    use crate::store::Store;

    #[tokio::test]
    async fn rolling_up_keeps_lowest_highest_average_and_count() {
        let keep = Retention {
            samples: Span::hours(1),
            minutes: Span::hours(2),
            hours: Span::days(1),
        };
        let store = Store::in_memory(keep);
        let cpu: crate::metric::Metric = "cpu".parse().unwrap();
        let add = async |metric: &str, at: i32| {
            let reading = Reading::of(at.into(), [(metric, f64::from(at % 1_000))]);
            store.add_samples(&reading).await.unwrap();
        };
        // Three hours of a value every ten seconds, then three hours of roll-ups.
        for at in (10..=10_800).step_by(10) {
            add("cpu", at).await;
        }
        let before = store.history(&cpu, 0, 10_800, 1).await.unwrap();
        for now in (10_800..21_600).step_by(600) {
            add("load", now).await;
            for _ in 0..2 {
                store.roll_up().await.unwrap();
                store.forget().await.unwrap();
            }
            let after = store.history(&cpu, 0, 10_800, 1).await.unwrap();
            assert_eq!(after.len(), 1);
            assert_eq!(
                (after[0].low, after[0].high, after[0].count),
                (before[0].low, before[0].high, before[0].count)
            );
            assert!((after[0].average - before[0].average).abs() < 1e-6);
        }
        add("load", 200_000).await;
        store.forget().await.unwrap();
        assert!(
            store.history(&cpu, 0, 200_000, 1).await.unwrap().is_empty(),
            "hours are forgotten in the end"
        );
    }

    #[tokio::test]
    async fn what_is_due_after_a_long_pause_is_rolled_up_in_small_transactions() {
        let store = Store::in_memory(Retention::default());
        for at in 0..2_000 {
            let reading = Reading::of(at, [("cpu", 1.0)]);
            store.add_samples(&reading).await.unwrap();
        }
        let mut left = vec![store.facts().await.unwrap().readings];
        while store.roll_up_readings(i64::MAX).await.unwrap() {
            left.push(store.facts().await.unwrap().readings);
        }
        assert_eq!(left, [2_000, 1_640, 1_280, 920, 560, 200, 0]);
        let cpu = "cpu".parse().unwrap();
        assert_eq!(
            store.history(&cpu, -1, 2_000, 1).await.unwrap()[0].count,
            2_000
        );
    }
}
