//! A program that calls dbm-core `db`; the one line below is all it takes.

extern crate db as dbm_core;

use db::prelude::*;

/// A manager.
#[derive(Debug, DbManager)]
#[db_manager(version = "1.0.0")]
pub struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Store {
    /// Adds a user.
    ///
    /// # Errors
    ///
    /// Whatever the database says.
    #[database_safe]
    pub async fn add(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        db.query_one("INSERT INTO user (name) VALUES (?1) RETURNING id", (name,))
            .await
    }

    /// The name of a user, or nothing.
    #[timed]
    #[required_argument(id)]
    #[fail_value(None)]
    #[db::database_safe(timeout = "5s")]
    pub async fn name(&self, db: &mut ReadTransaction, id: Option<i64>) -> Result<Option<String>> {
        db.query_optional("SELECT name FROM user WHERE id = ?1", (id,))
            .await
    }
}
