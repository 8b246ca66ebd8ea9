//! What `execute` counts is what its own statement changed, and the id of a row comes from `RETURNING`: never what SQLite
//! remembers of another statement, another table or another call.

use super::*;
use dbm_tests::run;

impl Store {
    #[database_safe]
    async fn make_tables(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hits INTEGER NOT NULL DEFAULT 0) STRICT;
             CREATE TABLE log (id INTEGER PRIMARY KEY, what TEXT NOT NULL) STRICT;
             CREATE TABLE keyed (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE part (item INTEGER NOT NULL REFERENCES item ON DELETE CASCADE) STRICT;
             CREATE VIEW shown AS SELECT id, name FROM item;
             CREATE TRIGGER noted AFTER INSERT ON item BEGIN
                 INSERT INTO log (what) VALUES (new.name), ('again');
             END;
             CREATE TRIGGER before_it BEFORE INSERT ON keyed BEGIN
                 INSERT INTO log (what) VALUES ('before');
             END;
             CREATE TRIGGER through INSTEAD OF INSERT ON shown BEGIN
                 INSERT INTO item (name) VALUES (new.name);
             END;
             CREATE VIRTUAL TABLE note USING fts5(body)",
        )
        .await
    }

    #[database_safe]
    async fn counts(&self, db: &mut WriteTransaction, statements: &[(&str, usize)]) -> Result<()> {
        // The plan of a statement is asked for when it has run first, which has SQLite forget the count.
        let before = "INSERT INTO log (what) VALUES ('one'), ('two'), ('three'), ('four')";
        db.execute(before, ()).await?;
        for (sql, expected) in statements {
            assert_eq!(db.execute(before, ()).await?, 4);
            assert_eq!(db.execute(sql, ()).await?, *expected, "{sql}");
        }
        Ok(())
    }

    #[database_safe]
    async fn undone(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item (name) VALUES ('undone'), ('too')", ())
            .await?;
        Err(Error::other("undone"))
    }

    #[database_safe]
    async fn after_an_undone_call(&self, db: &mut WriteTransaction) -> Result<[usize; 2]> {
        assert!(self.undone().await.is_err());
        assert!(self.undone().await.is_err());
        let index = db
            .execute("CREATE INDEX by_hits ON item (hits)", ())
            .await?;
        let nothing = db.execute("DELETE FROM item WHERE name = 'undone'", ());
        let nothing = nothing.await?;
        db.execute("DROP INDEX by_hits", ()).await?;
        Ok([nothing, index])
    }
}

#[test]
fn a_count_is_that_of_the_statement_and_not_of_one_before_it() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.make_tables().await.unwrap();
            let statements = [
                ("INSERT INTO item (name) VALUES ('a'), ('b'), ('c')", 3),
                ("CREATE INDEX by_hits ON item (hits)", 0),
                ("REINDEX by_hits", 0),
                ("DROP INDEX by_hits", 0),
                ("UPDATE item SET hits = 1", 3),
                ("CREATE TABLE copy AS SELECT * FROM item", 0),
                ("ALTER TABLE copy ADD COLUMN more", 0),
                ("ALTER TABLE copy RENAME TO copied", 0),
                ("DELETE FROM copied", 3),
                ("DROP TABLE copied", 0),
                ("SELECT * FROM item", 0),
                ("PRAGMA user_version = 7", 0),
                ("PRAGMA foreign_keys", 0),
                ("ANALYZE", 0),
                ("EXPLAIN DELETE FROM item", 0),
                ("UPDATE item SET hits = 2 WHERE name = 'nobody'", 0),
                ("INSERT OR IGNORE INTO item (name) VALUES ('a')", 0),
                (
                    "INSERT INTO item (name) VALUES ('a') ON CONFLICT DO NOTHING",
                    0,
                ),
                (
                    "INSERT INTO item (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET hits = 9",
                    1,
                ),
                ("REPLACE INTO item (id, name) VALUES (1, 'a')", 1),
                (
                    "INSERT INTO item (name) VALUES ('d'), ('e') RETURNING id",
                    2,
                ),
                ("UPDATE item SET hits = 3 RETURNING id, name", 5),
                ("DELETE FROM item WHERE name = 'nobody' RETURNING id", 0),
                (
                    "WITH x(n) AS (VALUES ('f'), ('g')) INSERT INTO item (name) SELECT n FROM x",
                    2,
                ),
                ("INSERT INTO keyed VALUES ('k', 1)", 1),
                ("INSERT OR IGNORE INTO keyed VALUES ('k', 1)", 0),
                ("INSERT INTO shown (name) VALUES ('view')", 0),
                ("INSERT INTO part SELECT id FROM item", 8),
                ("DELETE FROM item WHERE name = 'view'", 1),
                ("INSERT INTO note VALUES ('one'), ('two')", 2),
                ("UPDATE note SET body = 'three'", 2),
                ("DELETE FROM note WHERE body = 'nothing'", 0),
                ("DELETE FROM item", 7),
            ];
            store.counts(&statements).await.unwrap();
            // Known statements take another way than those that are seen first.
            let again = [
                ("INSERT INTO item (name) VALUES ('a'), ('b'), ('c')", 3),
                ("UPDATE item SET hits = 2 WHERE name = 'nobody'", 0),
                ("DELETE FROM item", 3),
                ("DELETE FROM item", 0),
            ];
            for _ in 0..3 {
                store.counts(&again).await.unwrap();
            }
            assert_eq!(store.after_an_undone_call().await.unwrap(), [0, 0]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn upsert(&self, db: &mut WriteTransaction, name: &str) -> Result<i64> {
        db.query_one(
            "INSERT INTO item (name) VALUES (?1) ON CONFLICT (name) DO UPDATE SET hits = hits + 1 RETURNING id",
            (name,),
        )
        .await
    }

    #[database_safe]
    async fn put(&self, db: &mut WriteTransaction, name: &str) -> Result<(String, i64)> {
        db.query_one(
            "INSERT INTO keyed VALUES (?1, 1) RETURNING name, n",
            (name,),
        )
        .await
    }
}

#[test]
fn returning_gives_the_id_whatever_triggers_and_other_calls_insert() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.make_tables().await.unwrap();
            let first = store.upsert("first").await.unwrap();
            let second = store.upsert("second").await.unwrap();
            store.add(900).await.unwrap();
            assert_eq!(store.upsert("first").await.unwrap(), first);
            assert_eq!((first, second), (1, 2), "not those of the log");
            assert_eq!(store.put("k").await.unwrap(), ("k".to_owned(), 1));
            store.close().await.unwrap();
        }
    });
}
