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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::Settings;

    /// A release of the past: its version, and how many steps it had taken.
    macro_rules! release {
        ($name:ident, $version:literal, $steps:literal) => {
            #[derive(DbManager)]
            #[db_manager(version = $version)]
            struct $name {
                core: ManagerCore,
            }

            impl Schema for $name {
                async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
                    db.execute_batch(FIRST).await?;
                    db.execute_batch("INSERT INTO sample VALUES (60, 1, 2, 3), (120, 4, 5, 6)")
                        .await?;
                    db.execute_batch("INSERT INTO process VALUES ('nginx')")
                        .await?;
                    for (_, step) in &STEPS[..$steps] {
                        db.execute_batch(step).await?;
                    }
                    Ok(())
                }

                async fn migrate_db(
                    &self,
                    _: &mut WriteTransaction,
                    _: &Version,
                    _: &Version,
                ) -> Result<bool> {
                    Ok(false)
                }
            }

            impl $name {
                /// Today's program on a database that this release has left.
                async fn migrated() -> (tempfile::TempDir, Arc<Store>) {
                    let folder = tempfile::tempdir().unwrap();
                    Self::create(Config::new(folder.path()))
                        .await
                        .unwrap()
                        .close()
                        .await
                        .unwrap();
                    let store = Store::open(Config::new(folder.path()), Settings::default().keep);
                    store.ensure_ready().await.unwrap();
                    (folder, store)
                }
            }
        };
    }
    release!(Release10, "1.0.0", 0);
    release!(Release11, "1.1.0", 1);
    release!(Release12, "1.2.0", 2);

    impl Store {
        #[database_safe]
        async fn tables(&self, db: &mut ReadTransaction) -> Result<Vec<(String, Option<String>)>> {
            db.query("SELECT name, sql FROM sqlite_schema ORDER BY name", ())
                .await
        }
    }

    #[tokio::test]
    async fn every_old_release_ends_like_a_new_database_and_keeps_its_data() {
        let new = Store::open(Config::in_memory(), Settings::default().keep);
        let expected = new.tables().await.unwrap();
        for (_folder, store) in [
            Release10::migrated().await,
            Release11::migrated().await,
            Release12::migrated().await,
        ] {
            assert_eq!(store.tables().await.unwrap(), expected);
            assert_eq!(store.last_sample().await.unwrap(), Some(120));
            let history = store
                .history(&"memory".parse().unwrap(), 0, 120, 2)
                .await
                .unwrap();
            assert_eq!(
                history.iter().map(|slot| slot.average).collect::<Vec<_>>(),
                [2.0, 5.0]
            );
            assert_eq!(store.watches().await.unwrap()[0].name, "nginx");
        }
    }

    async fn rules(store: &Store) -> Vec<String> {
        store
            .rules()
            .await
            .unwrap()
            .into_iter()
            .map(|rule| rule.text)
            .collect()
    }

    #[tokio::test]
    async fn the_default_rules_come_once() {
        let new = Store::open(Config::in_memory(), Settings::default().keep);
        assert_eq!(rules(&new).await, DEFAULTS);
        let (_folder, before_rules) = Release11::migrated().await;
        assert_eq!(rules(&before_rules).await, DEFAULTS);
        let (_folder, with_rules) = Release12::migrated().await;
        assert!(
            rules(&with_rules).await.is_empty(),
            "they may have been removed"
        );
    }
}
