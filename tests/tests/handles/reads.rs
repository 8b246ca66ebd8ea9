//! A reader sees one snapshot and cannot write by any text.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{run, within};
use tokio::sync::Notify;

use super::{CONTROL, EXECUTIONS, Store, try_all};

// Reads.

const WRITES: [&str; 21] = [
    "INSERT INTO number VALUES (10)",
    "INSERT OR IGNORE INTO number VALUES (10)",
    "INSERT OR ROLLBACK INTO number VALUES (1)",
    "REPLACE INTO number VALUES (1)",
    "UPDATE number SET n = n + 10",
    "DELETE FROM number",
    "INSERT INTO number VALUES (11) RETURNING n",
    "DELETE FROM number RETURNING n",
    "WITH x(n) AS (VALUES (12)) INSERT INTO number SELECT n FROM x RETURNING n",
    "CREATE TABLE t (x)",
    "CREATE TEMP TABLE t (x)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "DROP TABLE number",
    "ALTER TABLE number RENAME TO other",
    "CREATE INDEX i ON number (n)",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "/* harmless */ \u{feff}-- really\n INSERT INTO number VALUES (10)",
];

impl Store {
    #[database_safe]
    async fn try_to_write(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        for sql in WRITES.into_iter().chain(CONTROL) {
            assert_eq!(try_all(db, sql).await, [false; 7], "{sql}");
            let rows: Vec<i64> = db.query("SELECT n FROM number ORDER BY n", ()).await?;
            assert_eq!(rows, [1, 2, 3], "{sql}");
        }
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn try_to_write_inside(&self, _db: &mut WriteTransaction) -> Result<Vec<i64>> {
        self.try_to_write().await
    }
}

#[test]
fn a_reader_cannot_write_by_any_text() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(1))
                .await
                .unwrap();
            for _ in 0..3 {
                assert_eq!(store.try_to_write().await.unwrap(), [1, 2, 3]);
            }
            assert_eq!(
                store.try_to_write_inside().await.unwrap(),
                [1, 2, 3],
                "and no more inside a write"
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.add(4).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn read_twice(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<[Vec<i64>; 2]> {
        let first = db.query("SELECT n FROM number ORDER BY n", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        Ok([
            first,
            db.query("SELECT n FROM number ORDER BY n", ()).await?,
        ])
    }

    #[database_safe]
    async fn read_late(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<Vec<i64>> {
        inside.notify_one();
        go_on.notified().await;
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }
}

#[test]
fn a_read_sees_one_snapshot_taken_when_the_call_began() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let (inside, go_on) = (Notify::new(), Notify::new());
            let ((), twice) = tokio::join!(
                async {
                    inside.notified().await;
                    store.add(4).await.unwrap();
                    go_on.notify_one();
                },
                store.read_twice(&inside, &go_on)
            );
            assert_eq!(twice.unwrap(), [[1, 2, 3], [1, 2, 3]]);
            let ((), late) = tokio::join!(
                async {
                    inside.notified().await;
                    store.add(5).await.unwrap();
                    go_on.notify_one();
                },
                store.read_late(&inside, &go_on)
            );
            assert_eq!(
                late.unwrap(),
                [1, 2, 3, 4],
                "also when its first statement comes later"
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4, 5]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_read_runs_beside_a_writer_and_sees_what_was_committed() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let (inside, go_on) = (Notify::new(), Notify::new());
            let mut hold = Box::pin(store.hold(4, &inside, &go_on));
            tokio::select! {
                result = &mut hold => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            assert_eq!(within(store.numbers()).await.unwrap(), [1, 2, 3]);
            go_on.notify_one();
            hold.await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_read_sees_what_another_process_has_committed_before() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(2))
                .await
                .unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let company = (0..8).map(|_| {
                let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        store.numbers().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            });
            let company: Vec<_> = company.collect();
            let path = store.path().unwrap().to_owned();
            let (committed, mut seen) = tokio::sync::mpsc::unbounded_channel();
            // A connection of its own, as another process has it.
            let other = tokio::task::spawn_blocking(move || {
                let other = rusqlite::Connection::open(path).unwrap();
                for n in 1_000..1_200 {
                    other
                        .execute("INSERT INTO number VALUES (?1)", [n])
                        .unwrap();
                    committed.send(n).unwrap();
                }
            });
            while let Some(n) = seen.recv().await {
                assert!(
                    within(store.numbers()).await.unwrap().contains(&n),
                    "{n} is committed and not seen"
                );
            }
            within(other).await.unwrap();
            stop.store(true, Ordering::Relaxed);
            for reader in company {
                within(reader).await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn settings(&self, db: &mut ReadTransaction) -> Result<(String, i64)> {
        let mode = db.query_one("PRAGMA journal_mode", ()).await?;
        Ok((mode, db.query_one(" pragma query_only", ()).await?))
    }

    #[database_safe]
    async fn settings_inside(&self, _: &mut WriteTransaction) -> Result<(String, i64)> {
        self.settings().await
    }
}

/// SQLite counts some of these questions as writes.
#[test]
fn a_reader_may_ask_for_a_setting() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let (mode, query_only) = store.settings().await.unwrap();
            assert_eq!((&*mode, query_only), ("wal", 1));
            assert_eq!(store.settings_inside().await.unwrap().0, "wal");
            store.close().await.unwrap();
        }
    });
}

/// A task that has done much must let others run before it goes on, and takes nothing with it that they may need.
#[test]
fn a_call_that_has_to_let_others_run_waits_without_a_connection() {
    run(async {
        let config = Config::in_memory().execution(Execution::Inline).readers(1);
        let store = Store::create(config).await.unwrap();
        store.numbers().await.unwrap();
        let mut waited = false;
        for spent in 0..200 {
            let mut call = pin!(store.numbers());
            let polled = poll_fn(|context| {
                for _ in 0..spent {
                    let _ = pin!(tokio::task::coop::consume_budget()).poll(context);
                }
                Poll::Ready(call.as_mut().poll(context))
            });
            if polled.await.is_pending() {
                waited = true;
                within(store.numbers()).await.unwrap();
                within(call).await.unwrap();
            }
        }
        assert!(waited);
    });
}
