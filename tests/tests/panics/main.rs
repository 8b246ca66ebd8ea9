//! Panics: wherever one happens, the call is undone and the next one finds everything in order.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bodies;
mod callers;
mod drops;
mod hooks;

use std::sync::atomic::{AtomicI64, Ordering};

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::within;

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

const ADD: &str = "INSERT INTO number (n) VALUES (?1)";

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as asked");
        }
    }
}

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }
}

fn next() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The next write and read find everything in order, and nothing of the panicking call is there.
async fn in_order(store: &Store, expected: &mut Vec<i64>, name: &str) {
    let n = next();
    within(store.add(n))
        .await
        .unwrap_or_else(|error| panic!("after {name}: {error}"));
    expected.push(n);
    assert_eq!(
        within(store.numbers()).await.unwrap(),
        *expected,
        "after {name}"
    );
}
