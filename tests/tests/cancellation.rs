//! Cancellation: any public future may be dropped at any await point. Afterwards its write is whole or absent, no
//! transaction is open, the next call succeeds, and nothing is left over.

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Execution, rusqlite};
use dbm_tests::{
    Moment, cut, eventually, name_thread, open_files, poll_once, run, run_on_one_thread,
    threads_named, watch, within,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// A statement that ends only by being interrupted.
const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
const ENDLESS_WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1000000 UNION ALL SELECT x + 1 FROM n)
     INSERT INTO half SELECT x, 1 FROM n";

const EXECUTIONS: [Execution; 3] = [Execution::Auto, Execution::Inline, Execution::Offload];

/// Items of two halves: an item with one half is half a write.
#[derive(DbManager)]
#[db_manager(version = "1.0.0")]
struct Store {
    core: ManagerCore,
}

impl Schema for Store {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE half (item INTEGER, side INTEGER, PRIMARY KEY (item, side)) STRICT",
        )
        .await
    }

    async fn migrate_db(
        &self,
        db: &mut WriteTransaction,
        _: &Version,
        _: &Version,
    ) -> Result<bool> {
        db.execute_batch("ALTER TABLE half ADD COLUMN weight INTEGER")
            .await?;
        Ok(true)
    }
}

const ADD: &str = "INSERT INTO half (item, side) VALUES (?1, ?2)";

