//! The first steps: a table, a method that writes and a method that reads.
//!
//! ```sh
//! cargo run --example first_steps
//! ```

use dbm_core::prelude::*;
use serde::Deserialize;

/// A manager: it owns one SQLite file, and its methods are the only way to the data.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    /// Makes the tables of a new file. The next start finds them and skips this.
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
        )
        .await
    }
}

#[derive(Debug, Deserialize)]
struct User {
    id: i64,
    name: String,
}

impl Store {
    /// Has the write transaction. `Ok` commits it. An error, a panic or a dropped future rolls it back.
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        let sql = "INSERT INTO user (name) VALUES (?1) RETURNING id";
        db.query_one(sql, (name,)).await
    }

    /// Has a snapshot of the database. Many reads run at a time, beside the one writer.
    #[database_safe]
    async fn users(&self, db: &mut ReadTransaction) -> Result<Vec<User>> {
        db.query("SELECT id, name FROM user ORDER BY id", ()).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    // This database is gone at the end. `Config::new("data")` keeps one in data/database.db.
    let store = Store::create(Config::in_memory()).await?;

    // The caller passes no `db`: the attribute brings it.
    let ada = store.add("Ada").await?;
    let grace = store.add("Grace").await?;
    assert_eq!((ada, grace), (1, 2));

    // The name is taken. Whatever fails is rolled back before the caller knows.
    let taken = store.add("Ada").await;
    assert!(taken.is_err());

    let users = store.users().await?;
    assert_eq!(users.len(), 2);
    for User { id, name } in users {
        println!("{id}: {name}");
    }

    // Waits for calls that are still running, and closes the file.
    store.close().await
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<()> {
    main()
}
