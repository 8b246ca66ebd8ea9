//! Slow statements and closures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{run_on_one_thread, within};

use super::{COUNT, FILL, ROWS, Store, got_far, turns_beside};

impl Store {
    #[database_safe]
    async fn count_in_a_write(&self, db: &mut WriteTransaction, rows: i64) -> Result<i64> {
        db.query_one(COUNT, (rows,)).await
    }

    #[database_safe]
    async fn fill_and_fail(&self, db: &mut WriteTransaction, rows: i64) -> Result<usize> {
        db.execute(FILL, (rows,)).await?;
        Err(Error::other("as asked"))
    }

    #[database_safe]
    async fn fill_and_wait(&self, db: &mut WriteTransaction, rows: i64) -> Result<()> {
        db.execute(FILL, (rows,)).await?;
        std::future::pending().await
    }

    #[database_safe]
    async fn empty(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("DELETE FROM number WHERE n > 0", ()).await
    }

    #[database_safe]
    async fn sleep_in_a_closure(&self, db: &mut ReadTransaction) -> Result<()> {
        db.call(|_| {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn sleep_in_a_closure_of_a_write(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|_| {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        })
        .await
    }
}

#[test]
fn a_slow_query_holds_nobody_up() {
    run_on_one_thread(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for _ in 0..3 {
                let slow = async { store.count(600_000).await.map(drop) };
                got_far(turns_beside(slow).await, "a read");
                let slow = async { store.count_in_a_write(600_000).await.map(drop) };
                got_far(turns_beside(slow).await, "a read in a write");
            }
            store.close().await.unwrap();
        }
    });
}

/// The library believes it to be short, for it was so far.
#[test]
fn a_query_that_was_always_short_and_is_slow_for_once_holds_nobody_up() {
    run_on_one_thread(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..3 {
            for _ in 0..50 {
                assert_eq!(store.count(1).await.unwrap(), 1);
                assert_eq!(store.count_in_a_write(1).await.unwrap(), 1);
            }
            let slow = async {
                assert_eq!(store.count(600_000).await?, 600_000);
                Ok(())
            };
            got_far(turns_beside(slow).await, "a read");
            let slow = async {
                assert_eq!(store.count_in_a_write(600_000).await?, 600_000);
                Ok(())
            };
            got_far(turns_beside(slow).await, "a read in a write");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_slow_write_and_its_rollback_hold_nobody_up() {
    run_on_one_thread(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for _ in 0..5 {
                store.fill(1).await.unwrap();
            }
            got_far(
                turns_beside(async { store.fill(ROWS).await.map(drop) }).await,
                "a write",
            );
            got_far(
                turns_beside(async { store.empty().await.map(drop) }).await,
                "a delete",
            );
            let fails = async {
                assert!(store.fill_and_fail(ROWS).await.is_err());
                Ok(())
            };
            got_far(turns_beside(fails).await, "a write and its rollback");
            let dropped = async {
                let _ = tokio::time::timeout(Duration::from_millis(100), store.fill_and_wait(ROWS))
                    .await;
                store.add().await.map(drop)
            };
            got_far(turns_beside(dropped).await, "a write that is dropped");
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_slow_closure_holds_nobody_up() {
    run_on_one_thread(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for _ in 0..3 {
                got_far(turns_beside(store.sleep_in_a_closure()).await, "a closure");
                got_far(
                    turns_beside(store.sleep_in_a_closure_of_a_write()).await,
                    "a closure of a write",
                );
            }
            store.close().await.unwrap();
        }
    });
}

/// Another manager on the same runtime is not held up either.
#[test]
fn a_slow_manager_does_not_hold_up_another_one() {
    run_on_one_thread(async {
        let (slow, other) = (
            Store::new(Config::in_memory()).await,
            Store::new(Config::in_memory()).await,
        );
        let done = AtomicBool::new(false);
        let (ended, calls) = within(async {
            tokio::join!(
                async {
                    let ended = slow.fill(4 * ROWS).await;
                    done.store(true, Ordering::Relaxed);
                    ended
                },
                async {
                    let mut calls = 0;
                    while !done.load(Ordering::Relaxed) {
                        other.add().await.unwrap();
                        calls += other.count(1).await.unwrap();
                    }
                    calls
                }
            )
        })
        .await;
        ended.unwrap();
        assert!(
            calls >= 10,
            "{calls} calls beside a slow write of another manager"
        );
        slow.close().await.unwrap();
        other.close().await.unwrap();
    });
}
