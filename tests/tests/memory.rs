//! What a manager keeps is bounded by bytes, and what it does not use is given back.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;

use dbm_core::prelude::*;
use dbm_tests::{open_files, run};
use tokio::task::JoinSet;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY)")
            .await
    }
}

impl Store {
    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }

    #[database_safe]
    async fn run_text(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute(sql, ()).await.map(drop)
    }

    #[database_safe]
    async fn slow(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 50000) SELECT count(*) FROM n",
            (),
        )
        .await
    }
}

/// Of this process, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// A text of about this many bytes, that is no other's.
fn text(number: usize, bytes: usize, verb: &str) -> String {
    let mut sql = format!("{verb} {number}");
    while sql.len() < bytes {
        sql.push_str(&format!(", {number}"));
    }
    sql + ")"
}

/// One test, for both count what the whole process has.
#[test]
fn changing_texts_keep_little_and_idle_managers_give_back_what_they_have() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let before = threads();
        let mut stores = Vec::new();
        for number in 0..20 {
            let config =
                Config::new(directory.path().join(number.to_string())).durability(Durability::Off);
            stores.push(Store::create(config).await.unwrap());
        }
        let few = memory();
        for (bytes, texts) in [(40_000, 300), (4_000, 600), (400, 600)] {
            for number in 0..texts {
                let read = text(number, bytes, "SELECT count(*) FROM number WHERE n IN (");
                stores[0].count(&read).await.unwrap();
                let write = text(number, bytes, "DELETE FROM number WHERE n IN (");
                stores[0].run_text(&write).await.unwrap();
            }
            let more = memory().saturating_sub(few);
            assert!(more < 32_000_000, "{more} bytes for texts of {bytes}");
        }

        // A burst: each uses all that it has.
        let mut burst = JoinSet::new();
        for store in &stores {
            for number in 0..12 {
                let store = std::sync::Arc::clone(store);
                burst.spawn(async move {
                    store.slow().await.unwrap();
                    let sql = format!("INSERT OR IGNORE INTO number VALUES ({number})");
                    // On a machine that has much else to do a call may stall the others.
                    while let Err(error) = store.run_text(&sql).await {
                        assert!(error.is_retryable(), "{error}");
                    }
                });
            }
        }
        burst.join_all().await;
        assert!(open_files(directory.path()).len() > 20 * 4);
        let at_rest = || open_files(directory.path()).is_empty() && threads() <= before + 2;
        dbm_tests::eventually(at_rest).await;

        for store in &stores {
            assert_eq!(
                store.count("SELECT count(*) FROM number").await.unwrap(),
                12
            );
            store
                .run_text("INSERT INTO number VALUES (99)")
                .await
                .unwrap();
            store.close().await.unwrap();
        }
        assert!(open_files(directory.path()).is_empty());
    });
}
