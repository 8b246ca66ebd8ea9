//! A transaction is left open for calls that are about to come, and somebody always commits it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};

use super::{Call, Store, config, next_item, together};

/// A store whose calls expect two joiners, with a leader that waits for them.
async fn waits_for_joiners<'a>(store: &'a Store, item: i64) -> Call<'a> {
    let three = || -> Call<'a> { Box::pin(store.add(next_item())) };
    for result in together(store, vec![three(), three(), three()]).await {
        result.unwrap();
    }
    let mut leader: Call<'_> = Box::pin(store.add(item));
    assert!(poll_once(&mut leader).await.is_pending());
    leader
}

async fn store() -> Arc<Store> {
    Store::new(Config::in_memory().execution(Execution::Inline)).await
}

#[test]
fn calls_that_come_together_share_a_transaction_without_queueing() {
    run(async {
        let store = store().await;
        let items = [next_item(), next_item(), next_item()];
        let leader = waits_for_joiners(&store, items[0]).await;
        let mut second: Call<'_> = Box::pin(store.add(items[1]));
        assert!(poll_once(&mut second).await.is_pending());
        assert_eq!(store.halves(items[0]).await.unwrap(), 0, "not committed");
        // All have joined: the last one commits for all.
        within(store.add(items[2])).await.unwrap();
        for item in items {
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        within(leader).await.unwrap();
        within(second).await.unwrap();
    });
}

#[test]
fn a_leader_whom_nobody_joins_commits_alone() {
    run(async {
        let store = store().await;
        let item = next_item();
        within(waits_for_joiners(&store, item).await).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
    });
}

#[test]
fn a_leader_may_go_away() {
    run(async {
        let store = store().await;
        let items = [next_item(), next_item()];
        let leader = waits_for_joiners(&store, items[0]).await;
        let mut second: Call<'_> = Box::pin(store.add(items[1]));
        assert!(poll_once(&mut second).await.is_pending());
        drop(leader);
        within(second).await.unwrap();
        for item in items {
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        // Alone, too.
        let item = next_item();
        drop(waits_for_joiners(&store, item).await);
        within(store.add(next_item())).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
    });
}

#[test]
fn nobody_waits_for_a_leader_that_does_not_run() {
    run(async {
        let store = store().await;
        let items = [next_item(), next_item()];
        let leader = waits_for_joiners(&store, items[0]).await;
        within(store.add(items[1])).await.unwrap();
        for item in items {
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        within(leader).await.unwrap();
    });
}

impl Store {
    #[database_safe]
    pub(super) async fn bare(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("ANALYZE").await
    }

    #[database_safe]
    async fn closure(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.call(|connection| Ok(connection.execute("DELETE FROM half WHERE item < 0", ())?))
            .await
    }
}

#[test]
fn an_exclusive_call_comes_after_the_batch_of_a_leader() {
    run(async {
        let store = store().await;
        let item = next_item();
        let leader = waits_for_joiners(&store, item).await;
        within(store.bare()).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
        within(leader).await.unwrap();

        let item = next_item();
        let leader = waits_for_joiners(&store, item).await;
        within(store.closure()).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
        within(leader).await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn add_and_tell(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        told: &Arc<AtomicI64>,
    ) -> Result<()> {
        super::add_both(db, item).await?;
        let told = Arc::clone(told);
        db.after_commit(async move { told.store(item, Ordering::SeqCst) })
    }

    /// Runs well a few times, and then turns out to be exclusive.
    #[database_safe]
    async fn exclusive_at_last(&self, db: &mut WriteTransaction, at_last: bool) -> Result<()> {
        if at_last {
            db.call(|_| Err::<(), _>(Error::other("as it should")))
                .await?;
        }
        db.execute("DELETE FROM half WHERE item < 0", ()).await?;
        Ok(())
    }
}

/// That call fails, so only the other's commit can have been told of.
#[test]
fn work_that_is_committed_because_another_call_becomes_exclusive_is_told_of() {
    run(async {
        let store = store().await;
        let told = Arc::<AtomicI64>::default();
        for _ in 0..5 {
            store.exclusive_at_last(false).await.unwrap();
            store.add_and_tell(next_item(), &told).await.unwrap();
        }
        let mut live =
            store.live(|store| async move { store.all_halves().await.map(|all| all.len()) });
        let items = within(live.next()).await.unwrap().unwrap();
        let three = || -> Call<'_> { Box::pin(store.add_and_tell(next_item(), &told)) };
        for result in together(&store, vec![three(), three(), three()]).await {
            result.unwrap();
        }
        while within(live.next()).await.unwrap().unwrap() != items + 3 {}

        let item = next_item();
        let mut leader: Call<'_> = Box::pin(store.add_and_tell(item, &told));
        assert!(poll_once(&mut leader).await.is_pending());
        assert!(within(store.exclusive_at_last(true)).await.is_err());
        within(leader).await.unwrap();
        assert_eq!(within(live.next()).await.unwrap().unwrap(), items + 4);
        dbm_tests::eventually(|| told.load(Ordering::SeqCst) == item).await;
    });
}

#[test]
fn close_does_not_wait_for_joiners() {
    run(async {
        for goes_on in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), Execution::Inline);
            let store = Store::new(config.clone()).await;
            let item = next_item();
            let leader = waits_for_joiners(&store, item).await;
            let mut closing = Box::pin(store.close_within(Duration::from_millis(1)));
            if goes_on {
                assert!(poll_once(&mut closing).await.is_pending());
                within(leader).await.unwrap();
                within(closing).await.unwrap();
            } else {
                let _ = within(closing).await;
                within(leader).await.unwrap();
            }
            assert_eq!(store.status(), Status::Stopped);
            let store = Store::new(config).await;
            assert_eq!(store.halves(item).await.unwrap(), 2);
            within(store.close()).await.unwrap();
        }
    });
}
