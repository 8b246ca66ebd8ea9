//! Looking after the database file itself.

use std::path::Path;

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
    /// Stored values.
    pub samples: u64,
}

impl Store {
    /// What the file says about itself.
    #[database_safe]
    pub async fn facts(&self, db: &mut ReadTransaction) -> Result<Facts> {
        let (sqlite, pages, size): (String, u64, u64) = db
            .query_one("SELECT sqlite_version(), page_count, page_size FROM pragma_page_count, pragma_page_size", ())
            .await?;
        let samples = db.query_one("SELECT count(*) FROM sample", ()).await?;
        Ok(Facts {
            sqlite,
            bytes: pages * size,
            samples,
        })
    }

    /// Looks at every page and every reference; what is wrong, or nothing.
    #[database_safe(timeout = "60s")]
    pub async fn check(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        let mut faults: Vec<String> = db
            .query("SELECT integrity_check FROM pragma_integrity_check", ())
            .await?;
        faults.retain(|line| line != "ok");
        let dangling = db
            .query_map("PRAGMA foreign_key_check", (), |row| row.get::<String>(0))
            .await?;
        faults.extend(
            dangling
                .into_iter()
                .map(|table| format!("a row of {table} refers to nothing")),
        );
        Ok(faults)
    }

    /// Copies the whole database into a new file.
    #[database_safe(timeout = "60s")]
    #[timed]
    pub async fn backup(&self, db: &mut Connection, file: &Path) -> Result<()> {
        db.execute("VACUUM INTO ?1", (file.to_string_lossy(),))
            .await?;
        Ok(())
    }
}
