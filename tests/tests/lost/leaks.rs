//! Statements that a closure leaves behind.

use std::pin::Pin;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{Moment, cut, run, within};
use tokio::sync::Notify;

use super::{ADD, EXECUTIONS, OR_ROLLBACK, Store};

// Statements that a closure leaves behind.

impl Store {
    #[database_safe]
    async fn leave_rows_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn leave_rows_of_a_write_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| leak_rows(c, "INSERT INTO number VALUES (2), (3) RETURNING n"))
            .await
    }

    #[database_safe]
    async fn leave_rows_open_after_the_end(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            assert!(c.execute(OR_ROLLBACK, ()).is_err());
            leak_rows(c, "INSERT INTO number VALUES (4), (5) RETURNING n")
        })
        .await
    }

    #[database_safe]
    async fn leave_rows_of_a_read_open(&self, db: &mut ReadTransaction) -> Result<()> {
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn leave_rows_of_an_inner_read_open(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ADD, (6,)).await?;
        self.leave_rows_of_a_read_open().await
    }

    #[database_safe]
    async fn leave_rows_of_a_connection_open(&self, db: &mut Connection) -> Result<()> {
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await
    }

    #[database_safe]
    async fn change_all(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE t (x); DROP TABLE t").await
    }
}

/// Begins to read and never ends.
fn leak_rows(connection: &rusqlite::Connection, sql: &str) -> Result<()> {
    let mut statement = std::mem::ManuallyDrop::new(connection.prepare(sql)?);
    let mut rows = std::mem::ManuallyDrop::new(statement.query(())?);
    rows.next()?;
    Ok(())
}

#[test]
fn a_statement_that_a_closure_leaves_open_does_not_outlive_its_call() {
    type Leak = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
    let leaks: [Leak; 6] = [
        |store| Box::pin(store.leave_rows_open()),
        |store| Box::pin(store.leave_rows_of_a_write_open()),
        |store| Box::pin(store.leave_rows_open_after_the_end()),
        |store| Box::pin(store.leave_rows_of_a_read_open()),
        |store| Box::pin(store.leave_rows_of_an_inner_read_open()),
        |store| Box::pin(store.leave_rows_of_a_connection_open()),
    ];
    run(async move {
        for execution in EXECUTIONS {
            for (number, leak) in leaks.into_iter().enumerate() {
                let directory = tempfile::tempdir().unwrap();
                let config = Config::new(directory.path())
                    .execution(execution)
                    .readers(1);
                let store = Store::create(config).await.unwrap();
                for _ in 0..3 {
                    // Refused, or kept whole; what counts is what comes after.
                    let before = store.numbers().await.unwrap();
                    let left = within(leak(&store)).await;
                    if left.is_err() {
                        assert_eq!(
                            store.numbers().await.unwrap(),
                            before,
                            "leak {number}: {left:?}"
                        );
                    }
                    within(store.add(100))
                        .await
                        .unwrap_or_else(|error| panic!("leak {number}: {error}"));
                    assert!(store.numbers().await.unwrap().contains(&100));
                    within(store.change_all())
                        .await
                        .unwrap_or_else(|error| panic!("leak {number}: {error}"));
                    within(store.remove(100)).await.unwrap();
                    let _ = cut(1, Moment::AtOnce, store.clear()).await;
                    within(store.clear()).await.unwrap();
                }
                within(store.close()).await.unwrap();
            }
        }
    });
}

impl Store {
    #[database_safe]
    async fn leave_rows_open_and_wait(
        &self,
        db: &mut WriteTransaction,
        left: &Notify,
    ) -> Result<()> {
        db.call(|c| leak_rows(c, "SELECT n FROM number")).await?;
        left.notify_one();
        std::future::pending().await
    }
}

#[test]
fn a_statement_that_a_closure_leaves_open_does_not_outlive_a_call_that_is_dropped() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            let left = Notify::new();
            tokio::select! {
                result = store.leave_rows_open_and_wait(&left) => panic!("{result:?}"),
                () = left.notified() => {}
            }
            within(store.change_all()).await.unwrap();
            within(store.close()).await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn clear(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM number WHERE n <> 0", ()).await?;
        Ok(())
    }
}
