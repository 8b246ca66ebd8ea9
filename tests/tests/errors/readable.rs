//! What a beginner sees first: `fn main() -> Result<()>` and `unwrap` print `Debug`.

use super::*;
use dbm_core::rusqlite;
use dbm_tests::run;

#[test]
fn debug_is_the_text_and_says_where() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for (sql, expected) in [
                ("DELETE FROM usr", "write: no such table: usr"),
                ("UPDATE user SET nme = 1", "write: no such column: nme"),
                (
                    "DELETE FROM user WHERE nme = 1",
                    "write: no such column: nme (at byte 23 of the statement)",
                ),
                (
                    "INSERT INTO user (nme) VALUES (1)",
                    "write: table user has no column named nme",
                ),
                (
                    "DELETE FROM user WHERE nofn(1)",
                    "write: no such function: nofn (at byte 23 of the statement)",
                ),
                (
                    "SELEKT 1",
                    "write: near \"…\": syntax error (at byte 0 of the statement)",
                ),
                (
                    "INSERT INTO user (id, name) VALUES (1, 'a'), (2, 'a')",
                    "write: UNIQUE constraint failed: user.name",
                ),
                (
                    "INSERT INTO user (id) VALUES (1)",
                    "write: NOT NULL constraint failed: user.name",
                ),
                (
                    "INSERT INTO user (name, age) VALUES ('a', -1)",
                    "write: CHECK constraint failed: age >= 0",
                ),
                (
                    "INSERT INTO user (name, born) VALUES ('a', 1)",
                    "write: CHECK constraint failed: born_in_time",
                ),
                (
                    "INSERT INTO user (name, level) VALUES ('a', 'x')",
                    "write: CHECK constraint failed: …",
                ),
                (
                    "INSERT INTO user (name, age) VALUES ('a', 'old')",
                    "write: cannot store TEXT value in INTEGER column user.age",
                ),
                (
                    "INSERT INTO pet VALUES (7)",
                    "write: FOREIGN KEY constraint failed",
                ),
                (
                    "CREATE TABLE user (x)",
                    "write: table user already exists (at byte 13 of the statement)",
                ),
                (
                    "INSERT INTO guarded VALUES ('x')",
                    "write: constraint failed (SQLite code 1811)",
                ),
                ("SELECT json('x')", "write: malformed JSON"),
                ("SELECT json_extract('{}', 'x')", "write: bad JSON path: …"),
            ] {
                let error = store.write(sql, &[]).await.unwrap_err();
                assert_eq!(format!("{error:?}"), expected, "{sql}");
                assert_eq!(error.to_string(), expected, "{sql}");
                let cause = error.source().unwrap();
                assert!(cause.is::<rusqlite::Error>(), "{sql}");
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn every_error_has_a_debug_of_one_readable_text() {
    let source = rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
        Some("database or disk is full".to_owned()),
    );
    let error = Error::from(source);
    assert_eq!(format!("{error:?}"), "database or disk is full");
    let error = Error::Closed { method: "rename" };
    assert_eq!(format!("{error:?}"), "rename: the database is closed");
    let error = Error::other(Settings(Key));
    assert_eq!(format!("{error:?}"), "the settings\n  caused by: the key");
    assert_eq!(error.to_string(), "the settings");

    #[derive(Debug, thiserror::Error)]
    #[error("the settings")]
    struct Settings(#[source] Key);

    #[derive(Debug, thiserror::Error)]
    #[error("the key")]
    struct Key;
}
