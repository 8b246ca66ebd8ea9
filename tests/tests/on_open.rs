//! A program sets up its connections: in every role, whenever one is opened, and without harm to the library or the file.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use dbm_core::prelude::*;
use dbm_core::rusqlite::config::DbConfig;
use dbm_core::rusqlite::functions::FunctionFlags;
use dbm_core::rusqlite::hooks::{AuthContext, Authorization};
use dbm_core::rusqlite::{self, Connection as Raw};
use dbm_core::testing::{Migration, MigrationError};
use dbm_core::{Execution, SchemaDrift};
use dbm_tests::{names, run, run_on_one_thread, watch, within};
use tempfile::TempDir;
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_secs(60);

/// A schema that cannot be used without the program's function and its collation.
const SCHEMA: &str = "
    CREATE TABLE word (text TEXT NOT NULL COLLATE backwards CHECK (shout(text) <> 'NO'), id INTEGER PRIMARY KEY) STRICT;
    CREATE INDEX word_by_shout ON word (shout(text));
    CREATE TABLE child (word INTEGER REFERENCES word (id)) STRICT";

macro_rules! store {
    ($name:ident, $version:literal, $init:expr, $migrate:expr) => {
        #[derive(DbManager)]
        #[db_manager(version = $version)]
        struct $name {
            core: ManagerCore,
            arrived: Notify,
            go_on: Notify,
        }

        dbm_tests::schema!($name, $init, $migrate);

        #[allow(dead_code)]
        impl $name {
            #[database_safe]
            async fn add(&self, db: &mut WriteTransaction, text: &str) -> Result<i64> {
                db.query_one("INSERT INTO word (text) VALUES (?1) RETURNING id", (text,))
                    .await
            }

            #[database_safe]
            async fn words(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
                db.query("SELECT shout(text) FROM word ORDER BY text", ())
                    .await
            }

            #[database_safe]
            async fn read(&self, db: &mut ReadTransaction, sql: &str) -> Result<String> {
                text_of(db.query_one(sql, ()).await?)
            }

            #[database_safe]
            async fn written(&self, db: &mut WriteTransaction, sql: &str) -> Result<String> {
                text_of(db.query_one(sql, ()).await?)
            }

            #[database_safe]
            async fn bare(&self, db: &mut Connection, sql: &str) -> Result<String> {
                text_of(db.query_one(sql, ()).await?)
            }

            #[database_safe]
            async fn run(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
                db.execute_batch(sql).await
            }

            #[database_safe]
            async fn read_with(
                &self,
                db: &mut ReadTransaction,
                closure: fn(&Raw) -> Result<()>,
            ) -> Result<()> {
                db.call(closure).await
            }

            #[database_safe]
            async fn write_with(
                &self,
                db: &mut WriteTransaction,
                closure: fn(&Raw) -> Result<()>,
            ) -> Result<()> {
                db.call(closure).await
            }

            #[database_safe]
            async fn bare_with(
                &self,
                db: &mut Connection,
                closure: fn(&Raw) -> Result<()>,
            ) -> Result<()> {
                db.call(closure).await
            }

            /// Has the writer, spoils its connection, and keeps it.
            #[database_safe]
            async fn put_aside(&self, db: &mut WriteTransaction) -> Result<()> {
                db.call(|connection| Ok(connection.remove_function("shout", 1)?))
                    .await?;
                self.arrived.notify_one();
                self.go_on.notified().await;
                db.execute("DELETE FROM word", ()).await.map(drop)
            }

            /// Has a reader, and keeps it.
            #[database_safe]
            async fn stay(&self, db: &mut ReadTransaction) -> Result<()> {
                let _: String = db.query_one("SELECT shout('x')", ()).await?;
                self.arrived.notify_one();
                std::future::pending().await
            }
        }
    };
}

store!(Store, "1.0.0", SCHEMA, "");
store!(
    Edited,
    "1.0.0",
    "CREATE TABLE word (text TEXT NOT NULL COLLATE backwards CHECK (shout(text) <> 'YES'), id INTEGER PRIMARY KEY) STRICT;
     CREATE INDEX word_by_shout ON word (shout(text));
     CREATE TABLE child (word INTEGER REFERENCES word (id)) STRICT",
    ""
);
store!(
    Next,
    "1.1.0",
    &format!("{SCHEMA}; CREATE INDEX word_by_text ON word (text)"),
    "CREATE INDEX word_by_text ON word (text)"
);

