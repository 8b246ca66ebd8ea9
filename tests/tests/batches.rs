//! Group commit: waiting writers share a transaction. Nobody is told before its COMMIT, and whatever becomes of one
//! call costs its companions nothing.

use std::collections::HashSet;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{Dice, LIMIT, Moment, Stalled, cut, poll_once, run, run_on_one_thread, within};
use futures_util::future::join_all;
use tokio::sync::Notify;

const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Items of two halves: an item with one half is half a write.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    extra: &'static str,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE half (item INTEGER, side INTEGER, PRIMARY KEY (item, side)) STRICT;
             CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
             CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent) STRICT",
        )
        .await?;
        db.execute_batch(self.extra).await
    }

    async fn migrate_db(&self, _: &mut WriteTransaction, _: &Version, _: &Version) -> Result<bool> {
        Ok(false)
    }
}

const ADD: &str = "INSERT INTO half (item, side) VALUES (?1, ?2)";

async fn add_both(db: &mut WriteTransaction, item: i64) -> Result<()> {
    db.execute(ADD, (item, 1)).await?;
    db.execute(ADD, (item, 2)).await?;
    Ok(())
}

/// Each hazard has a method of its own: what a method does once, the library remembers of it.
impl Store {
    async fn new(config: Config) -> Arc<Self> {
        Self::with(config, "").await
    }

    async fn with(config: Config, extra: &'static str) -> Arc<Self> {
        let store = Self::create_with(config, |core| Self { core, extra })
            .await
            .unwrap();
        // A method shares a transaction only after it has run well a few times.
        for _ in 0..5 {
            store.add(next_item()).await.unwrap();
        }
        store
    }

    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        add_both(db, item).await
    }

    #[database_safe]
    async fn halves(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one("SELECT count(*) FROM half WHERE item = ?1", (item,))
            .await
    }

    #[database_safe]
    async fn all_halves(&self, db: &mut ReadTransaction) -> Result<Vec<(i64, i64)>> {
        db.query("SELECT item, count(*) FROM half GROUP BY item", ())
            .await
    }

    /// Has the writer until the test lets go.
    #[database_safe]
    async fn hold(
        &self,
        _db: &mut WriteTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        inside.notify_one();
        release.notified().await;
        Ok(())
    }
}

fn next_item() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Keeps the writer busy while `calls` queue up in this order, then lets them run together.
async fn together<'a>(store: &'a Store, mut calls: Vec<Call<'a>>) -> Vec<Result<()>> {
    let holder = queue_up(store, &mut calls).await;
    holder.let_go().await;
    within(join_all(calls)).await
}

struct Holder<'a> {
    release: Arc<Notify>,
    call: Call<'a>,
}

impl Holder<'_> {
    async fn let_go(self) {
        self.release.notify_one();
        within(self.call).await.unwrap();
    }
}

