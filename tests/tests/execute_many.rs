//! One statement for many rows: all of them or none, and the row that failed has a name.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_core::{Execution, named_params, params};
use dbm_tests::{Moment, cut, poll_once, run, within};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];
const ADD: &str = "INSERT INTO number (n) VALUES (?1)";

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE number (n INTEGER PRIMARY KEY CHECK (n <> 13), text TEXT) STRICT;
             CREATE TABLE log (n INTEGER) STRICT;
             CREATE TRIGGER logs AFTER INSERT ON number BEGIN INSERT INTO log VALUES (NEW.n); END",
        )
        .await
    }
}

impl Store {
    async fn new(execution: Execution) -> Arc<Self> {
        Self::create(Config::in_memory().execution(execution))
            .await
            .unwrap()
    }

    #[database_safe]
    async fn write<R>(
        &self,
        db: &mut WriteTransaction,
        body: impl AsyncFnOnce(&mut WriteTransaction) -> Result<R>,
    ) -> Result<R> {
        body(db).await
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, from: i64, to: i64) -> Result<usize> {
        db.execute_many(ADD, (from..to).map(|n| (n,))).await
    }

    /// Numbers and what the trigger has logged of them.
    #[database_safe]
    async fn counts(&self, db: &mut ReadTransaction) -> Result<(i64, i64)> {
        let sql = "SELECT (SELECT count(*) FROM number), (SELECT count(*) FROM log)";
        db.query_one(sql, ()).await
    }
}

#[test]
fn every_row_is_written_and_counted() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let mut total = 0;
            for rows in [0, 1, 3, 255, 256, 257, 5_000] {
                let from = 100_000 + total;
                let added = store.add(from, from + rows).await.unwrap();
                assert_eq!(added, rows as usize, "what a trigger does is not counted");
                total += rows;
                assert_eq!(store.counts().await.unwrap(), (total, total));
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn rows_are_any_parameters() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store
            .write(async |db| {
                let owned = vec![(1, String::from("a")), (2, String::from("b"))];
                let borrowed = owned.iter().map(|(n, text)| (n + 10, text.as_str()));
                let pair = "INSERT INTO number VALUES (?1, ?2)";
                assert_eq!(db.execute_many(pair, borrowed).await?, 2);
                let by_reference = [(3, "c"), (4, "d")];
                assert_eq!(db.execute_many(pair, &by_reference).await?, 2);
                assert_eq!(db.execute_many(pair, owned).await?, 2);
                let mixed = [params![21, "c"], params![22, None::<&str>]];
                assert_eq!(db.execute_many(pair, mixed).await?, 2);
                let named = "INSERT INTO number VALUES (:n, :text)";
                let rows = [31, 32].map(|n| named_params! {":n": n, ":text": "d"});
                assert_eq!(db.execute_many(named, rows).await?, 2);
                assert_eq!(db.execute_many("DELETE FROM log", [(), ()]).await?, 10);
                // As `execute`, it has no use for rows.
                let returning = "INSERT INTO number (n) VALUES (?1) RETURNING n";
                assert_eq!(db.execute_many(returning, [(41,), (42,)]).await?, 2);
                assert_eq!(db.execute_many("SELECT ?1", [(1,), (2,)]).await?, 0);
                assert_eq!(db.execute_many("not looked at", [(); 0]).await?, 0);
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(store.counts().await.unwrap(), (12, 2));
        store.close().await.unwrap();
    });
}

