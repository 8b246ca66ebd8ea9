//! SQLite writes values and literals into its messages. None of them is in a text, in `Debug`, in a source or in the log.

use super::*;
use dbm_core::rusqlite;
use dbm_tests::{logged, run};
use serde::Deserialize;

const SECRET: &str = "hunter2secret";

/// SQL with the secret as `?1`; most of it has SQLite quote it.
const BOUND: &[&str] = &[
    "SELECT json_extract('{}', ?1)",
    "SELECT json(?1)",
    "SELECT json_set('{}', ?1, 1)",
    "SELECT '{}' -> ?1, json_type('{}', '$.' || ?1 || '[')",
    "SELECT value FROM json_each('{}', ?1)",
    "SELECT * FROM note WHERE note MATCH ?1 || ' AND'",
    "SELECT * FROM note WHERE note MATCH '\"' || ?1",
    "SELECT * FROM note WHERE note MATCH ?1 || ': x'",
    "SELECT * FROM note WHERE note MATCH 'NEAR(a b, ' || ?1 || ')'",
    "SELECT * FROM note WHERE note MATCH 'a' AND rank MATCH ?1 || '(1)'",
    "SELECT * FROM note WHERE note MATCH 'a' AND rank MATCH ?1",
    "INSERT INTO note (note) VALUES (?1)",
    "INSERT INTO note (note, rank) VALUES (?1, 1)",
    "SELECT * FROM older WHERE older MATCH ?1 || ' AND (('",
    "SELECT * FROM pragma_integrity_check(?1)",
    "SELECT * FROM pragma_foreign_key_check(?1)",
    "SELECT * FROM pragma_table_info(?1, ?1)",
    "INSERT INTO guarded VALUES (?1)",
    "INSERT INTO user (id, name) VALUES (?1, 'x')",
    "INSERT INTO user (name, level) VALUES ('x', ?1)",
    "SELECT abs(-9223372036854775807 - 1), ?1",
    "SELECT strftime(?1), zeroblob(9999999999)",
    "SELECT printf('%s', ?1), load_extension(?1)",
    "SELECT fts3_tokenizer(?1)",
    "SELECT * FROM note WHERE body REGEXP ?1",
    "SELECT 'x' LIKE ?1 ESCAPE 'ab'",
];

/// SQL with the secret in its text.
const WRITTEN: &[&str] = &[
    "SELECT 'hunter2secret' 'hunter2secret'",
    "SELEKT 'hunter2secret'",
    "SELECT 'hunter2secret",
    "SELECT * FROM \"hunter2secret in a table\"",
    "SELECT json_extract('{}', 'hunter2secret')",
    "SELECT * FROM note WHERE note MATCH 'hunter2secret AND'",
    "INSERT INTO user (name) VALUES ('a', 'hunter2secret')",
    "SELECT x'hunter2secret'",
    "SELECT 1 AS [hunter2secret",
    "SELECT @hunter2secret 'x'",
    "SELECT #hunter2secret",
    "INSERT INTO user (name, level) VALUES ('x', 'hunter2secret')",
    "CREATE TABLE t (x DEFAULT ('hunter2secret' || x))",
    "SELECT 1 COLLATE \"hunter2secret or what\"",
    "CREATE VIRTUAL TABLE t USING fts5(body, tokenize = 'hunter2secret')",
    "CREATE VIRTUAL TABLE t USING fts5(body, hunter2secret = 'x')",
    "CREATE VIRTUAL TABLE t USING \"hunter2secret or what\"",
];

