//! Kept: the same here as in the reference.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Hooks, ReadOnly, Store, bytes, logged, names, run, skip, waits, within};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// A manager whose calls can be held up by a test.
#[derive(DbManager)]
#[db_manager(version = "2.3.4")]
struct Bank {
    core: ManagerCore,
    opened: Notify,
    go_on: Notify,
}

impl Schema for Bank {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY, money INTEGER NOT NULL) STRICT;
            CREATE TABLE payment (account INTEGER NOT NULL REFERENCES account, amount INTEGER NOT NULL) STRICT;
            INSERT INTO account VALUES (1, 0);").await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

impl Bank {
    /// Holds the writer until it is told to go on.
    #[database_safe]
    async fn hold(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("UPDATE account SET money = money", ()).await?;
        self.opened.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn deposit(&self, db: &mut WriteTransaction, amount: i64) -> Result<i64> {
        let money: i64 = db
            .query_one("SELECT money FROM account WHERE id = 1", ())
            .await?;
        tokio::task::yield_now().await;
        db.execute(
            "UPDATE account SET money = ?1 WHERE id = 1",
            (money + amount,),
        )
        .await?;
        Ok(money + amount)
    }

    #[database_safe]
    async fn append(&self, db: &mut WriteTransaction, amount: i64) -> Result<()> {
        db.execute("INSERT INTO payment VALUES (1, ?1)", (amount,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn payments(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT amount FROM payment ORDER BY rowid", ())
            .await
    }

    #[database_safe]
    async fn money(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT money FROM account WHERE id = 1", ())
            .await
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn fails_with_a_value(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("UPDATE account SET money = 99", ()).await?;
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn is_logged(&self, _db: &mut ReadTransaction) -> Result<i64> {
        Ok(0)
    }

    #[database_safe]
    #[fail_with_exception]
    async fn fails_with_the_exception(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("UPDATE account SET money = 99", ()).await?;
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[fail_value((0, vec![7], None))]
    #[fail_with_exception]
    async fn fails_with_both(
        &self,
        db: &mut WriteTransaction,
    ) -> Result<(i64, Vec<i64>, Option<Error>)> {
        db.execute("UPDATE account SET money = 99", ()).await?;
        Err(Error::other("on purpose"))
    }

    #[database_safe]
    #[required_argument(id, name)]
    async fn find(
        &self,
        _db: &mut ReadTransaction,
        id: Option<i64>,
        name: Option<&str>,
    ) -> Result<(bool, bool)> {
        Ok((id.is_some(), name.is_some()))
    }

    #[database_safe]
    async fn foreign_keys_of_a_read(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("PRAGMA foreign_keys", ()).await
    }

    #[database_safe]
    async fn foreign_keys_of_a_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.query_one("PRAGMA foreign_keys", ()).await
    }

    #[database_safe]
    async fn foreign_keys_of_a_connection(&self, db: &mut Connection) -> Result<i64> {
        db.query_one("PRAGMA foreign_keys", ()).await
    }

    #[database_safe]
    async fn pay_nobody(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO payment VALUES (404, 1)", ())
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn round_trip(
        &self,
        db: &mut ReadTransaction,
        text: &str,
        blob: &[u8],
    ) -> Result<(String, Vec<u8>)> {
        db.query_one("SELECT ?1, ?2", (text, blob)).await
    }
}

async fn bank() -> Arc<Bank> {
    <Bank as DbManager>::create(Config::in_memory())
        .await
        .unwrap()
}

#[test]
fn a_new_database_gets_its_directory_its_version_and_its_tables() {
    run(async {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        let store = Store::start_hooked(
            Config::new(&data).version(version("0.0.1")),
            Hooks::default(),
        );
        let mut status = store.watch_status();
        assert!(*status.borrow_and_update() <= Status::Running);
        within(status.wait_for(|status| *status == Status::Running))
            .await
            .unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        assert_eq!(store.path(), Some(data.join("database.db").as_path()));
        store.close().await.unwrap();
        assert_eq!(names(&data), ["database.db"]);

        let db = rusqlite::Connection::open(data.join("database.db")).unwrap();
        let strict: bool = db
            .query_row(
                "SELECT strict FROM pragma_table_list('Version')",
                (),
                |row| row.get(0),
            )
            .unwrap();
        assert!(strict);
        let mut columns = db
            .prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info('Version')")
            .unwrap();
        let columns: Vec<(String, String, bool, i64)> = columns
            .query_map((), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let column = |name: &str, place| (name.to_owned(), "INTEGER".to_owned(), true, place);
        assert_eq!(
            columns,
            [column("major", 1), column("minor", 2), column("patch", 3)]
        );
        let rows = db.query_row(
            "SELECT count(*), major, minor, patch FROM Version",
            (),
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            },
        );
        assert_eq!(rows.unwrap(), (1, 0, 0, 1));
    });
}

#[test]
fn reopened_at_the_same_version_no_hook_is_called() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.2.3").await.unwrap();
        let store = Store::open(directory.path(), "1.2.3").await.unwrap();
        assert_eq!(store.calls(), [""; 0]);
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
    });
}

#[test]
fn reopened_with_a_newer_target_it_migrates_exactly_once_and_stores_the_target() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.2.3").await.unwrap();
        for calls in [vec!["migrate_db(1.2.3, 1.3.0)"], vec![]] {
            let store = Store::open(directory.path(), "1.3.0").await.unwrap();
            assert_eq!(store.calls(), calls);
            assert_eq!(store.get_version().await.unwrap(), version("1.3.0"));
            assert_eq!(store.ids().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn versions_are_ordered_as_numbers() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "0.9.0").await.unwrap();
        let store = Store::open(directory.path(), "0.10.0").await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(0.9.0, 0.10.0)"]);
        store.close().await.unwrap();
        let error = Store::open(directory.path(), "0.9.0").await.unwrap_err();
        assert!(matches!(error, Error::TooNew { .. }), "{error:?}");
    });
}

#[test]
fn migrate_db_returning_false_fails_all_or_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.2.3").await.unwrap();
        let before = bytes(directory.path());
        let hooks = Hooks {
            migrate: Some(|_, db| {
                Box::pin(async { db.execute("DELETE FROM note", ()).await.map(|_| false) })
            }),
            ..Hooks::default()
        };
        let store = Store::start_hooked(
            Config::new(directory.path())
                .keep_backups(0)
                .version(version("2.0.0")),
            hooks,
        );
        let error = store.ensure_ready().await.unwrap_err();
        assert_eq!(store.status(), Status::Failed);
        assert!(matches!(error, Error::MigrationRefused { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .to_lowercase()
                .contains("failed to migrate"),
            "{error}"
        );
        assert!(error.to_string().contains("2.0.0"), "{error}");

        let store = Store::open(directory.path(), "1.2.3").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            before.into_keys().collect::<Vec<_>>()
        );
    });
}

