//! Nobody waits for ever for a companion that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{LIMIT, Stalled, poll_once, run, within};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{
    ADD, Call, ENDLESS, EXECUTIONS, Store, add_both, everywhere, next_item, queue_up, together,
};

type Stall = for<'a> fn(&'a Store, i64, Option<&'a Notify>) -> Call<'a>;

/// The same method several times: each is trusted only until it has waited for something else.
macro_rules! stalling {
    ($($name:ident)*) => {
        impl Store {
            $(
                #[database_safe]
                async fn $name(&self, db: &mut WriteTransaction, item: i64, wait: Option<&Notify>) -> Result<()> {
                    db.execute(ADD, (item, 1)).await?;
                    if let Some(wait) = wait {
                        wait.notified().await;
                    }
                    db.execute(ADD, (item, 2)).await?;
                    Ok(())
                }
            )*
        }

        const STALLING: &[Stall] = &[$(|store, item, wait| Box::pin(store.$name(item, wait))),*];
    };
}

stalling!(s1 s2 s3 s4 s5 s6);

/// True when it stood still in a transaction with others: when all of them are slow, it may have had its own.
async fn stands_still_in_company(store: &Store, stall: Stall) -> bool {
    for _ in 0..4 {
        stall(store, next_item(), None).await.unwrap();
    }
    let never = Notify::new();
    let items: Vec<_> = (0..3).map(|_| next_item()).collect();
    let calls: Vec<Call<'_>> = vec![
        Box::pin(store.add(items[0])),
        stall(store, items[1], Some(&never)),
        Box::pin(async {
            let result = store.add(items[2]).await;
            never.notify_one();
            result
        }),
    ];
    let mut results = together(store, calls).await.into_iter();
    let (first, stalled, last) = (
        results.next().unwrap(),
        results.next().unwrap(),
        results.next().unwrap(),
    );
    first.unwrap();
    assert_eq!(store.halves(items[0]).await.unwrap(), 2);
    let Err(error) = stalled else {
        let error = last.unwrap_err();
        assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        return false;
    };
    assert!(
        matches!(error, Error::BatchLost { .. }) && error.is_retryable(),
        "{error}"
    );
    last.unwrap();
    for (item, expected) in items.iter().zip([2, 0, 2]) {
        assert_eq!(store.halves(*item).await.unwrap(), expected);
    }
    true
}

#[test]
fn a_call_that_stalls_is_taken_out_and_its_companions_are_told() {
    run(async {
        let store = Store::new(Config::in_memory().acquire_timeout(PATIENCE)).await;
        for stall in STALLING {
            if !stands_still_in_company(&store, *stall).await {
                continue;
            }
            // From then on the method runs alone, and may take its time.
            let (item, go_on) = (next_item(), Notify::new());
            let calls: Vec<Call<'_>> = vec![
                Box::pin(async {
                    let result = store.add(next_item()).await;
                    go_on.notify_one();
                    result
                }),
                stall(&store, item, Some(&go_on)),
                Box::pin(store.add(next_item())),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
            assert_eq!(store.halves(item).await.unwrap(), 2);
            return store.close().await.unwrap();
        }
        panic!("they never shared a transaction");
    });
}

impl Store {
    #[database_safe]
    async fn wait_for_something_else(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        wait: &Notify,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        wait.notified().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// If they shared a transaction, each would wait for the other.
#[test]
fn a_method_that_waits_for_something_else_never_shares() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            let wait = Notify::new();
            wait.notify_one();
            store
                .wait_for_something_else(next_item(), &wait)
                .await
                .unwrap();
            let call = Box::pin(store.wait_for_something_else(next_item(), &wait));
            let mut call: Call<'_> = call;
            tokio::select! {
                _ = &mut call => panic!("nobody has woken it"),
                () = tokio::task::yield_now() => {}
            }
            wait.notify_one();
            call.await.unwrap();
        }
        for _ in 0..5 {
            let told = Notify::new();
            let calls: Vec<Call<'_>> = vec![
                Box::pin(async {
                    store.add(next_item()).await?;
                    told.notify_one();
                    Ok(())
                }),
                Box::pin(store.wait_for_something_else(next_item(), &told)),
                Box::pin(store.add(next_item())),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
        }
    }));
}

