//! Slow commits, locks, starts and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{run_on_one_thread, within};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{ROWS, Store, got_far, turns_beside};

impl Store {
    #[database_safe]
    async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }

    /// Its commit takes as long as on a slow disk. Says how many turns others had had when its body ended.
    #[database_safe]
    async fn add_slowly(&self, db: &mut WriteTransaction, turns: &AtomicU64) -> Result<u64> {
        db.execute("INSERT INTO number (text) VALUES ('slow')", ())
            .await?;
        db.call(|c| {
            c.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(sleep_in_commit));
            Ok(())
        })
        .await?;
        Ok(turns.load(Ordering::Relaxed))
    }
}

fn sleep_in_commit(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event
        && sql.starts_with("COMMIT")
    {
        std::thread::sleep(Duration::from_millis(5));
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
            // It takes a few to notice.
            for _ in 0..5 {
                store.add_slowly(&AtomicU64::new(0)).await.unwrap();
            }
            let turns = Arc::new(AtomicU64::new(0));
            let other = tokio::spawn({
                let turns = Arc::clone(&turns);
                async move {
                    loop {
                        turns.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                }
            });
            let mut beside_commits = 0;
            for _ in 0..20 {
                let before = within(store.add_slowly(&turns)).await.unwrap();
                beside_commits += turns.load(Ordering::Relaxed) - before;
            }
            got_far((beside_commits, Ok(())), "commits of one task");
            let tasks: Vec<_> = (0..64)
                .map(|_| {
                    let (store, turns) = (Arc::clone(&store), Arc::clone(&turns));
                    tokio::spawn(async move { store.add_slowly(&turns).await })
                })
                .collect();
            let before = turns.load(Ordering::Relaxed);
            for task in tasks {
                within(task).await.unwrap().unwrap();
            }
            let beside = turns.load(Ordering::Relaxed) - before;
            got_far((beside, Ok(())), "commits of 64 tasks");
            other.abort();
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
