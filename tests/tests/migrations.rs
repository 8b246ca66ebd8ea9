//! A migration happens as a whole, exactly once, with a backup, or it did not happen.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Hook, Hooks, Store, bytes, names, open_files, run, watch, within};
use tempfile::TempDir;

type Migrate = for<'a> fn(&'a Store, &'a mut WriteTransaction) -> Hook<'a, bool>;

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// An older database with one note, closed.
async fn old() -> TempDir {
    let directory = TempDir::new().unwrap();
    Store::make(directory.path(), "1.0.0").await.unwrap();
    directory
}

/// Changes a closed database by other means, with foreign keys off.
fn change(directory: &Path, sql: &str) {
    let db = rusqlite::Connection::open(directory.join("database.db")).unwrap();
    db.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
        .unwrap();
}

fn start(directory: &Path, migrate: Migrate) -> Arc<Store> {
    let hooks = Hooks {
        migrate: Some(migrate),
        ..Hooks::default()
    };
    Store::start_hooked(Config::new(directory).version(version("2.0.0")), hooks)
}

async fn migrated(directory: &Path, migrate: Migrate) -> Arc<Store> {
    let store = start(directory, migrate);
    within(store.ensure_ready()).await.unwrap();
    assert_eq!(store.calls(), ["migrate_db(1.0.0, 2.0.0)"]);
    assert_eq!(store.get_version().await.unwrap(), version("2.0.0"));
    store
}

/// The migration fails and leaves the file as it was.
async fn refused(directory: &Path, migrate: Migrate) -> Error {
    let before = bytes(directory);
    let store = start(directory, migrate);
    let error = within(store.ensure_ready()).await.unwrap_err();
    assert_eq!(store.status(), Status::Failed);
    assert!(matches!(
        store.ids().await,
        Err(Error::Failed { method: "ids", .. })
    ));
    assert_eq!(
        bytes(directory)["database.db"],
        before["database.db"],
        "{error:?}"
    );
    assert!(open_files(directory).is_empty());
    let sides = names(directory)
        .into_iter()
        .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"));
    assert_eq!(sides.collect::<Vec<_>>(), [""; 0]);
    error
}

async fn still_old(directory: &Path) {
    let store = Store::open(directory, "1.0.0").await.unwrap();
    assert_eq!(store.calls(), [""; 0]);
    assert_eq!(store.ids().await.unwrap(), [1]);
    store.close().await.unwrap();
}

#[test]
fn one_that_raises_changes_nothing() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute_batch("DELETE FROM note; CREATE TABLE extra (x)")
                    .await?;
                Err(Error::other("on purpose"))
            })
        })
        .await;
        assert_eq!(error.to_string(), "on purpose");
        still_old(directory.path()).await;
    });
}

#[test]
fn one_that_returns_false_changes_nothing() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async { db.execute("DELETE FROM note", ()).await.map(|_| false) })
        })
        .await;
        let Error::MigrationRefused { from, to, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((&**from, &**to), (&version("1.0.0"), &version("2.0.0")));
        still_old(directory.path()).await;
    });
}

#[test]
fn one_that_panics_changes_nothing() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("DELETE FROM note", ()).await?;
                panic!("on purpose")
            })
        })
        .await;
        let Error::Panicked { method, message } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*method, message.as_str()), ("migrate_db", "on purpose"));
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.call(|_| -> Result<bool> { panic!("in the closure") })
                    .await
            })
        })
        .await;
        assert!(error.to_string().contains("in the closure"), "{error:?}");
        still_old(directory.path()).await;
    });
}

#[test]
fn one_whose_statement_was_dropped_changes_nothing() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("DELETE FROM note", ()).await?;
                let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
                    INSERT INTO note SELECT x + 10, 'x' FROM n";
                let _ = tokio::time::timeout(
                    std::time::Duration::from_millis(20),
                    db.execute(endless, ()),
                )
                .await;
                Ok(true)
            })
        })
        .await;
        assert!(
            matches!(
                error,
                Error::StatementDropped | Error::TransactionLost { .. }
            ),
            "{error:?}"
        );
        still_old(directory.path()).await;
    });
}

