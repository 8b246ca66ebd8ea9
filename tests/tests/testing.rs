//! The test kit, `dbm_core::testing`.

#![allow(clippy::unwrap_used)]

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_core::testing::{self, Fault, Migration, MigrationError, TestDirectory};
use dbm_tests::{Hooks, Store, names, run, run_on_one_thread, waits, within};

/// A database made from any SQL.
#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Sheet {
    core: ManagerCore,
    init: &'static str,
    migrate: &'static str,
}

impl Schema for Sheet {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(self.init).await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch(self.migrate).await?;
        Ok(true)
    }
}

impl Sheet {
    #[database_safe]
    async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
        db.query("SELECT name FROM t ORDER BY name", ()).await
    }

    /// A call inside a call that has worked for milliseconds.
    #[database_safe]
    async fn read_late(&self, db: &mut WriteTransaction) -> Result<i64> {
        let count =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                     SELECT count(*) FROM n";
        db.query_one::<i64>(count, ()).await?;
        self.names().await?;
        db.query_one("SELECT count(*) FROM t", ()).await
    }
}

fn sheet(init: &'static str, migrate: &'static str) -> impl Fn(ManagerCore) -> Sheet {
    move |core| Sheet {
        core,
        init,
        migrate,
    }
}

async fn schema(sql: &'static str) -> testing::SchemaDump {
    let sheet = Sheet::create_with(Config::in_memory(), sheet(sql, ""))
        .await
        .unwrap();
    let schema = testing::schema(&sheet).await.unwrap();
    sheet.close().await.unwrap();
    schema
}

#[test]
fn what_is_the_same_looks_the_same() {
    run(async {
        for (one, other) in [
            ("CREATE TABLE t (a INT, b TEXT)", "create table if not exists \"t\" ( [a] int , -- first\n `b` Text );"),
            ("CREATE TABLE t (a INT, b TEXT DEFAULT 'x')", "CREATE TABLE t (a INT); ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'x'"),
            (
                "CREATE TABLE t (a INT, b INT, CHECK (a > 0))",
                "CREATE TABLE t (a INT CHECK(\"a\">0)); ALTER TABLE t ADD COLUMN b INT",
            ),
            (
                "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (a INT, b INT REFERENCES p (id), UNIQUE (a))",
                "CREATE TABLE p (id INTEGER, PRIMARY KEY (id)); CREATE TABLE t (a INT UNIQUE, b INT, FOREIGN KEY (b) REFERENCES p (id))",
            ),
            (
                "CREATE TABLE t (a INT); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT a FROM t;
                 CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM t WHERE a < 0; END",
                "CREATE TABLE x (a INT); CREATE INDEX i ON x(a ASC); CREATE VIEW v AS SELECT a FROM x;
                 CREATE TRIGGER r AFTER INSERT ON x BEGIN DELETE FROM x WHERE a<0; END; ALTER TABLE x RENAME TO t",
            ),
            (
                "CREATE TABLE t (id INTEGER PRIMARY KEY, c INT AS (id * 2) STORED)",
                "CREATE TABLE t (c INT GENERATED ALWAYS AS (ID*2) STORED, id INTEGER PRIMARY KEY);
                 CREATE TABLE n (id INTEGER PRIMARY KEY, c INT AS (id * 2) STORED); DROP TABLE t; ALTER TABLE n RENAME TO t",
            ),
            (
                "CREATE VIRTUAL TABLE t USING fts5 (a, b)",
                "CREATE VIRTUAL TABLE \"t\" USING fts5(a,b); INSERT INTO t VALUES ('x', 'y'); ANALYZE",
            ),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", "CREATE TABLE T (id INTEGER PRIMARY KEY AUTOINCREMENT)"),
            ("CREATE TABLE t (\"Two Words\" INT)", "CREATE TABLE t ([Two Words] INT)"),
        ] {
            let (one, other) = (schema(one).await, schema(other).await);
            assert_eq!(one.compare(&other), Ok(()));
        }
        assert_eq!(
            schema("CREATE TABLE a (x)").await,
            schema("CREATE  TABLE a(x)").await
        );
        let dump = schema("CREATE TABLE a (x)").await;
        assert_eq!(format!("{dump:?}"), "TABLE a\n  x\n");
    });
}

