//! The bare connection: nothing that is set in it outlives the body.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::{EXECUTIONS, SETTINGS, Store};

// The bare connection.

impl Store {
    #[database_safe]
    async fn change_everything(&self, db: &mut Connection) -> Result<()> {
        for setting in SETTINGS {
            db.execute_batch(&format!("PRAGMA {setting}")).await?;
        }
        db.execute_batch(
            "PRAGMA query_only = 0; ATTACH ':memory:' AS other; CREATE TABLE other.t (x)",
        )
        .await?;
        db.execute_batch("CREATE TEMP TABLE temporary (x); INSERT INTO number VALUES (4)")
            .await?;
        db.call(|c| {
            c.busy_timeout(Duration::from_secs(3600))?;
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            c.commit_hook(Some(|| true))?;
            c.progress_handler(1, Some(|| false))?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn is_gone(&self, db: &mut WriteTransaction) -> Result<()> {
        assert!(db.execute("SELECT * FROM temporary", ()).await.is_err());
        assert!(db.execute("SELECT * FROM other.t", ()).await.is_err());
        assert!(db.execute("COMMIT", ()).await.is_err());
        Ok(())
    }

    #[database_safe]
    async fn use_everything(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("BEGIN; INSERT INTO number VALUES (5); COMMIT; VACUUM; ANALYZE; REINDEX")
            .await?;
        db.execute_batch("BEGIN; INSERT INTO number VALUES (6); ROLLBACK")
            .await?;
        let sql = "INSERT INTO number VALUES (?1) RETURNING n";
        assert_eq!(db.query_one::<i64>(sql, (7,)).await?, 7);
        let numbers: Vec<i64> = db.query("SELECT n FROM number ORDER BY n", ()).await?;
        assert_eq!(numbers, [1, 2, 3, 4, 5, 7]);
        Ok(())
    }

    #[database_safe]
    async fn leave_open(&self, db: &mut Connection, fail: bool) -> Result<()> {
        db.execute_batch("BEGIN; DELETE FROM number").await?;
        if fail {
            Err(Error::other("its own"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn leave_a_savepoint_open(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("SAVEPOINT x; DELETE FROM number").await
    }

    #[database_safe]
    async fn switch_the_journal(&self, db: &mut Connection) -> Result<()> {
        // Readers may be in the way of it; what counts is what comes after.
        let _ = db.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA locking_mode = EXCLUSIVE; DELETE FROM number WHERE n = 99").await;
        Ok(())
    }
}

#[test]
fn nothing_that_is_set_in_a_bare_connection_outlives_the_body() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let mut before = Vec::new();
            for setting in SETTINGS {
                before.push(
                    store
                        .setting(setting.split_once(" = ").unwrap().0)
                        .await
                        .ok(),
                );
            }
            store.change_everything().await.unwrap();
            for (setting, before) in SETTINGS.iter().zip(before) {
                assert_eq!(
                    store
                        .setting(setting.split_once(" = ").unwrap().0)
                        .await
                        .ok(),
                    before,
                    "{setting}"
                );
            }
            store.is_gone().await.unwrap();
            store.use_everything().await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4, 5, 7]);
            store.switch_the_journal().await.unwrap();
            store.add(8).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4, 5, 7, 8]);
            assert_eq!(
                store.setting("journal_mode").await.unwrap(),
                Value::Text("wal".to_owned())
            );
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn change_much_and_wait(&self, db: &mut Connection, changed: &Notify) -> Result<()> {
        db.execute_batch(
            "CREATE TEMP TABLE temporary (x); ATTACH ':memory:' AS other; CREATE TABLE other.t (x);
             PRAGMA foreign_keys = 0",
        )
        .await?;
        changed.notify_one();
        std::future::pending().await
    }
}

#[test]
fn nothing_that_is_set_in_a_bare_connection_outlives_a_call_that_is_dropped() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let changed = Notify::new();
            tokio::select! {
                result = store.change_much_and_wait(&changed) => panic!("{result:?}"),
                () = changed.notified() => {}
            }
            within(store.is_gone()).await.unwrap();
            let foreign_keys = store.setting("foreign_keys").await.unwrap();
            assert_eq!(foreign_keys, Value::Integer(1));
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_transaction_that_is_left_open_is_rolled_back_and_is_an_error() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let error = store.leave_open(false).await.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::TransactionLeftOpen {
                        method: "leave_open"
                    }
                ),
                "{error}"
            );
            assert_eq!(
                store.leave_open(true).await.unwrap_err().to_string(),
                "its own"
            );
            let error = store.leave_a_savepoint_open().await.unwrap_err();
            assert!(
                matches!(error, Error::TransactionLeftOpen { .. }),
                "{error}"
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.add(4).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn hold_connection(
        &self,
        db: &mut Connection,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        db.execute("INSERT INTO number VALUES (4)", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        Ok(())
    }
}

#[test]
fn a_bare_connection_has_the_writer_alone_and_leaves_the_readers_be() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold_connection(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut write = Box::pin(store.add(5));
        assert!(poll_once(&mut write).await.is_pending());
        assert_eq!(within(store.numbers()).await.unwrap(), [1, 2, 3, 4]);
        go_on.notify_one();
        hold.await.unwrap();
        within(write).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_busy_timeout_may_be_as_long_as_anybody_likes() {
    run(async {
        for execution in EXECUTIONS {
            let config = Config::in_memory()
                .execution(execution)
                .busy_timeout(Duration::MAX);
            let store = Store::create(config).await.unwrap();
            store.vacuum().await.unwrap();
            store.add(4).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }
}
