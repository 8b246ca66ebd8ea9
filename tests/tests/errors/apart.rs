//! Errors that a program tells apart, to answer a user instead of giving up.

use super::*;
use dbm_core::rusqlite::ffi;
use dbm_tests::run;

impl Store {
    #[database_safe]
    async fn search(&self, db: &mut ReadTransaction, typed: &str) -> Result<Vec<String>> {
        db.query("SELECT body FROM note WHERE note MATCH ?1", (typed,))
            .await
    }

    #[database_safe]
    async fn search_older(&self, db: &mut ReadTransaction, typed: &str) -> Result<Vec<String>> {
        db.query("SELECT body FROM older WHERE older MATCH ?1", (typed,))
            .await
    }
}

#[test]
fn a_query_that_a_user_typed_wrongly_is_told_from_every_other_error() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store
                .write("INSERT INTO note VALUES ('ada and bob')", &[])
                .await
                .unwrap();
            assert_eq!(store.search("ada").await.unwrap().len(), 1);
            for typed in [
                "\"",
                "ada AND",
                "AND",
                "(ada",
                "ada)",
                "ada*bob*(",
                "'",
                "ada-",
                "title:ada",
                "nobody : x",
                "^",
                "*",
                "a + ",
                "NEAR(a b, x)",
                "{body",
                ";",
                "-ada",
                ".",
                ",",
            ] {
                match store.search(typed).await {
                    Ok(_) => panic!("{typed} is well formed"),
                    Err(error) => assert!(error.is_invalid_match(), "{typed}: {error}"),
                }
            }
            let error = store.search_older("(ada").await.unwrap_err();
            assert!(error.is_invalid_match(), "{error}");
            for sql in [
                "SELECT * FROM nothing",
                "SELECT nothing FROM note",
                "SELECT * FROM note WHERE nothing MATCH 'x'",
                "SELECT json('x')",
                "SELECT 'x",
                "UPDATE user SET nothing = 1",
                "INSERT INTO user (id) VALUES (1)",
            ] {
                let error = store.write(sql, &[]).await.unwrap_err();
                assert!(!error.is_invalid_match(), "{sql}: {error}");
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_row_that_is_there_already_is_told_from_one_without_its_parent() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let ada = "INSERT INTO user (id, name) VALUES (1, 'Ada')";
        store.write(ada, &[]).await.unwrap();
        for sql in [ada, "INSERT INTO user (id, name) VALUES (2, 'Ada')"] {
            let error = store.write(sql, &[]).await.unwrap_err();
            assert!(error.is_unique_violation(), "{error}");
            assert!(!error.is_foreign_key_violation(), "{error}");
        }
        let error = store.write("INSERT INTO pet VALUES (9)", &[]).await;
        let error = error.unwrap_err();
        assert!(error.is_foreign_key_violation(), "{error}");
        assert!(!error.is_unique_violation(), "{error}");
        store.close().await.unwrap();
    });
}

#[test]
fn a_vacuum_in_a_transaction_is_refused_with_what_to_use() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for sql in ["VACUUM", "vacuum main", "VACUUM INTO '/nowhere/x'"] {
                let error = store.write(sql, &[]).await.unwrap_err();
                assert!(
                    matches!(error, Error::Refused { what: "VACUUM", .. }),
                    "{error}"
                );
                assert!(error.to_string().contains("&mut Connection"), "{error}");
                assert!(store.write("DELETE FROM user", &[]).await.is_ok());
            }
            store.close().await.unwrap();
        }
    });
}

/// A business rule that a trigger raises: its text is a literal of the schema, or made of values.
#[test]
fn sqlites_own_words_are_there_when_they_are_asked_for() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let error = store
            .write("INSERT INTO guarded VALUES (?1)", &["spent".into()])
            .await
            .unwrap_err();
        assert_eq!(error.sqlite_code(), Some(ffi::SQLITE_CONSTRAINT_TRIGGER));
        let words = Some("UNIQUE constraint failed: spent");
        assert_eq!(error.sqlite_message(), words);
        assert!(!error.is_unique_violation());
        let Error::Sqlite(inner) = &error else {
            panic!("{error}");
        };
        assert_eq!((inner.method(), inner.message()), (Some("write"), words));
        // However deep.
        #[derive(Debug, thiserror::Error)]
        #[error("mine")]
        struct Mine(#[source] Error);
        let deep = Error::other(Mine(error));
        assert_eq!(deep.sqlite_message(), words);
        assert_eq!(Error::NoRows.sqlite_message(), None);
        store.close().await.unwrap();
    });
}