impl Store {
    #[database_safe]
    async fn add(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    /// Statements that have never run before go to a thread.
    #[database_safe]
    async fn add_by_new_text(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        for side in [1, 2] {
            let sql = format!("INSERT INTO half (item, side) VALUES ({item}, {side})");
            db.execute(&sql, ()).await?;
        }
        Ok(())
    }

    #[database_safe]
    async fn add_by_call(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.call(move |c| Ok(c.execute(ADD, (item, 1))?)).await?;
        db.call(move |c| Ok(c.execute(ADD, (item, 2))?)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_nested(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        assert_eq!(self.halves(item).await?, 1);
        self.add_second_half(item).await?;
        assert_eq!(self.halves(item).await?, 2);
        Ok(())
    }

    #[database_safe]
    async fn add_nested_joined(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let (one, two) = tokio::join!(db.execute(ADD, (item, 1)), self.add_second_half(item));
        two.and(one.map(drop))
    }

    #[database_safe]
    async fn add_second_half(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(&format!("{ADD} -- {item}"), (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_by_connection(&self, db: &mut Connection, item: i64) -> Result<()> {
        db.execute_batch("PRAGMA cache_size = 100").await?;
        db.execute_batch(&format!(
            "BEGIN; INSERT INTO half VALUES ({item}, 1); INSERT INTO half VALUES ({item}, 2); COMMIT"
        ))
        .await
    }

    #[database_safe]
    async fn add_waiting(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        tokio::task::yield_now().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn add_and_fail(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        Err(Error::other("undone"))
    }

    #[database_safe]
    async fn halves(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one("SELECT count(*) FROM half WHERE item = ?1", (item,))
            .await
    }

    #[database_safe]
    async fn halves_by_call(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        let sql = "SELECT count(*) FROM half WHERE item = ?1";
        db.call(move |c| Ok(c.query_row(sql, (item,), |row| row.get(0))?))
            .await
    }

    #[database_safe]
    async fn halves_by_new_text(&self, db: &mut ReadTransaction, item: i64) -> Result<i64> {
        db.query_one(
            &format!("SELECT count(*) FROM half WHERE item = {item}"),
            (),
        )
        .await
    }

    /// Items of which there is exactly one half.
    #[database_safe]
    async fn half_items(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {
        db.query(
            "SELECT item FROM half GROUP BY item HAVING count(*) = 1",
            (),
        )
        .await
    }
}

type Call = for<'a> fn(&'a Store, i64) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

macro_rules! calls {
    ($($name:ident),*) => {
        [$((stringify!($name), |store, item| Box::pin(async move { store.$name(item).await.map(drop) }) as _)),*]
    };
}

/// Each adds an item.
const WRITES: [(&str, Call); 7] = calls!(
    add,
    add_by_new_text,
    add_by_call,
    add_nested,
    add_nested_joined,
    add_by_connection,
    add_waiting
);

const READS: [(&str, Call); 7] = [
    ("halves", |store, item| {
        Box::pin(async move { store.halves(item).await.map(drop) })
    }),
    ("halves_by_call", |store, item| {
        Box::pin(async move { store.halves_by_call(item).await.map(drop) })
    }),
    ("halves_by_new_text", |store, item| {
        Box::pin(async move { store.halves_by_new_text(item).await.map(drop) })
    }),
    ("add_and_fail", |store, item| {
        Box::pin(async move {
            assert!(store.add_and_fail(item).await.is_err());
            Ok(())
        })
    }),
    ("get_version", |store, _| {
        Box::pin(async move { store.get_version().await.map(drop) })
    }),
    ("update_version", |store, _| {
        Box::pin(async move { store.update_version(&Version::new(1, 0, 0)).await })
    }),
    ("ensure_ready", |store, _| {
        Box::pin(async move { store.ensure_ready().await })
    }),
];

/// A future that is never pending so often has lost its way.
const MANY: usize = 500;

fn config(directory: &Path) -> Config {
    Config::new(directory).durability(Durability::Normal)
}

fn next_item() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Drops a call at its first, second, … await point until it gets through.
async fn sweep(store: &Store, name: &str, call: Call, moment: Moment, writes: bool) {
    for at in 1..MANY {
        let item = next_item();
        let outcome = cut(at, moment, call(store, item)).await;
        let halves = store.halves(item).await.unwrap();
        match &outcome {
            None => assert!(
                halves == 0 || (halves == 2 && writes),
                "{name}, {at}: {halves} halves"
            ),
            Some(result) => {
                assert!(result.is_ok(), "{name}, {at}: {result:?}");
                assert_eq!(halves, if writes { 2 } else { 0 }, "{name}, {at}");
            }
        }
        store
            .add(next_item())
            .await
            .unwrap_or_else(|error| panic!("{name}, {at}: {error}"));
        if outcome.is_some() {
            return;
        }
    }
    panic!("{name} does not get through");
}

async fn sweep_all(store: &Store) {
    for moment in Moment::ALL {
        for (name, call) in WRITES {
            sweep(store, name, call, moment, true).await;
        }
        for (name, call) in READS {
            sweep(store, name, call, moment, false).await;
        }
    }
}

/// As another process sees it.
async fn no_transaction_is_open(file: &Path) {
    let open = || rusqlite::Connection::open(file).unwrap();
    eventually(|| {
        let other = open();
        other.busy_timeout(Duration::ZERO).unwrap();
        let emptied: bool = other
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| {
                row.get(0).map(|busy: i64| busy == 0)
            })
            .unwrap();
        emptied && other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    })
    .await;
}

async fn sweep_alone(execution: Execution) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(config(directory.path()).execution(execution))
        .await
        .unwrap();
    sweep_all(&store).await;
    no_transaction_is_open(store.path().unwrap()).await;
    assert_eq!(store.half_items().await.unwrap(), []);
    store.close().await.unwrap();
}

#[test]
fn a_call_may_be_dropped_at_every_await_point() {
    run(sweep_alone(Execution::Auto));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_with_everything_inline() {
    run(sweep_alone(Execution::Inline));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_with_everything_on_threads() {
    run(sweep_alone(Execution::Offload));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_on_one_thread() {
    run_on_one_thread(async {
        for execution in EXECUTIONS {
            sweep_alone(execution).await;
        }
    });
}

/// Eight tasks that write all the time and two that read, while `work` is done.
async fn company(store: &Arc<Store>, work: impl Future<Output = ()>) {
    let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), Vec::new());
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        readers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(store.halves(0).await.unwrap(), 0);
                tokio::task::yield_now().await;
            }
        }));
    }
    for _ in 0..8 {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut told = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let item = next_item();
                store.add(item).await.unwrap();
                told.push(item);
            }
            told
        }));
    }
    work.await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    for task in tasks {
        let told = task.await.unwrap();
        assert!(!told.is_empty());
        for item in told {
            assert_eq!(
                store.halves(item).await.unwrap(),
                2,
                "acknowledged and gone"
            );
        }
    }
}

