//! Nobody is told before the COMMIT, and everybody is told when it fails.

use std::path::Path;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{run, within};

use super::{ADD, Call, EXECUTIONS, Store, config, everywhere, next_item, together};

/// How many commits the log of a database holds: each ends with a page that has the size of the file in its header,
/// <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
fn commits_in_log(database: &Path) -> usize {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let log = std::fs::read(log).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, number(16));
    let frames = (32..log.len()).step_by(24 + page);
    frames
        .take_while(|at| number(at + 8) == salt)
        .filter(|at| number(at + 4) != 0)
        .count()
}

#[test]
fn waiting_writers_share_one_commit() {
    run(everywhere("", async |store| {
        let database = store.path().unwrap();
        let mut least = usize::MAX;
        // A transaction waits for nobody for long: on a slow machine they may take several.
        for _ in 0..5 {
            let before = commits_in_log(database);
            let items: Vec<_> = (0..20).map(|_| next_item()).collect();
            let calls = items
                .iter()
                .map(|item| Box::pin(store.add(*item)) as Call<'_>)
                .collect();
            for result in together(&store, calls).await {
                result.unwrap();
            }
            for item in items {
                assert_eq!(store.halves(item).await.unwrap(), 2);
            }
            least = least.min(commits_in_log(database) - before);
        }
        assert!((1..10).contains(&least), "{least} commits for 20 calls");
    }));
}

/// Another process looks for the row as soon as its writer was told.
#[test]
fn nobody_is_told_before_the_commit() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::new(config(directory.path(), execution)).await;
            let tasks = (0..32).map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let path = store.path().unwrap();
                    let other = rusqlite::Connection::open(path).unwrap();
                    let sql = "SELECT count(*) FROM half WHERE item = ?1";
                    for _ in 0..40 {
                        let item = next_item();
                        store.add(item).await.unwrap();
                        let there: i64 = other.query_row(sql, (item,), |row| row.get(0)).unwrap();
                        assert_eq!(there, 2, "told before the commit");
                        assert_eq!(
                            store.halves(item).await.unwrap(),
                            2,
                            "a read does not see a write told before"
                        );
                    }
                })
            });
            let tasks: Vec<_> = tasks.collect();
            for task in tasks {
                task.await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

/// Puts the device that is always full in the place of the log; not everybody may.
fn make_full(log: &Path) -> bool {
    let made = std::process::Command::new("mknod")
        .arg(log)
        .args(["c", "1", "7"])
        .output();
    made.is_ok_and(|made| made.status.success()) && std::fs::write(log, "x").is_err()
}

#[test]
fn a_commit_that_fails_on_a_full_disk_gives_every_companion_its_error() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), execution);
            let store = Store::new(config.clone()).await;
            let _ = store.fail_with_own_error(next_item()).await;
            let before = store.all_halves().await.unwrap();
            let log = store.path().unwrap().with_file_name("database.db-wal");
            store.close().await.unwrap();
            if !make_full(&log) {
                return eprintln!("skipped: no device that is always full can be made here");
            }
            let store = Store::create_with(config.clone(), |core| Store { core, extra: "" })
                .await
                .unwrap();
            let mut calls: Vec<_> = (0..10)
                .map(|_| Box::pin(store.add(next_item())) as Call<'_>)
                .collect();
            calls.push(Box::pin(store.fail_with_own_error(next_item())));
            let mut results = together(&store, calls).await;
            let own = results.pop().unwrap().unwrap_err();
            assert_eq!(
                own.to_string(),
                "its own",
                "a held-back Err keeps its value"
            );
            for result in results {
                let error = result.unwrap_err();
                assert_eq!(
                    error.sqlite_code(),
                    Some(rusqlite::ffi::SQLITE_FULL),
                    "{error}"
                );
            }
            within(store.close()).await.unwrap();
            let _ = std::fs::remove_file(&log);
            let store = Store::create_with(config, |core| Store { core, extra: "" })
                .await
                .unwrap();
            assert_eq!(store.all_halves().await.unwrap(), before);
            within(store.add(next_item())).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn fail_with_own_error(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        Err(Error::other("its own"))
    }
}

/// The file is gone before the commit: nobody may be told Ok.
// Windows lets nobody remove a file that is open.
#[cfg(unix)]
#[test]
fn a_commit_to_a_file_that_was_removed_tells_every_companion() {
    use super::queue_up;
    use futures_util::future::join_all;

    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::new(config(directory.path(), execution)).await;
            let mut calls: Vec<Call<'_>> = (0..5)
                .map(|_| Box::pin(store.add(next_item())) as Call<'_>)
                .collect();
            let holder = queue_up(&store, &mut calls).await;
            std::fs::remove_file(store.path().unwrap()).unwrap();
            holder.release.notify_one();
            assert!(matches!(
                within(holder.call).await,
                Err(Error::FileReplaced { .. })
            ));
            for result in within(join_all(calls)).await {
                assert!(
                    matches!(result, Err(Error::FileReplaced { .. })),
                    "{result:?}"
                );
            }
            within(store.close()).await.unwrap();
        }
    });
}
