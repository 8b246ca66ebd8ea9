//! A write that is known to run one statement has no transaction around it while it is alone, and loses nothing by that.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use dbm_core::Execution;
use dbm_core::call::{Site, call};
use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Sqlite;
use dbm_tests::{run, within};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    schema: &'static str,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(self.schema).await
    }
}

const SCHEMA: &str = "
    CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, more INTEGER CHECK (more > 0)) STRICT;
    CREATE TABLE part (id INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES item (id)) STRICT;
    CREATE TRIGGER keeps BEFORE DELETE ON item WHEN old.id = 1 BEGIN SELECT RAISE (ABORT, 'it stays'); END;
    INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2)";

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

impl Store {
    async fn new(config: Config, schema: &'static str) -> Arc<Self> {
        Self::create_with(config, |core| Self { core, schema })
            .await
            .unwrap()
    }

    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, sql: &str) -> Result<usize> {
        db.execute(sql, ()).await
    }

    /// The same, with a transaction around it.
    #[database_safe]
    async fn look_and_write(&self, db: &mut WriteTransaction, sql: &str) -> Result<usize> {
        let _: i64 = db.query_one("SELECT 1", ()).await?;
        db.execute(sql, ()).await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, id: i64, name: &str) -> Result<()> {
        db.execute("INSERT INTO item (id, name) VALUES (?1, ?2)", (id, name))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT name FROM item ORDER BY id", ()).await
    }
}

