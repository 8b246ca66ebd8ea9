//! Databases that were there before the program: adopted, or opened for reading only.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite::{self, config::DbConfig};
use dbm_core::{Execution, SchemaDrift};
use dbm_tests::{
    Child, Hooks, ReadOnly, Store, bytes, names, open_files, run, skip, watch, within,
};
use tempfile::TempDir;

fn child() -> Child {
    Child::start(env!("CARGO_BIN_EXE_child"))
}

const NOTE: &str = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
    INSERT INTO note VALUES (1, 'one')";

/// What a migrator of another crate leaves in a file besides the tables.
const OTHERS: [(&str, &str); 4] = [
    ("by hand", ""),
    (
        "sqlx",
        "CREATE TABLE _sqlx_migrations (
             version BIGINT PRIMARY KEY,
             description TEXT NOT NULL,
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
             success BOOLEAN NOT NULL,
             checksum BLOB NOT NULL,
             execution_time BIGINT NOT NULL
         );
         INSERT INTO _sqlx_migrations VALUES
             (20240101000000, 'notes', '2024-01-01 00:00:00', TRUE, zeroblob(48), 1234567)",
    ),
    ("rusqlite_migration", "PRAGMA user_version = 3"),
    ("in WAL mode", "PRAGMA journal_mode = WAL"),
];

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("database.db")
}

fn sqlite(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

/// A file with these tables, in a directory of its own.
fn made(sql: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    sqlite(&file(&directory)).execute_batch(sql).unwrap();
    directory
}

fn foreign(bookkeeping: &str) -> TempDir {
    made(&format!("{bookkeeping}; {NOTE}"))
}

/// The schema, every row of the tables that both programs know, and the numbers in the header.
fn dump(path: &Path) -> Vec<String> {
    let db = sqlite(path);
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'Version'";
    let mut statement = db.prepare(tables).unwrap();
    let tables = statement.query_map((), |row| row.get(0)).unwrap();
    let tables: Vec<String> = tables.map(Result::unwrap).collect();
    let mut queries: Vec<_> = tables
        .iter()
        .map(|table| format!("SELECT * FROM {table}"))
        .collect();
    queries.extend(
        [
            "PRAGMA user_version",
            "PRAGMA application_id",
            "PRAGMA integrity_check",
            "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name <> 'Version'",
        ]
        .map(str::to_owned),
    );
    let mut lines = Vec::new();
    for query in queries {
        let mut statement = db.prepare(&query).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap()));
            lines.push(format!("{query}: {}", cells.collect::<Vec<_>>().join(" ")));
        }
    }
    lines
}

/// The version in a file that nobody has open; `None` without the table `Version`.
fn version(path: &Path) -> Option<String> {
    let query = "SELECT major || '.' || minor || '.' || patch FROM Version";
    sqlite(path).query_row(query, (), |row| row.get(0)).ok()
}

fn adopting(directory: &TempDir, version: &str) -> Config {
    Config::new(directory.path())
        .version(Version::parse(version).unwrap())
        .adopt(Version::new(1, 0, 0))
}

async fn open(config: Config) -> Result<Arc<Store>> {
    within(Store::create_hooked(config, Hooks::default())).await
}

async fn refused(config: Config) -> Error {
    let store = Store::start_hooked(config, Hooks::default());
    let error = within(store.ensure_ready()).await.unwrap_err();
    assert_eq!(store.status(), Status::Failed);
    assert!(store.calls().is_empty(), "no hook has run");
    error
}

const BACKUP: &str = "database.db.1.0.0.backup";

#[test]
fn a_file_of_another_migrator_is_adopted_with_its_rows_and_its_bookkeeping() {
    run(async {
        for (who, bookkeeping) in OTHERS {
            let directory = foreign(bookkeeping);
            let before = dump(&file(&directory));
            let store = open(adopting(&directory, "1.0.0")).await.unwrap();
            assert!(store.calls().is_empty(), "{who}: there was nothing to do");
            assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
            assert_eq!(dump(&file(&directory)), before, "{who}");
            assert_eq!(names(directory.path()), ["database.db", BACKUP], "{who}");
            let backup = directory.path().join(BACKUP);
            assert_eq!((dump(&backup), version(&backup)), (before, None), "{who}");

            let store = open(adopting(&directory, "1.0.0")).await.unwrap();
            store.add(2, "two").await.unwrap();
            store.close().await.unwrap();
            assert_eq!(names(directory.path()), ["database.db", BACKUP], "{who}");
        }
    });
}

