//! A write-ahead log beside a database that it was not written for: SQLite would make one of the two. It is refused, and
//! nothing is changed. A log beside its own database always opens, whatever ended its writer.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dbm_core::Durability;
use dbm_core::prelude::*;
use dbm_core::rusqlite::{self, Connection as Sqlite, config::DbConfig};
use dbm_tests::{Dice, Hooks, Store, bytes, names, open_files, run, within};
use tempfile::TempDir;

const GROW: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 300)
    INSERT INTO note (text) SELECT hex(zeroblob(100)) FROM n";

/// A directory with a database, its log, or both.
struct Files(TempDir);

impl Files {
    /// A database of one note, closed.
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        Self(directory)
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("database.db")
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("database.db-wal")
    }

    /// Runs SQL on the database and is killed: the log stays.
    fn killed_after(&self, sql: &[&str]) {
        let db = Sqlite::open(self.database()).unwrap();
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        db.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
        for sql in sql {
            db.execute_batch(sql).unwrap();
        }
        drop(db);
        assert!(fs::metadata(self.log()).unwrap().len() > 32);
    }

    fn closed_after(&self, sql: &str) {
        let db = Sqlite::open(self.database()).unwrap();
        db.execute_batch(sql).unwrap();
    }

    /// A copy that SQLite has made.
    fn backup(&self) -> Vec<u8> {
        let copy = self.0.path().join("copy");
        let db = Sqlite::open(self.database()).unwrap();
        db.execute("VACUUM INTO ?1", (copy.to_str().unwrap(),))
            .unwrap();
        drop(db);
        let bytes = fs::read(&copy).unwrap();
        fs::remove_file(copy).unwrap();
        bytes
    }

    fn put_back(&self, database: &[u8]) {
        fs::write(self.database(), database).unwrap();
    }

    async fn is_refused(&self, target: &str) -> String {
        let before = bytes(self.0.path());
        let store = start(self.0.path(), target);
        let error = within(store.ensure_ready()).await.unwrap_err();
        let Error::ForeignLog { log, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(**log, *self.log());
        assert_eq!(store.calls(), [""; 0]);
        assert_eq!(bytes(self.0.path()), before, "nothing is changed");
        assert!(open_files(self.0.path()).is_empty());
        let text = error.to_string();
        assert!(text.contains(log.to_str().unwrap()), "{text}");
        assert!(text.contains("remove it"), "{text}");
        text
    }

    async fn opens(&self, ids: usize) {
        let store = start(self.0.path(), "1.0.0");
        within(store.ensure_ready()).await.unwrap();
        assert_eq!(store.ids().await.unwrap().len(), ids);
        let verdict = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'";
        assert_eq!(store.number(verdict).await.unwrap(), 0);
        store.add(1_000_000, "new").await.unwrap();
        store.close().await.unwrap();
        assert_eq!(names(self.0.path()), ["database.db"]);
    }
}

fn start(directory: &Path, target: &str) -> std::sync::Arc<Store> {
    let version = Version::parse(target).unwrap();
    let config = Config::new(directory)
        .version(version)
        .durability(Durability::Off);
    Store::start_hooked(config, Hooks::default())
}

