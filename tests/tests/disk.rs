//! What the disk and the system refuse is a typed error: nothing that was acknowledged is lost, nothing hangs, and
//! close still works.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
#[cfg(unix)]
use dbm_tests::{Child, names, open_files, watch};
use dbm_tests::{Hooks, ReadOnly, Store, bytes, run, skip, within};
use tempfile::TempDir;

/// A child whose files cannot grow beyond this many blocks of 512 or 1024 bytes; it is told by an error, not by a
/// signal.
#[cfg(unix)]
fn child_with_small_disk(blocks: usize) -> Child {
    Child::start_after(
        &format!("trap '' XFSZ; ulimit -f {blocks}"),
        env!("CARGO_BIN_EXE_child"),
    )
}

#[cfg(unix)]
fn open_in(child: &mut Child, directory: &Path, version: &str) -> String {
    child.ask(&format!("start {} {version}", directory.display()))
}

/// The notes in a closed file, which must be sound.
fn ids(directory: &Path) -> BTreeSet<i64> {
    let db = rusqlite::Connection::open(directory.join("database.db")).unwrap();
    let verdict: String = db
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let mut statement = db.prepare("SELECT id FROM note").unwrap();
    let ids = statement.query_map((), |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let mut child = child_with_small_disk(600);
        assert!(open_in(&mut child, directory.path(), "1.0.0").starts_with("running"));
        let (mut acknowledged, mut unknown, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
        for id in 0..200 {
            let answer = child.ask(&format!("add {id} 20000"));
            match answer.as_str() {
                "added" => {
                    acknowledged.insert(id);
                }
                _ => {
                    if answer.starts_with("CommitUnknown") {
                        unknown.insert(id);
                    }
                    assert!(answer.contains("(SQLite "), "SQLite is the cause: {answer}");
                    refused += 1;
                }
            }
            assert_eq!(child.ask("status"), "running");
        }
        assert!(acknowledged.len() >= 3 && refused > 0, "{acknowledged:?}");
        assert_eq!(
            child.ask("ids"),
            format!("{:?}", acknowledged.iter().collect::<Vec<_>>())
        );
        assert_eq!(child.ask("close"), "stopped");

        let found = ids(directory.path());
        assert!(
            found.is_superset(&acknowledged),
            "lost {:?}",
            acknowledged.difference(&found)
        );
        let possible: BTreeSet<_> = acknowledged.union(&unknown).copied().collect();
        assert!(
            found.is_subset(&possible),
            "never acknowledged {:?}",
            found.difference(&possible)
        );

        assert!(
            open_in(&mut child, directory.path(), "1.0.0").starts_with("running"),
            "the next start works"
        );
        assert_eq!(child.ask("close"), "stopped");
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn a_full_disk_at_the_first_start_leaves_nothing_in_the_way() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        for blocks in [0, 4, 8, 16, 24, 32, 40] {
            let mut child = child_with_small_disk(blocks);
            let answer = open_in(&mut child, directory.path(), "1.0.0");
            if answer.starts_with("running") {
                assert!(blocks > 0);
                return;
            }
            assert!(answer.contains("(SQLite "), "{blocks}: {answer}");
        }
        let mut child = Child::start(env!("CARGO_BIN_EXE_child"));
        assert_eq!(
            open_in(&mut child, directory.path(), "1.0.0"),
            "running [\"init_db\"]"
        );
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn a_backup_that_does_not_fit_stops_the_migration() {
    run(async {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path(), "1.0.0").await.unwrap();
        for id in 0..20 {
            store.add(id, &"x".repeat(50_000)).await.unwrap();
        }
        store.close().await.unwrap();
        let before = bytes(directory.path());
        let mut child = child_with_small_disk(600);
        let answer = open_in(&mut child, directory.path(), "2.0.0");
        assert!(
            answer.contains("(SQLite ") || answer.starts_with("Io"),
            "{answer}"
        );
        assert_eq!(
            bytes(directory.path()),
            before,
            "no half of a backup is left"
        );
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn out_of_descriptors_is_an_error_and_passes() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        let mut child = Child::start_after("ulimit -n 64", env!("CARGO_BIN_EXE_child"));
        assert_eq!(open_in(&mut child, &one, "1.0.0"), "running [\"init_db\"]");
        assert_eq!(child.ask("add 1 10"), "added");
        assert_eq!(child.ask("use-up-descriptors"), "none left");

        let answer = open_in(&mut child, &other, "1.0.0");
        assert!(
            answer.starts_with("Io") || answer.starts_with("Sqlite"),
            "{answer}"
        );
        let added = child.ask("add 2 10") == "added";
        assert_eq!(child.ask("status"), "running");

        assert_eq!(child.ask("free-descriptors"), "free");
        assert_eq!(child.ask("add 3 10"), "added");
        let expected = if added { "[1, 2, 3]" } else { "[1, 3]" };
        assert_eq!(child.ask("ids"), expected);
        assert_eq!(child.ask("close"), "stopped");
        assert_eq!(
            open_in(&mut child, &other, "1.0.0"),
            "running [\"init_db\"]"
        );
    });
}

// A limit that a shell sets; Windows has none.
#[cfg(unix)]
#[test]
fn close_works_without_descriptors() {
    watch(|| {
        let directory = TempDir::new().unwrap();
        let mut child = Child::start_after("ulimit -n 64", env!("CARGO_BIN_EXE_child"));
        assert_eq!(
            open_in(&mut child, directory.path(), "1.0.0"),
            "running [\"init_db\"]"
        );
        assert_eq!(child.ask("add 1 10"), "added");
        assert_eq!(child.ask("use-up-descriptors"), "none left");
        assert_eq!(child.ask("close"), "stopped");
        drop(child);
        assert_eq!(ids(directory.path()), [1].into());
    });
}

/// A running manager with note 1, and another one that nothing happens to.
async fn two_running(directory: &Path) -> (Arc<Store>, Arc<Store>) {
    Store::make(&directory.join("data"), "1.0.0").await.unwrap();
    let config = Config::new(directory.join("data")).busy_timeout(Duration::from_millis(100));
    let store = Store::create_hooked(config, Hooks::default())
        .await
        .unwrap();
    let other = Store::open(&directory.join("other"), "1.0.0")
        .await
        .unwrap();
    (store, other)
}

/// Writes are refused with this error, reads answer in one way or the other, and close works.
#[cfg(unix)]
async fn is_lost(store: &Store, other: &Store) {
    for id in 10..13 {
        let error = within(store.add(id, "x")).await.unwrap_err();
        assert!(matches!(error, Error::FileReplaced { .. }), "{error:?}");
        let _ = within(store.ids()).await;
        assert_eq!(store.status(), Status::Running);
    }
    within(other.add(1, "undisturbed")).await.unwrap();
    within(store.close()).await.unwrap();
    assert_eq!(store.status(), Status::Stopped);
    within(other.close()).await.unwrap();
}

// On Windows what is open cannot be removed, replaced or moved, see below.
#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_is_an_error_and_no_new_one_is_made() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        for name in names(&directory.path().join("data")) {
            fs::remove_file(directory.path().join("data").join(name)).unwrap();
        }
        is_lost(&store, &other).await;
        assert!(!directory.path().join("data/database.db").exists());
        assert!(open_files(directory.path()).is_empty());
    });
}

