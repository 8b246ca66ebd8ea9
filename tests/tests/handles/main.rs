//! The handle says what a method may do: a reader cannot write by any text, a transaction is ended by nobody but the
//! library, and nothing that is set outlives its call.

#![allow(clippy::unwrap_used, clippy::panic)]

mod closures;
mod connection;
mod control;
mod counts;
mod forgotten;
#[cfg(unix)]
mod gone;
mod hardening;
mod outlives;
mod reads;
mod scripts;
mod statements;
mod temp;

use std::sync::Arc;

use dbm_core::Execution;
use dbm_core::prelude::*;
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
    "RELEASE x",
    "RELEASE SAVEPOINT x",
    "ROLLBACK TO x",
    "ROLLBACK TRANSACTION TO SAVEPOINT x",
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
