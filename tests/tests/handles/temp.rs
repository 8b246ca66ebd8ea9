//! TEMP objects last as long as the call that makes them, and take no row with them.

use dbm_core::prelude::*;
use dbm_tests::{poll_once, run, within};
use tokio::sync::Notify;

use super::{EXECUTIONS, Store};

/// Each makes something of its connection that a transaction does not take back when it commits.
const MAKES: [&str; 12] = [
    "CREATE TEMP TABLE scratch (n)",
    "CREATE TEMPORARY TABLE scratch (n)",
    "create table TEMP.scratch (n)",
    "CREATE TABLE \"temp\".scratch AS SELECT 1 AS n",
    "CREATE TEMP VIEW scratch AS SELECT 1 AS n",
    "CREATE VIEW temp.scratch AS SELECT 1 AS n",
    "CREATE VIRTUAL TABLE temp.scratch USING fts5(n)",
    "CREATE VIRTUAL TABLE temp.scratch USING rtree(n, a, b)",
    "CREATE TEMP TRIGGER scratch AFTER INSERT ON number BEGIN DELETE FROM number WHERE n = 1; END",
    "CREATE TRIGGER temp.scratch AFTER INSERT ON number BEGIN DELETE FROM number WHERE n = 1; END",
    "CREATE TEMP TRIGGER scratch BEFORE INSERT ON number BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    "PRAGMA temp.user_version = 7",
];

impl Store {
    #[database_safe]
    async fn make(&self, db: &mut WriteTransaction, sql: &str, by: usize) -> Result<()> {
        match by {
            0 => db.execute(sql, ()).await.map(drop),
            1 => db.execute_batch(sql).await,
            2 => db.execute_batch(&format!("SELECT 1; {sql}")).await,
            _ => {
                let sql = sql.to_owned();
                db.call(move |c| Ok(c.execute_batch(&sql)?)).await
            }
        }
    }

    #[database_safe]
    async fn make_inside(&self, _: &mut WriteTransaction, sql: &str, by: usize) -> Result<()> {
        self.make(sql, by).await?;
        // The second one finds nothing of the first.
        self.make(sql, by).await?;
        self.nothing_is_left().await
    }

    #[database_safe]
    async fn nothing_is_left(&self, db: &mut WriteTransaction) -> Result<()> {
        let made: Vec<String> = db.query("SELECT name FROM sqlite_temp_master", ()).await?;
        assert_eq!(made, [""; 0]);
        Ok(())
    }

    #[database_safe]
    async fn user_version(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.query_one("PRAGMA temp.user_version", ()).await
    }
}

#[test]
fn what_is_temp_is_gone_with_its_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for (round, sql) in MAKES.into_iter().enumerate() {
                for by in 0..4 {
                    store.make(sql, by).await.unwrap();
                    store.nothing_is_left().await.unwrap();
                    store.make_inside(sql, by).await.unwrap();
                    store.nothing_is_left().await.unwrap();
                    assert_eq!(store.user_version().await.unwrap(), 0, "{sql}");
                    let n = (10 + 4 * round + by) as i64 * 10;
                    store.add(n).await.unwrap();
                    let numbers = store.numbers().await.unwrap();
                    assert_eq!((numbers[0], numbers.last()), (1, Some(&n)), "{sql}");
                }
            }
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn add_by_way_of_temp(&self, db: &mut WriteTransaction, n: i64) -> Result<usize> {
        db.execute("CREATE TEMP TABLE staged (n)", ()).await?;
        db.execute("CREATE INDEX temp.by_n ON staged (n)", ())
            .await?;
        db.execute("INSERT INTO staged VALUES (?1)", (n,)).await?;
        db.execute("INSERT INTO number SELECT n FROM staged", ())
            .await
    }

    #[database_safe]
    async fn add_twice(&self, _: &mut WriteTransaction, n: i64) -> Result<()> {
        self.add_by_way_of_temp(n).await?;
        self.add_by_way_of_temp(n + 1).await?;
        Ok(())
    }
}

#[test]
fn a_temp_table_is_of_use_inside_its_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for n in 4..9 {
                store.add_by_way_of_temp(n).await.unwrap();
            }
            store.add_twice(20).await.unwrap();
            let numbers = store.numbers().await.unwrap();
            assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 20, 21]);
            store.close().await.unwrap();
        }
    });
}

