//! What tools generate, and what the guide says, can be run as it stands in a migration.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Sqlite;
use dbm_tests::{run, within};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Store {
    core: ManagerCore,
    sql: String,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(&self.sql).await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch(&self.sql).await?;
        Ok(true)
    }
}

impl Store {
    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn read(&self, db: &mut ReadTransaction, sql: &str) -> Result<Vec<i64>> {
        db.query(sql, ()).await
    }

    #[database_safe]
    async fn number(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }
}

async fn start(config: Config, sql: &str) -> Result<Arc<Store>> {
    let sql = sql.to_owned();
    within(Store::create_with(config, |core| Store { core, sql })).await
}

/// A closed database of version 1.0.0.
async fn old(sql: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let config = Config::new(directory.path()).version(Version::new(1, 0, 0));
    start(config, sql).await.unwrap().close().await.unwrap();
    directory
}

async fn migrate(directory: &TempDir, sql: &str) -> Result<Arc<Store>> {
    start(Config::new(directory.path()), sql).await
}

const USERS: &str = "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE note (id INTEGER PRIMARY KEY, user INTEGER NOT NULL REFERENCES user ON DELETE CASCADE);
    INSERT INTO user VALUES (1, 'a'), (2, 'b'); INSERT INTO note VALUES (10, 1), (11, 2);
    CREATE VIEW named AS SELECT note.id, user.name FROM note JOIN user ON user.id = note.user;
    CREATE TABLE log (name TEXT);
    CREATE TRIGGER noted AFTER INSERT ON note BEGIN INSERT INTO log SELECT name FROM user WHERE id = new.user; END";

/// The guide's SQL for a table that is rebuilt by hand.
fn recipe() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrations.md");
    let guide = fs::read_to_string(guide).unwrap();
    let by_hand = guide.split("## Rebuilding a table by hand").nth(1).unwrap();
    let block = by_hand.split("```sql\n").nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn the_recipe_rebuilds_a_table_that_views_and_triggers_read() {
    run(async {
        let directory = old(USERS).await;
        let store = migrate(&directory, &recipe()).await.unwrap();
        assert_eq!(store.number("SELECT count(*) FROM named").await.unwrap(), 2);
        store
            .write("INSERT INTO note VALUES (12, 1)")
            .await
            .unwrap();
        assert_eq!(store.number("SELECT count(*) FROM log").await.unwrap(), 1);
        let orphan = store.write("INSERT INTO note VALUES (13, 9)").await;
        assert_eq!(orphan.unwrap_err().sqlite_code(), Some(787));
        store.write("DELETE FROM user WHERE id = 1").await.unwrap();
        assert_eq!(store.number("SELECT count(*) FROM note").await.unwrap(), 1);
        // A renaming afterwards takes the view along again.
        store
            .write("ALTER TABLE user RENAME TO person")
            .await
            .unwrap();
        assert_eq!(store.number("SELECT count(*) FROM named").await.unwrap(), 1);
        store.close().await.unwrap();
    });
}

#[test]
fn a_setting_that_a_migration_forgets_is_taken_back() {
    run(async {
        let directory = old(USERS).await;
        let store = migrate(
            &directory,
            "PRAGMA legacy_alter_table = ON; PRAGMA foreign_keys = OFF",
        )
        .await
        .unwrap();
        store
            .write("ALTER TABLE user RENAME TO person")
            .await
            .unwrap();
        assert_eq!(store.number("SELECT count(*) FROM named").await.unwrap(), 2);
        let orphan = store.write("INSERT INTO note VALUES (13, 9)").await;
        assert_eq!(orphan.unwrap_err().sqlite_code(), Some(787));
        store.close().await.unwrap();
    });
}

