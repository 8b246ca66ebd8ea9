//! The tables, as a walk through their history: a new database takes the same steps as an old one, so that
//! both end alike.

use dbm_core::prelude::*;

use super::Store;

const FIRST: &str = include_str!("schema/1.0.0.sql");

/// Every later version, with what leads to it.
const STEPS: [(Version, &str); 1] = [(Version::new(1, 1, 0), include_str!("schema/1.1.0.sql"))];

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(FIRST).await?;
        self.walk(db, &Version::new(1, 0, 0)).await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        current: &Version,
        _target: &Version,
    ) -> Result<bool> {
        self.walk(db, current).await?;
        Ok(true)
    }
}

impl Store {
    async fn walk(&self, db: &mut WriteTransaction, current: &Version) -> Result<()> {
        for (_, step) in STEPS.iter().filter(|(version, _)| current < version) {
            db.execute_batch(step).await?;
        }
        Ok(())
    }
}
