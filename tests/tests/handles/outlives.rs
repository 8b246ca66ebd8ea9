//! Nothing that a closure of `call` sets in a connection outlives its call.

use std::sync::atomic::{AtomicU64, Ordering};

use dbm_core::prelude::*;
use dbm_tests::{open_files, run, within};
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::hooks::{Action, Wal};
use rusqlite::limits::Limit;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{EXECUTIONS, Store};

type Closure = fn(&rusqlite::Connection) -> rusqlite::Result<()>;

/// Whatever is called that a closure has left behind counts here.
static CALLED: AtomicU64 = AtomicU64::new(0);

fn count() {
    CALLED.fetch_add(1, Ordering::SeqCst);
}

fn count_commit(_: &Wal, _: i32) -> rusqlite::Result<()> {
    count();
    Ok(())
}

fn count_event(_: TraceEvent<'_>) {
    count();
}

fn count_and_give_up(_: i32) -> bool {
    count();
    false
}

/// Each makes later calls fail, write something else or let the log grow, if it lasts.
const SETS: [Closure; 17] = [
    |c| {
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)
            .map(drop)
    },
    |c| {
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .map(drop)
    },
    |c| {
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)
            .map(drop)
    },
    |c| {
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)
            .map(drop)
    },
    |c| {
        c.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)
            .map(drop)
    },
    |c| c.update_hook(Some(|_: Action, _: &str, _: &str, _| count())),
    |c| c.rollback_hook(Some(count)),
    |c| c.commit_hook(Some(|| true)),
    |c| c.progress_handler(1, Some(|| true)),
    |c| {
        c.wal_hook(Some(count_commit));
        Ok(())
    },
    |c| {
        let number = |_: &rusqlite::functions::Context<'_>| Ok(-1_i64);
        c.create_scalar_function("abs", 1, FunctionFlags::SQLITE_UTF8, number)
    },
    |c| c.create_collation("NOCASE", |_, _| std::cmp::Ordering::Equal),
    |c| c.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 60).map(drop),
    |c| {
        c.set_limit(Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 0)
            .map(drop)
    },
    |c| {
        c.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count_event));
        Ok(())
    },
    |c| {
        c.set_prepared_statement_cache_capacity(0);
        Ok(())
    },
    |c| c.busy_handler(Some(count_and_give_up)),
];

impl Store {
    #[database_safe]
    async fn set(&self, db: &mut WriteTransaction, closure: Closure) -> Result<()> {
        db.call(move |c| Ok(closure(c)?)).await
    }

    #[database_safe]
    async fn set_and_fail(&self, db: &mut WriteTransaction, closure: Closure) -> Result<()> {
        let _ = db.call(move |c| Ok(closure(c)?)).await;
        Err(Error::other("as asked"))
    }

    #[database_safe]
    async fn set_inside(&self, _: &mut WriteTransaction, closure: Closure) -> Result<()> {
        self.set(closure).await
    }

    #[database_safe]
    async fn set_in_a_read_inside(&self, _: &mut WriteTransaction, closure: Closure) -> Result<()> {
        self.set_in_a_read(closure).await
    }

    #[database_safe]
    async fn set_in_a_read(&self, db: &mut ReadTransaction, closure: Closure) -> Result<()> {
        db.call(move |c| Ok(closure(c)?)).await
    }

    #[database_safe]
    async fn set_and_panic(&self, db: &mut WriteTransaction, closure: Closure) -> Result<()> {
        db.call(move |c| {
            closure(c)?;
            panic!("as asked")
        })
        .await
    }

    /// Writes and reads as on a connection that nobody has touched.
    #[database_safe]
    async fn is_untouched(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        assert!(
            db.execute("INSERT INTO child VALUES (99)", ())
                .await
                .is_err()
        );
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        let by_trigger: i64 = db
            .query_one("SELECT count(*) FROM log WHERE n = ?1", (n,))
            .await?;
        assert_eq!(by_trigger, 1);
        let seen: i64 = db
            .query_one("SELECT count(*) FROM seen WHERE n = ?1", (n,))
            .await?;
        assert_eq!(seen, 1);
        assert!(
            db.execute_batch("DELETE FROM sqlite_schema WHERE 0")
                .await
                .is_err()
        );
        let values: (i64, i64, String) = db
            .query_one("SELECT abs(?1), 'a' = 'b' COLLATE NOCASE, \"text\"", (-5,))
            .await?;
        assert_eq!(values, (5, 0, "text".to_owned()));
        Ok(())
    }

