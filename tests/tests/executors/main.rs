//! Executors whose wakers drop tasks, panic, and call back into the manager: whoever waits for whatever, nobody else is
//! harmed by them, and nobody waits for ever.

#![allow(clippy::unwrap_used, clippy::panic)]

mod hostile;
mod statements;
mod streams;
mod waits;
mod writer;

use std::sync::Arc;

use dbm_core::Durability;
use dbm_core::prelude::*;
use tokio::sync::Notify;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    /// Start-up waits for it.
    may_start: Option<Arc<Notify>>,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        if let Some(may_start) = &self.may_start {
            may_start.notified().await;
        }
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await
    }
}

impl Store {
    async fn new(config: Config) -> Arc<Self> {
        let make = |core| Self {
            core,
            may_start: None,
        };
        let config = config.durability(Durability::Off);
        Self::create_with(config, make).await.unwrap()
    }

    /// What no executor may break.
    async fn still_works(&self) {
        let before = self.count().await.unwrap();
        self.add(None).await.unwrap();
        assert_eq!(self.count().await.unwrap(), before + 1);
        self.close().await.unwrap();
        assert_eq!(self.status(), Status::Stopped);
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM number", ()).await
    }

    #[database_safe]
    async fn has(&self, db: &mut ReadTransaction, n: i64) -> Result<bool> {
        db.query_one("SELECT EXISTS (SELECT 1 FROM number WHERE n = ?1)", (n,))
            .await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: Option<i64>) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }

    /// Has a reader until the test lets go.
    #[database_safe]
    async fn hold_reader(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        let _: i64 = db.query_one("SELECT 1", ()).await?;
        inside.notify_one();
        release.notified().await;
        Ok(())
    }

    /// Has the writer until the test lets go.
    #[database_safe]
    async fn hold_writer(
        &self,
        _db: &mut WriteTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        inside.notify_one();
        release.notified().await;
        Ok(())
    }
}