async fn sweep_in_company(execution: Execution) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(config(directory.path()).execution(execution))
        .await
        .unwrap();
    company(&store, sweep_all(&store)).await;
    no_transaction_is_open(store.path().unwrap()).await;
    assert_eq!(store.half_items().await.unwrap(), []);
    store.close().await.unwrap();
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers() {
    run(sweep_in_company(Execution::Auto));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers_with_everything_inline() {
    run(sweep_in_company(Execution::Inline));
}

#[test]
fn a_call_may_be_dropped_at_every_await_point_beside_eight_writers_with_everything_on_threads() {
    run(sweep_in_company(Execution::Offload));
}

#[test]
fn create_may_be_dropped_at_every_await_point() {
    run(async {
        // A new file, one that is up to date, and one that is to be migrated.
        for (existing, version) in [(false, 0), (true, 0), (true, 1)] {
            for moment in Moment::ALL {
                for at in 1..MANY {
                    let directory = tempfile::tempdir().unwrap();
                    let path = directory.path();
                    if existing {
                        let store = Store::create(config(path)).await.unwrap();
                        store.add(1).await.unwrap();
                        store.close().await.unwrap();
                    }
                    let config = config(path).version(Version::new(1, version, 0));
                    let created = cut(at, moment, Store::create(config.clone())).await;
                    let done = created.is_some();
                    drop(created);
                    let store = Store::create(config).await.unwrap();
                    assert_eq!(store.halves(1).await.unwrap(), if existing { 2 } else { 0 });
                    assert_eq!(
                        store.get_version().await.unwrap(),
                        Version::new(1, version, 0)
                    );
                    store.add(2).await.unwrap();
                    store.close().await.unwrap();
                    drop(store);
                    eventually(|| open_files(path).is_empty()).await;
                    if done {
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn ensure_ready_and_calls_may_be_dropped_while_the_manager_starts() {
    run(async {
        let calls = [
            ("ensure_ready", READS[6].1),
            ("add", WRITES[0].1),
            ("halves", READS[0].1),
        ];
        for (name, call) in calls {
            for moment in Moment::ALL {
                for at in 1..MANY {
                    let directory = tempfile::tempdir().unwrap();
                    let store = Store::start(config(directory.path()));
                    let outcome = cut(at, moment, call(&store, 1)).await;
                    store.ensure_ready().await.unwrap();
                    let halves = store.halves(1).await.unwrap();
                    assert!(
                        halves == 0 || (name == "add" && halves == 2),
                        "{name}, {at}: {halves}"
                    );
                    store.add(2).await.unwrap();
                    store.close().await.unwrap();
                    if let Some(result) = outcome {
                        result.unwrap();
                        break;
                    }
                }
            }
        }
    });
}

#[test]
fn start_may_be_dropped_at_once() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            drop(Store::start(config(directory.path())));
        }
        let store = Store::create(config(directory.path())).await.unwrap();
        store.add(1).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        eventually(|| open_files(directory.path()).is_empty()).await;
    });
}

#[test]
fn close_may_be_dropped_at_every_await_point_and_goes_on() {
    run(async {
        for moment in Moment::ALL {
            for at in 1..MANY {
                let directory = tempfile::tempdir().unwrap();
                let store = Store::create(config(directory.path())).await.unwrap();
                let release = Arc::new(Notify::new());
                let running = tokio::spawn(hold(Arc::clone(&store), Arc::clone(&release), 1));
                let queued = {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move { store.add(2).await })
                };
                tokio::task::yield_now().await;
                release.notify_one();
                let done = cut(at, moment, store.close()).await.is_some();
                assert!(matches!(
                    store.add(3).await,
                    Err(Error::Closed { method: "add" })
                ));
                let mut status = store.watch_status();
                within(status.wait_for(|status| *status == Status::Stopped))
                    .await
                    .unwrap();
                let told = [
                    within(running).await.unwrap(),
                    within(queued).await.unwrap(),
                ];
                let names: Vec<_> = std::fs::read_dir(directory.path())
                    .unwrap()
                    .map(|e| e.unwrap().file_name())
                    .collect();
                assert_eq!(names, ["database.db"]);
                assert_eq!(open_files(directory.path()), [] as [&Path; 0]);
                let store = Store::create(config(directory.path())).await.unwrap();
                for (item, told) in (1..).zip(told) {
                    let expected = match told {
                        Ok(()) => 2,
                        Err(Error::Closed { .. }) => 0,
                        Err(other) => panic!("{other}"),
                    };
                    assert_eq!(store.halves(item).await.unwrap(), expected);
                }
                if done {
                    break;
                }
            }
        }
    });
}

/// A write that has written its first half and waits for the test.
async fn hold(store: Arc<Store>, release: Arc<Notify>, item: i64) -> Result<()> {
    store
        .add_when_released(item, &Notify::new(), &release)
        .await
}

impl Store {
    #[database_safe]
    async fn add_when_released(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        inside: &Notify,
        release: &Notify,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        inside.notify_one();
        release.notified().await;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn read_when_released(
        &self,
        db: &mut ReadTransaction,
        inside: &Notify,
        release: &Notify,
    ) -> Result<i64> {
        inside.notify_one();
        release.notified().await;
        db.query_one("SELECT count(*) FROM half", ()).await
    }
}

#[test]
fn close_within_may_be_dropped_and_called_again() {
    run(async {
        for moment in Moment::ALL {
            for at in 1..MANY {
                let directory = tempfile::tempdir().unwrap();
                let store = Store::create(config(directory.path())).await.unwrap();
                let (inside, never) = (Notify::new(), Notify::new());
                let mut stuck = Box::pin(store.add_when_released(1, &inside, &never));
                tokio::select! {
                    result = &mut stuck => panic!("{result:?}"),
                    () = inside.notified() => {}
                }
                let done = cut(at, moment, store.close_within(Duration::from_millis(1)))
                    .await
                    .is_some();
                within(store.close_within(Duration::ZERO)).await.unwrap();
                assert_eq!(store.status(), Status::Stopped);
                never.notify_one();
                assert!(matches!(within(stuck).await, Err(Error::Closed { .. })));
                eventually(|| open_files(directory.path()).is_empty()).await;
                let store = Store::create(config(directory.path())).await.unwrap();
                assert_eq!(store.halves(1).await.unwrap(), 0);
                if done {
                    break;
                }
            }
        }
    });
}

/// Runs a test on threads of their own name, so that those which are left over can be counted.
fn run_named(
    name: &'static str,
    execution: Execution,
    test: impl AsyncFnOnce(Arc<Store>, &Path) + Send + 'static,
) {
    watch(move || {
        name_thread(name);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(2)
            .thread_name(name)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let before = threads_named(name);
            let config = config(directory.path()).execution(execution);
            let store = Store::create(config).await.unwrap();
            test(Arc::clone(&store), directory.path()).await;
            eventually(|| open_files(directory.path()).is_empty()).await;
            eventually(|| threads_named(name) == before).await;
            drop(store);
        });
    });
}

#[test]
fn no_descriptor_and_no_thread_is_left_after_close() {
    let names = ["left-auto", "left-inline", "left-offload"];
    for (name, execution) in names.into_iter().zip(EXECUTIONS) {
        run_named(name, execution, async move |store, directory| {
            company(&store, async {
                for (_, call) in WRITES.into_iter().chain(READS) {
                    for at in 1..4 {
                        cut(at, Moment::AtOnce, call(&store, next_item())).await;
                    }
                }
                // Inline nothing could end it.
                if execution != Execution::Inline {
                    let _ = timeout(Duration::from_millis(20), store.endless_read()).await;
                }
            })
            .await;
            store.close().await.unwrap();
            assert_eq!(open_files(directory), [] as [&Path; 0]);
        });
    }
}

#[test]
fn a_body_that_outlives_its_manager_gets_closed_and_starts_nothing_anew() {
    let names = ["outlives-auto", "outlives-inline", "outlives-offl"];
    for (name, execution) in names.into_iter().zip(EXECUTIONS) {
        run_named(name, execution, async |store, _| {
            let (inside, release) = (Notify::new(), Notify::new());
            let mut write = Box::pin(store.add_when_released(1, &inside, &release));
            tokio::select! {
                result = &mut write => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            let mut read = Box::pin(store.read_when_released(&inside, &release));
            tokio::select! {
                result = &mut read => panic!("{result:?}"),
                () = inside.notified() => {}
            }
            store.close_within(Duration::ZERO).await.unwrap();
            release.notify_one();
            let written = write.await;
            assert!(matches!(written, Err(Error::Closed { .. })), "{written:?}");
            release.notify_one();
            let read = read.await;
            assert!(matches!(read, Err(Error::Closed { .. })), "{read:?}");
        });
    }
}

#[test]
fn a_statement_that_close_within_interrupts_gives_closed() {
    let names = ["interr-auto", "interr-offload"];
    for (name, execution) in names.into_iter().zip([Execution::Auto, Execution::Offload]) {
        run_named(name, execution, async |store, _| {
            let mut calls = Vec::new();
            for (name, endless) in ENDLESS_CALLS {
                let store = Arc::clone(&store);
                let call = tokio::spawn(async move { (name, endless(&store).await) });
                calls.push(call);
            }
            tokio::task::yield_now().await;
            store.close_within(Duration::from_millis(10)).await.unwrap();
            for call in calls {
                let (name, ended) = within(call).await.unwrap();
                assert!(
                    matches!(ended, Err(Error::Closed { .. })),
                    "{name}: {ended:?}"
                );
            }
        });
    }
}

impl Store {
    #[database_safe]
    async fn endless_read(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn endless_read_in_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe]
    async fn endless_write(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.execute(ENDLESS_WRITE, ()).await?;
        Ok(0)
    }

    #[database_safe]
    async fn endless_nested(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        self.endless_write().await
    }

    #[database_safe]
    async fn endless_call(&self, db: &mut ReadTransaction) -> Result<i64> {
        db.call(|c| Ok(c.query_row(ENDLESS, (), |row| row.get(0))?))
            .await
    }

    #[database_safe]
    async fn endless_connection(&self, db: &mut Connection) -> Result<i64> {
        db.query_one(ENDLESS, ()).await
    }

    #[database_safe(timeout = "20ms")]
    async fn endless_with_timeout(&self, db: &mut WriteTransaction) -> Result<i64> {
        db.execute(ADD, (next_item(), 1)).await?;
        db.query_one(ENDLESS, ()).await
    }

    /// Tells when its statement is running.
    #[database_safe]
    async fn endless_read_telling(
        &self,
        db: &mut ReadTransaction,
        running: mpsc::UnboundedSender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            let _ = running.send(());
            Ok(c.query_row(ENDLESS, (), |row| row.get(0))?)
        })
        .await
    }

    #[database_safe]
    async fn endless_write_telling(
        &self,
        db: &mut WriteTransaction,
        running: mpsc::UnboundedSender<()>,
    ) -> Result<i64> {
        db.call(move |c| {
            let _ = running.send(());
            c.execute(ENDLESS_WRITE, ())?;
            Ok(0)
        })
        .await
    }
}

type Endless = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<i64>> + Send + 'a>>;

const ENDLESS_CALLS: [(&str, Endless); 6] = [
    ("endless_read", |store| Box::pin(store.endless_read())),
    ("endless_read_in_write", |store| {
        Box::pin(store.endless_read_in_write())
    }),
    ("endless_write", |store| Box::pin(store.endless_write())),
    ("endless_nested", |store| Box::pin(store.endless_nested())),
    ("endless_call", |store| Box::pin(store.endless_call())),
    ("endless_connection", |store| {
        Box::pin(store.endless_connection())
    }),
];

/// Everybody can be served, on every reader and on the writer.
async fn serves(store: &Arc<Store>, readers: usize) {
    let reads = (0..readers).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.halves_by_call(1).await })
    });
    let reads: Vec<_> = reads.collect();
    for read in reads {
        within(read).await.unwrap().unwrap();
    }
    within(store.add(next_item())).await.unwrap();
}