fn text_of(value: Value) -> Result<String> {
    Ok(match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text,
        other => panic!("{other:?}"),
    })
}

fn set_up(connection: &Raw) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("shout", 1, flags, |context| {
        Ok(context.get::<String>(0)?.to_uppercase())
    })?;
    connection.create_collation("backwards", |a, b| b.cmp(a))?;
    Ok(())
}

fn plain(directory: &TempDir) -> Config {
    Config::new(directory.path())
}

fn config(directory: &TempDir) -> Config {
    plain(directory).on_open(set_up)
}

/// A connection that the hook has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    file: String,
    read_only: bool,
    thread: ThreadId,
}

/// A configuration whose hook tells what it sees.
fn told(config: Config) -> (Config, Receiver<Seen>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let config = config.on_open(move |connection| {
        let path = PathBuf::from(connection.path().unwrap_or_default());
        let file = path.file_name().unwrap_or_default();
        let seen = Seen {
            file: file.to_string_lossy().into_owned(),
            read_only: connection.is_readonly("main")?,
            thread: thread::current().id(),
        };
        let _ = sender.lock().unwrap().send(seen);
        set_up(connection)
    });
    (config, receiver)
}

fn seen(receiver: &Receiver<Seen>) -> Vec<(String, bool)> {
    receiver
        .try_iter()
        .map(|seen| (seen.file, seen.read_only))
        .collect()
}

const DATABASE: &str = "database.db";

fn is_on_open(error: &Error) -> bool {
    matches!(
        error,
        Error::OnOpen {
            hook: "on_open",
            ..
        }
    )
}

