//! Calls inside calls: they join the transaction that is running, or fail at once; they never wait for themselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_tests::{Moment, cut, poll_once, run, run_on_one_thread, within};
use tokio::sync::{Notify, oneshot};

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Numbers.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    hook: Hook,
    seen: Mutex<Vec<String>>,
}

/// What the hooks do besides their work.
#[derive(Clone, Copy, Default)]
enum Hook {
    #[default]
    Nothing,
    CallUnmarked,
    CallMarked,
    WaitForOutsider,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT")
            .await?;
        self.in_hook().await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        self.in_hook().await.map(|()| true)
    }
}

impl Store {
    async fn new() -> Arc<Self> {
        Self::create(Config::in_memory()).await.unwrap()
    }

    async fn impatient() -> Arc<Self> {
        Self::create(Config::in_memory().acquire_timeout(Duration::from_millis(300)))
            .await
            .unwrap()
    }

    async fn in_hook(&self) -> Result<()> {
        match self.hook {
            Hook::Nothing => {}
            Hook::CallUnmarked => {
                let error = self.add(1).await.unwrap_err();
                self.see(&error);
                let error = self.numbers().await.unwrap_err();
                self.see(&error);
            }
            Hook::CallMarked => {
                self.add_early(1).await?;
                assert!(self.add_early(1).await.is_err(), "undoes only itself");
                assert_eq!(self.numbers_early().await?, [1]);
                let version = self.get_version().await?;
                self.seen.lock().unwrap().push(version.to_string());
            }
            Hook::WaitForOutsider => tokio::task::yield_now().await,
        }
        Ok(())
    }

    fn see(&self, error: &Error) {
        self.seen.lock().unwrap().push(error.to_string());
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    #[during_init]
    async fn add_early(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }

    #[database_safe]
    #[during_init]
    async fn numbers_early(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn add_and_fail(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Err(Error::other("as asked"))
    }

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

// Depth.

impl Store {
    #[database_safe]
    async fn outer(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        assert_eq!(self.middle().await, 22);
        db.execute("INSERT INTO number (n) VALUES (5)", ()).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_value(-1)]
    async fn middle(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        assert_eq!(self.inner().await, 22);
        assert_eq!(self.numbers().await?, [1, 2]);
        db.execute("INSERT INTO number (n) VALUES (4)", ()).await?;
        Ok(22)
    }

    #[database_safe]
    #[fail_value(22)]
    async fn inner(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        assert_eq!(self.numbers().await?, [1, 2, 3]);
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        Ok(-1)
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

#[test]
fn calls_without_end_are_refused_at_some_depth_and_undone() {
    run(async {
        let store = Store::new().await;
        store.dig_to(50).await.unwrap();
        assert_eq!(store.numbers().await.unwrap().len(), 51);
        let error = store.dig(100).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert_eq!(store.numbers().await.unwrap().len(), 51);
        store.close().await.unwrap();
    });
}

// Side by side.

impl Store {
    #[database_safe]
    async fn join_writes(&self, _db: &mut WriteTransaction) -> Result<()> {
        let (one, two, three) = tokio::join!(self.add(1), self.add_and_fail(2), self.add(3));
        one.and(three)?;
        assert!(two.is_err());
        Ok(())
    }

    #[database_safe]
    async fn join_with_statements(&self, db: &mut WriteTransaction) -> Result<()> {
        let (one, two, three) = tokio::join!(
            self.add(1),
            db.execute("INSERT INTO number (n) VALUES (2)", ()),
            self.add_and_fail(3)
        );
        one?;
        two?;
        assert!(three.is_err());
        let (own, nested) =
            tokio::join!(db.query::<i64>("SELECT n FROM number", ()), self.numbers());
        assert_eq!(own?, nested?);
        Ok(())
    }

    #[database_safe]
    async fn join_reads(&self, db: &mut ReadTransaction) -> Result<usize> {
        let (one, two, three) = tokio::join!(
            self.numbers(),
            self.numbers(),
            db.query::<i64>("SELECT n FROM number", ())
        );
        Ok(one?.len() + two?.len() + three?.len())
    }

    /// The inner calls are themselves at work when the others want to begin.
    #[database_safe]
    async fn join_deep(&self, _db: &mut WriteTransaction, n: i64) -> Result<()> {
        if n > 3 {
            return Ok(());
        }
        let (left, right, own) = tokio::join!(
            Box::pin(self.join_deep(2 * n)),
            Box::pin(self.join_deep(2 * n + 1)),
            self.add_slowly(n)
        );
        left.and(right).and(own)
    }

    #[database_safe]
    async fn add_slowly(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        tokio::task::yield_now().await;
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[test]
fn joined_calls_in_one_body_take_turns() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_writes()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 3]);
            store.close().await.unwrap();

            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_with_statements()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2]);
            assert_eq!(within(store.join_reads()).await.unwrap(), 6);
            store.close().await.unwrap();

            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.join_deep(1)).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1, 2, 3]);
            store.close().await.unwrap();
        }
    });
}

