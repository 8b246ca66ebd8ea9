//! Calls in calls in calls.

use dbm_core::prelude::*;
use dbm_tests::run;

use super::{EXECUTIONS, Store};

impl Store {
    #[database_safe]
    #[fail_with_exception]
    async fn add_and_panic(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        panic!("as asked")
    }

    #[database_safe]
    async fn add_and_panic_on(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        panic!("as asked")
    }
}

#[test]
fn an_inner_failure_at_depth_three_undoes_only_itself() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            store.outer().await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 4, 5]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn lose_a_good_inner(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        assert!(self.add_inside_and_fail().await.is_err());
        assert_eq!(self.numbers().await?, [1]);
        Ok(())
    }

    #[database_safe]
    async fn add_inside_and_fail(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.add(2).await?;
        assert_eq!(self.numbers().await?, [1, 2]);
        Err(Error::other("as asked"))
    }
}

#[test]
fn an_outer_failure_undoes_the_inner_call_that_went_well() {
    run(async {
        let store = Store::new().await;
        store.lose_a_good_inner().await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn dig(&self, db: &mut WriteTransaction, depth: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (depth,))
            .await?;
        Box::pin(self.dig(depth + 1)).await
    }

    #[database_safe]
    async fn dig_to(&self, db: &mut WriteTransaction, depth: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (depth,))
            .await?;
        if depth == 0 {
            Ok(())
        } else {
            Box::pin(self.dig_to(depth - 1)).await
        }
    }
}

impl Store {
    #[database_safe]
    async fn look_down(&self, _db: &mut ReadTransaction, depth: i64) -> Result<()> {
        if depth == 0 {
            Ok(())
        } else {
            self.look_down(depth - 1).await
        }
    }
}

#[test]
fn reads_without_end_are_refused_before_the_stack_overflows() {
    run(async {
        let store = Store::new().await;
        store.look_down(50).await.unwrap();
        let error = store.look_down(i64::MAX).await.unwrap_err();
        assert!(matches!(error, Error::Nesting { .. }), "{error}");
        store.close().await.unwrap();
    });
}

#[test]
fn calls_without_end_are_refused_at_some_depth_and_undone() {
    run(async {
        let store = Store::new().await;
        store.dig_to(50).await.unwrap();
        assert_eq!(store.numbers().await.unwrap().len(), 51);
        let error = store.dig(100).await.unwrap_err();
        assert!(matches!(error, Error::Nesting { .. }), "{error}");
        assert_eq!(store.numbers().await.unwrap().len(), 51);
        store.close().await.unwrap();
    });
}

// Panics.

impl Store {
    #[database_safe]
    async fn survive_an_inner_panic(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        let error = self.add_and_panic(2).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Panicked {
                    method: "add_and_panic",
                    ..
                }
            ),
            "{error}"
        );
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_with_exception]
    async fn die_of_an_inner_panic(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (4)", ()).await?;
        self.add_and_panic_on(5).await
    }
}

#[test]
fn an_inner_panic_undoes_only_itself_when_it_is_an_error() {
    run(async {
        let store = Store::new().await;
        store.survive_an_inner_panic().await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1, 3]);
        let error = store.die_of_an_inner_panic().await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Panicked {
                    method: "die_of_an_inner_panic",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(store.numbers().await.unwrap(), [1, 3]);
        store.close().await.unwrap();
    });
}
