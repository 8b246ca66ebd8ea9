//! Calls side by side in one body, begun and left alone.

use std::sync::Arc;

use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, poll_once, run, within};
use tokio::sync::oneshot;

use super::{EXECUTIONS, Store};

// Side by side.

impl Store {
    #[database_safe]
    async fn join_writes(&self, _db: &mut WriteTransaction) -> Result<()> {
        let (one, two, three) = tokio::join!(self.add(1), self.add_and_fail(2), self.add(3));
        one.and(three)?;
        assert!(two.is_err());
        Ok(())
    }

    #[database_safe]
    async fn join_with_statements(&self, db: &mut WriteTransaction) -> Result<()> {
        let (one, two, three) = tokio::join!(
            self.add(1),
            db.execute("INSERT INTO number (n) VALUES (2)", ()),
            self.add_and_fail(3)
        );
        one?;
        two?;
        assert!(three.is_err());
        let (own, nested) =
            tokio::join!(db.query::<i64>("SELECT n FROM number", ()), self.numbers());
        assert_eq!(own?, nested?);
        Ok(())
    }

    #[database_safe]
    async fn join_reads(&self, db: &mut ReadTransaction) -> Result<usize> {
        let (one, two, three) = tokio::join!(
            self.numbers(),
            self.numbers(),
            db.query::<i64>("SELECT n FROM number", ())
        );
        Ok(one?.len() + two?.len() + three?.len())
    }

    /// The inner calls are themselves at work when the others want to begin.
    #[database_safe]
    async fn join_deep(&self, _db: &mut WriteTransaction, n: i64) -> Result<()> {
        if n > 3 {
            return Ok(());
        }
        let (left, right, own) = tokio::join!(
            Box::pin(self.join_deep(2 * n)),
            Box::pin(self.join_deep(2 * n + 1)),
            self.add_slowly(n)
        );
        left.and(right).and(own)
    }

    #[database_safe]
    async fn add_slowly(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        tokio::task::yield_now().await;
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[test]
fn joined_calls_in_one_body_take_turns() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_writes()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 3]);
            store.close().await.unwrap();

            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_with_statements()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2]);
            assert_eq!(within(store.join_reads()).await.unwrap(), 6);
            store.close().await.unwrap();

            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_deep(1)).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    /// A call is begun and not polled on, as a careless `select!` does.
    #[database_safe]
    async fn forget_to_poll(&self, db: &mut WriteTransaction) -> Result<()> {
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        begun.await
    }

    #[database_safe]
    async fn forget_to_poll_and_call(&self, _db: &mut WriteTransaction) -> Result<()> {
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        self.add(2).await?;
        begun.await
    }

    /// Begun, and neither polled nor dropped ever again.
    #[database_safe]
    async fn forget_a_call(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        let _ = std::mem::ManuallyDrop::new(begun);
        Ok(())
    }
}

#[test]
fn an_inner_call_that_is_forgotten_does_not_hold_its_outer_one_for_ever() {
    run(async {
        let store = Store::impatient().await;
        assert!(within(store.forget_a_call()).await.is_err());
        within(store.add(3)).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [3]);
    });
}

#[test]
fn what_waits_for_a_call_that_nobody_polls_gives_up_and_names_it() {
    run(async {
        let store = Store::impatient().await;
        for error in [
            within(store.forget_to_poll()).await.unwrap_err(),
            within(store.forget_to_poll_and_call()).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        }
        assert!(store.numbers().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn leave_a_call_behind(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        Ok(())
    }

    #[database_safe]
    async fn give_a_call_away(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
        go_on: oneshot::Receiver<()>,
    ) -> Result<tokio::task::JoinHandle<Result<()>>> {
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        let store = Arc::clone(self);
        let mut begun = Box::pin(async move { store.add_when_told(4, go_on).await });
        assert!(poll_once(&mut begun).await.is_pending());
        Ok(tokio::spawn(begun))
    }

    #[database_safe]
    async fn add_when_told(
        &self,
        db: &mut WriteTransaction,
        n: i64,
        go_on: oneshot::Receiver<()>,
    ) -> Result<()> {
        let _ = go_on.await;
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }
}

/// The outer call waits for it: it is part of its transaction.
#[test]
fn an_inner_call_that_outlives_the_body_is_undone_or_waited_for() {
    run(async {
        let store = Store::new().await;
        within(store.leave_a_call_behind()).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [2], "dropped, undone");
        let (go_on, told) = oneshot::channel();
        let (task, ()) = tokio::join!(within(store.give_a_call_away(told)), async {
            tokio::task::yield_now().await;
            go_on.send(()).unwrap();
        });
        match within(task.unwrap()).await.unwrap() {
            Ok(()) => assert_eq!(store.numbers().await.unwrap(), [2, 3, 4]),
            Err(_) => assert_eq!(store.numbers().await.unwrap(), [2, 3]),
        }
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn do_nothing(&self, _db: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }

    #[database_safe]
    async fn drop_inner_calls(&self, db: &mut WriteTransaction) -> Result<()> {
        for moment in Moment::ALL {
            for at in 1..8 {
                let _ = cut(at, moment, self.do_nothing()).await;
                let _ = cut(at, moment, self.numbers()).await;
            }
        }
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        Ok(())
    }
}

/// Neither has written anything, so there is nothing that could be lost.
#[test]
fn an_inner_call_that_is_dropped_without_a_write_costs_the_outer_one_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.drop_inner_calls()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
    });
}
