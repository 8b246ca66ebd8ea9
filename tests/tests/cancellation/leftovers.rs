//! No descriptor, no thread, and no surprise for a body that outlives its manager.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, eventually, name_thread, open_files, threads_named, watch, within};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{ENDLESS_CALLS, EXECUTIONS, READS, Store, WRITES, company, config, next_item};

impl Store {
    #[database_safe]
    async fn read_when_released(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<i64> {
        inside.notify_one();
        release.notified().await;
        db.query_one("SELECT count(*) FROM half", ()).await
    }
}

/// Runs a test on threads of their own name, so that those which are left over can be counted.
fn run_named(
    name: &'static str,
    execution: Execution,
    test: impl AsyncFnOnce(Arc<Store>, &Path) + Send + 'static,
) {
    watch(move || {
        name_thread(name);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(2)
            .thread_name(name)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let before = threads_named(name);
            let config = config(directory.path()).execution(execution);
            let store = Store::create(config).await.unwrap();
            test(Arc::clone(&store), directory.path()).await;
            eventually(|| open_files(directory.path()).is_empty()).await;
            eventually(|| threads_named(name) == before).await;
            drop(store);
        });
    });
}

#[test]
fn no_descriptor_and_no_thread_is_left_after_close() {
    let names = ["left-auto", "left-inline", "left-offload"];
    for (name, execution) in names.into_iter().zip(EXECUTIONS) {
        run_named(name, execution, async move |store, directory| {
            company(&store, async {
                for (_, call) in WRITES.into_iter().chain(READS) {
                    for at in 1..4 {
                        cut(at, Moment::AtOnce, call(&store, next_item())).await;
                    }
                }
                // Inline nothing could end it.
                if execution != Execution::Inline {
                    let _ = timeout(Duration::from_millis(20), store.endless_read()).await;
                }
            })
            .await;
            store.close().await.unwrap();
            assert_eq!(open_files(directory), [] as [&Path; 0]);
        });
    }
}

#[test]
fn a_body_that_outlives_its_manager_gets_closed_and_starts_nothing_anew() {
    let names = ["outlives-auto", "outlives-inline", "outlives-offl"];
    for (name, execution) in names.into_iter().zip(EXECUTIONS) {
        run_named(name, execution, async |store, _| {
            let (inside, release) = (Notify::new(), Notify::new());
            let mut write = Box::pin(store.add_when_released(1, &inside, &release));
            tokio::select! {
                result = &mut write => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            let mut read = Box::pin(store.read_when_released(&inside, &release));
            tokio::select! {
                result = &mut read => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            store.close_within(Duration::ZERO).await.unwrap();
            release.notify_one();
            let written = write.await;
            assert!(matches!(written, Err(Error::Closed { .. })), "{written:?}");
            release.notify_one();
            let read = read.await;
            assert!(matches!(read, Err(Error::Closed { .. })), "{read:?}");
        });
    }
}

#[test]
fn a_statement_that_close_within_interrupts_gives_closed() {
    let names = ["interr-auto", "interr-offload"];
    for (name, execution) in names.into_iter().zip([Execution::Auto, Execution::Offload]) {
        run_named(name, execution, async |store, _| {
            let mut calls = Vec::new();
            for (name, endless) in ENDLESS_CALLS {
                let store = Arc::clone(&store);
                let call = tokio::spawn(async move { (name, endless(&store).await) });
                calls.push(call);
            }
            tokio::task::yield_now().await;
            store.close_within(Duration::from_millis(10)).await.unwrap();
            for call in calls {
                let (name, ended) = within(call).await.unwrap();
                assert!(
                    matches!(ended, Err(Error::Closed { .. })),
                    "{name}: {ended:?}"
                );
            }
        });
    }
}
