//! A backup takes the place of a database, or nothing is changed.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dbm_core::prelude::*;
use dbm_core::{Restored, rusqlite::Connection as Sqlite};
use dbm_tests::{Child, Store, names, run, watch, within};
use tempfile::TempDir;

/// A place with a backup that has note 1, and a database that has note 2 as well.
struct Scene {
    directory: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self {
            directory: TempDir::new().unwrap(),
        };
        let store = Store::open(&scene.data(), "1.0.0").await.unwrap();
        store.add(1, "in both").await.unwrap();
        store.back_up(scene.backup()).await.unwrap();
        store.add(2, "only now").await.unwrap();
        store.close().await.unwrap();
        scene
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data().join("database.db")
    }

    fn backup(&self) -> PathBuf {
        self.directory.path().join("backup")
    }

    async fn restore(&self) -> Result<Restored> {
        within(Store::restore(self.backup(), Config::new(self.data()))).await
    }

    async fn notes(&self) -> Vec<i64> {
        notes(&self.data(), "database.db").await
    }

    /// Every file, to see that nothing has changed.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        for directory in [self.directory.path().to_owned(), self.data()] {
            for name in names(&directory) {
                let path = directory.join(name);
                if path.is_file() {
                    contents.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        contents
    }

    /// The error of a restore that must change nothing.
    async fn refused(&self) -> Error {
        let before = self.contents();
        let error = self.restore().await.unwrap_err();
        assert!(self.contents() == before, "something has changed: {error}");
        error
    }
}

async fn notes(directory: &Path, name: &str) -> Vec<i64> {
    let config = Config::new(directory).db_name(name);
    let store = Store::create_hooked(config, dbm_tests::Hooks::default())
        .await
        .unwrap();
    let notes = store.ids().await.unwrap();
    store.close().await.unwrap();
    notes
}

#[test]
fn a_backup_takes_the_place_of_the_database_and_the_old_one_is_kept() {
    run(async {
        let scene = Scene::new().await;
        let restored = scene.restore().await.unwrap();
        assert_eq!(restored.version, Version::new(1, 0, 0));
        assert_eq!(
            restored.database,
            fs::canonicalize(scene.database()).unwrap()
        );
        let replaced = fs::canonicalize(scene.data())
            .unwrap()
            .join("database.db.replaced");
        assert_eq!(restored.replaced, Some(replaced));
        assert_eq!(
            names(&scene.data()),
            ["database.db", "database.db.replaced"]
        );
        assert_eq!(names(scene.directory.path()), ["backup", "data"]);
        assert_eq!(scene.notes().await, [1]);
        assert_eq!(notes(&scene.data(), "database.db.replaced").await, [1, 2]);
        // Once more: nothing is overwritten.
        let again = scene.restore().await.unwrap();
        assert!(again.replaced.unwrap().ends_with("database.db.replaced.1"));
        assert_eq!(scene.notes().await, [1]);
    });
}

#[test]
fn a_missing_database_is_restored_with_its_directory() {
    run(async {
        let scene = Scene::new().await;
        fs::remove_dir_all(scene.data()).unwrap();
        let restored = scene.restore().await.unwrap();
        assert_eq!(restored.replaced, None);
        assert_eq!(names(&scene.data()), ["database.db"]);
        assert_eq!(scene.notes().await, [1]);
    });
}

