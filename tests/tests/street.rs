//! The street every call walks: arguments, gate, lease, transaction, body, commit or rollback, failure policy. In this
//! order, whatever the order of the attributes.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use dbm_core::Execution;
use dbm_core::prelude::*;
use dbm_core::rusqlite;
use dbm_tests::{poll_once, run, within};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    substitutes: AtomicI64,
    bodies: AtomicUsize,
    fails_to_start: bool,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        if self.fails_to_start {
            return Err(Error::other("no luck"));
        }
        db.execute_batch(
            "CREATE TABLE number (n INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (parent INTEGER REFERENCES number DEFERRABLE INITIALLY DEFERRED) STRICT",
        )
        .await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(true)
    }
}

fn config() -> Config {
    Config::in_memory()
        .acquire_timeout(Duration::from_millis(200))
        .busy_timeout(Duration::from_millis(50))
}

/// What a user's own error type looks like.
#[derive(Debug, PartialEq)]
enum Trouble {
    Own(i64),
    Database(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What goes wrong in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Own,
    Panic,
    Sql,
    Commit,
    Timeout,
}

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

async fn do_it(db: &mut WriteTransaction, n: i64, fault: Fault) -> Result<i64, Trouble> {
    db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
    match fault {
        Fault::None => Ok(n),
        Fault::Own => Err(Trouble::Own(n)),
        Fault::Panic => panic!("as asked"),
        Fault::Sql => Ok(db.query_one("SELECT x FROM missing", ()).await?),
        Fault::Commit => {
            db.execute("INSERT INTO child VALUES (-1)", ()).await?;
            Ok(n)
        }
        Fault::Timeout => Ok(db.query_one(ENDLESS, ()).await?),
    }
}

impl Store {
    async fn new() -> Arc<Self> {
        Self::create_with(config(), Self::build).await.unwrap()
    }

    fn build(core: ManagerCore) -> Self {
        Self {
            core,
            substitutes: AtomicI64::new(0),
            bodies: AtomicUsize::new(0),
            fails_to_start: false,
        }
    }

    /// Numbers each substitute, so that it can be seen when and how often one was made.
    fn substitute(&self) -> i64 {
        -1 - self.substitutes.fetch_add(1, Ordering::Relaxed)
    }

    fn made(&self) -> i64 {
        self.substitutes.load(Ordering::Relaxed)
    }

