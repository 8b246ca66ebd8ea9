//! A migration leaves no foreign key that is of no use, and no row without its parent that had one before.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite::Connection as Sqlite;
use dbm_tests::{bytes, run, within};
use tempfile::TempDir;

#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Family {
    core: ManagerCore,
    /// What `init_db` or `migrate_db` does.
    sql: &'static str,
}

impl Schema for Family {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(self.sql).await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch(self.sql).await?;
        Ok(true)
    }
}

impl Family {
    #[database_safe]
    async fn write(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }
}

/// A database of version 1.0.0, made with foreign keys off.
async fn old(sql: &'static str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let config = Config::new(directory.path()).version(Version::new(1, 0, 0));
    let family = Family::create_with(config, |core| Family {
        core,
        sql: "CREATE TABLE plain (x)",
    })
    .await
    .unwrap();
    family.close().await.unwrap();
    let db = Sqlite::open(directory.path().join("database.db")).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    db.execute_batch(sql).unwrap();
    directory
}

async fn migrate(directory: &TempDir, sql: &'static str) -> Result<Arc<Family>> {
    within(Family::create_with(Config::new(directory.path()), |core| {
        Family { core, sql }
    }))
    .await
}

async fn is_refused(old_sql: &'static str, sql: &'static str) -> (String, String, u64) {
    let directory = old(old_sql).await;
    let before = bytes(directory.path())["database.db"];
    let (child, parent, count) = match migrate(&directory, sql).await.map(drop) {
        Err(Error::ForeignKeys {
            child,
            parent,
            count,
            ..
        }) => (child, parent, count),
        other => panic!("{sql}: {other:?}"),
    };
    assert_eq!(bytes(directory.path())["database.db"], before, "{sql}");
    (child.into(), parent.into(), count)
}

/// Afterwards `insert` must work.
async fn is_accepted(old_sql: &'static str, sql: &'static str, insert: &str) {
    let directory = old(old_sql).await;
    let family = match migrate(&directory, sql).await {
        Ok(family) => family,
        Err(error) => panic!("{sql}: {error}"),
    };
    if let Err(error) = family.write(insert).await {
        panic!("{sql}: {insert}: {error}");
    }
    family.close().await.unwrap();
}

const EMPTY: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE)";

#[test]
fn a_key_that_loses_its_parent_is_refused_though_its_child_is_empty() {
    run(async {
        for sql in [
            "ALTER TABLE parent RENAME TO old; CREATE TABLE parent (id INTEGER PRIMARY KEY); DROP TABLE old",
            "DROP TABLE parent",
            "DROP TABLE parent; CREATE VIEW parent AS SELECT 1 AS id",
            "DROP TABLE parent; CREATE VIRTUAL TABLE parent USING fts5(id)",
            "DROP TABLE parent; CREATE TABLE parent (id INTEGER)",
            "DROP TABLE parent; CREATE TABLE parent (a, b, PRIMARY KEY (a, b))",
            "CREATE TABLE other (parent REFERENCES nobody)",
            "CREATE TABLE other (parent REFERENCES parent (nowhere))",
            "CREATE TABLE other (a, b, FOREIGN KEY (a, b) REFERENCES parent (id, name))",
            "CREATE TABLE other (a REFERENCES other (b), b)",
            "CREATE TABLE other (a PRIMARY KEY REFERENCES nobody) WITHOUT ROWID",
        ] {
            let (child, _, count) = is_refused(EMPTY, sql).await;
            assert_eq!(count, 0, "{sql}");
            let expected = if sql.starts_with("CREATE") {
                "other"
            } else {
                "child"
            };
            assert_eq!(child, expected, "{sql}");
        }
        let by_name = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
            CREATE TABLE child (parent REFERENCES parent (name))";
        for sql in [
            "DROP TABLE parent; CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT)",
            "DROP TABLE parent; CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT); CREATE UNIQUE INDEX u ON parent (name) WHERE id > 1",
            "DROP TABLE parent; CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        ] {
            assert_eq!(
                is_refused(by_name, sql).await,
                ("child".into(), "parent".into(), 0)
            );
        }
    });
}

