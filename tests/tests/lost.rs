//! Transactions that SQLite ends by itself: the session is lost, nothing of it can be committed by accident, and
//! nothing is committed on the way without a transaction.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Moment, cut, run, within};
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

const WAYS: [Way; 9] = [
    Way::OrRollback,
    Way::Trigger,
    Way::Script,
    Way::Closure,
    Way::ClosureGoesOn,
    Way::ClosurePanics,
    Way::Inner,
    Way::InnerDropped,
    Way::InnerTimeout,
];

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

    #[database_safe]
    async fn tables(&self, db: &mut ReadTransaction) -> Result<(i64, i64, String)> {
        db.query_one(
            "SELECT (SELECT count(*) FROM sqlite_schema WHERE name IN ('leftover', 'guarded')),
                 (SELECT user_version FROM pragma_user_version), (SELECT journal_mode FROM pragma_journal_mode)",
            (),
        )
        .await
    }

    /// What a careless body does: it ignores the error and returns Ok.
    #[database_safe]
    async fn ignore(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        Ok(())
    }

    #[database_safe]
    async fn go_on(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        let errors = [
            db.execute(ADD, (2,)).await.unwrap_err(),
            db.execute_batch("INSERT INTO number VALUES (3)")
                .await
                .unwrap_err(),
            db.query::<i64>("SELECT n FROM number", ())
                .await
                .unwrap_err(),
            db.query_map("SELECT n FROM number", (), |_| Ok(()))
                .await
                .unwrap_err(),
            db.call(|c| Ok(c.execute(ADD, (4,))?)).await.unwrap_err(),
            self.add(5).await.unwrap_err(),
            self.numbers().await.unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error, Error::TransactionLost { .. }),
                "{way:?}: {error}"
            );
        }
        Ok(())
    }

    #[database_safe]
    async fn outermost(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (8,)).await?;
        self.between(way).await;
        Ok(())
    }

    #[database_safe]
    #[fail_value(())]
    async fn between(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (9,)).await?;
        self.ignore(way).await
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn with_a_value(&self, db: &mut WriteTransaction, way: Way) -> Result<i64> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        Ok(1)
    }
}

type Call = for<'a> fn(&'a Store, Way) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

async fn everywhere(name: &str, call: Call) {
    for execution in EXECUTIONS {
        let store = Store::new(execution).await;
        for way in WAYS {
            if way.interrupts() && execution == Execution::Inline {
                continue;
            }
            for _ in 0..2 {
                let error = within(call(&store, way)).await.unwrap_err();
                assert!(
                    matches!(error, Error::TransactionLost { .. }),
                    "{name} {way:?}: {error}"
                );
                assert_eq!(store.numbers().await.unwrap(), [0], "{name} {way:?}");
                assert_eq!(
                    store.tables().await.unwrap(),
                    (1, 0, "wal".to_owned()),
                    "{name} {way:?}"
                );
            }
            within(store.add(100)).await.unwrap();
            within(store.remove(100)).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

impl Store {
    #[database_safe]
    async fn remove(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("DELETE FROM number WHERE n = ?1", (n,)).await?;
        Ok(())
    }
}

#[test]
fn a_body_that_ignores_the_end_of_its_transaction_cannot_return_ok() {
    run(everywhere("ignore", |store, way| {
        Box::pin(store.ignore(way))
    }));
}

#[test]
fn every_later_statement_fails_and_nothing_is_committed_without_a_transaction() {
    run(everywhere("go_on", |store, way| Box::pin(store.go_on(way))));
}

#[test]
fn the_outermost_call_cannot_return_ok_when_an_inner_one_has_lost_the_transaction() {
    run(everywhere("outermost", |store, way| {
        Box::pin(store.outermost(way))
    }));
}

#[test]
fn a_lost_transaction_is_a_failure_for_every_policy() {
    run(async {
        for way in WAYS {
            let store = Store::new(Execution::Auto).await;
            assert_eq!(within(store.with_a_value(way)).await, -1, "{way:?}");
            assert_eq!(store.numbers().await.unwrap(), [0]);
            store.close().await.unwrap();
        }
    });
}

/// The cause can be found.
#[test]
fn the_error_carries_what_made_sqlite_roll_back() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let error = store.ignore(Way::OrRollback).await.unwrap_err();
        assert_eq!(
            error.sqlite_code(),
            Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
            "{error}"
        );
        let error = store.ignore(Way::Trigger).await.unwrap_err();
        assert!(error.to_string().contains("negative"), "{error}");
        assert!(!error.is_retryable());
        store.close().await.unwrap();
    });
}

// A full disk.

impl Store {
    #[database_safe]
    async fn add_much(&self, db: &mut WriteTransaction, ignore: bool) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        // More than the page cache holds, so that pages are written before the commit.
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 400000)
             INSERT INTO number SELECT 1000 + x FROM n";
        let result = db.execute(sql, ()).await;
        if ignore {
            let _ = result;
            let _ = db.execute(ADD, (2,)).await;
            return Ok(());
        }
        result.map(drop)
    }
}