#[test]
fn what_is_different_is_named() {
    run(async {
        for (one, other, differences) in [
            (
                "CREATE TABLE t (a INT)",
                "CREATE TABLE t (a INT NOT NULL)",
                "  TABLE t\n-   a INT\n+   a INT NOT NULL",
            ),
            (
                "CREATE TABLE t (a INT, UNIQUE (a))",
                "CREATE TABLE t (a INT)",
                "  TABLE t\n-   UNIQUE (a)",
            ),
            (
                "CREATE TABLE t (a INT)",
                "CREATE TABLE t (a TEXT)",
                "  TABLE t\n-   a INT\n+   a TEXT",
            ),
            (
                "CREATE TABLE t (a INT, b INT, c INT, PRIMARY KEY (b, a))",
                "CREATE TABLE t (a INT, b INT, c INT)",
                "  TABLE t\n-   PRIMARY KEY (b, a)",
            ),
            (
                "CREATE TABLE t (a INT)",
                "CREATE TABLE t (a INT) STRICT",
                "  TABLE t\n+   STRICT",
            ),
            (
                "CREATE TABLE t (a INT)",
                "CREATE TABLE t (a INT DEFAULT 1)",
                "  TABLE t\n-   a INT\n+   a INT DEFAULT 1",
            ),
            (
                "CREATE TABLE t (a TEXT)",
                "CREATE TABLE t (a TEXT COLLATE NOCASE)",
                "  TABLE t\n-   a TEXT\n+   a TEXT COLLATE NOCASE",
            ),
            (
                "CREATE TABLE t (a INT CHECK (a > 0))",
                "CREATE TABLE t (a INT CHECK (a >= 0))",
                "  TABLE t\n-   CHECK (a > 0)\n+   CHECK (a >= 0)",
            ),
            (
                "CREATE TABLE t (a INT REFERENCES t (a))",
                "CREATE TABLE t (a INT REFERENCES t (a) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED)",
                "  TABLE t\n-   FOREIGN KEY (a) REFERENCES t (a)\n+   FOREIGN KEY (a) REFERENCES t (a) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
            ),
            (
                "CREATE TABLE t (a INT, b INT); CREATE INDEX i ON t (a)",
                "CREATE TABLE t (a INT, b INT); CREATE UNIQUE INDEX i ON t (a DESC, lower(b)) WHERE b > 0",
                "  INDEX i\n-   ON t (a)\n+   UNIQUE ON t (a DESC, lower (b)) where b > 0",
            ),
            (
                "CREATE TABLE t (a INT, b INT)",
                "CREATE TABLE t (b INT, a INT)",
                "  TABLE t\n-   columns in this order: a, b\n+   columns in this order: b, a",
            ),
            (
                "CREATE TABLE t (a INT); CREATE TABLE old (a INT)",
                "CREATE TABLE t (a INT); CREATE VIEW new AS SELECT a FROM t",
                "- TABLE old\n-   a INT\n+ VIEW new\n+   as select a from t",
            ),
            (
                "CREATE TABLE t (a INT, b INT); CREATE INDEX i ON t (a); CREATE TABLE u (a INT)",
                "CREATE TABLE t (a INT, b INT); CREATE TABLE u (a INT); CREATE INDEX i ON u (a)",
                "  INDEX i\n-   ON t (a)\n+   ON u (a)",
            ),
            (
                "CREATE TABLE t (a INT, b INT); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 'a'; END",
                "CREATE TABLE t (a INT, b INT); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 'A'; END",
                "  TRIGGER r\n-   after insert on t begin select 'a'; end\n+   after insert on t begin select 'A'; end",
            ),
        ] {
            let found = schema(one).await.compare(&schema(other).await).unwrap_err();
            assert_eq!(found.to_string(), differences);
            assert_eq!(format!("{found:?}"), format!("\n{differences}"));
        }
    });
}

#[test]
fn a_migration_that_ends_like_a_new_database_gives_its_manager() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let init = "CREATE TABLE t (name TEXT NOT NULL, age INT)";
        let migrate = "ALTER TABLE t ADD COLUMN age INT";
        let migration = Migration::from_sql("1.9.0", "CREATE TABLE t (name TEXT NOT NULL)")
            .seed("INSERT INTO t VALUES ('Ada') -- the first")
            .seed("INSERT INTO t VALUES ('Bob')");
        let migrated = migration.check_with(sheet(init, migrate)).await.unwrap();
        assert_eq!(migrated.names().await.unwrap(), ["Ada", "Bob"]);
        assert_eq!(migrated.get_version().await.unwrap(), Version::new(2, 0, 0));
        assert!(
            testing::schema(&migrated)
                .await
                .unwrap()
                .to_string()
                .starts_with("TABLE t\n")
        );
        migrated.close().await.unwrap();
        drop(directory);
    });
}

