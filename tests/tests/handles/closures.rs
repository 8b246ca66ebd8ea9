//! Closures have the whole of rusqlite, and the guard with it.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::{EXECUTIONS, Store};

// Closures.

impl Store {
    #[database_safe]
    async fn close_over(&self, db: &mut WriteTransaction, text: String) -> Result<(usize, String)> {
        db.execute("INSERT INTO number VALUES (20)", ()).await?;
        db.call(move |c| {
            let mut statement = c.prepare("INSERT INTO number VALUES (?1)")?;
            statement.execute([21])?;
            let count = c.query_row("SELECT count(*) FROM number", (), |row| row.get(0))?;
            Ok((count, text + "!"))
        })
        .await
    }

    #[database_safe]
    async fn fail_in_a_closure(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| Ok(c.execute("INSERT INTO number VALUES (1)", ()).map(drop)?))
            .await
    }

    #[database_safe]
    async fn take_the_guard_away(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (30)", ()).await?;
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await?;
        db.execute_batch("COMMIT; DELETE FROM number; BEGIN").await
    }

    #[database_safe]
    async fn take_the_guard_away_and_use_it(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number VALUES (31)", ()).await?;
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn take_the_guard_of_a_reader(&self, db: &mut ReadTransaction) -> Result<()> {
        db.call(|c| {
            c.authorizer(
                None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
            )?;
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn be_patient(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| Ok(c.busy_timeout(Duration::from_secs(3600))?))
            .await
    }

    #[database_safe]
    async fn refusal_of_a_reader(&self, db: &mut ReadTransaction) -> Result<()> {
        assert!(
            db.call(|c| Ok(c.execute_batch("PRAGMA query_only = 0")?))
                .await
                .is_err()
        );
        assert!(db.call(|c| Ok(c.execute_batch("COMMIT")?)).await.is_err());
        Ok(())
    }
}

#[test]
fn a_closure_has_the_whole_of_rusqlite_inside_the_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            assert_eq!(
                store.close_over("text".to_owned()).await.unwrap(),
                (5, "text!".to_owned())
            );
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 20, 21]);
            let error = store.fail_in_a_closure().await.unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert!(source.is::<rusqlite::Error>(), "{source:?}");
            assert_eq!(
                error.sqlite_code(),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            );
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_closure_that_takes_the_guard_away_fails_its_call_and_the_next_one_is_guarded() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution).readers(1))
                .await
                .unwrap();
            for _ in 0..3 {
                store.take_the_guard_away().await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
                store.take_the_guard_away_and_use_it().await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
                store.take_the_guard_of_a_reader().await.unwrap_err();
                store.refusal_of_a_reader().await.unwrap();
                store.refusals().await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

/// SQLite's own wait would hold up the thread and hear of no interrupt.
#[test]
fn a_busy_timeout_that_a_closure_sets_does_not_outlive_its_call() {
    run(async {
        for execution in EXECUTIONS {
            let config = Config::in_memory()
                .execution(execution)
                .busy_timeout(Duration::from_millis(50));
            let store = Store::create(config).await.unwrap();
            store.be_patient().await.unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let error = within(store.add(4)).await.unwrap_err();
            assert!(matches!(error, Error::Busy { .. }), "{error}");
            other.execute_batch("ROLLBACK").unwrap();
            store.add(4).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn add_and_read(&self, db: &mut WriteTransaction, n: i64, take: bool) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        if take {
            self.take_the_guard_of_a_reader().await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn add_when_told(&self, db: &mut WriteTransaction, n: i64, told: &Notify) -> Result<()> {
        told.notified().await;
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn take_the_guard_and_wait(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        told: &Notify,
    ) -> Result<()> {
        let _ = db
            .call(|c| {
                c.authorizer(
                    None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>,
                )?;
                Ok(())
            })
            .await;
        inside.notify_one();
        told.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn add_megabytes(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE large (x); INSERT INTO large VALUES (zeroblob(40000000))")
            .await
    }
}

/// The transaction is shared, so its connection cannot be thrown away.
#[test]
fn a_closure_of_an_inner_read_does_not_take_the_guard_of_a_shared_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for n in 100..104 {
                store.add(n).await.unwrap();
                store.add_and_read(n + 100, false).await.unwrap();
            }
            let told = Notify::new();
            let mut holder = Box::pin(store.add_when_told(300, &told));
            let mut first = Box::pin(store.add(301));
            let mut taking = Box::pin(store.add_and_read(302, true));
            assert!(poll_once(&mut holder).await.is_pending());
            assert!(poll_once(&mut first).await.is_pending());
            assert!(poll_once(&mut taking).await.is_pending());
            told.notify_one();
            let (holder, first, taking) =
                within(async { tokio::join!(holder, first, taking) }).await;
            holder.unwrap();
            first.unwrap();
            taking.unwrap_err();
            store.refusals().await.unwrap();
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_read_that_is_ended_for_its_age_leaves_its_connection_guarded() {
    run(async {
        let config = Config::in_memory()
            .readers(1)
            .durability(Durability::Off)
            .max_read_age(Duration::ZERO);
        let store = Store::create(config).await.unwrap();
        let (inside, told) = (Notify::new(), Notify::new());
        let mut taking = Box::pin(store.take_the_guard_and_wait(&inside, &told));
        tokio::select! {
            result = &mut taking => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        store.add_megabytes().await.unwrap();
        // It waits for the log to be emptied, and what is in the way of that to be ended.
        store.add(4).await.unwrap();
        told.notify_one();
        within(taking).await.unwrap_err();
        store.refusal_of_a_reader().await.unwrap();
        store.close().await.unwrap();
    });
}
