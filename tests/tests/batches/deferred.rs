//! What can fail at COMMIT only never shares one.

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{Moment, cut, run, within};

use super::{Call, Store, add_both, alone_guilty, everywhere, next_item, together};

const ORPHAN: &str = "INSERT INTO child (parent) VALUES (4711)";

impl Store {
    #[database_safe]
    async fn defer_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        defer: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if defer {
            db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
            db.execute(ORPHAN, ()).await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn defer_by_script(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        defer: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if defer {
            db.execute_batch(&format!("PRAGMA defer_foreign_keys = 1; {ORPHAN}"))
                .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn defer_by_call(&self, db: &mut WriteTransaction, item: i64, defer: bool) -> Result<()> {
        add_both(db, item).await?;
        if defer {
            db.call(|c| {
                c.pragma_update(None, "defer_foreign_keys", true)?;
                c.execute(ORPHAN, ())?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn defer_and_keep_order(&self, db: &mut WriteTransaction, id: i64) -> Result<()> {
        db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
        db.execute("INSERT INTO child (parent) VALUES (?1)", (id,))
            .await?;
        db.execute("INSERT INTO parent (id) VALUES (?1)", (id,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn add_an_orphan(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute(ORPHAN, ()).await?;
        Ok(())
    }
}

#[test]
fn keys_that_are_deferred_by_pragma_never_share() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.defer_now_and_then(next_item(), false).await.unwrap();
            store.defer_by_script(next_item(), false).await.unwrap();
            store.defer_by_call(next_item(), false).await.unwrap();
            store.defer_and_keep_order(next_item()).await.unwrap();
        }
        let item = next_item();
        alone_guilty(
            &store,
            Box::pin(store.defer_now_and_then(item, true)),
            false,
        )
        .await;
        assert_eq!(store.halves(item).await.unwrap(), 0, "it was undone");
        let item = next_item();
        alone_guilty(&store, Box::pin(store.defer_by_script(item, true)), false).await;
        assert_eq!(store.halves(item).await.unwrap(), 0, "it was undone");
        let item = next_item();
        alone_guilty(&store, Box::pin(store.defer_by_call(item, true)), false).await;
        assert_eq!(store.halves(item).await.unwrap(), 0, "it was undone");
        // From then on it is known, and the method works as if it had never shared.
        for _ in 0..3 {
            let calls: Vec<Call<'_>> = vec![
                Box::pin(store.add(next_item())),
                Box::pin(store.defer_and_keep_order(next_item())),
                Box::pin(store.add(next_item())),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
        }
    }));
}

impl Store {
    #[database_safe]
    async fn defer_inside(&self, _: &mut WriteTransaction, item: i64, defer: bool) -> Result<()> {
        self.defer_first(item, defer).await
    }

    #[database_safe]
    async fn defer_first(&self, db: &mut WriteTransaction, item: i64, defer: bool) -> Result<()> {
        if defer {
            db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
        }
        add_both(db, item).await
    }
}

/// The savepoint of the nested call is in the way of a commit.
#[test]
fn a_nested_call_that_would_leave_a_shared_transaction_fails_and_runs_alone_when_made_again() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store.defer_inside(next_item(), false).await.unwrap();
        }
        let item = next_item();
        let error = alone_guilty(&store, Box::pin(store.defer_inside(item, true)), false).await;
        assert!(
            matches!(error, Error::BatchLost { by: "defer_inside" }),
            "{error}"
        );
        assert_eq!(store.halves(item).await.unwrap(), 0);
        store.defer_inside(item, true).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
        store.close().await.unwrap();
    });
}

#[test]
fn deferred_keys_do_not_leak_into_the_next_call() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            let error = store
                .defer_now_and_then(next_item(), true)
                .await
                .unwrap_err();
            assert_eq!(
                error.sqlite_code(),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
                "{error}"
            );
            let error = store.add_an_orphan().await.unwrap_err();
            assert_eq!(
                error.sqlite_code(),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
                "{error}"
            );
            store.defer_and_keep_order(next_item()).await.unwrap();
            store.add_an_orphan().await.unwrap_err();
        }
    }));
}

/// Methods that are the same and know nothing of each other: each leaves a shared transaction only once in its life.
macro_rules! lonely {
    ($($name:ident)*) => {
        impl Store {
            $(
                #[database_safe]
                async fn $name(&self, db: &mut WriteTransaction, item: i64, alone: bool) -> Result<()> {
                    if alone {
                        db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
                    }
                    add_both(db, item).await
                }
            )*
        }

        const LONELY: &[for<'a> fn(&'a Store, i64, bool) -> Call<'a>] =
            &[$(|store, item, alone| Box::pin(store.$name(item, alone))),*];
    };
}

lonely! {
    a01 a02 a03 a04 a05 a06 a07 a08 a09 a10 a11 a12 a13 a14 a15 a16
    b01 b02 b03 b04 b05 b06 b07 b08 b09 b10 b11 b12 b13 b14 b15 b16
}

