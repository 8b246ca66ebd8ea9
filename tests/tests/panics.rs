//! Panics: wherever one happens, the call is undone and the next one finds everything in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Hooks, open_files, poll_once, run, within};
use futures_util::FutureExt as _;
use serde::{Deserialize, Deserializer};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

const ADD: &str = "INSERT INTO number (n) VALUES (?1)";
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

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

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("as asked");
        }
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

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
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

fn next() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The next write and read find everything in order, and nothing of the panicking call is there.
async fn in_order(store: &Store, expected: &mut Vec<i64>, name: &str) {
    let n = next();
    within(store.add(n))
        .await
        .unwrap_or_else(|error| panic!("after {name}: {error}"));
    expected.push(n);
    assert_eq!(
        within(store.numbers()).await.unwrap(),
        *expected,
        "after {name}"
    );
}

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
        assert_eq!(store.numbers().await.unwrap(), []);
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

// While a body is dropped.

impl Store {
    #[database_safe]
    async fn with_a_bomb(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let _bomb = Bomb;
        db.execute(ADD, (n,)).await?;
        std::future::pending().await
    }

    #[database_safe(timeout = "20ms")]
    #[fail_with_exception]
    async fn with_a_bomb_and_a_timeout(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        let _bomb = Bomb;
        db.execute(ADD, (n,)).await?;
        db.query_one::<i64>(ENDLESS, ()).await.map(drop)
    }

    #[database_safe]
    async fn with_a_bomb_for_a_result(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute(ADD, (n,)).await?;
        let bomb = db.call(|c| {
            let _: i64 = c.query_row("SELECT count(*) FROM number", (), |row| row.get(0))?;
            Ok(Bomb)
        });
        bomb.await.map(std::mem::forget)
    }
}

#[test]
fn a_panic_while_a_dropped_call_is_undone_stops_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for polls in 1..8 {
                let mut call = Box::pin(store.with_a_bomb(next()));
                for _ in 0..polls {
                    assert!(poll_once(&mut call).await.is_pending());
                    tokio::task::yield_now().await;
                }
                let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
                in_order(&store, &mut expected, "a bomb in a dropped body").await;
            }
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_panic_while_a_body_is_timed_out_stops_nothing() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for _ in 0..3 {
                let error = within(store.with_a_bomb_and_a_timeout(next()))
                    .await
                    .unwrap_err();
                assert!(
                    matches!(error, Error::Panicked { .. } | Error::Timeout { .. }),
                    "{error}"
                );
                in_order(&store, &mut expected, "a bomb in a body that timed out").await;
            }
            store.close().await.unwrap();
        }
    });
}

/// The result is dropped where the statement has run.
#[test]
fn a_result_that_panics_when_nobody_takes_it_stops_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            let mut expected = Vec::new();
            for polls in 1..30 {
                let n = next();
                let mut call = Box::pin(store.with_a_bomb_for_a_result(n));
                let mut ended = false;
                for _ in 0..polls {
                    if poll_once(&mut call).await.is_ready() {
                        ended = true;
                        break;
                    }
                }
                let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
                // It may have got through, whole.
                if ended || within(store.numbers()).await.unwrap().contains(&n) {
                    expected.push(n);
                }
                in_order(&store, &mut expected, "a result that nobody took").await;
            }
            store.close().await.unwrap();
        }
    });
}

// In the hooks.

#[test]
fn a_panic_in_init_db_fails_the_start_and_leaves_nothing_behind() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let hooks = Hooks {
            init: Some(|_, db| {
                Box::pin(async move {
                    db.execute("INSERT INTO note (id, text) VALUES (1, 'x')", ())
                        .await?;
                    panic!("as asked")
                })
            }),
            migrate: None,
        };
        for _ in 0..3 {
            let store = dbm_tests::Store::start_hooked(config.clone(), hooks);
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Panicked { message, .. } if message == "as asked"),
                "{error}"
            );
            assert_eq!(store.status(), Status::Failed);
            let error = within(store.add(1, "x")).await.unwrap_err();
            assert!(
                matches!(error, Error::Failed { method: "add", .. }),
                "{error}"
            );
            assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
        }
        let store = dbm_tests::Store::create(config).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

#[test]
fn a_panic_in_migrate_db_fails_the_start_and_leaves_the_file_as_it_was() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::new(directory.path());
        let store = dbm_tests::Store::create(config.clone()).await.unwrap();
        store.add(1, "x").await.unwrap();
        store.close().await.unwrap();
        let before = std::fs::read(directory.path().join("database.db")).unwrap();
        let hooks = Hooks {
            init: None,
            migrate: Some(|_, db| {
                Box::pin(async move {
                    db.execute_batch("DELETE FROM note; DROP TABLE note")
                        .await?;
                    panic!("as asked")
                })
            }),
        };
        for _ in 0..2 {
            let newer = config.clone().version(Version::new(2, 0, 0));
            let store = dbm_tests::Store::start_hooked(newer, hooks);
            let error = within(store.ensure_ready()).await.unwrap_err();
            assert!(
                matches!(&error, Error::Panicked { message, .. } if message == "as asked"),
                "{error}"
            );
            assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
            assert_eq!(
                std::fs::read(directory.path().join("database.db")).unwrap(),
                before
            );
        }
        let store = dbm_tests::Store::create(config).await.unwrap();
        assert_eq!(store.ids().await.unwrap(), [1]);
        assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
        store.close().await.unwrap();
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