#[test]
fn a_statement_of_a_dropped_call_does_not_run_to_its_end() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path()).execution(execution).readers(1);
            let store = Store::create(config).await.unwrap();
            for (name, endless) in ENDLESS_CALLS {
                // Again and again, so that some are dropped before the statement has begun, and some in its midst.
                for at in (1..12).chain(1..12) {
                    let dropped = timeout(
                        Duration::from_millis(10),
                        cut(at, Moment::AtOnce, endless(&store)),
                    );
                    if let Ok(Some(ended)) = dropped.await {
                        panic!("{name} ended: {ended:?}");
                    }
                    serves(&store, 1).await;
                }
            }
            assert_eq!(store.half_items().await.unwrap(), []);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn a_tokio_timeout_around_a_call_gives_elapsed_and_frees_the_lock() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path()).execution(execution).readers(1);
            let store = Store::create(config).await.unwrap();
            for (name, endless) in ENDLESS_CALLS {
                assert!(
                    timeout(Duration::from_millis(20), endless(&store))
                        .await
                        .is_err(),
                    "{name}"
                );
                serves(&store, 1).await;
            }
            assert_eq!(store.half_items().await.unwrap(), []);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn the_timeout_of_a_method_interrupts_its_statement_and_rolls_back() {
    run(async {
        for execution in [Execution::Auto, Execution::Offload] {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for _ in 0..3 {
                let error = within(store.endless_with_timeout()).await.unwrap_err();
                assert!(
                    matches!(
                        error,
                        Error::Timeout {
                            method: "endless_with_timeout",
                            ..
                        }
                    ),
                    "{error}"
                );
                serves(&store, 1).await;
            }
            assert_eq!(store.half_items().await.unwrap(), []);
            store.close().await.unwrap();
        }
    });
}

