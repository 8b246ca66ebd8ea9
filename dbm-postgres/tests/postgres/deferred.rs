//! A constraint that fails only at COMMIT, among calls that share transactions.

use std::sync::Arc;

use crate::support::{Database, shared};
use crate::within;
use dbm_core::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::Notify;

const LATE: &str = "CREATE TABLE late (id bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)";

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    entered: Notify,
    go_on: Notify,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY)")
            .await
    }
}

impl Store {
    #[database_safe]
    async fn run(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute(sql, ()).await.map(drop)
    }

    #[database_safe]
    async fn run_script(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn run_on_a_connection(&self, db: &mut Connection, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn run_and_hold(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await?;
        self.entered.notify_one();
        self.go_on.notified().await;
        Ok(())
    }
}

async fn store(database: &Database<'_>) -> Arc<Store> {
    let config = dbm_postgres::config(&database.description()).unwrap();
    let make = |core| Store {
        core,
        entered: Notify::new(),
        go_on: Notify::new(),
    };
    Store::create_with(config, make).await.unwrap()
}

/// One call runs this and holds the turn, while two others wait for it that could share its transaction. The last one breaks the
/// constraint.
async fn break_it_beside_others(store: &Arc<Store>, first: &'static str) {
    let holder = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.run_and_hold(first).await }
    });
    store.entered.notified().await;
    let mut second = Box::pin(store.run("INSERT INTO item VALUES (2)"));
    let mut third = Box::pin(store.run("INSERT INTO late VALUES (1), (1)"));
    // Both wait now, in this order.
    assert!((&mut second).now_or_never().is_none());
    assert!((&mut third).now_or_never().is_none());
    store.go_on.notify_one();
    let (first, second, third) = tokio::join!(holder, second, third);
    first.unwrap().unwrap();
    second.unwrap();
    assert_eq!(third.unwrap_err().server_state(), Some("23505"));
}

#[tokio::test]
async fn a_constraint_that_fails_at_commit_fails_only_the_call_that_has_broken_it() {
    let Some(server) = shared() else { return };
    within(async {
        for way in ["a statement", "a script", "a connection"] {
            println!("made by {way}");
            let database = server.database();
            let store = store(&database).await;
            match way {
                "a statement" => store.run(LATE).await.unwrap(),
                "a script" => store.run_script(LATE).await.unwrap(),
                _ => store.run_on_a_connection(LATE).await.unwrap(),
            }
            break_it_beside_others(&store, "INSERT INTO item VALUES (1)").await;
            assert_eq!(database.ask("SELECT count(*) FROM item"), "2");
            store.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_that_makes_such_a_constraint_shares_its_transaction_with_nobody_who_comes_after_it()
{
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let store = store(&database).await;
        break_it_beside_others(&store, LATE).await;
        assert_eq!(database.ask("SELECT count(*) FROM item"), "1");
        store.close().await.unwrap();
    })
    .await;
}
