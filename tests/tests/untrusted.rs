//! A file that was made to hang whoever opens it: its start comes to an end, and can be ended.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Sqlite;
use dbm_core::{Execution, SchemaDrift};
use dbm_tests::{
    Hooks, Store, bytes, eventually, open_files, run, run_on_one_thread, watch, within,
};
use tempfile::TempDir;

const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT";
const ROW: &str = "CREATE TABLE Version (major INTEGER, minor INTEGER, patch INTEGER); INSERT INTO Version VALUES (1, 0, 0);";

fn file(sql: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    db.execute_batch(&format!("PRAGMA foreign_keys = OFF; BEGIN; {sql}; COMMIT"))
        .unwrap();
    directory
}

/// A file whose schema holds a text that SQLite would not write.
fn forged(sql: &str, kind: &str, name: &str, text: &str) -> TempDir {
    let directory = file(sql);
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    db.execute_batch("PRAGMA writable_schema = ON").unwrap();
    db.execute(
        "INSERT INTO sqlite_schema VALUES (?1, ?2, ?2, 0, ?3)",
        (kind, name, text),
    )
    .unwrap();
    directory
}

fn config(directory: &Path, target: &str) -> Config {
    Config::new(directory).version(Version::parse(target).unwrap())
}

async fn refused(directory: &TempDir, target: &str) -> Error {
    let before = bytes(directory.path());
    let store = Store::start_hooked(config(directory.path(), target), Hooks::default());
    let error = within(store.ensure_ready()).await.unwrap_err();
    assert_eq!(store.calls(), [""; 0]);
    within(store.close()).await.unwrap();
    assert_eq!(bytes(directory.path()), before, "{error:?}");
    assert!(open_files(directory.path()).is_empty());
    error
}

#[test]
fn a_version_that_is_no_plain_table_is_refused_without_being_run() {
    // On one thread, where a statement that is run here holds up everything.
    run_on_one_thread(async {
        let view = format!(
            "CREATE VIEW Version AS {ENDLESS} max(x) AS major, 0 AS minor, 0 AS patch FROM n"
        );
        for (sql, why) in [
            (view.clone(), None),
            (format!("CREATE TABLE x (y); {view}"), None),
            (
                "CREATE VIRTUAL TABLE Version USING fts5(major, minor, patch); INSERT INTO Version VALUES (1, 0, 0)".to_owned(),
                Some("virtual"),
            ),
            (
                "CREATE TABLE Version (major INTEGER, minor INTEGER, patch AS (length(hex(zeroblob(400000000)))))".to_owned(),
                Some("generated"),
            ),
            (
                "CREATE TABLE Version (major INTEGER, minor INTEGER, patch INTEGER, x AS (abs(major)) STORED); INSERT INTO Version VALUES (1, 0, 0)".to_owned(),
                Some("generated"),
            ),
            (
                format!("{ROW} CREATE TRIGGER t AFTER UPDATE ON version BEGIN {ENDLESS} max(x) FROM n; END"),
                Some("triggers"),
            ),
            ("CREATE TABLE Version (major INTEGER, minor INTEGER)".to_owned(), Some("columns")),
            (
                "CREATE TABLE Version (major, minor, patch);
                 WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300000) INSERT INTO Version SELECT 1, 0, x FROM n".to_owned(),
                Some("100000 or more rows"),
            ),
        ] {
            for target in ["1.0.0", "2.0.0"] {
                let error = refused(&file(&sql), target).await;
                match (&error, why) {
                    (Error::VersionNameTaken { kind: "view", .. }, None) => {}
                    (Error::InvalidVersion { message }, Some(why)) => {
                        assert!(message.contains(why), "{sql}: {message}");
                    }
                    _ => panic!("{sql}: {error:?}"),
                }
            }
        }
    });
}

