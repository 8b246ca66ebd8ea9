//! Names, values and files that somebody made with care: always a result, never a panic, a hang, a long text or a
//! secret in the log.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Durability, rusqlite};
use dbm_tests::{Dice, Hook, Hooks, Store, bytes, logged, names, open_files, run, seeds, within};
use tempfile::TempDir;

/// No error text is longer than this.
const BOUND: usize = 800;

/// Where this test program's panics are counted, wherever they happen; its own assertions are told apart by place.
fn count_panics() -> usize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic
                .location()
                .is_none_or(|place| place.file().contains("dbm-core"))
            {
                COUNT.fetch_add(1, Ordering::Relaxed);
            }
            before(panic);
        }));
    });
    COUNT.load(Ordering::Relaxed)
}

#[test]
fn a_db_name_is_one_plain_file_name_or_refused() {
    run(async {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        let long = "x".repeat(300);
        let refused = [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/tmp/x",
            "x/",
            "a\\b",
            "a\0b",
            "\0",
            ":memory:",
            ":",
            "file:x",
            "file:x?mode=memory",
            "x-wal",
            "x-shm",
            "x-journal",
            &long,
        ];
        for name in refused {
            let store = Store::start_hooked(Config::new(&data).db_name(name), Hooks::default());
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{name:?}: {error:?}");
            assert!(error.to_string().len() < BOUND);
            assert_eq!(store.status(), Status::Failed);
        }
        assert_eq!(names(directory.path()), [""; 0], "nothing was made");

        for name in [
            "ünï 🦀.db",
            "x",
            ".hidden",
            "-rf",
            "%00",
            "a b",
            "$HOME",
            "'quoted'",
            // Windows has no such names.
            #[cfg(unix)]
            "a?mode=ro",
            #[cfg(unix)]
            "a\nb",
            #[cfg(unix)]
            "'quoted\"",
            #[cfg(unix)]
            "*",
        ] {
            let here = directory.path().join("accepted");
            let config = Config::new(&here).db_name(name);
            let store = Store::create_hooked(config.clone(), Hooks::default())
                .await
                .unwrap();
            store.add(1, "x").await.unwrap();
            store.close().await.unwrap();
            let store =
                Store::create_hooked(config.version(Version::new(1, 1, 0)), Hooks::default())
                    .await
                    .unwrap();
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
            assert_eq!(
                names(&here),
                [name.to_owned(), format!("{name}.1.0.0.backup")]
            );
            fs::remove_dir_all(here).unwrap();
        }
    });
}

const SECRET: &str = "hunter2";

/// Takes a secret in and out in every way.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Vault {
    core: ManagerCore,
}

impl Schema for Vault {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE secret (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE CHECK (length(text) < 100)) STRICT",
        )
        .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Vault {
    #[database_safe]
    #[timed]
    async fn keep(&self, db: &mut WriteTransaction, text: &str) -> Result<i64> {
        let sql = "INSERT INTO secret (text) VALUES (?1) RETURNING id";
        db.query_one(sql, (text,)).await
    }

    #[timed]
    #[database_safe]
    #[fail_value(Vec::new())]
    async fn tell(&self, db: &mut ReadTransaction, like: Option<&str>) -> Result<Vec<String>> {
        db.query("SELECT text FROM secret WHERE text LIKE ?1", (like,))
            .await
    }

    #[database_safe]
    #[fail_value((Some(text.to_owned()), None))]
    #[fail_with_exception]
    async fn as_number(
        &self,
        db: &mut ReadTransaction,
        text: &str,
    ) -> Result<(Option<String>, Option<Error>)> {
        let _: i64 = db.query_one("SELECT ?1", (text,)).await?;
        Ok((None, None))
    }

    #[database_safe]
    #[fail_value(None)]
    async fn by_name(&self, db: &mut WriteTransaction, text: &str) -> Result<Option<String>> {
        let parameters = dbm_core::named_params! { ":other": text };
        db.query_optional("SELECT text FROM secret WHERE text = :text", parameters)
            .await
    }

    #[database_safe]
    #[fail_value(None)]
    async fn as_json(&self, db: &mut WriteTransaction, text: &str) -> Result<Option<String>> {
        db.query_one("SELECT json(?1)", (text,)).await
    }

    #[database_safe]
    #[fail_value(0)]
    async fn as_literal(&self, db: &mut WriteTransaction, text: &str) -> Result<usize> {
        db.execute(
            &format!("INSERT INTO secret (text, other) VALUES ('{text}')"),
            (),
        )
        .await
    }

    #[database_safe]
    #[required_argument(text)]
    #[fail_value(String::new())]
    async fn mapped(&self, db: &mut ReadTransaction, text: Option<&str>) -> Result<String> {
        let mut rows = db
            .query_map("SELECT ?1", (text,), |row| row.get::<Option<String>>(0))
            .await?;
        let row = rows.pop().flatten().unwrap_or_default();
        db.query_map("SELECT ?1", (text,), |row| row.get::<bool>(0))
            .await?;
        Ok(row)
    }

    #[database_safe(timeout = "5ms")]
    #[timed(slow = "1ms")]
    #[fail_value(String::new())]
    async fn waits_with(&self, _db: &mut WriteTransaction, text: &str) -> Result<String> {
        std::future::pending::<()>().await;
        Ok(text.to_owned())
    }
}

