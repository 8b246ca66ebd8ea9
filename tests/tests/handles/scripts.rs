//! A script runs each of its statements to the end: one that yields rows works, or fails, at any of them.

use super::*;
use dbm_tests::{run, within};

impl Store {
    #[database_safe]
    async fn script(&self, db: &mut WriteTransaction, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn bare_script(&self, db: &mut dbm_core::Connection, sql: &str) -> Result<()> {
        db.execute_batch(sql).await
    }

    #[database_safe]
    async fn free_pages(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("PRAGMA freelist_count", ()).await
    }
}

#[test]
fn each_statement_of_a_script_runs_to_its_end() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store
                .script(
                    "INSERT INTO number VALUES (20), (21), (22) RETURNING n;
                     UPDATE number SET n = n + 100 WHERE n >= 20 RETURNING n;
                     SELECT n FROM number; -- rows of no use
                     DELETE FROM number WHERE n = 120 RETURNING n; ;; /* the */ -- end",
                )
                .await
                .unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 121, 122]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_incremental_vacuum_in_a_script_frees_every_page() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store
                .bare_script("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
                .await
                .unwrap();
            store
                .script("CREATE TABLE big (x); INSERT INTO big VALUES (zeroblob(1000000)); DROP TABLE big")
                .await
                .unwrap();
            assert!(store.free_pages().await.unwrap() > 200);
            store
                .bare_script("PRAGMA incremental_vacuum; SELECT 1")
                .await
                .unwrap();
            assert_eq!(store.free_pages().await.unwrap(), 0);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_error_at_a_later_row_of_a_script_is_an_error() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for sql in [
                "SELECT abs(n) FROM (SELECT 1 AS n UNION ALL SELECT -9223372036854775807 - 1)",
                "SELECT json(j) FROM (SELECT '{}' AS j UNION ALL SELECT 'no json'); INSERT INTO number VALUES (50)",
                "INSERT INTO number VALUES (50); SELECT 1; SELECT abs(n) FROM (VALUES (1), (-9223372036854775808)) AS v(n)",
                "INSERT INTO number VALUES (50); SELECT 1; SELECT nothing",
                "INSERT INTO number VALUES (50), (13) RETURNING n",
            ] {
                let error = within(store.script(sql)).await;
                assert!(matches!(error, Err(Error::Sqlite(_))), "{sql}: {error:?}");
            }
            let error = store.script("SELECT 1; INSERT INTO number VALUES (?1)");
            assert!(matches!(
                error.await,
                Err(Error::ParameterCount {
                    expected: 1,
                    given: 0
                })
            ));
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_script_is_guarded_at_each_of_its_statements() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for sql in [
                "SELECT 1; COMMIT",
                "INSERT INTO number VALUES (50) RETURNING n; PRAGMA cache_size = 7",
                "-- x\n; ATTACH ':memory:' AS x; SELECT 1",
                "SELECT 1; VACUUM",
            ] {
                let error = store.script(sql).await;
                assert!(
                    matches!(error, Err(Error::Refused { .. })),
                    "{sql}: {error:?}"
                );
            }
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.close().await.unwrap();
        }
    });
}