#[test]
fn a_schema_that_is_forged_is_refused_without_being_run() {
    run_on_one_thread(async {
        let view = |name: &str| {
            format!(
                "CREATE VIEW {name} AS {ENDLESS} max(x) AS major, 0 AS minor, 0 AS patch FROM n"
            )
        };
        for (kind, name) in [
            ("view", "Version"),
            ("VIEW", "Version"),
            ("View", "VERSION"),
            ("table", "Version"),
            ("trigger", "Version"),
        ] {
            let text = view(name);
            refused(&forged("CREATE TABLE x (y)", kind, name, &text), "1.0.0").await;
        }
        for text in [
            "CREATE/**/VIRTUAL/**/TABLE Version USING fts5(major, minor, patch)",
            "CREATE TABLE Version (major, minor, patch",
            "CREATE TABLE \0",
            "DROP TABLE x",
            "cr",
        ] {
            refused(
                &forged("CREATE TABLE x (y)", "table", "Version", text),
                "1.0.0",
            )
            .await;
        }
        // Names by which the library could have asked.
        for name in [
            "sqlite_schema",
            "pragma_table_xinfo",
            "pragma_table_list",
            "sqlite_master",
        ] {
            let directory = forged(ROW, "view", name, &view(name));
            let config = config(directory.path(), "1.0.0").schema_drift(SchemaDrift::Ignore);
            let store = Store::start_hooked(config, Hooks::default());
            let _ = within(store.ensure_ready()).await;
            within(store.close()).await.unwrap();
        }
    });
}

/// A database whose views are each twice the one before: the last one is 2^40 tables when it is compiled.
fn endless_to_compile() -> TempDir {
    let mut sql = ROW.to_owned();
    sql.push_str("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;");
    sql.push_str("CREATE VIEW v0 AS SELECT 1 AS x;");
    for number in 1..40 {
        let before = number - 1;
        sql.push_str(&format!(
            "CREATE VIEW v{number} AS SELECT a.x FROM v{before} AS a, v{before} AS b;"
        ));
    }
    file(&sql)
}

dbm_tests::manager!(Plain);

#[test]
fn views_that_take_for_ever_to_compile_keep_no_start_from_its_end() {
    run(async {
        let directory = endless_to_compile();
        let config = config(directory.path(), "1.0.0").schema_drift(SchemaDrift::Error);
        let plain = within(Plain::create(config)).await.unwrap();
        within(plain.close()).await.unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn a_schema_of_any_size_opens() {
    run(async {
        let directory = endless_to_compile();
        let db = Sqlite::open(directory.path().join("database.db")).unwrap();
        db.execute_batch(
            "PRAGMA writable_schema = ON;
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 10000)
            INSERT INTO sqlite_schema SELECT 'table', 't' || x, 't' || x, 2, 'CREATE TABLE t' || x || ' (x)' FROM n",
        )
        .unwrap();
        drop(db);
        let store = within(Store::open(directory.path(), "1.0.0"))
            .await
            .unwrap();
        assert_eq!(store.ids().await.unwrap(), [0; 0]);
        within(store.close_within(Duration::from_secs(1)))
            .await
            .unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

/// Judging its foreign keys takes hours.
fn slow_to_judge() -> TempDir {
    let directory = file(&format!(
        "{ROW} CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (x, p AS (x) REFERENCES parent);
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200000) INSERT INTO child SELECT 1000000 FROM n"
    ));
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    db.execute_batch(
        "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, 'AS (x)', 'AS (length(hex(zeroblob(x))))')",
    )
    .unwrap();
    directory
}

#[test]
fn close_within_ends_a_start_that_judges_a_file() {
    for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
        run_on_one_thread(async move {
            let directory = slow_to_judge();
            let config = config(directory.path(), "2.0.0").execution(execution);
            let store = Store::start_hooked(config, Hooks::default());
            within(store.close_within(Duration::from_millis(100)))
                .await
                .unwrap();
            assert_eq!(store.calls(), [""; 0]);
            assert_eq!(store.status(), Status::Failed);
            assert!(open_files(directory.path()).is_empty());
        });
    }
}

#[test]
fn the_end_of_a_runtime_ends_a_start_that_judges_a_file() {
    watch(|| {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
        };
        let directory = slow_to_judge();
        let first = runtime();
        let store = first.block_on(async {
            let store = Store::start_hooked(config(directory.path(), "2.0.0"), Hooks::default());
            // Until its transaction stays open: the judgement is all that takes long in it.
            let other = Sqlite::open(directory.path().join("database.db")).unwrap();
            other.busy_timeout(Duration::ZERO).unwrap();
            let held = Cell::new(0);
            eventually(|| {
                let is_locked = other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err();
                held.set(if is_locked { held.get() + 1 } else { 0 });
                held.get() == 100
            })
            .await;
            store
        });
        drop(first);
        assert_eq!(store.status(), Status::Failed);
        runtime().block_on(eventually(|| open_files(directory.path()).is_empty()));
    });
}