async fn queue_up<'a>(store: &'a Store, calls: &mut [Call<'a>]) -> Holder<'a> {
    let (inside, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut call: Call<'a> = {
        let (inside, release) = (Arc::clone(&inside), Arc::clone(&release));
        Box::pin(async move { store.hold(&inside, &release).await })
    };
    tokio::select! {
        result = &mut call => panic!("{result:?}"),
        () = inside.notified() => {}
    }
    for call in calls {
        assert!(poll_once(call).await.is_pending());
    }
    Holder { release, call }
}

fn config(directory: &Path, execution: Execution) -> Config {
    Config::new(directory)
        .durability(Durability::Normal)
        .execution(execution)
}

/// Every way to run, each with a store of its own.
async fn everywhere(extra: &'static str, test: impl AsyncFn(Arc<Store>)) {
    for execution in EXECUTIONS {
        let store = Store::with(Config::in_memory().execution(execution), extra).await;
        test(Arc::clone(&store)).await;
        let item = next_item();
        within(store.add(item)).await.unwrap();
        assert_eq!(store.halves(item).await.unwrap(), 2);
        let halves = store.all_halves().await.unwrap();
        assert!(
            halves.iter().all(|(_, count)| *count == 2),
            "half a write: {halves:?}"
        );
        within(store.close()).await.unwrap();
    }
}

static COMMITS: AtomicUsize = AtomicUsize::new(0);

impl Store {
    /// Counts the commits from now on, from inside SQLite.
    #[database_safe]
    async fn count_commits(&self, db: &mut WriteTransaction) -> Result<()> {
        db.call(|c| {
            c.wal_hook(Some(|_, _| {
                COMMITS.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }));
            Ok(())
        })
        .await
    }
}

#[test]
fn waiting_writers_share_one_commit() {
    run(everywhere("", async |store| {
        store.count_commits().await.unwrap();
        COMMITS.store(0, Ordering::SeqCst);
        let items: Vec<_> = (0..20).map(|_| next_item()).collect();
        let calls = items
            .iter()
            .map(|item| Box::pin(store.add(*item)) as Call<'_>)
            .collect();
        for result in together(&store, calls).await {
            result.unwrap();
        }
        for item in items {
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        let commits = COMMITS.load(Ordering::SeqCst);
        assert!((1..10).contains(&commits), "{commits} commits for 20 calls");
    }));
}

/// Another process looks for the row as soon as its writer was told.
#[test]
fn nobody_is_told_before_the_commit() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::new(config(directory.path(), execution)).await;
            let tasks = (0..32).map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let path = store.path().unwrap();
                    let other = rusqlite::Connection::open(path).unwrap();
                    let sql = "SELECT count(*) FROM half WHERE item = ?1";
                    for _ in 0..40 {
                        let item = next_item();
                        store.add(item).await.unwrap();
                        let there: i64 = other.query_row(sql, (item,), |row| row.get(0)).unwrap();
                        assert_eq!(there, 2, "told before the commit");
                        assert_eq!(
                            store.halves(item).await.unwrap(),
                            2,
                            "a read does not see a write told before"
                        );
                    }
                })
            });
            let tasks: Vec<_> = tasks.collect();
            for task in tasks {
                task.await.unwrap();
            }
            store.close().await.unwrap();
        }
    });
}

/// Puts the device that is always full in the place of the log; not everybody may.
fn make_full(log: &Path) -> bool {
    let made = std::process::Command::new("mknod")
        .arg(log)
        .args(["c", "1", "7"])
        .output();
    made.is_ok_and(|made| made.status.success()) && std::fs::write(log, "x").is_err()
}

#[test]
fn a_commit_that_fails_on_a_full_disk_gives_every_companion_its_error() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), execution);
            let store = Store::new(config.clone()).await;
            let _ = store.fail_with_own_error(next_item()).await;
            let before = store.all_halves().await.unwrap();
            let log = store.path().unwrap().with_file_name("database.db-wal");
            store.close().await.unwrap();
            if !make_full(&log) {
                return eprintln!("skipped: no device that is always full can be made here");
            }
            let store = Store::create_with(config.clone(), |core| Store { core, extra: "" })
                .await
                .unwrap();
            let mut calls: Vec<_> = (0..10)
                .map(|_| Box::pin(store.add(next_item())) as Call<'_>)
                .collect();
            calls.push(Box::pin(store.fail_with_own_error(next_item())));
            let mut results = together(&store, calls).await;
            let own = results.pop().unwrap().unwrap_err();
            assert_eq!(
                own.to_string(),
                "its own",
                "a held-back Err keeps its value"
            );
            for result in results {
                let error = result.unwrap_err();
                assert_eq!(
                    error.sqlite_code(),
                    Some(rusqlite::ffi::SQLITE_FULL),
                    "{error}"
                );
            }
            within(store.close()).await.unwrap();
            let _ = std::fs::remove_file(&log);
            let store = Store::create_with(config, |core| Store { core, extra: "" })
                .await
                .unwrap();
            assert_eq!(store.all_halves().await.unwrap(), before);
            within(store.add(next_item())).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn fail_with_own_error(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        Err(Error::other("its own"))
    }

    #[database_safe]
    async fn fail_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        fail: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        if fail {
            return Err(Error::other("undone"));
        }
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    #[fail_with_exception]
    async fn panic_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        panic: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert!(!panic, "as asked");
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn nest(&self, db: &mut WriteTransaction, item: i64, fail: bool) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert!(self.fail_now_and_then(-item, true).await.is_err());
        self.nested_half(item).await?;
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn nested_half(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn break_a_constraint(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        twice: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if twice {
            add_both(db, item).await
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_call_that_fails_costs_its_companions_nothing() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.fail_now_and_then(next_item(), false).await.unwrap();
            store.panic_now_and_then(next_item(), false).await.unwrap();
            store.break_a_constraint(next_item(), false).await.unwrap();
            store.nest(next_item(), false).await.unwrap();
        }
        let items: Vec<_> = (0..30).map(|_| next_item()).collect();
        let calls = items
            .iter()
            .enumerate()
            .map(|(number, item)| match number % 6 {
                0 => Box::pin(store.fail_now_and_then(*item, true)) as Call<'_>,
                1 => Box::pin(store.panic_now_and_then(*item, true)),
                2 => Box::pin(store.break_a_constraint(*item, true)),
                3 => Box::pin(store.nest(*item, true)),
                4 => Box::pin(store.nest(*item, false)),
                _ => Box::pin(store.add(*item)),
            });
        let results = together(&store, calls.collect()).await;
        for (number, (item, result)) in items.into_iter().zip(results).enumerate() {
            let well = number % 6 >= 4;
            assert_eq!(result.is_ok(), well, "{number}: {result:?}");
            assert_eq!(
                store.halves(item).await.unwrap(),
                if well { 2 } else { 0 },
                "{number}"
            );
        }
    }));
}

