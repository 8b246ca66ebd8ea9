//! What the caller sees.

use std::panic::AssertUnwindSafe;

use dbm_core::prelude::*;
use dbm_tests::run;
use futures_util::FutureExt as _;

use super::{ADD, Store, in_order};

// What the caller sees.

impl Store {
    #[database_safe]
    #[fail_with_exception]
    async fn as_an_error(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        panic!("{} as asked", n)
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn as_a_value(&self, db: &mut WriteTransaction, n: i64) -> Result<i64> {
        db.execute(ADD, (n,)).await?;
        panic!("as asked")
    }

    #[database_safe]
    #[fail_value((-1, None))]
    #[fail_with_exception]
    async fn as_both(&self, db: &mut WriteTransaction, n: i64) -> Result<(i64, Option<Error>)> {
        db.execute(ADD, (n,)).await?;
        panic!("as asked")
    }

    #[database_safe]
    #[fail_with_exception]
    async fn with_a_strange_payload(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        std::panic::panic_any(n)
    }

    #[database_safe]
    #[fail_with_exception]
    async fn with_a_long_message(&self, _db: &mut WriteTransaction) -> Result<()> {
        panic!("{}", "long ".repeat(1_000_000))
    }

    #[database_safe]
    #[fail_value(panic!("in the fail value"))]
    async fn in_the_fail_value(&self, db: &mut WriteTransaction, n: i64) -> Result<i64> {
        db.execute(ADD, (n,)).await?;
        Err(Error::other("as asked"))
    }

    #[database_safe]
    async fn with_its_payload(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        std::panic::panic_any(n)
    }
}

#[test]
fn the_policy_says_what_the_caller_sees_of_a_panic() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        match store.as_an_error(7).await.unwrap_err() {
            Error::Panicked { method, message } => {
                assert_eq!((method, message.as_str()), ("as_an_error", "7 as asked"));
            }
            other => panic!("{other}"),
        }
        assert_eq!(store.as_a_value(7).await, -1);
        match store.as_both(7).await {
            (
                -1,
                Some(Error::Panicked {
                    method: "as_both",
                    message,
                }),
            ) => assert_eq!(message, "as asked"),
            other => panic!("{other:?}"),
        }
        let error = store.with_a_strange_payload(7).await.unwrap_err();
        assert!(matches!(error, Error::Panicked { .. }), "{error}");
        let error = store.with_a_long_message().await.unwrap_err();
        assert!(error.to_string().len() < 10_000, "texts are bounded");
        let panic = AssertUnwindSafe(store.with_its_payload(7))
            .catch_unwind()
            .await
            .unwrap_err();
        assert_eq!(
            panic.downcast_ref::<i64>(),
            Some(&7),
            "the payload itself goes on"
        );
        assert!(store.numbers().await.unwrap().is_empty());
        store.close().await.unwrap();
    });
}

#[test]
fn a_panic_in_the_fail_value_comes_after_the_rollback() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        let panic = AssertUnwindSafe(store.in_the_fail_value(7))
            .catch_unwind()
            .await
            .unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"in the fail value"));
        in_order(&store, &mut Vec::new(), "a panic in the fail value").await;
        store.close().await.unwrap();
    });
}
