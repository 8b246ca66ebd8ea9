//! Transactions and settings are the library's, through every door.

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::run;

use super::{CONTROL, EXECUTIONS, SETTINGS, Store, try_all};

// Writes.

impl Store {
    #[database_safe]
    async fn try_to_control(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        for sql in CONTROL {
            // A script may begin with something harmless.
            assert_eq!(try_all(db, sql).await, [false; 7], "{sql}");
            assert!(db.execute(sql, ()).await.is_err(), "{sql}");
            assert!(db.execute_batch(sql).await.is_err(), "{sql}");
        }
        db.call(|c| {
            assert!(c.unchecked_transaction().is_err());
            assert!(c.pragma_update(None, "journal_mode", "delete").is_err());
            assert!(!c.is_autocommit());
            Ok(())
        })
        .await?;
        assert_eq!(self.numbers().await?.last(), Some(&n), "none the worse");
        Ok(())
    }

    #[database_safe]
    async fn try_to_control_and_fail(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        for sql in CONTROL {
            let _ = db.execute_batch(sql).await;
        }
        Err(Error::other("as asked"))
    }

    #[database_safe]
    async fn put_control_into_the_cache(&self, db: &mut Connection) -> Result<()> {
        db.call(|c| {
            for sql in [
                "COMMIT",
                "ROLLBACK",
                "BEGIN",
                "BEGIN IMMEDIATE",
                "SAVEPOINT x",
            ] {
                drop(c.prepare_cached(sql)?);
            }
            Ok(())
        })
        .await
    }
}

#[test]
fn transaction_control_is_refused_and_costs_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            store.put_control_into_the_cache().await.unwrap();
            for n in 10..13 {
                store.try_to_control(n).await.unwrap();
                assert_eq!(store.numbers().await.unwrap().last(), Some(&n));
                store.try_to_control_and_fail(99).await.unwrap_err();
                assert_eq!(store.numbers().await.unwrap().last(), Some(&n));
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_refusal_says_what_is_refused_and_why() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store.refusals().await.unwrap();
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn try_to_set(&self, db: &mut WriteTransaction, setting: &'static str) -> Result<()> {
        let (name, value) = setting.split_once(" = ").unwrap();
        let texts = [
            format!("PRAGMA {setting}"),
            format!("PRAGMA {name}({value})"),
            format!("pragma MAIN.{} = '{value}'", name.to_uppercase()),
            format!("PRAGMA \"{name}\" = {value}"),
        ];
        for sql in texts {
            assert!(db.execute(&sql, ()).await.is_err(), "{sql}");
            assert!(db.execute_batch(&sql).await.is_err(), "{sql}");
            assert!(db.query_map(&sql, (), |_| Ok(())).await.is_err(), "{sql}");
            assert!(db.call(move |c| Ok(c.execute_batch(&sql)?)).await.is_err());
        }
        Ok(())
    }

    #[database_safe]
    async fn pragmas_that_only_read(&self, db: &mut ReadTransaction) -> Result<()> {
        for sql in [
            "PRAGMA table_info(number)",
            "PRAGMA table_list",
            "PRAGMA foreign_key_list(child)",
            "PRAGMA foreign_key_check",
            "PRAGMA quick_check",
            "PRAGMA integrity_check(10)",
            "PRAGMA database_list",
            "PRAGMA user_version",
            "PRAGMA page_count",
            "PRAGMA synchronous",
            "PRAGMA foreign_keys",
            "SELECT * FROM pragma_table_info('number')",
            "SELECT * FROM pragma_function_list",
        ] {
            db.query_map(sql, (), |_| Ok(()))
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        Ok(())
    }
}

#[test]
fn a_pragma_that_would_outlive_the_transaction_is_refused() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for setting in SETTINGS {
                let name = setting.split_once(" = ").unwrap().0;
                // Some can be set only, not read.
                let before = store.setting(name).await.ok();
                store.try_to_set(setting).await.unwrap();
                assert_eq!(store.setting(name).await.ok(), before, "{setting}");
            }
            assert!(store.add(13).await.is_err(), "checks still hold");
            store.pragmas_that_only_read().await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn set_user_version(
        &self,
        db: &mut WriteTransaction,
        version: i64,
        fail: bool,
    ) -> Result<()> {
        db.execute_batch(&format!(
            "PRAGMA user_version = {version}; PRAGMA application_id = {version}"
        ))
        .await?;
        if fail {
            Err(Error::other("as asked"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_pragma_that_is_part_of_the_transaction_is_undone_with_it() {
    run(async {
        let store = Store::new(Execution::Auto).await;
        store.set_user_version(7, true).await.unwrap_err();
        assert_eq!(
            store.setting("user_version").await.unwrap(),
            Value::Integer(0)
        );
        store.set_user_version(7, false).await.unwrap();
        assert_eq!(
            store.setting("user_version").await.unwrap(),
            Value::Integer(7)
        );
        assert_eq!(
            store.setting("application_id").await.unwrap(),
            Value::Integer(7)
        );
        store.close().await.unwrap();
    });
}
