//! Start, close and what lies between, dropped at every await point.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{Moment, Stalled, cut, eventually, open_files, run, within};
use tokio::sync::Notify;

use super::{EXECUTIONS, MANY, READS, Store, WRITES, config, next_item, read};

#[test]
fn create_may_be_dropped_at_every_await_point() {
    run(async {
        // A new file, one that is up to date, and one that is to be migrated.
        for (existing, version) in [(false, 0), (true, 0), (true, 1)] {
            for moment in Moment::ALL {
                for at in 1..MANY {
                    let directory = tempfile::tempdir().unwrap();
                    let path = directory.path();
                    if existing {
                        let store = Store::create(config(path)).await.unwrap();
                        store.add(1).await.unwrap();
                        store.close().await.unwrap();
                    }
                    let config = config(path).version(Version::new(1, version, 0));
                    let created = cut(at, moment, Store::create(config.clone())).await;
                    let done = created.is_some();
                    drop(created);
                    let store = Store::create(config).await.unwrap();
                    assert_eq!(store.halves(1).await.unwrap(), if existing { 2 } else { 0 });
                    assert_eq!(
                        store.get_version().await.unwrap(),
                        Version::new(1, version, 0)
                    );
                    store.add(2).await.unwrap();
                    store.close().await.unwrap();
                    drop(store);
                    eventually(|| open_files(path).is_empty()).await;
                    if done {
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn ensure_ready_and_calls_may_be_dropped_while_the_manager_starts() {
    run(async {
        let calls = [
            ("ensure_ready", read("ensure_ready")),
            ("add", WRITES[0].1),
            ("halves", read("halves")),
        ];
        for (name, call) in calls {
            for moment in Moment::ALL {
                for at in 1..MANY {
                    let directory = tempfile::tempdir().unwrap();
                    let store = Store::start(config(directory.path()));
                    let outcome = cut(at, moment, call(&store, 1)).await;
                    store.ensure_ready().await.unwrap();
                    let halves = store.halves(1).await.unwrap();
                    assert!(
                        halves == 0 || (name == "add" && halves == 2),
                        "{name}, {at}: {halves}"
                    );
                    store.add(2).await.unwrap();
                    store.close().await.unwrap();
                    if let Some(result) = outcome {
                        result.unwrap();
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn start_may_be_dropped_at_once() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            drop(Store::start(config(directory.path())));
        }
        let store = Store::create(config(directory.path())).await.unwrap();
        store.add(1).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        eventually(|| open_files(directory.path()).is_empty()).await;
    });
}

#[test]
fn close_may_be_dropped_at_every_await_point_and_goes_on() {
    run(async {
        for moment in Moment::ALL {
            for at in 1..MANY {
                let directory = tempfile::tempdir().unwrap();
                let store = Store::create(config(directory.path())).await.unwrap();
                let release = Arc::new(Notify::new());
                let running = tokio::spawn(hold(Arc::clone(&store), Arc::clone(&release), 1));
                let queued = {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { store.add(2).await })
                };
                tokio::task::yield_now().await;
                release.notify_one();
                let done = cut(at, moment, store.close()).await.is_some();
                assert!(matches!(
                    store.add(3).await,
                    Err(Error::Closed { method: "add" })
                ));
                let mut status = store.watch_status();
                within(status.wait_for(|status| *status == Status::Stopped))
                    .await
                    .unwrap();
                let told = [
                    within(running).await.unwrap(),
                    within(queued).await.unwrap(),
                ];
                let names: Vec<_> = std::fs::read_dir(directory.path())
                    .unwrap()
                    .map(|e| e.unwrap().file_name())
                    .collect();
                assert_eq!(names, ["database.db"]);
                assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
                let store = Store::create(config(directory.path())).await.unwrap();
                for (item, told) in (1..).zip(told) {
                    let expected = match told {
                        Ok(()) => 2,
                        Err(Error::Closed { .. }) => 0,
                        Err(other) => panic!("{other}"),
                    };
                    assert_eq!(store.halves(item).await.unwrap(), expected);
                }
                if done {
                    break;
                }
            }
        }
    });
}

#[test]
fn restore_may_be_dropped_at_every_await_point() {
    run(async {
        for moment in Moment::ALL {
            for at in 1..MANY {
                let directory = tempfile::tempdir().unwrap();
                let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
                let store = Store::create(config(&data)).await.unwrap();
                store.add(1).await.unwrap();
                store.back_up(&copy).await.unwrap();
                store.add(2).await.unwrap();
                store.close().await.unwrap();
                let restored = cut(at, moment, Store::restore(&copy, config(&data))).await;
                let is_unfinished = || {
                    let left = dbm_tests::names(&data);
                    left.iter().any(|name| name.contains("unfinished"))
                };
                eventually(|| !is_unfinished() && open_files(directory.path()).is_empty()).await;
                let store = Store::create(config(&data)).await.unwrap();
                assert_eq!(store.halves(1).await.unwrap(), 2);
                let halves = store.halves(2).await.unwrap();
                store.close().await.unwrap();
                assert!(halves == 0 || halves == 2, "{halves}");
                if let Some(restored) = restored {
                    restored.unwrap();
                    assert_eq!(halves, 0);
                    break;
                }
            }
        }
    });
}

/// A write that has written its first half and waits for the test.
async fn hold(store: Arc<Store>, release: Arc<Notify>, item: i64) -> Result<()> {
    store
        .add_when_released(item, &Notify::new(), &release)
        .await
}

#[test]
fn close_within_may_be_dropped_and_called_again() {
    run(async {
        for moment in Moment::ALL {
            for at in 1..MANY {
                let directory = tempfile::tempdir().unwrap();
                let store = Store::create(config(directory.path())).await.unwrap();
                let (inside, never) = (Notify::new(), Notify::new());
                let mut stuck = Box::pin(store.add_when_released(1, &inside, &never));
                tokio::select! {
                    result = &mut stuck => panic!("{result:?}"),
                    () = inside.notified() => {}
                }
                let done = cut(at, moment, store.close_within(Duration::from_millis(1)))
                    .await
                    .is_some();
                within(store.close_within(Duration::ZERO)).await.unwrap();
                assert_eq!(store.status(), Status::Stopped);
                never.notify_one();
                assert!(matches!(within(stuck).await, Err(Error::Closed { .. })));
                eventually(|| open_files(directory.path()).is_empty()).await;
                let store = Store::create(config(directory.path())).await.unwrap();
                assert_eq!(store.halves(1).await.unwrap(), 0);
                if done {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_call_that_close_within_meets_at_any_await_point_gets_closed() {
    run(async {
        for execution in EXECUTIONS {
            for (name, call) in WRITES.into_iter().chain(READS) {
                if name == "ensure_ready" || name == "add_and_fail" {
                    continue;
                }
                for at in 1..MANY {
                    let store = Store::create(Config::in_memory().execution(execution))
                        .await
                        .unwrap();
                    let mut stalled = Stalled::new(call(&store, next_item()));
                    let done = stalled.run_to(at).await;
                    within(store.close_within(Duration::ZERO)).await.unwrap();
                    let told = within(stalled.finish()).await;
                    assert!(
                        matches!(told, Ok(()) | Err(Error::Closed { .. })),
                        "{name} at {at}, {execution:?}: {told:?}"
                    );
                    if done {
                        break;
                    }
                }
            }
        }
    });
}