#[test]
fn no_secret_is_in_any_log_line_or_error() {
    run(async {
        let _ = logged();
        let directory = TempDir::new().unwrap();
        let vault = Vault::create(Config::new(directory.path())).await.unwrap();
        let mut texts = Vec::new();
        vault.keep(SECRET).await.unwrap();
        texts.push(vault.keep(SECRET).await.unwrap_err().to_string());
        texts.push(
            vault
                .keep(&SECRET.repeat(50))
                .await
                .unwrap_err()
                .to_string(),
        );
        assert_eq!(vault.tell(Some(SECRET)).await, [SECRET]);
        let (value, exception) = vault.as_number(SECRET).await;
        assert_eq!(
            value.as_deref(),
            Some(SECRET),
            "a fail value that the caller wrote"
        );
        texts.push(exception.unwrap().to_string());
        assert_eq!(vault.by_name(SECRET).await, None);
        assert_eq!(vault.as_json(SECRET).await, None);
        assert_eq!(vault.as_literal(SECRET).await, 0);
        assert_eq!(vault.mapped(Some(SECRET)).await, "");
        assert_eq!(vault.mapped(None).await, "");
        assert_eq!(vault.waits_with(SECRET).await, "");
        vault.close().await.unwrap();
        assert_eq!(vault.tell(Some(SECRET)).await, [""; 0]);
        texts.push(vault.keep(SECRET).await.unwrap_err().to_string());

        let log = logged();
        for expected in [
            "TRACE",
            "DEBUG",
            "INFO",
            "WARN",
            "ERROR",
            "keep",
            "tell",
            "waits_with",
            "dbm.call",
        ] {
            assert!(log.contains(expected), "{expected} is not in the log");
        }
        for line in log.lines().chain(texts.iter().map(String::as_str)) {
            assert!(!line.contains(SECRET), "{line}");
            assert!(
                line.len() < 2 * BOUND,
                "{} bytes: {:.200}",
                line.len(),
                line
            );
        }
    });
}

#[test]
fn values_with_quotes_nul_and_a_megabyte_stay_what_they_are() {
    run(async {
        let store = Store::create_hooked(Config::in_memory(), Hooks::default())
            .await
            .unwrap();
        let large = "a\0'\"ü🦀".repeat(100_000);
        let texts = [
            "",
            "'",
            "''; DROP TABLE note; --",
            "\"",
            "\0",
            "a\0b",
            "\u{feff}x",
            "?1",
            ":a",
            "%s\n\r\t",
            &large,
        ];
        for (id, text) in (0..).zip(texts) {
            store.add(id, text).await.unwrap();
            assert!(store.text(id).await.unwrap() == text, "{id}");
        }
        store.close().await.unwrap();
    });
}

trait More {
    async fn text(&self, id: i64) -> Result<String>;
    async fn run(&self, sql: &str) -> Result<Vec<Value>>;
    async fn one_number(&self, sql: &str) -> Result<i64>;
}

