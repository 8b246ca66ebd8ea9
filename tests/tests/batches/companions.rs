//! A call that fails, times out or is dropped costs its companions nothing.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, poll_once, run, within};
use futures_util::future::join_all;

use super::{
    ADD, Call, ENDLESS, Holder, Store, add_both, everywhere, next_item, queue_up, together,
};

impl Store {
    #[database_safe]
    #[fail_with_exception]
    async fn panic_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        panic: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert!(!panic, "as asked");
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn break_a_constraint(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        twice: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if twice {
            add_both(db, item).await
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_call_that_fails_costs_its_companions_nothing() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.fail_now_and_then(next_item(), false).await.unwrap();
            store.panic_now_and_then(next_item(), false).await.unwrap();
            store.break_a_constraint(next_item(), false).await.unwrap();
            store.nest(next_item(), false).await.unwrap();
        }
        let items: Vec<_> = (0..30).map(|_| next_item()).collect();
        let calls = items
            .iter()
            .enumerate()
            .map(|(number, item)| match number % 6 {
                0 => Box::pin(store.fail_now_and_then(*item, true)) as Call<'_>,
                1 => Box::pin(store.panic_now_and_then(*item, true)),
                2 => Box::pin(store.break_a_constraint(*item, true)),
                3 => Box::pin(store.nest(*item, true)),
                4 => Box::pin(store.nest(*item, false)),
                _ => Box::pin(store.add(*item)),
            });
        let results = together(&store, calls.collect()).await;
        for (number, (item, result)) in items.into_iter().zip(results).enumerate() {
            let well = number % 6 >= 4;
            assert_eq!(result.is_ok(), well, "{number}: {result:?}");
            assert_eq!(
                store.halves(item).await.unwrap(),
                if well { 2 } else { 0 },
                "{number}"
            );
        }
    }));
}

#[test]
fn a_call_that_is_dropped_costs_its_companions_nothing() {
    run(everywhere("", async |store| {
        for moment in Moment::ALL {
            for at in 1..20 {
                let items: Vec<_> = (0..9).map(|_| next_item()).collect();
                let calls = items.iter().enumerate().map(|(number, item)| match number {
                    0 | 4 | 8 => Box::pin(async {
                        // The wait in the queue is the first.
                        match cut(at, moment, store.add(*item)).await {
                            Some(result) => result,
                            None => Err(Error::other("dropped")),
                        }
                    }) as Call<'_>,
                    _ => Box::pin(store.add(*item)),
                });
                let mut calls: Vec<Call<'_>> = calls.collect();
                let holder = queue_up_loosely(&store, &mut calls).await;
                holder.let_go().await;
                let results = within(join_all(calls)).await;
                for (number, (item, result)) in items.into_iter().zip(results).enumerate() {
                    let halves = store.halves(item).await.unwrap();
                    match result {
                        Ok(()) => assert_eq!(halves, 2),
                        Err(error) => {
                            assert_eq!(error.to_string(), "dropped", "{number} at {at}");
                            assert!(halves == 0 || halves == 2, "{number} at {at}");
                        }
                    }
                }
            }
        }
    }));
}

/// Some of the calls may have ended before the holder lets go.
async fn queue_up_loosely<'a>(store: &'a Store, calls: &mut Vec<Call<'a>>) -> Holder<'a> {
    let holder = queue_up(store, &mut []).await;
    for call in calls {
        if let std::task::Poll::Ready(result) = poll_once(call).await {
            *call = Box::pin(std::future::ready(result));
        }
    }
    holder
}

impl Store {
    #[database_safe]
    async fn read_endlessly_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn write_endlessly_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        rows: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?2)
             INSERT INTO half SELECT ?1, x + 1 FROM n";
        db.execute(sql, (item, rows)).await?;
        Ok(())
    }

    #[database_safe(timeout = "50ms")]
    async fn time_out_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// Only the statement of the dropped call goes; an interrupted read leaves the transaction as it is.
