//! A statement that its body has leaked runs for nobody: it is stopped, and the call is over.

use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::{EXECUTIONS, Store};

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
    INSERT INTO number SELECT 1000 FROM n WHERE x < 0";

/// What a body does after it has leaked its statement.
#[derive(Debug, Clone, Copy)]
enum Then {
    Ok,
    Err,
    Panic,
    Another,
    Nested,
}

const THENS: [Then; 5] = [
    Then::Ok,
    Then::Err,
    Then::Panic,
    Then::Another,
    Then::Nested,
];

#[expect(clippy::mem_forget, reason = "the hazard")]
async fn forget<T>(statement: impl Future<Output = T>) {
    let mut statement = Box::pin(statement);
    assert!(poll_once(&mut statement).await.is_pending());
    std::mem::forget(statement);
}

impl Store {
    async fn then(&self, db: &mut ReadTransaction, then: Then) -> Result<()> {
        match then {
            Then::Ok => Ok(()),
            Then::Err => Err(Error::other("as asked")),
            Then::Panic => panic!("as asked"),
            Then::Another => db.query_one::<i64>("SELECT 1", ()).await.map(drop),
            Then::Nested => Ok(()),
        }
    }

    #[database_safe]
    async fn forget_a_query(
        &self,
        db: &mut WriteTransaction,
        sql: &'static str,
        then: Then,
    ) -> Result<()> {
        db.execute("INSERT INTO number VALUES (500)", ()).await?;
        // The statement owns what it borrows: the handle is not borrowed any longer than the call.
        forget(db.execute(sql, ())).await;
        self.then(db, then).await
    }

    #[database_safe]
    async fn forget_a_read(&self, db: &mut ReadTransaction, then: Then) -> Result<()> {
        forget(db.query_one::<i64>(ENDLESS, ())).await;
        self.then(db, then).await
    }

    #[database_safe]
    async fn forget_on_a_connection(&self, db: &mut Connection, then: Then) -> Result<()> {
        forget(db.query_one::<i64>(ENDLESS, ())).await;
        self.then(db, then).await
    }

    #[database_safe]
    async fn forget_inside(&self, _: &mut WriteTransaction, then: Then) -> Result<()> {
        self.forget_a_query(ENDLESS, then).await
    }

    /// The nested call itself is leaked.
    #[database_safe]
    async fn forget_a_call(&self, _: &mut WriteTransaction) -> Result<()> {
        forget(self.forget_a_query(ENDLESS, Then::Ok)).await;
        Ok(())
    }

    #[database_safe]
    async fn forget_and_wait(&self, db: &mut WriteTransaction, inside: &Notify) -> Result<()> {
        forget(db.query_one::<i64>(ENDLESS, ())).await;
        inside.notify_one();
        std::future::pending().await
    }
}

#[test]
fn a_leaked_statement_keeps_neither_the_writer_nor_a_reader() {
    run(async {
        for execution in EXECUTIONS {
            if execution == dbm_core::Execution::Inline {
                // There it ends before anybody can leak it.
                continue;
            }
            let config = Config::in_memory().execution(execution).readers(1);
            // A leaked call may as well go on somewhere else: it is waited for.
            let config = config.acquire_timeout(Duration::from_millis(300));
            let store = Store::create(config).await.unwrap();
            for then in THENS {
                let wrong = [
                    caught(store.forget_a_query(ENDLESS, then)).await,
                    caught(store.forget_a_query(ENDLESS_WRITE, then)).await,
                    caught(store.forget_a_read(then)).await,
                    caught(store.forget_on_a_connection(then)).await,
                    caught(store.forget_inside(then)).await,
                    caught(store.forget_a_call()).await,
                ];
                for result in wrong {
                    assert!(result.is_err(), "{then:?}");
                }
                within(store.add(4)).await.unwrap();
                assert_eq!(within(store.numbers()).await.unwrap(), [1, 2, 3, 4]);
                within(store.remove(4)).await.unwrap();
            }
            within(store.close()).await.unwrap();
        }
    });
}