#[test]
fn a_call_that_is_dropped_costs_its_companions_nothing() {
    run(everywhere("", async |store| {
        for moment in Moment::ALL {
            for at in 1..20 {
                let items: Vec<_> = (0..9).map(|_| next_item()).collect();
                let calls = items.iter().enumerate().map(|(number, item)| match number {
                    0 | 4 | 8 => Box::pin(async {
                        // The wait in the queue is the first.
                        match cut(at, moment, store.add(*item)).await {
                            Some(result) => result,
                            None => Err(Error::other("dropped")),
                        }
                    }) as Call<'_>,
                    _ => Box::pin(store.add(*item)),
                });
                let mut calls: Vec<Call<'_>> = calls.collect();
                let holder = queue_up_loosely(&store, &mut calls).await;
                holder.let_go().await;
                let results = within(join_all(calls)).await;
                for (number, (item, result)) in items.into_iter().zip(results).enumerate() {
                    let halves = store.halves(item).await.unwrap();
                    match result {
                        Ok(()) => assert_eq!(halves, 2),
                        Err(error) => {
                            assert_eq!(error.to_string(), "dropped", "{number} at {at}");
                            assert!(halves == 0 || halves == 2, "{number} at {at}");
                        }
                    }
                }
            }
        }
    }));
}

/// Some of the calls may have ended before the holder lets go.
async fn queue_up_loosely<'a>(store: &'a Store, calls: &mut Vec<Call<'a>>) -> Holder<'a> {
    let holder = queue_up(store, &mut []).await;
    for call in calls {
        if let std::task::Poll::Ready(result) = poll_once(call).await {
            *call = Box::pin(std::future::ready(result));
        }
    }
    holder
}

impl Store {
    #[database_safe]
    async fn stall_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        wait: Option<&Notify>,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        if let Some(wait) = wait {
            wait.notified().await;
        }
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

#[test]
fn a_call_that_stalls_is_taken_out_and_its_companions_are_told() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store.stall_now_and_then(next_item(), None).await.unwrap();
        }
        let never = Notify::new();
        let items: Vec<_> = (0..3).map(|_| next_item()).collect();
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.add(items[0])),
            Box::pin(async {
                tokio::select! {
                    // Told at the latest when its companions are.
                    result = store.stall_now_and_then(items[1], Some(&never)) => result,
                    () = std::future::pending() => Ok(()),
                }
            }),
            Box::pin(async {
                let result = store.add(items[2]).await;
                never.notify_one();
                result
            }),
        ];
        let results = together(&store, calls).await;
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
        let error = results[1].as_ref().unwrap_err();
        assert!(
            matches!(
                error,
                Error::BatchLost {
                    by: "stall_now_and_then"
                }
            ),
            "{error}"
        );
        assert!(error.is_retryable());
        for (item, expected) in items.iter().zip([2, 0, 2]) {
            assert_eq!(store.halves(*item).await.unwrap(), expected);
        }
        // From then on the method runs alone, and may take its time.
        let go_on = Notify::new();
        let calls: Vec<Call<'_>> = vec![
            Box::pin(async {
                let result = store.add(next_item()).await;
                go_on.notify_one();
                result
            }),
            Box::pin(store.stall_now_and_then(items[1], Some(&go_on))),
            Box::pin(store.add(next_item())),
        ];
        for result in together(&store, calls).await {
            result.unwrap();
        }
        assert_eq!(store.halves(items[1]).await.unwrap(), 2);
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn wait_for_something_else(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        wait: &Notify,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        wait.notified().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// If they shared a transaction, each would wait for the other.
#[test]
fn a_method_that_waits_for_something_else_never_shares() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            let wait = Notify::new();
            wait.notify_one();
            store
                .wait_for_something_else(next_item(), &wait)
                .await
                .unwrap();
            let call = Box::pin(store.wait_for_something_else(next_item(), &wait));
            let mut call: Call<'_> = call;
            tokio::select! {
                _ = &mut call => panic!("nobody has woken it"),
                () = tokio::task::yield_now() => {}
            }
            wait.notify_one();
            call.await.unwrap();
        }
        for _ in 0..5 {
            let told = Notify::new();
            let calls: Vec<Call<'_>> = vec![
                Box::pin(async {
                    store.add(next_item()).await?;
                    told.notify_one();
                    Ok(())
                }),
                Box::pin(store.wait_for_something_else(next_item(), &told)),
                Box::pin(store.add(next_item())),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
        }
    }));
}