impl Store {
    /// A call is begun and not polled on, as a careless `select!` does.
    #[database_safe]
    async fn forget_to_poll(&self, db: &mut WriteTransaction) -> Result<()> {
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        begun.await
    }

    #[database_safe]
    async fn forget_to_poll_and_call(&self, _db: &mut WriteTransaction) -> Result<()> {
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        self.add(2).await?;
        begun.await
    }
}

impl Store {
    /// Begun, and neither polled nor dropped ever again.
    #[database_safe]
    async fn forget_a_call(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        std::mem::forget(begun);
        Ok(())
    }
}

#[test]
fn an_inner_call_that_is_forgotten_does_not_hold_its_outer_one_for_ever() {
    run(async {
        let store = Store::impatient().await;
        assert!(within(store.forget_a_call()).await.is_err());
        within(store.add(3)).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [3]);
    });
}

#[test]
fn what_waits_for_a_call_that_nobody_polls_gives_up_and_names_it() {
    run(async {
        let store = Store::impatient().await;
        for error in [
            within(store.forget_to_poll()).await.unwrap_err(),
            within(store.forget_to_poll_and_call()).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        }
        assert_eq!(store.numbers().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn leave_a_call_behind(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let mut begun = Box::pin(self.add_slowly(1));
        assert!(poll_once(&mut begun).await.is_pending());
        Ok(())
    }

    #[database_safe]
    async fn give_a_call_away(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
        go_on: oneshot::Receiver<()>,
    ) -> Result<tokio::task::JoinHandle<Result<()>>> {
        db.execute("INSERT INTO number (n) VALUES (3)", ()).await?;
        let store = Arc::clone(self);
        let mut begun = Box::pin(async move { store.add_when_told(4, go_on).await });
        assert!(poll_once(&mut begun).await.is_pending());
        Ok(tokio::spawn(begun))
    }

    #[database_safe]
    async fn add_when_told(
        &self,
        db: &mut WriteTransaction,
        n: i64,
        go_on: oneshot::Receiver<()>,
    ) -> Result<()> {
        let _ = go_on.await;
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        Ok(())
    }
}

/// The outer call waits for it: it is part of its transaction.
#[test]
fn an_inner_call_that_outlives_the_body_is_undone_or_waited_for() {
    run(async {
        let store = Store::new().await;
        within(store.leave_a_call_behind()).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [2], "dropped, undone");
        let (go_on, told) = oneshot::channel();
        let given = async { within(store.give_a_call_away(told)).await.unwrap() };
        let (task, ()) = tokio::join!(given, async {
            tokio::task::yield_now().await;
            go_on.send(()).unwrap();
        });
        match within(task).await.unwrap() {
            Ok(()) => assert_eq!(store.numbers().await.unwrap(), [2, 3, 4]),
            Err(_) => assert_eq!(store.numbers().await.unwrap(), [2, 3]),
        }
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn do_nothing(&self, _db: &mut WriteTransaction) -> Result<()> {
        Ok(())
    }

    #[database_safe]
    async fn drop_inner_calls(&self, db: &mut WriteTransaction) -> Result<()> {
        for moment in Moment::ALL {
            for at in 1..8 {
                let _ = cut(at, moment, self.do_nothing()).await;
                let _ = cut(at, moment, self.numbers()).await;
            }
        }
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        Ok(())
    }
}

/// Neither has written anything, so there is nothing that could be lost.
#[test]
fn an_inner_call_that_is_dropped_without_a_write_costs_the_outer_one_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            within(store.drop_inner_calls()).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1]);
            store.close().await.unwrap();
        }
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
        assert_eq!(within(store.write_in_read()).await.unwrap(), []);
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

// Other tasks.

impl Store {
    #[database_safe]
    async fn spawn_and_wait(self: &Arc<Self>, db: &mut WriteTransaction) -> Result<Error> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        let store = Arc::clone(self);
        let spawned = tokio::spawn(async move { store.add(2).await });
        Ok(spawned.await.unwrap().unwrap_err())
    }

    #[database_safe]
    async fn spawn_a_read_and_wait(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
    ) -> Result<Vec<i64>> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        let store = Arc::clone(self);
        tokio::spawn(async move { store.numbers().await })
            .await
            .unwrap()
    }
}

