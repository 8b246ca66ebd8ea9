//! A backup while the database is in use is one state that was committed, or there is none.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite::{self, Connection as Sqlite};
#[cfg(unix)]
use dbm_tests::Child;
use dbm_tests::{eventually, names, open_files, run, waits, within};
use tempfile::TempDir;

const ACCOUNTS: i64 = 2_000;
const WRITERS: i64 = 64;

/// Accounts between which money is moved, and a counter of the moves.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Bank {
    core: ManagerCore,
}

impl Schema for Bank {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, filler BLOB NOT NULL) STRICT;
             CREATE TABLE moved (times INTEGER NOT NULL) STRICT;
             INSERT INTO moved VALUES (0);",
        )
        .await?;
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?1)
            INSERT INTO account SELECT x, 100, zeroblob(3000) FROM n";
        db.execute(sql, (ACCOUNTS,)).await?;
        Ok(())
    }
}

impl Bank {
    #[database_safe]
    async fn shift(&self, db: &mut WriteTransaction, from: i64, to: i64) -> Result<()> {
        let add =
            "UPDATE account SET amount = amount + ?2, filler = randomblob(3000) WHERE id = ?1";
        db.execute(add, (from, -1)).await?;
        db.execute(add, (to, 1)).await?;
        db.execute("UPDATE moved SET times = times + 1", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn moved(&self, db: &mut ReadTransaction) -> Result<u64> {
        db.query_one("SELECT times FROM moved", ()).await
    }

    #[database_safe]
    async fn rows(&self, db: &mut ReadTransaction) -> Result<Vec<(i64, i64, Vec<u8>)>> {
        db.query("SELECT id, amount, filler FROM account ORDER BY id", ())
            .await
    }
}

async fn bank(directory: &Path) -> Arc<Bank> {
    Bank::create(Config::new(directory)).await.unwrap()
}

/// Looks at a copy with nothing but SQLite: it is sound, has its side files nowhere, and the sum is as ever.
fn moves_in(copy: &Path) -> u64 {
    let db = Sqlite::open_with_flags(copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let word = |sql: &str| {
        db.query_row(sql, (), |row| row.get::<_, String>(0))
            .unwrap()
    };
    let number = |sql: &str| db.query_row(sql, (), |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(word("PRAGMA integrity_check"), "ok");
    assert_eq!(word("PRAGMA journal_mode"), "delete");
    let sum = number("SELECT sum(amount) FROM account");
    assert_eq!(sum, 100 * ACCOUNTS.unsigned_abs(), "half of a move");
    number("SELECT times FROM moved")
}

/// Many writers, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Load {
    fn start(bank: &Arc<Bank>) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..WRITERS).map(|writer| {
            let (bank, stop, acknowledged) = (
                Arc::clone(bank),
                Arc::clone(&stop),
                Arc::clone(&acknowledged),
            );
            tokio::spawn(async move {
                for step in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let from = 1 + (writer * 31 + step * 7) % ACCOUNTS;
                    bank.shift(from, 1 + from % ACCOUNTS).await?;
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
            acknowledged,
        }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            within(task).await.unwrap().unwrap();
        }
    }
}

#[test]
fn a_backup_beside_64_writers_is_a_state_that_was_committed() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(&directory.path().join("data")).await;
        let load = Load::start(&bank);
        for (number, at_full_speed) in [(0, true), (1, false)] {
            let copy = directory.path().join(format!("copy-{number}"));
            let before = load.acknowledged();
            let (mut last, mut told) = ((0, 1), 0);
            let mut order = bank.back_up(&copy).progress(|done, total| {
                assert!(done >= last.0 && done <= total, "it starts over");
                last = (done, total);
                told += 1;
            });
            if at_full_speed {
                order = order.at_full_speed();
            }
            within(async { order.await }).await.unwrap();
            assert!(told > 0 && last.0 == last.1, "{last:?}, told {told} times");
            let moves = moves_in(&copy);
            assert!(moves >= before, "what was acknowledged before is in it");
            let bound = load.acknowledged() + WRITERS.unsigned_abs();
            assert!(moves <= bound, "nothing is in it that was never called for");
        }
        load.end().await;
        let last = directory.path().join("last");
        within(async { bank.back_up(&last).await }).await.unwrap();
        assert_eq!(moves_in(&last), bank.moved().await.unwrap());
        let expected = bank.rows().await.unwrap();
        bank.close().await.unwrap();
        assert_eq!(
            names(directory.path()),
            ["copy-0", "copy-1", "data", "last"]
        );
        // The same, row by row.
        let config = Config::new(directory.path()).db_name("last");
        let copy = Bank::create(config).await.unwrap();
        assert!(copy.rows().await.unwrap() == expected);
        copy.close().await.unwrap();
    });
}

