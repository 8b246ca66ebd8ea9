//! The handle says what a method may do: a reader cannot write by any text, a transaction is ended by nobody but the
//! library, and nothing that is set outlives its call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE number (n INTEGER PRIMARY KEY CHECK (n <> 13)) STRICT;
             CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (parent INTEGER REFERENCES parent) STRICT;
             INSERT INTO number VALUES (1), (2), (3)",
        )
        .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Store {
    async fn new(execution: Execution) -> Arc<Self> {
        Self::create(Config::in_memory().execution(execution))
            .await
            .unwrap()
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn remove(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("DELETE FROM number WHERE n = ?1", (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn setting(&self, db: &mut WriteTransaction, name: &str) -> Result<Value> {
        db.query_map(&format!("PRAGMA {name}"), (), |row| row.get::<Value>(0))
            .await
            .map(|mut rows| rows.remove(0))
    }
}

// Reads.

const WRITES: [&str; 21] = [
    "INSERT INTO number VALUES (10)",
    "INSERT OR IGNORE INTO number VALUES (10)",
    "INSERT OR ROLLBACK INTO number VALUES (1)",
    "REPLACE INTO number VALUES (1)",
    "UPDATE number SET n = n + 10",
    "DELETE FROM number",
    "INSERT INTO number VALUES (11) RETURNING n",
    "DELETE FROM number RETURNING n",
    "WITH x(n) AS (VALUES (12)) INSERT INTO number SELECT n FROM x RETURNING n",
    "CREATE TABLE t (x)",
    "CREATE TEMP TABLE t (x)",
    "CREATE TEMP VIEW v AS SELECT 1",
    "DROP TABLE number",
    "ALTER TABLE number RENAME TO other",
    "CREATE INDEX i ON number (n)",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "/* harmless */ \u{feff}-- really\n INSERT INTO number VALUES (10)",
];

const CONTROL: [&str; 26] = [
    "BEGIN",
    "BEGIN IMMEDIATE",
    "begin exclusive",
    "COMMIT",
    "commit transaction",
    "END",
    "END TRANSACTION",
    "ROLLBACK",
    "/* x */ RollBack /* y */",
    " ;; COMMIT",
    "-- x\nCOMMIT",
    "SAVEPOINT x",
    "RELEASE dbm_0",
    "RELEASE SAVEPOINT dbm_1",
    "ROLLBACK TO dbm_0",
    "ROLLBACK TRANSACTION TO SAVEPOINT dbm_0",
    "EXPLAIN COMMIT; COMMIT",
    "ATTACH ':memory:' AS other",
    "ATTACH DATABASE 'file::memory:' AS other",
    "DETACH main",
    "SELECT 1; COMMIT",
    "COMMIT; SELECT 1",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA query_only = OFF",
    "PRAGMA main.journal_mode(DELETE)",
    "PRAGMA locking_mode = EXCLUSIVE",
];

/// Through every door that takes text.
async fn try_all(db: &mut ReadTransaction, sql: &'static str) -> [bool; 7] {
    [
        db.query::<i64>(sql, ()).await.is_ok(),
        db.query_one::<i64>(sql, ()).await.is_ok(),
        db.query_optional::<i64>(sql, ()).await.is_ok(),
        db.query_map(sql, (), |_| Ok(())).await.is_ok(),
        db.call(|c| Ok(c.execute_batch(sql)?)).await.is_ok(),
        db.call(|c| Ok(c.prepare_cached(sql)?.raw_execute()?))
            .await
            .is_ok(),
        db.call(|c| {
            let mut statement = c.prepare(sql)?;
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            Ok(())
        })
        .await
        .is_ok(),
    ]
}

impl Store {
    #[database_safe]
    async fn try_to_write(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        for sql in WRITES.into_iter().chain(CONTROL) {
            assert_eq!(try_all(db, sql).await, [false; 7], "{sql}");
            let rows: Vec<i64> = db.query("SELECT n FROM number ORDER BY n", ()).await?;
            assert_eq!(rows, [1, 2, 3], "{sql}");
        }
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn try_to_write_inside(&self, _db: &mut WriteTransaction) -> Result<Vec<i64>> {
        self.try_to_write().await
    }
}

#[test]
fn a_reader_cannot_write_by_any_text() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(1))
                .await
                .unwrap();
            for _ in 0..3 {
                assert_eq!(store.try_to_write().await.unwrap(), [1, 2, 3]);
            }
            assert_eq!(
                store.try_to_write_inside().await.unwrap(),
                [1, 2, 3],
                "and no more inside a write"
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.add(4).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn read_twice(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<[Vec<i64>; 2]> {
        let first = db.query("SELECT n FROM number ORDER BY n", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        Ok([
            first,
            db.query("SELECT n FROM number ORDER BY n", ()).await?,
        ])
    }

    #[database_safe]
    async fn read_late(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<Vec<i64>> {
        inside.notify_one();
        go_on.notified().await;
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn hold(
        &self,
        db: &mut WriteTransaction,
        n: i64,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        inside.notify_one();
        go_on.notified().await;
        Ok(())
    }
}

#[test]
fn a_read_sees_one_snapshot_taken_when_the_call_began() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let (inside, go_on) = (Notify::new(), Notify::new());
            let ((), twice) = tokio::join!(
                async {
                    inside.notified().await;
                    store.add(4).await.unwrap();
                    go_on.notify_one();
                },
                store.read_twice(&inside, &go_on)
            );
            assert_eq!(twice.unwrap(), [[1, 2, 3], [1, 2, 3]]);
            let ((), late) = tokio::join!(
                async {
                    inside.notified().await;
                    store.add(5).await.unwrap();
                    go_on.notify_one();
                },
                store.read_late(&inside, &go_on)
            );
            assert_eq!(
                late.unwrap(),
                [1, 2, 3, 4],
                "also when its first statement comes later"
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4, 5]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_read_runs_beside_a_writer_and_sees_what_was_committed() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let (inside, go_on) = (Notify::new(), Notify::new());
            let mut hold = Box::pin(store.hold(4, &inside, &go_on));
            tokio::select! {
                result = &mut hold => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            assert_eq!(within(store.numbers()).await.unwrap(), [1, 2, 3]);
            go_on.notify_one();
            hold.await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_read_sees_what_another_process_has_committed_before() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(2))
                .await
                .unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let company = (0..8).map(|_| {
                let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        store.numbers().await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            });
            let company: Vec<_> = company.collect();
            let path = store.path().unwrap().to_owned();
            let (committed, mut seen) = tokio::sync::mpsc::unbounded_channel();
            // A connection of its own, as another process has it.
            let other = tokio::task::spawn_blocking(move || {
                let other = rusqlite::Connection::open(path).unwrap();
                for n in 1_000..1_200 {
                    other
                        .execute("INSERT INTO number VALUES (?1)", [n])
                        .unwrap();
                    committed.send(n).unwrap();
                }
            });
            while let Some(n) = seen.recv().await {
                assert!(
                    within(store.numbers()).await.unwrap().contains(&n),
                    "{n} is committed and not seen"
                );
            }
            within(other).await.unwrap();
            stop.store(true, Ordering::Relaxed);
            for reader in company {
                within(reader).await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

// Writes.

impl Store {
    #[database_safe]
    async fn try_to_control(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        for sql in CONTROL {
            // A script may begin with something harmless.
            assert_eq!(try_all(db, sql).await, [false; 7], "{sql}");
            assert!(db.execute(sql, ()).await.is_err(), "{sql}");
            assert!(db.execute_batch(sql).await.is_err(), "{sql}");
        }
        db.call(|c| {
            assert!(c.unchecked_transaction().is_err());
            assert!(c.pragma_update(None, "journal_mode", "delete").is_err());
            assert!(!c.is_autocommit());
            Ok(())
        })
        .await?;
        assert_eq!(self.numbers().await?.last(), Some(&n), "none the worse");
        Ok(())
    }

    #[database_safe]
    async fn try_to_control_and_fail(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        for sql in CONTROL {
            let _ = db.execute_batch(sql).await;
        }
        Err(Error::other("as asked"))
    }

    #[database_safe]
    async fn put_control_into_the_cache(&self, db: &mut Connection) -> Result<()> {
        db.call(|c| {
            for sql in [
                "COMMIT",
                "ROLLBACK",
                "BEGIN",
                "BEGIN IMMEDIATE",
                "SAVEPOINT x",
            ] {
                drop(c.prepare_cached(sql)?);
            }
            Ok(())
        })
        .await
    }
}

#[test]
fn transaction_control_is_refused_and_costs_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.put_control_into_the_cache().await.unwrap();
            for n in 10..13 {
                store.try_to_control(n).await.unwrap();
                assert_eq!(store.numbers().await.unwrap().last(), Some(&n));
                store.try_to_control_and_fail(99).await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap().last(), Some(&n));
            }
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn refusals(&self, db: &mut WriteTransaction) -> Result<()> {
        for (sql, what) in [
            ("COMMIT", "transaction control"),
            ("SAVEPOINT x", "transaction control"),
            ("ATTACH ':memory:' AS x", "ATTACH or DETACH"),
            ("PRAGMA cache_size = 5", "this PRAGMA"),
        ] {
            for error in [
                db.execute(sql, ()).await.unwrap_err(),
                db.execute_batch(sql).await.unwrap_err(),
                db.call(move |c| Ok(c.execute_batch(sql)?))
                    .await
                    .unwrap_err(),
            ] {
                assert!(
                    matches!(error, Error::Refused { what: found, .. } if found == what),
                    "{sql}: {error}"
                );
            }
        }
        // What SQLite itself refuses keeps its own words.
        let error = db.execute("SELECT * FROM missing", ()).await.unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
        Ok(())
    }
}

#[test]
fn a_refusal_says_what_is_refused_and_why() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store.refusals().await.unwrap();
        store.close().await.unwrap();
    });
}

/// Each would outlive the transaction.
const SETTINGS: [&str; 24] = [
    "wal_autocheckpoint = 7",
    "cache_size = 7",
    "cache_spill = 0",
    "ignore_check_constraints = 1",
    "writable_schema = 1",
    "locking_mode = EXCLUSIVE",
    "recursive_triggers = 1",
    "reverse_unordered_selects = 1",
    "busy_timeout = 7000",
    "query_only = 1",
    "foreign_keys = 0",
    "synchronous = 0",
    "temp_store = 2",
    "mmap_size = 65536",
    "secure_delete = 1",
    "case_sensitive_like = 1",
    "automatic_index = 0",
    "cell_size_check = 1",
    "checkpoint_fullfsync = 1",
    "journal_size_limit = 7",
    "max_page_count = 7",
    "legacy_alter_table = 1",
    "trusted_schema = 0",
    "defer_foreign_keys = 0",
];

impl Store {
    #[database_safe]
    async fn try_to_set(&self, db: &mut WriteTransaction, setting: &'static str) -> Result<()> {
        let (name, value) = setting.split_once(" = ").unwrap();
        let texts = [
            format!("PRAGMA {setting}"),
            format!("PRAGMA {name}({value})"),
            format!("pragma MAIN.{} = '{value}'", name.to_uppercase()),
            format!("PRAGMA \"{name}\" = {value}"),
        ];
        for sql in texts {
            assert!(db.execute(&sql, ()).await.is_err(), "{sql}");
            assert!(db.execute_batch(&sql).await.is_err(), "{sql}");
            assert!(db.query_map(&sql, (), |_| Ok(())).await.is_err(), "{sql}");
            assert!(db.call(move |c| Ok(c.execute_batch(&sql)?)).await.is_err());
        }
        Ok(())
    }

    #[database_safe]
    async fn pragmas_that_only_read(&self, db: &mut ReadTransaction) -> Result<()> {
        for sql in [
            "PRAGMA table_info(number)",
            "PRAGMA table_list",
            "PRAGMA foreign_key_list(child)",
            "PRAGMA foreign_key_check",
            "PRAGMA quick_check",
            "PRAGMA integrity_check(10)",
            "PRAGMA database_list",
            "PRAGMA user_version",
            "PRAGMA page_count",
            "PRAGMA synchronous",
            "PRAGMA foreign_keys",
            "SELECT * FROM pragma_table_info('number')",
            "SELECT * FROM pragma_function_list",
        ] {
            db.query_map(sql, (), |_| Ok(()))
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        Ok(())
    }
}

#[test]
fn a_pragma_that_would_outlive_the_transaction_is_refused() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for setting in SETTINGS {
                let name = setting.split_once(" = ").unwrap().0;
                // Some can be set only, not read.
                let before = store.setting(name).await.ok();
                store.try_to_set(setting).await.unwrap();
                assert_eq!(store.setting(name).await.ok(), before, "{setting}");
            }
            assert!(store.add(13).await.is_err(), "checks still hold");
            store.pragmas_that_only_read().await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn set_user_version(
        &self,
        db: &mut WriteTransaction,
        version: i64,
        fail: bool,
    ) -> Result<()> {
        db.execute_batch(&format!(
            "PRAGMA user_version = {version}; PRAGMA application_id = {version}"
        ))
        .await?;
        if fail {
            Err(Error::other("as asked"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_pragma_that_is_part_of_the_transaction_is_undone_with_it() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store.set_user_version(7, true).await.unwrap_err();
        assert_eq!(
            store.setting("user_version").await.unwrap(),
            Value::Integer(0)
        );
        store.set_user_version(7, false).await.unwrap();
        assert_eq!(
            store.setting("user_version").await.unwrap(),
            Value::Integer(7)
        );
        assert_eq!(
            store.setting("application_id").await.unwrap(),
            Value::Integer(7)
        );
        store.close().await.unwrap();
    });
}

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
        db.execute("INSERT INTO number VALUES (?1)", (7,)).await?;
        assert_eq!(db.last_insert_rowid().await?, 7);
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

// Closures.

impl Store {
    #[database_safe]
    async fn close_over(&self, db: &mut WriteTransaction, text: String) -> Result<(usize, String)> {
        db.execute("INSERT INTO number VALUES (20)", ()).await?;
        db.call(move |c| {
            let mut statement = c.prepare("INSERT INTO number VALUES (?1)")?;
            statement.execute([21])?;
            let count = c.query_row("SELECT count(*) FROM number", (), |row| row.get(0))?;
            Ok((count, text + "!"))
        })
        .await
    }

    #[database_safe]
    async fn fail_in_a_closure(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| Ok(c.execute("INSERT INTO number VALUES (1)", ()).map(drop)?))
            .await
    }

    #[database_safe]
    async fn take_the_guard_away(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (30)", ()).await?;
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await?;
        db.execute_batch("COMMIT; DELETE FROM number; BEGIN").await
    }

    #[database_safe]
    async fn take_the_guard_away_and_use_it(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (31)", ()).await?;
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn take_the_guard_of_a_reader(&self, db: &mut ReadTransaction) -> Result<()> {
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn be_patient(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| Ok(c.busy_timeout(Duration::from_secs(3600))?))
            .await
    }

    #[database_safe]
    async fn refusal_of_a_reader(&self, db: &mut ReadTransaction) -> Result<()> {
        assert!(
            db.call(|c| Ok(c.execute_batch("PRAGMA query_only = 0")?))
                .await
                .is_err()
        );
        assert!(db.call(|c| Ok(c.execute_batch("COMMIT")?)).await.is_err());
        Ok(())
    }
}

#[test]
fn a_closure_has_the_whole_of_rusqlite_inside_the_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            assert_eq!(
                store.close_over("text".to_owned()).await.unwrap(),
                (5, "text!".to_owned())
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 20, 21]);
            let error = store.fail_in_a_closure().await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.is::<rusqlite::Error>(), "{source:?}");
            assert_eq!(
                error.sqlite_code(),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            );
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_closure_that_takes_the_guard_away_fails_its_call_and_the_next_one_is_guarded() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(1))
                .await
                .unwrap();
            for _ in 0..3 {
                store.take_the_guard_away().await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
                store.take_the_guard_away_and_use_it().await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
                store.take_the_guard_of_a_reader().await.unwrap_err();
                store.refusal_of_a_reader().await.unwrap();
                store.refusals().await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

/// SQLite's own wait would hold up the thread and hear of no interrupt.
#[test]
fn a_busy_timeout_that_a_closure_sets_does_not_outlive_its_call() {
    run(async {
        for execution in EXECUTIONS {
            let config = Config::in_memory()
                .execution(execution)
                .busy_timeout(Duration::from_millis(50));
            let store = Store::create(config).await.unwrap();
            store.be_patient().await.unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let error = within(store.add(4)).await.unwrap_err();
            assert!(matches!(error, Error::Busy { .. }), "{error}");
            other.execute_batch("ROLLBACK").unwrap();
            store.add(4).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

// Handles.

/// A method has one handle; another one can come only under another name.
type Theirs = WriteTransaction;

impl Store {
    #[database_safe]
    async fn swap_with_another(
        &self,
        db: &mut WriteTransaction,
        other: &Self,
        fail: bool,
    ) -> Result<()> {
        db.execute("INSERT INTO number VALUES (40)", ()).await?;
        let swapped = other.swap_into(db, fail).await;
        assert_eq!(swapped.is_err(), fail);
        // What is in `db` now belongs to a call that has ended.
        let error = db
            .execute("INSERT INTO number VALUES (41)", ())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::HandleEnded), "{error}");
        Ok(())
    }

    #[database_safe]
    async fn swap_into(
        &self,
        db: &mut WriteTransaction,
        theirs: &mut Theirs,
        fail: bool,
    ) -> Result<()> {
        db.execute("INSERT INTO number VALUES (50)", ()).await?;
        std::mem::swap(db, theirs);
        // Now this one writes over there, in the transaction of the outer call.
        db.execute("INSERT INTO number VALUES (42)", ()).await?;
        if fail {
            Err(Error::other("as asked"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn swapping_two_handles_breaks_nothing() {
    run(async {
        for fail in [false, true] {
            let (here, there) = (
                Store::new(Execution::Auto).await,
                Store::new(Execution::Auto).await,
            );
            within(here.swap_with_another(&there, fail)).await.unwrap();
            assert_eq!(here.numbers().await.unwrap(), [1, 2, 3, 40, 42]);
            let expected: &[i64] = if fail { &[1, 2, 3] } else { &[1, 2, 3, 50] };
            assert_eq!(there.numbers().await.unwrap(), expected);
            here.close().await.unwrap();
            there.close().await.unwrap();
        }
    });
}

async fn helper(db: &mut ReadTransaction) -> Result<i64> {
    db.query_one("SELECT count(*) FROM number", ()).await
}

impl Store {
    #[database_safe]
    async fn help_a_read(&self, db: &mut ReadTransaction) -> Result<i64> {
        helper(db).await
    }

    #[database_safe]
    async fn help_a_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("INSERT INTO number VALUES (4)", ()).await?;
        helper(db).await
    }

    #[database_safe]
    async fn help_a_connection(&self, db: &mut Connection) -> Result<i64> {
        db.execute("INSERT INTO number VALUES (5)", ()).await?;
        helper(db).await
    }
}

#[test]
fn a_helper_for_readers_serves_every_handle() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        assert_eq!(store.help_a_read().await.unwrap(), 3);
        assert_eq!(store.help_a_write().await.unwrap(), 4);
        assert_eq!(store.help_a_connection().await.unwrap(), 5);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn row_ids(&self, db: &mut WriteTransaction) -> Result<[i64; 5]> {
        let before = db.last_insert_rowid().await?;
        db.execute("UPDATE number SET n = n WHERE n = 1", ())
            .await?;
        db.execute("DELETE FROM number WHERE n = 60", ()).await?;
        let after_an_update = db.last_insert_rowid().await?;
        db.execute("INSERT INTO number VALUES (60)", ()).await?;
        let after_an_insert = db.last_insert_rowid().await?;
        db.query_one::<i64>("INSERT INTO number VALUES (61) RETURNING n", ())
            .await?;
        let after_returning = db.last_insert_rowid().await?;
        db.execute("UPDATE number SET n = 62 WHERE n = 61", ())
            .await?;
        let kept = db.last_insert_rowid().await?;
        db.execute("DELETE FROM number WHERE n >= 60", ()).await?;
        Ok([
            before,
            after_an_update,
            after_an_insert,
            after_returning,
            kept,
        ])
    }
}

#[test]
fn the_last_row_id_is_that_of_the_own_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for n in 100..104 {
                store.add(n).await.unwrap();
                assert_eq!(store.row_ids().await.unwrap(), [0, 0, 60, 61, 61]);
            }
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn odd_texts(&self, db: &mut WriteTransaction) -> Result<()> {
        for sql in [
            "",
            "   ",
            "-- nothing",
            ";",
            "SELECT",
            "SELECT 1\0; DELETE FROM number",
            "\0",
        ] {
            let _ = db.execute(sql, ()).await;
            let _ = db.query::<i64>(sql, ()).await;
            let _ = db.execute_batch(sql).await;
        }
        // One statement is one statement: a second one is not left out in silence.
        for sql in [
            "INSERT INTO number VALUES (70); INSERT INTO number VALUES (71)",
            "SELECT 1; DELETE FROM number",
        ] {
            assert!(db.execute(sql, ()).await.is_err(), "{sql}");
            assert!(db.query::<i64>(sql, ()).await.is_err(), "{sql}");
        }
        assert_eq!(
            db.execute("DELETE FROM number WHERE n > ?1;", (2,)).await?,
            1
        );
        assert_eq!(
            db.execute("INSERT INTO number VALUES (3), (4); -- the end", ())
                .await?,
            2
        );
        assert_eq!(db.execute("SELECT 1", ()).await?, 0);
        Ok(())
    }
}

#[test]
fn odd_texts_are_results_and_never_half_run() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            within(store.odd_texts()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.remove(4).await.unwrap();
            store.close().await.unwrap();
        }
    });
}