/// The program of docs/existing-databases.md.
#[test]
fn a_file_that_sqlx_has_migrated_twice_opens_as_the_recipe_says() {
    #[derive(DbManager)]
    #[db_manager(version = "1.1.0")]
    struct Moved {
        core: ManagerCore,
    }

    impl Schema for Moved {
        async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
            db.execute_batch(
                "CREATE TABLE user (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, email TEXT);
                 CREATE INDEX user_by_email ON user (email)",
            )
            .await
        }

        async fn migrate_db(
            &self,
            db: &mut WriteTransaction,
            current: &Version,
            _: &Version,
        ) -> Result<bool> {
            if *current < Version::new(1, 1, 0) {
                db.execute("CREATE INDEX user_by_email ON user (email)", ())
                    .await?;
            }
            Ok(true)
        }
    }

    impl Moved {
        #[database_safe]
        async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
            db.query("SELECT name FROM user", ()).await
        }
    }

    run(async {
        let directory = made(&format!(
            "{};
             CREATE TABLE user (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL);
             ALTER TABLE user ADD COLUMN email TEXT;
             INSERT INTO user (name) VALUES ('Ada')",
            OTHERS[1].1
        ));
        let config = Config::new(directory.path())
            .adopt(Version::new(1, 0, 0))
            .schema_drift(SchemaDrift::Error);
        for _ in 0..2 {
            let store = Moved::create(config.clone()).await.unwrap();
            assert_eq!(store.names().await.unwrap(), ["Ada"]);
            assert_eq!(store.get_version().await.unwrap(), Version::new(1, 1, 0));
            store.close().await.unwrap();
        }
        assert_eq!(names(directory.path()), ["database.db", BACKUP]);
    });
}

#[test]
fn a_log_that_another_program_has_left_is_adopted_with_its_file() {
    run(async {
        let directory = TempDir::new().unwrap();
        let db = sqlite(&file(&directory));
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        db.execute_batch(&format!("PRAGMA journal_mode = WAL; {NOTE}"))
            .unwrap();
        drop(db);
        let log = directory.path().join("database.db-wal");
        assert!(fs::metadata(log).unwrap().len() > 0);
        let store = open(adopting(&directory, "1.0.0")).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        let backup = sqlite(&directory.path().join(BACKUP));
        let notes: i64 = backup
            .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
            .unwrap();
        assert_eq!(notes, 1);
    });
}

#[test]
fn an_adopted_file_is_migrated_on_if_the_program_is_newer() {
    run(async {
        let directory = foreign("");
        let store = open(adopting(&directory, "1.2.0")).await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(1.0.0, 1.2.0)"]);
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 2, 0));
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db", BACKUP]);
    });
}

#[test]
fn a_migration_that_fails_leaves_the_file_unadopted() {
    run(async {
        let directory = foreign("");
        let before = dump(&file(&directory));
        let hooks = Hooks {
            migrate: Some(|_, db| {
                Box::pin(async {
                    db.execute("DELETE FROM note", ()).await?;
                    Ok(false)
                })
            }),
            ..Hooks::default()
        };
        let started = Store::create_hooked(adopting(&directory, "1.2.0"), hooks).await;
        let error = started.unwrap_err();
        assert!(matches!(error, Error::MigrationRefused { .. }), "{error:?}");
        assert_eq!(dump(&file(&directory)), before);
        assert_eq!(version(&file(&directory)), None);
        open(adopting(&directory, "1.2.0"))
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
    });
}

#[test]
fn a_foreign_file_is_refused_with_the_fix_unless_it_is_adopted() {
    run(async {
        let directory = foreign("");
        let before = bytes(directory.path());
        let error = refused(Config::new(directory.path())).await;
        let text = error.to_string();
        assert!(text.contains("Config::adopt"), "{text}");
        assert!(
            text.contains(&file(&directory).display().to_string()),
            "{text}"
        );
        let Error::ForeignDatabase { path } = error else {
            panic!("{error:?}")
        };
        assert_eq!(*path, *file(&directory));
        assert_eq!(bytes(directory.path()), before);
    });
}

