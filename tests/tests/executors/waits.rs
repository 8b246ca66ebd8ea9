//! Waiting for a reader, for the start, for the end, for a change of the status, for the turn in a body.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::Store;
use super::hostile::{Deed, Three, When, whatever_the_executor_does};

type How = (Deed, When);

/// Runs `test` while the only reader is taken; the closure it is given lets go.
async fn while_reading<T>(store: &Store, test: impl AsyncFnOnce() -> T) -> T {
    let (inside, release) = (Notify::new(), Notify::new());
    let mut holder = Box::pin(store.hold_reader(&inside, &release));
    tokio::select! {
        result = &mut holder => panic!("{result:?}"),
        () = inside.notified() => {}
    }
    let result = test().await;
    release.notify_one();
    within(holder).await.unwrap();
    result
}

fn counts(store: &Arc<Store>) -> impl Future<Output = Result<()>> + Send + 'static {
    let store = Arc::clone(store);
    async move { store.count().await.map(drop) }
}

async fn for_a_reader(deed: Deed, when: When) {
    let store = Store::new(Config::in_memory().readers(1)).await;
    let three = while_reading(&store, async || {
        Three::wait(&store, (deed, when), || counts(&store))
    })
    .await;
    three.end().await;
    store.still_works().await;
}
whatever_the_executor_does!(for_a_reader);

async fn starts(how: How, wait: impl Fn(Arc<Store>) -> Wait) {
    let may_start = Arc::new(Notify::new());
    let waits = Arc::clone(&may_start);
    let store = Store::start_with(Config::in_memory(), |core| Store {
        core,
        may_start: Some(waits),
    });
    let three = Three::wait(&store, how, || wait(Arc::clone(&store)));
    may_start.notify_one();
    within(store.ensure_ready()).await.unwrap();
    three.end().await;
    store.still_works().await;
}

type Wait = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

async fn for_the_start(deed: Deed, when: When) {
    starts((deed, when), |store| {
        Box::pin(async move { store.ensure_ready().await })
    })
    .await;
}
whatever_the_executor_does!(for_the_start);

async fn for_the_start_with_a_call(deed: Deed, when: When) {
    starts((deed, when), |store| Box::pin(counts(&store))).await;
}
whatever_the_executor_does!(for_the_start_with_a_call);

async fn for_the_end(deed: Deed, when: When) {
    let store = Store::new(Config::in_memory()).await;
    let closes = || {
        let store = Arc::clone(&store);
        async move { store.close().await }
    };
    let three = while_reading(&store, async || Three::wait(&store, (deed, when), closes)).await;
    three.end().await;
    assert_eq!(store.status(), Status::Stopped);
}
whatever_the_executor_does!(for_the_end);

async fn for_a_change_of_the_status(deed: Deed, when: When) {
    let store = Store::new(Config::in_memory()).await;
    let watches = || {
        let mut status = store.watch_status();
        async move {
            let stopped = status.wait_for(|status| *status == Status::Stopped).await;
            stopped.map(drop).map_err(Error::other)
        }
    };
    let three = Three::wait(&store, (deed, when), watches);
    within(store.close()).await.unwrap();
    three.end().await;
}
whatever_the_executor_does!(for_a_change_of_the_status);

async fn for_a_backup(deed: Deed, when: When) {
    let store = Store::new(Config::in_memory()).await;
    let copies = AtomicUsize::new(0);
    let backs_up = || {
        let store = Arc::clone(&store);
        let copy = format!("copy-{}", copies.fetch_add(1, Ordering::Relaxed));
        async move {
            let copy = store.path().unwrap().with_file_name(copy);
            store.back_up(copy).await
        }
    };
    let three = Three::wait(&store, (deed, when), backs_up);
    three.end().await;
    store.still_works().await;
}
whatever_the_executor_does!(for_a_backup);

impl Store {
    #[database_safe]
    async fn nests(&self, db: &mut WriteTransaction, this: &Arc<Store>, how: How) -> Result<()> {
        let (inside, release) = (Arc::new(Notify::new()), Notify::new());
        let mut first = Box::pin(this.hold_writer(&inside, &release));
        assert!(poll_once(&mut first).await.is_pending());
        let three = Three::wait(this, how, || {
            let this = Arc::clone(this);
            async move { this.add(None).await }
        });
        release.notify_one();
        within(first).await?;
        three.end().await;
        db.execute("INSERT INTO number VALUES (1000)", ()).await?;
        Ok(())
    }
}

async fn for_the_turn_in_a_body(deed: Deed, when: When) {
    let store = Store::new(Config::in_memory()).await;
    within(store.nests(&store, (deed, when))).await.unwrap();
    assert!(store.has(1000).await.unwrap());
    store.still_works().await;
}
whatever_the_executor_does!(for_the_turn_in_a_body);

/// Its waker goes because another one takes its place, or because it goes itself.
#[test]
fn a_waker_that_is_dropped_while_one_still_waits_may_do_anything() {
    run(async {
        for deed in Deed::ALL {
            for by_drop in [false, true] {
                if (deed, by_drop) == (Deed::DropsIt, true) {
                    continue;
                }
                let store = Store::new(Config::in_memory().readers(1)).await;
                let three = while_reading(&store, async || {
                    let three = Three::wait(&store, (deed, When::Dropped), || counts(&store));
                    three.disturb(by_drop);
                    three
                })
                .await;
                three.end_disturbed().await;
                let closes = || {
                    let store = Arc::clone(&store);
                    async move { store.close().await }
                };
                let three = while_reading(&store, async || {
                    let three = Three::wait(&store, (deed, When::Dropped), closes);
                    three.disturb(by_drop);
                    three
                })
                .await;
                three.end_disturbed().await;
                assert_eq!(store.status(), Status::Stopped);
            }
        }
    });
}

/// The first poll of `close` closes the gate.
#[test]
fn a_waker_may_close_the_manager() {
    run(async {
        let store = Store::new(Config::in_memory().readers(1)).await;
        let closing = Arc::clone(&store);
        let close = move || {
            let polled = super::hostile::Task::new(async move { closing.close().await }).poll();
            assert!(matches!(polled, Some(Poll::Pending)));
        };
        let reads = super::hostile::Task::new(counts(&store));
        while_reading(&store, async || reads.begins_with(close)).await;
        reads.finish().await.unwrap().unwrap();
        within(store.close()).await.unwrap();
        assert_eq!(store.status(), Status::Stopped);
    });
}