/// Where a call stands still: on a task that is not polled any more, in the queue, in its body, or in its commit.
#[test]
fn a_call_that_nobody_polls_does_not_keep_its_companions_waiting() {
    run(async {
        let mut tests = Vec::new();
        for execution in EXECUTIONS {
            for at in 1..14 {
                tests.push(tokio::spawn(async move {
                    let store = Store::new(Config::in_memory().execution(execution)).await;
                    let (before, stalled, after) = (next_item(), next_item(), next_item());
                    let holder = queue_up(&store, &mut []).await;
                    let mut first: Call<'_> = Box::pin(store.add(before));
                    assert!(poll_once(&mut first).await.is_pending());
                    let mut stalling = Stalled::new(Box::pin(store.add(stalled)) as Call<'_>);
                    assert!(!stalling.run_to(1).await);
                    let mut last: Call<'_> = Box::pin(store.add(after));
                    assert!(poll_once(&mut last).await.is_pending());
                    let in_its_body = stalling.run_to(at);
                    let all = async { tokio::join!(holder.let_go(), in_its_body, first, last) };
                    let Ok(((), got_through, first, last)) =
                        tokio::time::timeout(LIMIT / 4, all).await
                    else {
                        panic!("{execution:?} {at}: they wait for ever");
                    };
                    for (item, result) in [(before, first), (after, last)] {
                        match result {
                            Ok(()) => assert_eq!(
                                store.halves(item).await.unwrap(),
                                2,
                                "{execution:?} {at}"
                            ),
                            Err(error) => panic!("{execution:?} {at}: {error}"),
                        }
                    }
                    drop(stalling);
                    within(store.add(next_item())).await.unwrap();
                    let halves = store.halves(stalled).await.unwrap();
                    assert!(
                        halves == 2 || (halves == 0 && !got_through),
                        "{execution:?} {at}: {halves}"
                    );
                    within(store.close()).await.unwrap();
                }));
            }
        }
        for test in tests {
            test.await.unwrap();
        }
    });
}

impl Store {
    #[database_safe]
    async fn read_endlessly_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn write_endlessly_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        rows: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?2)
             INSERT INTO half SELECT ?1, x + 1 FROM n";
        db.execute(sql, (item, rows)).await?;
        Ok(())
    }

    #[database_safe(timeout = "50ms")]
    async fn time_out_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

/// Only the statement of the dropped call goes; an interrupted read leaves the transaction as it is.
#[test]
fn a_dropped_read_in_a_shared_transaction_costs_its_companions_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .read_endlessly_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        for at in 2..7 {
            let items: Vec<_> = (0..3).map(|_| next_item()).collect();
            let calls: Vec<Call<'_>> = vec![
                Box::pin(store.add(items[0])),
                Box::pin(async {
                    let endless = cut(
                        at,
                        Moment::AtOnce,
                        store.read_endlessly_now_and_then(items[1], true),
                    );
                    let _ = tokio::time::timeout(Duration::from_millis(20), endless).await;
                    Ok(())
                }),
                Box::pin(store.add(items[2])),
            ];
            for result in together(&store, calls).await {
                result.unwrap();
            }
            for (item, expected) in items.iter().zip([2, 0, 2]) {
                assert_eq!(store.halves(*item).await.unwrap(), expected, "{at}");
            }
        }
        store.close().await.unwrap();
    });
}

