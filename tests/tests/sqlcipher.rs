//! A file that SQLCipher encrypts: every role opens it with the key, and no other key does.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use dbm_core::SchemaDrift;
use dbm_core::prelude::*;
use dbm_core::rusqlite::ffi;
use dbm_tests::{names, run};
use tempfile::TempDir;

macro_rules! store {
    ($name:ident, $version:literal, $init:expr, $migrate:expr) => {
        #[derive(DbManager)]
        #[db_manager(version = $version)]
        struct $name {
            core: ManagerCore,
        }

        dbm_tests::schema!($name, $init, $migrate);

        #[allow(dead_code)]
        impl $name {
            #[database_safe]
            async fn add(&self, db: &mut WriteTransaction, text: &str) -> Result<()> {
                db.execute("INSERT INTO note (text) VALUES (?1)", (text,))
                    .await
                    .map(drop)
            }

            #[database_safe]
            async fn notes(&self, db: &mut ReadTransaction) -> Result<i64> {
                db.query_one("SELECT count(*) FROM note", ()).await
            }

            #[database_safe]
            async fn fill(&self, db: &mut WriteTransaction) -> Result<()> {
                let sql =
                    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1500)
                    INSERT INTO note SELECT hex(zeroblob(2000)) FROM n";
                db.execute(sql, ()).await.map(drop)
            }

            #[database_safe]
            async fn look(&self, db: &mut Connection) -> Result<()> {
                db.call(|connection| Ok(connection.execute_batch("PRAGMA cache_size = 5")?))
                    .await
            }
        }
    };
}

store!(Store, "1.0.0", "CREATE TABLE note (text TEXT) STRICT", "");
store!(
    Next,
    "1.1.0",
    "CREATE TABLE note (text TEXT) STRICT; CREATE INDEX note_by_text ON note (text)",
    "CREATE INDEX note_by_text ON note (text)"
);

fn keyed(directory: &TempDir, key: &'static str) -> Config {
    Config::new(directory.path()).on_open(move |connection| {
        connection.pragma_update(None, "key", key)?;
        Ok(())
    })
}

const DATABASE: &str = "database.db";
const SECRET: &str = "a text that nobody may read";

fn is_encrypted(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    bytes.len() > 4096 && !holds("SQLite format 3") && !holds(SECRET) && !holds("CREATE TABLE")
}

fn cause<T>(started: Result<T>) -> Error {
    match started {
        Err(Error::Failed { cause, .. }) => cause.downcast_ref::<Error>().unwrap().clone(),
        Err(error) => error,
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn every_role_opens_the_file_with_its_key() {
    run(async {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(DATABASE);
        for start in 1..=3 {
            let config = keyed(&directory, "a key").schema_drift(SchemaDrift::Error);
            let store = Store::create(config).await.unwrap();
            store.add(SECRET).await.unwrap();
            store.look().await.unwrap();
            assert_eq!(store.notes().await.unwrap(), start);
            assert!(store.verify().await.unwrap().is_sound());
            store.close().await.unwrap();
            assert_eq!(names(directory.path()), [DATABASE]);
            assert!(is_encrypted(&file));
        }
        // A checkpoint, a log that is left behind, and the next start.
        let store = Store::create(keyed(&directory, "a key")).await.unwrap();
        for _ in 0..2 {
            store.fill().await.unwrap();
        }
        let reads: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.notes().await })
            })
            .collect();
        for read in reads {
            assert_eq!(read.await.unwrap().unwrap(), 3_003);
        }
        drop(store);
        let next = Next::create(keyed(&directory, "a key").schema_drift(SchemaDrift::Error));
        let next = next.await.unwrap();
        assert_eq!(next.notes().await.unwrap(), 3_003);
        next.close().await.unwrap();
        let backup = "database.db.1.0.0.backup";
        assert_eq!(names(directory.path()), [DATABASE, backup]);
        assert!(is_encrypted(&directory.path().join(backup)));
        // The backup is a database with the same key.
        let restored = Store::create(keyed(&directory, "a key").db_name(backup))
            .await
            .unwrap();
        assert_eq!(restored.notes().await.unwrap(), 3_003);
        restored.close().await.unwrap();
    });
}

#[test]
fn a_wrong_key_or_none_is_an_error_of_sqlite_and_changes_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(keyed(&directory, "a key")).await.unwrap();
        store.add(SECRET).await.unwrap();
        store.close().await.unwrap();
        let file = directory.path().join(DATABASE);
        let before = std::fs::read(&file).unwrap();
        let no_key = Config::new(directory.path());
        for config in [keyed(&directory, "another key"), no_key] {
            let error = cause(Store::create(config).await);
            assert_eq!(error.sqlite_code(), Some(ffi::SQLITE_NOTADB), "{error}");
            assert!(!format!("{error} {error:?}").contains("another key"));
        }
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(names(directory.path()), [DATABASE]);
        // A key does not open what was never encrypted.
        let plain = TempDir::new().unwrap();
        let store = Store::create(Config::new(plain.path())).await.unwrap();
        store.close().await.unwrap();
        let error = cause(Store::create(keyed(&plain, "a key")).await);
        assert_eq!(error.sqlite_code(), Some(ffi::SQLITE_NOTADB), "{error}");
    });
}