/// Puts the device that is always full in the place of the log; not everybody may.
fn make_full(log: &Path) -> bool {
    let made = std::process::Command::new("mknod")
        .arg(log)
        .args(["c", "1", "7"])
        .output();
    made.is_ok_and(|made| made.status.success()) && std::fs::write(log, "x").is_err()
}

#[test]
fn a_full_disk_loses_the_transaction_and_the_next_start_finds_the_old_rows() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let store = Store::create(config.clone()).await.unwrap();
        store.add(7).await.unwrap();
        let log = store.path().unwrap().with_file_name("database.db-wal");
        store.close().await.unwrap();
        if !make_full(&log) {
            return eprintln!("skipped: no device that is always full can be made here");
        }

        let store = Store::create(config.clone()).await.unwrap();
        for ignore in [true, false] {
            let error = within(store.add_much(ignore)).await.unwrap_err();
            assert_eq!(
                error.sqlite_code().map(|code| code & 0xff),
                Some(rusqlite::ffi::SQLITE_FULL),
                "{error}"
            );
            assert!(
                !ignore || matches!(error, Error::TransactionLost { .. }),
                "{error}"
            );
        }
        for n in 10..20 {
            let error = within(store.add(n)).await.unwrap_err();
            assert_eq!(
                error.sqlite_code().map(|code| code & 0xff),
                Some(rusqlite::ffi::SQLITE_FULL),
                "{error}"
            );
        }
        let waiting: Vec<_> = (20..40)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.add(n).await })
            })
            .collect();
        for told in waiting {
            within(told).await.unwrap().unwrap_err();
        }
        within(store.close()).await.unwrap();
        let _ = std::fs::remove_file(&log);
        let store = Store::create(config).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [0, 7]);
        store.add(8).await.unwrap();
        store.close().await.unwrap();
    });
}

// Statements that a closure leaves behind.

impl Store {
    #[database_safe]
    async fn leave_rows_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn leave_rows_of_a_write_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| leak_rows(c, "INSERT INTO number VALUES (2), (3) RETURNING n"))
            .await
    }

    #[database_safe]
    async fn leave_rows_open_after_the_end(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            assert!(c.execute(OR_ROLLBACK, ()).is_err());
            leak_rows(c, "INSERT INTO number VALUES (4), (5) RETURNING n")
        })
        .await
    }

    #[database_safe]
    async fn leave_rows_of_a_read_open(&self, db: &mut ReadTransaction) -> Result<()> {
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn leave_rows_of_an_inner_read_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ADD, (6,)).await?;
        self.leave_rows_of_a_read_open().await
    }

    #[database_safe]
    async fn leave_rows_of_a_connection_open(&self, db: &mut Connection) -> Result<()> {
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn change_all(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE t (x); DROP TABLE t").await
    }
}

/// Begins to read and never ends.
fn leak_rows(connection: &rusqlite::Connection, sql: &str) -> Result<()> {
    let mut statement = std::mem::ManuallyDrop::new(connection.prepare(sql)?);
    let mut rows = std::mem::ManuallyDrop::new(statement.query(())?);
    rows.next()?;
    Ok(())
}

#[test]
fn a_statement_that_a_closure_leaves_open_does_not_outlive_its_call() {
    type Leak = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
    let leaks: [Leak; 6] = [
        |store| Box::pin(store.leave_rows_open()),
        |store| Box::pin(store.leave_rows_of_a_write_open()),
        |store| Box::pin(store.leave_rows_open_after_the_end()),
        |store| Box::pin(store.leave_rows_of_a_read_open()),
        |store| Box::pin(store.leave_rows_of_an_inner_read_open()),
        |store| Box::pin(store.leave_rows_of_a_connection_open()),
    ];
    run(async move {
        for execution in EXECUTIONS {
            for (number, leak) in leaks.into_iter().enumerate() {
                let directory = tempfile::tempdir().unwrap();
                let config = Config::new(directory.path())
                    .execution(execution)
                    .readers(1);
                let store = Store::create(config).await.unwrap();
                for _ in 0..3 {
                    // Refused, or kept whole; what counts is what comes after.
                    let before = store.numbers().await.unwrap();
                    let left = within(leak(&store)).await;
                    if left.is_err() {
                        assert_eq!(
                            store.numbers().await.unwrap(),
                            before,
                            "leak {number}: {left:?}"
                        );
                    }
                    within(store.add(100))
                        .await
                        .unwrap_or_else(|error| panic!("leak {number}: {error}"));
                    assert!(store.numbers().await.unwrap().contains(&100));
                    within(store.change_all())
                        .await
                        .unwrap_or_else(|error| panic!("leak {number}: {error}"));
                    within(store.remove(100)).await.unwrap();
                    let _ = cut(1, Moment::AtOnce, store.clear()).await;
                    within(store.clear()).await.unwrap();
                }
                within(store.close()).await.unwrap();
            }
        }
    });
}

impl Store {
    #[database_safe]
    async fn clear(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM number WHERE n <> 0", ()).await?;
        Ok(())
    }
}
