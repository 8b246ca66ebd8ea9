//! `DbManager::metrics`: each number is shown by an event that changes it.

#![allow(clippy::unwrap_used)]

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Calls, Execution, Histogram, Job, Metrics};
use dbm_tests::{Moment, cut, eventually, poll_once, run, run_on_one_thread, within};
use tokio::sync::{Notify, oneshot};

#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
    arrived: Notify,
    go_on: Notify,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE t (n INTEGER);
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
        )
        .await
    }
}

impl Store {
    #[database_safe]
    async fn insert(&self, db: &mut WriteTransaction, n: i64) -> Result<()> {
        db.execute("INSERT INTO t VALUES (?1)", (n,)).await?;
        Ok(())
    }

    #[database_safe]
    async fn insert_and_panic(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO t VALUES (1)", ()).await?;
        panic!("wanted");
    }

    #[database_safe(timeout = "1ms")]
    async fn insert_in_time(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO t VALUES (1)", ()).await?;
        pending().await
    }

    #[database_safe]
    async fn insert_an_orphan(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute("INSERT INTO child VALUES (1)", ()).await?;
        Ok(())
    }

    #[database_safe]
    async fn insert_much(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1100)
                   INSERT INTO t SELECT zeroblob(4000) FROM n";
        db.execute(sql, ()).await?;
        Ok(())
    }

    /// Keeps the writer until `go_on`.
    #[database_safe]
    async fn keep_the_writer(&self, _db: &mut WriteTransaction) -> Result<()> {
        self.arrived.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    /// Keeps a reader until `go_on`.
    #[database_safe]
    async fn keep_a_reader(&self, _db: &mut ReadTransaction) -> Result<()> {
        self.arrived.notify_one();
        self.go_on.notified().await;
        Ok(())
    }

    /// Keeps the writer's connection locked until something is sent.
    #[database_safe]
    async fn keep_the_lock(
        &self,
        db: &mut WriteTransaction,
        locked: oneshot::Sender<()>,
        until: Receiver<()>,
    ) -> Result<()> {
        db.call(move |_| {
            let _ = locked.send(());
            until.recv().map_err(Error::other)
        })
        .await
    }

    #[database_safe]
    async fn count(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one("SELECT count(*) FROM t", ()).await
    }

    #[database_safe]
    async fn count_inside(&self, _db: &mut ReadTransaction) -> Result<i64> {
        self.count().await
    }

    #[database_safe]
    async fn fail_or_not(&self, _db: &mut WriteTransaction, fails: bool) -> Result<()> {
        if fails { Err(Error::NoRows) } else { Ok(()) }
    }

    async fn open(config: Config) -> Arc<Self> {
        Self::create_with(config, Self::new).await.unwrap()
    }

    fn new(core: ManagerCore) -> Self {
        Self {
            core,
            arrived: Notify::new(),
            go_on: Notify::new(),
        }
    }

    fn calls(&self, method: &str) -> Calls {
        calls(&self.metrics(), method)
    }
}

fn calls(metrics: &Metrics, method: &str) -> Calls {
    let mut of_method = metrics
        .methods
        .iter()
        .filter(|found| found.module == module_path!() && found.method == method);
    let calls = of_method.next().map(|found| found.calls);
    assert!(of_method.next().is_none(), "{method} is there twice");
    calls.unwrap_or_default()
}

/// `$field` of a method is 1, and no other field is more than 0.
macro_rules! assert_one {
    ($store:ident.$method:ident: $field:ident) => {
        let calls = $store.calls(stringify!($method));
        assert_eq!((calls.$field, calls.total()), (1, 1), "{calls:?}");
    };
}

#[test]
fn a_call_counts_once_by_how_it_has_ended() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        assert_eq!(store.calls("insert"), Calls::default());

        store.insert(1).await.unwrap();
        assert_one!(store.insert: ok);
        store.fail_or_not(true).await.unwrap_err();
        assert_one!(store.fail_or_not: failed);
        let panics = Arc::clone(&store);
        tokio::spawn(async move { panics.insert_and_panic().await })
            .await
            .unwrap_err();
        assert_one!(store.insert_and_panic: panicked);
        store.insert_in_time().await.unwrap_err();
        assert_one!(store.insert_in_time: timed_out);
        store.insert_an_orphan().await.unwrap_err();
        assert_one!(store.insert_an_orphan: failed);
        assert!(
            cut(1, Moment::AtOnce, store.keep_the_writer())
                .await
                .is_none()
        );
        assert_one!(store.keep_the_writer: cancelled);

        store.close().await.unwrap();
        store.insert_much().await.unwrap_err();
        assert_one!(store.insert_much: closed);
        assert_one!(store.insert: ok);
    });
}

