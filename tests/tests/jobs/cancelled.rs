//! Every public future of jobs may be dropped at any await point. Afterwards its work is whole or absent, and the next call
//! succeeds.

use std::pin::Pin;
use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::testing::{TestDirectory, run_due_jobs};
use dbm_core::{Execution, JobId};
use dbm_tests::{Moment, cut, run};

use super::{HOUR, Store};

const MANY: usize = 500;
/// In one snapshot: a call that was dropped may still commit.
const COUNTS: &str = "SELECT 1000 * count(died) + count(*) - count(died) FROM _dbm_job";

type Call =
    for<'a> fn(&'a Arc<Store>, JobId) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// By how much each changes the number of jobs that wait, and of those that are dead.
const CALLS: [(&str, Call, i64, i64); 6] = [
    (
        "enqueue",
        |store, _| {
            Box::pin(async {
                store
                    .enqueue(Store::note_job(1, "x".into()))
                    .await
                    .map(drop)
            })
        },
        1,
        0,
    ),
    (
        "enqueue_at",
        |store, _| {
            Box::pin(async {
                store
                    .enqueue_in(Store::note_job(1, "x".into()), HOUR)
                    .await
                    .map(drop)
            })
        },
        1,
        0,
    ),
    (
        "dead",
        |store, _| Box::pin(async { store.jobs().dead(1).await.map(drop) }),
        0,
        0,
    ),
    (
        "retry",
        |store, id| Box::pin(async move { store.jobs().retry(id).await.map(drop) }),
        1,
        -1,
    ),
    (
        "discard",
        |store, id| Box::pin(async move { store.jobs().discard(id).await.map(drop) }),
        0,
        -1,
    ),
    (
        "release",
        |store, _| Box::pin(async { store.jobs().release().await.map(drop) }),
        0,
        0,
    ),
];

impl Store {
    /// How many jobs wait, and how many are dead.
    async fn counts(&self) -> (i64, i64) {
        let counts = self.number(COUNTS).await.unwrap();
        (counts % 1000, counts / 1000)
    }

    /// A job that is dead.
    async fn dead_job(self: &Arc<Self>) -> JobId {
        self.sql("DELETE FROM _dbm_job").await.unwrap();
        self.enqueue(Store::note_job(1, "x".into())).await.unwrap();
        self.sql("UPDATE _dbm_job SET args = 'no JSON'")
            .await
            .unwrap();
        run_due_jobs(self).await.unwrap();
        self.jobs().dead(1).await.unwrap()[0].id
    }
}

#[test]
fn every_call_about_jobs_may_be_dropped_at_every_await_point() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = TestDirectory::new().unwrap();
            let config = directory.config().execution(execution).job_workers(0);
            let store = Store::open(config).await.unwrap();
            for moment in Moment::ALL {
                for (name, call, jobs, dead) in CALLS {
                    for at in 1..=MANY {
                        assert!(at < MANY, "{name} does not get through");
                        let id = store.dead_job().await;
                        let before = store.counts().await;
                        let outcome = cut(at, moment, call(&store, id)).await;
                        let after = store.counts().await;
                        let whole = (before.0 + jobs, before.1 + dead);
                        match &outcome {
                            None => assert!(
                                after == before || after == whole,
                                "{name}, {at}: {after:?}"
                            ),
                            Some(result) => assert!(
                                result.is_ok() && after == whole,
                                "{name}, {at}: {result:?}"
                            ),
                        }
                        if outcome.is_some() {
                            break;
                        }
                    }
                }
            }
            store.close().await.unwrap();
        }
    });
}

/// What it has claimed is given back by the end of the manager.
#[test]
fn a_run_of_due_jobs_may_be_dropped_at_every_await_point() {
    run(async {
        for at in 1..=MANY {
            assert!(at < MANY, "it does not get through");
            let directory = TestDirectory::new().unwrap();
            let config = || {
                directory
                    .config()
                    .execution(Execution::Offload)
                    .job_workers(0)
            };
            let store = Store::open(config()).await.unwrap();
            store
                .enqueue(Store::insert_job("once".into()))
                .await
                .unwrap();
            store
                .enqueue(Store::note_job(1, "often".into()))
                .await
                .unwrap();
            let ran = cut(at, Moment::AtOnce, run_due_jobs(&store)).await;
            store.close().await.unwrap();
            drop(store);

            let store = Store::open(config()).await.unwrap();
            run_due_jobs(&store).await.unwrap();
            assert_eq!(store.counts().await, (0, 0), "{at}");
            let notes = store.notes().await.unwrap();
            let count = |text: &str| notes.iter().filter(|note| *note == text).count();
            assert_eq!(count("once"), 1, "{at}");
            assert!((1..=2).contains(&count("1 often")), "{at}");
            store.close().await.unwrap();
            if ran.is_some() {
                break;
            }
        }
    });
}
