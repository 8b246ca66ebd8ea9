//! A start finds nothing, an empty file, or a database, and makes it ready.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
#[cfg(unix)]
use dbm_tests::{Child, watch};
use dbm_tests::{Hooks, Store, logged, names, open_files, run, within};
use tempfile::TempDir;

#[test]
fn missing_directories_are_made() {
    run(async {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("a/b/c");
        let store = Store::open(&data, "1.0.0").await.unwrap();
        store.add(1, "x").await.unwrap();
        store.close().await.unwrap();
        assert_eq!(names(&data), ["database.db"]);
    });
}

#[test]
fn an_empty_file_and_a_database_without_tables_are_new() {
    run(async {
        for pages in [false, true] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("database.db");
            fs::write(&path, "").unwrap();
            if pages {
                let db = rusqlite::Connection::open(&path).unwrap();
                db.execute_batch("PRAGMA user_version = 7").unwrap();
                assert!(fs::metadata(&path).unwrap().len() > 0);
            }
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.calls(), ["init_db"]);
            assert_eq!(
                store
                    .number("SELECT user_version FROM pragma_user_version")
                    .await
                    .unwrap(),
                7 * i64::from(pages)
            );
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_empty_log_beside_nothing_is_no_obstacle() {
    run(async {
        for leftover in ["database.db-wal", "database.db-shm", "database.db-journal"] {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join(leftover), "").unwrap();
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.calls(), ["init_db"], "{leftover}");
            store.add(1, "x").await.unwrap();
            store.close().await.unwrap();
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_database_of_somebody_else_is_refused_untouched() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("database.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let error = Store::open(directory.path(), "1.0.0").await.unwrap_err();
        assert!(matches!(error, Error::ForeignDatabase { .. }), "{error:?}");
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(fs::read(&path).unwrap() == before);
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn four_hundred_databases_are_made_at_once() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let mut child = Child::start_after("ulimit -n $(ulimit -Hn)", env!("CARGO_BIN_EXE_child"));
        let command = format!("create-many {} 400", directory.path().display());
        assert_eq!(child.ask(&command), "400 created");
        for name in names(directory.path()) {
            assert_eq!(names(&directory.path().join(name)), ["database.db"]);
        }
    });
}

#[test]
fn many_managers_on_one_file_see_each_other() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config = Config::new(directory.path());
        let stores: Vec<_> = (0..8)
            .map(|_| Store::start_hooked(config.clone(), Hooks::default()))
            .collect();
        for (id, store) in (0..).zip(&stores) {
            within(store.add(id, "x")).await.unwrap();
        }
        let made: usize = stores.iter().map(|store| store.calls().len()).sum();
        assert_eq!(made, 1, "init_db ran once");
        for store in &stores {
            assert_eq!(store.ids().await.unwrap(), (0..8).collect::<Vec<_>>());
        }
        for store in &stores {
            within(store.close()).await.unwrap();
        }
        assert_eq!(names(directory.path()), ["database.db"]);
        assert!(open_files(directory.path()).is_empty());
    });
}

#[test]
fn managers_on_one_file_take_turns_at_writing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let stores = [
            Store::open(directory.path(), "1.0.0").await,
            Store::open(directory.path(), "1.0.0").await,
        ];
        let mut calls = tokio::task::JoinSet::new();
        for (start, store) in (0..).zip(&stores) {
            let store = store.clone().unwrap();
            calls.spawn(async move {
                for id in 0..100 {
                    store.add(2 * id + start, "x").await?;
                }
                Ok::<_, Error>(store)
            });
        }
        let mut last: Option<Arc<Store>> = None;
        while let Some(store) = within(calls.join_next()).await {
            last = Some(store.unwrap().unwrap());
        }
        assert_eq!(
            last.unwrap().ids().await.unwrap(),
            (0..200).collect::<Vec<_>>()
        );
        for store in stores {
            store.unwrap().close().await.unwrap();
        }
    });
}

// Windows has no such modes: a file has the access list of its directory.
#[cfg(unix)]
#[test]
fn the_mode_of_an_existing_file_is_not_widened() {
    use std::os::unix::fs::PermissionsExt as _;

    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("database.db");
        for existing in ["", "database"] {
            if existing.is_empty() {
                fs::write(&path, "").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            store
                .write("INSERT INTO note (text) VALUES ('x')")
                .await
                .unwrap();
            for name in names(directory.path()) {
                let mode = fs::metadata(directory.path().join(&name))
                    .unwrap()
                    .permissions()
                    .mode();
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
            store.close().await.unwrap();
        }
    });
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// Windows has no such modes, and makes links only for those with a privilege.
#[cfg(unix)]
#[test]
fn new_files_are_private_where_that_is_wished() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("database.db");
        let config = Config::new(directory.path()).private_files(true);
        let store = Store::create_hooked(config.clone(), Hooks::default())
            .await
            .unwrap();
        store.add(1, "x").await.unwrap();
        let found = names(directory.path());
        assert_eq!(found, ["database.db", "database.db-shm", "database.db-wal"]);
        for name in found {
            assert_eq!(mode(&directory.path().join(&name)), 0o600, "{name}");
        }
        store.close().await.unwrap();
        let newer = config.clone().version(Version::new(2, 0, 0));
        let store = Store::create_hooked(newer, Hooks::default()).await.unwrap();
        store.close().await.unwrap();
        let backup = directory.path().join("database.db.1.0.0.backup");
        assert_eq!((mode(&path), mode(&backup)), (0o600, 0o600));

        // A file that is there keeps the mode that somebody gave it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let newer = config.version(Version::new(2, 0, 0));
        let store = Store::create_hooked(newer, Hooks::default()).await.unwrap();
        store.add(2, "x").await.unwrap();
        store.close().await.unwrap();
        assert_eq!(mode(&path), 0o640);
    });
}

