//! The tables are the files in `schema/`. Here is what SQL cannot say, and whether every release still leads to today.

use dbm_core::prelude::*;

use super::Store;
use crate::clock::Clock;
use crate::rules::{DEFAULTS, Rule};

impl Store {
    /// What follows 1.2.0, which brings rules.
    pub(super) async fn add_default_rules(&self, _: &mut WriteTransaction) -> Result<()> {
        let now = Clock::System.now();
        for text in DEFAULTS {
            let rule: Rule = text.parse().map_err(Error::other)?;
            self.add_rule(&rule, "default", now)
                .await
                .map_err(Error::other)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use dbm_core::testing::{Migrated, Migration, schema};

    use super::*;
    use crate::metric::{Kind, Metric};
    use crate::sampler::Reading;
    use crate::settings::Retention;
    use crate::store::EventKind;

    /// Today's program on a database that a release has left with these rows in it: it ends like a new one.
    async fn migrated(release: &str, rows: &str) -> Migrated<Store> {
        Migration::from_files(release)
            .seed(rows)
            .check_with(|core| Store {
                core,
                keep: Retention::default(),
                receivers: Vec::new(),
                host: None,
            })
            .await
            .unwrap()
    }

    /// The averages of the first two minutes.
    async fn history(store: &Store, metric: &Metric) -> Vec<f64> {
        let slots = store.history(metric, 0, 120, 2).await.unwrap();
        slots.iter().map(|slot| slot.average).collect()
    }

    async fn rules(store: &Store) -> Vec<String> {
        let rules = store.rules().await.unwrap();
        rules.into_iter().map(|rule| rule.text).collect()
    }

    #[tokio::test]
    async fn from_1_0_0_readings_and_processes_stay_and_the_default_rules_come() {
        let store = migrated(
            "1.0.0",
            "INSERT INTO sample VALUES (60, 1, 2, 3), (120, 4, 5, 6);
             INSERT INTO process VALUES ('nginx')",
        )
        .await;
        for (kind, averages) in [
            (Kind::Cpu, [1.0, 4.0]),
            (Kind::Memory, [2.0, 5.0]),
            (Kind::Swap, [3.0, 6.0]),
        ] {
            assert_eq!(history(&store, &Metric::whole(kind)).await, averages);
        }
        assert_eq!(store.last_sample().await.unwrap(), Some(120));
        assert_eq!(store.watches().await.unwrap()[0].name, "nginx");
        assert_eq!(rules(&store).await, DEFAULTS);
    }

    #[tokio::test]
    async fn from_1_1_0_every_metric_and_watch_stays_and_the_default_rules_come() {
        let store = migrated(
            "1.1.0",
            "INSERT INTO metric VALUES (7, 'disk:/');
             INSERT INTO sample VALUES (7, 60, 61), (7, 120, 62);
             INSERT INTO watch VALUES ('nginx', 50)",
        )
        .await;
        assert_eq!(
            history(&store, &Metric::part(Kind::Disk, "/")).await,
            [61.0, 62.0]
        );
        let watches = store.watches().await.unwrap();
        assert_eq!(
            (watches[0].name.as_str(), watches[0].added_at),
            ("nginx", 50)
        );
        assert_eq!(rules(&store).await, DEFAULTS);
    }

    #[tokio::test]
    async fn from_1_2_0_alerts_go_on_where_they_were() {
        let store = migrated(
            "1.2.0",
            "INSERT INTO sample VALUES (3, 60, 61), (3, 120, 62);
             DELETE FROM rule;
             INSERT INTO rule VALUES (1, 'memory > 85', 10, 'console'), (2, 'cpu > 50 for 1m', 10, 'console');
             INSERT INTO alert VALUES (1, 1, 'memory > 85', 'memory', 1, 91, 93, 900, 950, 'ada', NULL);
             INSERT INTO event VALUES (1, 1, 900, 'raised', 91), (2, 1, 950, 'acknowledged', 91);
             INSERT INTO delivery VALUES ('discord', 1);
             INSERT INTO pending VALUES (2, 'cpu', 1000, 1055);
             INSERT INTO admin VALUES ('ada', 5, 'console')",
        )
        .await;
        assert_eq!(
            history(&store, &Metric::whole(Kind::Swap)).await,
            [61.0, 62.0]
        );
        // Default rules that were removed do not come back.
        assert_eq!(rules(&store).await, ["memory > 85", "cpu > 50 for 1m"]);
        assert!(store.is_admin("ada").await);
        let untold = store.untold("discord", i64::MAX).await.unwrap();
        assert_eq!(untold.len(), 1, "what was told is not told again");
        assert_eq!(untold[0].1.what, EventKind::Acknowledged);

        let reading = Reading::of(1_060, [("memory", 92.0), ("cpu", 60.0)]);
        let events = store.weigh(&reading).await;
        assert_eq!(events.len(), 1, "an alert that was seen is not told again");
        assert_eq!(
            (events[0].alert.metric.as_str(), events[0].what),
            ("cpu", EventKind::Raised),
            "the time before the migration counts"
        );
        let (alerts, _) = store.open_alerts().await;
        let memory = &alerts[1];
        assert_eq!(
            (memory.worst, memory.acknowledged_by.as_deref()),
            (93.0, Some("ada"))
        );
    }

    #[tokio::test]
    async fn from_1_3_0_every_value_and_roll_up_stays() {
        let store = migrated(
            "1.3.0",
            "INSERT INTO metric VALUES (9, 'disk:/');
             INSERT INTO hour   VALUES (1, 0, 1, 3, 4, 2), (9, 0, 5, 5, 5, 1);
             INSERT INTO minute VALUES (1, 3600, 4, 6, 10, 2), (9, 3600, 6, 6, 6, 1);
             INSERT INTO sample VALUES (1, 7201, 7.123456), (1, 7206, 8), (9, 7206, 50)",
        )
        .await;
        for (metric, slots) in [
            ("cpu", [(1.0, 3.0, 2), (4.0, 6.0, 2), (7.123456, 8.0, 2)]),
            ("disk:/", [(5.0, 5.0, 1), (6.0, 6.0, 1), (50.0, 50.0, 1)]),
        ] {
            let history = store.history(&metric.parse().unwrap(), -1, 10_799, 3).await;
            let found = history.unwrap().into_iter();
            let found: Vec<_> = found
                .map(|slot| (slot.low, slot.high, slot.count))
                .collect();
            assert_eq!(found, slots, "{metric}");
        }
        assert_eq!(store.facts().await.unwrap().readings, 2);
        assert_eq!(store.last_sample().await.unwrap(), Some(7_206));
    }

    #[tokio::test]
    async fn from_1_5_0_everything_is_of_this_machine() {
        let store = migrated(
            "1.5.0",
            "INSERT INTO minute VALUES (1, 0, 4, 6, 10, 2);
             INSERT INTO reading VALUES (1, 61, jsonb('{\"1\": 8.0}'));
             INSERT INTO watch VALUES ('nginx', 50);
             DELETE FROM rule;
             INSERT INTO rule VALUES (3, 'memory > 85', 10, 'ada'), (4, 'swap > 50 for 1m', 10, 'ada');
             INSERT INTO pending VALUES (4, 'swap', 1000, 1055);
             INSERT INTO alert VALUES (7, 3, 'memory > 85', 'memory', 1, 91, 93, 900, NULL, NULL, NULL, NULL, NULL, NULL);
             INSERT INTO event VALUES (9, 7, 900, 'raised', 91);
             INSERT INTO message VALUES (9, 'chat')",
        )
        .await;
        assert_eq!(history(&store, &Metric::whole(Kind::Cpu)).await, [5.0, 8.0]);
        assert_eq!(store.watches().await.unwrap().len(), 1);
        let untold = store.untold("chat", i64::MAX).await.unwrap();
        assert_eq!((untold[0].0, untold[0].1.alert.id), (9, 7));
        let reading = Reading::of(1_060, [("memory", 92.0), ("swap", 60.0)]);
        let events = store.weigh(&reading).await;
        assert_eq!(events.len(), 1, "what was raised is not raised again");
        assert_eq!(
            (events[0].alert.id, events[0].alert.metric.as_str()),
            (8, "swap")
        );
    }

    /// What was released never changes: another table is a step of its own, and shows here.
    #[tokio::test]
    async fn the_tables_are_those_that_were_reviewed() {
        let new = Store::open(Config::in_memory(), Retention::default(), Vec::new(), None);
        assert_eq!(rules(&new).await, DEFAULTS);
        let now = schema(&new).await.unwrap().to_string();
        assert!(
            now == include_str!("reviewed.txt"),
            "src/store/reviewed.txt is another one than\n{now}"
        );
    }
}