#[test]
fn calls_made_before_it_is_ready_wait_and_then_all_run() {
    run(async {
        let store = Store::start_hooked(Config::in_memory(), Hooks::default());
        let calls: Vec<_> = (0..50)
            .map(|id| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.add(id, "early").await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(store.ids().await.unwrap(), (0..50).collect::<Vec<_>>());
        store.close().await.unwrap();
    });
}

#[test]
fn calls_queued_before_close_finish_and_newer_ones_fail() {
    run(async {
        let bank = bank().await;
        let holder = tokio::spawn({
            let bank = Arc::clone(&bank);
            async move { bank.hold().await }
        });
        bank.opened.notified().await;
        let mut queued = Box::pin(bank.append(1));
        assert!(waits(&mut queued).await);
        let mut closing = Box::pin(bank.close());
        assert!(waits(&mut closing).await);
        assert_eq!(bank.status(), Status::Stopping);
        assert!(matches!(
            bank.append(2).await,
            Err(Error::Closed { method: "append" })
        ));
        bank.go_on.notify_one();
        holder.await.unwrap().unwrap();
        within(queued).await.unwrap();
        within(closing).await.unwrap();
        assert_eq!(bank.status(), Status::Stopped);
        assert!(matches!(bank.append(3).await, Err(Error::Closed { .. })));
        assert!(matches!(bank.money().await, Err(Error::Closed { .. })));
    });
}

#[test]
fn writers_are_served_in_the_order_in_which_they_came() {
    run(async {
        let bank = bank().await;
        let holder = tokio::spawn({
            let bank = Arc::clone(&bank);
            async move { bank.hold().await }
        });
        bank.opened.notified().await;
        let mut tasks = tokio::task::JoinSet::new();
        for amount in 0..100 {
            let bank = Arc::clone(&bank);
            let (queued, is_queued) = oneshot::channel();
            tasks.spawn(async move {
                let mut call = Box::pin(bank.append(amount));
                assert!(waits(&mut call).await);
                queued.send(()).unwrap();
                call.await
            });
            is_queued.await.unwrap();
        }
        bank.go_on.notify_one();
        holder.await.unwrap().unwrap();
        while let Some(result) = tasks.join_next().await {
            result.unwrap().unwrap();
        }
        assert_eq!(bank.payments().await.unwrap(), (0..100).collect::<Vec<_>>());
        bank.close().await.unwrap();
    });
}

#[test]
fn no_update_is_lost() {
    run(async {
        let bank = bank().await;
        let calls: Vec<_> = (0..200)
            .map(|_| {
                let bank = Arc::clone(&bank);
                tokio::spawn(async move { bank.deposit(1).await })
            })
            .collect();
        let mut seen = BTreeSet::new();
        for call in calls {
            seen.insert(call.await.unwrap().unwrap());
        }
        assert_eq!(seen, (1..=200).collect());
        assert_eq!(bank.money().await.unwrap(), 200);
        bank.close().await.unwrap();
    });
}

#[test]
fn a_body_that_fails_is_rolled_back_and_the_caller_gets_the_fail_value_or_the_exception() {
    run(async {
        let bank = bank().await;
        assert_eq!(bank.fails_with_a_value().await, -1);
        assert_eq!(
            bank.fails_with_the_exception()
                .await
                .unwrap_err()
                .to_string(),
            "on purpose"
        );
        let (first, second, exception) = bank.fails_with_both().await;
        assert_eq!((first, second), (0, vec![7]));
        assert_eq!(exception.unwrap().to_string(), "on purpose");
        assert_eq!(bank.money().await.unwrap(), 0, "rolled back");
        bank.close().await.unwrap();
        assert_eq!(
            bank.fails_with_a_value().await,
            -1,
            "a closed manager is a failure too"
        );
        let (.., exception) = bank.fails_with_both().await;
        assert!(matches!(exception, Some(Error::Closed { .. })));
    });
}

#[test]
fn a_missing_required_argument_is_told_before_lock_and_status_are_looked_at() {
    run(async {
        let bank = bank().await;
        assert_eq!(bank.find(None, Some("x")).await.unwrap(), (false, true));
        bank.close().await.unwrap();
        let error = bank.find(None, None).await.unwrap_err();
        assert!(matches!(&error, Error::MissingArgument { .. }), "{error:?}");
        assert!(error.to_string().contains("id, name"), "{error}");
        assert!(matches!(
            bank.find(Some(1), None).await,
            Err(Error::Closed { .. })
        ));
    });
}

#[test]
fn foreign_keys_are_on_for_every_connection() {
    run(async {
        let bank = bank().await;
        assert_eq!(bank.foreign_keys_of_a_read().await.unwrap(), 1);
        assert_eq!(bank.foreign_keys_of_a_write().await.unwrap(), 1);
        assert_eq!(bank.foreign_keys_of_a_connection().await.unwrap(), 1);
        assert_eq!(bank.foreign_keys_of_a_write().await.unwrap(), 1);
        assert_eq!(
            bank.pay_nobody().await.unwrap_err().sqlite_code(),
            Some(787)
        );
        bank.close().await.unwrap();
    });
}

#[test]
fn foreign_keys_are_on_in_init_db() {
    run(async {
        let hooks = Hooks {
            init: Some(|_, db| {
                Box::pin(async {
                    db.execute_batch("CREATE TABLE child (note INTEGER REFERENCES note); INSERT INTO child VALUES (9)").await
                })
            }),
            ..Hooks::default()
        };
        let error = Store::create_hooked(Config::in_memory(), hooks)
            .await
            .unwrap_err();
        assert_eq!(error.sqlite_code(), Some(787), "{error}");
    });
}

#[test]
fn the_busy_timeout_is_five_seconds() {
    assert!(format!("{:?}", Config::new("x")).contains("busy_timeout: 5s"));
}

#[test]
fn bound_values_come_back_as_they_were() {
    run(async {
        let bank = bank().await;
        let large = "x\0ü🦀'\"".repeat(100_000);
        for text in ["", "ünï 🦀", "a\0b", "'; DROP TABLE account;--", &large] {
            let (back, blob) = bank.round_trip(text, text.as_bytes()).await.unwrap();
            assert!(back == text && blob == text.as_bytes());
        }
        bank.close().await.unwrap();
    });
}

#[test]
fn a_hot_wal_of_a_killed_writer_is_recovered() {
    run(async {
        let (directory, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        Store::make(directory.path(), "1.2.3").await.unwrap();
        let writer = rusqlite::Connection::open(directory.path().join("database.db")).unwrap();
        writer
            .execute_batch(
                "PRAGMA wal_autocheckpoint = 0; INSERT INTO note VALUES (2, 'only in the log')",
            )
            .unwrap();
        for name in ["database.db", "database.db-wal"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let store = Store::open(copy.path(), "1.2.3").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
        assert_eq!(names(copy.path()), ["database.db"]);
    });
}

#[test]
fn the_struct_has_a_version_that_is_used_when_none_is_given() {
    run(async {
        assert_eq!(Bank::VERSION, version("2.3.4"));
        let bank = bank().await;
        assert_eq!(bank.get_version().await.unwrap(), version("2.3.4"));
        bank.close().await.unwrap();
    });
}

#[test]
fn a_backup_is_made_before_a_migration() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.2.3").await.unwrap();
        let hooks = Hooks {
            migrate: Some(|_, db| {
                Box::pin(async { db.execute("DELETE FROM note", ()).await.map(|_| true) })
            }),
            ..Hooks::default()
        };
        let config = Config::new(directory.path()).version(version("2.0.0"));
        let store = Store::create_hooked(config, hooks).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [0; 0]);
        store.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["database.db", "database.db.1.2.3.backup"]
        );

        let backup = Config::new(directory.path())
            .db_name("database.db.1.2.3.backup")
            .version(version("1.2.3"));
        let store = Store::create_hooked(backup, Hooks::default())
            .await
            .unwrap();
        assert_eq!(store.calls(), [""; 0]);
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_read_only_file_can_be_read_and_not_written() {
    run(async {
        let directory = TempDir::new().unwrap();
        Store::make(directory.path(), "1.2.3").await.unwrap();
        let file = directory.path().join("database.db");
        let Some(_read_only) = ReadOnly::make(&file) else {
            return skip(
                "a_read_only_file_can_be_read_and_not_written",
                "root writes to any file here",
            );
        };
        let before = fs::read(&file).unwrap();
        let store = Store::open(directory.path(), "1.2.3").await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        let error = store.add(2, "two").await.unwrap_err();
        assert_eq!(
            error.sqlite_code().map(|code| code & 0xff),
            Some(8),
            "{error:?}"
        );
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();

        let store = Store::start_hooked(
            Config::new(directory.path()).version(version("2.0.0")),
            Hooks::default(),
        );
        store.ensure_ready().await.unwrap_err();
        assert_eq!(store.status(), Status::Failed);
        assert!(fs::read(&file).unwrap() == before, "the file was changed");
    });
}

#[test]
fn a_closed_error_behind_a_fail_value_is_logged() {
    run(async {
        let _ = logged();
        let bank = bank().await;
        bank.close().await.unwrap();
        assert_eq!(bank.is_logged().await, -1);
        let log = logged();
        let line = log
            .lines()
            .find(|line| line.contains("ERROR") && line.contains("is_logged"))
            .unwrap();
        assert!(line.contains("closed"), "{line}");
    });
}
