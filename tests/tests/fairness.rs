//! Everybody gets a turn: writers in their order, readers beside them, and the log can shrink between them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbm_core::Durability;
use dbm_core::prelude::*;
use dbm_tests::{run, waits, within};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinSet, yield_now};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Queue {
    core: ManagerCore,
    arrived: Notify,
    go_on: Notify,
}

impl Schema for Queue {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE entry (number INTEGER PRIMARY KEY AUTOINCREMENT, value INTEGER, padding BLOB)")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Queue {
    #[database_safe]
    async fn push(&self, db: &mut WriteTransaction, value: i64) -> Result<()> {
        db.execute("INSERT INTO entry (value) VALUES (?1)", (value,))
            .await?;
        Ok(())
    }

    /// Writes the same few pages again and again, so that only the log grows.
    #[database_safe]
    async fn rewrite(&self, db: &mut WriteTransaction, size: i64) -> Result<()> {
        db.execute(
            "INSERT OR REPLACE INTO entry VALUES (1, 0, randomblob(?1))",
            (size,),
        )
        .await?;
        Ok(())
    }

    #[database_safe]
    async fn fill_the_log(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("REPLACE INTO entry VALUES (1, 0, zeroblob(40000000))")
            .await
    }

    #[database_safe]
    async fn hold(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.arrived.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn values(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT value FROM entry ORDER BY number", ())
            .await
    }

    /// Keeps a snapshot from `began` until `end`.
    #[database_safe]
    async fn read_long(
        &self,
        db: &mut ReadTransaction,
        began: oneshot::Sender<()>,
        end: oneshot::Receiver<()>,
    ) -> Result<()> {
        let _: i64 = db.query_one("SELECT count(*) FROM entry", ()).await?;
        let _ = began.send(());
        let _ = end.await;
        Ok(())
    }
}

#[test]
fn a_thousand_writers_are_served_in_their_order() {
    run(async {
        let queue = Queue::create(Config::in_memory()).await.unwrap();
        let mut calls = JoinSet::new();
        let holding = Arc::clone(&queue);
        calls.spawn(async move { holding.hold().await });
        within(queue.arrived.notified()).await;
        for value in 0..1_000 {
            let queue = Arc::clone(&queue);
            let (sender, is_queued) = oneshot::channel();
            calls.spawn(async move {
                let mut push = Box::pin(queue.push(value));
                assert!(waits(&mut push).await);
                let _ = sender.send(());
                push.await
            });
            is_queued.await.unwrap();
        }
        queue.go_on.notify_one();
        while let Some(result) = within(calls.join_next()).await {
            result.unwrap().unwrap();
        }
        assert_eq!(
            queue.values().await.unwrap(),
            (0..1_000).collect::<Vec<_>>()
        );
        queue.close().await.unwrap();
    });
}

#[test]
fn readers_and_writers_starve_nobody() {
    run(async {
        let queue = Queue::create(Config::in_memory()).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut busy = JoinSet::new();
        for worker in 0..20 {
            let (queue, stop) = (Arc::clone(&queue), Arc::clone(&stop));
            busy.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if worker % 2 == 0 {
                        queue.values().await.unwrap();
                    } else {
                        queue.rewrite(10).await.unwrap();
                    }
                    yield_now().await;
                }
            });
        }
        for value in 0..100 {
            within(queue.push(value)).await.unwrap();
            assert!(
                within(queue.values()).await.unwrap().contains(&value),
                "it sees what was acknowledged"
            );
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(worker) = within(busy.join_next()).await {
            worker.unwrap();
        }
        queue.close().await.unwrap();
    });
}

#[test]
fn the_log_stays_bounded_though_there_is_always_a_reader() {
    run(async {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("database.db-wal");
        let queue = Queue::create(Config::new(directory.path()).durability(Durability::Off))
            .await
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn({
            let (queue, stop) = (Arc::clone(&queue), Arc::clone(&stop));
            async move {
                let (mut readers, mut last) = (JoinSet::new(), None);
                while !stop.load(Ordering::Relaxed) {
                    // The next one begins before the one before it ends.
                    let ((began, has_begun), (end, is_over)) =
                        (oneshot::channel(), oneshot::channel());
                    let queue = Arc::clone(&queue);
                    readers.spawn(async move { queue.read_long(began, is_over).await });
                    within(has_begun).await.unwrap();
                    drop(last.replace(end));
                    while let Some(result) = readers.try_join_next() {
                        result.unwrap().unwrap();
                    }
                }
            }
        });
        let mut largest = 0;
        for _ in 0..300 {
            within(queue.rewrite(500_000)).await.unwrap();
            largest = largest.max(fs::metadata(&log).unwrap().len());
        }
        stop.store(true, Ordering::Relaxed);
        within(reading).await.unwrap();
        assert!(
            largest < 80_000_000,
            "150 MB were written, the log grew to {largest} bytes"
        );
        queue.close().await.unwrap();
        assert!(!log.exists());
    });
}

#[test]
fn the_disk_gets_back_what_the_log_took_during_a_long_read() {
    run(async {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("database.db-wal");
        let size = || fs::metadata(&log).unwrap().len();
        let queue = Queue::create(Config::new(directory.path()).durability(Durability::Off))
            .await
            .unwrap();
        let ((began, has_begun), (end, is_over)) = (oneshot::channel(), oneshot::channel());
        let reader = Arc::clone(&queue);
        let reading = tokio::spawn(async move { reader.read_long(began, is_over).await });
        within(has_begun).await.unwrap();
        while size() < 50_000_000 {
            within(queue.rewrite(1_000_000)).await.unwrap();
        }
        drop(end);
        within(reading).await.unwrap().unwrap();
        within(async {
            while size() > 40_000_000 {
                queue.rewrite(100_000).await.unwrap();
            }
        })
        .await;
        queue.close().await.unwrap();
    });
}

#[test]
fn a_read_is_ended_for_its_age_when_the_log_is_large_and_not_before() {
    run(async {
        for (age, is_old) in [(Duration::ZERO, true), (Duration::from_secs(3600), false)] {
            let config = Config::in_memory().max_read_age(age);
            let queue = Queue::create(config).await.unwrap();
            let ((began, has_begun), (end, is_over)) = (oneshot::channel(), oneshot::channel());
            let reading = tokio::spawn({
                let queue = Arc::clone(&queue);
                async move { queue.read_long(began, is_over).await }
            });
            within(has_begun).await.unwrap();
            queue.fill_the_log().await.unwrap();
            // It waits until the log was to be emptied.
            queue.push(2).await.unwrap();
            drop(end);
            match within(reading).await.unwrap() {
                Err(Error::TransactionLost { .. }) if is_old => {}
                Ok(()) if !is_old => {}
                other => panic!("{age:?}: {other:?}"),
            }
            queue.close().await.unwrap();
        }
    });
}
