//! Transactions that SQLite ends by itself: the session is lost, nothing of it can be committed by accident, and
//! nothing is committed on the way without a transaction.

#![allow(clippy::unwrap_used, clippy::panic)]

mod full;
mod leaks;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use tokio::time::timeout;

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT;
             INSERT INTO number VALUES (0);
             CREATE TABLE guarded (n INTEGER) STRICT;
             CREATE TRIGGER guard BEFORE INSERT ON guarded WHEN new.n < 0
             BEGIN SELECT RAISE(ROLLBACK, 'negative'); END",
        )
        .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

const ADD: &str = "INSERT INTO number (n) VALUES (?1)";

const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1000 UNION ALL SELECT x + 1 FROM n)
     INSERT INTO number SELECT x FROM n";

/// How SQLite is made to end the transaction.
#[derive(Debug, Clone, Copy)]
enum Way {
    OrRollback,
    Trigger,
    Script,
    Closure,
    ClosureGoesOn,
    ClosurePanics,
    Inner,
    InnerDropped,
    InnerTimeout,
}

impl Way {
    /// Needs a thread on which the statement can be interrupted.
    fn interrupts(self) -> bool {
        matches!(self, Self::InnerDropped | Self::InnerTimeout)
    }
}

const OR_ROLLBACK: &str = "INSERT OR ROLLBACK INTO number (n) VALUES (0)";

impl Store {
    async fn new(execution: Execution) -> Arc<Self> {
        Self::create(Config::in_memory().execution(execution))
            .await
            .unwrap()
    }

    /// Ends the transaction around it, and keeps quiet about it.
    async fn end_the_transaction(&self, db: &mut WriteTransaction, way: Way) {
        match way {
            Way::OrRollback => assert!(db.execute(OR_ROLLBACK, ()).await.is_err()),
            Way::Trigger => assert!(
                db.execute("INSERT INTO guarded VALUES (-1)", ())
                    .await
                    .is_err()
            ),
            Way::Script => {
                let script = format!(
                    "INSERT INTO number VALUES (50); {OR_ROLLBACK}; INSERT INTO number VALUES (51)"
                );
                assert!(db.execute_batch(&script).await.is_err());
            }
            Way::Closure => {
                let ended = db.call(|c| Ok(c.execute(OR_ROLLBACK, ())?));
                assert!(ended.await.is_err());
            }
            Way::ClosureGoesOn => {
                let ended = db.call(|c| {
                    assert!(c.execute(OR_ROLLBACK, ()).is_err());
                    // None of these may get through.
                    let _ = c.execute(ADD, (60,));
                    let _ = c.execute("INSERT INTO number VALUES (61) RETURNING n", ());
                    let _ =
                        c.query_row("INSERT INTO number VALUES (62) RETURNING n", (), |_| Ok(()));
                    let _ = c.prepare_cached(ADD).and_then(|mut add| add.execute((63,)));
                    let _ = c.execute("DELETE FROM number", ());
                    let _ = c.execute_batch("CREATE TABLE leftover (n)");
                    let _ = c.execute_batch("DROP TABLE guarded");
                    let _ = c.execute_batch("BEGIN; INSERT INTO number VALUES (64); COMMIT");
                    let _ =
                        c.execute_batch("SAVEPOINT x; INSERT INTO number VALUES (65); RELEASE x");
                    let _ = c.pragma_update(None, "user_version", 77);
                    let _ = c.execute_batch("VACUUM");
                    let _ = c.execute_batch("PRAGMA journal_mode = DELETE");
                    Ok(())
                });
                assert!(
                    ended.await.is_err(),
                    "an error that a closure ignores is none the less one"
                );
            }
            Way::ClosurePanics => {
                let error = self.lose_by_a_panic().await.unwrap_err();
                assert!(
                    matches!(
                        error,
                        Error::Panicked { .. } | Error::TransactionLost { .. }
                    ),
                    "{error}"
                );
            }
            Way::Inner => assert!(self.lose_inside().await.is_err()),
            Way::InnerDropped => {
                let endless = timeout(Duration::from_millis(20), self.endless());
                assert!(endless.await.is_err());
            }
            Way::InnerTimeout => assert!(self.endless_with_timeout().await.is_err()),
        }
    }

    #[database_safe]
    #[fail_with_exception]
    async fn lose_by_a_panic(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            c.execute(OR_ROLLBACK, ()).map(drop).unwrap();
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn lose_inside(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ADD, (70,)).await?;
        let _ = db.execute(OR_ROLLBACK, ()).await;
        Ok(())
    }

    #[database_safe]
    async fn endless(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ENDLESS, ()).await.map(drop)
    }

    #[database_safe(timeout = "20ms")]
    async fn endless_with_timeout(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ENDLESS, ()).await.map(drop)
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    /// What a careless body does: it ignores the error and returns Ok.
    #[database_safe]
    async fn ignore(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        Ok(())
    }

    #[database_safe]
    async fn remove(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("DELETE FROM number WHERE n = ?1", (n,)).await?;
        Ok(())
    }
}