/// Why a start failed.
fn cause<T>(started: Result<T>) -> Error {
    match started {
        Err(Error::Failed { cause, .. }) => cause.downcast_ref::<Error>().unwrap().clone(),
        Err(error) => error,
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn functions_and_collations_serve_the_schema_and_every_statement() {
    run(async {
        let directory = TempDir::new().unwrap();
        for start in 0..2 {
            let store = Store::create(config(&directory)).await.unwrap();
            if start == 0 {
                store.add("ab").await.unwrap();
                store.add("cd").await.unwrap();
            }
            assert_eq!(store.words().await.unwrap(), ["CD", "AB"]);
            let refused = store.add("no").await.unwrap_err();
            assert!(refused.to_string().contains("CHECK"), "{refused}");
            let sql = "SELECT shout('x')";
            assert_eq!(store.written(sql).await.unwrap(), "X");
            assert_eq!(store.bare(sql).await.unwrap(), "X");
            assert_eq!(store.read(sql).await.unwrap(), "X");
            assert!(store.verify().await.unwrap().is_sound());
            store.close().await.unwrap();
            assert_eq!(names(directory.path()), [DATABASE]);
        }
    });
}

#[test]
fn without_it_the_schema_cannot_be_used() {
    run(async {
        let error = cause(Store::create(Config::in_memory()).await);
        assert_eq!(
            error.sqlite_code(),
            Some(rusqlite::ffi::SQLITE_ERROR_MISSING_COLLSEQ)
        );
    });
}

#[test]
fn settings_of_a_connection_are_there_in_every_handle() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = plain(&directory).on_open(|connection| {
            set_up(connection)?;
            connection.execute_batch(
                "PRAGMA cache_size = -4321; PRAGMA mmap_size = 65536; PRAGMA temp_store = MEMORY;
                 PRAGMA recursive_triggers = ON; PRAGMA secure_delete = ON",
            )?;
            Ok(())
        });
        for _start in 0..2 {
            let store = Store::create(config.clone()).await.unwrap();
            for (setting, value) in [
                ("cache_size", "-4321"),
                ("mmap_size", "65536"),
                ("temp_store", "2"),
                ("recursive_triggers", "1"),
                ("secure_delete", "1"),
            ] {
                let sql = format!("PRAGMA {setting}");
                assert_eq!(store.read(&sql).await.unwrap(), value, "{setting}");
                assert_eq!(store.written(&sql).await.unwrap(), value, "{setting}");
                assert_eq!(store.bare(&sql).await.unwrap(), value, "{setting}");
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn what_a_closure_of_call_changes_is_put_back_to_this_state() {
    fn change(connection: &Raw) -> Result<()> {
        connection.remove_function("shout", 1)?;
        connection.create_collation("backwards", |a, b| a.cmp(b))?;
        Ok(())
    }
    fn change_more(connection: &Raw) -> Result<()> {
        connection.execute_batch("PRAGMA cache_size = 5; PRAGMA recursive_triggers = ON")?;
        change(connection)
    }
    run(async {
        let directory = TempDir::new().unwrap();
        let config = plain(&directory).readers(1).on_open(|connection| {
            connection
                .execute_batch("PRAGMA cache_size = -4321; PRAGMA recursive_triggers = OFF")?;
            set_up(connection)
        });
        let store = Store::create(config).await.unwrap();
        store.add("ab").await.unwrap();
        store.add("cd").await.unwrap();
        for round in 0..3 {
            match round {
                0 => store.read_with(change).await.unwrap(),
                1 => store.write_with(change).await.unwrap(),
                _ => store.bare_with(change_more).await.unwrap(),
            }
            assert_eq!(store.words().await.unwrap(), ["CD", "AB"], "{round}");
            for (sql, value) in [
                ("SELECT shout('x')", "X"),
                ("PRAGMA cache_size", "-4321"),
                ("PRAGMA recursive_triggers", "0"),
                (
                    "SELECT group_concat(text, '') FROM (SELECT text FROM word ORDER BY text)",
                    "cdab",
                ),
            ] {
                assert_eq!(store.read(sql).await.unwrap(), value, "{round}");
                assert_eq!(store.written(sql).await.unwrap(), value, "{round}");
                assert_eq!(store.bare(sql).await.unwrap(), value, "{round}");
            }
        }
        store.close().await.unwrap();
    });
}

#[test]
fn readers_that_are_opened_on_demand_are_set_up() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (config, receiver) = told(plain(&directory));
        let store = Store::create(config).await.unwrap();
        seen(&receiver);
        let stay = || {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.stay().await })
        };
        let staying = [stay(), stay()];
        for _ in &staying {
            within(store.arrived.notified()).await;
        }
        assert_eq!(store.read("SELECT shout('x')").await.unwrap(), "X");
        let readers = seen(&receiver);
        assert_eq!(readers.len(), 3, "{readers:?}");
        assert!(
            readers
                .iter()
                .all(|seen| *seen == (DATABASE.to_owned(), true))
        );
        for stay in staying {
            stay.abort();
        }
        store.close().await.unwrap();
    });
}

#[test]
fn the_writer_is_set_up_after_a_call_was_evicted() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory).max_write_idle(Duration::from_millis(1));
        let store = Store::create(config).await.unwrap();
        let put_aside = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.put_aside().await }
        });
        within(store.arrived.notified()).await;
        assert_eq!(
            within(store.written("SELECT shout('x')")).await.unwrap(),
            "X"
        );
        store.go_on.notify_one();
        let lost = within(put_aside).await.unwrap().unwrap_err();
        assert!(matches!(lost, Error::TransactionLost { .. }), "{lost}");
        store.close().await.unwrap();
    });
}

#[test]
fn a_backup_and_its_copy_are_set_up() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory)).await.unwrap();
        store.add("ab").await.unwrap();
        store.close().await.unwrap();
        let (config, receiver) = told(plain(&directory));
        let next = Next::create(config).await.unwrap();
        let seen = seen(&receiver);
        assert!(
            seen.contains(&("database.db.backup-unfinished".to_owned(), false)),
            "{seen:?}"
        );
        // To look at the file, and to copy it.
        let reads = seen
            .iter()
            .filter(|seen| **seen == (DATABASE.to_owned(), true));
        assert_eq!(reads.count(), 2);
        assert_eq!(next.words().await.unwrap(), ["AB"]);
        next.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            [DATABASE, "database.db.1.0.0.backup"]
        );
    });
}

