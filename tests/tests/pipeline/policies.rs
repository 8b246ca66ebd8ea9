//! Each failure under each policy.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{run, within};
use futures_util::FutureExt as _;

use super::{Fault, Store, Trouble, at_once, config};

impl Store {
    fn made(&self) -> i64 {
        self.substitutes.load(Ordering::Relaxed)
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
            assert_eq!(both.as_ref().map(Result::is_err), Ok(true), "{fault:?}");
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
            assert!(
                store.numbers().await.unwrap().is_empty(),
                "{fault:?}: rolled back"
            );
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