#[test]
fn an_interrupt_never_hits_the_statement_of_the_next_user() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(config(directory.path()).readers(1))
            .await
            .unwrap();
        for round in 0..300 {
            let (sender, mut running) = mpsc::unbounded_channel();
            let write = round % 2 == 0;
            let mut dropped: Pin<Box<dyn Future<Output = Result<i64>> + Send>> = if write {
                Box::pin(store.endless_write_telling(sender))
            } else {
                Box::pin(store.endless_read_telling(sender))
            };
            tokio::select! {
                ended = &mut dropped => panic!("{ended:?}"),
                told = running.recv() => told.unwrap(),
            }
            // Two are waiting already when the interrupt is sent.
            let next: Vec<_> = (0..2)
                .map(|_| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        if write {
                            store.add_by_new_text(next_item()).await
                        } else {
                            store.halves_by_new_text(next_item()).await.map(drop)
                        }
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            drop(dropped);
            for next in next {
                within(next)
                    .await
                    .unwrap()
                    .unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
        }
        store.close().await.unwrap();
    });
}

/// Short statements end by themselves at about the moment at which they are interrupted.
#[test]
fn an_interrupt_that_comes_too_late_hits_nobody() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path())
            .readers(1)
            .execution(Execution::Offload);
        let store = Store::create(config).await.unwrap();
        for round in 0..400 {
            let mut dropped = Box::pin(store.halves_by_new_text(round));
            let mut dropped_write = Box::pin(store.add_by_new_text(next_item()));
            for _ in 0..=round % 4 {
                let (read, write) = (
                    poll_once(&mut dropped).await,
                    poll_once(&mut dropped_write).await,
                );
                if read.is_ready() || write.is_ready() {
                    break;
                }
                for _ in 0..(round % 7) * 50 {
                    std::hint::spin_loop();
                }
            }
            drop((dropped, dropped_write));
            within(store.halves_by_new_text(-round)).await.unwrap();
            within(store.add_by_new_text(next_item())).await.unwrap();
        }
        assert_eq!(store.half_items().await.unwrap(), []);
        store.close().await.unwrap();
    });
}

