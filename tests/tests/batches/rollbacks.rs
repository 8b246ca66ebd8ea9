//! What rolls everything back never shares a transaction.

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::run;

use super::{ADD, Call, Store, add_both, alone_guilty, everywhere, next_item, together};

impl Store {
    #[database_safe]
    async fn roll_back_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        roll_back: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if roll_back {
            db.execute(
                "INSERT OR ROLLBACK INTO half (item, side) VALUES (?1, 1)",
                (item,),
            )
            .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn roll_back_by_call(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        roll_back: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if roll_back {
            db.call(move |c| {
                // The error is ignored, and on it goes, outside of any transaction.
                let _ = c.execute(
                    "INSERT OR ROLLBACK INTO half (item, side) VALUES (?1, 1)",
                    (item,),
                );
                let _ = c.execute("INSERT INTO half (item, side) VALUES (?1, 3)", (item,));
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn roll_back_by_trigger(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        side: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, side)).await?;
        Ok(())
    }
}

#[test]
fn sql_that_rolls_everything_back_never_shares() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store
                .roll_back_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        alone_guilty(
            &store,
            Box::pin(store.roll_back_now_and_then(next_item(), true)),
            false,
        )
        .await;
        alone_guilty(
            &store,
            Box::pin(store.roll_back_now_and_then(next_item(), true)),
            false,
        )
        .await;
    }));
}

/// In a closure nobody can see it coming.
#[test]
fn a_closure_that_rolls_everything_back_loses_the_batch_at_most() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.roll_back_by_call(next_item(), false).await.unwrap();
        }
        for _ in 0..3 {
            let error = alone_guilty(
                &store,
                Box::pin(store.roll_back_by_call(next_item(), true)),
                true,
            )
            .await;
            assert!(
                matches!(
                    error,
                    Error::TransactionLost { .. } | Error::BatchLost { .. }
                ),
                "{error}"
            );
        }
    }));
}

const TRIGGER: &str = "CREATE TRIGGER guard BEFORE INSERT ON half WHEN new.side = 99
     BEGIN SELECT RAISE(ROLLBACK, 'no such side'); END";

#[test]
fn a_trigger_that_rolls_everything_back_never_shares() {
    run(async {
        everywhere(TRIGGER, async |store| {
            for _ in 0..4 {
                store.roll_back_by_trigger(next_item(), 1).await.unwrap();
            }
            let error = alone_guilty(&store, Box::pin(store.roll_back_by_trigger(next_item(), 99)), false).await;
            assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
            store.change_schema("DELETE FROM half WHERE side = 1 AND item NOT IN (SELECT item FROM half WHERE side = 2)").await.unwrap();
        })
        .await;
        everywhere("", async |store| {
            for _ in 0..4 {
                store.roll_back_by_trigger(next_item(), 1).await.unwrap();
            }
            change_behind_its_back(&store, "CREATE TRIGGER guard BEFORE INSERT ON half WHEN new.side = 99
                 BEGIN SELECT RAISE(ROLLBACK, 'no such side'); END");
            let error = alone_guilty(&store, Box::pin(store.roll_back_by_trigger(next_item(), 99)), true).await;
            assert!(matches!(error, Error::TransactionLost { .. } | Error::BatchLost { .. }), "{error}");
            store.change_schema("DELETE FROM half WHERE side = 1 AND item NOT IN (SELECT item FROM half WHERE side = 2)").await.unwrap();
        })
        .await;
    });
}

/// Nobody commits after it, so nobody's commit can tell it.
#[test]
fn a_call_that_has_lost_the_shared_transaction_waits_for_no_commit() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.lose_by_trigger(next_item(), 1).await.unwrap();
            store.fail_now_and_then(next_item(), false).await.unwrap();
        }
        change_behind_its_back(&store, LOSING);
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.add(next_item())),
            Box::pin(store.lose_by_trigger(next_item(), 98)),
            Box::pin(store.fail_now_and_then(next_item(), true)),
        ];
        let results = together(&store, calls).await;
        assert!(results[1].is_err() && results[2].is_err(), "{results:?}");
        store
            .change_schema(
                "DELETE FROM half WHERE item NOT IN (SELECT item FROM half WHERE side = 2)",
            )
            .await
            .unwrap();
    }));
}

/// As another process may: the library has read the schema before.
fn change_behind_its_back(store: &Store, sql: &str) {
    let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
    other.execute_batch(sql).unwrap();
}

const LOSING: &str = "CREATE TRIGGER losing BEFORE INSERT ON half WHEN new.side = 98
     BEGIN SELECT RAISE(ROLLBACK, 'no such side'); END";

impl Store {
    #[database_safe]
    async fn lose_by_trigger(&self, db: &mut WriteTransaction, item: i64, side: i64) -> Result<()> {
        db.execute(ADD, (item, side)).await?;
        Ok(())
    }
}
