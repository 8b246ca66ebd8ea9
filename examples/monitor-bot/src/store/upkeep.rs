//! Looking after the database file itself.

use dbm_core::prelude::*;
use serde::Serialize;

use super::Store;

/// What the file says about itself.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The version of SQLite.
    pub sqlite: String,
    /// Pages times their size.
    pub bytes: u64,
    /// Single readings, those that were not rolled up.
    pub readings: u64,
}

impl Store {
    /// What the file says about itself.
    #[database_safe]
    pub async fn facts(&self, db: &mut ReadTransaction) -> Result<Facts> {
        let (sqlite, pages, size): (String, u64, u64) = db
            .query_one("SELECT sqlite_version(), page_count, page_size FROM pragma_page_count, pragma_page_size", ())
            .await?;
        let readings = db.query_one("SELECT count(*) FROM reading", ()).await?;
        Ok(Facts {
            sqlite,
            bytes: pages * size,
            readings,
        })
    }
}