#[test]
fn a_cancelled_start_lets_it_come_to_its_end() {
    run(async {
        let directory = old().await;
        let store = start(directory.path(), |store, db| {
            Box::pin(async {
                db.execute("DELETE FROM note", ()).await?;
                store.pause().await;
                Ok(true)
            })
        });
        let mut ready = Box::pin(store.ensure_ready());
        assert!(dbm_tests::waits(&mut ready).await);
        store.paused().await;
        drop(ready);
        store.go_on();
        within(store.ensure_ready()).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [0; 0]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_runtime_that_ends_in_the_middle_changes_nothing() {
    watch(|| {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let first = runtime();
        let directory = first.block_on(old());
        let before = bytes(directory.path());
        let store = first.block_on(async {
            let store = start(directory.path(), |store, db| {
                Box::pin(async {
                    db.execute("DELETE FROM note", ()).await?;
                    store.pause().await;
                    Ok(true)
                })
            });
            store.paused().await;
            store
        });
        drop(first);
        let second = runtime();
        assert!(second.block_on(within(store.ensure_ready())).is_err());
        assert_eq!(store.status(), Status::Failed);
        assert_eq!(
            bytes(directory.path())["database.db"],
            before["database.db"]
        );
        assert!(open_files(directory.path()).is_empty());
        second.block_on(within(still_old(directory.path())));
    });
}

#[test]
fn one_that_ends_the_transaction_by_sql_is_refused() {
    run(async {
        let directory = old().await;
        let attempts: [Migrate; 7] = [
            |_, db| Box::pin(async { db.execute("COMMIT", ()).await.map(|_| true) }),
            |_, db| {
                Box::pin(async {
                    db.execute_batch("DELETE FROM note; /* x */ END TRANSACTION")
                        .await
                        .map(|()| true)
                })
            },
            |_, db| Box::pin(async { db.execute("-- x\nROLLBACK", ()).await.map(|_| true) }),
            |_, db| Box::pin(async { db.execute("SAVEPOINT mine", ()).await.map(|_| true) }),
            |_, db| Box::pin(async { db.execute("RELEASE x", ()).await.map(|_| true) }),
            |_, db| Box::pin(async { db.query_optional::<i64>("BEGIN", ()).await.map(|_| true) }),
            |_, db| {
                Box::pin(async {
                    db.call(|bare| Ok(bare.execute_batch("DELETE FROM note; COMMIT")?))
                        .await
                        .map(|()| true)
                })
            },
        ];
        for attempt in attempts {
            let error = refused(directory.path(), attempt).await;
            assert!(matches!(error, Error::Refused { .. }), "{error:?}");
            still_old(directory.path()).await;
        }
    });
}

#[test]
fn one_that_ignores_the_refusal_is_still_a_whole() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("DELETE FROM note", ()).await?;
                db.execute("COMMIT", ()).await.unwrap_err();
                db.execute("ROLLBACK", ()).await.unwrap_err();
                Err(Error::other("after all"))
            })
        })
        .await;
        assert_eq!(error.to_string(), "after all");
        let store = migrated(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("INSERT INTO note VALUES (2, 'two')", ()).await?;
                db.execute("ROLLBACK", ()).await.unwrap_err();
                Ok(true)
            })
        })
        .await;
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
    });
}

#[test]
fn one_that_rolls_back_by_a_conflict_clause_is_lost() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("INSERT INTO note VALUES (2, 'two')", ()).await?;
                let _ = db
                    .execute("INSERT OR ROLLBACK INTO note VALUES (1, 'again')", ())
                    .await;
                let _ = db
                    .execute(
                        "INSERT INTO note VALUES (3, 'outside of any transaction')",
                        (),
                    )
                    .await;
                Ok(true)
            })
        })
        .await;
        assert!(matches!(error, Error::TransactionLost { .. }), "{error:?}");
        still_old(directory.path()).await;
    });
}

const FAMILY: &str = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parent ON DELETE CASCADE);
    INSERT INTO parent VALUES (1, 'a'), (2, 'b');
    INSERT INTO child VALUES (10, 1), (11, 1), (12, 2);";

#[test]
fn rebuilding_a_parent_table_loses_no_child() {
    run(async {
        let directory = old().await;
        change(directory.path(), FAMILY);
        let store = migrated(directory.path(), |_, db| {
            Box::pin(async {
                db.execute_batch(
                    "CREATE TABLE rebuilt (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER) STRICT;
                    INSERT INTO rebuilt (id, name) SELECT id, name FROM parent;
                    DROP TABLE parent;
                    ALTER TABLE rebuilt RENAME TO parent;",
                )
                .await?;
                Ok(true)
            })
        })
        .await;
        assert_eq!(store.number("SELECT count(*) FROM child").await.unwrap(), 3);
        let orphan = store
            .write("INSERT INTO child VALUES (13, 99)")
            .await
            .unwrap_err();
        assert_eq!(orphan.sqlite_code(), Some(787), "foreign keys are on again");
        store
            .write("DELETE FROM parent WHERE id = 1")
            .await
            .unwrap();
        assert_eq!(
            store.number("SELECT count(*) FROM child").await.unwrap(),
            1,
            "and cascade"
        );
        store.close().await.unwrap();
    });
}

