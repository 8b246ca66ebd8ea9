//! In a body, in what it calls, and in what is called for it.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::{open_files, run, within};
use futures_util::FutureExt as _;
use serde::{Deserialize, Deserializer};

use super::{ADD, Bomb, EXECUTIONS, Store, in_order, next};

/// A row type that cannot be read.
struct Refusing;

impl<'de> Deserialize<'de> for Refusing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("as asked")
    }
}

/// A parameter that cannot be given.
struct Ungiven;

impl ToValue for Ungiven {
    fn to_value(&self) -> Result<Value> {
        panic!("as asked")
    }
}

impl Store {
    #[database_safe]
    async fn before_a_write(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        if n >= 0 {
            panic!("as asked");
        }
        db.execute(ADD, (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn after_a_write(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        panic!("as asked")
    }

    #[database_safe]
    async fn after_a_wait(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        tokio::task::yield_now().await;
        panic!("as asked")
    }

    #[database_safe]
    async fn in_a_closure(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        db.call(move |c| {
            c.execute(ADD, (n + 1_000_000,))?;
            panic!("as asked")
        })
        .await
    }

    #[database_safe]
    async fn in_a_closure_with_open_rows(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        db.call(|c| {
            let mut statement = c.prepare("SELECT n FROM number")?;
            let mut rows = statement.query(())?;
            assert!(rows.next()?.is_none(), "as asked");
            Ok(())
        })
        .await
    }

    #[database_safe]
    async fn in_a_closure_of_a_read(&self, db: &mut ReadTransaction, _: i64) -> Result<()> {
        db.call(|_| panic!("as asked")).await
    }

    #[database_safe]
    async fn in_a_closure_of_an_inner_read(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        self.in_a_closure_of_a_read(n).await
    }

    #[database_safe]
    async fn in_a_connection(&self, db: &mut Connection, n: i64) -> Result<()> {
        db.execute_batch(&format!("BEGIN; INSERT INTO number (n) VALUES ({n})"))
            .await?;
        panic!("as asked")
    }

    #[database_safe]
    async fn in_a_closure_of_a_connection(&self, db: &mut Connection, n: i64) -> Result<()> {
        db.call(move |c| {
            c.execute_batch(&format!("BEGIN; INSERT INTO number (n) VALUES ({n})"))?;
            panic!("as asked")
        })
        .await
    }

    #[database_safe]
    async fn in_a_row_mapper(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        db.query_map("SELECT n FROM number", (), |_| panic!("as asked"))
            .await
            .map(|_: Vec<()>| ())
    }

    #[database_safe]
    async fn in_a_row_mapper_of_a_read(&self, db: &mut ReadTransaction, _: i64) -> Result<()> {
        db.query_map("SELECT 1", (), |_| panic!("as asked"))
            .await
            .map(|_: Vec<()>| ())
    }

    #[database_safe]
    async fn in_deserialize(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        db.query_one::<Refusing>("SELECT n FROM number LIMIT 1", ())
            .await
            .map(drop)
    }

    #[database_safe]
    async fn in_deserialize_of_a_read(&self, db: &mut ReadTransaction, _: i64) -> Result<()> {
        db.query::<Refusing>("SELECT 1 UNION SELECT 2", ())
            .await
            .map(drop)
    }

    #[database_safe]
    async fn in_deserialize_of_returning(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.query::<Refusing>(
            "INSERT INTO number (n) VALUES (?1), (?1 + 1000000) RETURNING n",
            (n,),
        )
        .await
        .map(drop)
    }

    #[database_safe]
    async fn in_a_parameter(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        db.execute(ADD, (Ungiven,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn in_a_drop_at_the_end(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let _bomb = Bomb;
        db.execute(ADD, (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn in_a_drop_on_a_thread(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let bomb = Bomb;
        db.call(move |c| {
            let _bomb = bomb;
            Ok(c.execute(ADD, (n,)).map(drop)?)
        })
        .await
    }

    #[database_safe]
    async fn in_an_inner_call(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n + 2_000_000,)).await?;
        self.after_a_write(n).await
    }
}

type Call = for<'a> fn(&'a Store, i64) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

macro_rules! calls {
    ($($name:ident),* $(,)?) => {
        [$((stringify!($name), |store, n| Box::pin(store.$name(n)))),*]
    };
}

const PANICKING: [(&str, Call); 18] = calls!(
    before_a_write,
    after_a_write,
    after_a_wait,
    in_a_closure,
    in_a_closure_with_open_rows,
    in_a_closure_of_a_read,
    in_a_closure_of_an_inner_read,
    in_a_connection,
    in_a_closure_of_a_connection,
    in_a_row_mapper,
    in_a_row_mapper_of_a_read,
    in_deserialize,
    in_deserialize_of_a_read,
    in_deserialize_of_returning,
    in_a_parameter,
    in_a_drop_at_the_end,
    in_a_drop_on_a_thread,
    in_an_inner_call,
);

#[test]
fn a_panic_anywhere_unwinds_to_the_caller_and_undoes_the_call() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            // Later rounds run statements that are known by then.
            for _ in 0..4 {
                for (name, call) in PANICKING {
                    let panic = within(AssertUnwindSafe(call(&store, next())).catch_unwind()).await;
                    let payload = panic.expect_err(name);
                    assert_eq!(payload.downcast_ref::<&str>(), Some(&"as asked"), "{name}");
                    in_order(&store, &mut expected, name).await;
                }
            }
            within(store.close()).await.unwrap();
        }
    });
}

#[test]
fn many_panics_leave_no_descriptor_behind() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(Config::new(directory.path()).durability(Durability::Off))
            .await
            .unwrap();
        let mut open = 0;
        for round in 0..20 {
            for (name, call) in PANICKING {
                assert!(
                    AssertUnwindSafe(call(&store, next()))
                        .catch_unwind()
                        .await
                        .is_err(),
                    "{name}"
                );
            }
            if round == 1 {
                open = open_files(directory.path()).len();
            }
        }
        let now = open_files(directory.path());
        assert!(now.len() <= open, "{open} at first, now {now:?}");
        store.close().await.unwrap();
        assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
    });
}

#[test]
fn a_panicking_task_takes_no_other_task_with_it() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let tasks: Vec<_> = (0..64)
                .map(|task| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        let n = 10_000 + task;
                        match task % 4 {
                            0 => store.after_a_write(n).await,
                            1 => store.in_a_closure(n).await,
                            2 => store.in_deserialize(n).await,
                            _ => store.add(n).await,
                        }
                    })
                })
                .collect();
            for (task, ended) in tasks.into_iter().enumerate() {
                match tokio::time::timeout(Duration::from_secs(30), ended)
                    .await
                    .unwrap()
                {
                    Ok(result) => {
                        assert_eq!(task % 4, 3);
                        result.unwrap();
                    }
                    Err(error) => assert!(error.is_panic() && task % 4 != 3),
                }
            }
            let expected: Vec<i64> = (10_000..10_064).filter(|n| n % 4 == 3).collect();
            assert_eq!(store.numbers().await.unwrap(), expected);
            store.close().await.unwrap();
        }
    });
}