impl More for Store {
    #[database_safe]
    async fn text(&self, db: &mut ReadTransaction, id: i64) -> Result<String> {
        db.query_one("SELECT text FROM note WHERE id = ?1", (id,))
            .await
    }

    #[database_safe]
    async fn run(&self, db: &mut WriteTransaction, sql: &str) -> Result<Vec<Value>> {
        db.query_map(sql, (), |row| row.get(0)).await
    }

    #[database_safe]
    async fn one_number(&self, db: &mut ReadTransaction, sql: &str) -> Result<i64> {
        db.query_one(sql, ()).await
    }
}

#[test]
fn error_texts_are_bounded() {
    run(async {
        let long = "x".repeat(100_000);
        let store = Store::create_hooked(Config::in_memory(), Hooks::default())
            .await
            .unwrap();
        let mut errors = vec![
            store.run(&format!("SELEKT {long}")).await.unwrap_err(),
            store.run(&format!("SELECT {long}")).await.unwrap_err(),
            store
                .run(&format!("SELECT * FROM \"{long}\""))
                .await
                .unwrap_err(),
            store.run(&format!("SELECT :{long}")).await.unwrap_err(),
            store
                .one_number(&format!("SELECT 'text' AS \"{long}\""))
                .await
                .unwrap_err(),
            store
                .one_number(&format!("SELECT 1 AS \"{long}\", 2"))
                .await
                .unwrap_err(),
            store
                .run(&format!("SELECT json_extract('{{}}', '{long}')"))
                .await
                .unwrap_err(),
            Error::other(long.clone()),
            store
                .update_version(&Version::parse(&format!("1.0.0-{long}")).unwrap())
                .await
                .unwrap_err(),
        ];
        store.close().await.unwrap();
        for config in [
            Config::new(&long),
            Config::new(format!("/proc/{}", "x/".repeat(50_000))),
            Config::in_memory().db_name(&long),
            Config::in_memory().version(Version::parse(&format!("1.0.0+{long}")).unwrap()),
        ] {
            let store = Store::start_hooked(config, Hooks::default());
            errors.push(within(store.ensure_ready()).await.unwrap_err());
            errors.push(within(store.ids()).await.unwrap_err());
        }
        let hooks: [Hooks; 2] = [
            Hooks {
                init: Some(|_, _| Box::pin(async { panic!("{}", "x".repeat(100_000)) })),
                ..Hooks::default()
            },
            Hooks {
                init: Some(|_, _| Box::pin(async { Err(Error::other("x".repeat(100_000))) })),
                ..Hooks::default()
            },
        ];
        for hooks in hooks {
            errors.push(
                Store::create_hooked(Config::in_memory(), hooks)
                    .await
                    .unwrap_err(),
            );
        }
        let long: Vec<_> = errors
            .iter()
            .map(Error::to_string)
            .filter(|text| text.len() >= BOUND)
            .collect();
        let shown: Vec<_> = long
            .iter()
            .map(|text| format!("{} bytes: {text:.100}", text.len()))
            .collect();
        assert!(shown.is_empty(), "{shown:#?}");
    });
}

#[test]
fn a_long_table_name_makes_no_long_error() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let hooks = Hooks {
            migrate: Some(|_, db| {
                Box::pin(async {
                    let name = "x".repeat(100_000);
                    db.execute_batch(&format!(
                        "CREATE TABLE \"{name}\" (x INTEGER REFERENCES note); INSERT INTO \"{name}\" VALUES (404)"
                    ))
                    .await?;
                    Ok(true)
                })
            }),
            ..Hooks::default()
        };
        let config = Config::new(directory.path()).version(Version::new(2, 0, 0));
        let error = Store::create_hooked(config, hooks).await.unwrap_err();
        assert!(matches!(error, Error::ForeignKeys { .. }));
        assert!(
            error.to_string().len() < BOUND,
            "{} bytes",
            error.to_string().len()
        );
    });
}

