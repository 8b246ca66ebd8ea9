//! Keeping the history small: single readings become minutes, minutes become hours, hours are forgotten.

use dbm_core::prelude::*;

use super::Store;
use crate::span::Span;

// Every metric is named, for a key begins with it: the time alone would have the whole table read.
const MINUTES: &str = sql!(
    "
    INSERT INTO minute
    SELECT metric_id, at - at % 60, min(value), max(value), sum(value), count(*)
    FROM sample WHERE metric_id IN (SELECT id FROM metric) AND at < ?1 GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high),
                              total = total + excluded.total, count = count + excluded.count"
);

const HOURS: &str = sql!(
    "
    INSERT INTO hour
    SELECT metric_id, at - at % 3600, min(low), max(high), sum(total), sum(count)
    FROM minute WHERE metric_id IN (SELECT id FROM metric) AND at < ?1 GROUP BY 1, 2
    ON CONFLICT DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high),
                              total = total + excluded.total, count = count + excluded.count"
);

impl Store {
    /// Rolls up what is old, all in one transaction: a value is never counted twice nor lost.
    #[job(every = "1m")]
    #[database_safe]
    #[timed(slow = "1s")]
    pub async fn roll_up(&self, db: &mut WriteTransaction) -> Result<()> {
        let now = self.now().await?;
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
        Ok(())
    }

    /// Forgets hours and alerts that are too old.
    #[job(every = "1h")]
    #[database_safe]
    pub async fn forget(&self, db: &mut WriteTransaction) -> Result<()> {
        let now = self.now().await?;
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

    /// The time of the newest reading, for a made-up machine has its own; of one from the future, it is the clock's.
    #[database_safe]
    async fn now(&self, db: &mut ReadTransaction) -> Result<i64> {
        let newest = self.last_sample().await?;
        db.query_one("SELECT coalesce(min(?1, unixepoch()), 0)", (newest,))
            .await
    }
}

/// The last full minute or hour that is older than what is kept.
fn before(now: i64, keep: Span, unit: i64) -> i64 {
    (now - keep.as_secs()).div_euclid(unit) * unit
}

#[cfg(test)]
mod tests {
    use dbm_core::prelude::*;

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
        let store = Store::open(Config::in_memory().job_workers(0), keep, Vec::new());
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
            store.roll_up().await.unwrap();
            store.roll_up().await.unwrap();
            let after = store.history(&cpu, 0, 10_800, 1).await.unwrap();
            assert_eq!(after.len(), 1);
            assert_eq!(
                (after[0].low, after[0].high, after[0].count),
                (before[0].low, before[0].high, before[0].count)
            );
            assert!((after[0].average - before[0].average).abs() < 1e-6);
        }
        add("load", 200_000).await;
        store.roll_up().await.unwrap();
        store.forget().await.unwrap();
        assert!(
            store.history(&cpu, 0, 200_000, 1).await.unwrap().is_empty(),
            "hours are forgotten in the end"
        );
    }
}
