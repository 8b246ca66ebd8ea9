//! A call that is dropped, wherever it is: nothing of it is half done, and nobody else notices.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::support::{Database, shared};
use crate::{WAYS, within};
use dbm_core::prelude::*;
use dbm_postgres::{Postgres, Writers};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    entered: Notify,
    go_on: Notify,
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

    #[database_safe]
    async fn hold(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        self.entered.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn insert_and(&self, db: &mut WriteTransaction, id: i64, fail: bool) -> Result<()> {
        db.execute("INSERT INTO item VALUES (?1)", (id,)).await?;
        if fail {
            return Err(Error::other("as it was told"));
        }
        std::future::pending().await
    }

    #[database_safe(timeout = "200ms")]
    async fn sleep_in_a_read(&self, db: &mut ReadTransaction) -> Result<()> {
        db.query_one::<()>("SELECT pg_sleep(60)", ()).await
    }
}

fn make(core: ManagerCore) -> Store {
    Store {
        core,
        entered: Notify::new(),
        go_on: Notify::new(),
    }
}

async fn store(database: &Database<'_>, writers: Writers) -> Arc<Store> {
    let postgres = Postgres::new(&database.description()).unwrap();
    let config = Config::from(postgres.writers(writers).connections(4));
    Store::create_with(config.acquire_timeout(Duration::from_secs(30)), make)
        .await
        .unwrap()
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
        for writers in WAYS {
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
        for writers in WAYS {
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

/// A call that has done its work waits for the transaction that it shares with another one. Its outcome.
async fn share<T>(database: &Database<'_>, other: impl AsyncFnOnce(&Store) -> T) -> Result<()> {
    let store = store(database, Writers::Sharing).await;
    let holder = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.hold(1).await }
    });
    store.entered.notified().await;
    let mut first = Box::pin(store.insert(2));
    let mut second = Box::pin(other(&store));
    // Both wait now, in this order.
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    store.go_on.notify_one();
    let (held, outcome, _) = tokio::join!(holder, first, second);
    held.unwrap()?;
    store.close().await.unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_only_its_own_work_out_of_a_shared_transaction() {
    let Some(server) = shared() else { return };
    let limit = Duration::from_millis(200);
    within(async {
        for fails in [
            "it returns an error",
            "it waits for something else",
            "it sleeps",
        ] {
            let database = server.database();
            let other = async |store: &Store| match fails {
                "it returns an error" => store.insert_and(3, true).await.unwrap_err(),
                "it sleeps" => {
                    let dropped = tokio::time::timeout(limit, store.sleep(3, 0.6)).await;
                    Error::other(dropped.unwrap_err())
                }
                _ => {
                    let dropped = tokio::time::timeout(limit, store.insert_and(3, false)).await;
                    Error::other(dropped.unwrap_err())
                }
            };
            share(&database, other).await.unwrap();
            assert_eq!(
                database.ask("SELECT id FROM item ORDER BY id"),
                "1\n2",
                "{fails}"
            );
            check_but_one(&database);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_share_with_a_call_that_cannot_be_stopped_can_try_again() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let limit = Duration::from_millis(200);
        let other = async |store: &Store| tokio::time::timeout(limit, store.sleep(3, 60.0)).await;
        let error = share(&database, other).await.unwrap_err();
        assert!(matches!(error, Error::BatchLost { by: "sleep" }), "{error}");
        assert!(error.is_retryable());
        assert_eq!(database.ask("SELECT id FROM item"), "");
    })
    .await;
}

/// It keeps the transaction open until the server ends that; its own end may be far away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_share_with_a_body_that_waits_for_ever_are_told_once_the_server_has_had_enough() {
    let Some(server) = shared() else { return };
    within(async {
        let database = server.database();
        let postgres = Postgres::new(&database.description()).unwrap();
        let config = Config::from(postgres).acquire_timeout(Duration::from_secs(1));
        let store = Store::create_with(config, make).await.unwrap();
        let mut waits = Box::pin(store.insert_and(3, false));
        let holds = async {
            store.entered.notified().await;
            assert!((&mut waits).now_or_never().is_none());
            store.go_on.notify_one();
            (&mut waits).await.unwrap_err()
        };
        tokio::select! {
            held = store.hold(1) => {
                let error = held.unwrap_err();
                assert!(matches!(error, Error::BatchLost { by: "insert_and" }), "{error}");
            }
            error = holds => panic!("the body has ended: {error}"),
        }
        drop(waits);
        assert_eq!(database.ask("SELECT id FROM item"), "");
        store.insert(4).await.unwrap();
        store.close().await.unwrap();
    })
    .await;
}

/// The call that holds the turn counts nothing.
fn check_but_one(database: &Database<'_>) {
    assert_eq!(
        database.ask("SELECT count(*) - (SELECT n FROM total) FROM item"),
        "1"
    );
}
