//! Who may change something from elsewhere than this machine's own console.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::Result;

/// The most admins there are.
const MOST: u32 = 100;

/// Someone who may change something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admin {
    /// As the front end knows them: on Discord the number of the user.
    pub id: String,
    /// Since when.
    pub added_at: i64,
    /// By whom.
    pub added_by: String,
}

impl Store {
    /// Lets someone change things; false if they could already.
    #[database_safe]
    pub async fn add_admin(
        &self,
        db: &mut WriteTransaction,
        id: &str,
        by: &str,
        at: i64,
    ) -> Result<bool> {
        let sql = "SELECT count(*) FROM admin WHERE id <> ?1";
        let count: u32 = db.query_one(sql, (id,)).await?;
        if count >= MOST {
            refuse!("There can be no more than {MOST} admins.");
        }
        let sql = "INSERT INTO admin VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        Ok(db.execute(sql, (id, at, by)).await? > 0)
    }

    /// Lets them no longer; false if they could not.
    #[database_safe]
    pub async fn remove_admin(&self, db: &mut WriteTransaction, id: &str) -> Result<bool> {
        Ok(db.execute("DELETE FROM admin WHERE id = ?1", (id,)).await? > 0)
    }

    /// Everyone who may change something.
    #[database_safe]
    pub async fn admins(&self, db: &mut ReadTransaction) -> Result<Vec<Admin>> {
        Ok(db.query("SELECT * FROM admin ORDER BY id", ()).await?)
    }

    /// Whether someone may change something. Nobody may while the database does not answer.
    #[database_safe]
    #[fail_value(false)]
    pub async fn is_admin(&self, db: &mut ReadTransaction, id: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM admin WHERE id = ?1)";
        Ok(db.query_one(sql, (id,)).await?)
    }
}