#[test]
fn one_that_leaves_new_orphans_is_refused() {
    run(async {
        let directory = old().await;
        change(directory.path(), FAMILY);
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("DELETE FROM parent WHERE id = 1", ())
                    .await
                    .map(|_| true)
            })
        })
        .await;
        let Error::ForeignKeys {
            child,
            parent,
            count,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((&**child, &**parent, *count), ("child", "parent", 2));
        still_old(directory.path()).await;
    });
}

#[test]
fn orphans_that_were_there_before_are_not_blamed() {
    run(async {
        let directory = old().await;
        change(directory.path(), FAMILY);
        change(
            directory.path(),
            "INSERT INTO child VALUES (13, 98), (14, 99)",
        );
        let error = refused(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("INSERT INTO child VALUES (15, 97)", ())
                    .await
                    .map(|_| true)
            })
        })
        .await;
        assert!(
            matches!(error, Error::ForeignKeys { count: 1, .. }),
            "{error:?}"
        );
        let store = migrated(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("DELETE FROM child WHERE id = 13", ())
                    .await
                    .map(|_| true)
            })
        })
        .await;
        assert_eq!(store.number("SELECT count(*) FROM child").await.unwrap(), 4);
        store.close().await.unwrap();
    });
}

#[test]
fn a_foreign_key_to_nowhere_that_was_there_before_is_not_blamed() {
    run(async {
        let directory = old().await;
        change(
            directory.path(),
            "CREATE TABLE parent (name TEXT);
            CREATE TABLE mismatched (name TEXT REFERENCES parent (name)); INSERT INTO mismatched VALUES ('x');
            CREATE TABLE lost (x INTEGER REFERENCES no_such_table); INSERT INTO lost VALUES (1);",
        );
        let store = migrated(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_version_row_that_refuses_to_change_fails_it() {
    run(async {
        let triggers: [Migrate; 4] = [
            |_, db| Box::pin(async { trigger(db, "BEFORE", "SELECT RAISE(ABORT, 'never')").await }),
            |_, db| Box::pin(async { trigger(db, "BEFORE", "SELECT RAISE(IGNORE)").await }),
            |_, db| Box::pin(async { trigger(db, "AFTER", "UPDATE Version SET major = 1").await }),
            |_, db| {
                Box::pin(async { trigger(db, "AFTER", "SELECT RAISE(ROLLBACK, 'never')").await })
            },
        ];
        let directory = old().await;
        for migrate in triggers {
            refused(directory.path(), migrate).await;
            still_old(directory.path()).await;
        }
    });
}

async fn trigger(db: &mut WriteTransaction, when: &str, body: &str) -> Result<bool> {
    db.execute_batch("DELETE FROM note").await?;
    db.execute_batch(&format!(
        "CREATE TRIGGER keep {when} UPDATE ON Version BEGIN {body}; END"
    ))
    .await?;
    Ok(true)
}

#[test]
fn one_that_tampers_with_the_version_table_fails() {
    run(async {
        let directory = old().await;
        let attempts: [Migrate; 4] = [
            |_, db| Box::pin(async { db.execute("DELETE FROM Version", ()).await.map(|_| true) }),
            |_, db| {
                Box::pin(async {
                    db.execute("INSERT INTO Version VALUES (7, 0, 0)", ())
                        .await
                        .map(|_| true)
                })
            },
            |_, db| Box::pin(async { db.execute_batch("DROP TABLE Version").await.map(|()| true) }),
            |_, db| {
                Box::pin(async {
                    db.execute_batch("DROP TABLE Version; CREATE TABLE Version (x)")
                        .await
                        .map(|()| true)
                })
            },
        ];
        for attempt in attempts {
            refused(directory.path(), attempt).await;
            still_old(directory.path()).await;
        }
    });
}

#[test]
fn a_version_that_is_set_by_hand_in_a_migration_ends_as_the_target() {
    run(async {
        let directory = old().await;
        let store = migrated(directory.path(), |store, _| {
            Box::pin(async {
                store.update_version(&Version::new(1, 5, 0)).await?;
                Ok(store.get_version().await? == Version::new(1, 5, 0))
            })
        })
        .await;
        store.close().await.unwrap();
    });
}

#[test]
fn nine_is_less_than_ten() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "0.9.0").await.unwrap();
        let store = Store::open(directory.path(), "0.10.0").await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(0.9.0, 0.10.0)"]);
        store.close().await.unwrap();
        assert!(matches!(
            Store::open(directory.path(), "0.9.99").await,
            Err(Error::TooNew { .. })
        ));
    });
}