#[test]
fn a_caller_that_is_dropped_in_the_queue_never_runs_and_disturbs_nobody() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        let (inside, release) = (Notify::new(), Notify::new());
        let mut holder = Box::pin(store.add_when_released(next_item(), &inside, &release));
        tokio::select! {
            result = &mut holder => panic!("{result:?}"),
            () = inside.notified() => {}
        }
        let ran = AtomicUsize::new(0);
        let mut queue: Vec<_> = (0..20)
            .map(|_| Box::pin(store.add_counting(next_item(), &ran)))
            .collect();
        for waiting in &mut queue {
            assert!(poll_once(waiting).await.is_pending());
        }
        // Every second one goes away, the first and the last among them.
        let mut number = 0;
        queue.retain(|_| {
            number += 1;
            number % 2 == 0 && number != 20
        });
        let left = queue.len();
        release.notify_one();
        holder.await.unwrap();
        for waiting in queue {
            within(waiting).await.unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), left);
        store.add(next_item()).await.unwrap();
        store.close().await.unwrap();
    });
}

impl Store {
    #[database_safe]
    async fn add_counting(
        &self,
        db: &mut WriteTransaction,
        item: i64,
        ran: &AtomicUsize,
    ) -> Result<()> {
        ran.fetch_add(1, Ordering::Relaxed);
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn drop_a_write_and_go_on(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        let sql = format!("{ADD} /* {item} */");
        let mut dropped = Box::pin(db.execute(&sql, (item, 2)));
        assert!(
            poll_once(&mut dropped).await.is_pending(),
            "a new text goes to a thread"
        );
        drop(dropped);
        Ok(())
    }

    #[database_safe]
    async fn drop_a_write_and_write_on(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        let sql = format!("{ADD} /* and on {item} */");
        let mut dropped = Box::pin(db.execute(&sql, (item, 1)));
        assert!(
            poll_once(&mut dropped).await.is_pending(),
            "a new text goes to a thread"
        );
        drop(dropped);
        let error = db.execute(ADD, (item, 2)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::StatementDropped | Error::TransactionLost { .. }
            ),
            "{error}"
        );
        Ok(())
    }