#[test]
fn what_tools_put_around_a_migration_is_accepted_as_what_it_is_there() {
    run(async {
        for (before, after) in [
            ("PRAGMA foreign_keys=OFF;", "PRAGMA foreign_keys=ON;"),
            (
                "PRAGMA foreign_keys = 0;",
                "PRAGMA foreign_key_check; PRAGMA foreign_keys = 1;",
            ),
            (
                "PRAGMA defer_foreign_keys=ON; PRAGMA foreign_keys=OFF;",
                "PRAGMA foreign_keys=ON; PRAGMA defer_foreign_keys=OFF;",
            ),
            ("pragma Foreign_Keys(false);", "pragma foreign_keys(true);"),
            ("PRAGMA main.foreign_keys=no;", ""),
        ] {
            let directory = old(USERS).await;
            let sql = format!(
                "{before} CREATE TABLE new (id INTEGER PRIMARY KEY, name TEXT, age INT); INSERT INTO new (id, name) SELECT * FROM user;
                DROP VIEW named; DROP TRIGGER noted; DROP TABLE user; ALTER TABLE new RENAME TO user; {after}"
            );
            let store = migrate(&directory, &sql).await.unwrap();
            assert_eq!(store.number("SELECT count(*) FROM note").await.unwrap(), 2);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn elsewhere_it_is_refused_with_advice_that_can_be_followed() {
    run(async {
        let refused = |error: Error| match error {
            Error::Refused { why, .. } => why,
            other => panic!("{other:?}"),
        };
        let directory = TempDir::new().unwrap();
        for sql in ["PRAGMA foreign_keys = OFF", "PRAGMA journal_mode = DELETE"] {
            let error = start(Config::new(directory.path()), sql).await.map(drop);
            assert!(refused(error.unwrap_err()).contains("leave it out in init_db and migrate_db"));
        }
        let directory = old(USERS).await;
        let error = migrate(&directory, "PRAGMA cache_size = 7").await.map(drop);
        assert!(refused(error.unwrap_err()).contains("leave it out in init_db and migrate_db"));
        let store = migrate(&directory, "").await.unwrap();
        for sql in [
            "PRAGMA foreign_keys = OFF",
            "PRAGMA legacy_alter_table = ON",
            "PRAGMA defer_foreign_keys = OFF",
        ] {
            let error = store.write(sql).await.unwrap_err();
            assert!(refused(error).contains("`db: &mut Connection`"), "{sql}");
        }
        store.close().await.unwrap();
    });
}

const TEXTS: &str = "CREATE VIRTUAL TABLE text USING fts4(body);
    INSERT INTO text VALUES ('one two'); INSERT INTO text VALUES ('two three'); INSERT INTO text VALUES ('three')";

#[test]
fn fts4_optimizes_in_a_call_and_in_a_migration() {
    run(async {
        let optimize = [
            "SELECT optimize(text) FROM text LIMIT 1",
            "INSERT INTO text (text) VALUES ('optimize')",
            "INSERT INTO text (text) VALUES ('rebuild')",
            "INSERT INTO text (text) VALUES ('merge=8,2')",
        ];
        for sql in optimize {
            let directory = old(TEXTS).await;
            let store = migrate(&directory, sql).await.unwrap();
            store
                .write("INSERT INTO text VALUES ('four')")
                .await
                .unwrap();
            store.write(sql).await.unwrap();
            let found = store
                .number("SELECT count(*) FROM text WHERE text MATCH 'two'")
                .await;
            assert_eq!(found.unwrap(), 2);
            store.close().await.unwrap();
            let db = Sqlite::open(directory.path().join("database.db")).unwrap();
            db.execute_batch("INSERT INTO text (text) VALUES ('integrity-check')")
                .unwrap();
        }
    });
}

/// A body that sets FTS4's savepoint by hand does no harm by it.
#[test]
fn a_savepoint_by_the_name_of_fts4s_ends_with_its_call() {
    run(async {
        let directory = old("CREATE TABLE t (x)").await;
        let store = migrate(&directory, "").await.unwrap();
        store
            .write("SAVEPOINT fts3; INSERT INTO t VALUES (1)")
            .await
            .unwrap();
        for sql in ["RELEASE fts3", "ROLLBACK TO fts3"] {
            assert!(store.write(sql).await.is_err(), "{sql}: it is gone");
        }
        let undone = "SAVEPOINT fts3; INSERT INTO t VALUES (2); RELEASE fts3; INSERT INTO nowhere VALUES (1)";
        assert!(store.write(undone).await.is_err());
        // In a read, too, whose connection the next read has.
        for _ in 0..8 {
            store.read("SAVEPOINT fts3").await.unwrap();
            assert_eq!(store.read("SELECT x FROM t").await.unwrap(), [1]);
            assert!(store.read("RELEASE fts3").await.is_err());
        }
        store.write("INSERT INTO t VALUES (3)").await.unwrap();
        assert_eq!(store.number("SELECT sum(x) FROM t").await.unwrap(), 4);
        store.close().await.unwrap();
    });
}
