//! Several processes with one file.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{Child, Hooks, Store, names, run, waits, watch, within};
#[cfg(not(windows))]
use dbm_tests::{eventually, open_files};
use tempfile::TempDir;
use tokio::time::timeout;

fn child() -> Child {
    Child::start(env!("CARGO_BIN_EXE_child"))
}

/// Starts six managers of this version at once, each in a process of its own; the hooks that were called in all.
fn start_all(children: &mut [Child], directory: &Path, version: &str) -> Vec<String> {
    for child in &mut *children {
        child.tell(&format!("start {} {version}", directory.display()));
    }
    let answers: Vec<_> = children.iter_mut().map(Child::answer).collect();
    let calls = answers.iter().map(|answer| {
        answer
            .strip_prefix("running ")
            .unwrap_or_else(|| panic!("{answers:#?}"))
    });
    calls
        .filter(|calls| *calls != "[]")
        .map(str::to_owned)
        .collect()
}

/// One after the other: of two that close in the same instant SQLite takes neither for the last one.
fn close_all(children: &mut [Child]) {
    for child in children {
        assert_eq!(child.ask("close"), "stopped");
    }
}

#[test]
fn six_processes_that_start_at_once_make_and_migrate_a_database_exactly_once() {
    watch(|| {
        let mut children: Vec<_> = (0..6).map(|_| child()).collect();
        for round in 0..50 {
            let directory = TempDir::new().unwrap();
            let path = directory.path();
            assert_eq!(
                start_all(&mut children, path, "1.0.0"),
                ["[\"init_db\"]"],
                "round {round}"
            );
            close_all(&mut children);
            let migrated = start_all(&mut children, path, "1.1.0");
            assert_eq!(
                migrated,
                ["[\"migrate_db(1.0.0, 1.1.0)\"]"],
                "round {round}"
            );
            close_all(&mut children);
            assert_eq!(
                names(path),
                ["database.db", "database.db.1.0.0.backup"],
                "round {round}"
            );
        }
    });
}

#[test]
fn a_process_with_an_older_program_is_refused_by_a_file_that_a_newer_one_has_open() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let [mut older, mut newer] = [child(), child()];
        let path = directory.path().display();
        assert_eq!(
            newer.ask(&format!("start {path} 2.0.0")),
            "running [\"init_db\"]"
        );
        assert!(
            older
                .ask(&format!("start {path} 1.0.0"))
                .starts_with("TooNew")
        );
        assert_eq!(newer.ask("add 1 1"), "added");
        assert_eq!(newer.ask("close"), "stopped");
    });
}

#[test]
fn processes_see_what_others_have_written_and_the_last_one_tidies_up() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let [mut one, mut other] = [child(), child()];
        let start = format!("start {} 1.0.0", directory.path().display());
        one.ask(&start);
        other.ask(&start);
        for id in 0..20 {
            let (writer, reader) = if id % 2 == 0 {
                (&mut one, &mut other)
            } else {
                (&mut other, &mut one)
            };
            assert_eq!(writer.ask(&format!("add {id} 10")), "added");
            assert_eq!(
                reader.ask("ids"),
                format!("{:?}", (0..=id).collect::<Vec<_>>())
            );
        }
        assert_eq!(one.ask("close"), "stopped");
        assert_eq!(other.ask("add 20 10"), "added");
        assert_eq!(other.ask("close"), "stopped");
        assert_eq!(names(directory.path()), ["database.db"]);
    });
}

#[test]
fn a_killed_process_leaves_its_acknowledged_writes_and_no_obstacle() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        for round in 0..10 {
            let mut child = child();
            let answer = child.ask(&format!("start {} 1.0.0", directory.path().display()));
            assert!(answer.starts_with("running"), "{answer}");
            assert_eq!(
                child.ask("ids"),
                format!("{:?}", (0..round).collect::<Vec<_>>())
            );
            assert_eq!(child.ask(&format!("add {round} 5000")), "added");
            child.kill();
        }
    });
}

/// A manager, and another process that holds the write lock of its file.
async fn with_locker(busy_timeout: Duration) -> (TempDir, Arc<Store>, Child) {
    let directory = TempDir::new().unwrap();
    let config = Config::new(directory.path()).busy_timeout(busy_timeout);
    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    let mut child = child();
    assert_eq!(
        child.ask(&format!(
            "lock {}",
            directory.path().join("database.db").display()
        )),
        "locked"
    );
    (directory, store, child)
}