#[test]
fn a_database_that_is_open_is_refused_untouched() {
    run(async {
        let scene = Scene::new().await;
        let store = Store::open(&scene.data(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        let error = scene.restore().await.unwrap_err();
        assert!(matches!(error, Error::DatabaseOpen { .. }), "{error}");
        store.add(3, "it goes on").await.unwrap();
        let error = scene.restore().await.unwrap_err();
        assert!(matches!(error, Error::DatabaseOpen { .. }), "{error}");
        store.close().await.unwrap();
        assert_eq!(names(&scene.data()), ["database.db"]);
        assert_eq!(scene.notes().await, [1, 2, 3]);
    });
}

#[test]
fn a_database_that_another_process_has_open_is_refused() {
    let scene = std::sync::Arc::new(std::sync::OnceLock::new());
    let shared = std::sync::Arc::clone(&scene);
    run(async move {
        let scene = Scene::new().await;
        let mut child = Child::start(env!("CARGO_BIN_EXE_child"));
        let start = format!("start {} 1.0.0", scene.data().display());
        assert!(child.ask(&start).starts_with("running"));
        assert_eq!(child.ask("add 3 10"), "added");
        let error = scene.restore().await.unwrap_err();
        assert!(matches!(error, Error::DatabaseOpen { .. }), "{error}");
        assert_eq!(child.ask("add 4 10"), "added");
        // Killed, it has nothing open, and its log is part of what is replaced.
        drop(child);
        let _ = shared.set(scene);
    });
    let scene = std::sync::Arc::into_inner(scene)
        .unwrap()
        .into_inner()
        .unwrap();
    run(async move {
        let restored = scene.restore().await.unwrap();
        assert_eq!(scene.notes().await, [1]);
        let name = restored.replaced.unwrap();
        let name = name.file_name().unwrap().to_str().unwrap();
        assert_eq!(notes(&scene.data(), name).await, [1, 2, 3, 4]);
    });
}

#[test]
fn a_newer_backup_is_refused() {
    run(async {
        let scene = Scene::new().await;
        let config = Config::new(scene.data());
        let error = dbm_core::restore(scene.backup(), config.clone(), Version::new(0, 9, 9)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, Error::TooNew { path, .. } if **path == *scene.backup()),
            "{error}"
        );
        assert_eq!(scene.notes().await, [1, 2]);
        let same = dbm_core::restore(scene.backup(), config, Version::new(1, 0, 0)).await;
        assert_eq!(same.unwrap().version, Version::new(1, 0, 0));
    });
}

#[test]
fn what_is_no_backup_is_refused() {
    run(async {
        let scene = Scene::new().await;
        let whole = fs::read(scene.backup()).unwrap();
        for contents in [&b""[..], b"short", &[7; 5_000]] {
            fs::write(scene.backup(), contents).unwrap();
            let error = scene.refused().await;
            assert!(matches!(error, Error::Sqlite(_)), "{error}");
            assert!(
                error.to_string().contains("backup"),
                "it names the file: {error}"
            );
        }
        fs::remove_file(scene.backup()).unwrap();
        let foreign = Sqlite::open(scene.backup()).unwrap();
        foreign.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(foreign);
        let error = scene.refused().await;
        assert!(
            matches!(&error, Error::ForeignDatabase { path } if **path == *scene.backup()),
            "{error}"
        );
        fs::remove_file(scene.backup()).unwrap();
        assert!(matches!(scene.refused().await, Error::Io { .. }));
        fs::create_dir(scene.backup()).unwrap();
        scene.refused().await;
        fs::remove_dir(scene.backup()).unwrap();
        fs::write(scene.backup(), whole).unwrap();
        scene.restore().await.unwrap();
    });
}

#[test]
fn a_backup_that_is_cut_short_or_damaged_is_refused() {
    run(async {
        let scene = Scene::new().await;
        {
            let db = Sqlite::open(scene.backup()).unwrap();
            let fill = "WITH RECURSIVE n(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM n LIMIT 200)
                INSERT INTO note SELECT x, hex(zeroblob(400)) FROM n";
            db.execute_batch(fill).unwrap();
        }
        let whole = fs::read(scene.backup()).unwrap();
        for length in [
            whole.len() - 1,
            whole.len() - 4096,
            whole.len() / 2,
            4096,
            700,
        ] {
            fs::write(scene.backup(), &whole[..length]).unwrap();
            let error = scene.refused().await;
            assert!(
                matches!(error, Error::Sqlite(_) | Error::Backup { .. }),
                "{length}: {error}"
            );
        }
        let mut damaged = whole.clone();
        let page = whole.len() - 8 * 4096;
        damaged[page..page + 200].fill(0xa5);
        fs::write(scene.backup(), damaged).unwrap();
        let error = scene.refused().await;
        assert!(
            matches!(error, Error::Sqlite(_) | Error::Backup { .. }),
            "{error}"
        );
        fs::write(scene.backup(), whole).unwrap();
        scene.restore().await.unwrap();
    });
}

#[test]
fn a_backup_with_a_log_beside_it_is_refused() {
    run(async {
        let scene = Scene::new().await;
        for ending in ["-wal", "-journal"] {
            let log = scene.directory.path().join(format!("backup{ending}"));
            fs::write(&log, "the newest rows").unwrap();
            let error = scene.refused().await;
            assert!(
                matches!(&error, Error::LogBeside { log: found, .. } if found.ends_with(log.file_name().unwrap())),
                "{error}"
            );
            fs::remove_file(log).unwrap();
        }
        scene.restore().await.unwrap();
    });
}

/// A closed database that was copied by hand is in WAL mode: reading it makes side files, which must go.
#[test]
fn a_copy_of_a_closed_database_is_a_backup_too_and_stays_as_it_was() {
    run(async {
        let scene = Scene::new().await;
        fs::copy(scene.database(), scene.backup()).unwrap();
        let before = fs::read(scene.backup()).unwrap();
        scene.restore().await.unwrap();
        assert!(fs::read(scene.backup()).unwrap() == before);
        assert_eq!(names(scene.directory.path()), ["backup", "data"]);
        assert_eq!(scene.notes().await, [1, 2]);
    });
}

#[test]
fn settings_without_a_file_of_their_own_are_refused() {
    run(async {
        let scene = Scene::new().await;
        let read_only = Config::new(scene.data()).read_only();
        for config in [Config::in_memory(), read_only] {
            let error = Store::restore(scene.backup(), config).await.unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{error}");
        }
        let error = Store::restore(scene.database(), Config::new(scene.data()))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert_eq!(scene.notes().await, [1, 2]);
    });
}

#[test]
fn a_damaged_database_is_replaced_and_its_log_is_kept_with_it() {
    run(async {
        let scene = Scene::new().await;
        fs::write(scene.database(), [7; 5_000]).unwrap();
        for side in ["-wal", "-shm"] {
            fs::write(scene.data().join(format!("database.db{side}")), [8; 5_000]).unwrap();
        }
        let restored = scene.restore().await.unwrap();
        assert!(restored.replaced.is_some());
        assert_eq!(
            names(&scene.data()),
            [
                "database.db",
                "database.db.replaced",
                "database.db.replaced-wal"
            ]
        );
        assert_eq!(
            fs::read(scene.data().join("database.db.replaced-wal")).unwrap(),
            [8; 5_000]
        );
        assert_eq!(scene.notes().await, [1]);
    });
}

/// As after a backup was copied over the database by hand: the log would change both.
#[test]
fn a_log_of_another_file_is_applied_neither_to_the_old_nor_to_the_new_one() {
    run(async {
        let scene = Scene::new().await;
        let other = scene.directory.path().join("other");
        Store::make(&other, "1.0.0").await.unwrap();
        {
            let db = Sqlite::open(other.join("database.db")).unwrap();
            db.execute_batch("PRAGMA journal_mode = DELETE").unwrap();
            for _ in 0..50 {
                db.execute_batch("UPDATE note SET text = text || 'x'")
                    .unwrap();
            }
        }
        let store = Store::open(&other, "1.0.0").await.unwrap();
        for id in 10..60 {
            store.add(id, &"of another file".repeat(500)).await.unwrap();
        }
        fs::copy(
            other.join("database.db-wal"),
            scene.data().join("database.db-wal"),
        )
        .unwrap();
        store.close().await.unwrap();
        let old = fs::read(scene.database()).unwrap();
        let restored = scene.restore().await.unwrap();
        assert!(fs::read(restored.replaced.unwrap()).unwrap() == old);
        assert_eq!(scene.notes().await, [1]);
    });
}

#[test]
fn a_log_without_its_database_is_kept_aside() {
    run(async {
        let scene = Scene::new().await;
        let store = Store::open(&scene.data(), "1.0.0").await.unwrap();
        store.add(3, "x").await.unwrap();
        let log = fs::read(scene.data().join("database.db-wal")).unwrap();
        store.close().await.unwrap();
        fs::remove_file(scene.database()).unwrap();
        fs::write(scene.data().join("database.db-wal"), log).unwrap();
        scene.restore().await.unwrap();
        assert_eq!(
            names(&scene.data()),
            ["database.db", "database.db.replaced-wal"]
        );
        assert_eq!(scene.notes().await, [1]);
    });
}

#[cfg(unix)]
#[test]
fn the_file_keeps_its_mode_and_a_link_to_it() {
    use std::os::unix::fs::PermissionsExt as _;
    run(async {
        let scene = Scene::new().await;
        let real = scene.directory.path().join("real.db");
        fs::rename(scene.database(), &real).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, scene.database()).unwrap();
        scene.restore().await.unwrap();
        assert!(fs::symlink_metadata(scene.database()).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(scene.notes().await, [1]);
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn a_restore_that_does_not_fit_changes_nothing() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
        let mut child = Child::start(env!("CARGO_BIN_EXE_child"));
        assert!(
            child
                .ask(&format!("start {} 1.0.0", data.display()))
                .starts_with("running")
        );
        for id in 0..40 {
            assert_eq!(child.ask(&format!("add {id} 20000")), "added");
        }
        assert_eq!(
            child.ask(&format!("back-up {}", copy.display())),
            "backed up"
        );
        assert_eq!(child.ask("close"), "stopped");
        drop(child);
        let before = fs::read(data.join("database.db")).unwrap();
        let mut child =
            Child::start_after("trap '' XFSZ; ulimit -f 600", env!("CARGO_BIN_EXE_child"));
        let answer = child.ask(&format!("restore {} {}", copy.display(), data.display()));
        assert!(
            answer.starts_with("Sqlite") || answer.starts_with("Io"),
            "{answer}"
        );
        assert_eq!(names(&data), ["database.db"]);
        assert!(fs::read(data.join("database.db")).unwrap() == before);
    });
}