/// A database of a few pages in several tables, closed.
async fn sample() -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    Store::make(directory.path(), "1.0.0").await.unwrap();
    let path = directory.path().join("database.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
        CREATE TABLE child (parent INTEGER REFERENCES parent, data BLOB);
        CREATE INDEX by_parent ON child (parent);
        WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 200)
        INSERT INTO note SELECT x, hex(zeroblob(x)) FROM n;
        INSERT INTO parent SELECT id, text FROM note; INSERT INTO child SELECT id, zeroblob(20 * id) FROM parent;
        PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(db);
    fs::read(&path).unwrap()
}

fn quick(directory: &Path, target: &str) -> Config {
    let version = Version::parse(target).unwrap();
    Config::new(directory)
        .version(version)
        .durability(Durability::Off)
        .busy_timeout(Duration::from_millis(50))
}

/// Whatever is in this directory: start, read, write, migrate, close, each with a result.
async fn survives(directory: &Path, target: &str) {
    let panics = count_panics();
    let before = bytes(directory);
    let touches: for<'a> fn(&'a Store, &'a mut WriteTransaction) -> Hook<'a, bool> = |_, db| {
        Box::pin(async {
            db.execute("UPDATE note SET text = text || '!'", ()).await?;
            db.execute("DELETE FROM child WHERE parent > 100", ())
                .await?;
            Ok(true)
        })
    };
    let store = Store::start_hooked(
        quick(directory, target),
        Hooks {
            migrate: Some(touches),
            ..Hooks::default()
        },
    );
    match within(store.ensure_ready()).await {
        Ok(()) => {
            let _ = within(store.ids()).await;
            let _ = within(
                store.number("SELECT count(*) FROM child JOIN parent ON parent.id = child.parent"),
            )
            .await;
            let _ = within(store.add(1_000, "new")).await;
            let _ =
                within(store.write(
                    "DELETE FROM note WHERE id % 3 = 0; UPDATE child SET data = zeroblob(99)",
                ))
                .await;
            let _ = within(store.get_version()).await;
            assert_eq!(store.status(), Status::Running);
        }
        Err(error) => {
            assert_eq!(store.status(), Status::Failed);
            assert!(error.to_string().len() < BOUND, "{error:?}");
            if target == "1.0.0" && store.calls().is_empty() && before.len() == 1 {
                assert_eq!(
                    bytes(directory)["database.db"],
                    before["database.db"],
                    "changed though refused: {error:?}"
                );
            }
        }
    }
    within(store.close()).await.unwrap();
    assert!(open_files(directory).is_empty());
    assert_eq!(count_panics(), panics, "something panicked");
}

#[test]
fn a_header_with_any_byte_flipped_gives_a_result() {
    run(async {
        let sample = sample().await;
        for place in 0..100 {
            for mask in [0xff, 0x01] {
                let directory = TempDir::new().unwrap();
                let mut file = sample.clone();
                file[place] ^= mask;
                fs::write(directory.path().join("database.db"), file).unwrap();
                survives(directory.path(), "1.0.0").await;
            }
        }
    });
}

#[test]
fn five_hundred_corruptions_give_a_result() {
    run(async {
        let sample = sample().await;
        for seed in seeds(500) {
            let mut dice = Dice::new(seed);
            let directory = TempDir::new().unwrap();
            let mut file = sample.clone();
            corrupt(&mut file, &mut dice);
            fs::write(directory.path().join("database.db"), file).unwrap();
            survives(
                directory.path(),
                if seed % 4 == 0 { "2.0.0" } else { "1.0.0" },
            )
            .await;
        }
    });
}

/// Some bytes, a whole page, or the end.
fn corrupt(file: &mut Vec<u8>, dice: &mut Dice) {
    let pages = file.len() / 4096;
    match dice.below(4) {
        0 => {
            for _ in 0..=dice.below(20) {
                let place = dice.below(file.len());
                file[place] = dice.any().to_le_bytes()[0];
            }
        }
        1 => {
            let page = dice.below(pages);
            file[page * 4096..][..4096].fill_with(|| dice.any().to_le_bytes()[0]);
        }
        2 => {
            // The head of a page: its kind, its cells, their places.
            let page = dice.below(pages);
            let start = page * 4096 + if page == 0 { 100 } else { 0 };
            for _ in 0..=dice.below(6) {
                file[start + dice.below(16)] = dice.any().to_le_bytes()[0];
            }
        }
        _ => file.truncate(dice.below(file.len())),
    }
}