#[test]
fn a_write_waits_for_another_process_that_has_the_lock() {
    run(async {
        let (_directory, store, mut child) = with_locker(Duration::from_secs(30)).await;
        let mut add = Box::pin(store.add(1, "x"));
        assert!(
            timeout(Duration::from_secs(1), &mut add).await.is_err(),
            "still waiting"
        );
        assert_eq!(store.ids().await.unwrap(), [0; 0], "reads go on");
        assert_eq!(child.ask("unlock"), "unlocked");
        within(add).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_write_gives_up_after_the_busy_timeout() {
    run(async {
        let (_directory, store, mut child) = with_locker(Duration::from_millis(100)).await;
        let error = within(store.add(1, "x")).await.unwrap_err();
        let Error::Busy { waited, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(*waited >= Duration::from_millis(100));
        assert!(error.is_retryable());
        assert_eq!(error.sqlite_code(), Some(5));
        assert_eq!(child.ask("unlock"), "unlocked");
        within(store.add(1, "x")).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_write_that_waits_for_another_process_can_be_cancelled() {
    run(async {
        let (_directory, store, mut child) = with_locker(Duration::from_secs(30)).await;
        let mut add = Box::pin(store.add(1, "x"));
        assert!(timeout(Duration::from_millis(50), &mut add).await.is_err());
        drop(add);
        let mut next = Box::pin(store.add(2, "x"));
        assert!(waits(&mut next).await);
        assert_eq!(child.ask("unlock"), "unlocked");
        within(next).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [2]);
        store.close().await.unwrap();
    });
}

#[test]
fn close_within_ends_a_write_that_waits_for_another_process() {
    run(async {
        let (_directory, store, _child) = with_locker(Duration::from_secs(600)).await;
        let adding = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.add(1, "x").await }
        });
        within(store.close_within(Duration::from_millis(100)))
            .await
            .unwrap();
        assert_eq!(store.status(), Status::Stopped);
        let error = within(adding).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Closed { method: "add" }),
            "{error:?}"
        );
    });
}

#[test]
fn close_ends_while_another_process_has_the_lock() {
    run(async {
        let (directory, store, mut child) = with_locker(Duration::from_millis(100)).await;
        within(store.close()).await.unwrap();
        assert_eq!(store.status(), Status::Stopped);
        assert_eq!(child.ask("unlock"), "unlocked");
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        store.add(1, "x").await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_start_needs_the_lock_only_to_write() {
    run(async {
        let (directory, store, mut child) = with_locker(Duration::from_millis(100)).await;
        store.close().await.unwrap();
        let store = within(Store::open(directory.path(), "1.0.0"))
            .await
            .unwrap();
        assert_eq!(store.ids().await.unwrap(), [0; 0]);
        store.close().await.unwrap();

        let newer = Config::new(directory.path())
            .version(Version::new(2, 0, 0))
            .busy_timeout(Duration::from_millis(100));
        let store = Store::start_hooked(newer.clone(), Hooks::default());
        let error = within(store.ensure_ready()).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error:?}");
        assert_eq!((store.status(), store.calls()), (Status::Failed, vec![]));

        let store = Store::start_hooked(
            newer.busy_timeout(Duration::from_secs(30)),
            Hooks::default(),
        );
        let mut ready = Box::pin(store.ensure_ready());
        assert!(
            timeout(Duration::from_millis(100), &mut ready)
                .await
                .is_err(),
            "waits for the lock"
        );
        assert_eq!(child.ask("unlock"), "unlocked");
        within(ready).await.unwrap();
        assert_eq!(store.calls(), ["migrate_db(1.0.0, 2.0.0)"]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_start_on_a_new_file_waits_for_another_process_that_has_the_lock() {
    run(async {
        let directory = TempDir::new().unwrap();
        let mut child = child();
        assert_eq!(
            child.ask(&format!(
                "lock {}",
                directory.path().join("database.db").display()
            )),
            "locked"
        );
        let config = Config::new(directory.path());
        let store = Store::start_hooked(
            config.clone().busy_timeout(Duration::from_millis(100)),
            Hooks::default(),
        );
        let error = within(store.ensure_ready()).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error:?}");

        let store = Store::start_hooked(
            config.busy_timeout(Duration::from_secs(30)),
            Hooks::default(),
        );
        let mut ready = Box::pin(store.ensure_ready());
        assert!(
            timeout(Duration::from_millis(100), &mut ready)
                .await
                .is_err(),
            "waits for the lock"
        );
        assert_eq!(child.ask("unlock"), "unlocked");
        within(ready).await.unwrap();
        assert_eq!(store.calls(), ["init_db"]);
        store.close().await.unwrap();
    });
}

#[test]
fn close_within_ends_a_start_that_waits_for_another_process() {
    run(async {
        for is_new in [false, true] {
            let directory = TempDir::new().unwrap();
            if !is_new {
                Store::make(directory.path(), "1.0.0").await.unwrap();
            }
            let mut child = child();
            let file = directory.path().join("database.db");
            assert_eq!(child.ask(&format!("lock {}", file.display())), "locked");
            let config = Config::new(directory.path())
                .version(Version::new(2, 0, 0))
                .busy_timeout(Duration::from_secs(600));
            let store = Store::start_hooked(config, Hooks::default());
            let mut ready = Box::pin(store.ensure_ready());
            assert!(
                timeout(Duration::from_millis(100), &mut ready)
                    .await
                    .is_err()
            );
            within(store.close_within(Duration::ZERO)).await.unwrap();
            assert!(within(ready).await.is_err(), "is new: {is_new}");
            // On Windows the child's would count, too.
            #[cfg(not(windows))]
            eventually(|| open_files(directory.path()).is_empty()).await;
            assert_eq!(child.ask("unlock"), "unlocked");
            let store = Store::open(directory.path(), "2.0.0").await.unwrap();
            store.close().await.unwrap();
        }
    });
}
