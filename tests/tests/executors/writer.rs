//! Waiting for the writer and for a commit.

use std::sync::Arc;
use std::task::Poll;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{run, within};
use tokio::sync::Notify;

use super::Store;
use super::hostile::{Deed, Task, Three, When, run_to_the_end, whatever_the_executor_does};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Runs `test` while the writer is taken, then lets go.
async fn while_writing<T>(store: &Store, test: impl AsyncFnOnce() -> T) -> T {
    let (inside, release) = (Notify::new(), Notify::new());
    let mut holder = Box::pin(store.hold_writer(&inside, &release));
    tokio::select! {
        result = &mut holder => panic!("{result:?}"),
        () = inside.notified() => {}
    }
    let result = test().await;
    release.notify_one();
    within(holder).await.unwrap();
    result
}

fn adds(store: &Arc<Store>, n: Option<i64>) -> impl Future<Output = Result<()>> + Send + 'static {
    let store = Arc::clone(store);
    async move { store.add(n).await }
}

async fn for_the_writer(deed: Deed, when: When) {
    for execution in EXECUTIONS {
        let store = Store::new(Config::in_memory().execution(execution)).await;
        let three = while_writing(&store, async || {
            Three::wait(&store, (deed, when), || adds(&store, None))
        })
        .await;
        three.end().await;
        store.still_works().await;
    }
}
whatever_the_executor_does!(for_the_writer);

/// One writes in a hostile executor, and two others with it, together where calls share their transaction.
async fn for_a_commit(deed: Deed, when: When) {
    for execution in EXECUTIONS {
        let store = Store::new(Config::in_memory().execution(execution)).await;
        // Those who call back take numbers behind the greatest.
        store.add(Some(1)).await.unwrap();
        for at in 1..20 {
            let n = -10 * at;
            let [task, another, behind] =
                [1, 2, 3].map(|number| Task::new(adds(&store, Some(n + number))));
            let at = usize::try_from(at).unwrap();
            let ran = run_to_the_end(&task, at, &store, (deed, when), &another);
            let others = async { tokio::join!(another.finish_anyhow(), behind.finish_anyhow()) };
            let ((result, _), (another, behind)) = tokio::join!(ran, others);
            if let Some(result) = result {
                result.unwrap();
                assert!(store.has(n + 1).await.unwrap(), "{execution:?} {at}");
            }
            if let Some(result) = another {
                result.unwrap();
                assert!(store.has(n + 2).await.unwrap(), "{execution:?} {at}");
            }
            behind.unwrap().unwrap();
            assert!(store.has(n + 3).await.unwrap(), "{execution:?} {at}");
        }
        store.still_works().await;
    }
}
whatever_the_executor_does!(for_a_commit);

/// The next one is handed the writer by the one whose row is on the disk.
async fn for_the_writer_behind_a_commit(deed: Deed, when: When) {
    for execution in EXECUTIONS {
        let store = Store::new(Config::in_memory().execution(execution)).await;
        let commits = Task::new(adds(&store, Some(1)));
        let mut answer = commits.poll().unwrap();
        if answer.is_pending() {
            let [next, another] = [(); 2].map(|()| Task::new(adds(&store, None)));
            let _ = next.poll_hostile(&store, deed, when, &another);
            another.begins();
            answer = Poll::Ready(commits.finish_anyhow().await.unwrap());
            let _ = next.finish_anyhow().await;
            let _ = another.finish_anyhow().await;
        }
        assert!(
            matches!(answer, Poll::Ready(Ok(()))),
            "{execution:?}: {answer:?}"
        );
        assert!(store.has(1).await.unwrap());
        store.still_works().await;
    }
}
whatever_the_executor_does!(for_the_writer_behind_a_commit);

/// It is woken as it goes, and its waker drops another one.
#[test]
fn one_who_leaves_the_queue_may_drop_another_one() {
    run(async {
        for deed in [Deed::DropsAnother, Deed::Panics, Deed::CallsBack] {
            for when in [When::Woken, When::Dropped] {
                for by_drop in [true, false] {
                    let store = Store::new(Config::in_memory()).await;
                    let (leaves, another, behind) = while_writing(&store, async || {
                        let [leaves, another, behind] =
                            [(); 3].map(|()| Task::new(adds(&store, None)));
                        let _ = leaves.poll_hostile(&store, deed, when, &another);
                        another.begins();
                        behind.begins();
                        leaves.disturb(by_drop);
                        (leaves, another, behind)
                    })
                    .await;
                    if let Some(result) = another.finish_anyhow().await {
                        result.unwrap();
                    }
                    behind.finish_anyhow().await.unwrap().unwrap();
                    // It is owned by its waker, which it owns.
                    leaves.disturb(true);
                    store.still_works().await;
                }
            }
        }
    });
}

/// One whose waker panics when it gets the writer is as one who does not come for it: the others go on without it.
#[test]
fn a_writer_that_nobody_comes_for_goes_to_the_next() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let (lost, behind) = while_writing(&store, async || {
            let [lost, behind] = [(); 2].map(|()| Task::new(adds(&store, None)));
            let _ = lost.poll_hostile(&store, Deed::Panics, When::Woken, &behind);
            behind.begins();
            (lost, behind)
        })
        .await;
        behind.finish().await.unwrap().unwrap();
        lost.finish_anyhow().await.unwrap().unwrap();
        store.still_works().await;
    });
}
