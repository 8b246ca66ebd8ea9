//! Handles and their statements.

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{run, within};

use super::{EXECUTIONS, Store};

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
    async fn same_row_id(&self, db: &mut WriteTransaction, id: i64) -> Result<i64> {
        db.execute("INSERT INTO parent (id) VALUES (?1)", (id,))
            .await?;
        db.last_insert_rowid().await
    }

    #[database_safe]
    async fn ignored_row_id(&self, db: &mut WriteTransaction, id: i64) -> Result<i64> {
        db.execute("INSERT OR IGNORE INTO number VALUES (?1)", (id,))
            .await?;
        db.last_insert_rowid().await
    }
}

#[test]
fn the_last_row_id_is_not_that_of_the_call_before_though_they_may_be_equal() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.add(7).await.unwrap();
            assert_eq!(store.ignored_row_id(7).await.unwrap(), 0, "no row");
            assert_eq!(store.same_row_id(7).await.unwrap(), 7);
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

impl Store {
    #[database_safe]
    async fn names<'a>(
        &self,
        db: &mut ReadTransaction,
        names: &'a [String],
    ) -> Result<Vec<&'a str>> {
        let sql = "SELECT n FROM number ORDER BY n";
        db.query_map(sql, (), |row| {
            let n: usize = row.get(0)?;
            names
                .get(n)
                .map(String::as_str)
                .ok_or_else(|| Error::other("it has no name"))
        })
        .await
    }
}

#[test]
fn rows_may_become_what_the_body_has_borrowed() {
    run(async {
        let names = ["zero", "one", "two", "three"].map(String::from);
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            assert_eq!(store.names(&names).await.unwrap(), ["one", "two", "three"]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn ask_again(&self, db: &mut ReadTransaction, sql: &str) -> Result<()> {
        let mut statement = db.query_one::<i64>(sql, ());
        assert_eq!((&mut statement).await?, 1);
        let error = statement.await.unwrap_err();
        assert!(matches!(error, Error::HandleEnded), "{error}");
        Ok(())
    }
}

#[test]
fn a_statement_that_is_awaited_once_more_is_an_error() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for sql in [
                "SELECT n FROM number WHERE n = 1",
                "SELECT min(n) FROM number",
            ] {
                within(store.ask_again(sql)).await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}