#[test]
fn a_call_that_gives_up_waiting_for_its_turn_has_timed_out() {
    run(async {
        let config = Config::in_memory().acquire_timeout(Duration::from_millis(1));
        let store = Store::open(config).await;
        let keeper = Arc::clone(&store);
        let keeper = tokio::spawn(async move { keeper.keep_the_writer().await });
        within(store.arrived.notified()).await;
        let error = store.insert(1).await.unwrap_err();
        assert!(matches!(error, Error::AcquireTimeout { .. }), "{error}");
        assert_one!(store.insert: timed_out);
        store.go_on.notify_one();
        keeper.await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn a_manager_that_failed_to_start_counts_its_calls_as_closed() {
    run(async {
        let store = Store::start_with(Config::new("").db_name("not/a/name"), Store::new);
        store.insert(1).await.unwrap_err();
        assert_one!(store.insert: closed);
        let metrics = store.metrics();
        assert_eq!((metrics.commits, metrics.connections), (0, 0));
    });
}

#[test]
fn a_call_inside_another_counts_too() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        store.count_inside().await.unwrap();
        assert_one!(store.count_inside: ok);
        assert_one!(store.count: ok);
        store.close().await.unwrap();
    });
}

#[test]
fn a_call_that_was_never_polled_does_not_count() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        drop(store.insert(1));
        assert_eq!(store.calls("insert"), Calls::default());
        store.close().await.unwrap();
    });
}

#[test]
fn the_numbers_of_two_managers_are_apart() {
    run(async {
        let one = Store::open(Config::in_memory()).await;
        let other = Store::open(Config::in_memory()).await;
        let before = other.metrics();
        one.insert(1).await.unwrap();
        assert_eq!((one.calls("insert").ok, other.calls("insert").ok), (1, 0));
        assert_eq!(other.metrics().commits, before.commits);
        one.close().await.unwrap();
        other.close().await.unwrap();
    });
}

#[test]
fn a_commit_counts_with_the_calls_that_share_it() {
    run_on_one_thread(async {
        let store = Store::open(Config::in_memory()).await;
        // From its fourth call on, a method that ran clean may share a commit.
        for n in 0..3 {
            let before = store.metrics();
            store.insert(n).await.unwrap();
            let after = store.metrics();
            assert_eq!(after.commits - before.commits, 1);
            assert_eq!(after.members - before.members, 1);
        }
        let before = store.metrics();
        let tasks: Vec<_> = (0..64)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.insert(n).await })
            })
            .collect();
        for task in tasks {
            within(task).await.unwrap().unwrap();
        }
        let after = store.metrics();
        assert_eq!(after.members - before.members, 64);
        assert!((1..=64).contains(&(after.commits - before.commits)));
        assert_eq!(after.failed_commits, 0);

        store.fail_or_not(true).await.unwrap_err();
        assert_eq!(store.metrics().commits, after.commits, "it was rolled back");
        store.insert_an_orphan().await.unwrap_err();
        let failed = store.metrics();
        assert_eq!(failed.failed_commits, 1);
        assert_eq!(
            (failed.commits, failed.members),
            (after.commits, after.members)
        );
        store.close().await.unwrap();
    });
}

#[test]
fn the_log_grows_with_commits_and_is_copied_by_checkpoints() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        store.insert(1).await.unwrap();
        let before = store.metrics();
        assert!((1..100).contains(&before.log_pages), "{before:?}");
        assert_eq!(before.checkpoints, 0);
        store.insert_much().await.unwrap();
        assert!(store.metrics().log_pages > 1_000);
        eventually(|| store.metrics().checkpoints > 0).await;
        store.close().await.unwrap();
        assert_eq!(store.metrics().log_pages, 0);
    });
}

fn at(directory: &Path) -> Config {
    Config::new(directory).busy_timeout(Duration::from_millis(10))
}

#[test]
fn a_call_that_waits_for_another_process_counts_and_so_does_its_end() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let holder = Store::open(at(directory.path())).await;
        let store = Store::open(at(directory.path())).await;
        store.insert(1).await.unwrap();
        assert_eq!(store.metrics().busy_waits, 0);
        let keeper = Arc::clone(&holder);
        let keeper = tokio::spawn(async move { keeper.keep_the_writer().await });
        within(holder.arrived.notified()).await;

        let error = store.insert(2).await.unwrap_err();
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        let metrics = store.metrics();
        assert_eq!((metrics.busy_waits, metrics.busy_errors), (1, 1));
        holder.go_on.notify_one();
        keeper.await.unwrap().unwrap();
        store.insert(3).await.unwrap();
        let metrics = store.metrics();
        assert_eq!((metrics.busy_waits, metrics.busy_errors), (1, 1));
        store.close().await.unwrap();
        holder.close().await.unwrap();
    });
}