#[test]
fn a_migration_that_ends_elsewhere_says_where() {
    run(async {
        let migration = || Migration::from_sql("1.0.0", "CREATE TABLE t (name TEXT)");
        let error = migration()
            .check_with(sheet(
                "CREATE TABLE t (name TEXT, age INT); CREATE INDEX by_age ON t (age)",
                "ALTER TABLE t ADD COLUMN age TEXT",
            ))
            .await
            .unwrap_err();
        let text = "the migrated database (-) is not like a new one (+):\n  TABLE t\n-   age TEXT\n+   age INT\n+ INDEX by_age\n+   ON t (age)";
        assert_eq!(error.to_string(), text);
        assert_eq!(format!("{error:?}"), text, "what unwrap() prints");
        assert!(error.source().unwrap().is::<testing::SchemaDiff>());

        let error = migration()
            .check_with(sheet(
                "CREATE TABLE t (age INT, name TEXT)",
                "ALTER TABLE t ADD COLUMN age INT",
            ))
            .await
            .unwrap_err();
        assert!(
            matches!(error, MigrationError::Differs(_)),
            "SELECT * means something else"
        );

        let error = migration()
            .check_with(sheet("", "DROP TABLE nothing"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, MigrationError::Failed(Error::Sqlite(_))),
            "{error}"
        );
        let error = Migration::from_sql("one", "")
            .check_with(sheet("", ""))
            .await
            .unwrap_err();
        assert!(
            matches!(error, MigrationError::Failed(Error::Other(_))),
            "{error}"
        );
    });
}

#[test]
fn a_fixture_is_copied_and_keeps_its_version() {
    run(async {
        let old = TestDirectory::new().unwrap();
        let config = old.config().version(Version::new(1, 2, 3));
        let store = Store::create_hooked(config, Hooks::default())
            .await
            .unwrap();
        store.add(7, "seven").await.unwrap();
        store.close().await.unwrap();
        let fixture = old.path().join("database.db");
        let before = std::fs::read(&fixture).unwrap();

        let init = "CREATE TABLE t (name TEXT)";
        let migrate = "CREATE TABLE t (name TEXT); INSERT INTO t SELECT text || id FROM note; DROP TABLE note";
        let migrated = Migration::from_file(&fixture)
            .seed("INSERT INTO note VALUES (8, 'eight')")
            .check_with(sheet(init, migrate))
            .await
            .unwrap();
        assert_eq!(migrated.names().await.unwrap(), ["eight8", "seven7"]);
        migrated.close().await.unwrap();
        assert_eq!(std::fs::read(&fixture).unwrap(), before);
        assert_eq!(names(old.path()), ["database.db"]);

        let missing = Migration::from_file(old.path().join("missing.db"));
        let error = missing.check_with(sheet("", "")).await.unwrap_err();
        assert!(
            matches!(error, MigrationError::Failed(Error::Io { .. })),
            "{error}"
        );
    });
}

#[test]
fn a_directory_goes_with_its_test() {
    run(async {
        let directory = TestDirectory::new().unwrap();
        let path = directory.path().to_owned();
        for id in 1..3 {
            let store = Store::create_hooked(directory.config(), Hooks::default())
                .await
                .unwrap();
            store.add(id, "x").await.unwrap();
            store.close().await.unwrap();
        }
        drop(directory);
        assert!(!path.exists());
    });
}

/// Calls with each failure policy.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Counter {
    core: ManagerCore,
}