#[test]
fn a_version_that_the_program_does_not_know_adopts_nothing() {
    run(async {
        let directory = foreign("");
        let before = bytes(directory.path());
        let error = refused(adopting(&directory, "0.9.0")).await;
        assert!(matches!(error, Error::TooNew { .. }), "{error:?}");
        let unstorable = Config::new(directory.path()).adopt(Version::parse("1.0.0-rc.1").unwrap());
        let error = refused(unstorable).await;
        assert!(matches!(error, Error::Config { .. }), "{error:?}");
        assert_eq!(bytes(directory.path()), before);
    });
}

#[test]
fn the_setting_may_stay_in_the_program_for_new_files_and_those_that_have_a_version() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = open(adopting(&directory, "1.2.0")).await.unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        store.close().await.unwrap();
        let newer = adopting(&directory, "1.3.0").adopt(Version::new(9, 0, 0));
        let store = open(newer).await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(1.2.0, 1.3.0)"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_file_whose_schema_does_not_fit_is_not_adopted_where_drift_is_an_error() {
    run(async {
        let directory = made("CREATE TABLE note (id INTEGER PRIMARY KEY)");
        let config = adopting(&directory, "1.0.0").schema_drift(SchemaDrift::Error);
        let error = refused_by_drift(config.clone()).await;
        let Error::SchemaDrift { path, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(**path, *file(&directory));
        assert_eq!(version(&file(&directory)), None);
        let store = open(config.schema_drift(SchemaDrift::Ignore))
            .await
            .unwrap();
        store.close().await.unwrap();
        assert_eq!(version(&file(&directory)).unwrap(), "1.0.0");
    });
}

/// Drift is judged with `init_db`.
async fn refused_by_drift(config: Config) -> Error {
    let started = Store::create_hooked(config, Hooks::default()).await;
    started.unwrap_err()
}

#[test]
fn a_table_of_the_users_own_called_version_is_named_and_the_file_is_left_alone() {
    run(async {
        for (kind, name, sql) in [
            (
                "table",
                "version",
                "CREATE TABLE version (id INTEGER, number TEXT)",
            ),
            ("table", "VERSION", "CREATE TABLE VERSION (name)"),
            (
                "view",
                "version",
                "CREATE VIEW version AS SELECT 1 AS number",
            ),
            ("index", "version", "CREATE INDEX version ON note (text)"),
        ] {
            let directory = made(&format!("{NOTE}; {sql}"));
            let before = bytes(directory.path());
            for config in [adopting(&directory, "1.0.0"), Config::new(directory.path())] {
                let error = refused(config).await;
                let text = error.to_string();
                assert!(
                    text.contains(&format!("{kind} {name}")) && text.contains("rename"),
                    "{text}"
                );
                let Error::VersionNameTaken { path, .. } = error else {
                    panic!("{sql}: {error:?}")
                };
                assert_eq!(*path, *file(&directory));
            }
            assert_eq!(bytes(directory.path()), before, "{sql}");
        }
    });
}

/// A hook that runs one statement, in `init_db` and in `migrate_db`.
macro_rules! hooks {
    ($sql:literal) => {
        Hooks {
            init: Some(|_, db| Box::pin(async { db.execute_batch($sql).await })),
            migrate: Some(|_, db| Box::pin(async { db.execute_batch($sql).await.map(|()| true) })),
        }
    };
}

#[test]
fn a_hook_that_makes_a_table_called_version_is_told_to_choose_another_name() {
    run(async {
        for hooks in [
            hooks!("CREATE TABLE version (number TEXT)"),
            hooks!("CREATE TABLE IF NOT EXISTS Version (number TEXT)"),
            hooks!("CREATE VIEW \"VERSION\" AS SELECT 1"),
        ] {
            let directory = TempDir::new().unwrap();
            Store::make(directory.path(), "1.0.0").await.unwrap();
            let newer = Config::new(directory.path()).version(Version::new(1, 1, 0));
            for config in [newer, Config::in_memory()] {
                let error = Store::create_hooked(config, hooks).await.unwrap_err();
                assert!(matches!(error, Error::Refused { .. }), "{error:?}");
                let text = error.to_string();
                assert!(text.contains("choose another name"), "{text}");
            }
            assert_eq!(version(&file(&directory)).unwrap(), "1.0.0");
        }
    });
}