#[test]
fn a_dropped_read_in_a_shared_transaction_costs_its_companions_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .read_endlessly_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        for at in 2..7 {
            let items: Vec<_> = (0..3).map(|_| next_item()).collect();
            let calls: Vec<Call<'_>> = vec![
                Box::pin(store.add(items[0])),
                Box::pin(async {
                    let endless = cut(
                        at,
                        Moment::AtOnce,
                        store.read_endlessly_now_and_then(items[1], true),
                    );
                    let _ = tokio::time::timeout(Duration::from_millis(20), endless).await;
                    Ok(())
                }),
                Box::pin(store.add(items[2])),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
            for (item, expected) in items.iter().zip([2, 0, 2]) {
                assert_eq!(store.halves(*item).await.unwrap(), expected, "{at}");
            }
        }
        store.close().await.unwrap();
    });
}

/// A write of this many rows between two companions, dropped while it runs; how the first one fared.
async fn drop_a_write_in_company(store: &Store, rows: i64) -> Result<()> {
    let items: Vec<_> = (0..3).map(|_| next_item()).collect();
    let calls: Vec<Call<'_>> = vec![
        Box::pin(store.add(items[0])),
        Box::pin(async {
            let write = store.write_endlessly_now_and_then(items[1], rows);
            // Not even begun on a slow machine, or ended on a fast one: then it is whole, or not there.
            let _ = tokio::time::timeout(Duration::from_millis(20), write).await;
            Ok(())
        }),
        Box::pin(store.add(items[2])),
    ];
    let mut results = together(store, calls).await;
    let last = results.pop().unwrap();
    assert!(last.is_ok(), "{last:?}");
    let first = results.swap_remove(0);
    for (item, halves) in [(items[0], if first.is_ok() { 2 } else { 0 }), (items[2], 2)] {
        assert_eq!(store.halves(item).await.unwrap(), halves);
    }
    let dropped = store.halves(items[1]).await.unwrap();
    assert!(
        dropped == 0 || dropped == rows.saturating_add(1),
        "{dropped} of {rows} rows"
    );
    first
}

/// It ends by itself: interrupted, it would take the others with it.
#[test]
fn a_dropped_write_that_ends_soon_costs_its_companions_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .write_endlessly_now_and_then(next_item(), 1)
                .await
                .unwrap();
        }
        for _ in 0..4 {
            drop_a_write_in_company(&store, 100_000).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

/// A running write cannot be interrupted without the whole transaction: after a short grace it is all the same.
#[test]
fn a_dropped_write_that_does_not_end_loses_the_batch_and_says_so() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .write_endlessly_now_and_then(next_item(), 1)
                .await
                .unwrap();
        }
        for _ in 0..6 {
            // On a slow machine they may not have shared a transaction.
            let Err(error) = drop_a_write_in_company(&store, i64::MAX).await else {
                continue;
            };
            assert!(
                matches!(
                    error,
                    Error::BatchLost {
                        by: "write_endlessly_now_and_then"
                    }
                ),
                "{error}"
            );
            assert!(error.is_retryable());
            within(store.add(next_item())).await.unwrap();
            return store.close().await.unwrap();
        }
        panic!("they never shared a transaction");
    });
}

#[test]
fn a_call_that_times_out_costs_its_companions_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .time_out_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        let items: Vec<_> = (0..3).map(|_| next_item()).collect();
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.add(items[0])),
            Box::pin(store.time_out_now_and_then(items[1], true)),
            Box::pin(store.add(items[2])),
        ];
        let results = together(&store, calls).await;
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
        assert!(
            matches!(results[1], Err(Error::Timeout { .. })),
            "{results:?}"
        );
        for (item, expected) in items.iter().zip([2, 0, 2]) {
            assert_eq!(store.halves(*item).await.unwrap(), expected);
        }
        store.close().await.unwrap();
    });
}
