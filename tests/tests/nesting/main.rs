//! Calls inside calls: they join the transaction that is running, or fail at once; they never wait for themselves.

#![allow(clippy::unwrap_used, clippy::panic)]

mod depth;
mod lifecycle;
mod others;
mod refused;
mod together;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Numbers.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    hook: Hook,
    seen: Mutex<Vec<String>>,
}

/// What the hooks do besides their work.
#[derive(Clone, Copy, Default)]
enum Hook {
    #[default]
    Nothing,
    CallUnmarked,
    CallMarked,
    WaitForOutsider,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await?;
        self.in_hook().await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        self.in_hook().await.map(|()| true)
    }
}

impl Store {
    async fn new() -> Arc<Self> {
        Self::create(Config::in_memory()).await.unwrap()
    }

    async fn impatient() -> Arc<Self> {
        Self::create(Config::in_memory().acquire_timeout(Duration::from_millis(300)))
            .await
            .unwrap()
    }

    async fn in_hook(&self) -> Result<()> {
        match self.hook {
            Hook::Nothing => {}
            Hook::CallUnmarked => {
                let error = self.add(1).await.unwrap_err();
                self.see(&error);
                let error = self.numbers().await.unwrap_err();
                self.see(&error);
            }
            Hook::CallMarked => {
                self.add_early(1).await?;
                assert!(self.add_early(1).await.is_err(), "undoes only itself");
                assert_eq!(self.numbers_early().await?, [1]);
                let version = self.get_version().await?;
                self.seen.lock().unwrap().push(version.to_string());
            }
            Hook::WaitForOutsider => tokio::task::yield_now().await,
        }
        Ok(())
    }

    fn see(&self, error: &Error) {
        self.seen.lock().unwrap().push(error.to_string());
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    #[during_init]
    async fn add_early(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    #[during_init]
    async fn numbers_early(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn add_and_fail(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Err(Error::other("as asked"))
    }
}

impl Store {
    #[database_safe]
    async fn outer(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        assert_eq!(self.middle().await, 22);
        db.execute("INSERT INTO number (n) VALUES (5)", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn middle(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        assert_eq!(self.inner().await, 22);
        assert_eq!(self.numbers().await?, [1, 2]);
        db.execute("INSERT INTO number (n) VALUES (4)", ()).await?;
        Ok(22)
    }

    #[database_safe]
    #[fail_value(22)]
    async fn inner(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        assert_eq!(self.numbers().await?, [1, 2, 3]);
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        Ok(-1)
    }
}