#[test]
fn of_several_processes_that_start_at_once_one_adopts() {
    watch(|| {
        let mut children: Vec<_> = (0..6).map(|_| child()).collect();
        for (round, target) in ["1.0.0", "1.1.0"].into_iter().cycle().take(20).enumerate() {
            let directory = foreign("PRAGMA user_version = 3");
            for child in &mut children {
                child.tell(&format!("adopt {} {target}", directory.path().display()));
            }
            let answers: Vec<_> = children.iter_mut().map(Child::answer).collect();
            let migrated = answers
                .iter()
                .filter(|answer| *answer != "running []")
                .count();
            assert_eq!(
                migrated,
                usize::from(target == "1.1.0"),
                "{round}: {answers:#?}"
            );
            for child in &mut children {
                assert_eq!(child.ask("ids"), "[1]");
                assert_eq!(child.ask("close"), "stopped");
            }
            assert_eq!(names(directory.path()), ["database.db", BACKUP], "{round}");
            assert_eq!(version(&file(&directory)).unwrap(), target);
        }
    });
}

/// A database of version 1.0.0 with note 1.
async fn ours() -> TempDir {
    let directory = TempDir::new().unwrap();
    Store::make(directory.path(), "1.0.0").await.unwrap();
    directory
}

fn reading(directory: &TempDir) -> Config {
    Config::new(directory.path()).read_only()
}

/// What may stay beside a file that was read.
fn has_only_side_files(directory: &TempDir) -> bool {
    let mut names = names(directory.path());
    names.retain(|name| !["database.db", "database.db-wal", "database.db-shm"].contains(&&**name));
    names.is_empty()
}

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Bare {
    core: ManagerCore,
}
dbm_tests::schema!(Bare);

impl Bare {
    #[database_safe]
    async fn vacuum(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("VACUUM").await
    }
}

#[test]
fn a_file_that_is_opened_for_reading_is_read_and_nothing_else() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = ours().await;
            let before = bytes(directory.path())["database.db"];
            let store = open(reading(&directory).execution(execution))
                .await
                .unwrap();
            assert_eq!(store.status(), Status::Running);
            assert_eq!(store.path().unwrap(), file(&directory));
            assert_eq!(store.ids().await.unwrap(), [1]);
            assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
            assert!(store.verify().await.unwrap().is_sound());
            let error = store.add(2, "two").await.unwrap_err();
            assert!(
                matches!(error, Error::ReadOnly { method: "add" }),
                "{error:?}"
            );
            let text = error.to_string();
            assert!(text.contains("add") && text.contains("read_only"), "{text}");
            let error = store
                .update_version(&Version::new(2, 0, 0))
                .await
                .unwrap_err();
            assert!(matches!(
                error,
                Error::ReadOnly {
                    method: "update_version"
                }
            ));
            assert_eq!(store.ids().await.unwrap(), [1], "reads go on");
            store.close().await.unwrap();
            assert_eq!(store.status(), Status::Stopped);
            assert!(open_files(directory.path()).is_empty());
            assert_eq!(bytes(directory.path())["database.db"], before);
            assert!(has_only_side_files(&directory));

            let bare = Bare::create(reading(&directory).execution(execution))
                .await
                .unwrap();
            let error = bare.vacuum().await.unwrap_err();
            assert!(
                matches!(error, Error::ReadOnly { method: "vacuum" }),
                "{error:?}"
            );
            bare.close_within(Duration::ZERO).await.unwrap();
            assert_eq!(bytes(directory.path())["database.db"], before);
        }
    });
}

