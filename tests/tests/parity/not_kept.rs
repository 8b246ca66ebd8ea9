//! Not kept: each defect of the reference, shown absent. Those of a killed process are in `crashes`, those of several
//! processes in `processes`, what is logged in `hostile_input`.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Hooks, Store, names, open_files, run, waits, within};
use tempfile::TempDir;
use tokio::sync::Notify;

/// Markers in the wrong order of the reference, calls that call, calls that wait.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Shop {
    core: ManagerCore,
    opened: Notify,
    go_on: Notify,
    evaluated: AtomicUsize,
}

impl Schema for Shop {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (name TEXT PRIMARY KEY) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Shop {
    #[database_safe]
    async fn hold(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item VALUES ('held')", ()).await?;
        self.opened.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn put(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (name,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn put_two(&self, _db: &mut WriteTransaction, first: &str, second: &str) -> Result<i64> {
        self.put(first).await?;
        self.put(second).await?;
        self.count().await
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM item", ()).await
    }

    #[database_safe]
    #[fail_value(vec![1, 2, 3])]
    async fn list(&self, _db: &mut ReadTransaction) -> Result<Vec<i64>> {
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[fail_value((1, 2))]
    async fn pair(&self, _db: &mut ReadTransaction) -> Result<(i64, i64)> {
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[fail_value(Vec::new())]
    async fn empty(&self, _db: &mut ReadTransaction) -> Result<Vec<i64>> {
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[fail_value(self.evaluated.fetch_add(1, Ordering::Relaxed))]
    async fn evaluates(&self, _db: &mut ReadTransaction) -> Result<usize> {
        Err(Error::other("on purpose"))
    }

    #[timed]
    #[fail_with_exception]
    #[fail_value((7, None))]
    #[required_argument(name)]
    #[database_safe]
    async fn markers_above(
        &self,
        _db: &mut ReadTransaction,
        name: Option<&str>,
    ) -> Result<(i64, Option<Error>)> {
        Err(Error::other(name.unwrap_or_default().to_owned()))
    }

    #[database_safe]
    async fn write_nothing_more(&self, db: &mut WriteTransaction, name: &str) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (name,))
            .await
            .map(drop)
    }
}

async fn shop() -> Arc<Shop> {
    Shop::create(Config::in_memory()).await.unwrap()
}

/// A call of `hold` that has the writer.
async fn held(shop: &Arc<Shop>) -> tokio::task::JoinHandle<Result<()>> {
    let holder = tokio::spawn({
        let shop = Arc::clone(shop);
        async move { shop.hold().await }
    });
    shop.opened.notified().await;
    holder
}

#[test]
fn managers_do_not_wait_for_each_other() {
    run(async {
        let (one, other) = (shop().await, shop().await);
        let holder = held(&one).await;
        within(other.put("free")).await.unwrap();
        within(other.close()).await.unwrap();
        one.go_on.notify_one();
        holder.await.unwrap().unwrap();
        one.close().await.unwrap();
    });
}

#[test]
fn a_manager_serves_several_runtimes() {
    run(async {
        let shop = shop().await;
        let other = Arc::clone(&shop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(within(other.put("from another runtime")))
        });
        within(shop.put("from here")).await.unwrap();
        within(tokio::task::spawn_blocking(|| thread.join().unwrap()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(shop.count().await.unwrap(), 2);
        shop.close().await.unwrap();
    });
}

#[test]
fn an_annotated_method_may_call_another_and_close_still_ends() {
    run(async {
        let shop = shop().await;
        assert_eq!(within(shop.put_two("a", "b")).await.unwrap(), 2);
        within(shop.put_two("c", "a")).await.unwrap_err();
        assert_eq!(shop.count().await.unwrap(), 2, "both or none");
        within(shop.close()).await.unwrap();
    });
}

#[test]
fn an_init_db_that_fails_fails_the_start_and_is_tried_again() {
    run(async {
        let directory = TempDir::new().unwrap();
        let hooks = Hooks {
            init: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        for _ in 0..2 {
            let store = Store::start_hooked(Config::new(directory.path()), hooks);
            assert_eq!(
                store.ensure_ready().await.unwrap_err().to_string(),
                "on purpose"
            );
            assert_eq!(store.status(), Status::Failed);
            assert_eq!(store.calls(), ["init_db"]);
        }
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_migrate_db_that_raises_is_no_success() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let hooks = Hooks {
            migrate: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let store = Store::start_hooked(
            Config::new(directory.path()).version(Version::new(2, 0, 0)),
            hooks,
        );
        assert_eq!(
            store.ensure_ready().await.unwrap_err().to_string(),
            "on purpose"
        );
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        store.close().await.unwrap();
    });
}

#[test]
fn an_unusable_path_fails_and_leaks_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        fs::write(root.join("file"), "in the way").unwrap();
        fs::create_dir(root.join("database.db")).unwrap();
        let too_long = "x".repeat(300);
        let paths = [
            root.join("file"),
            root.join("file/below"),
            root.to_owned(),
            root.join("n\0l"),
            root.join(too_long),
        ];
        for path in paths {
            let store = Store::start_hooked(Config::new(&path), Hooks::default());
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(error, Error::Io { .. } | Error::Config { .. }),
                "{path:?}: {error:?}"
            );
            assert_eq!(store.status(), Status::Failed);
            assert!(matches!(
                within(store.ids()).await,
                Err(Error::Failed { .. })
            ));
            within(store.close()).await.unwrap();
        }
        assert!(open_files(root).is_empty());
        let store = within(Store::open(&root.join("a/b/c"), "1.0.0"))
            .await
            .unwrap();
        store.add(1, "missing directories are made").await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn an_empty_file_is_a_new_database() {
    run(async {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("database.db"), "").unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_db_name_that_leads_elsewhere_is_refused() {
    run(async {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        for name in ["../x", "/tmp/x", ":memory:", "a/b"] {
            let store = Store::start_hooked(Config::new(&data).db_name(name), Hooks::default());
            assert!(
                matches!(store.ensure_ready().await, Err(Error::Config { .. })),
                "{name}"
            );
            assert_eq!(store.status(), Status::Failed);
        }
        assert_eq!(names(directory.path()), [""; 0]);
    });
}

#[test]
fn a_cancelled_call_leaks_no_lock_and_the_cancellation_is_not_swallowed() {
    run(async {
        let shop = shop().await;
        let holder = held(&shop).await;
        let mut waiting = Box::pin(shop.put("never"));
        assert!(waits(&mut waiting).await);
        drop(waiting);
        let elapsed = tokio::time::timeout(Duration::ZERO, shop.put("never either")).await;
        assert!(elapsed.is_err(), "the caller is told that its time is over");
        holder.abort();
        assert!(holder.await.unwrap_err().is_cancelled());
        within(shop.put("next")).await.unwrap();
        assert_eq!(
            shop.count().await.unwrap(),
            1,
            "the held call was undone, the dropped ones never ran"
        );
        within(shop.close()).await.unwrap();
    });
}

#[test]
fn a_cancelled_close_closes_all_the_same() {
    run(async {
        let shop = shop().await;
        let holder = held(&shop).await;
        let mut closing = Box::pin(shop.close());
        assert!(waits(&mut closing).await);
        drop(closing);
        assert_eq!(shop.status(), Status::Stopping);
        shop.go_on.notify_one();
        holder.await.unwrap().unwrap();
        let mut status = shop.watch_status();
        within(status.wait_for(|status| *status == Status::Stopped))
            .await
            .unwrap();
    });
}

#[test]
fn create_never_fails_for_a_manager_that_runs() {
    run(async {
        for _ in 0..100 {
            let store = Shop::create(Config::in_memory()).await.unwrap();
            assert_eq!(store.status(), Status::Running);
            store.ensure_ready().await.unwrap();
            store.close().await.unwrap();
        }
    });
}

#[test]
fn ensure_ready_gives_the_same_answer_every_time() {
    run(async {
        let failed = Store::start_hooked(Config::in_memory().db_name(".."), Hooks::default());
        let first = failed.ensure_ready().await.unwrap_err().to_string();
        for _ in 0..3 {
            assert_eq!(failed.ensure_ready().await.unwrap_err().to_string(), first);
        }
        let store = shop().await;
        store.ensure_ready().await.unwrap();
        store.close().await.unwrap();
        store.ensure_ready().await.unwrap();
    });
}

#[test]
fn a_fail_value_is_made_afresh_each_time() {
    run(async {
        let shop = shop().await;
        let mut list = shop.list().await;
        list.push(4);
        assert_eq!(shop.list().await, [1, 2, 3]);
        assert_eq!((shop.evaluates().await, shop.evaluates().await), (0, 1));
        assert_eq!(shop.pair().await, (1, 2));
        assert_eq!(shop.empty().await, [0; 0]);
        shop.close().await.unwrap();
    });
}

#[test]
fn markers_work_above_database_safe_too() {
    run(async {
        let shop = shop().await;
        let (value, exception) = shop.markers_above(Some("told")).await;
        assert_eq!(
            (value, exception.unwrap().to_string().as_str()),
            (7, "told")
        );
        let (value, exception) = shop.markers_above(None).await;
        assert!(value == 7 && matches!(exception, Some(Error::MissingArgument { .. })));
        shop.close().await.unwrap();
    });
}

#[test]
fn a_forgotten_during_init_is_an_error_at_once() {
    run(async {
        let hooks = Hooks {
            init: Some(|store, _| Box::pin(store.add(1, "no"))),
            ..Hooks::default()
        };
        let error = within(Store::create_hooked(Config::in_memory(), hooks))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::NotDuringInit { method: "add" }),
            "{error:?}"
        );
    });
}

/// An older database with a row that only the log holds, as a killed writer leaves it.
fn with_hot_log(directory: &Path) {
    let path = directory.join("database.db");
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0; INSERT INTO note VALUES (2, 'only in the log')",
        )
        .unwrap();
    let copies = ["database.db", "database.db-wal"]
        .map(|name| (name, fs::read(directory.join(name)).unwrap()));
    drop(writer);
    for (name, bytes) in copies {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

#[test]
fn a_backup_holds_the_log_too_is_private_and_is_named_after_the_old_version() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        // Windows has no such modes: a file has the access list of its directory.
        #[cfg(unix)]
        {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(directory.path().join("database.db"), private).unwrap();
        }
        with_hot_log(directory.path());
        let store = Store::open(directory.path(), "2.0.0").await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(1.0.0, 2.0.0)"]);
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.0.0.backup"]
        );
        let backup = directory.path().join("database.db.1.0.0.backup");
        #[cfg(unix)]
        for path in [&backup, &directory.path().join("database.db")] {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{path:?}"
            );
        }
        let backup = rusqlite::Connection::open(backup).unwrap();
        let rows: i64 = backup
            .query_row("SELECT count(*) FROM note", (), |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    });
}

// Windows makes links only for those with a privilege.
#[cfg(unix)]
#[test]
fn a_backup_replaces_no_symlink_and_no_older_backup_and_stays_when_the_migration_raises() {
    use std::os::unix::fs::symlink;

    run(async {
        let directory = TempDir::new().unwrap();
        let (real, data) = (directory.path().join("real"), directory.path().join("data"));
        Store::make(&real, "1.0.0").await.unwrap();
        fs::create_dir(&data).unwrap();
        symlink(real.join("database.db"), data.join("database.db")).unwrap();
        fs::write(real.join("database.db.1.0.0.backup"), "somebody's own").unwrap();

        let hooks = Hooks {
            migrate: Some(|_, _| Box::pin(async { Err(Error::other("on purpose")) })),
            ..Hooks::default()
        };
        let config = Config::new(&data)
            .version(Version::new(2, 0, 0))
            .keep_backups(5);
        Store::create_hooked(config, hooks).await.unwrap_err();
        assert!(
            fs::symlink_metadata(data.join("database.db"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(names(&data), ["database.db"]);
        assert_eq!(
            names(&real),
            [
                "database.db",
                "database.db.1.0.0.backup",
                "database.db.1.0.0.backup.1"
            ]
        );
        assert_eq!(
            fs::read_to_string(real.join("database.db.1.0.0.backup")).unwrap(),
            "somebody's own"
        );
    });
}

#[test]
fn the_version_changes_with_the_migration_or_not_at_all() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.0.0").await.unwrap();
        let hooks = Hooks {
            migrate: Some(|_, db| {
                Box::pin(async {
                    db.execute_batch(
                        "DELETE FROM note;
                        CREATE TRIGGER keep BEFORE UPDATE ON Version BEGIN SELECT RAISE(ABORT, 'never'); END",
                    )
                    .await
                    .map(|()| true)
                })
            }),
            ..Hooks::default()
        };
        let config = Config::new(directory.path()).version(Version::new(2, 0, 0));
        Store::create_hooked(config, hooks).await.unwrap_err();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn two_managers_that_create_at_once_write_one_version() {
    run(async {
        for _ in 0..20 {
            let directory = TempDir::new().unwrap();
            let [one, other] = [(); 2]
                .map(|()| Store::start_hooked(Config::new(directory.path()), Hooks::default()));
            one.ensure_ready().await.unwrap();
            other.ensure_ready().await.unwrap();
            assert_eq!(one.number("SELECT count(*) FROM Version").await.unwrap(), 1);
            one.close().await.unwrap();
            other.close().await.unwrap();
            let store = Store::open(directory.path(), "1.0.0").await.unwrap();
            assert_eq!(store.calls(), [""; 0]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_write_needs_no_commit_of_its_own() {
    run(async {
        let directory = TempDir::new().unwrap();
        let shop = Shop::create(Config::new(directory.path())).await.unwrap();
        shop.write_nothing_more("kept").await.unwrap();
        shop.close().await.unwrap();
        let shop = Shop::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(shop.count().await.unwrap(), 1);
        shop.close().await.unwrap();
    });
}

#[test]
fn readiness_is_told_and_not_polled() {
    run(async {
        let store = Store::start_hooked(Config::in_memory(), Hooks::default());
        let mut ready = pin!(store.ensure_ready());
        let mut polls = 0;
        let counted = std::future::poll_fn(|context: &mut Context<'_>| -> Poll<Result<()>> {
            polls += 1;
            ready.as_mut().poll(context)
        });
        within(counted).await.unwrap();
        assert!(polls <= 3, "woken {polls} times");
        store.close().await.unwrap();
    });
}