#[test]
fn a_queued_call_is_waiting_until_it_has_its_turn() {
    run(async {
        let config = Config::in_memory().max_queue(1).readers(1);
        let store = Store::open(config).await;
        let waiting = || {
            let metrics = store.metrics();
            (metrics.waiting_writes, metrics.waiting_reads)
        };
        assert_eq!(waiting(), (0, 0));

        let keeper = Arc::clone(&store);
        let keeper = tokio::spawn(async move { keeper.keep_the_writer().await });
        within(store.arrived.notified()).await;
        let mut queued = Box::pin(store.insert(1));
        assert!(poll_once(&mut queued).await.is_pending());
        assert_eq!(waiting(), (1, 0));
        assert_eq!(store.metrics().overloaded, 0);
        let error = store.insert(2).await.unwrap_err();
        assert!(matches!(error, Error::Overloaded { .. }), "{error}");
        assert_eq!(store.metrics().overloaded, 1);
        store.go_on.notify_one();
        within(queued).await.unwrap();
        keeper.await.unwrap().unwrap();
        assert_eq!(waiting(), (0, 0));

        let keeper = Arc::clone(&store);
        let keeper = tokio::spawn(async move { keeper.keep_a_reader().await });
        within(store.arrived.notified()).await;
        let mut queued = Box::pin(store.count());
        // A read may let other tasks run before it queues.
        while waiting() != (0, 1) {
            assert!(poll_once(&mut queued).await.is_pending());
        }
        drop(queued);
        assert_eq!(waiting(), (0, 0));
        store.go_on.notify_one();
        keeper.await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn connections_and_threads_are_counted_until_they_are_closed() {
    run(async {
        let config = Config::in_memory().execution(Execution::Offload);
        let store = Store::open(config).await;
        store.insert(1).await.unwrap();
        store.count().await.unwrap();
        let metrics = store.metrics();
        assert!((2..=6).contains(&metrics.connections), "{metrics:?}");
        assert!(metrics.threads <= 8, "{metrics:?}");
        let (go_on, until) = channel();
        let (locked, is_locked) = oneshot::channel();
        let keeper = Arc::clone(&store);
        let keeper = tokio::spawn(async move { keeper.keep_the_lock(locked, until).await });
        within(is_locked).await.unwrap();
        assert!((1..=8).contains(&store.metrics().threads));
        go_on.send(()).unwrap();
        within(keeper).await.unwrap().unwrap();
        store.close().await.unwrap();
        assert_eq!(store.metrics().connections, 0);
        eventually(|| store.metrics().threads == 0).await;
    });
}

#[test]
fn live_reads_are_counted_until_they_are_dropped() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        assert_eq!(store.metrics().live_reads, 0);
        let mut live = store.live(|store| async move { store.count().await });
        within(live.next()).await.unwrap().unwrap();
        assert_eq!(store.metrics().live_reads, 1);
        drop(live);
        assert_eq!(store.metrics().live_reads, 0);
        store.close().await.unwrap();
    });
}

#[test]
fn times_are_measured_if_they_are_asked_for() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        store.insert(1).await.unwrap();
        let metrics = store.metrics();
        assert_eq!(metrics.commit_time, None);
        assert!(metrics.methods.iter().all(|method| method.times.is_none()));
        store.close().await.unwrap();

        let store = Store::open(Config::in_memory().histograms()).await;
        let commits = |metrics: &Metrics| metrics.commit_time.as_ref().map(Histogram::count);
        let before = commits(&store.metrics()).unwrap();
        store.insert(1).await.unwrap();
        store.fail_or_not(true).await.unwrap_err();
        let mut waits = Box::pin(store.keep_the_writer());
        assert!(poll_once(&mut waits).await.is_pending());
        let mut queued = Box::pin(store.count_inside());
        let _: Poll<_> = poll_once(&mut queued).await;
        drop((waits, queued));
        store.close().await.unwrap();
        store.insert(2).await.unwrap_err();
        let metrics = store.metrics();
        assert_eq!(commits(&metrics), Some(metrics.commits));
        assert_eq!(metrics.commits, before + 1);
        let insert = metrics
            .methods
            .iter()
            .find(|found| found.method == "insert");
        let times = insert.unwrap().times.as_ref().unwrap();
        assert_eq!(
            (
                times.waiting.count(),
                times.running.count(),
                times.total.count()
            ),
            (1, 1, 2),
            "the call after the close had no connection"
        );
        assert!(times.running.sum > Duration::ZERO);
        assert!(times.total.sum >= times.waiting.sum + times.running.sum);
        for method in &metrics.methods {
            let times = method.times.as_ref().unwrap();
            assert_eq!(times.total.count(), method.calls.total(), "{method:?}");
        }
    });
}