#[test]
fn a_file_that_would_have_to_be_made_or_migrated_is_refused_untouched() {
    run(async {
        let newer = ours().await;
        let error = refused(reading(&newer).version(Version::new(0, 9, 0))).await;
        assert!(matches!(error, Error::TooNew { .. }), "{error:?}");
        let older = ours().await;
        let before = bytes(older.path())["database.db"];
        let error = refused(reading(&older).version(Version::new(1, 1, 0))).await;
        let Error::TooOld {
            path,
            stored,
            required,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(**path, *file(&older));
        assert_eq!(
            (&**stored, &**required),
            (&Version::new(1, 0, 0), &Version::new(1, 1, 0))
        );
        assert_eq!(bytes(older.path())["database.db"], before);
        assert!(has_only_side_files(&older), "no backup");

        let missing = TempDir::new().unwrap();
        let nowhere = missing.path().join("a/b");
        let error = refused(Config::new(&nowhere).read_only()).await;
        assert!(matches!(&error, Error::NoDatabase { path } if path.starts_with(&nowhere)));
        assert!(names(missing.path()).is_empty(), "no directory is made");

        let empty = TempDir::new().unwrap();
        fs::write(file(&empty), "").unwrap();
        let error = refused(reading(&empty)).await;
        assert!(matches!(error, Error::NoDatabase { .. }), "{error:?}");
        let tableless = made("PRAGMA user_version = 7");
        let error = refused(reading(&tableless)).await;
        assert!(matches!(error, Error::NoDatabase { .. }), "{error:?}");
        assert_eq!(names(empty.path()), ["database.db"]);

        let foreign = foreign("");
        let error = refused(reading(&foreign)).await;
        assert!(matches!(error, Error::ForeignDatabase { .. }), "{error:?}");
        assert_eq!(names(foreign.path()), ["database.db"]);

        for garbage in ["x", &"garbage".repeat(1_000)] {
            fs::write(file(&empty), garbage).unwrap();
            let error = refused(reading(&empty)).await;
            assert_eq!(error.sqlite_code(), Some(26), "{error:?}");
            assert_eq!(fs::read_to_string(file(&empty)).unwrap(), garbage);
        }
    });
}

#[test]
fn settings_that_contradict_reading_are_refused() {
    run(async {
        let directory = ours().await;
        for config in [
            reading(&directory).adopt(Version::new(1, 0, 0)),
            Config::in_memory().read_only(),
        ] {
            let error = refused(config).await;
            assert!(matches!(error, Error::Config { .. }), "{error:?}");
            assert!(error.to_string().contains("read_only"), "{error}");
        }
    });
}

#[test]
fn a_reader_beside_a_process_that_writes_sees_what_it_commits() {
    run(async {
        let directory = ours().await;
        let mut writer = child();
        let path = directory.path().display();
        assert_eq!(writer.ask(&format!("start {path} 1.0.0")), "running []");
        let store = open(reading(&directory)).await.unwrap();
        for id in 2..20 {
            assert_eq!(writer.ask(&format!("add {id} 10")), "added");
            let ids: Vec<i64> = (1..=id).collect();
            assert_eq!(store.ids().await.unwrap(), ids);
        }
        // More than a checkpoint leaves in the log.
        assert_eq!(writer.ask("add 20 40000000"), "added");
        assert_eq!(store.ids().await.unwrap().len(), 20);
        assert_eq!(writer.ask("close"), "stopped");
        assert_eq!(store.ids().await.unwrap().len(), 20);
        let mut reader = child();
        assert_eq!(
            reader.ask(&format!("start-to-read {path} 1.0.0")),
            "running []"
        );
        let refused = reader.ask("add 21 10");
        assert!(refused.contains("add writes"), "{refused}");
        assert_eq!(reader.ask("close"), "stopped");
        store.close().await.unwrap();
        assert!(has_only_side_files(&directory));
        may_be_written_to(&directory).await;
    });
}

/// A start that may write finds nothing in its way, and tidies up.
async fn may_be_written_to(directory: &TempDir) {
    let store = Store::open(directory.path(), "1.0.0").await.unwrap();
    store.add(100, "more").await.unwrap();
    store.close().await.unwrap();
    assert_eq!(names(directory.path()), ["database.db"]);
}

#[test]
fn what_a_killed_process_has_left_in_its_log_is_read_and_stays_there() {
    run(async {
        let directory = ours().await;
        let mut writer = child();
        writer.ask(&format!("start {} 1.0.0", directory.path().display()));
        assert_eq!(writer.ask("add 2 5000"), "added");
        writer.kill();
        let before = bytes(directory.path());
        for execution in [Execution::Auto, Execution::Offload] {
            let store = open(reading(&directory).execution(execution))
                .await
                .unwrap();
            assert_eq!(store.ids().await.unwrap(), [1, 2]);
            store.close().await.unwrap();
        }
        let after = bytes(directory.path());
        for file in ["database.db", "database.db-wal"] {
            assert_eq!(after[file], before[file], "{file}");
        }
        may_be_written_to(&directory).await;
    });
}

#[test]
fn a_transaction_that_was_left_unfinished_is_not_undone_by_a_reader() {
    run(async {
        let directory = ours().await;
        let db = sqlite(&file(&directory));
        db.execute_batch(
            "PRAGMA journal_mode = DELETE;
             PRAGMA cache_size = 1;
             PRAGMA cache_spill = 1;
             BEGIN;
             WITH RECURSIVE n(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM n LIMIT 50)
             INSERT INTO note SELECT x, hex(zeroblob(2000)) FROM n",
        )
        .unwrap();
        let copy = TempDir::new().unwrap();
        for name in ["database.db", "database.db-journal"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        drop(db);
        let before = bytes(copy.path());
        let error = refused(reading(&copy)).await;
        let Error::NotReadable { path, why } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(**path, *file(&copy));
        assert!(why.contains("unfinished"), "{why}");
        assert_eq!(bytes(copy.path()), before);
        may_be_written_to(&copy).await;
        let store = open(reading(&copy)).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 100]);
        store.close().await.unwrap();
    });
}

