//! However SQLite ends a transaction, nothing of it is kept.

use std::pin::Pin;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{run, within};

use super::{ADD, EXECUTIONS, Store, Way};

const WAYS: [Way; 9] = [
    Way::OrRollback,
    Way::Trigger,
    Way::Script,
    Way::Closure,
    Way::ClosureGoesOn,
    Way::ClosurePanics,
    Way::Inner,
    Way::InnerDropped,
    Way::InnerTimeout,
];

impl Store {
    #[database_safe]
    async fn tables(&self, db: &mut ReadTransaction) -> Result<(i64, i64, String)> {
        db.query_one(
            "SELECT (SELECT count(*) FROM sqlite_schema WHERE name IN ('leftover', 'guarded')),
                 (SELECT user_version FROM pragma_user_version), (SELECT journal_mode FROM pragma_journal_mode)",
            (),
        )
        .await
    }

    #[database_safe]
    async fn go_on(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        let errors = [
            db.execute(ADD, (2,)).await.unwrap_err(),
            db.execute_batch("INSERT INTO number VALUES (3)")
                .await
                .unwrap_err(),
            db.query::<i64>("SELECT n FROM number", ())
                .await
                .unwrap_err(),
            db.query_map("SELECT n FROM number", (), |_| Ok(()))
                .await
                .unwrap_err(),
            db.call(|c| Ok(c.execute(ADD, (4,))?)).await.unwrap_err(),
            self.add(5).await.unwrap_err(),
            self.numbers().await.unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error, Error::TransactionLost { .. }),
                "{way:?}: {error}"
            );
        }
        Ok(())
    }

    #[database_safe]
    async fn outermost(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (8,)).await?;
        self.between(way).await;
        Ok(())
    }

    #[database_safe]
    #[fail_value(())]
    async fn between(&self, db: &mut WriteTransaction, way: Way) -> Result<()> {
        db.execute(ADD, (9,)).await?;
        self.ignore(way).await
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn with_a_value(&self, db: &mut WriteTransaction, way: Way) -> Result<i64> {
        db.execute(ADD, (1,)).await?;
        self.end_the_transaction(db, way).await;
        Ok(1)
    }
}

type Call = for<'a> fn(&'a Store, Way) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

async fn everywhere(name: &str, call: Call) {
    for execution in EXECUTIONS {
        let store = Store::new(execution).await;
        for way in WAYS {
            if way.interrupts() && execution == Execution::Inline {
                continue;
            }
            for _ in 0..2 {
                let error = within(call(&store, way)).await.unwrap_err();
                assert!(
                    matches!(error, Error::TransactionLost { .. }),
                    "{name} {way:?}: {error}"
                );
                assert_eq!(store.numbers().await.unwrap(), [0], "{name} {way:?}");
                assert_eq!(
                    store.tables().await.unwrap(),
                    (1, 0, "wal".to_owned()),
                    "{name} {way:?}"
                );
            }
            within(store.add(100)).await.unwrap();
            within(store.remove(100)).await.unwrap();
        }
        store.close().await.unwrap();
    }
}

#[test]
fn a_body_that_ignores_the_end_of_its_transaction_cannot_return_ok() {
    run(everywhere("ignore", |store, way| {
        Box::pin(store.ignore(way))
    }));
}

#[test]
fn every_later_statement_fails_and_nothing_is_committed_without_a_transaction() {
    run(everywhere("go_on", |store, way| Box::pin(store.go_on(way))));
}

#[test]
fn the_outermost_call_cannot_return_ok_when_an_inner_one_has_lost_the_transaction() {
    run(everywhere("outermost", |store, way| {
        Box::pin(store.outermost(way))
    }));
}

#[test]
fn a_lost_transaction_is_a_failure_for_every_policy() {
    run(async {
        for way in WAYS {
            let store = Store::new(Execution::Auto).await;
            assert_eq!(within(store.with_a_value(way)).await, -1, "{way:?}");
            assert_eq!(store.numbers().await.unwrap(), [0]);
            store.close().await.unwrap();
        }
    });
}

/// The cause can be found.
#[test]
fn the_error_carries_what_made_sqlite_roll_back() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        let error = store.ignore(Way::OrRollback).await.unwrap_err();
        assert_eq!(
            error.sqlite_code(),
            Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
            "{error}"
        );
        let error = store.ignore(Way::Trigger).await.unwrap_err();
        let raised = error.sqlite_message().unwrap();
        assert!(raised.contains("negative"), "{error}");
        assert!(!error.is_retryable());
        store.close().await.unwrap();
    });
}