/// A running write cannot be interrupted without the whole transaction: after a short grace it is all the same.
#[test]
fn a_dropped_write_that_does_not_end_loses_the_batch_and_says_so() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .write_endlessly_now_and_then(next_item(), 1)
                .await
                .unwrap();
        }
        let items: Vec<_> = (0..3).map(|_| next_item()).collect();
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.add(items[0])),
            Box::pin(async {
                let endless = store.write_endlessly_now_and_then(items[1], i64::MAX);
                assert!(
                    tokio::time::timeout(Duration::from_millis(20), endless)
                        .await
                        .is_err()
                );
                Ok(())
            }),
            Box::pin(store.add(items[2])),
        ];
        let results = together(&store, calls).await;
        let error = results[0].as_ref().unwrap_err();
        assert!(
            matches!(
                error,
                Error::BatchLost {
                    by: "write_endlessly_now_and_then"
                }
            ),
            "{error}"
        );
        assert!(error.is_retryable());
        assert!(results[2].is_ok(), "{results:?}");
        for (item, expected) in items.iter().zip([0, 0, 2]) {
            assert_eq!(store.halves(*item).await.unwrap(), expected);
        }
        within(store.add(items[0])).await.unwrap();
        store.close().await.unwrap();
    });
}

/// Nobody is left who could notice that the transaction stands still.
#[test]
fn a_shared_transaction_whose_callers_have_all_gone_is_cleared_away() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .endless_without_callers(next_item(), false)
                .await
                .unwrap();
        }
        let mut first: Call<'_> = Box::pin(store.add(next_item()));
        let mut calls: Vec<Call<'_>> =
            vec![Box::pin(store.endless_without_callers(next_item(), true))];
        let holder = queue_up(&store, &mut []).await;
        assert!(poll_once(&mut first).await.is_pending());
        assert!(poll_once(&mut calls[0]).await.is_pending());
        holder.let_go().await;
        let all = async { tokio::join!(first, calls.remove(0)) };
        assert!(
            tokio::time::timeout(Duration::from_millis(50), all)
                .await
                .is_err()
        );
        within(store.add(next_item())).await.unwrap();
        within(store.close()).await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn endless_without_callers(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        endless: bool,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = if endless { ENDLESS } else { "SELECT 1" };
        db.query_one::<i64>(sql, ()).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

#[test]
fn a_call_that_times_out_costs_its_companions_nothing() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store
                .time_out_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        let items: Vec<_> = (0..3).map(|_| next_item()).collect();
        let calls: Vec<Call<'_>> = vec![
            Box::pin(store.add(items[0])),
            Box::pin(store.time_out_now_and_then(items[1], true)),
            Box::pin(store.add(items[2])),
        ];
        let results = together(&store, calls).await;
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
        assert!(
            matches!(results[1], Err(Error::Timeout { .. })),
            "{results:?}"
        );
        for (item, expected) in items.iter().zip([2, 0, 2]) {
            assert_eq!(store.halves(*item).await.unwrap(), expected);
        }
        store.close().await.unwrap();
    });
}