impl Store {
    #[database_safe]
    async fn close_over(
        &self,
        db: &mut WriteTransaction,
        sql: &'static str,
        params: usize,
    ) -> Result<()> {
        db.call(move |connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query(rusqlite::params_from_iter(vec![SECRET; params]))?;
            while rows.next()?.is_some() {}
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn convert_in_a_closure(&self, db: &mut ReadTransaction, what: usize) -> Result<()> {
        db.call(move |connection| {
            let sql = "SELECT 424242, 'hunter2secret', 'hunter2secret'";
            connection.query_row(sql, (), |row| match what {
                0 => row.get::<_, u8>(0).map(drop),
                1 => row.get::<_, i64>(1).map(drop),
                2 => row.get::<_, Picky>(1).map(drop),
                _ => Err(rusqlite::Error::ToSqlConversionFailure(SECRET.into())),
            })?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    #[fail_value(())]
    async fn swallow(&self, db: &mut WriteTransaction, sql: &str, params: &[Value]) -> Result<()> {
        db.execute(sql, params).await.map(drop)
    }

    #[database_safe]
    #[fail_value(())]
    async fn swallow_a_read(
        &self,
        db: &mut ReadTransaction,
        sql: &str,
        params: &[Value],
    ) -> Result<()> {
        db.query_map(sql, params, |_| Ok(())).await.map(drop)
    }
}

/// A type of a program whose error quotes the value.
#[derive(Debug)]
struct Picky;

impl rusqlite::types::FromSql for Picky {
    fn column_result(
        value: rusqlite::types::ValueRef<'_>,
    ) -> std::result::Result<Self, rusqlite::types::FromSqlError> {
        Err(rusqlite::types::FromSqlError::Other(
            value.as_str()?.to_owned().into(),
        ))
    }
}

fn hides(error: &Error, sql: &str) {
    let shown = shown(error);
    for secret in [SECRET, "hunter2", "424242"] {
        assert!(!shown.contains(secret), "{sql}\n{shown}");
    }
}

#[test]
fn a_bound_value_is_in_no_text_of_an_error_and_in_no_line_of_the_log() {
    run(async {
        let _ = logged();
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let mut quoted = 0;
            for sql in BOUND {
                let params = [SECRET.into()];
                for error in [
                    store.write(sql, &params).await,
                    store.read(sql, &params).await.map(|()| 0),
                    store.close_over(sql, 1).await.map(|()| 0),
                ]
                .into_iter()
                .filter_map(Result::err)
                {
                    hides(&error, sql);
                    quoted += usize::from(
                        error
                            .sqlite_message()
                            .is_some_and(|words| words.contains(SECRET)),
                    );
                }
                store.swallow(sql, &params).await;
                store.swallow_a_read(sql, &params).await;
            }
            assert!(quoted > 20, "SQLite quoted it {quoted} times only");
            store.close().await.unwrap();
        }
        let log = logged();
        assert!(log.contains("ERROR"));
        assert!(!log.contains(SECRET), "{log}");
    });
}

#[test]
fn a_literal_of_the_sql_is_in_no_text_of_an_error_and_in_no_line_of_the_log() {
    run(async {
        let _ = logged();
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let mut quoted = 0;
            for sql in WRITTEN {
                for error in [
                    store.write(sql, &[]).await.map(drop),
                    store.script(sql).await,
                    store.close_over(sql, 0).await,
                ]
                .into_iter()
                .filter_map(Result::err)
                {
                    hides(&error, sql);
                    quoted += usize::from(
                        error
                            .sqlite_message()
                            .is_some_and(|words| words.contains(SECRET)),
                    );
                }
                store.swallow(sql, &[]).await;
            }
            assert!(quoted > 20, "SQLite quoted it {quoted} times only");
            store.close().await.unwrap();
        }
        assert!(!logged().contains(SECRET));
    });
}

impl Store {
    #[database_safe]
    async fn script(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }
}

#[test]
fn an_error_of_a_conversion_in_a_closure_quotes_nothing() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        for what in 0..4 {
            let error = store.convert_in_a_closure(what).await.unwrap_err();
            hides(&error, &what.to_string());
            assert!(error.source().unwrap().is::<rusqlite::Error>());
        }
        store.close().await.unwrap();
    });
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[allow(dead_code)]
    n: i64,
}

#[derive(Debug, Deserialize)]
enum Level {
    Low,
}

/// Reads a text and quotes a part of it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Half;

impl TryFrom<String> for Half {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        Err(format!("not a half: {:?}", text.get(..7)))
    }
}

impl Store {
    #[database_safe]
    async fn one<T>(&self, db: &mut ReadTransaction, sql: &str) -> Result<T>
    where
        T: for<'de> Deserialize<'de> + Send + 'static,
    {
        db.query_one(sql, ()).await
    }
}

#[test]
fn an_error_of_a_row_quotes_neither_a_value_nor_a_literal_as_a_name() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        for error in [
            store
                .one::<i64>("SELECT 'hunter2secret'")
                .await
                .unwrap_err(),
            store.one::<bool>("SELECT 424242").await.unwrap_err(),
            store.one::<u8>("SELECT 424242 AS n").await.unwrap_err(),
            store
                .one::<Strict>("SELECT 1 AS n, 'hunter2secret'")
                .await
                .unwrap_err(),
            store
                .one::<std::collections::HashMap<String, Value>>(
                    "SELECT 'hunter2secret', 'hunter2secret'",
                )
                .await
                .map(drop)
                .unwrap_err(),
            store
                .one::<Level>("SELECT 'hunter2secret' AS l")
                .await
                .map(|Level::Low| ())
                .unwrap_err(),
            store
                .one::<Half>("SELECT 'hunter2 secret' AS half")
                .await
                .map(drop)
                .unwrap_err(),
        ] {
            hides(&error, "");
        }
        store.close().await.unwrap();
    });
}

#[test]
fn an_error_of_rusqlite_that_a_program_wraps_quotes_nothing_either() {
    let raw = || {
        rusqlite::Connection::open_in_memory()
            .unwrap()
            .query_row("SELECT json_extract('{}', ?1)", (SECRET,), |_| Ok(()))
            .unwrap_err()
    };
    assert!(raw().to_string().contains(SECRET));
    for error in [Error::from(raw()), Error::other(raw())] {
        hides(&error, "wrapped");
        assert!(error.sqlite_message().unwrap().contains(SECRET));
    }
    #[derive(Debug, thiserror::Error)]
    #[error("mine")]
    struct Mine(#[source] rusqlite::Error);
    let debug = format!("{:?}", Error::other(Mine(raw())));
    assert!(
        debug.starts_with("mine\n  caused by: SQL logic error"),
        "{debug}"
    );
    assert!(!debug.contains(SECRET), "{debug}");
}
