//! What is dropped inside a body that goes on, or in the queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, poll_once, run, within};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{ADD, ENDLESS, EXECUTIONS, Store, next_item};

/// So slow that it has not ended when its future is polled for the first time.
const ADD_SLOWLY: &str = "INSERT INTO half (item, side) SELECT ?1, ?2 FROM
    (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000) SELECT count(*) FROM n)";

#[test]
fn a_caller_that_is_dropped_in_the_queue_never_runs_and_disturbs_nobody() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        let (inside, release) = (Notify::new(), Notify::new());
        let mut holder = Box::pin(store.add_when_released(next_item(), &inside, &release));
        tokio::select! {
            result = &mut holder => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let ran = AtomicUsize::new(0);
        let mut queue: Vec<_> = (0..20)
            .map(|_| Box::pin(store.add_counting(next_item(), &ran)))
            .collect();
        for waiting in &mut queue {
            assert!(poll_once(waiting).await.is_pending());
        }
        // Every second one goes away, the first and the last among them.
        let mut number = 0;
        queue.retain(|_| {
            number += 1;
            number % 2 == 0 && number != 20
        });
        let left = queue.len();
        release.notify_one();
        holder.await.unwrap();
        for waiting in queue {
            within(waiting).await.unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), left);
        store.add(next_item()).await.unwrap();
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn add_counting(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        ran: &AtomicUsize,
    ) -> Result<()> {
        ran.fetch_add(1, Ordering::Relaxed);
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn drop_a_write_and_go_on(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = format!("{ADD_SLOWLY} /* {item} */");
        // A budget that is spent would make it wait before it begins.
        tokio::task::yield_now().await;
        let mut dropped = Box::pin(db.execute(&sql, (item, 2)));
        assert!(
            poll_once(&mut dropped).await.is_pending(),
            "a new text goes to a thread"
        );
        drop(dropped);
        Ok(())
    }

    #[database_safe]
    async fn drop_a_write_and_write_on(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let sql = format!("{ADD_SLOWLY} /* and on {item} */");
        tokio::task::yield_now().await;
        let mut dropped = Box::pin(db.execute(&sql, (item, 1)));
        assert!(
            poll_once(&mut dropped).await.is_pending(),
            "a new text goes to a thread"
        );
        drop(dropped);
        let error = db.execute(ADD, (item, 2)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::StatementDropped | Error::TransactionLost { .. }
            ),
            "{error}"
        );
        Ok(())
    }

    /// What is dropped before it was awaited is as if it had never been.
    #[database_safe]
    async fn drop_an_unused_statement(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        drop(db.execute(ADD, (item, 3)));
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn drop_a_read_and_go_on(&self, db: &mut ReadTransaction) -> Result<i64> {
        assert!(
            timeout(Duration::from_millis(5), db.query_one::<i64>(ENDLESS, ()))
                .await
                .is_err()
        );
        db.query_one("SELECT count(*) FROM half", ()).await
    }

    #[database_safe]
    async fn drop_a_nested_call_and_go_on(
        &self,
        db: &mut WriteTransaction,
        item: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        for at in 1..10 {
            if cut(at, Moment::AtOnce, self.add_by_new_text(-item))
                .await
                .is_some()
            {
                // Got through: then it is whole.
                assert_eq!(self.halves(-item).await?, 2);
                break;
            }
            match self.halves(-item).await? {
                0 => {}
                // Dropped after its body had returned: then it may be kept, whole.
                2 => break,
                halves => panic!("{at}: {halves} halves of a dropped nested call"),
            }
        }
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

#[test]
fn a_statement_that_is_dropped_inside_a_body_that_goes_on_undoes_the_call() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        for _ in 0..50 {
            let item = next_item();
            let error = within(store.drop_a_write_and_go_on(item))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::StatementDropped | Error::TransactionLost { .. }
                ),
                "{error}"
            );
            assert_eq!(store.halves(item).await.unwrap(), 0);
            let error = within(store.drop_a_write_and_write_on(item))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::StatementDropped | Error::TransactionLost { .. }
                ),
                "{error}"
            );
            assert_eq!(store.halves(item).await.unwrap(), 0);
            store.drop_an_unused_statement(item).await.unwrap();
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_read_statement_that_is_dropped_leaves_the_snapshot_usable() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        store.add(next_item()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(within(store.drop_a_read_and_go_on()).await.unwrap(), 2);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_nested_call_that_is_dropped_undoes_only_itself_or_everything() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for _ in 0..10 {
                let item = next_item();
                let expected = match within(store.drop_a_nested_call_and_go_on(item)).await {
                    Ok(()) => 2,
                    // An interrupted write takes the whole transaction with it.
                    Err(Error::TransactionLost { .. }) => 0,
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(store.halves(item).await.unwrap(), expected);
            }
            assert!(store.half_items().await.unwrap().is_empty());
            store.close().await.unwrap();
        }
    });
}
