//! The whole way once: start, init, write, read, nest, commit, close.

use crate::support::shared;
use dbm_core::prelude::*;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE account (id bigint PRIMARY KEY, name text NOT NULL UNIQUE, balance bigint NOT NULL CHECK (balance >= 0));
             CREATE TABLE note (text text); -- a comment at the end",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn open(&self, db: &mut WriteTransaction, id: i64, name: &str) -> Result<()> {
        let sql = "INSERT INTO account VALUES (?1, ?2, 0)";
        db.execute(sql, (id, name)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, id: i64, amount: i64) -> Result<i64> {
        let sql = "UPDATE account SET balance = balance + :amount WHERE id = :id RETURNING balance";
        db.query_one(sql, ((":id", id), (":amount", amount))).await
    }

    #[database_safe]
    async fn transfer(
        &self,
        _db: &mut WriteTransaction,
        from: i64,
        to: i64,
        amount: i64,
    ) -> Result<bool> {
        self.add(to, amount).await?;
        Ok(self.add(from, -amount).await.is_ok())
    }

    #[database_safe]
    async fn balances(&self, db: &mut ReadTransaction) -> Result<Vec<(String, i64)>> {
        db.query("SELECT name, balance FROM account ORDER BY id", ())
            .await
    }

    #[database_safe]
    async fn total(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT sum(balance) FROM account", ()).await
    }
}

#[tokio::test]
async fn a_manager_on_postgresql_starts_writes_nests_reads_and_closes() {
    let Some(server) = shared() else { return };
    let database = server.database();
    let config = || dbm_postgres::config(&database.description()).unwrap();
    let store = Store::create(config()).await.unwrap();
    store.open(1, "Ada").await.unwrap();
    store.open(2, "Bob").await.unwrap();
    assert!(
        store
            .open(3, "Ada")
            .await
            .unwrap_err()
            .is_unique_violation()
    );
    assert_eq!(store.add(1, 10).await.unwrap(), 10);
    assert!(store.transfer(1, 2, 4).await.unwrap());
    // The inner call fails and is undone by itself; the outer one goes on.
    assert!(!store.transfer(1, 2, 400).await.unwrap());
    let balances = store.balances().await.unwrap();
    assert_eq!(balances, [("Ada".to_owned(), 6), ("Bob".to_owned(), 404)]);
    assert_eq!(store.total().await.unwrap(), 410);
    store.close().await.unwrap();

    let store = Store::create(config()).await.unwrap();
    assert_eq!(store.total().await.unwrap(), 410);
    store.close().await.unwrap();
    assert_eq!(database.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbm' AND datname = current_database()"), "0");
}
