//! What the library has learned of a method can be looked at.

#![allow(clippy::unwrap_used)]

use dbm_core::prelude::*;
use dbm_core::{Execution, Profile, Sharing, profiles};
use dbm_tests::run;

dbm_tests::manager!(Store);

impl Store {
    #[database_safe]
    async fn writes(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)", ())
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn writes_in_a_closure(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| Ok(c.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER)")?))
            .await
    }

    #[database_safe]
    async fn reads(&self, db: &mut ReadTransaction) -> Result<Option<i64>> {
        db.query_optional("SELECT rowid FROM sqlite_schema WHERE rowid = ?1", (1,))
            .await
    }

    #[database_safe]
    async fn is_never_called(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT 1", ()).await
    }
}

fn of(method: &str) -> Option<Profile> {
    let mut found = profiles()
        .into_iter()
        .filter(|profile| profile.module == module_path!() && profile.method == method);
    let profile = found.next();
    assert!(found.next().is_none(), "two profiles of {method}");
    profile
}

#[test]
fn a_profile_tells_what_calls_have_shown() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        // On a machine that is busy a read may be too long to be run where the task is.
        let inline = Config::in_memory().execution(Execution::Inline);
        let inline = Store::create(inline).await.unwrap();
        for _ in 0..5 {
            store.writes().await.unwrap();
            store.writes_in_a_closure().await.unwrap();
            inline.reads().await.unwrap();
        }
        assert_eq!(of("writes").unwrap().sharing, Sharing::Shares);
        let closure = of("writes_in_a_closure").unwrap();
        assert_eq!((closure.sharing, closure.offloaded), (Sharing::Alone, 5));
        let reads = of("reads").unwrap();
        assert_eq!((reads.sharing, reads.offloaded), (Sharing::Unknown, 0));
        assert_eq!(of("is_never_called"), None);
        store.close().await.unwrap();
        inline.close().await.unwrap();
    });
}
