//! Each stage in its turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::{Fault, Store, Trouble, at_once, config};

impl Store {
    #[database_safe]
    async fn hold(
        &self,
        _db: &mut WriteTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        inside.notify_one();
        go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }
}

#[test]
fn arguments_are_checked_before_anything_waits() {
    run(async {
        let missing = |method: &str| {
            format!("{method}: at least one of these arguments is required: n, other")
        };
        let expect = |result: Result<i64, Trouble>, method: &str| {
            assert_eq!(result, Err(Trouble::Database(missing(method))));
        };
        // While starting.
        let store = Store::start_with(config(), Store::build);
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
        within(store.ensure_ready()).await.unwrap();

        // While another one has the writer.
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
        expect(
            at_once(store.with_exception(None, None, Fault::None)).await,
            "with_exception",
        );
        assert_eq!(at_once(store.with_value(None, None, Fault::None)).await, -1);
        let (value, cause) = at_once(store.with_both(None, None, Fault::None)).await;
        assert_eq!(
            (value, cause),
            (-2, Some(Trouble::Database(missing("with_both"))))
        );
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);

        // Either is enough.
        store.plain(None, Some("x"), Fault::None).await.unwrap();
        store.plain(Some(1), None, Fault::None).await.unwrap();

        // When closed: the argument is what the caller can do something about.
        store.close().await.unwrap();
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
    });
}

#[test]
fn calls_made_while_starting_wait_and_then_run() {
    run(async {
        for _ in 0..20 {
            let store = Store::start_with(config(), Store::build);
            let calls: Vec<_> = (0..10)
                .map(|n| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { store.add(n).await })
                })
                .collect();
            for call in calls {
                within(call).await.unwrap().unwrap();
            }
            assert_eq!(store.numbers().await.unwrap(), Vec::from_iter(0..10));
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_call_that_waits_too_long_names_the_holder_and_the_queue() {
    run(async {
        let store = Store::new().await;
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let waiting = async {
            tokio::join!(
                store.add(1),
                store.add(2),
                store.with_value(Some(3), None, Fault::None),
                store.with_both(Some(4), None, Fault::None)
            )
        };
        let (one, two, three, four) = tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            ended = within(waiting) => ended,
        };
        for error in [one.unwrap_err(), two.unwrap_err()] {
            match &error {
                Error::AcquireTimeout {
                    method: "add",
                    waited,
                    holder: "hold",
                    held,
                    queued,
                } => {
                    assert!(*waited >= Duration::from_millis(200), "{waited:?}");
                    assert!(held >= waited && (1..=4).contains(queued), "{error}");
                }
                other => panic!("{other}"),
            }
            assert!(error.is_retryable());
            assert!(error.to_string().contains("held by hold for"), "{error}");
        }
        assert_eq!(three.min(four.0), -2);
        assert_eq!(three.max(four.0), -1);
        assert!(four.1.unwrap().to_string().contains("held by hold"));
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(
            store.bodies.load(Ordering::Relaxed),
            0,
            "who gave up never runs"
        );
        assert!(store.numbers().await.unwrap().is_empty());
        store.add(5).await.unwrap();
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn hold_a_read(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<i64> {
        inside.notify_one();
        go_on.notified().await;
        db.query_one("SELECT 1", ()).await
    }
}

#[test]
fn a_read_that_waits_too_long_names_the_oldest_read() {
    run(async {
        let store = Store::create_with(config().readers(1), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold_a_read(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        // Who has given up waits no more: the second one is alone in the queue again.
        for _ in 0..2 {
            let error = within(store.numbers()).await.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::AcquireTimeout {
                        method: "numbers",
                        holder: "hold_a_read",
                        queued: 1,
                        ..
                    }
                ),
                "{error}"
            );
        }
        within(store.add(1)).await.unwrap();
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_queue_that_is_full_refuses_at_once() {
    run(async {
        let store = Store::create_with(config().max_queue(3), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut queue: Vec<_> = (0..3).map(|n| Box::pin(store.add(n))).collect();
        for waiting in &mut queue {
            assert!(poll_once(waiting).await.is_pending());
        }
        let error = at_once(store.add(3)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Overloaded {
                    method: "add",
                    queued: 3
                }
            ),
            "{error}"
        );
        assert!(error.is_retryable());
        // One goes away: there is room again.
        drop(queue.remove(1));
        let mut late = Box::pin(store.add(4));
        assert!(poll_once(&mut late).await.is_pending());
        queue.push(late);
        go_on.notify_one();
        hold.await.unwrap();
        for waiting in queue {
            within(waiting).await.unwrap();
        }
        assert_eq!(store.numbers().await.unwrap(), [0, 2, 4]);
        store.close().await.unwrap();
    });
}

#[test]
fn another_process_that_has_the_lock_is_a_typed_error_after_the_busy_timeout() {
    run(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            let store = Store::create_with(config().execution(execution), Store::build)
                .await
                .unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let error = within(store.add(1)).await.unwrap_err();
            assert!(
                matches!(error, Error::Busy { .. }) && error.is_retryable(),
                "{error}"
            );
            assert_eq!(error.sqlite_code(), Some(rusqlite::ffi::SQLITE_BUSY));
            assert_eq!(
                within(store.with_value(Some(1), None, Fault::None)).await,
                -1
            );
            assert_eq!(
                store.bodies.load(Ordering::Relaxed),
                0,
                "the body never began"
            );
            other.execute_batch("COMMIT").unwrap();
            store.add(1).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe(timeout = "30ms")]
    async fn add_within_a_moment(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }
}

/// The limit is the body's: neither the queue nor the commit counts.
#[test]
fn a_timeout_does_not_count_the_wait_for_the_lock() {
    run(async {
        let store = Store::create_with(Config::in_memory(), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut waiting = Box::pin(store.add_within_a_moment(1));
        tokio::select! {
            result = &mut waiting => panic!("{result:?}"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        go_on.notify_one();
        hold.await.unwrap();
        within(waiting).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

// Alone, on methods that are no calls.

impl Store {
    #[timed]
    async fn only_timed(&self, n: i64) -> i64 {
        tokio::task::yield_now().await;
        n + 1
    }

    #[required_argument(a, b)]
    async fn only_required(&self, a: Option<i64>, b: Option<i64>) -> Result<i64> {
        tokio::task::yield_now().await;
        Ok(a.or(b).unwrap_or_default())
    }
}

#[test]
fn timed_and_required_argument_work_alone() {
    run(async {
        let store = Store::new().await;
        store.close().await.unwrap();
        assert_eq!(store.only_timed(1).await, 2);
        assert_eq!(store.only_required(None, Some(2)).await.unwrap(), 2);
        let error = at_once(store.only_required(None, None)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::MissingArgument {
                    method: "only_required",
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_call_does_nothing_before_it_is_polled() {
    run(async {
        let store = Store::new().await;
        drop(store.plain(Some(1), None, Fault::None));
        drop(store.add(2));
        drop(store.numbers());
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);
        assert!(store.numbers().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}