// Windows has no such modes, and makes links only for those with a privilege.
#[cfg(unix)]
#[test]
fn a_private_file_is_made_where_a_link_leads() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (real, link) = (
            directory.path().join("real.db"),
            directory.path().join("database.db"),
        );
        symlink(&real, &link).unwrap();
        let config = Config::new(directory.path()).private_files(true);
        let store = Store::create_hooked(config, Hooks::default())
            .await
            .unwrap();
        store.add(1, "x").await.unwrap();
        store.close().await.unwrap();
        assert_eq!(mode(&real), 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    });
}

/// Each closes files that the others have locked.
#[test]
fn many_starts_make_one_private_file_together() {
    run(async {
        for _ in 0..20 {
            let directory = TempDir::new().unwrap();
            let config = Config::new(directory.path()).private_files(true);
            let start = || Store::start_hooked(config.clone(), Hooks::default());
            let stores: Vec<_> = (0..6).map(|_| start()).collect();
            for (id, store) in (0..).zip(&stores) {
                within(store.add(id, "x")).await.unwrap();
            }
            let made: usize = stores.iter().map(|store| store.calls().len()).sum();
            assert_eq!(made, 1, "init_db ran once");
            assert_eq!(stores[0].ids().await.unwrap().len(), 6);
            for store in stores {
                within(store.close()).await.unwrap();
            }
        }
    });
}

#[test]
fn a_start_that_fails_names_the_file_in_its_error_and_in_the_log() {
    run(async {
        let _ = logged();
        // A field of the log is quoted, and the backslashes of Windows are escaped there.
        let names = |text: &str, path: &str| {
            text.contains(path) || text.contains(&path.escape_debug().to_string())
        };
        let make = |name: &str, content: &str| {
            let directory = TempDir::with_prefix(name).unwrap();
            let path = directory.path().join("database.db");
            if content == "garbage" {
                fs::write(&path, content.repeat(1_000)).unwrap();
            } else {
                let db = rusqlite::Connection::open(&path).unwrap();
                db.execute_batch(content).unwrap();
            }
            directory
        };
        let directories = [
            make("garbage", "garbage"),
            make("empty", "CREATE TABLE Version (major, minor, patch)"),
            make("virtual", "CREATE VIRTUAL TABLE Version USING fts5(x)"),
            make("foreign", "CREATE TABLE theirs (x)"),
            make(
                "newer",
                "CREATE TABLE Version (major, minor, patch); INSERT INTO Version VALUES (7, 0, 0)",
            ),
        ];
        for directory in &directories {
            let path = directory.path().join("database.db").display().to_string();
            let error = Store::open(directory.path(), "1.0.0").await.unwrap_err();
            assert!(error.to_string().contains(&path), "{error}");
            let log = logged();
            let mut lines = log.lines();
            let is_told = |line: &str| {
                line.contains("ERROR")
                    && line.contains("database failed to start")
                    && names(line, &path)
            };
            assert!(lines.any(is_told), "{path} is not in the log");
        }
        let file = directories[0].path().join("database.db");
        let store = Store::start_hooked(Config::new(&file), Hooks::default());
        let error = within(store.ensure_ready()).await.unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
        let store = Store::start_hooked(Config::new("nowhere").db_name("a/b"), Hooks::default());
        assert!(within(store.ensure_ready()).await.is_err());
        let given = std::path::Path::new("nowhere").join("a/b");
        let given = given.display().to_string();
        assert!(names(&logged(), &given), "as it was given");
    });
}

// Windows has no such modes, and makes links only for those with a privilege.
#[cfg(unix)]
#[test]
fn a_symlink_stays_a_symlink() {
    use std::os::unix::fs::symlink;

    run(async {
        let directory = TempDir::new().unwrap();
        let (real, data) = (directory.path().join("real"), directory.path().join("data"));
        Store::make(&real, "1.0.0").await.unwrap();
        fs::create_dir(&data).unwrap();
        symlink(real.join("database.db"), data.join("database.db")).unwrap();
        symlink(&real, directory.path().join("linked")).unwrap();
        for path in [&data, &directory.path().join("linked")] {
            let store = Store::open(path, "1.0.0").await.unwrap();
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
        assert!(
            fs::symlink_metadata(data.join("database.db"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(names(&data), ["database.db"]);
        assert_eq!(names(&real), ["database.db"]);
    });
}

/// Reads and writes run beside each other from the first call on.
#[test]
fn a_file_in_another_journal_mode_is_switched_when_it_is_opened() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let file = directory.path().join("database.db");
        let mode = |sql: &str| -> String {
            let connection = rusqlite::Connection::open(&file).unwrap();
            connection.query_row(sql, (), |row| row.get(0)).unwrap()
        };
        assert_eq!(mode("PRAGMA journal_mode = DELETE"), "delete");
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(mode("PRAGMA journal_mode"), "wal");
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn an_init_db_that_changes_the_version_is_refused_and_leaves_nothing_behind() {
    run(async {
        let directory = TempDir::new().unwrap();
        let hooks = Hooks {
            init: Some(|_, db| {
                Box::pin(async {
                    db.execute("UPDATE Version SET patch = 7", ()).await?;
                    Ok(())
                })
            }),
            ..Hooks::default()
        };
        let error = Store::create_hooked(Config::new(directory.path()), hooks)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InvalidVersion { .. }), "{error}");
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        store.close().await.unwrap();
    });
}
