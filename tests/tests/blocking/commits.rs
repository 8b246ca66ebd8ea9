//! Slow commits, locks, starts and ends.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{run_on_one_thread, within};

use super::{ROWS, Store, got_far, turns_beside};

impl Store {
    #[database_safe]
    async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }

    /// Makes every commit take as long as on a slow disk, from inside SQLite.
    #[database_safe]
    async fn slow_down_commits(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            c.wal_hook(Some(|_, _| {
                std::thread::sleep(Duration::from_millis(5));
                Ok(())
            }));
            Ok(())
        })
        .await
    }
}

#[test]
fn slow_commits_hold_nobody_up() {
    run_on_one_thread(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for _ in 0..20 {
                store.add().await.unwrap();
            }
            store.slow_down_commits().await.unwrap();
            // It takes a few to notice.
            for _ in 0..5 {
                store.add().await.unwrap();
            }
            let one_by_one = async {
                for _ in 0..20 {
                    store.add().await?;
                }
                Ok(())
            };
            got_far(turns_beside(one_by_one).await, "commits of one task");
            let together = async {
                let tasks: Vec<_> = (0..64)
                    .map(|_| {
                        let store = Arc::clone(&store);
                        tokio::spawn(async move {
                            for _ in 0..5 {
                                store.add().await?;
                            }
                            Ok::<_, Error>(())
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap()?;
                }
                Ok(())
            };
            got_far(turns_beside(together).await, "commits of 64 tasks");
            store.close().await.unwrap();
        }
    });
}

#[test]
fn another_process_that_has_the_lock_holds_nobody_up() {
    run_on_one_thread(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            let config = Config::in_memory()
                .execution(execution)
                .busy_timeout(Duration::from_millis(200));
            let store = Store::new(config).await;
            store.add().await.unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let waits = async {
                assert!(matches!(store.add().await, Err(Error::Busy { .. })));
                Ok(())
            };
            got_far(turns_beside(waits).await, "the lock of another process");
            other.execute_batch("COMMIT").unwrap();
            store.close().await.unwrap();
        }
    });
}

#[test]
fn start_migration_vacuum_and_close_hold_nobody_up() {
    run_on_one_thread(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path()).durability(Durability::Off);
        let store = Store::new(config.clone()).await;
        store.fill(ROWS).await.unwrap();
        got_far(turns_beside(store.vacuum()).await, "a VACUUM");
        store.fill(5 * ROWS).await.unwrap();
        got_far(
            turns_beside(store.close()).await,
            "a close that empties the log",
        );

        let migrates = async {
            let store = Store::create(config.version(Version::new(2, 0, 0))).await?;
            store.close().await
        };
        got_far(turns_beside(migrates).await, "a backup and a migration");
    });
}

/// There `block_in_place` would panic.
#[test]
fn calls_from_a_local_set_work() {
    dbm_tests::run(async {
        let (done, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_time()
                .build()
                .unwrap();
            let local = tokio::task::LocalSet::new();
            let called = runtime.block_on(local.run_until(async {
                let store = Store::create(Config::in_memory()).await?;
                let tasks: Vec<_> = (0..20)
                    .map(|_| {
                        let store = Arc::clone(&store);
                        tokio::task::spawn_local(async move {
                            store.add().await?;
                            store.count(10_000).await
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await.unwrap()?, 10_000);
                }
                store.vacuum().await?;
                store.close().await
            }));
            let _ = done.send(called);
        });
        within(ended).await.unwrap().unwrap();
    });
}
