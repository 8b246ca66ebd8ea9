//! While something is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};

use super::{ADD, Bomb, EXECUTIONS, Store, in_order, next};

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

// While a body is dropped.

impl Store {
    #[database_safe]
    async fn with_a_bomb(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let _bomb = Bomb;
        db.execute(ADD, (n,)).await?;
        std::future::pending().await
    }

    #[database_safe(timeout = "20ms")]
    #[fail_with_exception]
    async fn with_a_bomb_and_a_timeout(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let _bomb = Bomb;
        db.execute(ADD, (n,)).await?;
        db.query_one::<i64>(ENDLESS, ()).await.map(drop)
    }

    #[database_safe]
    async fn with_a_bomb_for_a_result(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        let bomb = db.call(|c| {
            let _: i64 = c.query_row("SELECT count(*) FROM number", (), |row| row.get(0))?;
            Ok(Bomb)
        });
        bomb.await.map(std::mem::forget)
    }
}

#[test]
fn a_panic_while_a_dropped_call_is_undone_stops_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for polls in 1..8 {
                let mut call = Box::pin(store.with_a_bomb(next()));
                for _ in 0..polls {
                    assert!(poll_once(&mut call).await.is_pending());
                    tokio::task::yield_now().await;
                }
                let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
                in_order(&store, &mut expected, "a bomb in a dropped body").await;
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_panic_while_a_body_is_timed_out_stops_nothing() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for _ in 0..3 {
                let error = within(store.with_a_bomb_and_a_timeout(next()))
                    .await
                    .unwrap_err();
                assert!(
                    matches!(error, Error::Panicked { .. } | Error::Timeout { .. }),
                    "{error}"
                );
                in_order(&store, &mut expected, "a bomb in a body that timed out").await;
            }
            store.close().await.unwrap();
        }
    });
}

/// The result is dropped where the statement has run.
#[test]
fn a_result_that_panics_when_nobody_takes_it_stops_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for polls in 1..30 {
                let n = next();
                let mut call = Box::pin(store.with_a_bomb_for_a_result(n));
                let mut ended = false;
                for _ in 0..polls {
                    if poll_once(&mut call).await.is_ready() {
                        ended = true;
                        break;
                    }
                }
                let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
                // It may have got through, whole; the next write waits until that is decided.
                let after = next();
                within(store.add(after)).await.unwrap();
                let is_there = within(store.numbers()).await.unwrap().contains(&n);
                assert!(is_there || !ended);
                expected.extend(is_there.then_some(n));
                expected.push(after);
                in_order(&store, &mut expected, "a result that nobody took").await;
            }
            store.close().await.unwrap();
        }
    });
}