#[test]
fn checkpoints_are_set_up_and_so_is_what_makes_many_reads_cheap() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (config, receiver) = told(plain(&directory));
        let store = Store::create(config).await.unwrap();
        store.read("SELECT 'x'").await.unwrap();
        store.run("CREATE TABLE fill (x)").await.unwrap();
        seen(&receiver);
        let fill = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000)
            INSERT INTO fill SELECT zeroblob(4000) FROM n";
        store.run(fill).await.unwrap();
        let checkpoint = receiver.recv_timeout(LIMIT).unwrap();
        assert!(
            !checkpoint.read_only && checkpoint.file == DATABASE,
            "{checkpoint:?}"
        );
        let began = Instant::now();
        let mark = loop {
            assert!(began.elapsed() < LIMIT);
            store.read("SELECT shout('x')").await.unwrap();
            if let Ok(seen) = receiver.try_recv() {
                break seen;
            }
        };
        assert!(mark.read_only && mark.file == DATABASE, "{mark:?}");
        store.close().await.unwrap();
    });
}

#[test]
fn the_model_of_the_drift_check_is_set_up() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory)).await.unwrap();
        store.close().await.unwrap();
        let (config, receiver) = told(plain(&directory).schema_drift(SchemaDrift::Error));
        let store = Store::create(config.clone()).await.unwrap();
        store.close().await.unwrap();
        assert!(
            seen(&receiver).contains(&(String::new(), false)),
            "in memory"
        );
        // If the model could not be made, nothing would be found.
        let error = cause(Edited::create(config).await);
        assert!(matches!(error, Error::SchemaDrift { .. }), "{error}");
        assert!(error.to_string().contains("YES"), "{error}");
    });
}

#[test]
fn the_databases_of_a_checked_migration_are_set_up() {
    run(async {
        let migration =
            Migration::from_sql("1.0.0", SCHEMA).seed("INSERT INTO word (text) VALUES ('ab')");
        let migrated = migration
            .clone()
            .on_open(set_up)
            .check::<Next>()
            .await
            .unwrap();
        assert_eq!(migrated.words().await.unwrap(), ["AB"]);
        migrated.close().await.unwrap();
        let failed = migration.check::<Next>().await.err().unwrap();
        assert!(matches!(failed, MigrationError::Failed(_)), "{failed}");

        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory)).await.unwrap();
        store.close().await.unwrap();
        let fixture = directory.path().join(DATABASE);
        let migrated = Migration::from_file(fixture)
            .on_open(set_up)
            .check::<Next>()
            .await
            .unwrap();
        migrated.close().await.unwrap();
    });
}

#[test]
fn page_size_auto_vacuum_and_encoding_of_a_new_file_are_decided_before_its_first_page() {
    run(async {
        let directory = TempDir::new().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let config = config(&directory).on_create(move |connection| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(connection.query_row("SELECT shout('x')", (), |row| row.get::<_, String>(0))?, "X");
            connection.execute_batch(
                "PRAGMA encoding = 'UTF-16le'; PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL",
            )?;
            Ok(())
        });
        for _start in 0..2 {
            let store = Store::create(config.clone()).await.unwrap();
            for (setting, value) in [
                ("page_size", "8192"),
                ("auto_vacuum", "2"),
                ("encoding", "UTF-16le"),
                ("journal_mode", "wal"),
            ] {
                let sql = format!("PRAGMA {setting}");
                assert_eq!(store.read(&sql).await.unwrap(), value);
                assert_eq!(store.written(&sql).await.unwrap(), value);
            }
            store.write_with(|_| Ok(())).await.unwrap();
            store.close().await.unwrap();
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn page_size_after_auto_vacuum_is_an_error_and_not_without_effect() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory).on_create(|connection| {
            Ok(connection.execute_batch("PRAGMA auto_vacuum = FULL; PRAGMA page_size = 8192")?)
        });
        let error = cause(Store::create(config).await);
        assert_eq!(
            error.to_string(),
            "on_create failed: PRAGMA page_size or encoding after auto_vacuum is refused here: \
             auto_vacuum writes the first page; put it last"
        );
    });
}