#[test]
fn a_target_that_exists_is_refused_untouched() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(directory.path()).await;
        let target = directory.path().join("copy");
        fs::write(&target, "something else").unwrap();
        let error = bank.back_up(&target).await.unwrap_err();
        assert!(
            matches!(&error, Error::TargetExists { path } if **path == *target),
            "{error}"
        );
        assert_eq!(fs::read(&target).unwrap(), b"something else");
        // A link that leads nowhere is a name, too.
        #[cfg(unix)]
        {
            let link = directory.path().join("link");
            std::os::unix::fs::symlink("nowhere", &link).unwrap();
            let error = bank.back_up(&link).await.unwrap_err();
            assert!(matches!(error, Error::TargetExists { .. }), "{error}");
            fs::remove_file(link).unwrap();
        }
        bank.close().await.unwrap();
        assert_eq!(names(directory.path()), ["copy", "database.db"]);
    });
}

#[test]
fn a_backup_onto_the_database_itself_is_refused() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(directory.path()).await;
        let path = bank.path().unwrap().to_owned();
        let error = bank.back_up(&path).await.unwrap_err();
        assert!(matches!(error, Error::TargetExists { .. }), "{error}");
        bank.shift(1, 2).await.unwrap();
        assert_eq!(bank.moved().await.unwrap(), 1);
        bank.close().await.unwrap();
        assert_eq!(moves_in_wal_mode(&path), 1);
    });
}

fn moves_in_wal_mode(database: &Path) -> u64 {
    let db = Sqlite::open(database).unwrap();
    db.query_row("SELECT times FROM moved", (), |row| row.get(0))
        .unwrap()
}

#[test]
fn a_log_beside_the_target_is_refused() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(directory.path()).await;
        for ending in ["-wal", "-journal"] {
            let log = directory.path().join(format!("copy{ending}"));
            fs::write(&log, "of another file").unwrap();
            let error = bank
                .back_up(directory.path().join("copy"))
                .await
                .unwrap_err();
            assert!(
                matches!(&error, Error::LogBeside { log: found, .. } if **found == *log),
                "{error}"
            );
            fs::remove_file(log).unwrap();
        }
        bank.close().await.unwrap();
        assert_eq!(names(directory.path()), ["database.db"]);
    });
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(directory.path()).await;
        let error = bank
            .back_up(directory.path().join("no/copy"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        bank.close().await.unwrap();
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn a_backup_that_does_not_fit_is_an_error_and_leaves_nothing() {
    dbm_tests::watch(|| {
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        let blocks = "trap '' XFSZ; ulimit -f 600";
        let mut child = Child::start(env!("CARGO_BIN_EXE_child"));
        assert!(
            child
                .ask(&format!("start {} 1.0.0", data.display()))
                .starts_with("running")
        );
        for id in 0..40 {
            assert_eq!(child.ask(&format!("add {id} 20000")), "added");
        }
        assert_eq!(child.ask("close"), "stopped");
        drop(child);
        let mut child = Child::start_after(blocks, env!("CARGO_BIN_EXE_child"));
        assert!(
            child
                .ask(&format!("start {} 1.0.0", data.display()))
                .starts_with("running")
        );
        let answer = child.ask(&format!(
            "back-up {}",
            directory.path().join("copy").display()
        ));
        assert!(
            answer.starts_with("Sqlite") || answer.starts_with("Io"),
            "{answer}"
        );
        assert_eq!(child.ask("close"), "stopped");
        assert_eq!(names(directory.path()), ["data"]);
        assert_eq!(names(&data), ["database.db"]);
    });
}

// Where there is a file system in memory.
#[cfg(target_os = "linux")]
#[test]
fn a_backup_on_another_file_system_works() {
    run(async {
        let Ok(memory) = TempDir::new_in("/dev/shm") else {
            dbm_tests::skip("a backup on another file system", "there is no /dev/shm");
            return;
        };
        let directory = TempDir::new().unwrap();
        let bank = bank(directory.path()).await;
        bank.back_up(memory.path().join("copy")).await.unwrap();
        assert_eq!(names(memory.path()), ["copy"]);
        assert_eq!(moves_in(&memory.path().join("copy")), 0);
        bank.close().await.unwrap();
    });
}

#[cfg(unix)]
#[test]
fn a_backup_has_the_mode_of_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = Bank::create(Config::new(directory.path()).private_files(true))
            .await
            .unwrap();
        let copy = directory.path().join("copy");
        bank.back_up(&copy).await.unwrap();
        let mode = fs::metadata(copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        bank.close().await.unwrap();
    });
}

