//! A call that is dropped, wherever it is: nothing of it is half done, and nobody else notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

mod support;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};
use futures_util::FutureExt as _;
use support::{Database, LIMIT, shared};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id bigint PRIMARY KEY); CREATE TABLE total (n bigint); INSERT INTO total VALUES (0)")
            .await
    }
}

impl Store {
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        self.count().await
    }

    #[database_safe]
    async fn count(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("UPDATE total SET n = n + 1", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn total(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT n FROM total", ()).await
    }

    #[database_safe]
    async fn sleep(&self, db: &mut WriteTransaction, id: i64, seconds: f64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        db.query_one::<()>("SELECT pg_sleep(?1)", (seconds,)).await
    }

    #[database_safe(timeout = "200ms")]
    async fn sleep_in_a_read(&self, db: &mut ReadTransaction) -> Result<()> {
        db.query_one::<()>("SELECT pg_sleep(60)", ()).await
    }
}

const ALL: [Writers; 3] = [Writers::Sharing, Writers::InTurn, Writers::Serializable];

async fn store(database: &Database<'_>, writers: Writers) -> Arc<Store> {
    let postgres = Postgres::new(&database.description()).unwrap();
    let config = Config::from(postgres.writers(writers).connections(4));
    Store::create(config.acquire_timeout(Duration::from_secs(30)))
        .await
        .unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work)
        .await
        .expect("the test has hung")
}

/// Polls a call so many times at most, and drops it then. Whether it has ended.
async fn dropped_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

/// What is written always belongs together: a row and its count.
fn check(database: &Database<'_>) {
    assert_eq!(
        database.ask("SELECT count(*) - (SELECT n FROM total) FROM item"),
        "0"
    );
}

/// Waits until the server runs nothing of a kind any more.
async fn settled(database: &Database<'_>, condition: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbm' AND datname = current_database() AND {condition}"
    );
    while database.ask(&sql) != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_anywhere_leaves_nothing_half_done() {
    let Some(server) = shared() else { return };
    within(async {
        for writers in ALL {
            let database = server.database();
            let store = store(&database, writers).await;
            let (mut id, mut ended) = (0, 0);
            for polls in 0..40 {
                id += 10;
                let others = (1..4).map(|other| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        loop {
                            match store.insert(id + other).await {
                                Err(error) if error.is_retryable() => {}
                                outcome => return outcome,
                            }
                        }
                    })
                });
                let others: Vec<_> = others.collect();
                ended += usize::from(dropped_after(polls, store.insert(id)).await.is_some());
                let _ = dropped_after(polls / 2, store.total()).await;
                for other in others {
                    other.await.unwrap().unwrap();
                }
                check(&database);
            }
            println!("{writers:?}: {ended} of 40 ended before they were dropped");
            assert!((1..40).contains(&ended), "the sweep covers the whole call");
            settled(&database, "state <> 'idle'").await;
            let open = database.ask(
                "SELECT count(*) <= 4 FROM pg_stat_activity WHERE application_name = 'dbm' AND datname = current_database()",
            );
            assert_eq!(open, "t");
            store.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_runs_is_stopped_on_the_server_when_its_call_is_dropped() {
    let Some(server) = shared() else { return };
    within(async {
        for writers in ALL {
            let database = server.database();
            let store = store(&database, writers).await;
            let error = store.sleep_in_a_read().await.unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error}");
            let dropped = tokio::time::timeout(Duration::from_millis(200), store.sleep(1, 60.0));
            assert!(dropped.await.is_err());
            // It holds the lock of all writers until it is stopped.
            store.insert(2).await.unwrap();
            settled(&database, "query LIKE '%pg_sleep%' AND state = 'active'").await;
            assert_eq!(database.ask("SELECT id FROM item"), "2");
            store.close().await.unwrap();
        }
    })
    .await;
}

/// `first` has done its work, and waits for the transaction that it shares with the call that is dropped.
async fn drop_one_of_two(database: &Database<'_>, seconds: f64) -> Result<()> {
    let store = store(database, Writers::Sharing).await;
    let holder = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.sleep(1, 0.2).await }
    });
    while database.ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
        == "0"
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut first = Box::pin(store.insert(2));
    let mut second = Box::pin(store.sleep(3, seconds));
    // Both wait now, in this order.
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    holder.await.unwrap()?;
    let second = tokio::time::timeout(Duration::from_millis(200), second);
    let (outcome, _) = tokio::join!(first, second);
    store.close().await.unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_takes_only_its_own_work_out_of_a_shared_transaction() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        drop_one_of_two(&database, 0.6).await.unwrap();
        assert_eq!(database.ask("SELECT id FROM item ORDER BY id"), "1\n2");
        check_but_one(&database);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_share_with_a_call_that_cannot_be_stopped_can_try_again() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let error = drop_one_of_two(&database, 60.0).await.unwrap_err();
        assert!(matches!(error, Error::BatchLost { by: "sleep" }), "{error}");
        assert!(error.is_retryable());
        assert_eq!(database.ask("SELECT id FROM item ORDER BY id"), "1");
    })
    .await;
}

/// The call that only sleeps counts nothing.
fn check_but_one(database: &Database<'_>) {
    assert_eq!(
        database.ask("SELECT count(*) - (SELECT n FROM total) FROM item"),
        "1"
    );
}