#[test]
fn a_row_that_fails_undoes_all_rows_and_nothing_else() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for at in [0, 1, 255, 256, 3_000] {
                store
                    .write(async |db| {
                        db.execute("DELETE FROM number", ()).await?;
                        db.execute("DELETE FROM log", ()).await?;
                        db.execute(ADD, (1,)).await?;
                        // A CHECK, a key that is taken, a value that SQLite cannot hold, and one that the table cannot.
                        let wrong: [(Result<_>, &str); 4] = [
                            (params![13], "CHECK"),
                            (params![1], "UNIQUE"),
                            (params![u64::MAX], "parameter ?1"),
                            (params!["text"], "datatype mismatch"),
                        ];
                        for (wrong, text) in wrong {
                            let wrong = wrong.map_or_else(Err, Ok);
                            let rows = (0..4_000).map(|n| {
                                if n == at {
                                    wrong.clone()
                                } else {
                                    params![n + 100]
                                }
                            });
                            let error = db.execute_many(ADD, rows).await.unwrap_err();
                            let Error::Row { index, cause } = &error else {
                                panic!("{error}");
                            };
                            assert_eq!(*index, at as usize);
                            assert!(cause.downcast_ref::<Error>().is_some());
                            assert!(error.to_string().starts_with(&format!("row {at}: ")));
                            assert!(error.to_string().contains(text), "{error}");
                            assert_eq!(error.is_unique_violation(), text == "UNIQUE");
                            assert!(!error.is_retryable());
                        }
                        let given = db.execute_many(ADD, [(7, 7)]).await.unwrap_err();
                        assert!(matches!(given, Error::Row { index: 0, .. }), "{given}");
                        let whole = db.execute_many("INSERT", [(1,)]).await.unwrap_err();
                        assert!(matches!(whole, Error::Sqlite(_)), "{whole}");
                        db.execute(ADD, (2,)).await
                    })
                    .await
                    .unwrap();
                assert_eq!(store.counts().await.unwrap(), (2, 2), "{at}");
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_conflict_clause_that_rolls_back_ends_the_transaction() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let written = store
            .write(async |db| {
                db.execute(ADD, (1,)).await?;
                let sql = "INSERT OR ROLLBACK INTO number (n) VALUES (?1)";
                let error = db.execute_many(sql, [(2,), (1,)]).await.unwrap_err();
                assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
                assert!(error.to_string().contains("row 1"), "{error}");
                Ok(())
            })
            .await;
        assert!(written.is_err());
        assert_eq!(store.counts().await.unwrap(), (0, 0));
        store.close().await.unwrap();
    });
}

#[test]
fn a_nested_call_that_fails_undoes_its_rows_alone() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store
            .write(async |db| {
                db.execute_many(ADD, (100..1_000).map(|n| (n,))).await?;
                let error = store.add(0, 900).await.unwrap_err();
                assert!(matches!(error, Error::Row { index: 13, .. }), "{error}");
                store.add(1_000, 2_000).await
            })
            .await
            .unwrap();
        assert_eq!(store.counts().await.unwrap(), (1_900, 1_900));
        store.close().await.unwrap();
    });
}

/// The iterator is the program's code.
#[test]
fn a_panic_of_the_iterator_undoes_the_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let body = Arc::clone(&store);
            let panics = tokio::spawn(async move {
                let rows = (0..900).map(|n| {
                    assert!(n < 700, "as asked");
                    (n + 100,)
                });
                body.write(async |db| db.execute_many(ADD, rows).await)
                    .await
            });
            assert!(within(panics).await.unwrap_err().is_panic());
            assert_eq!(store.counts().await.unwrap(), (0, 0));
            store.add(100, 200).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

/// The body goes on after it has dropped the statement, wherever that was.
#[test]
fn a_statement_that_is_dropped_leaves_no_row_or_takes_the_transaction_with_it() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for moment in Moment::ALL {
                for at in 1..100 {
                    let from = 1_000_000 * (at as i64) + 2_000 * (moment as i64);
                    let (before, _) = store.counts().await.unwrap();
                    let mut through = false;
                    let written = store
                        .write(async |db| {
                            let rows = (from..from + 1_000).map(|n| (n,));
                            let dropped = cut(at, moment, db.execute_many(ADD, rows)).await;
                            through = dropped.is_some();
                            db.execute(ADD, (from - 1,)).await
                        })
                        .await;
                    let (after, logged) = store.counts().await.unwrap();
                    let expected = match written {
                        Ok(_) if through => 1_001,
                        Ok(_) => 1,
                        Err(_) => 0,
                    };
                    assert_eq!(after - before, expected, "{at} {moment:?} {execution:?}");
                    assert_eq!(after, logged);
                    if through {
                        break;
                    }
                    assert!(at < 99, "it does not get through");
                }
            }
            store.close().await.unwrap();
        }
    });
}

/// Rows are asked for as they are needed.
#[test]
fn an_endless_iterator_is_stopped_by_the_row_that_fails() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let rows = (14..)
            .chain([])
            .map(|n: i64| (if n == 20_000 { 13 } else { n },));
        let error = store
            .write(async |db| db.execute_many(ADD, rows).await)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Row { index: 19_986, .. }), "{error}");
        assert_eq!(store.counts().await.unwrap(), (0, 0));
        store.close().await.unwrap();
    });
}

#[test]
fn a_statement_that_was_not_awaited_asks_for_no_row() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store
            .write(async |db| {
                drop(db.execute_many(ADD, std::iter::repeat_with(|| -> (i64,) { panic!() })));
                let mut nothing = Box::pin(db.execute_many(ADD, [(); 0]));
                assert!(poll_once(&mut nothing).await.is_ready());
                Ok(())
            })
            .await
            .unwrap();
        store.close().await.unwrap();
    });
}