#[test]
fn what_a_crash_has_left_is_removed_and_what_another_one_writes_is_not() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(&directory.path().join("data")).await;
        let copy = directory.path().join("copy");
        fs::write(directory.path().join("copy.unfinished"), "torn").unwrap();
        bank.back_up(&copy).await.unwrap();
        assert_eq!(moves_in(&copy), 0);
        fs::remove_file(&copy).unwrap();
        let (one, other) = within(async {
            tokio::join!(
                bank.back_up(&copy).into_future(),
                bank.back_up(&copy).into_future()
            )
        })
        .await;
        let failures = [&one, &other]
            .into_iter()
            .filter(|result| result.is_err())
            .count();
        assert_eq!(failures, 1, "{one:?} {other:?}");
        assert_eq!(moves_in(&copy), 0);
        bank.close().await.unwrap();
        assert_eq!(names(directory.path()), ["copy", "data"]);
    });
}

#[test]
fn close_waits_for_a_backup() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(&directory.path().join("data")).await;
        let copy = directory.path().join("copy");
        let mut copying = Box::pin(bank.back_up(&copy).into_future());
        assert!(waits(&mut copying).await);
        let mut closing = Box::pin(bank.close());
        assert!(waits(&mut closing).await);
        within(copying).await.unwrap();
        within(closing).await.unwrap();
        assert_eq!(moves_in(&copy), 0);
        assert_eq!(names(&directory.path().join("data")), ["database.db"]);
    });
}

#[test]
fn close_within_ends_a_backup_and_nothing_is_left_of_it() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(&directory.path().join("data")).await;
        let mut copying = Box::pin(bank.back_up(directory.path().join("copy")).into_future());
        assert!(waits(&mut copying).await);
        within(bank.close_within(Duration::ZERO)).await.unwrap();
        let error = within(copying).await.unwrap_err();
        assert!(
            matches!(error, Error::Closed { method: "back_up" }),
            "{error}"
        );
        assert_eq!(names(directory.path()), ["data"]);
        assert_eq!(names(&directory.path().join("data")), ["database.db"]);
        let error = bank
            .back_up(directory.path().join("copy"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    });
}

#[test]
fn a_backup_that_is_dropped_leaves_nothing() {
    run(async {
        let directory = TempDir::new().unwrap();
        let bank = bank(&directory.path().join("data")).await;
        let mut copying = Box::pin(bank.back_up(directory.path().join("copy")).into_future());
        assert!(waits(&mut copying).await);
        drop(copying);
        eventually(|| names(directory.path()) == ["data"]).await;
        bank.close().await.unwrap();
        eventually(|| open_files(directory.path()).is_empty()).await;
    });
}

/// The snapshot is no read of the program's: the limit for those would end it while the log is large.
#[test]
fn max_read_age_does_not_end_a_backup() {
    run(async {
        let directory = TempDir::new().unwrap();
        let config =
            Config::new(directory.path().join("data")).max_read_age(Duration::from_millis(1));
        let bank = Bank::create(config).await.unwrap();
        let load = Load::start(&bank);
        let copy = directory.path().join("copy");
        within(async { bank.back_up(&copy).await }).await.unwrap();
        load.end().await;
        moves_in(&copy);
        bank.close().await.unwrap();
    });
}