#[test]
fn versions_may_be_as_large_as_the_file_can_hold() {
    run(async {
        let directory = TempDir::new().unwrap();
        let steps = [
            "0.0.4294967296",
            "0.4294967296.0",
            "9223372036854775806.0.1",
            "9223372036854775807.9223372036854775807.0",
        ];
        Store::make(directory.path(), steps[0]).await.unwrap();
        for pair in steps.windows(2) {
            let store = Store::open(directory.path(), pair[1]).await.unwrap();
            assert_eq!(
                store.calls(),
                [format!("migrate_db({}, {})", pair[0], pair[1])]
            );
            assert_eq!(store.get_version().await.unwrap(), version(pair[1]));
            store.close().await.unwrap();
        }
        assert!(matches!(
            Store::open(directory.path(), steps[2]).await,
            Err(Error::TooNew { .. })
        ));
    });
}

#[test]
fn a_version_row_that_is_none_is_refused_untouched() {
    run(async {
        let rows = [
            "(-1, 0, 0)",
            "(0, -1, 0)",
            "(1, 0, -9223372036854775808)",
            "('1', 0, 0)",
            "('one', 0, 0)",
            "(NULL, 0, 0)",
            "(1, 0, NULL)",
            "(1.5, 0, 0)",
            "(1, 0.0, 0)",
            "(x'01', 0, 0)",
            "(1, 0, '')",
            "(9e18, 0, 0)",
        ];
        for row in rows {
            let directory = old().await;
            change(
                directory.path(),
                &format!(
                    "DROP TABLE Version; CREATE TABLE Version (major, minor, patch); INSERT INTO Version VALUES {row}"
                ),
            );
            let error = refused(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
            assert!(
                matches!(error, Error::InvalidVersion { .. }),
                "{row}: {error:?}"
            );
            assert_eq!(
                names(directory.path()),
                ["database.db"],
                "no backup of what is not migrated"
            );
        }
    });
}

/// Every row of every table, as text.
fn dump(path: &Path) -> String {
    let db = rusqlite::Connection::open(path).unwrap();
    let verdict: String = db
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap();
    let rows: String = db
        .query_row(
            "SELECT group_concat(id || '=' || text, ';') FROM note",
            (),
            |row| row.get(0),
        )
        .unwrap();
    let version: String = db
        .query_row(
            "SELECT major || '.' || minor || '.' || patch FROM Version",
            (),
            |row| row.get(0),
        )
        .unwrap();
    format!("{verdict} {version} {rows}")
}

#[test]
fn the_backup_is_the_database_as_it_was_before() {
    run(async {
        let directory = old().await;
        let path = directory.path().join("database.db");
        change(
            directory.path(),
            "INSERT INTO note VALUES (2, 'zwei'), (3, 'drei')",
        );
        let before = dump(&path);
        assert_eq!(before, "ok 1.0.0 1=one;2=zwei;3=drei");
        let store = migrated(directory.path(), |_, db| {
            Box::pin(async {
                db.execute("UPDATE note SET text = 'changed'", ())
                    .await
                    .map(|_| true)
            })
        })
        .await;
        assert_eq!(
            names(directory.path())
                .iter()
                .filter(|name| name.ends_with(".backup"))
                .count(),
            1
        );
        store.close().await.unwrap();
        let backup = directory.path().join("database.db.1.0.0.backup");
        assert_eq!(dump(&backup), before);
        assert_eq!(dump(&path), "ok 2.0.0 1=changed;2=changed;3=changed");
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.0.0.backup"]
        );

        fs::rename(&backup, &path).unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 2, 3]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_large_database_is_backed_up_whole() {
    run(async {
        let directory = old().await;
        change(
            directory.path(),
            "WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)
            INSERT INTO note SELECT x, hex(randomblob(1000)) FROM n",
        );
        let before = dump(&directory.path().join("database.db"));
        let store = migrated(directory.path(), |_, db| {
            Box::pin(async { db.execute("DELETE FROM note", ()).await.map(|_| true) })
        })
        .await;
        store.close().await.unwrap();
        assert!(dump(&directory.path().join("database.db.1.0.0.backup")) == before);
    });
}

// Windows has no such modes: a file has the access list of its directory.
#[cfg(unix)]
#[test]
fn the_mode_of_a_private_file_is_that_of_its_backup() {
    use std::os::unix::fs::PermissionsExt as _;

    run(async {
        for mode in [0o600, 0o640] {
            let directory = old().await;
            let path = directory.path().join("database.db");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let store = migrated(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
            store.close().await.unwrap();
            for name in ["database.db", "database.db.1.0.0.backup"] {
                let found = fs::metadata(directory.path().join(name))
                    .unwrap()
                    .permissions()
                    .mode();
                assert_eq!(found & 0o777, mode, "{name}");
            }
        }
    });
}

// Windows makes links only for those with a privilege.
#[cfg(unix)]
#[test]
fn a_symlink_stays_a_symlink_and_the_backup_lies_beside_the_file() {
    use std::os::unix::fs::symlink;

    run(async {
        let directory = TempDir::new().unwrap();
        let (real, data) = (directory.path().join("real"), directory.path().join("data"));
        Store::make(&real, "1.0.0").await.unwrap();
        fs::create_dir(&data).unwrap();
        symlink(real.join("database.db"), data.join("database.db")).unwrap();
        let store = migrated(&data, |_, _| Box::pin(async { Ok(true) })).await;
        store.close().await.unwrap();
        assert!(
            fs::symlink_metadata(data.join("database.db"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(names(&data), ["database.db"]);
        assert_eq!(names(&real), ["database.db", "database.db.1.0.0.backup"]);
        assert!(dump(&real.join("database.db")).contains("2.0.0"));
    });
}

#[test]
fn backups_are_never_overwritten_and_the_newest_are_kept() {
    run(async {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        Store::make(path, "1.0.0").await.unwrap();
        fs::write(path.join("database.db.backup"), "not ours").unwrap();
        fs::write(path.join("other.db.1.0.0.backup"), "not ours").unwrap();
        let step = async |target: &str, keep: usize| {
            let config = Config::new(path)
                .version(version(target))
                .keep_backups(keep);
            let store = Store::create_hooked(config, Hooks::default())
                .await
                .unwrap();
            store.close().await.unwrap();
            let ours =
                |name: &String| name.starts_with("database.db.") && name != "database.db.backup";
            names(path).into_iter().filter(ours).collect::<Vec<_>>()
        };
        assert_eq!(step("1.1.0", 0).await, [""; 0], "none is wanted");
        assert_eq!(step("1.2.0", 2).await, ["database.db.1.1.0.backup"]);
        let first = fs::read(path.join("database.db.1.1.0.backup")).unwrap();
        assert_eq!(
            step("1.3.0", 2).await,
            ["database.db.1.1.0.backup", "database.db.1.2.0.backup"]
        );
        assert!(fs::read(path.join("database.db.1.1.0.backup")).unwrap() == first);
        assert_eq!(
            step("1.4.0", 2).await,
            ["database.db.1.2.0.backup", "database.db.1.3.0.backup"]
        );
        assert_eq!(step("1.5.0", 1).await, ["database.db.1.4.0.backup"]);
        for name in ["database.db.backup", "other.db.1.0.0.backup"] {
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "not ours");
        }
    });
}

#[test]
fn a_migration_that_keeps_failing_piles_up_no_backups() {
    run(async {
        let directory = old().await;
        for _ in 0..4 {
            refused(directory.path(), |_, _| Box::pin(async { Ok(false) })).await;
            let found = names(directory.path());
            assert_eq!(found.len(), 2, "{found:?}");
            let backup = found.iter().find(|name| name.contains(".backup")).unwrap();
            assert!(dump(&directory.path().join(backup)).starts_with("ok 1.0.0"));
        }
    });
}

#[test]
fn an_unfinished_backup_of_a_killed_process_is_no_obstacle_and_goes() {
    run(async {
        let directory = old().await;
        fs::write(
            directory.path().join("database.db.backup-unfinished"),
            "half of a backup",
        )
        .unwrap();
        let store = migrated(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.0.0.backup"]
        );
        assert!(dump(&directory.path().join("database.db.1.0.0.backup")).starts_with("ok 1.0.0"));
    });
}

#[test]
fn without_its_backup_it_does_not_happen() {
    run(async {
        let directory = old().await;
        fs::create_dir(directory.path().join("database.db.backup-unfinished")).unwrap();
        let before = fs::read(directory.path().join("database.db")).unwrap();
        let store = start(directory.path(), |_, _| Box::pin(async { Ok(true) }));
        let error = within(store.ensure_ready()).await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert_eq!(store.calls(), [""; 0]);
        assert!(fs::read(directory.path().join("database.db")).unwrap() == before);
    });
}

#[test]
fn a_damaged_database_is_not_migrated() {
    run(async {
        let directory = old().await;
        change(
            directory.path(),
            "WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
            INSERT INTO note SELECT x, hex(randomblob(100)) FROM n; PRAGMA wal_checkpoint(TRUNCATE)",
        );
        let path = directory.path().join("database.db");
        let mut file = fs::read(&path).unwrap();
        let middle = file.len() / 2;
        file[middle / 4096 * 4096..][..4096].fill(0xff);
        fs::write(&path, &file).unwrap();
        let store = start(directory.path(), |_, _| Box::pin(async { Ok(true) }));
        let error = within(store.ensure_ready()).await.unwrap_err();
        assert!(
            matches!(error, Error::Backup { .. } | Error::Sqlite(_)),
            "{error:?}"
        );
        assert_eq!(
            names(directory.path()),
            ["database.db"],
            "no damaged backup is kept"
        );
        assert!(fs::read(&path).unwrap() == file);
    });
}

#[test]
fn a_hot_wal_is_recovered_backed_up_and_migrated() {
    run(async {
        let directory = old().await;
        let files = ["database.db", "database.db-wal"].map(|name| directory.path().join(name));
        let writer = rusqlite::Connection::open(&files[0]).unwrap();
        writer
            .execute_batch(
                "PRAGMA wal_autocheckpoint = 0; INSERT INTO note VALUES (2, 'in the log')",
            )
            .unwrap();
        let copies = [0, 1].map(|file| fs::read(&files[file]).unwrap());
        drop(writer);
        for (path, bytes) in files.iter().zip(copies) {
            fs::write(path, bytes).unwrap();
        }
        let store = migrated(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.0.0.backup"]
        );
        assert_eq!(
            dump(&directory.path().join("database.db.1.0.0.backup")),
            "ok 1.0.0 1=one;2=in the log"
        );
    });
}

#[test]
fn a_hot_journal_is_rolled_back_backed_up_and_migrated() {
    run(async {
        let directory = old().await;
        let files = ["database.db", "database.db-journal"].map(|name| directory.path().join(name));
        change(directory.path(), "PRAGMA journal_mode = DELETE");
        let writer = rusqlite::Connection::open(&files[0]).unwrap();
        writer
            .execute_batch(
                "PRAGMA cache_size = 1; BEGIN; UPDATE Version SET major = 7; DELETE FROM note;
                WITH RECURSIVE n(x) AS (SELECT 10 UNION ALL SELECT x + 1 FROM n WHERE x < 500)
                INSERT INTO note SELECT x, hex(randomblob(200)) FROM n",
            )
            .unwrap();
        let copies = [0, 1].map(|file| fs::read(&files[file]).unwrap());
        drop(writer);
        for (path, bytes) in files.iter().zip(copies) {
            fs::write(path, bytes).unwrap();
        }
        let store = migrated(directory.path(), |_, _| Box::pin(async { Ok(true) })).await;
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.0.0.backup"]
        );
        assert_eq!(
            dump(&directory.path().join("database.db.1.0.0.backup")),
            "ok 1.0.0 1=one"
        );
    });
}

#[test]
fn methods_during_init_join_the_migration() {
    run(async {
        let directory = old().await;
        let error = refused(directory.path(), |store, _| {
            Box::pin(async { store.add(2, "no").await.map(|()| true) })
        })
        .await;
        assert!(
            matches!(error, Error::NotDuringInit { method: "add" }),
            "{error:?}"
        );
        let error = refused(directory.path(), |store, _| {
            Box::pin(async {
                store.add_during_init(2).await?;
                Ok(false)
            })
        })
        .await;
        assert!(matches!(error, Error::MigrationRefused { .. }), "{error:?}");
        still_old(directory.path()).await;
        let store = migrated(directory.path(), |store, _| {
            Box::pin(async { store.add_during_init(2).await.map(|()| true) })
        })
        .await;
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
    });
}

trait DuringInit {
    async fn add_during_init(&self, id: i64) -> Result<()>;
}

impl DuringInit for Store {
    #[database_safe]
    #[during_init]
    async fn add_during_init(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO note VALUES (?1, 'during init')", (id,))
            .await
            .map(drop)
    }
}
