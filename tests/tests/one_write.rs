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
use futures_util::future::join;
use tempfile::TempDir;
use tokio::sync::Notify;

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

    /// Where a statement runs at once, from its first time on.
    async fn inline(config: Config) -> Arc<Self> {
        let store = Self::new(config.execution(Execution::Inline), SCHEMA).await;
        store.add(3, "three").await.unwrap();
        store
    }

    /// With an INSERT that is known to be short.
    async fn that_has_learnt(config: Config) -> Arc<Self> {
        let store = Self::new(config, SCHEMA).await;
        for id in 10..15 {
            store.add(id, &format!("name {id}")).await.unwrap();
        }
        store
    }

    /// A call with a site that is written by hand.
    async fn call<T: Send + 'static>(
        &self,
        site: &'static Site,
        body: impl AsyncFnOnce(WriteTransaction) -> Result<T>,
    ) -> Result<T> {
        let outcome = call(site, self)
            .on::<WriteTransaction>()
            .returning::<Result<T>>()
            .run(body);
        outcome.await.into_result()
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

    /// Whatever becomes of it.
    #[database_safe]
    async fn try_to_add(&self, db: &mut WriteTransaction, id: i64, name: &str) -> Result<()> {
        let _ = db
            .execute(
                "INSERT INTO item (id, name) VALUES (?1, ?2), (?1, ?2)",
                (id, name),
            )
            .await;
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
            let store = Store::that_has_learnt(config).await;
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
            let store = Store::that_has_learnt(config).await;
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
        let store = Store::inline(Config::in_memory()).await;
        let outcome = store.call(&SITE, async |mut db: WriteTransaction| {
            db.execute("UPDATE item SET more = 7 WHERE id = 1", ())
                .await?;
            db.execute("DELETE FROM item WHERE id = 2", ()).await
        });
        let refused = outcome.await;
        assert!(matches!(refused, Err(Error::HandleEnded)), "{refused:?}");
        assert_eq!(store.names().await.unwrap(), ["one", "two", "three"]);
        store.close().await.unwrap();
    });
}

