//! What a manager keeps between calls that come seldom. A program of its own: that depends on how many managers the process
//! has.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{eventually, run};
use tokio::task::JoinSet;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER)").await
    }
}

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (1)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM number", ()).await
    }

    #[database_safe]
    async fn slow(&self, db: &mut ReadTransaction) -> Result<i64> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300000)
                   SELECT count(*) FROM n";
        db.query_one(sql, ()).await
    }
}

#[test]
fn the_writer_and_a_reader_stay_open_without_a_thread_unless_there_are_many_managers() {
    run(async {
        let config = Config::in_memory().execution(Execution::Offload).readers(4);
        let store = Store::create(config).await.unwrap();
        store.add().await.unwrap();
        let mut burst = JoinSet::new();
        for _ in 0..8 {
            let store = Arc::clone(&store);
            burst.spawn(async move { store.slow().await.unwrap() });
        }
        burst.join_all().await;
        let metrics = store.metrics();
        assert!(
            metrics.connections > 2 && metrics.threads > 2,
            "{metrics:?}"
        );

        let has = |connections, threads| {
            let metrics = store.metrics();
            metrics.connections <= connections && metrics.threads <= threads
        };
        eventually(|| has(2, 0)).await;
        assert_eq!(store.metrics().connections, 2, "they stay");
        store.add().await.unwrap();
        assert_eq!(store.count().await.unwrap(), 2);
        assert_eq!(store.metrics().connections, 2, "and serve the next calls");
        eventually(|| has(2, 0)).await;
        assert_eq!(store.metrics().connections, 2);

        let mut others = Vec::new();
        for _ in 0..16 {
            others.push(Store::create(Config::in_memory()).await.unwrap());
        }
        eventually(|| has(0, 0)).await;
        assert_eq!(store.count().await.unwrap(), 2);
    });
}