/// What is refused, and which word of the error says so.
const REFUSED: [(&str, &str); 15] = [
    ("BEGIN", "transaction control"),
    ("SAVEPOINT s", "transaction control"),
    ("ATTACH ':memory:' AS other", "ATTACH"),
    ("VACUUM INTO 'copy'", "ATTACH"),
    ("INSERT INTO word (text) VALUES ('x')", "a write"),
    ("DELETE FROM word", "a write"),
    ("CREATE TABLE other (x)", "a write"),
    ("DROP TABLE word", "a write"),
    ("REINDEX", "a write"),
    ("CREATE TEMP TABLE other (x)", "TEMP"),
    ("CREATE TEMP VIEW other AS SELECT 1", "TEMP"),
    ("PRAGMA user_version = 7", "this PRAGMA"),
    ("PRAGMA wal_checkpoint", "this PRAGMA"),
    ("PRAGMA optimize", "this PRAGMA"),
    ("PRAGMA auto_vacuum = FULL", "auto_vacuum"),
];

#[test]
fn what_does_not_belong_there_is_refused_and_changes_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory)).await.unwrap();
        store.add("ab").await.unwrap();
        store.close().await.unwrap();
        let before = std::fs::read(directory.path().join(DATABASE)).unwrap();
        for (sql, word) in REFUSED {
            // Whether the closure passes the error on or not.
            for passes_on in [true, false] {
                let config = plain(&directory).on_open(move |connection| {
                    set_up(connection)?;
                    let result = connection.execute_batch(sql);
                    if passes_on { Ok(result?) } else { Ok(()) }
                });
                let error = cause(Store::create(config).await);
                assert!(is_on_open(&error), "{sql}: {error}");
                assert!(error.to_string().contains(word), "{sql}: {error}");
                assert!(
                    error.to_string().contains("is refused here"),
                    "{sql}: {error}"
                );
            }
            assert_eq!(names(directory.path()), [DATABASE], "{sql}");
        }
        assert_eq!(
            std::fs::read(directory.path().join(DATABASE)).unwrap(),
            before
        );
    });
}

#[test]
fn a_statement_left_unfinished_is_refused() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = config(&directory);
        Store::create(config).await.unwrap().close().await.unwrap();
        let config = plain(&directory).on_open(|connection| {
            set_up(connection)?;
            let mut statement = connection.prepare("SELECT 1 UNION ALL SELECT 2")?;
            let mut rows = statement.query(())?;
            rows.next()?;
            std::mem::forget(rows);
            std::mem::forget(statement);
            Ok(())
        });
        let error = cause(Store::create(config).await);
        assert!(
            is_on_open(&error) && error.to_string().contains("unfinished"),
            "{error}"
        );
    });
}

