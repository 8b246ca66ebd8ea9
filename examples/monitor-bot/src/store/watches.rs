//! The processes that are watched on this machine.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::Result;

/// The most processes that are watched at a time.
const MOST: u32 = 50;

/// A watched process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// Since when.
    pub added_at: i64,
}

impl Store {
    /// Watches a process; false if it was watched already.
    #[database_safe]
    pub async fn add_watch(&self, db: &mut WriteTransaction, name: &str, at: i64) -> Result<bool> {
        let sql = "SELECT count(*) FROM watch WHERE host = ?1 AND name <> ?2";
        let count: u32 = db.query_one(sql, (self.host(), name)).await?;
        if count >= MOST {
            refuse!("No more than {MOST} processes can be watched.");
        }
        let sql = "INSERT INTO watch VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        Ok(db.execute(sql, (self.host(), name, at)).await? > 0)
    }

    /// Watches a process no longer; false if it was not watched.
    #[database_safe]
    pub async fn remove_watch(&self, db: &mut WriteTransaction, name: &str) -> Result<bool> {
        let sql = "DELETE FROM watch WHERE host = ?1 AND name = ?2";
        Ok(db.execute(sql, (self.host(), name)).await? > 0)
    }

    /// Everything that is watched, by name.
    #[database_safe]
    pub async fn watches(&self, db: &mut ReadTransaction) -> Result<Vec<Watch>> {
        let sql = "SELECT name, added_at FROM watch WHERE host = ?1 ORDER BY name";
        Ok(db.query(sql, (self.host(),)).await?)
    }
}
