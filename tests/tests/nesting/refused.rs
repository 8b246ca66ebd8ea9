//! What cannot join is an error that names both methods.

use dbm_core::prelude::*;
use dbm_tests::{run, within};

use super::{EXECUTIONS, Store};

// What cannot join.

impl Store {
    #[database_safe]
    async fn write_in_read(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        let error = self.add(1).await.unwrap_err();
        self.see(&error);
        let error = self.tune().await.unwrap_err();
        self.see(&error);
        db.query("SELECT n FROM number", ()).await
    }

    #[database_safe]
    async fn connection_in_write(&self, db: &mut WriteTransaction) -> Result<()> {
        let error = self.tune().await.unwrap_err();
        self.see(&error);
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn anything_in_connection(&self, db: &mut Connection) -> Result<()> {
        let error = self.add(2).await.unwrap_err();
        self.see(&error);
        let error = self.numbers().await.unwrap_err();
        self.see(&error);
        let error = self.tune().await.unwrap_err();
        self.see(&error);
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn tune(&self, db: &mut Connection) -> Result<()> {
        db.execute_batch("PRAGMA cache_size = 10").await
    }
}

#[test]
fn a_call_that_cannot_join_is_an_error_that_names_both_methods() {
    run(async {
        let store = Store::new().await;
        assert!(within(store.write_in_read()).await.unwrap().is_empty());
        within(store.connection_in_write()).await.unwrap();
        within(store.anything_in_connection()).await.unwrap();
        assert_eq!(
            store.numbers().await.unwrap(),
            [1, 3],
            "the outer calls are none the worse"
        );
        let names = [
            ("add", "write_in_read"),
            ("tune", "write_in_read"),
            ("tune", "connection_in_write"),
            ("add", "anything_in_connection"),
            ("numbers", "anything_in_connection"),
            ("tune", "anything_in_connection"),
        ];
        let seen = store.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), names.len());
        for ((inner, outer), text) in names.iter().zip(seen) {
            assert!(
                text.starts_with(&format!("{inner} cannot run inside {outer}: ")),
                "{text}"
            );
        }
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn read_in_write(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        assert_eq!(
            self.numbers().await?,
            [1],
            "a read joins a write and sees its rows"
        );
        for error in [
            self.write_by_query().await.unwrap_err(),
            self.write_by_call().await.unwrap_err(),
            self.write_by_cached_call().await.unwrap_err(),
        ] {
            self.see(&error);
        }
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        assert_eq!(self.count_by_call().await?, 2);
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn write_by_query(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("INSERT INTO number (n) VALUES (10) RETURNING n", ())
            .await
    }

    #[database_safe]
    async fn write_by_call(&self, db: &mut ReadTransaction) -> Result<usize> {
        db.call(|c| Ok(c.execute("INSERT INTO number (n) VALUES (11)", ())?))
            .await
    }

    /// The same text is in the cache already, where no authorizer sees it.
    #[database_safe]
    async fn write_by_cached_call(&self, db: &mut ReadTransaction) -> Result<usize> {
        db.call(|c| {
            Ok(c.prepare_cached("INSERT INTO number (n) VALUES (?1)")?
                .execute((12,))?)
        })
        .await
    }

    #[database_safe]
    async fn count_by_call(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.call(|c| Ok(c.query_row("SELECT count(*) FROM number", (), |row| row.get(0))?))
            .await
    }
}

#[test]
fn a_read_joins_a_write_read_only() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            store.add(100).await.unwrap();
            store.read_in_write_after_100().await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    /// Puts the statement of `add` into the cache first.
    #[database_safe]
    async fn read_in_write_after_100(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("DELETE FROM number WHERE n = 100", ()).await?;
        self.add(101).await?;
        db.execute("DELETE FROM number", ()).await?;
        self.read_in_write().await
    }
}