/// A panic as an error.
async fn caught(call: impl Future<Output = Result<()>>) -> Result<()> {
    let call = std::panic::AssertUnwindSafe(call).catch_unwind();
    let panicked = |_| Err(Error::other("it panicked"));
    within(call).await.unwrap_or_else(panicked)
}

#[test]
fn a_call_that_is_dropped_with_a_leaked_statement_gives_the_writer_back() {
    run(async {
        let store = Store::new(dbm_core::Execution::Auto).await;
        let inside = Notify::new();
        let mut call = Box::pin(store.forget_and_wait(&inside));
        tokio::select! {
            result = &mut call => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut next = Box::pin(store.add(4));
        assert!(poll_once(&mut next).await.is_pending());
        drop(call);
        within(next).await.unwrap();
        within(store.close()).await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn wait(&self, db: &mut WriteTransaction, inside: &Notify, go_on: &Notify) -> Result<()> {
        db.execute("INSERT INTO number VALUES (600)", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        db.execute("INSERT INTO number VALUES (601)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn wait_on_a_connection(
        &self,
        db: &mut Connection,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        db.execute("SELECT 1", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        db.execute("INSERT INTO number VALUES (601)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn long(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.query_one(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000000) SELECT count(*) FROM n",
            (),
        )
        .await
    }
}

/// `select!` polls one branch only, for as long as that is ready first.
#[test]
fn a_call_that_is_not_polled_any_more_is_named_to_those_who_wait() {
    run(async {
        let config = Config::in_memory().acquire_timeout(Duration::from_millis(200));
        let store = Store::create(config).await.unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut aside = Box::pin(store.wait(&inside, &go_on));
        tokio::select! {
            result = &mut aside => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let error = within(store.add(4)).await.unwrap_err();
        assert!(
            matches!(error, Error::AcquireTimeout { holder: "wait", .. }),
            "{error}"
        );
        go_on.notify_one();
        within(aside).await.unwrap();
        store.add(4).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_call_that_does_nothing_for_longer_than_it_may_is_evicted_when_others_wait() {
    run(async {
        for execution in EXECUTIONS {
            for bare in [false, true] {
                let config = Config::in_memory()
                    .execution(execution)
                    .max_write_idle(Duration::from_millis(50));
                let store = Store::create(config).await.unwrap();
                let (inside, go_on) = (Notify::new(), Notify::new());
                let mut aside: std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> = if bare
                {
                    Box::pin(store.wait_on_a_connection(&inside, &go_on))
                } else {
                    Box::pin(store.wait(&inside, &go_on))
                };
                tokio::select! {
                    result = &mut aside => panic!("{result:?}"),
                    () = inside.notified() => {}
                }
                within(store.add(4)).await.unwrap();
                go_on.notify_one();
                let error = within(aside).await.unwrap_err();
                assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
                assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
                store.close().await.unwrap();
            }
        }
    });
}

#[test]
fn a_call_is_not_idle_while_its_statement_runs_or_while_nobody_waits() {
    run(async {
        for execution in EXECUTIONS {
            let config = Config::in_memory()
                .execution(execution)
                .max_write_idle(Duration::from_millis(200));
            let store = Store::create(config).await.unwrap();
            let mut long = Box::pin(store.long());
            let begun = poll_once(&mut long).await;
            if begun.is_pending() {
                let mut next = Box::pin(store.add(4));
                assert!(poll_once(&mut next).await.is_pending());
                let (long, next) = within(async { tokio::join!(long, next) }).await;
                assert_eq!(long.unwrap(), 3_000_000);
                next.unwrap();
            }
            let (inside, go_on) = (Notify::new(), Notify::new());
            let mut alone = Box::pin(store.wait(&inside, &go_on));
            tokio::select! {
                result = &mut alone => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            // A second call would queue: a read does not.
            let _ = within(store.numbers()).await.unwrap();
            go_on.notify_one();
            within(alone).await.unwrap();
            store.close().await.unwrap();
        }
    });
}