impl Schema for Counter {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE n (v INT) STRICT").await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

impl Counter {
    #[database_safe(timeout = "50ms")]
    async fn add(&self, db: &mut WriteTransaction, v: i64) -> Result<()> {
        db.execute("INSERT INTO n VALUES (?1)", (v,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_two(&self, db: &mut WriteTransaction, v: i64) -> Result<bool> {
        db.execute("INSERT INTO n VALUES (?1)", (v,)).await?;
        Ok(self.add(v + 1).await.is_ok())
    }

    #[database_safe]
    #[fail_value((-1, None))]
    #[fail_with_exception]
    async fn sum(&self, db: &mut ReadTransaction) -> Result<(i64, Option<Error>)> {
        Ok((
            db.query_one("SELECT coalesce(sum(v), 0) FROM n", ())
                .await?,
            None,
        ))
    }

    #[database_safe]
    async fn slow(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM n", ()).await?;
        Ok(())
    }
}

async fn counter() -> Arc<Counter> {
    Counter::create(Config::in_memory()).await.unwrap()
}

#[test]
fn the_next_calls_fail_in_order_and_only_they() {
    run_on_one_thread(async {
        let (counter, other) = (counter().await, counter().await);
        testing::fail_next(&counter, "add", Error::other("first"));
        testing::fail_next(&counter, "sum", Error::other("no sums"));
        testing::fail_next(&counter, "add", Fault::Timeout);
        testing::fail_next(&counter, "no_such_method", Error::other("never"));
        other.add(1).await.unwrap();
        assert_eq!(counter.add(1).await.unwrap_err().to_string(), "first");
        assert!(
            matches!(counter.add(1).await, Err(Error::Timeout { method: "add", limit }) if limit.as_millis() == 50)
        );
        counter.add(1).await.unwrap();
        let (sum, error) = counter.sum().await;
        assert_eq!((sum, error.unwrap().to_string().as_str()), (-1, "no sums"));
        assert_eq!(counter.sum().await.0, 1);
        counter.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[test]
fn a_panic_is_what_the_attributes_make_of_it() {
    run_on_one_thread(async {
        let counter = counter().await;
        testing::fail_next(&counter, "sum", Fault::Panic);
        let (sum, error) = counter.sum().await;
        assert_eq!(sum, -1);
        assert!(matches!(error, Some(Error::Panicked { method: "sum", .. })));
        testing::fail_next(&counter, "add", Fault::Panic);
        let adding = Arc::clone(&counter);
        let panicked = tokio::spawn(async move { adding.add(1).await }).await;
        assert!(panicked.unwrap_err().is_panic());
        within(counter.add(1)).await.unwrap();
        assert_eq!(counter.sum().await.0, 1);
        counter.close().await.unwrap();
    });
}

#[test]
fn a_nested_call_that_fails_undoes_only_itself() {
    run(async {
        let counter = counter().await;
        testing::fail_next(&counter, "add", Error::other("nested"));
        assert!(!counter.add_two(10).await.unwrap());
        assert_eq!(counter.sum().await.0, 10);
        testing::fail_next(&counter, "add_two", Error::other("outer"));
        assert!(counter.add_two(10).await.is_err());
        assert_eq!(counter.sum().await.0, 10);
        counter.close().await.unwrap();
    });
}

#[test]
fn a_call_that_hangs_ends_with_its_timeout_or_its_future() {
    run(async {
        let counter = counter().await;
        testing::fail_next(&counter, "add", Fault::Hang);
        assert!(matches!(
            within(counter.add(1)).await,
            Err(Error::Timeout { .. })
        ));

        testing::fail_next(&counter, "slow", Fault::Hang);
        let mut hanging = Box::pin(counter.slow());
        assert!(waits(&mut hanging).await);
        let mut queued = Box::pin(counter.add(2));
        assert!(waits(&mut queued).await, "it has the lock");
        drop(hanging);
        within(queued).await.unwrap();
        assert_eq!(counter.sum().await.0, 2);

        testing::fail_next(&counter, "slow", Fault::Hang);
        let mut hanging = Box::pin(counter.slow());
        assert!(waits(&mut hanging).await);
        within(counter.close_within(Duration::ZERO)).await.unwrap();
        drop(hanging);
        assert_eq!(counter.status(), Status::Stopped);
    });
}

#[test]
fn a_fault_does_not_open_a_closed_manager() {
    run(async {
        let counter = counter().await;
        counter.close().await.unwrap();
        testing::fail_next(&counter, "add", Error::other("late"));
        assert!(matches!(counter.add(1).await, Err(Error::Closed { .. })));
        assert!(matches!(
            testing::schema(&counter).await,
            Err(Error::Closed { .. })
        ));
    });
}

#[test]
fn paused_time_stands_still_while_statements_run_inline() {
    run_on_one_thread(async {
        tokio::time::pause();
        let config = Config::in_memory().execution(Execution::Inline);
        let store = Sheet::create_with(config, sheet("CREATE TABLE t (name TEXT)", ""))
            .await
            .unwrap();
        for _ in 0..20 {
            assert_eq!(store.read_late().await.unwrap(), 0);
        }
    });
}