// On Windows what is open cannot be removed, replaced or moved, see below.
#[cfg(unix)]
#[test]
fn a_file_that_is_deleted_between_two_writes_is_an_error() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        store.add(2, "kept until it is deleted").await.unwrap();
        fs::remove_file(directory.path().join("data/database.db")).unwrap();
        is_lost(&store, &other).await;
        assert!(!directory.path().join("data/database.db").exists());
    });
}

// On Windows what is open cannot be removed, replaced or moved, see below.
#[cfg(unix)]
#[test]
fn a_directory_that_is_removed_is_an_error_and_is_not_made_anew() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        store.add(2, "x").await.unwrap();
        fs::remove_dir_all(directory.path().join("data")).unwrap();
        is_lost(&store, &other).await;
        assert!(!directory.path().join("data").exists());
    });
}

// On Windows what is open cannot be removed, replaced or moved, see below.
#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_is_an_error_and_the_new_one_is_untouched() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        store.add(2, "x").await.unwrap();
        let spare = directory.path().join("spare");
        Store::make(&spare, "1.0.0").await.unwrap();
        let before = fs::read(spare.join("database.db")).unwrap();
        fs::rename(
            spare.join("database.db"),
            directory.path().join("data/database.db"),
        )
        .unwrap();
        is_lost(&store, &other).await;
        assert!(fs::read(directory.path().join("data/database.db")).unwrap() == before);
    });
}

// On Windows what is open cannot be removed, replaced or moved, see below.
#[cfg(unix)]
#[test]
fn a_file_that_is_moved_away_and_back_is_served_again() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        let [here, there] = ["data", "moved"].map(|name| directory.path().join(name));
        store.add(2, "x").await.unwrap();
        fs::rename(&here, &there).unwrap();
        assert!(matches!(
            within(store.add(3, "x")).await,
            Err(Error::FileReplaced { .. })
        ));
        fs::rename(&there, &here).unwrap();
        within(store.add(4, "x")).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1, 2, 4]);
        store.close().await.unwrap();
        other.close().await.unwrap();
        assert_eq!(ids(&here), [1, 2, 4].into());
    });
}

