//! Other tasks and other managers.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{run, within};
use serde::{Deserialize, Deserializer};

use super::Store;

// Other tasks.

impl Store {
    #[database_safe]
    async fn spawn_and_wait(self: &Arc<Self>, db: &mut WriteTransaction) -> Result<Error> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        let store = Arc::clone(self);
        let spawned = tokio::spawn(async move { store.add(2).await });
        Ok(spawned.await.unwrap().unwrap_err())
    }

    #[database_safe]
    async fn spawn_a_read_and_wait(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
    ) -> Result<Vec<i64>> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let store = Arc::clone(self);
        tokio::spawn(async move { store.numbers().await })
            .await
            .unwrap()
    }
}

#[test]
fn a_task_that_a_body_spawns_and_waits_for_gives_up_and_names_the_holder() {
    run(async {
        let store = Store::impatient().await;
        let error = within(store.spawn_and_wait()).await.unwrap();
        match error {
            Error::AcquireTimeout {
                method,
                holder,
                waited,
                held,
                queued,
            } => {
                assert_eq!((method, holder, queued), ("add", "spawn_and_wait", 1));
                assert!(
                    waited >= Duration::from_millis(300) && held >= waited,
                    "{held:?} {waited:?}"
                );
            }
            other => panic!("{other}"),
        }
        assert_eq!(store.numbers().await.unwrap(), [1]);
        let seen = within(store.spawn_a_read_and_wait()).await.unwrap();
        assert_eq!(
            seen,
            [1],
            "another task's read is a read of its own, beside the writer"
        );
        store.close().await.unwrap();
    });
}

impl Store {
    /// A closure is no task: what it calls is a call of its own, which waits for the one it is in.
    #[database_safe]
    async fn call_back_from_a_closure(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
    ) -> Result<(Error, Vec<i64>)> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        let (store, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        db.call(move |_| {
            let refused = runtime.block_on(store.add(2)).unwrap_err();
            Ok((refused, runtime.block_on(store.numbers())?))
        })
        .await
    }
}

#[test]
fn a_closure_that_calls_back_gives_up_and_names_the_holder() {
    run(async {
        let store = Store::impatient().await;
        let (error, seen) = within(store.call_back_from_a_closure()).await.unwrap();
        assert!(
            matches!(
                error,
                Error::AcquireTimeout {
                    method: "add",
                    holder: "call_back_from_a_closure",
                    ..
                }
            ),
            "{error}"
        );
        assert!(seen.is_empty());
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

thread_local! {
    static STORE: RefCell<Option<Arc<Store>>> = const { RefCell::new(None) };
    static ANSWER: RefCell<Option<Result<Vec<i64>>>> = const { RefCell::new(None) };
}

/// A row that makes a call while it is read, where it is read.
struct CallsBack;

impl<'de> Deserialize<'de> for CallsBack {
    fn deserialize<D: Deserializer<'de>>(row: D) -> std::result::Result<Self, D::Error> {
        i64::deserialize(row)?;
        let store = STORE.take().unwrap();
        let call = || tokio::runtime::Handle::current().block_on(store.numbers());
        ANSWER.set(Some(tokio::task::block_in_place(call)));
        Ok(Self)
    }
}

impl Store {
    #[database_safe]
    async fn call_back_from_a_row(
        self: &Arc<Self>,
        db: &mut ReadTransaction,
    ) -> Result<Result<Vec<i64>>> {
        STORE.set(Some(Arc::clone(self)));
        let _: CallsBack = db.query_one("SELECT n FROM number WHERE n = 1", ()).await?;
        ANSWER.take().ok_or(Error::other("it ran elsewhere"))
    }
}

#[test]
fn a_row_that_calls_back_gives_up_and_names_the_holder() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, said) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let store = Store::impatient().await;
        store.add(1).await.unwrap();
        let inside = store.call_back_from_a_row().await.unwrap();
        store.close().await.unwrap();
        sender.send(inside).unwrap();
    });
    // A thread that waits for itself cannot be given a limit from inside.
    let said = said.recv_timeout(Duration::from_secs(20));
    runtime.shutdown_background();
    let error = said.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::AcquireTimeout {
                method: "numbers",
                holder: "call_back_from_a_row",
                ..
            }
        ),
        "{error}"
    );
}

// Two managers.

impl Store {
    #[database_safe]
    async fn there_and_back(
        &self,
        db: &mut WriteTransaction,
        other: &Self,
        fail: bool,
    ) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        other.and_back(self).await?;
        assert_eq!(self.numbers().await?, [1, 3]);
        if fail {
            Err(Error::other("as asked"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn and_back(&self, db: &mut WriteTransaction, other: &Self) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        other.add(3).await?;
        assert!(other.add_and_fail(4).await.is_err());
        assert_eq!(other.numbers().await?, [1, 3]);
        Ok(())
    }

    #[database_safe]
    async fn add_on_both(&self, db: &mut WriteTransaction, other: &Self, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        tokio::task::yield_now().await;
        other.add(n).await
    }

    #[database_safe]
    async fn read_both(&self, db: &mut ReadTransaction, other: &Self) -> Result<usize> {
        let here: Vec<i64> = db.query("SELECT n FROM number", ()).await?;
        Ok(here.len() + other.numbers().await?.len())
    }
}

#[test]
fn calls_across_two_managers_join_their_own_transaction() {
    run(async {
        let (here, there) = (Store::new().await, Store::new().await);
        within(here.there_and_back(&there, false)).await.unwrap();
        assert_eq!(here.numbers().await.unwrap(), [1, 3]);
        assert_eq!(there.numbers().await.unwrap(), [2]);
        assert_eq!(within(here.read_both(&there)).await.unwrap(), 3);
        let (here, there) = (Store::new().await, Store::new().await);
        within(here.there_and_back(&there, true)).await.unwrap_err();
        assert!(here.numbers().await.unwrap().is_empty());
        assert_eq!(
            there.numbers().await.unwrap(),
            [2],
            "each manager commits for itself"
        );
    });
}

#[test]
fn calls_across_two_managers_in_both_directions_end() {
    run(async {
        let config = || Config::in_memory().acquire_timeout(Duration::from_millis(300));
        let here = Store::create(config()).await.unwrap();
        let there = Store::create(config()).await.unwrap();
        for n in 0..3 {
            let (one, two) = within(async {
                tokio::join!(
                    here.add_on_both(&there, n),
                    there.add_on_both(&here, 100 + n)
                )
            })
            .await;
            for (result, n) in [(one, n), (two, 100 + n)] {
                if let Err(error) = &result {
                    assert!(
                        matches!(
                            error,
                            Error::AcquireTimeout {
                                holder: "add_on_both",
                                ..
                            }
                        ),
                        "{error}"
                    );
                }
                let both = [&here, &there];
                for store in both {
                    assert_eq!(store.numbers().await.unwrap().contains(&n), result.is_ok());
                }
            }
        }
        here.close().await.unwrap();
        there.close().await.unwrap();
    });
}