/// A manager whose jobs end in each way.
#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(succeeds, fails_once, fails_for_good))]
struct Worker {
    core: ManagerCore,
    has_failed: AtomicBool,
}

dbm_tests::schema!(Worker);

impl Worker {
    #[job]
    async fn succeeds(&self) -> Result<()> {
        Ok(())
    }

    #[job(attempts = 2, backoff = "1ms")]
    async fn fails_once(&self) -> Result<()> {
        if self.has_failed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        Err(Error::NoRows)
    }

    #[job(attempts = 1)]
    async fn fails_for_good(&self) -> Result<()> {
        Err(Error::NoRows)
    }

    #[database_safe]
    async fn enqueue(&self, db: &mut WriteTransaction, job: Job<Self>) -> Result<()> {
        db.enqueue(job).await.map(drop)
    }
}

#[test]
fn a_run_of_a_job_counts_by_how_it_has_ended() {
    run(async {
        let store = Worker::create(Config::in_memory()).await.unwrap();
        let runs = || {
            let runs = store.metrics().jobs;
            (runs.done, runs.failed, runs.dead)
        };
        assert_eq!(runs(), (0, 0, 0));
        store.enqueue(Worker::succeeds_job()).await.unwrap();
        eventually(|| runs() == (1, 0, 0)).await;
        store.enqueue(Worker::fails_once_job()).await.unwrap();
        eventually(|| runs() == (2, 1, 0)).await;
        store.enqueue(Worker::fails_for_good_job()).await.unwrap();
        eventually(|| runs() == (2, 1, 1)).await;
        store.close().await.unwrap();
        assert_eq!(runs(), (2, 1, 1));
    });
}

/// Tasks that end in every way, and another one that looks all the time.
#[test]
fn the_outcomes_of_64_tasks_are_as_many_as_their_calls() {
    const TASKS: u64 = 64;
    const CALLS: u64 = 20;
    run(async {
        let store = Store::open(Config::in_memory().readers(2)).await;
        let looker = Arc::clone(&store);
        let looks = tokio::spawn(async move {
            let mut seen = 0;
            while seen < TASKS * CALLS {
                let metrics = looker.metrics();
                let sum = metrics.methods.iter().map(|method| method.calls.total());
                let now = sum.sum::<u64>();
                assert!(now >= seen, "a counter fell");
                seen = now;
                tokio::task::yield_now().await;
            }
            seen
        });
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let mut ok = 0;
                    for call in 0..CALLS {
                        let done = match (task + call) % 4 {
                            0 => store.insert(1).await.is_ok(),
                            1 => store.count().await.is_ok(),
                            2 => store.fail_or_not(call % 8 < 4).await.is_ok(),
                            _ => {
                                let read = cut(1, Moment::AtOnce, store.keep_a_reader());
                                read.await.is_some()
                            }
                        };
                        ok += u64::from(done);
                    }
                    ok
                })
            })
            .collect();
        let mut ok = 0;
        for task in tasks {
            ok += within(task).await.unwrap();
        }
        assert_eq!(within(looks).await.unwrap(), TASKS * CALLS);
        let metrics = store.metrics();
        let mut sum = Calls::default();
        for method in &metrics.methods {
            sum.ok += method.calls.ok;
            sum.failed += method.calls.failed;
            sum.cancelled += method.calls.cancelled;
        }
        assert_eq!(sum.total(), TASKS * CALLS);
        assert_eq!(sum.ok, ok);
        assert_eq!(sum.cancelled, TASKS * CALLS / 4);
        store.close().await.unwrap();
    });
}

#[test]
fn the_metrics_wait_for_no_lock_that_a_call_holds() {
    run(async {
        let store = Store::open(Config::in_memory()).await;
        let (go_on, until) = channel();
        let (locked, is_locked) = oneshot::channel();
        let keeper = Arc::clone(&store);
        let keeper = tokio::spawn(async move { keeper.keep_the_lock(locked, until).await });
        within(is_locked).await.unwrap();
        assert_eq!(store.calls("keep_the_lock"), Calls::default(), "it runs");
        go_on.send(()).unwrap();
        within(keeper).await.unwrap().unwrap();
        assert_one!(store.keep_the_lock: ok);
        store.close().await.unwrap();
    });
}