/// Slow, but not endless: it must not be taken out again and again.
#[test]
fn a_call_that_was_taken_out_for_being_slow_gets_through_when_made_again() {
    run(async {
        let store = Store::new(Config::in_memory()).await;
        for _ in 0..4 {
            store.write_much_now_and_then(next_item(), 1).await.unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let company = (0..4).map(|_| {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match store.add(next_item()).await {
                        Ok(()) | Err(Error::BatchLost { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        });
        let company: Vec<_> = company.collect();
        let mut tries = 0;
        loop {
            match within(store.write_much_now_and_then(next_item(), 5_000_000)).await {
                Ok(()) => break,
                Err(Error::BatchLost { .. }) => tries += 1,
                Err(other) => panic!("{other}"),
            }
            assert!(tries < 3, "taken out again and again");
        }
        stop.store(true, Ordering::Relaxed);
        for task in company {
            within(task).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

impl Store {
    /// Counts rows in a write that takes some seconds.
    #[database_safe]
    async fn write_much_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        rows: i64,
    ) -> Result<()> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT ?2)
             INSERT INTO half SELECT ?1, min(count(*), 1) FROM n UNION SELECT ?1, 2";
        db.execute(sql, (item, rows)).await?;
        Ok(())
    }
}

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

    #[database_safe]
    async fn roll_back_now_and_then(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        roll_back: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if roll_back {
            db.execute(
                "INSERT OR ROLLBACK INTO half (item, side) VALUES (?1, 1)",
                (item,),
            )
            .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn roll_back_by_call(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        roll_back: bool,
    ) -> Result<()> {
        add_both(db, item).await?;
        if roll_back {
            db.call(move |c| {
                // The error is ignored, and on it goes, outside of any transaction.
                let _ = c.execute(
                    "INSERT OR ROLLBACK INTO half (item, side) VALUES (?1, 1)",
                    (item,),
                );
                let _ = c.execute("INSERT INTO half (item, side) VALUES (?1, 3)", (item,));
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn roll_back_by_trigger(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        side: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, side)).await?;
        Ok(())
    }
}

/// The culprit between two companions: they are told Ok, or that they can try again, never that of the culprit.
async fn alone_guilty<'a>(store: &'a Store, culprit: Call<'a>, may_lose: bool) -> Error {
    let items = [next_item(), next_item()];
    let calls: Vec<Call<'_>> = vec![
        Box::pin(store.add(items[0])),
        culprit,
        Box::pin(store.add(items[1])),
    ];
    let mut results = together(store, calls).await;
    let error = results.remove(1).unwrap_err();
    for (item, result) in items.into_iter().zip(results) {
        let expected = match result {
            Ok(()) => 2,
            Err(Error::BatchLost { .. }) if may_lose => 0,
            Err(other) => panic!("a companion got: {other}"),
        };
        assert_eq!(store.halves(item).await.unwrap(), expected);
    }
    error
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
        alone_guilty(
            &store,
            Box::pin(store.defer_now_and_then(next_item(), true)),
            false,
        )
        .await;
        alone_guilty(
            &store,
            Box::pin(store.defer_by_script(next_item(), true)),
            false,
        )
        .await;
        alone_guilty(
            &store,
            Box::pin(store.defer_by_call(next_item(), true)),
            false,
        )
        .await;
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
    async fn change_schema(&self, db: &mut WriteTransaction, sql: &'static str) -> Result<()> {
        db.execute_batch(sql).await
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

#[test]
fn sql_that_rolls_everything_back_never_shares() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store
                .roll_back_now_and_then(next_item(), false)
                .await
                .unwrap();
        }
        alone_guilty(
            &store,
            Box::pin(store.roll_back_now_and_then(next_item(), true)),
            false,
        )
        .await;
        alone_guilty(
            &store,
            Box::pin(store.roll_back_now_and_then(next_item(), true)),
            false,
        )
        .await;
    }));
}

/// In a closure nobody can see it coming.
#[test]
fn a_closure_that_rolls_everything_back_loses_the_batch_at_most() {
    run(everywhere("", async |store| {
        for _ in 0..4 {
            store.roll_back_by_call(next_item(), false).await.unwrap();
        }
        for _ in 0..3 {
            let error = alone_guilty(
                &store,
                Box::pin(store.roll_back_by_call(next_item(), true)),
                true,
            )
            .await;
            assert!(
                matches!(
                    error,
                    Error::TransactionLost { .. } | Error::BatchLost { .. }
                ),
                "{error}"
            );
        }
    }));
}

const TRIGGER: &str = "CREATE TRIGGER guard BEFORE INSERT ON half WHEN new.side = 99
     BEGIN SELECT RAISE(ROLLBACK, 'no such side'); END";

#[test]
fn a_trigger_that_rolls_everything_back_never_shares() {
    run(async {
        everywhere(TRIGGER, async |store| {
            for _ in 0..4 {
                store.roll_back_by_trigger(next_item(), 1).await.unwrap();
            }
            let error = alone_guilty(&store, Box::pin(store.roll_back_by_trigger(next_item(), 99)), false).await;
            assert!(matches!(error, Error::TransactionLost { .. }), "{error}");
            store.change_schema("DELETE FROM half WHERE side = 1 AND item NOT IN (SELECT item FROM half WHERE side = 2)").await.unwrap();
        })
        .await;
        everywhere("", async |store| {
            for _ in 0..4 {
                store.roll_back_by_trigger(next_item(), 1).await.unwrap();
            }
            let temporary: &'static str = "CREATE TEMP TRIGGER guard BEFORE INSERT ON main.half WHEN new.side = 99
                 BEGIN SELECT RAISE(ROLLBACK, 'no such side'); END";
            store.change_schema(temporary).await.unwrap();
            let error = alone_guilty(&store, Box::pin(store.roll_back_by_trigger(next_item(), 99)), true).await;
            assert!(matches!(error, Error::TransactionLost { .. } | Error::BatchLost { .. }), "{error}");
            store.change_schema("DELETE FROM half WHERE side = 1 AND item NOT IN (SELECT item FROM half WHERE side = 2)").await.unwrap();
        })
        .await;
    });
}

/// The file is gone before the commit: nobody may be told Ok.
#[test]
fn a_commit_to_a_file_that_was_removed_tells_every_companion() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::new(config(directory.path(), execution)).await;
            let mut calls: Vec<Call<'_>> = (0..5)
                .map(|_| Box::pin(store.add(next_item())) as Call<'_>)
                .collect();
            let holder = queue_up(&store, &mut calls).await;
            std::fs::remove_file(store.path().unwrap()).unwrap();
            holder.release.notify_one();
            assert!(matches!(
                within(holder.call).await,
                Err(Error::FileReplaced { .. })
            ));
            for result in within(join_all(calls)).await {
                assert!(
                    matches!(result, Err(Error::FileReplaced { .. })),
                    "{result:?}"
                );
            }
            within(store.close()).await.unwrap();
        }
    });
}