fn names(directory: &TempDir) -> Vec<String> {
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    let mut statement = db.prepare("SELECT name FROM item ORDER BY id").unwrap();
    let names = statement.query_map((), |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

#[test]
fn what_is_acknowledged_is_committed() {
    for execution in EXECUTIONS {
        run(async move {
            let directory = TempDir::new().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let store = Store::new(config, SCHEMA).await;
            let before = store.metrics().commits;
            for id in 3..50 {
                let name = format!("name {id}");
                store.add(id, &name).await.unwrap();
                assert_eq!(names(&directory).last(), Some(&name));
            }
            assert_eq!(store.metrics().commits - before, 47);
            store.close().await.unwrap();
            assert_eq!(names(&directory).len(), 49);
        });
    }
}

/// Whatever the error is, nothing is kept.
#[test]
fn an_error_is_the_one_that_a_statement_has_in_a_transaction() {
    const WRONG: [&str; 11] = [
        "INSERT INTO item VALUES (3, 'three', 3), (4, 'one', 4)",
        "INSERT INTO item VALUES (3, NULL, 3)",
        "INSERT INTO item VALUES (3, 'three', 0)",
        "INSERT INTO item VALUES ('three', 'three', 3)",
        "INSERT OR ROLLBACK INTO item VALUES (3, 'one', 3)",
        "INSERT OR FAIL INTO item VALUES (3, 'three', 3), (4, 'one', 4)",
        "INSERT INTO part VALUES (1, 7)",
        "UPDATE item SET name = 'the same'",
        "DELETE FROM item WHERE id > 0",
        "INSERT INTO nowhere VALUES (1)",
        "UPDATE item SET",
    ];
    for execution in EXECUTIONS {
        run(async move {
            let store = Store::new(Config::in_memory().execution(execution), SCHEMA).await;
            for sql in WRONG {
                // The library learns of a statement how long it takes.
                for _ in 0..3 {
                    let alone = store.write(sql).await.unwrap_err();
                    let inside = store.look_and_write(sql).await.unwrap_err();
                    let inside = format!("{inside:?}").replace("look_and_write", "write");
                    assert_eq!(format!("{alone:?}"), inside, "{sql}");
                }
                assert_eq!(store.names().await.unwrap(), ["one", "two"], "{sql}");
            }
            assert_eq!(
                store
                    .write("UPDATE item SET more = 3 WHERE id = 2")
                    .await
                    .unwrap(),
                1
            );
            store.close().await.unwrap();
        });
    }
}

#[test]
fn a_constraint_that_fails_at_the_commit_keeps_nothing() {
    const DEFERRED: &str = "
        CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
                           parent INTEGER REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED) STRICT";
    for execution in EXECUTIONS {
        run(async move {
            let store = Store::new(Config::in_memory().execution(execution), DEFERRED).await;
            for _ in 0..3 {
                let orphan = store
                    .write("INSERT INTO item VALUES (1, 'orphan', 7)")
                    .await;
                assert!(orphan.unwrap_err().is_foreign_key_violation());
                assert!(store.names().await.unwrap().is_empty());
            }
            store.close().await.unwrap();
        });
    }
}

#[test]
fn it_waits_for_the_write_of_another_process() {
    for execution in EXECUTIONS {
        run(async move {
            let directory = TempDir::new().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let store = Store::new(config, SCHEMA).await;
            for id in 10..15 {
                store.add(id, &format!("name {id}")).await.unwrap();
            }
            let (locked, is_locked) = channel();
            let path = directory.path().join("database.db");
            let (waits, waited) = (Arc::clone(&store), store.metrics().busy_waits);
            let other = std::thread::spawn(move || {
                let other = Sqlite::open(path).unwrap();
                other
                    .execute_batch("BEGIN IMMEDIATE; INSERT INTO item (name) VALUES ('other')")
                    .unwrap();
                locked.send(()).unwrap();
                let until = Instant::now() + Duration::from_secs(10);
                while waits.metrics().busy_waits == waited && Instant::now() < until {
                    std::thread::yield_now();
                }
                other.execute_batch("COMMIT").unwrap();
            });
            is_locked.recv().unwrap();
            within(store.add(20, "late")).await.unwrap();
            other.join().unwrap();
            let names = store.names().await.unwrap();
            assert!(names.contains(&"other".to_owned()) && names.contains(&"late".to_owned()));
            store.close().await.unwrap();
        });
    }
}

#[test]
fn a_busy_database_is_an_error_after_the_timeout_and_nothing_is_kept() {
    for execution in EXECUTIONS {
        run(async move {
            let directory = TempDir::new().unwrap();
            let config = Config::new(directory.path())
                .execution(execution)
                .busy_timeout(Duration::from_millis(20));
            let store = Store::new(config, SCHEMA).await;
            for id in 10..15 {
                store.add(id, &format!("name {id}")).await.unwrap();
            }
            let other = Sqlite::open(directory.path().join("database.db")).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let refused = store.add(20, "late").await;
            assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
            other.execute_batch("COMMIT").unwrap();
            assert_eq!(names(&directory).len(), 7);
            store.add(20, "late").await.unwrap();
            store.close().await.unwrap();
        });
    }
}

/// What a site that is written by hand says is wrong.
#[test]
fn a_second_statement_is_refused() {
    static SITE: Site = Site::new(module_path!(), "twice").one_statement();
    run(async {
        let config = Config::in_memory().execution(Execution::Inline);
        let store = Store::new(config, SCHEMA).await;
        store.add(3, "three").await.unwrap();
        let outcome = call(&SITE, &*store)
            .on::<WriteTransaction>()
            .returning::<Result<usize>>()
            .run(async |mut db: WriteTransaction| {
                db.execute("UPDATE item SET more = 7 WHERE id = 1", ())
                    .await?;
                db.execute("DELETE FROM item WHERE id = 2", ()).await
            });
        let refused = outcome.await.into_result();
        assert!(matches!(refused, Err(Error::HandleEnded)), "{refused:?}");
        assert_eq!(store.names().await.unwrap(), ["one", "two", "three"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_promise_beside_the_statement_is_kept() {
    static SITE: Site = Site::new(module_path!(), "promises").one_statement();
    run(async {
        let config = Config::in_memory().execution(Execution::Inline);
        let store = Store::new(config, SCHEMA).await;
        store.add(3, "three").await.unwrap();
        let (told, mut is_told) = tokio::sync::mpsc::channel(2);
        let outcome = call(&SITE, &*store)
            .on::<WriteTransaction>()
            .returning::<Result<usize>>()
            .run(async |mut db: WriteTransaction| {
                let (first, second) = (told.clone(), told.clone());
                db.after_commit(async move { first.send(1).await.unwrap() })?;
                let changed = db.execute("DELETE FROM item WHERE id = 2", ()).await;
                db.after_commit(async move { second.send(2).await.unwrap() })?;
                changed
            });
        assert_eq!(outcome.await.into_result().unwrap(), 1);
        assert_eq!(within(is_told.recv()).await, Some(1));
        assert_eq!(within(is_told.recv()).await, Some(2));
        store.close().await.unwrap();
    });
}
