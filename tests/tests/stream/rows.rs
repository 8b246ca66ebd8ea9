//! The rows of a stream, and the errors in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};
use serde::{Deserialize, Deserializer};

use super::{COUNT, ENDLESS, EXECUTIONS, Store, all};

#[derive(Debug, PartialEq, Deserialize)]
struct Note {
    id: i64,
    text: String,
    size: Option<f64>,
}

#[test]
fn a_stream_gives_the_rows_of_the_query() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            let check = async |db: &mut ReadTransaction| {
                let sql = "SELECT id, text, size FROM note ORDER BY id";
                let notes: Vec<Note> = db.query(sql, ()).await?;
                assert_eq!(all(db.stream::<Note>(sql, ())).await?, notes);
                for count in [0, 1, 2, 100, 50_000] {
                    let numbers: Vec<i64> = (1..=count).collect();
                    for _ in 0..2 {
                        let read = all(db.stream::<i64>(COUNT, (count,))).await?;
                        assert_eq!(read, numbers, "{count} with {execution:?}");
                    }
                }
                Ok(())
            };
            for text in ["", "a", "b"] {
                store.add(&text.repeat(100_000)).await.unwrap();
            }
            store.read(check).await.unwrap();
            store.write(async |db| check(db).await).await.unwrap();
            store
                .on_connection(async |db| check(db).await)
                .await
                .unwrap();
            store.close().await.unwrap();
        }
    });
}

#[test]
fn the_rows_are_those_of_the_snapshot_however_long_the_loop_takes() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        store
            .write(async |db| {
                let rows = (0..20_000).map(|n| (format!("note {n}"),));
                db.execute_many("INSERT INTO note (text) VALUES (?1)", rows)
                    .await
            })
            .await
            .unwrap();
        let read = store
            .read(async |db| {
                let mut rows =
                    db.stream::<(i64, String)>("SELECT id, text FROM note ORDER BY id", ());
                let mut count = 0;
                while let Some((id, text)) = rows.next().await? {
                    assert_eq!(text, format!("note {}", id - 1));
                    count += 1;
                    if count % 4_000 == 0 {
                        let store = Arc::clone(&store);
                        let writes = async move {
                            store
                                .write(async |db| {
                                    db.execute("DELETE FROM note WHERE id % 7 = 0", ()).await?;
                                    db.execute("UPDATE note SET text = 'new'", ()).await
                                })
                                .await
                        };
                        tokio::spawn(writes).await.unwrap().unwrap();
                    }
                }
                Ok(count)
            })
            .await;
        assert_eq!(read.unwrap(), 20_000);
        assert!(store.count().await.unwrap() < 20_000);
        store.close().await.unwrap();
    });
}