#[test]
fn a_corrupted_log_gives_a_result() {
    run(async {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("database.db"), sample().await).unwrap();
        let files = ["database.db", "database.db-wal"].map(|name| directory.path().join(name));
        let writer = rusqlite::Connection::open(&files[0]).unwrap();
        writer
            .execute_batch(
                "PRAGMA wal_autocheckpoint = 0; UPDATE note SET text = 'x'; DELETE FROM child",
            )
            .unwrap();
        let [main, log] = [0, 1].map(|file| fs::read(&files[file]).unwrap());
        for seed in seeds(100) {
            let mut dice = Dice::new(seed);
            let directory = TempDir::new().unwrap();
            let mut log = log.clone();
            corrupt(&mut log, &mut dice);
            fs::write(directory.path().join("database.db"), &main).unwrap();
            fs::write(directory.path().join("database.db-wal"), log).unwrap();
            survives(
                directory.path(),
                if seed % 4 == 0 { "2.0.0" } else { "1.0.0" },
            )
            .await;
        }
    });
}

#[test]
fn a_schema_made_with_care_gives_a_result() {
    run(async {
        let schemas = [
            "CREATE VIEW Version AS SELECT 1 AS major, 0 AS minor, 0 AS patch",
            "CREATE TABLE x (y); CREATE VIEW Version AS SELECT 1 AS major, 0 AS minor, 0 AS patch",
            "CREATE TABLE Version (major, minor, patch, endless AS (major || minor))",
            "CREATE VIRTUAL TABLE Version USING fts5(major, minor, patch); INSERT INTO Version VALUES (1, 0, 0)",
            "CREATE TABLE Version (major INTEGER, minor INTEGER, patch INTEGER); INSERT INTO Version VALUES (1, 0, 0);
                CREATE TRIGGER no BEFORE UPDATE ON Version BEGIN SELECT RAISE(FAIL, 'no'); END",
            "CREATE TABLE \"Version\0\" (x)",
            "CREATE TABLE Version (\"major\" INTEGER, \"MINOR\" INTEGER, \"Patch\" INTEGER); INSERT INTO Version VALUES (1, 0, 0)",
            "CREATE TABLE Version (major INTEGER PRIMARY KEY, minor INTEGER, patch INTEGER) WITHOUT ROWID; INSERT INTO Version VALUES (1, 0, 0)",
            "CREATE INDEX only_an_index ON sqlite_schema (name)",
        ];
        for schema in schemas {
            for target in ["1.0.0", "2.0.0"] {
                let directory = TempDir::new().unwrap();
                let db = rusqlite::Connection::open(directory.path().join("database.db")).unwrap();
                let _ = db.execute_batch(schema);
                drop(db);
                survives(directory.path(), target).await;
            }
        }
    });
}

#[test]
fn any_version_row_gives_a_result() {
    run(async {
        for seed in seeds(200) {
            let mut dice = Dice::new(seed);
            let mut value = || match dice.below(8) {
                0 => "NULL".to_owned(),
                1 => format!("'{}'", dice.any()),
                2 => format!("x'{:016x}'", dice.any()),
                3 => format!("{}.5", dice.below(9)),
                4 => "9223372036854775807".to_owned(),
                5 => "-9223372036854775808".to_owned(),
                6 => format!("{}", dice.any() >> 1),
                _ => format!("{}", dice.below(3)),
            };
            let row = format!("({}, {}, {})", value(), value(), value());
            let directory = TempDir::new().unwrap();
            let db = rusqlite::Connection::open(directory.path().join("database.db")).unwrap();
            db.execute_batch(&format!(
                "CREATE TABLE Version (major, minor, patch); INSERT INTO Version VALUES {row}"
            ))
            .unwrap();
            drop(db);
            survives(directory.path(), "1.0.0").await;
        }
    });
}