#[test]
fn an_authorizer_is_refused() {
    run(async {
        let config = Config::in_memory().on_open(|connection| {
            set_up(connection)?;
            connection.authorizer(Some(|_: AuthContext<'_>| Authorization::Deny))?;
            Ok(())
        });
        let error = cause(Store::create(config).await);
        assert!(
            is_on_open(&error) && error.to_string().contains("authorizer"),
            "{error}"
        );
    });
}

static HOOKED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn what_the_library_sets_wins() {
    fn meddle(connection: &Raw) -> Result<()> {
        set_up(connection)?;
        connection.execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;
             PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON; PRAGMA busy_timeout = 7;
             PRAGMA wal_autocheckpoint = 1; PRAGMA trusted_schema = ON; PRAGMA cell_size_check = OFF",
        )?;
        connection.pragma_update(None, "journal_mode", "TRUNCATE")?;
        connection.busy_timeout(Duration::from_secs(7))?;
        connection.busy_handler(Some(|_| {
            HOOKED.fetch_add(1, Ordering::Relaxed);
            true
        }))?;
        for (switch, on) in [
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, true),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
            (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false),
        ] {
            connection.set_db_config(switch, on)?;
        }
        let hooked = || {
            HOOKED.fetch_add(1, Ordering::Relaxed);
            true
        };
        connection.commit_hook(Some(hooked))?;
        connection.progress_handler(1, Some(hooked))?;
        connection.update_hook(Some(|_, _: &str, _: &str, _| {
            HOOKED.fetch_add(1, Ordering::Relaxed);
        }))?;
        connection.rollback_hook(Some(|| {
            HOOKED.fetch_add(1, Ordering::Relaxed);
        }))?;
        connection.wal_hook(Some(|_, _| {
            HOOKED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
        Ok(())
    }
    run(async {
        let directory = TempDir::new().unwrap();
        let config = plain(&directory).on_open(meddle).on_create(meddle);
        for start in 0..2 {
            let store = Store::create(config.clone()).await.unwrap();
            for (setting, reads, writes) in [
                ("journal_mode", "wal", "wal"),
                ("synchronous", "2", "2"),
                ("foreign_keys", "1", "1"),
                ("query_only", "1", "0"),
                ("busy_timeout", "0", "0"),
            ] {
                let sql = format!("PRAGMA {setting}");
                assert_eq!(store.read(&sql).await.unwrap(), reads, "{setting}");
                assert_eq!(store.written(&sql).await.unwrap(), writes, "{setting}");
            }
            assert_eq!(store.bare("PRAGMA busy_timeout").await.unwrap(), "5000");
            assert_eq!(store.bare("PRAGMA wal_autocheckpoint").await.unwrap(), "0");
            assert_eq!(store.bare("PRAGMA locking_mode").await.unwrap(), "normal");
            assert_eq!(store.bare("PRAGMA trusted_schema").await.unwrap(), "0");
            HOOKED.store(0, Ordering::Relaxed);
            store.add("ab").await.unwrap();
            let orphan = "INSERT INTO child VALUES (77)";
            assert!(
                store
                    .run(orphan)
                    .await
                    .unwrap_err()
                    .is_foreign_key_violation()
            );
            assert_eq!(store.words().await.unwrap().len(), start + 1);
            assert_eq!(HOOKED.load(Ordering::Relaxed), 0);
            store.close().await.unwrap();
            assert_eq!(names(directory.path()), [DATABASE]);
        }
    });
}

#[test]
fn an_error_or_a_panic_in_it_fails_the_start_with_its_name() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory)).await.unwrap();
        store.add("ab").await.unwrap();
        store.close().await.unwrap();
        for panics in [false, true] {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let failing = plain(&directory).on_open(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                assert!(!panics, "boom");
                Err(Error::other("no key today"))
            });
            let error = cause(within(Store::create(failing)).await);
            let text = if panics {
                "on_open panicked: boom"
            } else {
                "no key today"
            };
            assert_eq!(error.to_string(), format!("on_open failed: {text}"));
            assert!(is_on_open(&error));
            assert_eq!(count.load(Ordering::Relaxed), 1, "it is not tried again");
            assert_eq!(names(directory.path()), [DATABASE]);
        }
        let store = Store::create(config(&directory)).await.unwrap();
        assert_eq!(store.words().await.unwrap(), ["AB"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_failed_on_create_leaves_a_file_that_is_new_at_the_next_start() {
    run(async {
        let directory = TempDir::new().unwrap();
        let failing = config(&directory).on_create(|_| panic!("boom"));
        let error = cause(Store::create(failing).await);
        assert_eq!(
            error.to_string(),
            "on_create failed: on_create panicked: boom"
        );
        let large = config(&directory)
            .on_create(|connection| Ok(connection.execute_batch("PRAGMA page_size = 16384")?));
        let store = Store::create(large).await.unwrap();
        assert_eq!(store.read("PRAGMA page_size").await.unwrap(), "16384");
        store.close().await.unwrap();
    });
}

#[test]
fn a_failure_at_a_later_open_fails_that_call_and_loses_nothing() {
    run(async {
        for panics in [false, true] {
            let directory = TempDir::new().unwrap();
            let (fails, count) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicUsize::new(0)),
            );
            let (is_failing, counted) = (Arc::clone(&fails), Arc::clone(&count));
            let config = plain(&directory).readers(1).on_open(move |connection| {
                counted.fetch_add(1, Ordering::Relaxed);
                if is_failing.load(Ordering::Relaxed) {
                    assert!(!panics, "boom");
                    return Err(Error::other("no key today"));
                }
                set_up(connection)
            });
            let store = Store::create(config).await.unwrap();
            store.add("ab").await.unwrap();
            store.words().await.unwrap();
            fails.store(true, Ordering::Relaxed);
            // Each connection serves one closure and is replaced.
            store.read_with(|_| Ok(())).await.unwrap();
            store.write_with(|_| Ok(())).await.unwrap();
            for call in 0..3 {
                let error = within(store.words()).await.unwrap_err();
                assert!(is_on_open(&error), "{call}: {error}");
                let error = within(store.add("cd")).await.unwrap_err();
                assert!(is_on_open(&error), "{call}: {error}");
            }
            fails.store(false, Ordering::Relaxed);
            store.add("cd").await.unwrap();
            assert_eq!(store.words().await.unwrap(), ["CD", "AB"]);
            // A start, an attempt beside each call, and one for each call that failed.
            let count = count.load(Ordering::Relaxed);
            assert!(count <= 20, "{count}");
            store.close().await.unwrap();
            assert_eq!(names(directory.path()), [DATABASE]);
        }
    });
}

