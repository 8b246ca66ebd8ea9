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

/// The errors of every statement that takes one.
async fn one_statement(db: &mut WriteTransaction, sql: &str) -> [Error; 5] {
    [
        db.execute(sql, ()).await.unwrap_err(),
        db.query::<i64>(sql, ()).await.unwrap_err(),
        db.query_one::<i64>(sql, ()).await.unwrap_err(),
        db.query_optional::<i64>(sql, ()).await.unwrap_err(),
        db.query_map(sql, (), |_| Ok(())).await.unwrap_err(),
    ]
}

impl Store {
    #[database_safe]
    async fn odd_texts(&self, db: &mut WriteTransaction) -> Result<()> {
        for sql in ["", "   ", "-- nothing", ";", "/* nothing */ ;; -- nothing"] {
            for error in one_statement(db, sql).await {
                assert!(matches!(error, Error::SqlText { .. }), "{sql:?}: {error}");
                assert!(error.to_string().contains("empty"), "{sql:?}: {error}");
            }
            // A script may have no statement.
            db.execute_batch(sql).await?;
        }
        assert!(db.execute_batch("SELECT").await.is_err());
        // What follows a NUL would be left out in silence.
        for sql in [
            "\0",
            "SELECT 1\0; DELETE FROM number",
            "INSERT INTO number VALUES (70)\0",
            "INSERT INTO number VALUES (70); \0 DELETE FROM number",
            "-- \0\nINSERT INTO number VALUES (70)",
            "SELECT '\0'",
        ] {
            let mut errors = one_statement(db, sql).await.to_vec();
            errors.push(db.execute_batch(sql).await.unwrap_err());
            for error in errors {
                assert!(matches!(error, Error::SqlText { .. }), "{sql:?}: {error}");
                assert!(error.to_string().contains("NUL"), "{sql:?}: {error}");
            }
        }
        // One statement is one statement: a second one is not left out in silence.
        for sql in [
            "INSERT INTO number VALUES (70); INSERT INTO number VALUES (71)",
            "SELECT 1; DELETE FROM number",
        ] {
            for error in one_statement(db, sql).await {
                assert!(matches!(error, Error::SqlText { .. }), "{sql}: {error}");
            }
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