/// A copy without WAL, as a backup is.
fn copy_without_log(directory: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    let target = file(&copy).display().to_string();
    sqlite(&file(directory))
        .execute("VACUUM INTO ?1", (target,))
        .unwrap();
    copy
}

#[test]
fn a_backup_can_be_read() {
    run(async {
        let directory = ours().await;
        let newer = Config::new(directory.path()).version(Version::new(1, 1, 0));
        open(newer).await.unwrap().close().await.unwrap();
        let store = open(reading(&directory).db_name(BACKUP)).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db", BACKUP]);
    });
}

#[test]
fn a_file_without_the_right_to_write_it_is_read() {
    run(async {
        let directory = ours().await;
        let Some(_read_only) = ReadOnly::make(&file(&directory)) else {
            return skip(
                "a file without the right to write it",
                "nothing binds root here",
            );
        };
        let store = open(reading(&directory)).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn in_a_directory_that_cannot_be_written_a_copy_is_read_and_wal_needs_its_side_files() {
    run(async {
        let directory = ours().await;
        let copy = copy_without_log(&directory);
        let in_use = ours().await;
        let mut writer = child();
        let start = format!("start {} 1.0.0", in_use.path().display());
        assert_eq!(writer.ask(&start), "running []");
        assert_eq!(writer.ask("add 2 10"), "added");
        let read_only = [&directory, &copy, &in_use].map(|of| ReadOnly::make(of.path()));
        if read_only.iter().any(Option::is_none) {
            return skip(
                "a directory without the right to write it",
                "nothing binds root here",
            );
        }
        let store = open(reading(&copy)).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();

        let store = open(reading(&in_use)).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        assert_eq!(writer.ask("add 3 10"), "added");
        assert_eq!(store.ids().await.unwrap(), [1, 2, 3]);
        store.close().await.unwrap();

        let error = refused(reading(&directory)).await;
        let Error::NotReadable { path, why } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(**path, *file(&directory));
        assert!(why.contains("-wal") && why.contains("VACUUM INTO"), "{why}");
        assert!(open_files(directory.path()).is_empty());
    });
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    run(async {
        let directory = ours().await;
        fs::set_permissions(file(&directory), fs::Permissions::from_mode(0o000)).unwrap();
        if fs::File::open(file(&directory)).is_ok() {
            return skip("a file that may not be read", "nothing binds root");
        }
        let error = refused(reading(&directory)).await;
        assert_eq!(error.sqlite_code(), Some(14), "{error:?}");
        let path = file(&directory).display().to_string();
        assert!(error.to_string().contains(&path), "{error}");
    });
}

#[test]
fn drift_is_told_of_a_file_that_is_only_read() {
    run(async {
        let directory = ours().await;
        let db = sqlite(&file(&directory));
        db.execute_batch("ALTER TABLE note ADD COLUMN more TEXT")
            .unwrap();
        drop(db);
        let before = bytes(directory.path())["database.db"];
        let error = refused_by_drift(reading(&directory).schema_drift(SchemaDrift::Error)).await;
        assert!(matches!(error, Error::SchemaDrift { .. }), "{error:?}");
        assert_eq!(bytes(directory.path())["database.db"], before);
        assert!(open_files(directory.path()).is_empty());
    });
}