#[test]
fn a_next_that_is_dropped_loses_no_row() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            let read = store
                .read(async |db| {
                    let mut rows = db.stream::<i64>(COUNT, (200_000,));
                    let (mut expected, mut dropped) = (1, 0);
                    loop {
                        let mut next = Box::pin(rows.next());
                        let row = match poll_once(&mut next).await {
                            std::task::Poll::Ready(row) => row?,
                            std::task::Poll::Pending => {
                                drop(next);
                                dropped += 1;
                                rows.next().await?
                            }
                        };
                        let Some(row) = row else { break };
                        assert_eq!(row, expected);
                        expected += 1;
                    }
                    assert!(dropped > 0 && rows.next().await?.is_none());
                    Ok(expected - 1)
                })
                .await;
            assert_eq!(read.unwrap(), 200_000);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_error_comes_after_the_rows_before_it_and_ends_the_stream() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            for (at, of) in [(1, 10), (7, 10), (500, 20_000), (15_000, 20_000)] {
                let sql = format!(
                    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {of})
                     SELECT iif(x = {at}, json('{{'), x) FROM n"
                );
                let wrong = sql
                    .replace("json('{{')", "'text'")
                    .replace("json('{')", "'text'");
                store
                    .write(async |db| {
                        for _ in 0..2 {
                            for sql in [&sql, &wrong] {
                                let mut rows = db.stream::<i64>(sql, ());
                                for row in 1..at {
                                    assert_eq!(rows.next().await?, Some(row), "{execution:?}");
                                }
                                let error = rows.next().await.unwrap_err();
                                let is_it = match &error {
                                    Error::Sqlite(_) => sql.contains("json"),
                                    Error::Column { .. } => sql.contains("text"),
                                    _ => false,
                                };
                                assert!(is_it, "{error}");
                                assert_eq!(rows.next().await?, None);
                            }
                        }
                        db.execute("INSERT INTO note (text) VALUES ('goes on')", ())
                            .await
                    })
                    .await
                    .unwrap();
            }
            assert_eq!(store.count().await.unwrap(), 4);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn what_a_statement_may_not_do_is_the_first_thing_its_stream_says() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            store
                .read(async |db| {
                    let first = async |sql: &str, db: &mut ReadTransaction| {
                        db.stream::<i64>(sql, ()).next().await.unwrap_err()
                    };
                    let error = first("SELECT nothing", db).await;
                    assert!(matches!(error, Error::Sqlite(_)), "{error}");
                    let error = first("INSERT INTO note (text) VALUES ('') RETURNING id", db).await;
                    assert!(matches!(error, Error::Refused { .. }), "{error}");
                    let error = first("SELECT ?1", db).await;
                    assert!(matches!(error, Error::ParameterCount { .. }), "{error}");
                    let error = first("", db).await;
                    assert!(matches!(error, Error::SqlText { .. }), "{error}");
                    let mut rows = db.stream::<i64>("SELECT ?1", (u64::MAX,));
                    let error = rows.next().await.unwrap_err();
                    assert!(matches!(error, Error::Parameter { .. }), "{error}");
                    assert_eq!(rows.next().await?, None);
                    Ok(())
                })
                .await
                .unwrap();
            store.close().await.unwrap();
        }
    });
}

/// How many rows were read.
static READ: AtomicUsize = AtomicUsize::new(0);

struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::Relaxed);
        i64::deserialize(deserializer).map(|_| Self)
    }
}

#[test]
fn a_statement_does_not_run_ahead_of_its_body() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let read = store.read(async |db| {
            let mut rows = db.stream::<Counted>(ENDLESS, ());
            for taken in 1..=200_000 {
                assert!(rows.next().await?.is_some());
                // Three chunks, in each of which a row counts for at least a byte.
                assert!(READ.load(Ordering::Relaxed) < taken + 3 * 64 * 1024 + 3);
            }
            Ok(())
        });
        within(read).await.unwrap();
        store.close().await.unwrap();
    });
}

struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as asked")
    }
}

#[test]
fn a_panic_while_a_row_is_read_ends_the_body() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            let body = Arc::clone(&store);
            let panics = tokio::spawn(async move {
                let read = async |db: &mut ReadTransaction| {
                    db.stream::<Panics>("SELECT 1", ()).next().await.map(drop)
                };
                body.read(read).await
            });
            assert!(within(panics).await.unwrap_err().is_panic());
            assert_eq!(store.count().await.unwrap(), 0);
            store.close().await.unwrap();
        }
    });
}

/// It has no timer and no budget: other tasks run there only if the stream lets them.
#[test]
fn a_body_that_only_takes_rows_lets_others_run() {
    run(async {
        let store = Store::new(Config::in_memory().execution(Execution::Auto)).await;
        let read = store.read(async |db| {
            let mut rows = db.stream::<i64>(ENDLESS, ());
            let mut stops = Box::pin(async {
                while rows.next().await?.is_some() {}
                Ok::<_, Error>(())
            });
            for _ in 0..100 {
                assert!(poll_once(&mut stops).await.is_pending());
            }
            Ok(())
        });
        within(read).await.unwrap();
        store.close().await.unwrap();
    });
}