    /// What is dropped before it was awaited is as if it had never been.
    #[database_safe]
    async fn drop_an_unused_statement(&self, db: &mut WriteTransaction, item: i64) -> Result<()> {
        drop(db.execute(ADD, (item, 3)));
        db.execute(ADD, (item, 1)).await?;
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }

    #[database_safe]
    async fn drop_a_read_and_go_on(&self, db: &mut ReadTransaction) -> Result<i64> {
        assert!(
            timeout(Duration::from_millis(5), db.query_one::<i64>(ENDLESS, ()))
                .await
                .is_err()
        );
        db.query_one("SELECT count(*) FROM half", ()).await
    }

    #[database_safe]
    async fn drop_a_nested_call_and_go_on(
        &self,
        db: &mut WriteTransaction,
        item: i64,
    ) -> Result<()> {
        db.execute(ADD, (item, 1)).await?;
        for at in 1..10 {
            if cut(at, Moment::AtOnce, self.add_by_new_text(-item))
                .await
                .is_some()
            {
                // Got through: then it is whole.
                assert_eq!(self.halves(-item).await?, 2);
                break;
            }
            match self.halves(-item).await? {
                0 => {}
                // Dropped after its body had returned: then it may be kept, whole.
                2 => break,
                halves => panic!("{at}: {halves} halves of a dropped nested call"),
            }
        }
        db.execute(ADD, (item, 2)).await?;
        Ok(())
    }
}