/// What would be written to the name would be gone with the call.
#[test]
fn a_temp_object_that_hides_a_table_is_refused_and_undone() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for sql in [
                "CREATE TEMP TABLE number (n)",
                "CREATE TABLE temp.NUMBER (n)",
                "CREATE TEMP VIEW number AS SELECT 1 AS n",
                "CREATE VIRTUAL TABLE temp.number USING fts5(n)",
                "CREATE TEMP TABLE other (n); ALTER TABLE other RENAME TO number",
                "CREATE TEMP TABLE later (n); CREATE TABLE main.later (n)",
                "CREATE TEMP TABLE later (n); CREATE VIEW main.later AS SELECT 1 AS n",
                "CREATE TEMP TABLE later (n); ALTER TABLE number RENAME TO later",
            ] {
                for by in 1..4 {
                    for nested in [false, true] {
                        let error = if nested {
                            store.make_inside(sql, by).await.unwrap_err()
                        } else {
                            store.make(sql, by).await.unwrap_err()
                        };
                        let refused =
                            matches!(error, Error::Refused { what, .. } if what.contains("TEMP"));
                        assert!(refused, "{sql}: {error}");
                    }
                }
            }
            store.add(4).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    /// It has shown three times that it may share.
    #[database_safe]
    async fn add_or_make(
        &self,
        db: &mut WriteTransaction,
        n: i64,
        make: Option<&str>,
    ) -> Result<()> {
        if let Some(sql) = make {
            match sql.strip_prefix("a script: ") {
                Some(script) => db.execute_batch(script).await?,
                None => drop(db.execute(sql, ()).await?),
            }
        }
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn add_once_told(&self, db: &mut WriteTransaction, n: i64, told: &Notify) -> Result<()> {
        told.notified().await;
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }
}

#[test]
fn calls_that_share_a_transaction_see_no_temp_object_of_one_another() {
    const TRIGGER: &str = "TEMP TRIGGER t BEFORE INSERT ON number WHEN NEW.n > 101
        BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
    run(async {
        for execution in EXECUTIONS {
            let store = Store::new(execution).await;
            for n in 4..8 {
                store.add_or_make(n, None).await.unwrap();
                store.add(n + 10).await.unwrap();
            }
            // The words of the second one are not found by reading them.
            for text in [
                format!("CREATE {TRIGGER}"),
                format!("a script: CREATE/**/{TRIGGER}"),
                "PRAGMA temp.user_version = 7".to_owned(),
                "a script: PRAGMA temp.user_version = 7".to_owned(),
                "CREATE TRIGGER [temp].t BEFORE INSERT ON number WHEN NEW.n > 101 BEGIN DELETE FROM number; END"
                    .to_owned(),
            ] {
                let told = Notify::new();
                let mut holder = Box::pin(store.add_once_told(100, &told));
                assert!(poll_once(&mut holder).await.is_pending());
                let mut making = Box::pin(store.add_or_make(101, Some(&text)));
                assert!(poll_once(&mut making).await.is_pending());
                let mut others: Vec<_> = (102..106).map(|n| Box::pin(store.add(n))).collect();
                for other in &mut others {
                    assert!(poll_once(other).await.is_pending());
                }
                told.notify_one();
                within(holder).await.unwrap();
                let made = within(making).await;
                assert!(made.as_ref().is_ok() || made.is_err_and(|error| error.is_retryable()));
                for other in others {
                    within(other).await.unwrap();
                }
                assert_eq!(store.user_version().await.unwrap(), 0, "{text}");
                let numbers = store.numbers().await.unwrap();
                assert!(numbers.starts_with(&[1, 2, 3]), "{text}: {numbers:?}");
                assert!(numbers.ends_with(&[102, 103, 104, 105]), "{numbers:?}");
                for n in 100..106 {
                    store.remove(n).await.unwrap();
                }
            }
            store.close().await.unwrap();
        }
    });
}

#[derive(DbManager)]
#[db_manager(version = "2.0.0")]
struct Hooked {
    core: ManagerCore,
}

impl Schema for Hooked {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TEMP TABLE staged (n); INSERT INTO staged VALUES (1);
             CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (parent INTEGER NOT NULL REFERENCES parent ON DELETE CASCADE) STRICT;
             INSERT INTO parent SELECT n FROM staged; INSERT INTO child VALUES (1)",
        )
        .await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.call(|c| Ok(c.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM parent")?))
            .await?;
        db.execute_batch("DELETE FROM parent; INSERT INTO parent SELECT id FROM kept")
            .await?;
        Ok(true)
    }
}

impl Hooked {
    #[database_safe]
    async fn temp(&self, db: &mut WriteTransaction) -> Result<Vec<String>> {
        db.query("SELECT name FROM sqlite_temp_master", ()).await
    }

    #[database_safe]
    async fn children(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM child", ()).await
    }

    #[database_safe]
    async fn add_orphan(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO child VALUES (99)", ()).await?;
        Ok(())
    }
}

#[test]
fn what_a_hook_makes_in_temp_is_gone_when_the_manager_runs() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        for version in [Version::new(1, 0, 0), Version::new(2, 0, 0)] {
            let config = Config::new(directory.path()).version(version);
            let hooked = Hooked::create(config).await.unwrap();
            assert_eq!(hooked.temp().await.unwrap(), [""; 0]);
            assert_eq!(hooked.children().await.unwrap(), 1);
            hooked.add_orphan().await.unwrap_err();
            hooked.close().await.unwrap();
        }
    });
}