#[test]
fn a_backup_that_is_put_back_beside_a_forgotten_log_is_refused_until_the_log_is_removed() {
    run(async {
        for target in ["1.0.0", "2.0.0"] {
            let directory = TempDir::new().unwrap();
            Store::make(directory.path(), "1.0.0").await.unwrap();
            let files = Files(directory);
            let store = Store::open(files.0.path(), "2.0.0").await.unwrap();
            store.close().await.unwrap();
            let backup = fs::read(files.0.path().join("database.db.1.0.0.backup")).unwrap();
            files.killed_after(&[GROW]);
            files.put_back(&backup);
            files.is_refused(target).await;
            fs::remove_file(files.log()).unwrap();
            let store = Store::open(files.0.path(), "1.0.0").await.unwrap();
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn any_copy_of_another_time_is_refused() {
    run(async {
        // VACUUM INTO of before, though nothing but a row was changed since.
        let files = Files::new().await;
        let backup = files.backup();
        files.killed_after(&["INSERT INTO note VALUES (2, 'two')"]);
        files.put_back(&backup);
        files.is_refused("1.0.0").await;

        // An older copy of the file itself, with a log that has page 1…
        let files = Files::new().await;
        let older = fs::read(files.database()).unwrap();
        files.closed_after(GROW);
        files.closed_after(GROW);
        files.killed_after(&[GROW]);
        files.put_back(&older);
        files.is_refused("1.0.0").await;

        // …and with one that has not.
        let files = Files::new().await;
        let older = fs::read(files.database()).unwrap();
        files.closed_after(GROW);
        files.killed_after(&["UPDATE note SET text = 'x' WHERE id = 1"]);
        files.put_back(&older);
        files.is_refused("1.0.0").await;

        // A newer database beside an older log.
        let files = Files::new().await;
        let older = fs::read(files.database()).unwrap();
        files.killed_after(&[GROW, GROW]);
        let log = fs::read(files.log()).unwrap();
        fs::remove_file(files.log()).unwrap();
        files.put_back(&older);
        for _ in 0..4 {
            files.closed_after(GROW);
        }
        fs::write(files.log(), log).unwrap();
        files.is_refused("1.0.0").await;

        // A database of the same tables and another page size.
        let files = Files::new().await;
        let other = Files::new().await;
        other.closed_after("PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; PRAGMA journal_mode = WAL");
        files.killed_after(&[GROW]);
        files.put_back(&fs::read(other.database()).unwrap());
        files.is_refused("1.0.0").await;
    });
}

#[test]
fn a_log_whose_database_is_missing_or_empty_is_not_removed() {
    run(async {
        for empty in [false, true] {
            let files = Files::new().await;
            files.killed_after(&[GROW]);
            if empty {
                files.put_back(b"");
            } else {
                fs::remove_file(files.database()).unwrap();
            }
            let text = files.is_refused("1.0.0").await;
            assert!(text.contains("missing or empty"), "{text}");
            assert_eq!(files.database().exists(), empty, "none is made");
        }
    });
}

#[test]
fn a_log_in_which_nothing_was_committed_is_no_obstacle() {
    run(async {
        let files = Files::new().await;
        let backup = files.backup();
        files.killed_after(&[GROW]);
        let log = fs::read(files.log()).unwrap();
        let _ = fs::remove_file(files.0.path().join("database.db-shm"));
        for left in [0, 7, 32, 33, 32 + 24, 32 + 24 + 4096 - 1] {
            fs::write(files.log(), &log[..left]).unwrap();
            files.put_back(&backup);
            files.opens(1).await;
        }
        let mut damaged = log;
        damaged[40] ^= 1;
        fs::write(files.log(), &damaged).unwrap();
        files.put_back(&backup);
        files.opens(1).await;
    });
}

#[test]
fn a_log_of_the_database_itself_opens_whatever_was_copied_of_it() {
    run(async {
        let statements = [
            "UPDATE note SET text = 'x'",
            GROW,
            "CREATE TABLE IF NOT EXISTS extra (x)",
            "DELETE FROM note WHERE id > 100",
            "PRAGMA user_version = 7",
            "DROP TABLE IF EXISTS extra",
            "VACUUM",
            "PRAGMA incremental_vacuum(3)",
            "PRAGMA wal_checkpoint(PASSIVE)",
            "PRAGMA wal_checkpoint(RESTART)",
        ];
        for seed in 0..60 {
            let mut dice = Dice::new(seed);
            let directory = TempDir::new().unwrap();
            let files = Files(directory);
            if seed % 3 == 0 {
                Sqlite::open(files.database())
                    .unwrap()
                    .execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
                    .unwrap();
            }
            Store::make(files.0.path(), "1.0.0").await.unwrap();
            // Two writers, since each counts changes of page 1 by itself, and a reader that keeps checkpoints from
            // copying all of the log.
            let connect = || {
                let db = Sqlite::open(files.database()).unwrap();
                db.busy_timeout(Duration::ZERO).unwrap();
                db.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF")
                    .unwrap();
                db
            };
            let (writers, reader) = ([connect(), connect()], connect());
            for step in 0..40 {
                let sql = statements[dice.below(statements.len())];
                let writer = &writers[dice.below(2)];
                let _ = writer.query_row(sql, (), |_| Ok(()));
                match dice.below(6) {
                    0 => {
                        let _ = reader.execute_batch("BEGIN; SELECT count(*) FROM note");
                    }
                    1 => {
                        let _ = reader.execute_batch("COMMIT");
                    }
                    _ => {}
                }
                if step % 8 == 7 {
                    let copy = Files(TempDir::new().unwrap());
                    fs::copy(files.database(), copy.database()).unwrap();
                    fs::copy(files.log(), copy.log()).unwrap();
                    let count: i64 = writer
                        .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
                        .unwrap();
                    copy.opens(usize::try_from(count).unwrap()).await;
                }
            }
        }
    });
}

#[test]
fn a_start_beside_somebody_who_uses_the_file_is_not_kept_from_it() {
    run(async {
        let files = Files::new().await;
        let other = Sqlite::open(files.database()).unwrap();
        other.execute_batch(GROW).unwrap();
        let store = Store::open(files.0.path(), "1.0.0").await.unwrap();
        store.add(1_000, "x").await.unwrap();
        let count: i64 = other
            .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
            .unwrap();
        assert_eq!(count, 302);
        store.close().await.unwrap();
        other.execute_batch("DELETE FROM note").unwrap();
    });
}

/// What the refusal is for: SQLite itself makes one database of the two.
#[test]
fn sqlite_lays_any_log_over_any_database() {
    run(async {
        let files = Files::new().await;
        let backup = files.backup();
        files.killed_after(&["INSERT INTO note VALUES (2, 'two')"]);
        files.put_back(&backup);
        let db =
            Sqlite::open_with_flags(files.database(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
                .unwrap();
        let count: i64 = db
            .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
            .unwrap();
        assert_eq!(count, 2, "the log's row, though the database is a backup");
    });
}

/// A database in the middle of a transaction with a rollback journal, and the journal.
fn hot(files: &Files, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut dice = Dice::new(seed);
    let db = Sqlite::open(files.database()).unwrap();
    db.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1")
        .unwrap();
    db.execute_batch(GROW).unwrap();
    db.execute_batch("BEGIN").unwrap();
    let statements = [
        GROW,
        "UPDATE note SET text = text || 'x'",
        "DELETE FROM note WHERE id % 2",
        "CREATE TABLE extra (x)",
        "PRAGMA user_version = 7",
        "DROP TABLE note",
    ];
    for _ in 0..=dice.below(3) {
        let _ = db.execute_batch(statements[dice.below(statements.len())]);
    }
    let journal = files.0.path().join("database.db-journal");
    let copies = (
        fs::read(files.database()).unwrap(),
        fs::read(journal).unwrap(),
    );
    db.execute_batch("ROLLBACK").unwrap();
    copies
}

#[test]
fn a_journal_of_the_database_itself_is_rolled_back() {
    run(async {
        for seed in 0..40 {
            let files = Files::new().await;
            let (database, journal) = hot(&files, seed);
            let copy = Files(TempDir::new().unwrap());
            copy.put_back(&database);
            fs::write(copy.0.path().join("database.db-journal"), journal).unwrap();
            copy.opens(301).await;
        }
    });
}

#[test]
fn a_journal_that_was_forgotten_is_refused() {
    run(async {
        let files = Files::new().await;
        let backup = files.backup();
        let older = fs::read(files.database()).unwrap();
        files.closed_after("PRAGMA journal_mode = DELETE");
        files.closed_after(GROW);
        files.closed_after(GROW);
        let (_, hot) = hot(&files, 1);
        for database in [backup, older] {
            files.put_back(&database);
            let journal = files.0.path().join("database.db-journal");
            fs::write(&journal, &hot).unwrap();
            let before = bytes(files.0.path());
            let store = start(files.0.path(), "1.0.0");
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(&error, Error::ForeignLog { log, .. } if **log == *journal),
                "{error:?}"
            );
            assert_eq!(bytes(files.0.path()), before, "nothing is changed");
            fs::remove_file(journal).unwrap();
            files.opens(1).await;
        }
    });
}