#[test]
fn a_statement_that_is_dropped_inside_a_body_that_goes_on_undoes_the_call() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        for _ in 0..50 {
            let item = next_item();
            let error = within(store.drop_a_write_and_go_on(item))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::StatementDropped | Error::TransactionLost { .. }
                ),
                "{error}"
            );
            assert_eq!(store.halves(item).await.unwrap(), 0);
            let error = within(store.drop_a_write_and_write_on(item))
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::StatementDropped | Error::TransactionLost { .. }
                ),
                "{error}"
            );
            assert_eq!(store.halves(item).await.unwrap(), 0);
            store.drop_an_unused_statement(item).await.unwrap();
            assert_eq!(store.halves(item).await.unwrap(), 2);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_read_statement_that_is_dropped_leaves_the_snapshot_usable() {
    run(async {
        let store = Store::create(Config::in_memory()).await.unwrap();
        store.add(next_item()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(within(store.drop_a_read_and_go_on()).await.unwrap(), 2);
        }
        store.close().await.unwrap();
    });
}

#[test]
fn a_nested_call_that_is_dropped_undoes_only_itself_or_everything() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for _ in 0..10 {
                let item = next_item();
                let expected = match within(store.drop_a_nested_call_and_go_on(item)).await {
                    Ok(()) => 2,
                    // An interrupted write takes the whole transaction with it.
                    Err(Error::TransactionLost { .. }) => 0,
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(store.halves(item).await.unwrap(), expected);
            }
            assert_eq!(store.half_items().await.unwrap(), []);
            store.close().await.unwrap();
        }
    });
}

/// SQLite's own wait for another process ignores interrupts.
#[test]
fn a_wait_for_the_lock_of_another_process_can_be_cancelled() {
    run(async {
        for execution in EXECUTIONS {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path())
                .execution(execution)
                .busy_timeout(Duration::from_secs(3600));
            let store = Store::create(config).await.unwrap();
            let other = rusqlite::Connection::open(store.path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            for at in 1..6 {
                for moment in Moment::ALL {
                    assert!(within(cut(at, moment, store.add(1))).await.is_none());
                }
            }
            assert_eq!(
                within(store.halves(1)).await.unwrap(),
                0,
                "reads run meanwhile"
            );
            other.execute_batch("ROLLBACK").unwrap();
            within(store.add(1)).await.unwrap();
            store.close().await.unwrap();
        }
    });
}

/// Polls that nobody asked for, as `select!` makes them, change nothing.
#[test]
fn polls_without_a_wake_up_change_nothing() {
    run(async {
        for execution in EXECUTIONS {
            let store = Store::create(Config::in_memory().execution(execution))
                .await
                .unwrap();
            for (name, call) in WRITES {
                let item = next_item();
                let mut future = pin!(call(&store, item));
                let poll_all_the_time = std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    match future.as_mut().poll(context) {
                        Poll::Ready(result) => Poll::Ready(result),
                        Poll::Pending => Poll::Pending,
                    }
                });
                within(poll_all_the_time).await.unwrap();
                assert_eq!(store.halves(item).await.unwrap(), 2, "{name}");
            }
            store.close().await.unwrap();
        }
    });
}
