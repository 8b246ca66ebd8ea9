//! A read that is known to run one statement has no transaction around it, and loses nothing by that.

#![allow(clippy::unwrap_used)]

use dbm_core::Execution;
use dbm_core::call::{Site, call};
use dbm_core::prelude::*;
use dbm_tests::run;
use futures_util::FutureExt as _;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE item (id INTEGER PRIMARY KEY)")
            .await
    }
}

const COUNT: &str = "SELECT count(*) FROM item";

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO item DEFAULT VALUES", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(COUNT, ()).await
    }

    /// Another call in its body comes first, without an `.await`.
    #[database_safe]
    async fn counts_twice(
        &self,
        db: &mut ReadTransaction,
        between: impl FnOnce() + Send,
    ) -> Result<(i64, i64)> {
        let first = self.count().now_or_never().unwrap()?;
        between();
        Ok((first, db.query_one(COUNT, ()).await?))
    }

    /// Another call in its body comes last, and is not seen to be one of the same manager.
    #[database_safe]
    async fn counts_again(&self, db: &mut ReadTransaction, same: &Self) -> Result<i64> {
        let count: i64 = db.query_one(COUNT, ()).await?;
        Ok(count - same.count().now_or_never().unwrap()?)
    }
}

async fn store() -> std::sync::Arc<Store> {
    // On a machine that is busy a read may be too long to be run where the task is.
    let config = Config::in_memory().execution(Execution::Inline);
    Store::create(config).await.unwrap()
}

#[test]
fn a_read_sees_what_was_acknowledged_before_it() {
    run(async {
        let store = store().await;
        for count in 0..100 {
            assert_eq!(store.count().await.unwrap(), count);
            store.add().await.unwrap();
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_call_before_the_statement_sees_the_same_state() {
    run(async {
        let store = store().await;
        let adds = std::sync::Arc::clone(&store);
        let between = move || {
            let added = std::thread::spawn(move || adds.add().now_or_never());
            added.join().unwrap().unwrap().unwrap();
        };
        assert_eq!(store.counts_twice(between).await.unwrap(), (0, 0));
        assert_eq!(store.count().await.unwrap(), 1);
        store.close().await.unwrap();
    });
}

#[test]
fn a_call_after_the_statement_is_refused_and_does_not_see_another_state() {
    run(async {
        let store = store().await;
        let refused = store.counts_again(&store).await;
        let is_it = |error: &Error| {
            matches!(
                error,
                Error::Nesting {
                    outer: "counts_again",
                    ..
                }
            )
        };
        assert!(refused.as_ref().is_err_and(is_it), "{refused:?}");
        assert_eq!(store.count().await.unwrap(), 0);
        store.close().await.unwrap();
    });
}

#[test]
fn a_second_statement_is_refused_if_a_site_was_wrong_about_it() {
    static SITE: Site = Site::new(module_path!(), "twice").one_statement();
    run(async {
        let store = store().await;
        let outcome = call(&SITE, &*store)
            .on::<ReadTransaction>()
            .returning::<Result<i64>>()
            .run(async |mut db: ReadTransaction| {
                let first: i64 = db.query_one(COUNT, ()).await?;
                let second: i64 = db.query_one(COUNT, ()).await?;
                Ok(first + second)
            });
        let refused = outcome.await.into_result();
        assert!(matches!(refused, Err(Error::HandleEnded)), "{refused:?}");
        assert_eq!(store.count().await.unwrap(), 0);
        store.close().await.unwrap();
    });
}
