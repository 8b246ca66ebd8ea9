//! Statements that write and give rows.

use dbm_core::prelude::*;
use dbm_core::rusqlite::functions::FunctionFlags;
use dbm_tests::{poll_once, run, within};

use super::{EXECUTIONS, NO_ROW, Store, all};

const ADD: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 30000)
    INSERT INTO note (text) SELECT x FROM n RETURNING id";

#[test]
fn a_write_is_whole_once_its_first_row_has_come() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            store
                .write(async |db| {
                    let mut ids = db.stream::<i64>(ADD, ());
                    assert_eq!(ids.next().await?, Some(1));
                    drop(ids);
                    let added: i64 = db.query_one("SELECT count(*) FROM note", ()).await?;
                    assert_eq!(added, 30_000);
                    assert_eq!(all(db.stream::<i64>(ADD, ())).await?.len(), 30_000);
                    Ok(())
                })
                .await
                .unwrap();
            assert_eq!(store.count().await.unwrap(), 60_000);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_write_that_fails_at_its_end_gives_no_row_and_is_undone() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(Config::in_memory().execution(execution)).await;
            store
                .write(async |db| {
                    let sql = "INSERT INTO child VALUES (1), (2) RETURNING parent";
                    let mut rows = db.stream::<i64>(sql, ());
                    let error = rows.next().await.unwrap_err();
                    assert!(error.is_foreign_key_violation(), "{error}");
                    drop(rows);
                    let left: i64 = db.query_one("SELECT count(*) FROM child", ()).await?;
                    assert_eq!(left, 0);
                    db.execute("INSERT INTO note (text) VALUES ('kept')", ())
                        .await
                })
                .await
                .unwrap();
            assert_eq!(store.count().await.unwrap(), 1);
            store.close().await.unwrap();
        }
    });
}

/// What it has done is unknown.
#[test]
fn a_write_that_is_dropped_before_its_first_row_takes_the_transaction_with_it() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        let written = store
            .write(async |db| {
                let (runs, mut running) = tokio::sync::mpsc::unbounded_channel();
                db.call(move |connection| {
                    let flags = FunctionFlags::SQLITE_UTF8;
                    Ok(
                        connection.create_scalar_function("running", 0, flags, move |_| {
                            let _ = runs.send(());
                            Ok("")
                        })?,
                    )
                })
                .await?;
                let endless =
                    format!("INSERT INTO note (text) {NO_ROW} OR running() = 1 RETURNING id");
                let mut rows = db.stream::<i64>(&endless, ());
                assert!(poll_once(&mut Box::pin(rows.next())).await.is_pending());
                within(running.recv()).await.unwrap();
                drop(rows);
                let after = db
                    .execute("INSERT INTO note (text) VALUES ('after')", ())
                    .await;
                assert!(after.is_err());
                Ok(())
            })
            .await;
        let error = written.unwrap_err();
        let is_it = matches!(
            error,
            Error::StatementDropped | Error::TransactionLost { .. }
        );
        assert!(is_it, "{error}");
        assert_eq!(store.count().await.unwrap(), 0);
        store.close().await.unwrap();
    });
}