    #[database_safe(timeout = "100ms")]
    #[required_argument(n, other)]
    async fn plain(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[database_safe(timeout = "100ms")]
    #[required_argument(n, other)]
    #[fail_value(self.substitute())]
    async fn with_value(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[fail_with_exception]
    #[required_argument(n, other)]
    #[database_safe(timeout = "100ms")]
    async fn with_exception(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<i64, Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        do_it(db, n.unwrap_or_default(), fault).await
    }

    #[required_argument(n, other)]
    #[fail_value((self.substitute(), None))]
    #[database_safe(timeout = "100ms")]
    #[fail_with_exception]
    async fn with_both(
        &self,
        db: &mut WriteTransaction,
        n: Option<i64>,
        other: Option<&str>,
        fault: Fault,
    ) -> Result<(i64, Option<Trouble>), Trouble> {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        let _ = other;
        Ok((do_it(db, n.unwrap_or_default(), fault).await?, None))
    }

    #[database_safe]
    async fn numbers(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query("SELECT n FROM number ORDER BY n", ()).await
    }

    #[database_safe]
    async fn hold(
        &self,
        _db: &mut WriteTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<()> {
        inside.notify_one();
        go_on.notified().await;
        Ok(())
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }
}

/// The cause as each policy tells it; `Err(())` is a panic.
async fn under_every_policy(
    store: &Store,
    n: Option<i64>,
    fault: Fault,
) -> [Result<Result<i64, Trouble>, ()>; 4] {
    let before = store.made();
    let plain = AssertUnwindSafe(store.plain(n, None, fault))
        .catch_unwind()
        .await
        .map_err(drop);
    let exception = Ok(store.with_exception(n, None, fault).await);
    assert_eq!(store.made(), before, "nobody has asked for a substitute");
    let value = store.with_value(n, None, fault).await;
    assert_eq!(
        store.made() - before,
        i64::from(value < 0),
        "made when it is needed, afresh each time"
    );
    let value = Ok(if value < 0 {
        Err(Trouble::Own(value + before))
    } else {
        Ok(value)
    });
    let before = store.made();
    let both = match store.with_both(n, None, fault).await {
        (value, None) => Ok(Ok(value)),
        (value, Some(trouble)) => {
            assert_eq!(value, -1 - before);
            Ok(Err(trouble))
        }
    };
    [plain, value, exception, both]
}

#[test]
fn each_policy_tells_each_failure_in_its_way() {
    run(async {
        let store = Store::new().await;
        for fault in [
            Fault::Own,
            Fault::Panic,
            Fault::Sql,
            Fault::Commit,
            Fault::Timeout,
        ] {
            let [plain, value, exception, both] =
                within(under_every_policy(&store, Some(1), fault)).await;
            assert_eq!(
                value,
                Ok(Err(Trouble::Own(-1))),
                "{fault:?}: the substitute"
            );
            assert_eq!(
                both.as_ref().map(|both| both.is_err()),
                Ok(true),
                "{fault:?}"
            );
            let text = match &exception {
                Ok(Err(trouble)) => trouble.to_string(),
                other => panic!("{fault:?}: {other:?}"),
            };
            let words = match fault {
                Fault::Own => "Own(1)",
                Fault::Panic => "with_exception panicked: as asked",
                Fault::Sql => "no such table: missing",
                Fault::Commit => "FOREIGN KEY constraint failed",
                Fault::Timeout => "with_exception: timed out after 100ms",
                Fault::None => unreachable!(),
            };
            assert!(text.contains(words), "{fault:?}: {text}");
            if fault == Fault::Panic {
                assert_eq!(plain, Err(()), "it goes on unwinding");
            } else {
                let plain = plain.unwrap().unwrap_err().to_string();
                assert_eq!(plain.replace("plain", "with_exception"), text);
                let both = both.unwrap().unwrap_err().to_string();
                assert_eq!(both.replace("with_both", "with_exception"), text);
            }
            assert_eq!(store.numbers().await.unwrap(), [], "{fault:?}: rolled back");
        }
        assert_eq!(store.plain(Some(1), None, Fault::None).await, Ok(1));
        assert_eq!(store.with_value(Some(2), None, Fault::None).await, 2);
        assert_eq!(
            store.with_exception(Some(3), None, Fault::None).await,
            Ok(3)
        );
        assert_eq!(store.with_both(Some(4), None, Fault::None).await, (4, None));
        assert_eq!(store.numbers().await.unwrap(), [1, 2, 3, 4]);
        store.close().await.unwrap();
    });
}

/// Polled once: whatever is told then was told without waiting for anybody.
async fn at_once<T>(call: impl Future<Output = T>) -> T {
    match poll_once(&mut Box::pin(call)).await {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn arguments_are_checked_before_anything_waits() {
    run(async {
        let missing = |method: &str| {
            format!("{method}: at least one of these arguments is required: n, other")
        };
        let expect = |result: Result<i64, Trouble>, method: &str| {
            assert_eq!(result, Err(Trouble::Database(missing(method))));
        };
        // While starting.
        let store = Store::start_with(config(), Store::build);
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
        within(store.ensure_ready()).await.unwrap();

        // While another one has the writer.
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
        expect(
            at_once(store.with_exception(None, None, Fault::None)).await,
            "with_exception",
        );
        assert_eq!(at_once(store.with_value(None, None, Fault::None)).await, -1);
        let (value, cause) = at_once(store.with_both(None, None, Fault::None)).await;
        assert_eq!(
            (value, cause),
            (-2, Some(Trouble::Database(missing("with_both"))))
        );
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);

        // Either is enough.
        store.plain(None, Some("x"), Fault::None).await.unwrap();
        store.plain(Some(1), None, Fault::None).await.unwrap();

        // When closed: the argument is what the caller can do something about.
        store.close().await.unwrap();
        expect(at_once(store.plain(None, None, Fault::None)).await, "plain");
    });
}

#[test]
fn a_closed_manager_refuses_at_once_under_every_policy() {
    run(async {
        let store = Store::new().await;
        store.close().await.unwrap();
        let closed = |method: &str| Trouble::Database(format!("{method}: the database is closed"));
        assert_eq!(
            at_once(store.plain(Some(1), None, Fault::None)).await,
            Err(closed("plain"))
        );
        assert_eq!(
            at_once(store.with_value(Some(1), None, Fault::None)).await,
            -1
        );
        assert_eq!(
            at_once(store.with_exception(Some(1), None, Fault::None)).await,
            Err(closed("with_exception"))
        );
        let both = at_once(store.with_both(Some(1), None, Fault::None)).await;
        assert_eq!(both, (-2, Some(closed("with_both"))));
        assert!(matches!(
            at_once(store.numbers()).await,
            Err(Error::Closed { method: "numbers" })
        ));
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_failed_manager_tells_every_caller_why() {
    run(async {
        let store = Store::start_with(config(), |core| Store {
            fails_to_start: true,
            ..Store::build(core)
        });
        // Made before it has failed, and after.
        let early = store.numbers();
        let error = within(store.ensure_ready()).await.unwrap_err();
        assert_eq!(error.to_string(), "no luck");
        for error in [
            within(early).await.unwrap_err(),
            at_once(store.numbers()).await.unwrap_err(),
        ] {
            match &error {
                Error::Failed {
                    method: "numbers",
                    cause,
                } => assert_eq!(cause.to_string(), "no luck"),
                other => panic!("{other}"),
            }
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), "no luck");
        }
        let failed = |method: &str| {
            Trouble::Database(format!("{method}: the database failed to start: no luck"))
        };
        assert_eq!(
            store.plain(Some(1), None, Fault::None).await,
            Err(failed("plain"))
        );
        assert_eq!(store.with_value(Some(1), None, Fault::None).await, -1);
        assert_eq!(
            store.with_both(Some(1), None, Fault::None).await,
            (-2, Some(failed("with_both")))
        );
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn calls_made_while_starting_wait_and_then_run() {
    run(async {
        for _ in 0..20 {
            let store = Store::start_with(config(), Store::build);
            let calls: Vec<_> = (0..10)
                .map(|n| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { store.add(n).await })
                })
                .collect();
            for call in calls {
                within(call).await.unwrap().unwrap();
            }
            assert_eq!(store.numbers().await.unwrap(), Vec::from_iter(0..10));
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_call_that_waits_too_long_names_the_holder_and_the_queue() {
    run(async {
        let store = Store::new().await;
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let waiting = async {
            tokio::join!(
                store.add(1),
                store.add(2),
                store.with_value(Some(3), None, Fault::None),
                store.with_both(Some(4), None, Fault::None)
            )
        };
        let (one, two, three, four) = tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            ended = within(waiting) => ended,
        };
        for error in [one.unwrap_err(), two.unwrap_err()] {
            match &error {
                Error::AcquireTimeout {
                    method: "add",
                    waited,
                    holder: "hold",
                    held,
                    queued,
                } => {
                    assert_eq!(*waited, Duration::from_millis(200));
                    assert!(held >= waited && (1..=4).contains(queued), "{error}");
                }
                other => panic!("{other}"),
            }
            assert!(error.is_retryable());
            assert!(error.to_string().contains("held by hold for"), "{error}");
        }
        assert_eq!(three, -1);
        assert_eq!(four.0, -2);
        assert!(four.1.unwrap().to_string().contains("held by hold"));
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(
            store.bodies.load(Ordering::Relaxed),
            0,
            "who gave up never runs"
        );
        assert_eq!(store.numbers().await.unwrap(), []);
        store.add(5).await.unwrap();
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn hold_a_read(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        go_on: &Notify,
    ) -> Result<i64> {
        inside.notify_one();
        go_on.notified().await;
        db.query_one("SELECT 1", ()).await
    }
}

#[test]
fn a_read_that_waits_too_long_names_the_oldest_read() {
    run(async {
        let store = Store::create_with(config().readers(1), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold_a_read(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let error = within(store.numbers()).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::AcquireTimeout {
                    method: "numbers",
                    holder: "hold_a_read",
                    ..
                }
            ),
            "{error}"
        );
        within(store.add(1)).await.unwrap();
        go_on.notify_one();
        hold.await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

#[test]
fn a_queue_that_is_full_refuses_at_once() {
    run(async {
        let store = Store::create_with(config().max_queue(3), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut queue: Vec<_> = (0..3).map(|n| Box::pin(store.add(n))).collect();
        for waiting in &mut queue {
            assert!(poll_once(waiting).await.is_pending());
        }
        let error = at_once(store.add(3)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Overloaded {
                    method: "add",
                    queued: 3
                }
            ),
            "{error}"
        );
        assert!(error.is_retryable());
        // One goes away: there is room again.
        drop(queue.remove(1));
        let mut late = Box::pin(store.add(4));
        assert!(poll_once(&mut late).await.is_pending());
        queue.push(late);
        go_on.notify_one();
        hold.await.unwrap();
        for waiting in queue {
            within(waiting).await.unwrap();
        }
        assert_eq!(store.numbers().await.unwrap(), [0, 2, 4]);
        store.close().await.unwrap();
    });
}

#[test]
fn another_process_that_has_the_lock_is_a_typed_error_after_the_busy_timeout() {
    run(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            let store = Store::create_with(config().execution(execution), Store::build)
                .await
                .unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            let error = within(store.add(1)).await.unwrap_err();
            assert!(
                matches!(error, Error::Busy { .. }) && error.is_retryable(),
                "{error}"
            );
            assert_eq!(error.sqlite_code(), Some(rusqlite::ffi::SQLITE_BUSY));
            assert_eq!(
                within(store.with_value(Some(1), None, Fault::None)).await,
                -1
            );
            assert_eq!(
                store.bodies.load(Ordering::Relaxed),
                0,
                "the body never began"
            );
            other.execute_batch("COMMIT").unwrap();
            store.add(1).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe(timeout = "30ms")]
    async fn add_within_a_moment(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO number VALUES (?1)", (n,)).await?;
        Ok(())
    }
}

/// The limit is the body's: neither the queue nor the commit counts.
#[test]
fn a_timeout_does_not_count_the_wait_for_the_lock() {
    run(async {
        let store = Store::create_with(Config::in_memory(), Store::build)
            .await
            .unwrap();
        let (inside, go_on) = (Notify::new(), Notify::new());
        let mut hold = Box::pin(store.hold(&inside, &go_on));
        tokio::select! {
            result = &mut hold => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let mut waiting = Box::pin(store.add_within_a_moment(1));
        tokio::select! {
            result = &mut waiting => panic!("{result:?}"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        go_on.notify_one();
        hold.await.unwrap();
        within(waiting).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), [1]);
        store.close().await.unwrap();
    });
}

/// What the substitute has seen.
static SEEN: AtomicI64 = AtomicI64::new(-1);

impl Store {
    /// Seen from outside: how many rows are there, and can the lock be had?
    fn look(&self) -> i64 {
        let other = rusqlite::Connection::open(self.path().unwrap()).unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        let free = other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok();
        let rows: i64 = other
            .query_row("SELECT count(*) FROM number", (), |row| row.get(0))
            .unwrap();
        SEEN.store(if free { rows } else { -2 }, Ordering::Relaxed);
        -1
    }

    #[database_safe]
    #[fail_value(self.look())]
    async fn fail_and_look(&self, db: &mut WriteTransaction, panic: bool) -> Result<i64> {
        db.execute("INSERT INTO number VALUES (1)", ()).await?;
        assert!(!panic, "as asked");
        Err(Error::other("as asked"))
    }
}

/// As the substitute sees it, everything is undone already.
#[test]
fn the_substitute_is_made_after_the_rollback() {
    run(async {
        for execution in [Execution::Auto, Execution::Inline, Execution::Offload] {
            let store = Store::create_with(config().execution(execution), Store::build)
                .await
                .unwrap();
            for panic in [false, true] {
                SEEN.store(-1, Ordering::Relaxed);
                assert_eq!(store.fail_and_look(panic).await, -1);
                assert_eq!(
                    SEEN.load(Ordering::Relaxed),
                    0,
                    "{execution:?}, panic: {panic}"
                );
            }
            store.close().await.unwrap();
        }
    });
}

// Alone, on methods that are no calls.

impl Store {
    #[timed]
    async fn only_timed(&self, n: i64) -> i64 {
        tokio::task::yield_now().await;
        n + 1
    }

    #[required_argument(a, b)]
    async fn only_required(&self, a: Option<i64>, b: Option<i64>) -> Result<i64> {
        tokio::task::yield_now().await;
        Ok(a.or(b).unwrap_or_default())
    }
}

#[test]
fn timed_and_required_argument_work_alone() {
    run(async {
        let store = Store::new().await;
        store.close().await.unwrap();
        assert_eq!(store.only_timed(1).await, 2);
        assert_eq!(store.only_required(None, Some(2)).await.unwrap(), 2);
        let error = at_once(store.only_required(None, None)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::MissingArgument {
                    method: "only_required",
                    ..
                }
            ),
            "{error}"
        );
    });
}

#[test]
fn a_call_does_nothing_before_it_is_polled() {
    run(async {
        let store = Store::new().await;
        drop(store.plain(Some(1), None, Fault::None));
        drop(store.add(2));
        drop(store.numbers());
        assert_eq!(store.bodies.load(Ordering::Relaxed), 0);
        assert_eq!(store.numbers().await.unwrap(), []);
        store.close().await.unwrap();
    });
}