/// 64 tasks, 400 calls each, one in five failing, most dropped at some await point.
async fn storm(execution: Execution, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), execution);
    let store = Store::new(config.clone()).await;
    let tasks = (0..64).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut dice = Dice::new(seed.wrapping_mul(1_000).wrapping_add(task));
            let (mut told, mut undone) = (Vec::new(), Vec::new());
            for _ in 0..400 {
                let item = next_item();
                let fail = dice.one_in(5);
                let call: Call<'_> = match dice.below(6) {
                    0 => Box::pin(store.nest(item, fail)),
                    1 => Box::pin(store.add_by_new_text(item, fail)),
                    2 => Box::pin(store.yield_and_fail(item, fail)),
                    _ => Box::pin(store.fail_now_and_then(item, fail)),
                };
                let moment = Moment::ALL[dice.below(2)];
                let at = if dice.one_in(3) {
                    usize::MAX
                } else {
                    1 + dice.below(8)
                };
                match cut(at, moment, call).await {
                    Some(Ok(())) => told.push(item),
                    Some(Err(error)) => {
                        assert!(fail && error.to_string() == "undone", "{error}");
                        undone.push(item);
                    }
                    None if fail => undone.push(item),
                    None => {}
                }
            }
            (told, undone)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut told, mut undone) = (HashSet::new(), HashSet::new());
    for task in tasks {
        let (more_told, more_undone) = within(task).await.unwrap();
        told.extend(more_told);
        undone.extend(more_undone);
    }
    assert!(!told.is_empty() && !undone.is_empty());
    within(store.close()).await.unwrap();

    let store = Store::new(config).await;
    let halves = store.all_halves().await.unwrap();
    assert!(halves.iter().all(|(_, count)| *count == 2), "half a write");
    let there: HashSet<i64> = halves.into_iter().map(|(item, _)| item).collect();
    assert!(
        told.is_subset(&there),
        "seed {seed}: acknowledged and missing"
    );
    assert!(undone.is_disjoint(&there), "seed {seed}: failed and there");
    within(store.close()).await.unwrap();
}

impl Store {
    #[database_safe]
    async fn add_by_new_text(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        fail: bool,
    ) -> Result<()> {
        for side in [1, 2] {
            db.execute(&format!("INSERT INTO half VALUES ({item}, {side})"), ())
                .await?;
        }
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }

    #[database_safe]
    async fn yield_and_fail(&self, db: &mut WriteTransaction, item: i64, fail: bool) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        tokio::task::yield_now().await;
        db.execute(ADD, (item, 2)).await?;
        if fail {
            Err(Error::other("undone"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing() {
    run(storm(Execution::Auto, 1));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_with_everything_inline() {
    run(storm(Execution::Inline, 2));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_with_everything_on_threads() {
    run(storm(Execution::Offload, 3));
}

#[test]
fn a_storm_of_dropped_calls_leaves_no_half_write_and_loses_nothing_on_one_thread() {
    run_on_one_thread(storm(Execution::Auto, 4));
}