#[test]
fn a_key_whose_parent_is_there_under_any_spelling_is_accepted() {
    run(async {
        let insert = "INSERT INTO child (id, parent) VALUES (1, NULL)";
        for sql in [
            "ALTER TABLE parent RENAME TO people",
            "ALTER TABLE parent RENAME TO p; ALTER TABLE p RENAME TO PARENT",
            "ALTER TABLE parent RENAME COLUMN id TO number",
            "ALTER TABLE child RENAME COLUMN parent TO of; ALTER TABLE child RENAME COLUMN of TO parent",
            "CREATE TABLE new (id INTEGER PRIMARY KEY); DROP TABLE parent; ALTER TABLE new RENAME TO Parent",
            "DROP TABLE child; CREATE TABLE child (id, parent REFERENCES \"PARENT\" (\"NAME\"))",
            "DROP TABLE child; CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES child)",
            "DROP TABLE child; CREATE TABLE child (id, parent, x, FOREIGN KEY (id, x) REFERENCES pair (b, a)); CREATE TABLE pair (a, b, UNIQUE (b, a))",
            "DROP TABLE child; CREATE TABLE child (id, parent REFERENCES \"a \"\"b\"\" order\"); CREATE TABLE \"a \"\"b\"\" order\" (\"group\" INTEGER PRIMARY KEY)",
        ] {
            is_accepted(EMPTY, sql, insert).await;
        }
    });
}

const ORPHANED: &str =
    "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent);
    INSERT INTO child VALUES (10, 1), (11, 98), (12, 99)";

#[test]
fn an_old_orphan_refuses_no_start_whatever_is_renamed_or_rebuilt() {
    run(async {
        for (sql, insert) in [
            ("ALTER TABLE child RENAME TO kid", "INSERT INTO kid VALUES (13, 1)"),
            ("ALTER TABLE parent RENAME TO people", "INSERT INTO child VALUES (13, 1)"),
            (
                "ALTER TABLE parent RENAME TO people; ALTER TABLE child RENAME TO kid",
                "INSERT INTO kid VALUES (13, 1)",
            ),
            (
                "ALTER TABLE child RENAME COLUMN parent TO of; ALTER TABLE parent RENAME COLUMN id TO number",
                "INSERT INTO child (of) VALUES (1)",
            ),
            (
                "ALTER TABLE child RENAME TO kid; ALTER TABLE kid RENAME COLUMN parent TO of; ALTER TABLE kid RENAME COLUMN id TO number",
                "INSERT INTO kid (of) VALUES (1)",
            ),
            (
                "CREATE TABLE new (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent) STRICT; INSERT INTO new SELECT * FROM child;
                 DROP TABLE child; ALTER TABLE new RENAME TO child",
                "INSERT INTO child VALUES (13, 1)",
            ),
            (
                "CREATE TABLE new (id TEXT PRIMARY KEY, parent TEXT REFERENCES parent) WITHOUT ROWID; INSERT INTO new SELECT * FROM child;
                 DROP TABLE child; ALTER TABLE new RENAME TO child",
                "INSERT INTO child VALUES ('13', 1)",
            ),
            (
                "CREATE TABLE new (key BLOB PRIMARY KEY, parent REFERENCES parent); INSERT INTO new SELECT randomblob(8), parent FROM child;
                 DROP TABLE child; ALTER TABLE new RENAME TO child",
                "INSERT INTO child VALUES (x'13', 1)",
            ),
            (
                "CREATE TABLE people (id INTEGER PRIMARY KEY); INSERT INTO people SELECT * FROM parent; DROP TABLE parent;
                 CREATE TABLE new (id INTEGER PRIMARY KEY, parent REFERENCES people); INSERT INTO new SELECT * FROM child;
                 DROP TABLE child; ALTER TABLE new RENAME TO child",
                "INSERT INTO child VALUES (13, 1)",
            ),
            ("DELETE FROM child WHERE id = 11", "INSERT INTO child VALUES (13, 1)"),
            ("INSERT INTO parent VALUES (98)", "INSERT INTO child VALUES (13, 98)"),
        ] {
            is_accepted(ORPHANED, sql, insert).await;
        }
    });
}

