//! What is in the file cannot make a program do what it did not ask for, unless it is told to trust the file.

use dbm_core::prelude::*;
use dbm_tests::run;
use rusqlite::functions::FunctionFlags;

use super::{EXECUTIONS, Store};

impl Store {
    /// The function is the program's, the trigger may be anybody's.
    #[database_safe]
    async fn insert_with_a_function(
        &self,
        db: &mut WriteTransaction,
        flags: FunctionFlags,
    ) -> Result<i64> {
        db.call(move |c| {
            let secret = |_: &rusqlite::functions::Context<'_>| Ok(42_i64);
            c.create_scalar_function("secret", 0, flags | FunctionFlags::SQLITE_UTF8, secret)?;
            c.execute_batch(
                "DROP TABLE IF EXISTS found; CREATE TABLE found (n);
                 CREATE TRIGGER finds AFTER INSERT ON number BEGIN INSERT INTO found VALUES (secret()); END;
                 INSERT INTO number VALUES (4)",
            )?;
            let found = c.query_row("SELECT n FROM found", (), |row| row.get(0))?;
            c.execute_batch("DROP TRIGGER finds; DELETE FROM number WHERE n = 4")?;
            Ok(found)
        })
        .await
    }

    #[database_safe]
    async fn write_the_schema(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql")
            .await
    }

    #[database_safe]
    async fn write_behind_a_virtual_table(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(word); DELETE FROM words_data",
        )
        .await
    }

    #[database_safe]
    async fn checks_cells(&self, db: &mut Connection) -> Result<bool> {
        db.query_one("PRAGMA cell_size_check", ()).await
    }

    #[database_safe]
    async fn long_text(&self, db: &mut WriteTransaction, bytes: usize) -> Result<()> {
        let sql = format!("SELECT 1 /*{}*/", "x".repeat(bytes));
        db.execute_batch(&sql).await
    }

    /// Everything that a schema may call without harm goes on working.
    #[database_safe]
    async fn use_much(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT, at TEXT DEFAULT (datetime('now')),
                 low TEXT AS (lower(text)), CHECK (json_valid(json_array(text))));
             CREATE INDEX by_low ON note (upper(low)) WHERE length(text) > 1;
             CREATE VIRTUAL TABLE search USING fts5(text, content = 'note', content_rowid = 'id');
             CREATE VIRTUAL TABLE box USING rtree(id, a, b);
             CREATE VIRTUAL TABLE old USING fts4(text);
             CREATE TRIGGER note_in AFTER INSERT ON note BEGIN
                 INSERT INTO search (rowid, text) VALUES (NEW.id, NEW.text);
                 INSERT INTO box VALUES (NEW.id, 1, 2);
                 INSERT INTO old (docid, text) VALUES (NEW.id, NEW.text);
             END;
             CREATE TRIGGER note_out AFTER DELETE ON note BEGIN
                 INSERT INTO search (search, rowid, text) VALUES ('delete', OLD.id, OLD.text);
             END;
             CREATE VIEW hit AS SELECT note.*, bm25(search) AS rank FROM search JOIN note ON note.id = search.rowid;
             INSERT INTO note (text) VALUES ('a word'), ('another word');
             DELETE FROM note WHERE id = 2;
             INSERT INTO search (search) VALUES ('optimize')",
        )
        .await?;
        let found: i64 = db
            .query_one("SELECT count(*) FROM search('word')", ())
            .await?;
        assert_eq!(found, 1);
        Ok(())
    }
}

#[test]
fn a_schema_is_not_trusted_unless_the_program_says_so() {
    run(async {
        for execution in EXECUTIONS {
            for hardened in [true, false] {
                let config = Config::in_memory().execution(execution).hardened(hardened);
                let store = Store::create(config).await.unwrap();
                let none = FunctionFlags::empty();
                let found = store.insert_with_a_function(none).await;
                assert_eq!(found.is_err(), hardened, "{found:?}");
                let innocuous = FunctionFlags::SQLITE_INNOCUOUS;
                assert_eq!(store.insert_with_a_function(innocuous).await.unwrap(), 42);
                assert_eq!(store.write_the_schema().await.is_err(), hardened);
                assert_eq!(
                    store.write_behind_a_virtual_table().await.is_err(),
                    hardened
                );
                assert_eq!(store.long_text(20_000_000).await.is_err(), hardened);
                store.long_text(10_000_000).await.unwrap();
                assert_eq!(store.checks_cells().await.unwrap(), hardened);
                store.use_much().await.unwrap();
                store.close().await.unwrap();
            }
        }
    });
}
