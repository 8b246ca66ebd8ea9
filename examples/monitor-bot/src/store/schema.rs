//! The tables, as a walk through their history: a new database takes the same steps as an old one, so that
//! both end alike.

use dbm_core::prelude::*;

use super::Store;
use crate::rules::{DEFAULTS, Rule};

/// What the first release made.
pub const FIRST: &str = include_str!("schema/1.0.0.sql");

/// Every later version, with what leads to it.
const STEPS: [(Version, &str); 3] = [
    (Version::new(1, 1, 0), include_str!("schema/1.1.0.sql")),
    (Version::new(1, 2, 0), include_str!("schema/1.2.0.sql")),
    (Version::new(1, 3, 0), include_str!("schema/1.3.0.sql")),
];

/// The version that brought rules.
const RULES: Version = Version::new(1, 2, 0);

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
        if *current < RULES {
            let now = db.query_one("SELECT unixepoch()", ()).await?;
            for text in DEFAULTS {
                let rule: Rule = text.parse().map_err(Error::other)?;
                self.add_rule(&rule, "default", now)
                    .await
                    .map_err(Error::other)?;
            }
        }
        Ok(())
    }
}