#[test]
fn a_task_that_a_body_spawns_and_waits_for_gives_up_and_names_the_holder() {
    run(async {
        let store = Store::impatient().await;
        let error = within(store.spawn_and_wait()).await.unwrap();
        match error {
            Error::AcquireTimeout {
                method,
                holder,
                waited,
                held,
                queued,
            } => {
                assert_eq!((method, holder, queued), ("add", "spawn_and_wait", 1));
                assert!(
                    waited >= Duration::from_millis(300) && held >= waited,
                    "{held:?} {waited:?}"
                );
            }
            other => panic!("{other}"),
        }
        assert_eq!(store.numbers().await.unwrap(), [1]);
        let seen = within(store.spawn_a_read_and_wait()).await.unwrap();
        assert_eq!(
            seen,
            [1],
            "another task's read is a read of its own, beside the writer"
        );
        store.close().await.unwrap();
    });
}

impl Store {
    /// A closure is no task: what it calls is a call of its own, which waits for the one it is in.
    #[database_safe]
    async fn call_back_from_a_closure(
        self: &Arc<Self>,
        db: &mut WriteTransaction,
    ) -> Result<(Error, Vec<i64>)> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        let (store, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        db.call(move |_| {
            let refused = runtime.block_on(store.add(2)).unwrap_err();
            Ok((refused, runtime.block_on(store.numbers())?))
        })
        .await
    }
}