#[test]
fn it_runs_on_a_thread_and_never_where_the_task_is() {
    for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
        run_on_one_thread(async move {
            let task = thread::current().id();
            let directory = TempDir::new().unwrap();
            let (config, receiver) = told(plain(&directory).execution(execution));
            for start in 0..3 {
                let drift = [SchemaDrift::Error, SchemaDrift::Warn][start % 2];
                let store = Store::create(config.clone().schema_drift(drift))
                    .await
                    .unwrap();
                assert_eq!(store.read("SELECT shout('x')").await.unwrap(), "X");
                if start < 2 {
                    store.add("ab").await.unwrap();
                    store.read_with(|_| Ok(())).await.unwrap();
                    store.write_with(|_| Ok(())).await.unwrap();
                    store.bare_with(|_| Ok(())).await.unwrap();
                    store.words().await.unwrap();
                }
                store.close().await.unwrap();
            }
            let threads: Vec<_> = receiver.try_iter().map(|seen| seen.thread).collect();
            assert!(threads.len() > 10, "{}", threads.len());
            assert!(!threads.contains(&task));
        });
    }
}

#[test]
fn a_call_of_the_same_manager_from_inside_it_is_an_error() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, errors) = (
            Arc::new(OnceLock::<Arc<Store>>::new()),
            Arc::new(Mutex::new(Vec::new())),
        );
        let (inner, told) = (Arc::clone(&store), Arc::clone(&errors));
        let runtime = tokio::runtime::Handle::current();
        let config = config(&directory).on_open(move |connection| {
            set_up(connection)?;
            if let Some(store) = inner.get() {
                let mut told = told.lock().unwrap();
                told.push(runtime.block_on(store.words()).unwrap_err());
                told.push(runtime.block_on(store.add("inside")).unwrap_err());
                told.push(
                    runtime
                        .block_on(store.ensure_ready())
                        .err()
                        .unwrap_or(Error::NoRows),
                );
                told.push(runtime.block_on(store.close()).unwrap_err());
            }
            Ok(())
        });
        // While it starts, and every time that a connection is opened later.
        let starting = Store::start(config);
        let _ = store.set(Arc::clone(&starting));
        within(starting.ensure_ready()).await.unwrap();
        within(starting.read_with(|_| Ok(()))).await.unwrap();
        within(starting.write_with(|_| Ok(()))).await.unwrap();
        assert!(within(starting.words()).await.unwrap().is_empty());
        within(starting.add("ab")).await.unwrap();
        {
            let errors = errors.lock().unwrap();
            assert!(errors.len() >= 8, "{errors:?}");
            for error in errors.iter() {
                let text = error.to_string();
                assert!(
                    text.contains("on_open") || matches!(error, Error::NoRows),
                    "{text}"
                );
            }
        }
        within(starting.close()).await.unwrap();
    });
}

#[test]
fn close_within_ends_a_statement_of_it_that_never_ends() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let config = plain(&directory).on_open(move |connection| {
            let _ = sender.lock().unwrap().send(());
            let forever = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
            Ok(connection.query_row(forever, (), |_| Ok(()))?)
        });
        let store = Store::start(config);
        let receiver = tokio::task::spawn_blocking(move || receiver.recv_timeout(LIMIT));
        receiver.await.unwrap().unwrap();
        within(store.close_within(Duration::ZERO)).await.unwrap();
        assert!(store.words().await.is_err());
    });
}

