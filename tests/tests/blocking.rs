//! No worker is held for long: how far the rest of a runtime with one thread gets while the database is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{run_on_one_thread, within};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY, text TEXT) STRICT")
            .await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute(FILL, (ROWS,)).await?;
        db.execute_batch("CREATE INDEX by_text ON number (text)")
            .await?;
        Ok(true)
    }
}

/// So many that a statement over all of them takes a while.
const ROWS: i64 = 60_000;
const COUNT: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?1) SELECT count(*) FROM n";
const FILL: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?1)
     INSERT INTO number (text) SELECT 'text ' || x FROM n";

impl Store {
    async fn new(config: Config) -> Arc<Self> {
        Self::create(config).await.unwrap()
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction, rows: i64) -> Result<i64> {
        db.query_one(COUNT, (rows,)).await
    }

    #[database_safe]
    async fn count_in_a_write(&self, db: &mut WriteTransaction, rows: i64) -> Result<i64> {
        db.query_one(COUNT, (rows,)).await
    }

    #[database_safe]
    async fn fill(&self, db: &mut WriteTransaction, rows: i64) -> Result<usize> {
        db.execute(FILL, (rows,)).await
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
    async fn add(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("INSERT INTO number (text) VALUES ('x')", ())
            .await
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

/// Counts how often another task gets its turn meanwhile.
async fn turns_beside<T>(work: impl Future<Output = T>) -> (u64, T) {
    let (turns, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let other = {
        let (turns, stop) = (Arc::clone(&turns), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    let output = within(work).await;
    stop.store(true, Ordering::Relaxed);
    other.await.unwrap();
    (turns.load(Ordering::Relaxed), output)
}

/// A statement that held up the worker would leave the other task hardly a turn.
const MANY: u64 = 200;

#[track_caller]
fn got_far((turns, result): (u64, Result<()>), beside: &str) {
    result.unwrap();
    assert!(turns >= MANY, "{turns} turns beside {beside}");
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
            let many = async {
                let tasks: Vec<_> = (0..64)
                    .map(|_| {
                        let store = Arc::clone(&store);
                        tokio::spawn(async move {
                            for _ in 0..10 {
                                store.add().await?;
                            }
                            Ok::<(), Error>(())
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap()?;
                }
                Ok(())
            };
            got_far(turns_beside(many).await, "commits of 64 tasks");
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
        store.fill(ROWS).await.unwrap();
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