/// Longer than companions wait for each other.
const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// A method of its own: one that has kept others waiting runs alone from then on.
    #[database_safe]
    async fn stand(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        add_both(db, item).await
    }
}

/// One of three calls that queue up together stands still at some await point: in the queue, in its body, or in its
/// commit. Later it goes on, or is dropped.
async fn stand_still(execution: Execution, position: usize, at: usize, goes_on: bool) {
    let case = format!("{execution:?}, call {position} at {at}, goes on: {goes_on}");
    let config = Config::in_memory()
        .execution(execution)
        .acquire_timeout(PATIENCE);
    let store = Store::new(config).await;
    for _ in 0..4 {
        store.stand(next_item()).await.unwrap();
    }
    let items = [next_item(), next_item(), next_item()];
    let mut others = Vec::new();
    let mut stalled = Stalled::new(Box::pin(store.stand(items[position])) as Call<'_>);
    let holder = queue_up(&store, &mut []).await;
    for (place, item) in items.into_iter().enumerate() {
        if place == position {
            assert!(!stalled.run_to(1).await);
        } else {
            let mut call: Call<'_> = Box::pin(store.stand(item));
            assert!(poll_once(&mut call).await.is_pending());
            others.push(async move { (place, call.await) });
        }
    }
    let all = async { tokio::join!(holder.let_go(), stalled.run_to(at), join_all(others)) };
    let Ok(((), _, others)) = tokio::time::timeout(LIMIT / 4, all).await else {
        panic!("{case}: they wait for ever");
    };
    for (place, result) in others {
        let expected = match result {
            Ok(()) => 2,
            // When nobody shares with it yet, it is a holder like any other.
            Err(Error::AcquireTimeout {
                holder: "stand", ..
            }) if place > position => 0,
            Err(error) => panic!("{case}: {error}"),
        };
        assert_eq!(
            store.halves(items[place]).await.unwrap(),
            expected,
            "{case}"
        );
    }
    let told = if goes_on {
        Some(within(stalled.finish()).await)
    } else {
        drop(stalled);
        None
    };
    within(store.stand(next_item())).await.unwrap();
    let halves = store.halves(items[position]).await.unwrap();
    match told {
        None => assert!(halves == 0 || halves == 2, "{case}: {halves}"),
        Some(Ok(())) => assert_eq!(halves, 2, "{case}"),
        Some(Err(error)) => {
            assert!(
                matches!(error, Error::BatchLost { by: "stand" }),
                "{case}: {error}"
            );
            assert_eq!(halves, 0, "{case}");
        }
    }
    within(store.close()).await.unwrap();
}

#[test]
fn a_call_that_nobody_polls_does_not_keep_its_companions_waiting() {
    run(async {
        let mut tests = Vec::new();
        for execution in EXECUTIONS {
            // With nothing on threads there are few await points.
            let last = if execution == Execution::Offload {
                14
            } else {
                4
            };
            for at in 1..last {
                for position in 0..3 {
                    for goes_on in [false, true] {
                        tests.push(tokio::spawn(stand_still(execution, position, at, goes_on)));
                    }
                }
            }
        }
        for test in tests {
            test.await.unwrap();
        }
    });
}

/// Nobody is left who could notice that the transaction stands still.
#[test]
fn a_shared_transaction_whose_callers_have_all_gone_is_cleared_away() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .endless_without_callers(next_item(), false)
                .await
                .unwrap();
        }
        let mut first: Call<'_> = Box::pin(store.add(next_item()));
        let mut calls: Vec<Call<'_>> =
            vec![Box::pin(store.endless_without_callers(next_item(), true))];
        let holder = queue_up(&store, &mut []).await;
        assert!(poll_once(&mut first).await.is_pending());
        assert!(poll_once(&mut calls[0]).await.is_pending());
        holder.let_go().await;
        let all = async { tokio::join!(first, calls.remove(0)) };
        assert!(
            tokio::time::timeout(Duration::from_millis(50), all)
                .await
                .is_err()
        );
        within(store.add(next_item())).await.unwrap();
        within(store.close()).await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn endless_without_callers(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// Slow, but not endless: it must not be taken out again and again.
#[test]
fn a_call_that_was_taken_out_for_being_slow_gets_through_when_made_again() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store.write_much_now_and_then(next_item(), 1).await.unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let company = (0..4).map(|_| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match store.add(next_item()).await {
                        Ok(()) | Err(Error::BatchLost { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        });
        let company: Vec<_> = company.collect();
        let mut tries = 0;
        loop {
            match within(store.write_much_now_and_then(next_item(), 5_000_000)).await {
                Ok(()) => break,
                Err(Error::BatchLost { .. }) => tries += 1,
                Err(other) => panic!("{other}"),
            }
            assert!(tries < 3, "taken out again and again");
        }
        stop.store(true, Ordering::Relaxed);
        for task in company {
            within(task).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

impl Store {
    /// Counts rows in a write that takes some seconds.
    #[database_safe]
    async fn write_much_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        rows: i64,
    ) -> Result<()> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?2)
             INSERT INTO half SELECT ?1, min(count(*), 1) FROM n UNION SELECT ?1, 2";
        db.execute(sql, (item, rows)).await?;
        Ok(())
    }
}

/// Its body is done and well, and only the other one is in the way of its commit.
#[test]
fn close_within_commits_what_waits_for_a_companion_that_stands_still() {
    run(async {
        for execution in EXECUTIONS {
            for at in 1..4 {
                let config = Config::in_memory().execution(execution);
                let store = Store::new(config).await;
                let mut stalled = Stalled::new(Box::pin(store.add(next_item())) as Call<'_>);
                let mut first: Call<'_> = Box::pin(store.add(next_item()));
                let holder = queue_up(&store, &mut []).await;
                assert!(poll_once(&mut first).await.is_pending());
                assert!(!stalled.run_to(1).await);
                let shut = async {
                    holder.let_go().await;
                    stalled.run_to(at).await;
                    store.close_within(Duration::ZERO).await
                };
                let (first, closed) = within(async { tokio::join!(first, shut) }).await;
                closed.unwrap();
                assert!(
                    matches!(first, Ok(()) | Err(Error::Closed { .. })),
                    "{execution:?} at {at}: {first:?}"
                );
                let told = within(stalled.finish()).await;
                assert!(
                    matches!(told, Ok(()) | Err(Error::Closed { .. })),
                    "{execution:?} at {at}: {told:?}"
                );
            }
        }
    });
}

/// A runtime with too much to do, or a task beside a slow one: it comes late for each turn.
#[test]
fn a_call_that_is_slow_to_come_for_its_turn_gets_one_in_the_end() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let (mut release, mut holder) = held_next(&store).await;
        let mut slow: Call<'_> = Box::pin(store.add(next_item()));
        assert!(poll_once(&mut slow).await.is_pending());
        for turn in 0.. {
            assert!(turn < 20, "the others always go on without it");
            let next = held_next(&store).await;
            release.notify_one();
            let turned = within(async { tokio::join!(holder, tokio::time::sleep(LATE)) });
            turned.await.0.unwrap().unwrap();
            (release, holder) = next;
            if let Poll::Ready(result) = poll_once(&mut slow).await {
                result.unwrap();
                break;
            }
        }
        release.notify_one();
        within(holder).await.unwrap().unwrap();
        within(store.close()).await.unwrap();
    });
}

const LATE: Duration = Duration::from_millis(60);

type Held = (Arc<Notify>, JoinHandle<Result<()>>);

/// A task that has the writer, or waits for it, until the test lets go.
async fn held_next(store: &Arc<Store>) -> Held {
    let (store, release) = (Arc::clone(store), Arc::new(Notify::new()));
    let releasing = Arc::clone(&release);
    let mut hold: Call<'static> =
        Box::pin(async move { store.hold(&Notify::new(), &releasing).await });
    assert!(poll_once(&mut hold).await.is_pending());
    (release, tokio::spawn(hold))
}
