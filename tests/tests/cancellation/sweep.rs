//! Every call, dropped at every await point, alone and beside others.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{Moment, cut, eventually, run, run_on_one_thread, within};

use super::{Call, EXECUTIONS, MANY, READS, Store, WRITES, company, config, next_item};

/// Drops a call at its first, second, … await point until it gets through.
async fn sweep(store: &Arc<Store>, name: &str, call: Call, moment: Moment, writes: bool) {
    for at in 1..MANY {
        let item = next_item();
        let outcome = cut(at, moment, call(store, item)).await;
        let halves = store.halves(item).await.unwrap();
        match &outcome {
            None => assert!(
                halves == 0 || (halves == 2 && writes),
                "{name}, {at}: {halves} halves"
            ),
            Some(result) => {
                assert!(result.is_ok(), "{name}, {at}: {result:?}");
                assert_eq!(halves, if writes { 2 } else { 0 }, "{name}, {at}");
            }
        }
        store
            .add(next_item())
            .await
            .unwrap_or_else(|error| panic!("{name}, {at}: {error}"));
        if outcome.is_some() {
            return;
        }
    }
    panic!("{name} does not get through");
}

async fn sweep_all(store: &Arc<Store>) {
    for moment in Moment::ALL {
        for (name, call) in WRITES {
            sweep(store, name, call, moment, true).await;
        }
        for (name, call) in READS {
            sweep(store, name, call, moment, false).await;
        }
    }
}

/// As another process sees it.
async fn no_transaction_is_open(file: &Path) {
    let open = || rusqlite::Connection::open(file).unwrap();
    eventually(|| {
        let other = open();
        other.busy_timeout(Duration::ZERO).unwrap();
        let emptied: bool = other
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| {
                row.get(0).map(|busy: i64| busy == 0)
            })
            .unwrap();
        emptied && other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    })
    .await;
}

async fn sweep_alone(execution: Execution) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(config(directory.path()).execution(execution))
        .await
        .unwrap();
    sweep_all(&store).await;
    no_transaction_is_open(store.path().unwrap()).await;
    assert!(store.half_items().await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[test]
fn a_call_may_be_dropped_at_every_await_point() {
    run(sweep_alone(Execution::Auto));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_with_everything_inline() {
    run(sweep_alone(Execution::Inline));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_with_everything_on_threads() {
    run(sweep_alone(Execution::Offload));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_on_one_thread() {
    run_on_one_thread(async {
        for execution in EXECUTIONS {
            sweep_alone(execution).await;
        }
    });
}

async fn sweep_in_company(execution: Execution) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(config(directory.path()).execution(execution))
        .await
        .unwrap();
    company(&store, sweep_all(&store)).await;
    no_transaction_is_open(store.path().unwrap()).await;
    assert!(store.half_items().await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers() {
    run(sweep_in_company(Execution::Auto));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers_with_everything_inline() {
    run(sweep_in_company(Execution::Inline));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers_with_everything_on_threads() {
    run(sweep_in_company(Execution::Offload));
}

/// SQLite's own wait for another process ignores interrupts.
#[test]
fn a_wait_for_the_lock_of_another_process_can_be_cancelled() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path())
                .execution(execution)
                .busy_timeout(Duration::from_secs(3600));
            let store = Store::create(config).await.unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            for at in 1..6 {
                for moment in Moment::ALL {
                    assert!(within(cut(at, moment, store.add(1))).await.is_none());
                }
            }
            assert_eq!(
                within(store.halves(1)).await.unwrap(),
                0,
                "reads run meanwhile"
            );
            other.execute_batch("ROLLBACK").unwrap();
            within(store.add(1)).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

/// Polls that nobody asked for, as `select!` makes them, change nothing.
#[test]
fn polls_without_a_wake_up_change_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for (name, call) in WRITES {
                let item = next_item();
                let mut future = pin!(call(&store, item));
                let poll_all_the_time = std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    match future.as_mut().poll(context) {
                        Poll::Ready(result) => Poll::Ready(result),
                        Poll::Pending => Poll::Pending,
                    }
                });
                within(poll_all_the_time).await.unwrap();
                assert_eq!(store.halves(item).await.unwrap(), 2, "{name}");
            }
            store.close().await.unwrap();
        }
    });
}