/// It reads rows, and that may fail once the statement has done its work.
#[test]
fn a_query_that_writes_keeps_nothing_if_it_fails() {
    static SITE: Site = Site::new(module_path!(), "asks").one_statement();
    const ASK: [&str; 3] = [
        "INSERT INTO item (name) VALUES ('new'), ('newer') RETURNING name",
        "INSERT INTO item (name) VALUES ('new') RETURNING name, more",
        "INSERT INTO item (name) VALUES ('new')",
    ];
    run(async {
        let config = Config::in_memory().execution(Execution::Inline);
        let store = Store::new(config, SCHEMA).await;
        for sql in ASK {
            store
                .write("UPDATE item SET more = 3 WHERE id = 2")
                .await
                .unwrap();
            let outcome = store.call(&SITE, async |mut db: WriteTransaction| {
                db.query_one(sql, ()).await
            });
            let refused: Result<String> = outcome.await;
            refused.unwrap_err();
            assert_eq!(store.names().await.unwrap(), ["one", "two"], "{sql}");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_promise_beside_the_statement_is_kept() {
    static SITE: Site = Site::new(module_path!(), "promises").one_statement();
    run(async {
        let store = Store::inline(Config::in_memory()).await;
        let (told, mut is_told) = tokio::sync::mpsc::channel(2);
        let outcome = store.call(&SITE, async |mut db: WriteTransaction| {
            let (first, second) = (told.clone(), told.clone());
            db.after_commit(async move { first.send(1).await.unwrap() })?;
            let changed = db.execute("DELETE FROM item WHERE id = 2", ()).await;
            db.after_commit(async move { second.send(2).await.unwrap() })?;
            changed
        });
        assert_eq!(outcome.await.unwrap(), 1);
        assert_eq!(within(is_told.recv()).await, Some(1));
        assert_eq!(within(is_told.recv()).await, Some(2));
        store.close().await.unwrap();
    });
}

/// Its body goes on after the statement, and others wait.
#[test]
fn a_call_that_is_evicted_after_its_statement_keeps_its_work_and_its_promise() {
    static SITE: Site = Site::new(module_path!(), "lingers").one_statement();
    run(async {
        let config = Config::in_memory().max_write_idle(Duration::from_millis(20));
        let store = Store::inline(config).await;
        let (told, mut is_told) = tokio::sync::mpsc::channel(1);
        let others_are_done = Notify::new();
        let lingers = store.call(&SITE, async |mut db: WriteTransaction| {
            let told = told.clone();
            db.after_commit(async move { told.send(()).await.unwrap() })?;
            let changed = db.execute("DELETE FROM item WHERE id = 2", ()).await;
            others_are_done.notified().await;
            changed
        });
        let other = async {
            let added = store.add(4, "four").await;
            others_are_done.notify_one();
            added
        };
        let (lingered, added) = within(join(lingers, other)).await;
        assert_eq!(lingered.unwrap(), 1);
        added.unwrap();
        assert_eq!(within(is_told.recv()).await, Some(()));
        assert_eq!(store.names().await.unwrap(), ["one", "three", "four"]);
        store.close().await.unwrap();
    });
}

/// Another process has made the constraint that keeps the first row.
#[test]
fn a_body_that_drops_the_error_is_not_told_that_it_was_committed() {
    for execution in EXECUTIONS {
        run(async move {
            let directory = TempDir::new().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let store = Store::that_has_learnt(config).await;
            for id in 10..15 {
                store.try_to_add(id, "again").await.unwrap();
            }
            let other = Sqlite::open(directory.path().join("database.db")).unwrap();
            let stops = "CREATE TRIGGER stops BEFORE INSERT ON item
                WHEN EXISTS (SELECT 1 FROM item WHERE name = new.name) BEGIN SELECT RAISE (FAIL, 'again'); END";
            other.execute_batch(stops).unwrap();
            let before = store.metrics().failed_commits;
            let told = store.try_to_add(20, "twice").await;
            let is_unknown = matches!(told, Err(Error::CommitUnknown { .. }));
            let is_kept = store.names().await.unwrap().contains(&"twice".to_owned());
            assert_eq!(is_unknown, execution == Execution::Inline, "{told:?}");
            assert!(is_unknown || told.is_ok(), "{told:?}");
            assert!(is_kept);
            let failed = store.metrics().failed_commits - before;
            assert_eq!(failed, u64::from(is_unknown));
            store.close().await.unwrap();
        });
    }
}

// On Windows an open file cannot be moved.
#[cfg(unix)]
#[test]
fn a_file_that_was_replaced_gets_no_write() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::inline(Config::new(directory.path())).await;
        let file = directory.path().join("database.db");
        std::fs::rename(&file, directory.path().join("aside")).unwrap();
        Sqlite::open(&file)
            .unwrap()
            .execute_batch("VACUUM")
            .unwrap();
        let refused = store.add(4, "four").await;
        assert!(
            matches!(refused, Err(Error::FileReplaced { .. })),
            "{refused:?}"
        );
        store.close_within(Duration::ZERO).await.ok();
    });
}

#[test]
fn the_log_starts_over() {
    const LARGE: &str = "INSERT INTO item (name) VALUES (hex(randomblob(20000)))";
    run(async {
        let config = Config::in_memory().execution(Execution::Inline);
        let store = Store::new(config, SCHEMA).await;
        let mut pages = 0;
        for _ in 0..2_000 {
            store.write(LARGE).await.unwrap();
            let before = std::mem::replace(&mut pages, store.metrics().log_pages);
            if pages < before {
                break;
            }
        }
        // Twenty pages each.
        assert!(pages < 30_000, "{pages}");
        store.close().await.unwrap();
    });
}