    #[database_safe]
    async fn reads_untouched(&self, db: &mut ReadTransaction) -> Result<()> {
        let values: (i64, i64, String) = db
            .query_one("SELECT abs(?1), 'a' = 'b' COLLATE NOCASE, \"text\"", (-5,))
            .await?;
        assert_eq!(values, (5, 0, "text".to_owned()));
        let _: i64 = db.query_one("SELECT count(*) FROM seen", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_log(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE log (n); CREATE VIEW seen AS SELECT n FROM log;
             CREATE TRIGGER logs AFTER INSERT ON number BEGIN INSERT INTO log VALUES (NEW.n); END",
        )
        .await
    }
}

#[test]
fn what_a_closure_sets_does_not_outlive_its_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(1))
                .await
                .unwrap();
            store.add_log().await.unwrap();
            let mut n = 100;
            for set in SETS {
                for way in 0..6 {
                    match way {
                        0 => drop(store.set(set).await),
                        1 => drop(store.set_and_fail(set).await),
                        2 => drop(store.set_inside(set).await),
                        3 => drop(store.set_in_a_read_inside(set).await),
                        4 => drop(store.set_in_a_read(set).await),
                        _ => {
                            let store = std::sync::Arc::clone(&store);
                            let task = tokio::spawn(async move { store.set_and_panic(set).await });
                            drop(task.await);
                        }
                    }
                    n += 1;
                    let called = CALLED.load(Ordering::SeqCst);
                    within(store.is_untouched(n)).await.unwrap();
                    within(store.reads_untouched()).await.unwrap();
                    assert_eq!(CALLED.load(Ordering::SeqCst), called, "way {way}");
                }
            }
            store.close().await.unwrap();
        }
    });
}

impl Store {
    /// The setting of the closure is over before the next statement, the inserting call's own too.
    #[database_safe]
    async fn orphan_after_a_closure(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
            Ok(())
        })
        .await?;
        db.execute("INSERT INTO child VALUES (99)", ()).await?;
        Ok(())
    }
}

#[test]
fn foreign_keys_are_on_again_for_the_statement_after_the_closure() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.orphan_after_a_closure().await.unwrap_err();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn fill(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE IF NOT EXISTS bytes (x); DELETE FROM bytes")
            .await?;
        db.call(|c| {
            c.wal_hook(None);
            c.execute("INSERT INTO bytes VALUES (randomblob(2000000))", ())?;
            Ok(())
        })
        .await
    }
}

#[test]
fn the_log_stays_bounded_though_every_call_takes_the_hook_that_watches_it() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path()).durability(Durability::Off);
        let store = Store::create(config).await.unwrap();
        for _ in 0..60 {
            store.fill().await.unwrap();
        }
        let log = directory.path().join("database.db-wal");
        let length = std::fs::metadata(log).unwrap().len();
        assert!(length < 50_000_000, "{length} bytes");
        store.close().await.unwrap();
    });
}

/// How a closure leaves a statement behind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Left {
    Prepared,
    Stepped,
    SteppedInTheCache,
}

#[expect(clippy::mem_forget, reason = "the hazard")]
fn leave(connection: &rusqlite::Connection, left: Left) -> Result<()> {
    let sql = "SELECT n FROM number";
    match left {
        Left::Prepared => std::mem::forget(connection.prepare(sql)?),
        Left::Stepped => {
            let mut statement = connection.prepare(sql)?;
            statement.raw_query().next()?;
            let mut rows = statement.raw_query();
            rows.next()?;
            std::mem::forget(rows);
            std::mem::forget(statement);
        }
        Left::SteppedInTheCache => {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.raw_query();
            rows.next()?;
            std::mem::forget(rows);
        }
    }
    Ok(())
}

impl Store {
    #[database_safe]
    async fn leave_in_a_read(&self, db: &mut ReadTransaction, left: Left) -> Result<()> {
        db.call(move |c| leave(c, left)).await
    }

    #[database_safe]
    async fn leave_in_a_write(&self, db: &mut WriteTransaction, left: Left) -> Result<()> {
        db.execute("INSERT INTO number VALUES (50)", ()).await?;
        db.call(move |c| leave(c, left)).await
    }

    #[database_safe]
    async fn leave_inside(&self, _: &mut WriteTransaction, left: Left) -> Result<()> {
        self.leave_in_a_read(left).await
    }

    #[database_safe]
    async fn leave_in_a_connection(&self, db: &mut Connection, left: Left) -> Result<()> {
        db.call(move |c| leave(c, left)).await
    }
}

#[test]
fn an_unfinished_statement_is_refused_on_every_handle_that_has_a_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for left in [Left::Stepped, Left::SteppedInTheCache] {
                for result in [
                    store.leave_in_a_read(left).await,
                    store.leave_in_a_write(left).await,
                    store.leave_inside(left).await,
                ] {
                    let error = result.unwrap_err();
                    let refused =
                        matches!(error, Error::Refused { what, .. } if what.contains("unfinished"));
                    assert!(refused, "{left:?}: {error}");
                }
                store.leave_in_a_connection(left).await.unwrap();
                store.add(4).await.unwrap();
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
                store.remove(4).await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_statement_that_a_closure_leaves_behind_keeps_no_file_open() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let store = Store::create(config).await.unwrap();
            for left in [Left::Prepared, Left::SteppedInTheCache] {
                let _ = store.leave_in_a_read(left).await;
                let _ = store.leave_in_a_write(left).await;
                let _ = store.leave_inside(left).await;
                let _ = store.leave_in_a_connection(left).await;
            }
            store.close().await.unwrap();
            let open = open_files(directory.path());
            assert!(open.is_empty(), "{open:?}");
        }
    });
}