#[test]
fn a_call_that_is_dropped_while_it_leaves_a_shared_transaction_costs_nobody_anything() {
    run(async {
        let store = Store::with(Config::in_memory().execution(Execution::Offload), "").await;
        for (number, lonely) in LONELY.iter().enumerate() {
            for _ in 0..4 {
                lonely(&store, next_item(), false).await.unwrap();
            }
            let (at, moment) = (2 + number / 2, Moment::ALL[number % 2]);
            let items = [next_item(), next_item(), next_item()];
            let calls: Vec<Call<'_>> = vec![
                Box::pin(store.add(items[0])),
                Box::pin(async {
                    match cut(at, moment, lonely(&store, items[1], true)).await {
                        Some(result) => result,
                        None => Err(Error::other("dropped")),
                    }
                }),
                Box::pin(store.add(items[2])),
            ];
            let results = together(&store, calls).await;
            assert!(
                results[0].is_ok() && results[2].is_ok(),
                "{at}: {results:?}"
            );
            within(store.add(next_item())).await.unwrap();
            let halves = store.halves(items[1]).await.unwrap();
            match &results[1] {
                Ok(()) => assert_eq!(halves, 2),
                Err(error) => {
                    assert_eq!(error.to_string(), "dropped", "{at}");
                    assert!(halves == 0 || halves == 2, "{at}: {halves}");
                }
            }
        }
        let halves = store.all_halves().await.unwrap();
        assert!(
            halves.iter().all(|(_, count)| *count == 2),
            "half a write: {halves:?}"
        );
        store.close().await.unwrap();
    });
}

#[test]
fn a_schema_with_deferred_keys_never_shares() {
    let extra = "CREATE TABLE late (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)";
    run(everywhere(extra, async |store| {
        for _ in 0..4 {
            store.add_late(next_item(), true).await.unwrap();
        }
        let error = alone_guilty(&store, Box::pin(store.add_late(next_item(), false)), false).await;
        assert_eq!(
            error.sqlite_code(),
            Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY),
            "{error}"
        );
    }));
}

impl Store {
    #[database_safe]
    async fn add_late(&self, db: &mut WriteTransaction, parent: i64, exists: bool) -> Result<()> {
        if exists {
            db.execute("INSERT INTO parent (id) VALUES (?1)", (parent,))
                .await?;
        }
        db.execute("INSERT INTO late (parent) VALUES (?1)", (parent,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn add_later(&self, db: &mut WriteTransaction, parent: i64, exists: bool) -> Result<()> {
        if exists {
            db.execute("INSERT INTO parent (id) VALUES (?1)", (parent,))
                .await?;
        }
        db.execute("INSERT INTO later (parent) VALUES (?1)", (parent,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn change_schema_on_connection(
        &self,
        db: &mut Connection,
        sql: &'static str,
    ) -> Result<()> {
        db.execute_batch(sql).await
    }
}

#[test]
fn deferred_keys_that_are_added_while_the_manager_runs_never_share() {
    const LATER: &str = "CREATE TABLE later (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)";
    run(async {
        everywhere("", async |store| {
            store.change_schema(LATER).await.unwrap();
            for _ in 0..4 {
                store.add_later(next_item(), true).await.unwrap();
            }
            alone_guilty(&store, Box::pin(store.add_later(next_item(), false)), false).await;
        })
        .await;
        everywhere("", async |store| {
            store.change_schema_on_connection(LATER).await.unwrap();
            for _ in 0..4 {
                store.add_later(next_item(), true).await.unwrap();
            }
            alone_guilty(&store, Box::pin(store.add_later(next_item(), false)), false).await;
        })
        .await;
    });
}

/// A call that goes away when its work is done, but not committed: it commits by itself all the same.
#[test]
fn deferred_keys_of_a_call_that_is_dropped_at_its_end_cost_nobody_anything() {
    run(async {
        let store = Store::with(Config::in_memory().execution(Execution::Offload), "").await;
        for (number, leaving) in LEAVING.iter().enumerate() {
            for _ in 0..4 {
                leaving(&store, next_item(), false).await.unwrap();
            }
            let (at, moment) = (2 + number / 2, Moment::ALL[number % 2]);
            let calls: Vec<Call<'_>> = vec![
                Box::pin(async {
                    cut(at, moment, leaving(&store, next_item(), true)).await;
                    Ok(())
                }),
                Box::pin(store.add(next_item())),
                Box::pin(store.add(next_item())),
            ];
            for result in together(&store, calls).await {
                result.unwrap_or_else(|error| panic!("{at}, {moment:?}: {error}"));
            }
        }
        store.close().await.unwrap();
    });
}

macro_rules! leaving {
    ($($name:ident)*) => {
        impl Store {
            $(
                #[database_safe]
                async fn $name(&self, db: &mut WriteTransaction, item: i64, defer: bool) -> Result<()> {
                    if defer {
                        db.execute("PRAGMA defer_foreign_keys = ON", ()).await?;
                        db.execute(ORPHAN, ()).await?;
                    }
                    add_both(db, item).await
                }
            )*
        }

        const LEAVING: &[for<'a> fn(&'a Store, i64, bool) -> Call<'a>] =
            &[$(|store, item, defer| Box::pin(store.$name(item, defer))),*];
    };
}

leaving! {
    c01 c02 c03 c04 c05 c06 c07 c08 c09 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19 c20 c21 c22 c23 c24
}

/// They were in the queue before anybody knew.
#[test]
fn deferred_keys_that_are_added_while_others_wait_are_not_shared_by_them() {
    const LATE: &str =
        "DROP TABLE child; CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER
         REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT";
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.add_child(next_item(), true).await.unwrap();
        }
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.change_schema(LATE)),
            Box::pin(store.add_child(next_item(), false)),
            Box::pin(store.add(next_item())),
        ];
        let results = together(&store, calls).await;
        assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
        assert!(results[2].is_ok(), "{results:?}");
    }));
}

impl Store {
    #[database_safe]
    async fn add_child(&self, db: &mut WriteTransaction, parent: i64, exists: bool) -> Result<()> {
        if exists {
            db.execute("INSERT INTO parent (id) VALUES (?1)", (parent,))
                .await?;
        }
        db.execute("INSERT INTO child (parent) VALUES (?1)", (parent,))
            .await?;
        Ok(())
    }
}
