//! No worker is held for long: how far the rest of a runtime with one thread gets while the database is slow.

#![allow(clippy::unwrap_used, clippy::panic)]

mod commits;
mod statements;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dbm_core::prelude::*;
use dbm_tests::within;

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
    async fn fill(&self, db: &mut WriteTransaction, rows: i64) -> Result<usize> {
        db.execute(FILL, (rows,)).await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction) -> Result<usize> {
        db.execute("INSERT INTO number (text) VALUES ('x')", ())
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
const MANY: u64 = 20;

#[track_caller]
fn got_far((turns, result): (u64, Result<()>), beside: &str) {
    got_as_far_as(MANY, (turns, result), beside);
}

#[track_caller]
fn got_as_far_as(many: u64, (turns, result): (u64, Result<()>), beside: &str) {
    result.unwrap();
    assert!(turns >= many, "{turns} turns beside {beside}");
}