// On Unix it can, see above.
#[cfg(windows)]
#[test]
fn a_file_that_is_open_can_be_neither_removed_nor_replaced_nor_moved() {
    run(async {
        let directory = TempDir::new().unwrap();
        let (store, other) = two_running(directory.path()).await;
        let [data, moved, spare] =
            ["data", "moved", "spare"].map(|name| directory.path().join(name));
        let file = data.join("database.db");
        Store::make(&spare, "1.0.0").await.unwrap();
        for id in 10..13 {
            within(store.add(id, "x")).await.unwrap();
            fs::remove_file(&file).unwrap_err();
            fs::rename(&file, &moved).unwrap_err();
            fs::rename(spare.join("database.db"), &file).unwrap_err();
            fs::remove_dir_all(&data).unwrap_err();
        }
        within(store.close()).await.unwrap();
        within(other.close()).await.unwrap();
        assert_eq!(ids(&data), [1, 10, 11, 12].into());
        fs::remove_dir_all(&data).unwrap();
    });
}

#[test]
fn a_file_that_is_overwritten_in_place_gives_results_and_close_works() {
    run(async {
        for garbage in [
            b"".as_slice(),
            b"not a database, but long enough to look like a header"
                .repeat(200)
                .as_slice(),
        ] {
            let directory = TempDir::new().unwrap();
            let (store, other) = two_running(directory.path()).await;
            fs::write(directory.path().join("data/database.db"), garbage).unwrap();
            for id in 10..15 {
                let _ = within(store.ids()).await;
                let _ = within(store.add(id, "x")).await;
                let _ = within(store.get_version()).await;
            }
            assert_eq!(store.status(), Status::Running);
            within(other.add(1, "undisturbed")).await.unwrap();
            within(store.close()).await.unwrap();
            within(other.close()).await.unwrap();
        }
    });
}

#[test]
fn an_unusable_data_path_is_failed() {
    run(async {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("file"), "in the way").unwrap();
        // Windows makes links only for those with a privilege.
        #[cfg(unix)]
        std::os::unix::fs::symlink("loop", directory.path().join("loop")).unwrap();
        for path in [
            directory.path().join("file"),
            directory.path().join("file/x/y"),
            #[cfg(unix)]
            directory.path().join("loop"),
            #[cfg(unix)]
            "/dev/null/x".into(),
        ] {
            let store = Store::start_hooked(Config::new(&path), Hooks::default());
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{path:?}: {error:?}");
            assert_eq!(store.status(), Status::Failed);
        }
        assert_eq!(
            fs::read_to_string(directory.path().join("file")).unwrap(),
            "in the way"
        );
    });
}

// Sockets, links and pipes that have a name in a directory.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_failed() {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    run(async {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("directory")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink(path("nowhere/x"), path("dangling")).unwrap();
        let made = Command::new("mkfifo")
            .arg(path("fifo"))
            .status()
            .is_ok_and(|status| status.success());
        for name in ["directory", "socket", "dangling", "fifo"]
            .into_iter()
            .filter(|name| made || *name != "fifo")
        {
            let store = Store::start_hooked(
                Config::new(directory.path()).db_name(name),
                Hooks::default(),
            );
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(error, Error::Io { .. } | Error::Sqlite(_)),
                "{name}: {error:?}"
            );
            assert_eq!(store.status(), Status::Failed);
            within(store.close()).await.unwrap();
        }
    });
}

#[test]
fn a_read_only_directory_is_an_error() {
    run(async {
        let directory = TempDir::new().unwrap();
        let full = directory.path().join("full");
        Store::make(&full, "1.0.0").await.unwrap();
        let before = bytes(&full);
        let empty = directory.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let guards = [&full, &empty].map(|path| ReadOnly::make(path));
        if guards.iter().any(Option::is_none) {
            return skip(
                "a_read_only_directory_is_an_error",
                "root writes to any directory here",
            );
        }
        for (path, target) in [
            (&empty, "1.0.0"),
            (&empty.join("below"), "1.0.0"),
            (&full, "2.0.0"),
        ] {
            let error = within(Store::open(path, target)).await.unwrap_err();
            assert!(
                matches!(error, Error::Io { .. } | Error::Sqlite(_)),
                "{path:?}: {error:?}"
            );
        }
        // Where SQLite can read at all without a place for its side files, it must be able to stop too.
        if let Ok(store) = within(Store::open(&full, "1.0.0")).await {
            within(store.add(2, "x")).await.unwrap_err();
            within(store.close()).await.unwrap();
        }
        assert_eq!(bytes(&full), before);
    });
}