#[test]
fn a_row_that_loses_its_parent_is_counted_though_another_one_is_gone() {
    run(async {
        for (sql, count) in [
            (
                "DELETE FROM child WHERE id = 11; INSERT INTO child VALUES (13, 97)",
                1,
            ),
            (
                "DELETE FROM child WHERE id = 11; INSERT INTO child VALUES (13, 98)",
                1,
            ),
            ("DELETE FROM child WHERE id > 10; DELETE FROM parent", 1),
            ("UPDATE child SET parent = 97 WHERE id = 11", 1),
            ("INSERT INTO child SELECT id + 10, parent FROM child", 2),
            (
                "ALTER TABLE child RENAME TO kid; INSERT INTO kid VALUES (13, 98)",
                1,
            ),
            (
                "DELETE FROM child; CREATE TABLE other (parent REFERENCES parent); INSERT INTO other VALUES (98)",
                1,
            ),
        ] {
            assert_eq!(is_refused(ORPHANED, sql).await.2, count, "{sql}");
        }
    });
}

#[test]
fn every_kind_of_key_is_judged_by_its_rows() {
    run(async {
        let composite = "CREATE TABLE parent (a, b, PRIMARY KEY (a, b)); INSERT INTO parent VALUES (1, 1), (2, 2);
            CREATE TABLE child (x, y, FOREIGN KEY (x, y) REFERENCES parent); INSERT INTO child VALUES (1, 1), (2, 2), (1, NULL)";
        let sql = "DELETE FROM parent WHERE a = 2";
        assert_eq!(is_refused(composite, sql).await.2, 1);
        is_accepted(
            composite,
            "INSERT INTO child VALUES (NULL, 7)",
            "INSERT INTO child VALUES (1, 1)",
        )
        .await;

        let tree = "CREATE TABLE node (id INTEGER PRIMARY KEY, above REFERENCES node); INSERT INTO node VALUES (1, NULL), (2, 1), (3, 2)";
        assert_eq!(is_refused(tree, "DELETE FROM node WHERE id < 3").await.2, 1);
        is_accepted(
            tree,
            "DELETE FROM node WHERE id = 3",
            "INSERT INTO node VALUES (4, 2)",
        )
        .await;

        let without = "CREATE TABLE parent (id TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO parent VALUES ('a');
            CREATE TABLE child (n INTEGER, parent REFERENCES parent, PRIMARY KEY (n, parent)) WITHOUT ROWID;
            INSERT INTO child VALUES (1, 'a'), (2, 'old')";
        assert_eq!(is_refused(without, "UPDATE parent SET id = 'A'").await.2, 1);
        assert_eq!(
            is_refused(without, "UPDATE child SET n = 3 WHERE n = 2")
                .await
                .2,
            1
        );
        is_accepted(
            without,
            "ALTER TABLE child RENAME TO kid",
            "INSERT INTO kid VALUES (3, 'a')",
        )
        .await;

        // A key that is of no use hides none of the others.
        let two = "CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (1);
            CREATE TABLE child (lost REFERENCES nobody, p REFERENCES parent); INSERT INTO child VALUES (NULL, 1), (5, NULL)";
        assert_eq!(
            is_refused(two, "DELETE FROM parent").await,
            ("child".into(), "parent".into(), 1)
        );
        is_accepted(
            two,
            "ALTER TABLE child RENAME TO kid",
            "INSERT INTO parent VALUES (2)",
        )
        .await;
    });
}

#[test]
fn a_key_that_was_of_no_use_before_is_not_blamed_and_may_be_mended() {
    run(async {
        let broken = "CREATE TABLE parent (id); CREATE TABLE child (p REFERENCES parent (id), q REFERENCES nobody);
            INSERT INTO parent VALUES (1), (1); INSERT INTO child VALUES (1, NULL), (2, 7)";
        for sql in [
            "CREATE TABLE more (x)",
            "ALTER TABLE child RENAME TO kid",
            "DELETE FROM parent WHERE rowid = 2; CREATE UNIQUE INDEX u ON parent (id); CREATE TABLE nobody (id INTEGER PRIMARY KEY)",
        ] {
            is_accepted(broken, sql, "INSERT INTO parent VALUES (3)").await;
        }
    });
}