#[test]
fn a_closure_that_calls_back_gives_up_and_names_the_holder() {
    run(async {
        let store = Store::impatient().await;
        let (error, seen) = within(store.call_back_from_a_closure()).await.unwrap();
        assert!(
            matches!(
                error,
                Error::AcquireTimeout {
                    method: "add",
                    holder: "call_back_from_a_closure",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(seen, []);
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

// Two managers.

impl Store {
    #[database_safe]
    async fn there_and_back(
        &self,
        db: &mut WriteTransaction,
        other: &Self,
        fail: bool,
    ) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        other.and_back(self).await?;
        assert_eq!(self.numbers().await?, [1, 3]);
        if fail {
            Err(Error::other("as asked"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn and_back(&self, db: &mut WriteTransaction, other: &Self) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (2)", ()).await?;
        other.add(3).await?;
        assert!(other.add_and_fail(4).await.is_err());
        assert_eq!(other.numbers().await?, [1, 3]);
        Ok(())
    }

    #[database_safe]
    async fn add_on_both(&self, db: &mut WriteTransaction, other: &Self, n: i64) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (?1)", (n,))
            .await?;
        tokio::task::yield_now().await;
        other.add(n).await
    }

    #[database_safe]
    async fn read_both(&self, db: &mut ReadTransaction, other: &Self) -> Result<usize> {
        let here: Vec<i64> = db.query("SELECT n FROM number", ()).await?;
        Ok(here.len() + other.numbers().await?.len())
    }
}

#[test]
fn calls_across_two_managers_join_their_own_transaction() {
    run(async {
        let (here, there) = (Store::new().await, Store::new().await);
        within(here.there_and_back(&there, false)).await.unwrap();
        assert_eq!(here.numbers().await.unwrap(), [1, 3]);
        assert_eq!(there.numbers().await.unwrap(), [2]);
        assert_eq!(within(here.read_both(&there)).await.unwrap(), 3);
        let (here, there) = (Store::new().await, Store::new().await);
        within(here.there_and_back(&there, true)).await.unwrap_err();
        assert_eq!(here.numbers().await.unwrap(), []);
        assert_eq!(
            there.numbers().await.unwrap(),
            [2],
            "each manager commits for itself"
        );
    });
}

#[test]
fn calls_across_two_managers_in_both_directions_end() {
    run(async {
        let config = || Config::in_memory().acquire_timeout(Duration::from_millis(300));
        let here = Store::create(config()).await.unwrap();
        let there = Store::create(config()).await.unwrap();
        for n in 0..3 {
            let (one, two) = within(async {
                tokio::join!(
                    here.add_on_both(&there, n),
                    there.add_on_both(&here, 100 + n)
                )
            })
            .await;
            for (result, n) in [(one, n), (two, 100 + n)] {
                if let Err(error) = &result {
                    assert!(
                        matches!(
                            error,
                            Error::AcquireTimeout {
                                holder: "add_on_both",
                                ..
                            }
                        ),
                        "{error}"
                    );
                }
                let both = [&here, &there];
                for store in both {
                    assert_eq!(store.numbers().await.unwrap().contains(&n), result.is_ok());
                }
            }
        }
        here.close().await.unwrap();
        there.close().await.unwrap();
    });
}

// Start-up and the end.

#[test]
fn an_unmarked_method_called_from_a_hook_is_an_error_at_once() {
    run(async {
        let store = Store::start_with(Config::in_memory(), |core| Store {
            core,
            hook: Hook::CallUnmarked,
            seen: Mutex::default(),
        });
        within(store.ensure_ready()).await.unwrap();
        let seen = store.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 2);
        assert!(
            seen[0].starts_with("add was called from init_db or migrate_db"),
            "{seen:?}"
        );
        assert!(
            seen[1].starts_with("numbers was called from init_db or migrate_db"),
            "{seen:?}"
        );
        assert_eq!(store.numbers().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

#[test]
fn a_marked_method_called_from_a_hook_joins_its_transaction() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = Config::new(directory.path()).execution(execution);
            let build = |core| Store {
                core,
                hook: Hook::CallMarked,
                seen: Mutex::default(),
            };
            let store = Store::create_with(config.clone(), build).await.unwrap();
            assert_eq!(*store.seen.lock().unwrap(), ["1.0.0"]);
            assert_eq!(store.numbers().await.unwrap(), [1]);
            store.numbers_early().await.unwrap();
            store.close().await.unwrap();

            // The hook fails in a migration, for 1 is there already: all of it is undone.
            let config = config.version(Version::new(2, 0, 0));
            let store = Store::start_with(config, build);
            within(store.ensure_ready()).await.unwrap_err();
            let store = Store::create(Config::new(directory.path())).await.unwrap();
            assert_eq!(store.numbers().await.unwrap(), [1]);
            assert_eq!(store.get_version().await.unwrap(), Version::new(1, 0, 0));
            store.close().await.unwrap();
        }
    });
}

#[test]
fn another_task_waits_for_running_also_with_a_marked_method() {
    run_on_one_thread(async {
        let store = Store::start_with(Config::in_memory(), |core| Store {
            core,
            hook: Hook::WaitForOutsider,
            seen: Mutex::default(),
        });
        let mut early = Box::pin(store.add_early(1));
        assert!(poll_once(&mut early).await.is_pending());
        assert_eq!(store.status(), Status::Starting);
        within(early).await.unwrap();
        assert_eq!(store.status(), Status::Running);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn nest_when_told(
        &self,
        db: &mut WriteTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        db.execute("INSERT INTO number (n) VALUES (1)", ()).await?;
        inside.notify_one();
        go_on.notified().await;
        self.add(2).await?;
        assert_eq!(self.numbers().await?, [1, 2]);
        Ok(())
    }

    #[database_safe]
    async fn read_twice_when_told(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<usize> {
        inside.notify_one();
        go_on.notified().await;
        let one: Vec<i64> = db.query("SELECT n FROM number", ()).await?;
        Ok(one.len() + self.numbers().await?.len())
    }
}

#[test]
fn an_inner_call_passes_with_its_outer_one_while_stopping() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(Config::new(directory.path())).await.unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut write = Box::pin(store.nest_when_told(&inside, &go_on));
        let mut read = Box::pin(store.read_twice_when_told(&inside, &go_on));
        for _ in 0..2 {
            tokio::select! {
                result = &mut write => panic!("{result:?}"),
                result = &mut read => panic!("{result:?}"),
                () = inside.notified() => {}
            }
        }
        let mut close = Box::pin(store.close());
        assert!(poll_once(&mut close).await.is_pending());
        assert_eq!(store.status(), Status::Stopping);
        assert!(matches!(store.add(9).await, Err(Error::Closed { .. })));
        go_on.notify_one();
        go_on.notify_one();
        let (write, read, close) = within(async {
            tokio::join!(
                write,
                async {
                    go_on.notify_one();
                    read.await
                },
                close
            )
        })
        .await;
        write.unwrap();
        assert_eq!(read.unwrap(), 0, "its snapshot is older");
        close.unwrap();
        let store = Store::create(Config::new(directory.path())).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1, 2]);
        store.close().await.unwrap();
    });
}
