//! Calls of one statement have no savepoint in a shared transaction. What becomes of one of them still costs the others
//! nothing.

use dbm_core::rusqlite::Connection as Sqlite;
use dbm_tests::run;
use tempfile::TempDir;

use super::{ADD, EXECUTIONS, Error, Store, next_item, together};
use dbm_core::prelude::*;

const STOPS_AT_THREE: &str = "CREATE TRIGGER stops BEFORE INSERT ON half WHEN new.side = 3
    BEGIN SELECT RAISE (FAIL, 'no third side'); END";

impl Store {
    #[database_safe]
    async fn add_half(&self, db: &mut WriteTransaction, item: i64, side: i64) -> Result<()> {
        db.execute(ADD, (item, side)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_halves(&self, db: &mut WriteTransaction, item: i64, sides: &str) -> Result<()> {
        db.execute(
            "INSERT INTO half SELECT ?1, value FROM json_each(?2)",
            (item, sides),
        )
        .await?;
        Ok(())
    }

    /// In one transaction: a companion's half, halves that stop at the third, and the companion's other half.
    async fn stops_between(&self, companion: i64, stops: i64) -> Vec<Result<()>> {
        together(
            self,
            vec![
                Box::pin(self.add_half(companion, 1)),
                Box::pin(self.add_halves(stops, "[1, 2, 3]")),
                Box::pin(self.add_half(companion, 2)),
            ],
        )
        .await
    }

    /// Until its methods share.
    async fn has_learnt(&self) {
        for _ in 0..5 {
            self.add_half(next_item(), 1).await.unwrap();
            self.add_halves(next_item(), "[1, 2]").await.unwrap();
        }
    }
}

#[test]
fn a_member_whose_only_statement_fails_costs_its_companions_nothing() {
    for execution in EXECUTIONS {
        run(async move {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            store.has_learnt().await;
            let [one, two, three] = [(); 3].map(|()| next_item());
            let results = together(
                &store,
                vec![
                    Box::pin(store.add_half(one, 1)),
                    Box::pin(store.add_half(one, 1)),
                    // It has written two rows before it fails.
                    Box::pin(store.add_halves(two, "[1, 2, 1]")),
                    Box::pin(store.add(three)),
                    Box::pin(store.add_half(two, 2)),
                ],
            )
            .await;
            let is_ok: Vec<_> = results.iter().map(Result::is_ok).collect();
            assert_eq!(is_ok, [true, false, false, true, true], "{results:?}");
            for (item, halves) in [(one, 1), (two, 1), (three, 2)] {
                assert_eq!(store.halves(item).await.unwrap(), halves);
            }
            store.close().await.unwrap();
        });
    }
}

#[test]
fn a_statement_that_stops_halfway_keeps_nothing() {
    for execution in EXECUTIONS {
        run(async move {
            let config = Config::in_memory().execution(execution);
            let store = Store::with(config, STOPS_AT_THREE).await;
            store.has_learnt().await;
            for _ in 0..3 {
                let [alone, shared, companion] = [(); 3].map(|()| next_item());
                let stopped = store.add_halves(alone, "[1, 2, 3]").await.unwrap_err();
                assert_eq!(stopped.sqlite_message(), Some("no third side"));
                let results = store.stops_between(companion, shared).await;
                let is_ok: Vec<_> = results.iter().map(Result::is_ok).collect();
                assert_eq!(is_ok, [true, false, true], "{results:?}");
                for (item, halves) in [(alone, 0), (shared, 0), (companion, 2)] {
                    assert_eq!(store.halves(item).await.unwrap(), halves);
                }
            }
            store.close().await.unwrap();
        });
    }
}

/// The library does not know of the trigger: another process has made it.
#[test]
fn a_statement_that_stops_halfway_without_warning_is_not_told_as_undone() {
    for execution in EXECUTIONS {
        run(async move {
            let directory = TempDir::new().unwrap();
            let store = Store::new(Config::new(directory.path()).execution(execution)).await;
            store.has_learnt().await;
            let other = Sqlite::open(directory.path().join("database.db")).unwrap();
            other.execute_batch(STOPS_AT_THREE).unwrap();

            let [alone, shared, companion] = [(); 3].map(|()| next_item());
            let stopped = store.add_halves(alone, "[1, 2, 3]").await.unwrap_err();
            let is_unknown = matches!(stopped, Error::CommitUnknown { .. });
            let kept = store.halves(alone).await.unwrap();
            assert!(is_unknown || kept == 0, "{kept} are kept, and {stopped:?}");

            let results = store.stops_between(companion, shared).await;
            assert_eq!(store.halves(shared).await.unwrap(), 0);
            let acknowledged = [&results[0], &results[2]]
                .into_iter()
                .filter(|it| it.is_ok());
            let kept = store.halves(companion).await.unwrap();
            assert_eq!(kept, acknowledged.count() as i64, "{results:?}");
            store.close().await.unwrap();
        });
    }
}
