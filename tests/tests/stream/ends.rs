//! Streams that end early: dropped, leaked, or with their call.

use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::{ENDLESS, EXECUTIONS, NO_ROW, Store};

#[test]
fn a_transaction_goes_on_after_a_stream_was_dropped() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for taken in [0, 1, 5, 3_000] {
                let body = async |db: &mut ReadTransaction| {
                    drop(db.stream::<i64>(ENDLESS, ()));
                    let mut rows = db.stream::<i64>(ENDLESS, ());
                    for row in 1..=taken {
                        assert_eq!(rows.next().await?, Some(row));
                    }
                    drop(rows);
                    let mut rows = db.stream::<i64>(ENDLESS, ());
                    let _ = poll_once(&mut Box::pin(rows.next())).await;
                    drop(rows);
                    db.query_one::<i64>("SELECT 7", ()).await
                };
                let reads = store.read(body);
                assert_eq!(within(reads).await.unwrap(), 7);
                let writes = store.write(async |db| {
                    db.execute("INSERT INTO note (text) VALUES ('')", ())
                        .await?;
                    assert_eq!(body(db).await?, 7);
                    db.execute("INSERT INTO note (text) VALUES ('')", ()).await
                });
                assert_eq!(within(writes).await.unwrap(), 1);
                let connects = store.on_connection(async |db| body(db).await);
                assert_eq!(within(connects).await.unwrap(), 7);
            }
            assert_eq!(store.count().await.unwrap(), 8);
            store.close().await.unwrap();
        }
    });
}

/// It is known to be a read as soon as it runs.
#[test]
fn a_read_that_is_dropped_before_its_first_row_harms_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let written = store.write(async |db| {
            db.execute("INSERT INTO note (text) VALUES ('')", ())
                .await?;
            let mut rows = db.stream::<i64>(NO_ROW, ());
            let waits = tokio::time::timeout(Duration::from_millis(20), rows.next()).await;
            assert!(waits.is_err());
            drop(rows);
            db.execute("INSERT INTO note (text) VALUES ('')", ()).await
        });
        within(written).await.unwrap();
        assert_eq!(store.count().await.unwrap(), 2);
        store.close().await.unwrap();
    });
}

#[expect(clippy::mem_forget, reason = "the hazard")]
async fn leak(db: &mut ReadTransaction) -> Result<()> {
    let mut rows = db.stream::<i64>(ENDLESS, ());
    assert!(rows.next().await?.is_some());
    std::mem::forget(rows);
    Ok(())
}

#[test]
fn a_leaked_stream_is_a_leaked_statement() {
    run(async {
        for execution in EXECUTIONS {
            let config = Config::in_memory().execution(execution).readers(1);
            let store = Store::new(config).await;
            let another = async |db: &mut ReadTransaction| {
                leak(db).await?;
                db.query_one::<i64>("SELECT 1", ()).await
            };
            let ends = [
                within(store.read(leak)).await,
                within(store.read(another)).await.map(drop),
                within(store.write(async |db| leak(db).await)).await,
                within(store.write(async |db| another(db).await))
                    .await
                    .map(drop),
                within(store.on_connection(async |db| leak(db).await)).await,
            ];
            for (number, end) in ends.into_iter().enumerate() {
                let is_it = matches!(end, Err(Error::StatementDropped));
                assert!(is_it, "{number}: {end:?}");
            }
            store.add("works").await.unwrap();
            within(store.close()).await.unwrap();
        }
    });
}

/// Takes a row, says so, and waits until it may take the others.
async fn slowly(db: &mut ReadTransaction, inside: &Notify, go_on: &Notify) -> Result<()> {
    let mut rows = db.stream::<i64>(ENDLESS, ());
    assert!(rows.next().await?.is_some());
    inside.notify_one();
    go_on.notified().await;
    while rows.next().await?.is_some() {}
    Ok(())
}

#[test]
fn a_stream_ends_with_max_read_age() {
    run(async {
        let config = Config::in_memory().max_read_age(Duration::from_millis(1));
        let store = Store::new(config).await;
        let (inside, go_on) = (Notify::new(), Notify::new());
        let read = store.read(async |db| slowly(db, &inside, &go_on).await);
        // The age of reads is looked at when the log is: after commits.
        let writes = async {
            inside.notified().await;
            for _ in 0..3_000 {
                store.add(&"x".repeat(4_000)).await.unwrap();
            }
            go_on.notify_one();
        };
        let (read, ()) = within(async { tokio::join!(read, writes) }).await;
        let error = read.unwrap_err();
        assert!(matches!(&error, Error::TransactionLost { .. }), "{error}");
        assert!(error.to_string().contains("max_read_age"), "{error}");
        store.close().await.unwrap();
    });
}

#[test]
fn close_within_ends_a_stream_that_its_body_does_not_take_from() {
    run(async {
        for in_write in [false, true] {
            let store = Store::new(Config::in_memory()).await;
            let (inside, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let body = {
                let (store, inside, go_on) =
                    (Arc::clone(&store), Arc::clone(&inside), Arc::clone(&go_on));
                tokio::spawn(async move {
                    if in_write {
                        store
                            .write(async |db| slowly(db, &inside, &go_on).await)
                            .await
                    } else {
                        store
                            .read(async |db| slowly(db, &inside, &go_on).await)
                            .await
                    }
                })
            };
            within(inside.notified()).await;
            within(store.close_within(Duration::ZERO)).await.unwrap();
            go_on.notify_one();
            let error = within(body).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::Closed { .. }), "{error}");
        }
    });
}

impl Store {
    #[database_safe(timeout = "20ms")]
    async fn times_out(&self, db: &mut ReadTransaction) -> Result<()> {
        slowly(db, &Notify::new(), &Notify::new()).await
    }
}

#[test]
fn a_timeout_ends_a_stream_that_its_body_does_not_take_from() {
    run(async {
        let store = Store::new(Config::in_memory().readers(1)).await;
        for _ in 0..3 {
            let error = within(store.times_out()).await.unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error}");
            within(store.count()).await.unwrap();
        }
        within(store.close()).await.unwrap();
    });
}

#[test]
fn a_writer_whose_stream_is_not_taken_from_is_idle() {
    run(async {
        let config = Config::in_memory().max_write_idle(Duration::from_millis(20));
        let store = Store::new(config).await;
        let (inside, go_on) = (Notify::new(), Notify::new());
        let write = store.write(async |db| slowly(db, &inside, &go_on).await);
        let another = async {
            inside.notified().await;
            store.add("it waits").await.unwrap();
            go_on.notify_one();
        };
        let (write, ()) = within(async { tokio::join!(write, another) }).await;
        let error = write.unwrap_err();
        assert!(matches!(&error, Error::TransactionLost { .. }), "{error}");
        store.close().await.unwrap();
    });
}
