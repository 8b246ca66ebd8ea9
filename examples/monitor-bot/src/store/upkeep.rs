//! Looking after the database itself.

use dbm_core::prelude::*;
use serde::Serialize;

use super::Store;

/// What the database says about itself.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// What it is of: SQLite or PostgreSQL.
    pub system: &'static str,
    /// The version of that.
    pub version: String,
    /// How large it is.
    pub bytes: u64,
    /// Single readings, those that were not rolled up.
    pub readings: u64,
}

const SQLITE: &str = sql!(
    "SELECT sqlite_version(), page_count * page_size FROM pragma_page_count, pragma_page_size"
);

/// The one statement that SQLite does not have.
const POSTGRESQL: &str =
    "SELECT current_setting('server_version'), pg_database_size(current_database())";

impl Store {
    /// What the database says about itself.
    #[database_safe]
    pub async fn facts(&self, db: &mut ReadTransaction) -> Result<Facts> {
        let (system, sql) = match self.is_shared() {
            true => ("PostgreSQL", POSTGRESQL),
            false => ("SQLite", SQLITE),
        };
        let (version, bytes) = db.query_one(sql, ()).await?;
        let readings = db.query_one("SELECT count(*) FROM reading", ()).await?;
        Ok(Facts {
            system,
            version,
            bytes,
            readings,
        })
    }
}