#[test]
fn a_call_that_goes_away_while_it_runs_leaves_the_connection_to_the_next_one() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (arrived, go_on) = (channel(), channel::<()>());
        let gate = Mutex::new((arrived.0, go_on.1));
        let waits_for_it = Arc::new(AtomicBool::new(false));
        let is_waiting = Arc::clone(&waits_for_it);
        let config = plain(&directory).readers(1).on_open(move |connection| {
            if is_waiting.swap(false, Ordering::Relaxed) {
                let gate = gate.lock().unwrap();
                gate.0.send(()).unwrap();
                gate.1.recv_timeout(LIMIT).unwrap();
            }
            set_up(connection)
        });
        let store = Store::create(config).await.unwrap();
        store.words().await.unwrap();
        waits_for_it.store(true, Ordering::Relaxed);
        store.read_with(|_| Ok(())).await.unwrap();
        {
            let mut call = pin!(store.words());
            assert!(
                tokio::time::timeout(Duration::ZERO, call.as_mut())
                    .await
                    .is_err()
            );
            arrived.1.recv_timeout(LIMIT).unwrap();
        }
        go_on.0.send(()).unwrap();
        assert!(within(store.words()).await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_private_file_and_a_file_that_is_not_trusted_are_set_up_too() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::create(config(&directory).private_files(true))
            .await
            .unwrap();
        store.add("ab").await.unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = std::fs::metadata(directory.path().join(DATABASE)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
        store.close().await.unwrap();
        // Not innocuous: the schema may use it only if the file is trusted.
        let trusting = |hardened| {
            plain(&directory).hardened(hardened).on_open(|connection| {
                set_up(connection)?;
                let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
                connection.create_scalar_function("shout", 1, flags, |_| Ok("X"))?;
                Ok(())
            })
        };
        let error = cause(Store::create(trusting(true)).await);
        assert_eq!(error.sqlite_code(), Some(rusqlite::ffi::SQLITE_CORRUPT));
        assert!(
            error
                .sqlite_message()
                .unwrap()
                .contains("unsafe use of shout()"),
            "{error}"
        );
        let store = Store::create(trusting(false)).await.unwrap();
        store.add("cd").await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn several_managers_may_open_a_new_file_at_once() {
    run(async {
        for _round in 0..5 {
            let directory = TempDir::new().unwrap();
            let config = plain(&directory)
                .on_open(|connection| {
                    set_up(connection)?;
                    // Reads the file.
                    connection.execute_batch("PRAGMA cache_size = -4321")?;
                    Ok(())
                })
                .on_create(|connection| {
                    Ok(connection
                        .execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = FULL")?)
                });
            let starts: Vec<_> = (0..4)
                .map(|_| tokio::spawn(Store::create(config.clone())))
                .collect();
            for start in starts {
                let store = within(start).await.unwrap().unwrap();
                assert_eq!(store.read("PRAGMA page_size").await.unwrap(), "8192");
                store.close().await.unwrap();
            }
        }
    });
}

#[test]
fn a_configuration_with_hooks_is_cloned_and_shown_like_any_other() {
    fn is_shared<T: Send + Sync + Clone + std::fmt::Debug + std::panic::UnwindSafe>(_: &T) {}
    watch(|| {
        let config = Config::new("data").on_open(set_up).on_create(|_| Ok(()));
        is_shared(&config);
        let shown = format!("{:?}", config.clone());
        assert!(
            shown.contains("on_open: Some(") && shown.contains("on_create: Some("),
            "{shown}"
        );
        // What a closure has bound is dropped with the configuration.
        let key = Arc::new(());
        let held = Arc::clone(&key);
        let config = config.on_open(move |_| {
            let _ = &held;
            Ok(())
        });
        assert_eq!(Arc::strong_count(&key), 2);
        drop(config.on_open(set_up));
        assert_eq!(Arc::strong_count(&key), 1, "another one replaces it");
    });
}

#[test]
fn an_error_of_sqlite_in_it_shows_its_code_and_no_text_of_the_statement() {
    run(async {
        let config = Config::in_memory().on_open(|connection| {
            connection.execute_batch("PRAGMA key = 'secret' 'words'")?;
            Ok(())
        });
        let error = cause(Store::create(config).await);
        assert!(is_on_open(&error));
        assert_eq!(error.sqlite_code(), Some(rusqlite::ffi::SQLITE_ERROR));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    });
}
